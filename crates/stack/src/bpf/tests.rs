//! The machine against what the kernel's does, and its checks.

use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;
use sockeye_packet::Chunk;

const fn op(code: u16, k: u32) -> Instruction {
    Instruction::new(code, k)
}

/// `ret a`.
const RETURN: Instruction = op(RET | A, 0);

fn run(code: &[Instruction], packet: &[u8]) -> u32 {
    Filter::new(code).unwrap().run(&View::of(packet))
}

fn is_refused(code: &[Instruction]) -> bool {
    Filter::new(code) == Err(Error::InvalidArgument)
}

#[test]
fn loads_read_big_endian_numbers_wherever_the_bytes_lie() {
    let packet = [1, 2, 3, 4, 5, 6, 7, 8];
    let load = |code, k| run(&[op(LD | code, k), RETURN], &packet);
    assert_eq!(load(ABS, 1), 0x0203_0405);
    assert_eq!(load(H | ABS, 6), 0x0708);
    assert_eq!(load(B | ABS, 7), 8);
    assert_eq!((load(ABS, 5), load(H | ABS, 7), load(B | ABS, 8)), (0, 0, 0), "outside");
    assert_eq!((load(LEN, 0), load(IMM, 77)), (8, 77));
    let indexed = [op(LDX | IMM, 3), op(LD | B | IND, 2), RETURN];
    assert_eq!(run(&indexed, &packet), 6);
    assert_eq!(run(&[op(LDX | B | MSH, 4), op(MISC_TXA, 0), RETURN], &packet), 5 * 4);
    let payload: Payload = [&[3_u8, 4][..], &[5, 6]].into_iter().map(Chunk::copy_from).collect();
    let view = View { link: &[1], head: &[2], payload: Some(&payload), ..View::default() };
    let at = |k| Filter::new(&[op(LD | H | ABS, k), RETURN]).unwrap().run(&view);
    assert_eq!([at(0), at(1), at(2), at(3), at(4), at(5)], [0x102, 0x203, 0x304, 0x405, 0x506, 0]);
    assert_eq!(at(NETWORK), 0x203, "from the network header");
    assert_eq!(at(LINK + 1), 0x203, "from the link's header");
}

const MISC_TXA: u16 = 0x87;
const MISC_TAX: u16 = 0x07;

#[test]
fn arithmetic_is_that_of_32_bits() {
    let constant = |code, a, k| run(&[op(LD | IMM, a), op(ALU | code, k), RETURN], &[]);
    let by_x = |code, a, x| run(&[op(LD | IMM, a), op(LDX | IMM, x), op(ALU | code | X, 0), RETURN], &[]);
    for [code, a, k, result] in [
        [ADD.into(), u32::MAX, 2, 1],
        [SUB.into(), 1, 2, u32::MAX],
        [MUL.into(), 1 << 31, 6, 0],
        [DIV.into(), 7, 2, 3],
        [MOD.into(), 7, 4, 3],
        [AND.into(), 6, 3, 2],
        [OR.into(), 6, 3, 7],
        [XOR.into(), 6, 3, 5],
        [LSH.into(), 3, 31, 1 << 31],
        [RSH.into(), 1 << 31, 31, 1],
    ] {
        assert_eq!(constant(code as u16, a, k), result, "{code:#x}");
        assert_eq!(by_x(code as u16, a, k), result, "{code:#x}");
    }
    assert_eq!(constant(NEG, 1, 0), u32::MAX);
    assert_eq!((by_x(DIV, 7, 0), by_x(MOD, 7, 0)), (0, 0), "a division by zero drops the packet");
    assert_eq!(by_x(LSH, 1, 33), 2);
    let swapped = [op(LD | IMM, 5), op(MISC_TAX, 0), op(LD | IMM, 0), op(MISC_TXA, 0), RETURN];
    assert_eq!(run(&swapped, &[]), 5);
    let kept = [
        op(LD | IMM, 5),
        op(ST, 15),
        op(LD | IMM, 0),
        op(LDX | MEM, 15),
        op(STX, 0),
        op(LD | MEM, 0),
        RETURN,
    ];
    assert_eq!(run(&kept, &[]), 5);
}

#[test]
fn jumps_compare_without_signs() {
    let taken = |code, a, k| {
        let code = [op(LD | IMM, a), Instruction::jump(JMP | code, k, 1, 0), op(RET, 0), op(RET, 1)];
        run(&code, &[]) == 1
    };
    assert!(taken(JEQ, 5, 5) && !taken(JEQ, 5, 6));
    assert!(taken(JGT, u32::MAX, 1) && !taken(JGT, 1, 1));
    assert!(taken(JGE, 1, 1) && !taken(JGE, 0, u32::MAX));
    assert!(taken(JSET, 6, 2) && !taken(JSET, 6, 1));
    assert_eq!(run(&[op(JMP | JA, 1), op(RET, 1), op(RET, 2)], &[]), 2);
}

#[test]
fn facts_beside_the_packet_are_loaded_from_negative_offsets() {
    let view = View {
        ethertype: 0x800,
        direction: 4,
        interface: 2,
        hardware: 772,
        hash: 99,
        random: 1234,
        ..View::of(&[0; 40])
    };
    let fact = |at| Filter::new(&[op(LD | ABS, ANCILLARY + at), RETURN]).unwrap().run(&view);
    let facts = [0, 4, 8, 28, 32, 52, 56, 20].map(fact);
    assert_eq!(facts, [0x800, 4, 2, 772, 99, 40, 1234, 0]);
    let xor = [op(LD | IMM, 6), op(LDX | IMM, 3), op(LD | ABS, ANCILLARY + 40), RETURN];
    assert_eq!(run(&xor, &[]), 5);
    assert!(is_refused(&[op(LD | ABS, ANCILLARY + 1), RETURN]));
}

#[test]
fn programs_that_could_go_wrong_are_refused() {
    assert!(is_refused(&[]) && is_refused(&[op(LD | IMM, 1)]), "no return at the end");
    let long = [op(LD | IMM, 0)].repeat(Filter::LONGEST - 1);
    assert!(!is_refused(&[long.clone(), [RETURN].to_vec()].concat()));
    assert!(is_refused(&[long, [RETURN; 2].to_vec()].concat()));
    assert!(is_refused(&[op(JMP | JA, 1), RETURN]), "out of the program");
    assert!(is_refused(&[op(JMP | JA, u32::MAX), RETURN]), "backwards");
    assert!(is_refused(&[Instruction::jump(JMP | JEQ, 0, 0, 1), RETURN]));
    assert!(is_refused(&[op(ALU | DIV, 0), RETURN]) && is_refused(&[op(ALU | MOD, 0), RETURN]));
    assert!(is_refused(&[op(ALU | LSH, 32), RETURN]) && is_refused(&[op(ST, 16), RETURN]));
    assert!(is_refused(&[op(LD | MEM, 3), RETURN]), "nobody wrote it");
    // Written on one way only.
    let one_way = [Instruction::jump(JMP | JEQ, 0, 0, 1), op(ST, 3), op(LD | MEM, 3), RETURN];
    assert!(is_refused(&one_way));
    let both = [
        Instruction::jump(JMP | JEQ, 0, 0, 2),
        op(ST, 3),
        op(JMP | JA, 1),
        op(STX, 3),
        op(LD | MEM, 3),
        RETURN,
    ];
    assert!(!is_refused(&both));
    for code in [0x08, 0x18, 0x38, 0x09, 0x21, 0x12, 0x0a, 0xb4, 0x8c, 0x55, 0x0d, 0x0e, 0x17, 0x120, 0xffff]
    {
        assert!(is_refused(&[op(code, 1), RETURN, RETURN]), "{code:#x}");
    }
}

/// The program that libpcap makes of `icmp or tcp port 80` for raw IPv4, run on both.
#[test]
fn a_real_program_says_yes_and_no() {
    let code: Vec<Instruction> = [
        (0x30, 0, 0, 9),
        (0x15, 8, 0, 1),
        (0x15, 0, 8, 6),
        (0x28, 0, 0, 6),
        (0x45, 6, 0, 0x1fff),
        (0xb1, 0, 0, 0),
        (0x48, 0, 0, 0),
        (0x15, 2, 0, 80),
        (0x48, 0, 0, 2),
        (0x15, 0, 1, 80),
        (0x06, 0, 0, 262_144),
        (0x06, 0, 0, 0),
    ]
    .map(|(code, jump_true, jump_false, k)| Instruction { code, jump_true, jump_false, k })
    .to_vec();
    let mut packet = [0_u8; 40];
    packet[0] = 0x45;
    packet[9] = 1;
    assert_eq!(run(&code, &packet), 262_144);
    packet[9] = 6;
    assert_eq!(run(&code, &packet), 0);
    packet[23] = 80;
    assert_eq!(run(&code, &packet), 262_144);
    packet[7] = 1;
    assert_eq!(run(&code, &packet), 0, "not the first fragment");
}

proptest! {
    #[test]
    fn whatever_passes_the_checks_ends(
        code in proptest::collection::vec((any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>()), 1..30),
        packet in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let code: Vec<Instruction> = code
            .into_iter()
            .map(|(code, t, f, k)| Instruction { code: code & 0xff, jump_true: t % 8, jump_false: f % 8, k: k % 40 })
            .chain([RETURN])
            .collect();
        if let Ok(filter) = Filter::new(&code) {
            filter.run(&View::of(&packet));
        }
    }
}

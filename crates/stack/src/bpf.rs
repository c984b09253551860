//! Classic BPF: programs that look at a packet and say how many of its bytes a socket keeps (socket(7),
//! `SO_ATTACH_FILTER`; the machine is that of BSD, 1993, with Linux's ancillary loads).
//!
//! A [`Filter`] exists only when it has passed the kernel's checks: jumps lead forward to instructions that
//! exist, the last instruction returns, no constant divides by zero or shifts too far, and no scratch word is
//! read that was not written on every way there. So a run takes at most as many steps as there are
//! instructions, and can't fail: loads outside the packet and divisions by a zero in `X` return 0, which drops it.

use crate::error::{Error, Result};
use alloc::boxed::Box;
use alloc::vec;
use sockeye_packet::Payload;

/// Words of scratch memory (`BPF_MEMWORDS`).
const SCRATCH: usize = 16;

// Instruction classes, sizes, modes, operations and sources: an instruction's code is a sum of them.
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;

const H: u16 = 0x08;
const B: u16 = 0x10;
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const IND: u16 = 0x40;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;
const MSH: u16 = 0xa0;
const ADD: u16 = 0x00;
const SUB: u16 = 0x10;
const MUL: u16 = 0x20;
const DIV: u16 = 0x30;
const OR: u16 = 0x40;
const AND: u16 = 0x50;
const LSH: u16 = 0x60;
const RSH: u16 = 0x70;
const NEG: u16 = 0x80;
const MOD: u16 = 0x90;
const XOR: u16 = 0xa0;
const JA: u16 = 0x00;
const JEQ: u16 = 0x10;
const JGT: u16 = 0x20;
const JGE: u16 = 0x30;
const JSET: u16 = 0x40;
const K: u16 = 0x00;
const X: u16 = 0x08;
const A: u16 = 0x10;
const TAX: u16 = 0x00;
const TXA: u16 = 0x80;

/// Offsets from here on name facts beside the packet (`SKF_AD_OFF`, -0x1000).
const ANCILLARY: u32 = 0xffff_f000;
/// Offsets from here on count from the network header (`SKF_NET_OFF`, -0x100000).
const NETWORK: u32 = 0xfff0_0000;
/// Offsets from here on count from the link's header (`SKF_LL_OFF`, -0x200000).
const LINK: u32 = 0xffe0_0000;

/// One instruction (`struct sock_filter`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// How many instructions to skip when it doesn't.
    pub jump_false: u8,
    /// The constant: an operand, an offset, or the number of a scratch word.
    pub k: u32,
}

impl Instruction {
    /// An instruction that doesn't compare.
    pub const fn new(code: u16, k: u32) -> Instruction {
        Instruction { code, jump_true: 0, jump_false: 0, k }
    }

    /// A comparison, with what to skip when it holds and when it doesn't.
    pub const fn jump(code: u16, k: u32, jump_true: u8, jump_false: u8) -> Instruction {
        Instruction { code, jump_true, jump_false, k }
    }
}

/// A program that has been checked.
///
/// ```
/// use sockeye_stack::bpf::{Filter, Instruction, View};
///
/// // Keep 64 bytes of what is IPv4 by its first byte.
/// let filter = Filter::new(&[
///     Instruction::new(0x30, 0),          // ldb [0]
///     Instruction::new(0x74, 4),          // rsh #4
///     Instruction::jump(0x15, 4, 0, 1),   // jeq #4, 0, 1
///     Instruction::new(0x06, 64),         // ret #64
///     Instruction::new(0x06, 0),          // ret #0
/// ])?;
/// assert_eq!(filter.run(&View::of(&[0x45, 0, 0, 20])), 64);
/// assert_eq!(filter.run(&View::of(&[0x60, 0, 0, 0])), 0);
/// # Ok::<(), sockeye_stack::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    code: Box<[Instruction]>,
}

/// A packet as a filter sees it: up to three runs of bytes, and what is known beside them.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// The link's header, if the socket sees it.
    pub link: &'a [u8],
    /// The packet's headers.
    pub head: &'a [u8],
    /// What follows them.
    pub payload: Option<&'a Payload>,
    /// The Ethernet protocol, in host order.
    pub ethertype: u16,
    /// Whom the packet is for (`PACKET_*`).
    pub direction: u8,
    /// The number of the interface, as the Berkeley API counts.
    pub interface: u32,
    /// The type of the interface (`ARPHRD_*`).
    pub hardware: u16,
    /// A hash of the flow.
    pub hash: u32,
    /// A random number.
    pub random: u32,
}

impl<'a> View<'a> {
    /// A packet in one run of bytes.
    pub fn of(bytes: &'a [u8]) -> View<'a> {
        View { head: bytes, ..View::default() }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.link.len() + self.head.len() + self.payload.map_or(0, Payload::len)
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn byte(&self, at: usize) -> Option<u8> {
        if let Some(byte) = self.link.get(at) {
            return Some(*byte);
        }
        let mut at = at - self.link.len();
        if let Some(byte) = self.head.get(at) {
            return Some(*byte);
        }
        at -= self.head.len();
        for chunk in self.payload?.chunks() {
            if let Some(byte) = chunk.get(at) {
                return Some(*byte);
            }
            at -= chunk.len();
        }
        None
    }

    /// The big-endian number of `size` bytes at `offset`.
    fn load(&self, offset: u32, size: usize) -> Option<u32> {
        let at = match offset {
            0..=0x7fff_ffff => offset as usize,
            NETWORK.. => self.link.len() + (offset - NETWORK) as usize,
            LINK.. => (offset - LINK) as usize,
            _ => return None,
        };
        (at..at + size).try_fold(0, |number, at| Some(number << 8 | u32::from(self.byte(at)?)))
    }

    /// The fact beside the packet that `which` names; what interfaces here don't have is 0.
    fn fact(&self, which: Fact) -> u32 {
        match which {
            // As the kernel: the field is in network order, and read as a number of it.
            Fact::Protocol => self.ethertype.into(),
            Fact::Direction => self.direction.into(),
            Fact::Interface => self.interface,
            Fact::Hardware => self.hardware.into(),
            Fact::Hash => self.hash,
            Fact::PayloadOffset => (self.link.len() + self.head.len()) as u32,
            Fact::Random => self.random,
            Fact::Nothing | Fact::XorX => 0,
        }
    }
}

/// What an ancillary load asks for (`SKF_AD_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    Protocol,
    Direction,
    Interface,
    Hardware,
    Hash,
    PayloadOffset,
    Random,
    /// Not a load: `A ^= X`.
    XorX,
    /// Netlink attributes, mark, queue, processor and VLAN: 0 here.
    Nothing,
}

impl Fact {
    fn of(offset: u32) -> Option<Fact> {
        Some(match offset.checked_sub(ANCILLARY)? {
            0 => Fact::Protocol,
            4 => Fact::Direction,
            8 => Fact::Interface,
            12 | 16 | 20 | 24 | 36 | 44 | 48 | 60 => Fact::Nothing,
            28 => Fact::Hardware,
            32 => Fact::Hash,
            40 => Fact::XorX,
            52 => Fact::PayloadOffset,
            56 => Fact::Random,
            _ => return None,
        })
    }
}

impl Filter {
    /// The most instructions of a program (`BPF_MAXINSNS`).
    pub const LONGEST: usize = 4096;

    /// Checks a program, as the kernel does; what it would refuse is [`Error::InvalidArgument`].
    pub fn new(code: &[Instruction]) -> Result<Filter> {
        let ends = code.last().is_some_and(|last| matches!(last.code, c if c == RET | K || c == RET | A));
        if code.len() > Self::LONGEST || !ends {
            return Err(Error::InvalidArgument);
        }
        let checked = code.iter().enumerate().all(|(at, step)| is_valid(*step, code.len() - at - 1));
        if !checked || !scratch_is_written_first(code) {
            return Err(Error::InvalidArgument);
        }
        Ok(Filter { code: code.into() })
    }

    /// The program.
    pub fn instructions(&self) -> &[Instruction] {
        &self.code
    }

    /// How many bytes of the packet to keep; 0 drops it.
    pub fn run(&self, view: &View<'_>) -> u32 {
        let mut machine = Machine { a: 0, x: 0, scratch: [0; SCRATCH], random: view.random };
        let mut at = 0;
        // Each step leads forward, and the last one returns.
        while let Some(step) = self.code.get(at) {
            match machine.step(*step, view) {
                Some(Next::Skip(count)) => at += 1 + count as usize,
                Some(Next::Return(keep)) => return keep,
                None => return 0,
            }
        }
        0
    }
}

/// Whether an instruction exists and its constants make sense; `behind` instructions follow it.
fn is_valid(step: Instruction, behind: usize) -> bool {
    let Instruction { code, jump_true, jump_false, k } = step;
    let fits = |skip: usize| skip < behind;
    match code & 7 {
        LD => match code & !7 {
            size_mode if matches!(size_mode & !0x18, ABS) && size_mode & 0x18 != 0x18 => {
                k < ANCILLARY || Fact::of(k).is_some()
            }
            size_mode if size_mode & !0x18 == IND => size_mode & 0x18 != 0x18,
            MEM => (k as usize) < SCRATCH,
            IMM | LEN => true,
            _ => false,
        },
        LDX => match code & !7 {
            MEM => (k as usize) < SCRATCH,
            IMM | LEN => true,
            mode => mode == MSH | B,
        },
        ST | STX => code & !7 == 0 && (k as usize) < SCRATCH,
        ALU => match (code & 0xf0, code & X, code & !0xff) {
            (_, _, 1..) => false,
            (ADD | SUB | MUL | OR | AND | XOR, ..) | (DIV | MOD | LSH | RSH, X, _) => true,
            (DIV | MOD, ..) => k != 0,
            (LSH | RSH, ..) => k < 32,
            (NEG, source, _) => source == K,
            _ => false,
        },
        JMP => match (code & 0xf0, code & X, code & !0xff) {
            (_, _, 1..) => false,
            (JA, K, _) => fits(k as usize),
            (JEQ | JGT | JGE | JSET, ..) => fits(jump_true.into()) && fits(jump_false.into()),
            _ => false,
        },
        RET => matches!(code & !7, K | A),
        _ => matches!(code & !7, TAX | TXA),
    }
}

/// Whether every scratch word that is read was written before, whichever way led there.
fn scratch_is_written_first(code: &[Instruction]) -> bool {
    // Which words are written for sure when an instruction is reached by a jump; behind a jump, nobody falls in.
    let mut reached = vec![u16::MAX; code.len()];
    let mut written = 0_u16;
    for (at, step) in code.iter().enumerate() {
        written &= reached[at];
        let bit = 1_u16.checked_shl(step.k).unwrap_or(0);
        let mut jump = |skip: usize| reached[at + 1 + skip] &= written;
        match step.code & 7 {
            ST | STX => written |= bit,
            LD | LDX if step.code & 0xe0 == MEM && written & bit == 0 => return false,
            JMP if step.code & 0xf0 == JA => {
                jump(step.k as usize);
                written = u16::MAX;
            }
            JMP => {
                jump(step.jump_true.into());
                jump(step.jump_false.into());
                written = u16::MAX;
            }
            _ => {}
        }
    }
    true
}

/// Where a run goes on.
enum Next {
    /// So many instructions are skipped.
    Skip(u32),
    Return(u32),
}

struct Machine {
    a: u32,
    x: u32,
    scratch: [u32; SCRATCH],
    random: u32,
}

impl Machine {
    /// Carries out one instruction of a checked program; `None` ends it with 0.
    fn step(&mut self, step: Instruction, view: &View<'_>) -> Option<Next> {
        let Instruction { code, k, .. } = step;
        match code & 7 {
            LD => self.a = self.load(code, k, view)?,
            LDX => {
                self.x = match code & 0xe0 {
                    MEM => self.scratch[k as usize % SCRATCH],
                    LEN => view.len() as u32,
                    MSH => (view.load(k, 1)? & 0xf) << 2,
                    _ => k,
                }
            }
            ST => self.scratch[k as usize % SCRATCH] = self.a,
            STX => self.scratch[k as usize % SCRATCH] = self.x,
            ALU => self.a = self.calculate(code, k)?,
            JMP => return Some(Next::Skip(self.jump(step))),
            RET => return Some(Next::Return(if code & !7 == A { self.a } else { k })),
            _ if code & !7 == TXA => self.a = self.x,
            _ => self.x = self.a,
        }
        Some(Next::Skip(0))
    }

    /// What a load into A loads.
    fn load(&mut self, code: u16, k: u32, view: &View<'_>) -> Option<u32> {
        let size = match code & 0x18 {
            H => 2,
            B => 1,
            _ => 4,
        };
        match code & 0xe0 {
            ABS => match Fact::of(k) {
                Some(Fact::XorX) => Some(self.a ^ self.x),
                Some(Fact::Random) => {
                    // Another one each time; the first is the packet's.
                    let random = self.random;
                    self.random = random.wrapping_mul(0x915f_77f5).wrapping_add(0x9e37_79b9);
                    Some(random)
                }
                Some(fact) => Some(view.fact(fact)),
                None => view.load(k, size),
            },
            IND => view.load(self.x.wrapping_add(k), size),
            MEM => Some(self.scratch[k as usize % SCRATCH]),
            LEN => Some(view.len() as u32),
            _ => Some(k),
        }
    }

    fn calculate(&self, code: u16, k: u32) -> Option<u32> {
        let (a, operand) = (self.a, if code & X == X { self.x } else { k });
        Some(match code & 0xf0 {
            ADD => a.wrapping_add(operand),
            SUB => a.wrapping_sub(operand),
            MUL => a.wrapping_mul(operand),
            DIV => a.checked_div(operand)?,
            MOD => a.checked_rem(operand)?,
            OR => a | operand,
            AND => a & operand,
            XOR => a ^ operand,
            // Shifts by an X of 32 and more wrap, as on the kernel's machine.
            LSH => a.wrapping_shl(operand),
            RSH => a.wrapping_shr(operand),
            _ => a.wrapping_neg(),
        })
    }

    /// How many instructions a jump skips.
    fn jump(&self, step: Instruction) -> u32 {
        let (a, operand) = (self.a, if step.code & X == X { self.x } else { step.k });
        let holds = match step.code & 0xf0 {
            JA => return step.k,
            JEQ => a == operand,
            JGT => a > operand,
            JGE => a >= operand,
            _ => a & operand != 0,
        };
        if holds { step.jump_true.into() } else { step.jump_false.into() }
    }
}

#[cfg(test)]
mod tests;

//! Header prediction: the short way leaves a connection as the long one does, and the usual segments take it.

use super::*;
use crate::counters::Counter;
use proptest::prelude::*;
use sockeye_wire::{TcpFlags, TcpTimestamps};

/// What the peer or the program does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Read(usize),
    Sleep(u64),
    /// Somebody else takes so much of the memory, instead of what he took before.
    Hog(usize),
    /// So many bytes that follow, or lie this far ahead, acknowledging so many of the bytes in flight.
    Segment {
        len: usize,
        ahead: usize,
        acked: usize,
        window: u16,
        push: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let len = || prop_oneof![Just(0_usize), 1_usize..200, Just(1000), Just(1460), Just(3000)];
    let acked = prop_oneof![Just(0_usize), Just(usize::MAX), 1_usize..2000];
    let ahead = prop_oneof![9 => Just(0_usize), 1 => 1_usize..3000];
    let window = prop_oneof![8 => Just(60_000_u16), 2 => any::<u16>(), 1 => Just(0_u16)];
    let segment = (len(), ahead, acked, window, any::<bool>());
    prop_oneof![
        2 => len().prop_map(Step::Write),
        2 => (1_usize..4000).prop_map(Step::Read),
        1 => (0_u64..300).prop_map(Step::Sleep),
        1 => prop_oneof![Just(0_usize), 10_000_usize..20_000].prop_map(Step::Hog),
        6 => segment.prop_map(|(len, ahead, acked, window, push)| {
            Step::Segment { len, ahead, acked, window, push }
        }),
    ]
}

fn peer(timestamps: bool) -> Test {
    let mut t = Test::connect_with(TcpConfig { timestamps, ..TcpConfig::default() }, |_| {});
    let stamps = if timestamps { ",TS val 7 ecr 1000" } else { "" };
    t.handshake(&format!("S. 0:0(0) ack 1 win 60000 <mss 1460,nop,nop,sackOK{stamps}>"));
    t
}

/// One step, and everything that can be seen after it. While something is in flight, recovery may be there,
/// at rest, or not there: that is no difference.
fn play(t: &mut Test, step: Step) -> String {
    match step {
        Step::Write(len) => drop(t.try_write(len, SendFlags::default())),
        Step::Read(max) => drop(t.try_read(max)),
        Step::Sleep(millis) => t.sleep(millis),
        Step::Hog(bytes) => {
            t.budget.release(core::mem::take(&mut t.hogged));
            let bytes = bytes.min(t.budget.available());
            assert!(t.budget.try_charge(bytes));
            t.hogged = bytes;
        }
        Step::Segment { len, ahead, acked, window, push } => {
            let c = &t.connection;
            let in_flight = c.snd_nxt.since(c.snd_una) as usize;
            let seq = c.rcv_nxt + ahead as u32;
            let push = if push { TcpFlags::PSH } else { TcpFlags::NONE };
            let mut header = TcpHeader {
                seq: seq.0,
                ack: (c.snd_una + acked.min(in_flight) as u32).0,
                flags: TcpFlags::ACK | push,
                window,
                ..TcpHeader::default()
            };
            let millis = t.now.as_millis() as u32;
            header.options.timestamps =
                c.options.timestamps.then_some(TcpTimestamps { value: 7 + millis, echo: millis });
            let payload = if len > 0 { Payload::from(stream(seq.0 as usize, len)) } else { Payload::EMPTY };
            t.inject_segment(Segment { header, payload, ecn: 0, gso_size: 0 });
        }
    }
    let sent: Vec<String> =
        core::iter::from_fn(|| t.poll()).map(|s| show(&s.header, s.payload.len())).collect();
    let c = &t.connection;
    let whole = if c.has_in_flight(c.snd_una) { String::new() } else { format!("{c:?}") };
    let counts: Vec<u64> = Counter::ALL.iter().map(|counter| t.counters[*counter]).collect();
    format!(
        "{sent:?} {:?} {:?} {:?} {:?} {} {whole} {counts:?}",
        c.info(t.now),
        c.poll_timeout(),
        t.ready(),
        t.answers,
        t.budget.used()
    )
}

proptest! {
    #[test]
    fn both_ways_lead_to_the_same(
        steps in proptest::collection::vec(step(), 1..60),
        timestamps in any::<bool>(),
        (max_segment, memory) in prop_oneof![Just((0, 64 << 20)), Just((60_000, 64 << 20)), Just((0, 20_000))],
    ) {
        let (mut short, mut long) = (peer(timestamps), peer(timestamps));
        long.long_way = true;
        for t in [&mut short, &mut long] {
            (t.max_segment, t.budget) = (max_segment, Budget::new(memory));
        }
        for (index, step) in steps.into_iter().enumerate() {
            let (a, b) = (play(&mut short, step), play(&mut long, step));
            prop_assert!(a == b, "after step {index}, {step:?}:\n{a}\n{b}");
        }
    }
}

#[test]
fn a_dialogue_and_a_stream_are_predicted() {
    let mut t = Test::established();
    for n in 0..20 {
        t.write(10);
        assert!(t.poll().is_some());
        let (seq, ack) = (n * 10 + 1, n * 10 + 11);
        t.inject(&format!("P. {seq}:{}(10) ack {ack} win 60000", seq + 10));
        t.read(10);
    }
    assert_eq!(t.predicted, 20);
    for seq in (201..20_201).step_by(1000) {
        t.inject(&format!(". {seq}:{}(1000) ack 201 win 60000", seq + 1000));
    }
    assert_eq!(t.predicted, 40);
}

#[test]
fn what_is_odd_is_not_predicted() {
    for line in [
        "P. 11:21(10) ack 11 win 60000",
        "F. 1:11(10) ack 11 win 60000",
        "PE. 1:11(10) ack 11 win 60000",
        ". 1:1(0) ack 1 win 60000",
        ". 1:1(0) ack 5 win 60000",
        ". 1:1(0) ack 1 win 60000 <nop,nop,sack 6:11>",
    ] {
        let mut t = Test::established();
        t.write(10);
        assert!(t.poll().is_some());
        t.inject(line);
        assert_eq!(t.predicted, 0, "{line}");
    }
    // Lost, sent again, and then acknowledged.
    let mut t = Test::established();
    t.write(10);
    assert!(t.poll().is_some());
    t.fire(200);
    assert!(t.poll().is_some());
    t.inject(". 1:1(0) ack 11 win 60000");
    assert_eq!(t.predicted, 0);
}

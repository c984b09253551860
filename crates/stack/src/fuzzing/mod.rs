//! Drivers for the structured fuzzer (`fuzz/`) and for the tests that keep what it has found.
//!
//! Each driver takes any bytes for a story: settings first, then what happens, one thing after another. It
//! panics when something breaks that must hold: invariants after each step (`check`), the bytes of all
//! streams, a bound on the work of a step, an end of every stream once the adversary lets go. What it answers
//! are the kinds of situations that the story has met, by which a fuzzer knows that an input is new.
//!
//! No part of the interface: whatever is here may change with any version.

#![allow(missing_docs, reason = "for the fuzzer alone, and told in each file")]

mod connection;
pub(crate) mod frames;
mod network;

mod pair;
mod segments;
mod source;
mod stack;

pub use connection::connection;
pub use network::{fragments, groups, icmp, ip};
pub use pair::pair;

pub use stack::stack;

use crate::Stack;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use sockeye_packet::{Batch, Chunk, Instant, NicId, Packet};
use sockeye_wire::PacketLine;
use source::Source;
use std::sync::OnceLock;

/// The link of a stack.
const LINK: NicId = NicId(1);

/// The kinds of situations met, each a number.
pub type Seen = BTreeSet<u64>;

/// Plays the story that `bytes` tell, in at most `steps` steps; its end is the caller's.
fn play<W>(
    bytes: &[u8],
    steps: usize,
    new: impl FnOnce(&mut Source<'_>) -> W,
    step: impl Fn(&mut W, &mut Source<'_>),
) -> W {
    let source = &mut Source::new(bytes);
    let mut world = new(source);
    for _ in 0..steps {
        if source.is_empty() {
            break;
        }
        step(&mut world, source);
    }
    world
}

/// How much a program writes at once: a lot, some, next to nothing.
fn write_len(source: &mut Source<'_>) -> usize {
    match source.byte() {
        0..=99 => 1000 * (1 + source.below(20)),
        100..=199 => source.below(3000),
        _ => 1 + source.below(4),
    }
}

/// Prints what happens, when `SOCKEYE_TRACE` is set: for who looks into a failure.
fn trace(line: impl FnOnce() -> String) {
    static WANTED: OnceLock<bool> = OnceLock::new();
    if *WANTED.get_or_init(|| std::env::var_os("SOCKEYE_TRACE").is_some()) {
        std::println!("{}", line());
    }
}

/// A packet, for a trace.
fn show(packet: &Packet) -> String {
    let line = PacketLine::from_head(&packet.head, packet.payload.len());
    line.map_or_else(|error| format!("{error:?}"), |line| format!("{line}"))
}

/// A packet comes in by the link of a stack.
fn take_in(stack: &mut Stack, now: Instant, packet: Packet) {
    trace(|| format!("{now:?} < {}", show(&packet)));
    let mut batch = Batch::new();
    batch.push(packet);
    stack.handle_packets(now, LINK, &mut batch);
    assert!(batch.is_empty(), "packets are left in the batch");
}

/// Every byte that anybody sends is that of its sequence number: so wherever it turns up, it can be judged.
fn byte_at(seq: u32) -> u8 {
    (seq.wrapping_mul(0x9e37_79b1) >> 23) as u8
}

fn bytes_from(seq: u32, len: usize) -> Chunk {
    let bytes: Vec<u8> = (0..len as u32).map(|at| byte_at(seq.wrapping_add(at))).collect();
    Chunk::from(bytes)
}

/// Where `data` first differs from what belongs at `seq`.
fn first_wrong(seq: u32, data: &[u8]) -> Option<usize> {
    (0..data.len()).find(|&at| data[at] != byte_at(seq.wrapping_add(at as u32)))
}

//! What is fuzzed: functions that take arbitrary bytes and panic when they find a bug.
//!
//! Some take the bytes for what a parser gets, others for a story: what happens to a TCP connection, a stack or
//! two of them (`sockeye_stack::fuzzing`). Those answer which kinds of situations they met; what meets a new
//! one is kept in memory and damaged further, from [`corpus`] on.
//!
//! The same functions are driven by libFuzzer (`fuzz_targets/`) and by a seeded runner on the stable
//! toolchain (`src/bin/seeded.rs`), which starts from valid inputs that [`examples`] makes and damages them
//! with [`mutate`]. Targets check more than survival: what parses must survive emitting and printing.

mod api;
pub mod clock;
pub mod corpus;
pub mod examples;
pub mod mutate;
mod raw;
mod wire;

pub use api::{cmsgs, sockaddrs, sockopts};
pub use raw::{filter, filter_example, raw, raw_example};
pub use wire::{headers, line, packet};

use sockeye_packet::Rng;
use sockeye_stack::fuzzing::{self, Seen};

/// Something to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its file in `fuzz_targets/`.
    pub name: &'static str,
    /// Takes any bytes and panics on a bug; answers the kinds of situations met, if it knows them.
    pub run: fn(&[u8]) -> Seen,
    /// Makes a valid input.
    pub example: fn(&mut Rng) -> Vec<u8>,
    /// Its share of the time.
    pub share: u64,
}

/// All there is to fuzz.
pub const TARGETS: &[Target] = &[
    Target { name: "packet", run: |bytes| parser(packet, bytes), example: examples::packet, share: 1 },
    Target { name: "headers", run: |bytes| parser(headers, bytes), example: examples::transport, share: 1 },
    Target { name: "line", run: |bytes| parser(line, bytes), example: examples::line, share: 1 },
    Target { name: "control", run: |bytes| parser(control, bytes), example: examples::control, share: 1 },
    Target { name: "netlink", run: |bytes| parser(netlink, bytes), example: examples::netlink, share: 1 },
    Target { name: "cmsgs", run: |bytes| parser(cmsgs, bytes), example: examples::cmsgs, share: 1 },
    Target {
        name: "sockaddrs",
        run: |bytes| parser(sockaddrs, bytes),
        example: examples::sockaddrs,
        share: 1,
    },
    Target { name: "sockopts", run: |bytes| parser(sockopts, bytes), example: examples::sockopts, share: 1 },
    Target { name: "filter", run: |bytes| parser(filter, bytes), example: filter_example, share: 1 },
    Target { name: "raw", run: |bytes| parser(raw, bytes), example: raw_example, share: 2 },
    Target { name: "connection", run: fuzzing::connection, example: examples::story, share: 5 },
    Target { name: "stack", run: fuzzing::stack, example: examples::story, share: 5 },
    Target { name: "pair", run: fuzzing::pair, example: examples::story, share: 6 },
    Target { name: "ip", run: fuzzing::ip, example: examples::story, share: 1 },
    Target { name: "icmp", run: fuzzing::icmp, example: examples::story, share: 1 },
    Target { name: "groups", run: fuzzing::groups, example: examples::story, share: 1 },
    Target { name: "fragments", run: fuzzing::fragments, example: examples::story, share: 1 },
];

/// Parsers have no situations.
fn parser(run: fn(&[u8]), bytes: &[u8]) -> Seen {
    run(bytes);
    Seen::new()
}

/// A message of the control socket of a named network: any bytes from any process of the user.
pub fn control(bytes: &[u8]) {
    sockeye_run::fuzz_decode(bytes);
}

/// What a program asks of a netlink socket, or by `ioctl` about interfaces.
pub fn netlink(bytes: &[u8]) {
    sockeye_run::fuzz_netlink(bytes);
}

/// Input number `run` of `target` for a seed and what is `kept`: a valid one or one of those, damaged more often
/// than not.
pub fn input(target: &Target, seed: u64, run: u64, kept: &[Vec<u8>]) -> Vec<u8> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&run.to_le_bytes());
    for (slot, byte) in key[16..].iter_mut().zip(target.name.bytes()) {
        *slot = byte;
    }
    let rng = &mut Rng::new(key);
    let mut bytes = example(target, rng, kept);
    // One in eight stays valid, so that the way behind the parsers is walked too.
    for _ in 0..rng.below(8) {
        let other = example(target, rng, kept);
        mutate::mutate(rng, &mut bytes, &other);
    }
    bytes
}

/// One of those that are kept, or a new one.
fn example(target: &Target, rng: &mut Rng, kept: &[Vec<u8>]) -> Vec<u8> {
    if kept.is_empty() || rng.chance(0.3) {
        return (target.example)(rng);
    }
    kept[rng.below(kept.len() as u64) as usize].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_input() {
        for target in TARGETS {
            assert_eq!(input(target, 1, 2, &[]), input(target, 1, 2, &[]));
            let others = (0..20).filter(|run| input(target, 1, *run, &[]) != input(target, 2, *run, &[]));
            assert!(others.count() > 15, "{} ignores its seed", target.name);
        }
    }

    #[test]
    fn every_target_has_a_file_for_libfuzzer() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz_targets");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder of targets")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().replace(".rs", ""))
            .collect();
        let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        files.sort();
        names.sort_unstable();
        assert_eq!(files, names);
    }

    #[test]
    fn examples_are_valid() {
        let rng = &mut Rng::from_u64(1);
        for _ in 0..1000 {
            let packet = examples::packet(rng);
            let (head, payload) = packet.split_at(sockeye_wire::header_len(&packet));
            assert_eq!(sockeye_wire::verify_checksums(head, std::iter::once(payload)), Ok(()));
            let line = String::from_utf8(examples::line(rng)).expect("text");
            assert!(line.parse::<sockeye_wire::PacketLine>().is_ok(), "{line}");
        }
    }

    #[test]
    fn examples_of_options_hold_options() {
        let rng = &mut Rng::from_u64(1);
        let lists = (0..1000).map(|_| examples::transport(rng)).filter(|bytes| bytes[0] == 4);
        let with_timestamps =
            |list: &Vec<u8>| sockeye_wire::TcpOptions::parse(&list[1..]).timestamps.is_some();
        let (full, all) =
            lists.fold((0, 0), |(full, all), list| (full + u32::from(with_timestamps(&list)), all + 1));
        assert!(full * 2 > all, "{full} of {all} lists have the timestamps that most headers have");
    }

    #[test]
    fn many_inputs_of_each_target_pass() {
        for target in TARGETS {
            for run in 0..1000 / target.share.pow(2) {
                (target.run)(&input(target, 1, run, &[]));
            }
        }
    }
}

//! What the fuzzer has found and kept (`fuzz/corpus`): inputs that failed once, and such as meet situations that
//! no other does.

use crate::fuzzing::{self, Seen};
use alloc::vec::Vec;
use sockeye_packet::Rng;
use std::fs;
use std::path::Path;

fn replay(name: &str, run: fn(&[u8]) -> Seen) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("a file").path());
    let mut count = 0;
    for file in files {
        let input = fs::read(&file).expect("a file");
        let played = std::panic::catch_unwind(|| run(&input));
        assert!(played.is_ok(), "{} fails", file.display());
        count += 1;
    }
    assert!(count > 10, "only {count} files in {}", folder.display());
}

#[test]
fn connections_withstand_what_was_kept() {
    replay("connection", fuzzing::connection);
}

#[test]
fn stacks_withstand_what_was_kept() {
    replay("stack", fuzzing::stack);
}

#[test]
fn pairs_withstand_what_was_kept() {
    replay("pair", fuzzing::pair);
}

/// Packets below the transports: stories as the fuzzer makes them.
#[test]
fn hosts_withstand_packets_of_any_kind() {
    let mut rng = Rng::from_u64(11);
    let mut seen = Seen::new();
    for run in [fuzzing::ip, fuzzing::icmp, fuzzing::groups, fuzzing::fragments] {
        for _ in 0..100 {
            let input: Vec<u8> = (0..1500).map(|_| rng.next_u32() as u8).collect();
            seen.extend(run(&input));
        }
    }
    assert!(seen.len() > 60, "stories of nothing: {}", seen.len());
}

#[test]
fn a_story_is_always_the_same() {
    let mut rng = Rng::from_u64(7);
    let input: Vec<u8> = (0..800).map(|_| rng.next_u32() as u8).collect();
    for run in [fuzzing::connection, fuzzing::stack, fuzzing::pair] {
        let seen = run(&input);
        assert!(seen.len() > 5, "a story of nothing");
        assert_eq!(seen, run(&input));
    }
}

//! What is known of paths' MTUs (RFC 1191, RFC 8201): a small table that forgets.
//!
//! Only errors that quote a packet of ours get in here, and never below the least MTU, so that a forged
//! one can do little. Entries are forgotten after ten minutes, and when there are too many.

use crate::sip::sip;
use core::time::Duration;
use hashbrown::HashTable;
use sockeye_packet::Instant;

/// Most paths that are remembered.
const CAPACITY: usize = 1024;
/// RFC 1191 §6.3 and RFC 8201 §5.3: how long a reduced MTU is believed.
const LIFETIME: Duration = Duration::from_mins(10);
/// The least MTU that is believed of an IPv4 path, as Linux has it.
pub(crate) const LEAST_V4: u32 = 552;
/// The least MTU of IPv6 (RFC 8200 §5).
pub(crate) const LEAST_V6: u32 = 1280;

/// Paths' MTUs by destination.
#[derive(Debug)]
pub(crate) struct PathMtus {
    key: u64,
    paths: HashTable<PathMtu>,
    /// The time at the last change: getters have no clock.
    now: Instant,
}

#[derive(Clone, Copy, Debug)]
struct PathMtu {
    dst: [u8; 16],
    mtu: u32,
    until: Instant,
}

impl PathMtus {
    pub(crate) fn new(key: u64) -> PathMtus {
        PathMtus { key, paths: HashTable::new(), now: Instant::ZERO }
    }

    /// The MTU of the path to `dst`, if it was found to be smaller than the link's.
    pub(crate) fn get(&self, dst: &[u8; 16]) -> Option<u32> {
        let path = self.paths.find(hash(self.key, dst), |path| path.dst == *dst)?;
        (path.until > self.now).then_some(path.mtu)
    }

    /// Remembers an MTU.
    pub(crate) fn set(&mut self, now: Instant, dst: [u8; 16], mtu: u32) {
        self.now = self.now.max(now);
        if self.paths.len() >= CAPACITY {
            self.paths.retain(|path| path.until > now);
        }
        if self.paths.len() >= CAPACITY {
            self.paths.clear();
        }
        let (key, path) = (self.key, PathMtu { dst, mtu, until: now + LIFETIME });
        let hash_of = |path: &PathMtu| hash(key, &path.dst);
        let entry = self.paths.entry(hash(key, &dst), |path| path.dst == dst, hash_of);
        *entry.or_insert(path).get_mut() = path;
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

fn hash(key: u64, dst: &[u8; 16]) -> u64 {
    sip([key, !key], dst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_forgotten_in_time_and_in_number() {
        let mut paths = PathMtus::new(7);
        paths.set(Instant::ZERO, [1; 16], 1400);
        paths.set(Instant::ZERO, [1; 16], 1300);
        assert_eq!((paths.get(&[1; 16]), paths.get(&[2; 16])), (Some(1300), None));
        paths.advance(Instant::ZERO + LIFETIME);
        assert_eq!(paths.get(&[1; 16]), None);
        for number in 0..100_000_u128 {
            paths.set(Instant::ZERO, number.to_be_bytes(), 1400);
            assert!(paths.paths.len() <= CAPACITY);
        }
    }
}

//! Numbers that peers must not guess: initial sequence numbers (RFC 6528), timestamp offsets (RFC 7323
//! §5.4), and the keys of the tables.

use crate::demux::Tuple;
use crate::sip::sip;
use crate::tcp::SeqNumber;
use sockeye_packet::{Instant, Rng};

/// Keys from the stack's seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secrets {
    isn: [u64; 2],
    timestamps: [u64; 2],
    pub(crate) cookies: [u64; 2],
    pub(crate) flow: [u64; 2],
}

impl Secrets {
    pub(crate) fn new(rng: &mut Rng) -> Secrets {
        let mut key = || [rng.next_u64(), rng.next_u64()];
        Secrets { isn: key(), timestamps: key(), cookies: key(), flow: key() }
    }

    /// RFC 6528 §3: ISN = M + F(local ip, local port, remote ip, remote port, secret), where M counts
    /// units of 4 µs (MUST-8).
    pub(crate) fn isn(&self, now: Instant, tuple: &Tuple) -> SeqNumber {
        let hash = sip(self.isn, &tuple_bytes(tuple)) as u32;
        SeqNumber(hash.wrapping_add((now.as_nanos() / 4_000) as u32))
    }

    /// The offset of a connection's timestamps (RFC 7323 §5.4): they say nothing of the host's clock or its
    /// other connections, and only ever rise from one connection of a four-tuple to the next.
    pub(crate) fn ts_offset(&self, tuple: &Tuple) -> u32 {
        sip(self.timestamps, &tuple_bytes(tuple)) as u32
    }
}

/// A four-tuple as bytes to be hashed.
pub(crate) fn tuple_bytes(tuple: &Tuple) -> [u8; 38] {
    let mut bytes = [0; 38];
    bytes[..16].copy_from_slice(&tuple.local);
    bytes[16..32].copy_from_slice(&tuple.remote);
    bytes[32..34].copy_from_slice(&tuple.local_port.to_be_bytes());
    bytes[34..36].copy_from_slice(&tuple.remote_port.to_be_bytes());
    bytes[36..38].copy_from_slice(&tuple.scope.to_be_bytes());
    bytes
}

/// The timestamp clock that connections use: milliseconds.
pub(crate) fn ts_clock(now: Instant, offset: u32) -> u32 {
    (now.as_millis() as u32).wrapping_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demux::Proto;

    /// MUST-8, SHLD-1; MUST-9: without the secret nobody can compute them.
    #[test]
    fn isns_rise_with_time_and_differ_by_tuple() {
        let secrets = Secrets::new(&mut Rng::from_u64(1));
        let tuple = Tuple {
            local: [1; 16],
            remote: [2; 16],
            local_port: 3,
            remote_port: 4,
            scope: 0,
            proto: Proto::Tcp,
        };
        let first = secrets.isn(Instant::ZERO, &tuple);
        assert_eq!(secrets.isn(Instant::from_millis(1), &tuple), first + 250);
        assert_ne!(secrets.isn(Instant::ZERO, &Tuple { local_port: 4, ..tuple }), first);
        assert_ne!(Secrets::new(&mut Rng::from_u64(2)).isn(Instant::ZERO, &tuple), first);
        let offset = secrets.ts_offset(&tuple);
        assert_eq!(secrets.ts_offset(&tuple), offset);
        assert_ne!(secrets.ts_offset(&Tuple { local_port: 4, ..tuple }), offset);
    }
}

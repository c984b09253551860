//! The connection under test: its addresses on the wire, and what its numbers are called in the script.
//!
//! The remote side is the script, so its sequence numbers and timestamps go on the wire as they are written.
//! What the stack chooses is random: the first sequence number that the script expects tells what its own
//! are counted from, and the same goes for timestamps.

use crate::script::{TcpOptionSpec, TcpSpec};
use core::net::SocketAddr;
use std::collections::HashMap;

/// The connection under test.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// The segment size that the remote side asked for, and whether both sides send timestamps.
    remote_mss: Option<u16>,
    timestamps_offered: [bool; 2],
    /// What to add to a sequence number of the script for the stack's: known from its SYN on.
    offset: Option<u32>,
    /// A SYN was injected after the stack's last one: it may begin a new connection.
    renewable: bool,
    /// The stack's timestamps by what the script calls them.
    timestamps: HashMap<u32, u32>,
    /// The first timestamp that was expected, and the stack's own: the rest is counted from there.
    first_timestamp: Option<(u32, u32)>,
    /// The stack's last timestamp that no line gave a name: an echo before any has one means this.
    unnamed: Option<u32>,
}

impl Flow {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Flow {
        Flow {
            local,
            remote,
            remote_mss: None,
            timestamps_offered: [false; 2],
            offset: None,
            renewable: false,
            timestamps: HashMap::new(),
            first_timestamp: None,
            unnamed: None,
        }
    }

    /// Whether it is the connection between these ports: the local, then the remote one.
    pub(super) fn is_between(&self, (local, remote): (u16, u16)) -> bool {
        (self.local.port(), self.remote.port()) == (local, remote)
    }

    /// Whether a packet is one of its own side.
    pub(super) fn sends(&self, src: SocketAddr, dst: SocketAddr) -> bool {
        (self.local, self.remote) == (src, dst)
    }

    /// Payload of a full segment of the stack on a link of this MTU, from what was said in the handshake.
    pub(super) fn full_segment(&self, mtu: u32) -> u32 {
        let headers = if self.local.is_ipv4() { 40 } else { 60 };
        let mss = self.remote_mss.map_or(536, u32::from).min(mtu.saturating_sub(headers));
        mss.saturating_sub(if self.timestamps_offered == [true; 2] { 12 } else { 0 })
    }

    /// Numbers of the stack as numbers of the script.
    pub(super) fn take_to_script(&self, spec: &mut TcpSpec) {
        spec.seq = spec.seq.wrapping_sub(self.offset.unwrap_or(0));
        for option in spec.options.iter_mut().flatten() {
            if let (TcpOptionSpec::Timestamps { value, .. }, Some((script, live))) =
                (option, self.first_timestamp)
            {
                *value = value.wrapping_sub(live).wrapping_add(script);
            }
        }
    }

    /// Numbers of the script, in a segment to be injected, as numbers of the stack.
    pub(super) fn put_on_wire(&mut self, spec: &mut TcpSpec) {
        let offset = self.offset.unwrap_or(0);
        if spec.flags.syn() {
            self.renewable = true;
            self.timestamps_offered[0] = timestamp(spec).is_some();
            self.remote_mss = spec.options.iter().flatten().find_map(|option| match option {
                TcpOptionSpec::Mss(mss) => Some(*mss),
                _ => None,
            });
        }
        if let Some(ack) = &mut spec.ack {
            *ack = ack.wrapping_add(offset);
        }
        for option in spec.options.iter_mut().flatten() {
            match option {
                TcpOptionSpec::Sack(blocks) => {
                    for block in blocks {
                        block.left = block.left.wrapping_add(offset);
                        block.right = block.right.wrapping_add(offset);
                    }
                }
                TcpOptionSpec::Timestamps { echo, .. } => *echo = self.live_timestamp(*echo),
                _ => {}
            }
        }
    }

    /// The stack's sequence number that the script calls `seq`.
    pub(super) fn live_seq(&self, seq: u32) -> u32 {
        seq.wrapping_add(self.offset.unwrap_or(0))
    }

    fn live_timestamp(&self, script: u32) -> u32 {
        let counted = |(first, live): (u32, u32)| live.wrapping_add(script.wrapping_sub(first));
        match self.timestamps.get(&script) {
            Some(live) => *live,
            None if script == 0 => 0,
            None => self.first_timestamp.map(counted).or(self.unnamed).unwrap_or(script),
        }
    }

    /// Learns from a segment of the stack, as it was on the wire, what the script calls its numbers.
    pub(super) fn learn(&mut self, expected: &TcpSpec, live: &TcpSpec) {
        if expected.flags.syn() && live.flags.syn() {
            self.timestamps_offered[1] = timestamp(live).is_some();
            let offset = live.seq.wrapping_sub(expected.seq);
            if self.offset.is_none() || self.renewable && self.offset != Some(offset) {
                self.offset = Some(offset);
                self.timestamps.clear();
                self.first_timestamp = None;
            }
            self.renewable = false;
        }
        match (timestamp(expected), timestamp(live)) {
            (Some(script), Some(live)) => {
                self.timestamps.insert(script, live);
                self.first_timestamp.get_or_insert((script, live));
            }
            (None, Some(live)) => self.unnamed = Some(live),
            _ => {}
        }
    }
}

fn timestamp(spec: &TcpSpec) -> Option<u32> {
    spec.options.iter().flatten().find_map(|option| match option {
        TcpOptionSpec::Timestamps { value, .. } => Some(*value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_wire::{SackBlock, TcpFlags};

    fn flow() -> Flow {
        Flow::new("192.168.0.1:8080".parse().unwrap(), "192.0.2.1:5000".parse().unwrap())
    }

    fn syn_ack(seq: u32, value: u32) -> TcpSpec {
        let options = Some(vec![TcpOptionSpec::Timestamps { value, echo: 7 }]);
        TcpSpec { flags: TcpFlags::SYN | TcpFlags::ACK, seq, options, ..TcpSpec::default() }
    }

    #[test]
    fn numbers_are_counted_from_the_first_ones_expected() {
        let mut flow = flow();
        flow.learn(&syn_ack(0, 100), &syn_ack(1000, 5000));
        let mut sent = syn_ack(1001, 5002);
        flow.take_to_script(&mut sent);
        assert_eq!(sent, syn_ack(1, 102));
        let options = vec![
            TcpOptionSpec::Sack(vec![SackBlock { left: 1, right: 2 }]),
            TcpOptionSpec::Timestamps { value: 7, echo: 103 },
        ];
        let mut inbound = TcpSpec { ack: Some(1), options: Some(options), ..TcpSpec::default() };
        flow.put_on_wire(&mut inbound);
        let options = vec![
            TcpOptionSpec::Sack(vec![SackBlock { left: 1001, right: 1002 }]),
            TcpOptionSpec::Timestamps { value: 7, echo: 5003 },
        ];
        assert_eq!(inbound, TcpSpec { ack: Some(1001), options: Some(options), ..TcpSpec::default() });
    }

    #[test]
    fn timestamps_that_were_seen_are_echoed_exactly() {
        let mut flow = flow();
        flow.learn(&syn_ack(0, 100), &syn_ack(1000, 5000));
        flow.learn(&syn_ack(0, 200), &syn_ack(1000, 5110));
        assert_eq!([100, 200, 201, 0].map(|script| flow.live_timestamp(script)), [5000, 5110, 5101, 0]);
    }

    #[test]
    fn an_echo_of_a_timestamp_without_a_name_is_of_the_last() {
        let mut flow = flow();
        flow.learn(&TcpSpec { options: None, ..syn_ack(0, 0) }, &syn_ack(1000, 5000));
        assert_eq!(flow.live_timestamp(100), 5000);
        flow.learn(&syn_ack(0, 200), &syn_ack(1000, 5110));
        assert_eq!(flow.live_timestamp(100), 5010);
    }

    #[test]
    fn before_the_handshake_numbers_are_as_written() {
        let mut flow = flow();
        let mut inbound = TcpSpec { flags: TcpFlags::ACK, seq: 17, ack: Some(34), ..TcpSpec::default() };
        flow.put_on_wire(&mut inbound);
        assert_eq!((inbound.seq, inbound.ack), (17, Some(34)));
    }

    #[test]
    fn only_a_new_syn_begins_a_new_count() {
        let mut flow = flow();
        flow.learn(&syn_ack(0, 1), &syn_ack(1000, 1));
        flow.learn(&syn_ack(0, 1), &syn_ack(3000, 1));
        assert_eq!(flow.live_seq(0), 1000);
        flow.put_on_wire(&mut TcpSpec { flags: TcpFlags::SYN, ..TcpSpec::default() });
        flow.learn(&syn_ack(0, 1), &syn_ack(3000, 1));
        assert_eq!(flow.live_seq(0), 3000);
    }
}

//! The link, and what its ruler does to the packets on it.

use super::World;
use crate::fuzzing::source::Source;
use crate::fuzzing::{frames, show, trace};
use crate::{CongestionControl, SocketOption};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::{Instant, Packet, Rng};
use sockeye_wire::{IpLayout, Protocol, TcpFlags, TcpHeader};

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    at: Instant,
    pub(super) to: usize,
    pub(super) packet: Packet,
    is_damaged: bool,
}

impl Flight {
    /// Changes one byte, once in a packet's life: checksums notice that, where two changes may cancel out.
    fn damage(&mut self, at: usize, change: u8) {
        if !core::mem::replace(&mut self.is_damaged, true) {
            self.packet = damaged(&self.packet, at, change);
        }
    }
}

#[derive(Debug)]
pub(super) struct Link {
    flights: Vec<Flight>,
    delay: Duration,
    /// Longer packets are lost, with an ICMP error from a router in between.
    mtu: usize,
    /// While a storm blows: what it does, in 256ths.
    storm: Option<Storm>,
}

#[derive(Debug)]
struct Storm {
    rng: Rng,
    loss: u8,
    duplicate: u8,
    late: u8,
    damage: u8,
}

impl Storm {
    fn hits(&mut self, times: u8) -> bool {
        self.rng.below(256) < u64::from(times)
    }
}

impl Link {
    pub(super) fn new(source: &mut Source<'_>) -> Link {
        let delay = Duration::from_micros(source.pick(&[1000, 0, 50, 20_000, 300_000]));
        Link { flights: Vec::new(), delay, mtu: usize::MAX, storm: None }
    }

    /// When the next packet arrives.
    pub(super) fn next(&self) -> Option<Instant> {
        self.flights.iter().map(|flight| flight.at).min()
    }

    /// The packet that arrives first, if it does by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Flight> {
        let (first, _) = self.flights.iter().enumerate().min_by_key(|(_, flight)| flight.at)?;
        (self.flights[first].at <= now).then(|| self.flights.remove(first))
    }

    pub(super) fn put(&mut self, now: Instant, from: usize, packet: Packet) {
        assert!(self.flights.len() < 20_000, "too much on the link");
        trace(|| format!("{now:?} {from}> {}", show(&packet)));
        let segment = match usize::from(packet.meta.gso_size) {
            0 => packet.len(),
            size => packet.head.len() + size,
        };
        if segment > self.mtu {
            let error = frames::too_big(&frames::bytes(&packet), self.mtu);
            self.flights.push(Flight { at: now + self.delay, to: from, packet: error, is_damaged: false });
            return;
        }
        let mut flight = Flight { at: now + self.delay, to: 1 - from, packet, is_damaged: false };
        if let Some(storm) = &mut self.storm {
            if storm.hits(storm.loss) {
                return;
            }
            if storm.hits(storm.duplicate) {
                self.flights.push(flight.clone());
            }
            if storm.hits(storm.late) {
                flight.at += self.delay * 2;
            }
            if storm.hits(storm.damage) {
                let (at, change) = (storm.rng.next_u32() as usize, 1 + storm.rng.below(255) as u8);
                flight.damage(at, change);
            }
        }
        self.flights.push(flight);
    }

    pub(super) fn change(&mut self, source: &mut Source<'_>, v6: bool) {
        if source.chance(128) {
            self.delay = Duration::from_micros(source.pick(&[1000, 0, 50, 20_000, 300_000]));
        } else {
            let mtu = source.pick(&[usize::MAX, 1400, 1280, 576]);
            self.mtu = if v6 { mtu.max(1280) } else { mtu };
        }
    }

    pub(super) fn become_fair(&mut self) {
        self.storm = None;
        self.delay = Duration::from_millis(5);
    }
}

impl World {
    /// Something happens to a packet on the link.
    pub(super) fn meddle(&mut self, source: &mut Source<'_>) {
        let count = self.link.flights.len();
        if count == 0 {
            return;
        }
        let at = source.below(count.min(256));
        let flights = &mut self.link.flights;
        match source.byte() {
            0..=89 => {
                let flight = flights.remove(at);
                self.arrive(flight);
            }
            90..=139 => drop(flights.remove(at)),
            140..=169 => {
                let again = flights[at].clone();
                flights.push(again);
            }
            170..=199 => {
                let (place, change) = (source.below(65_536), source.byte().max(1));
                flights[at].damage(place, change);
            }
            200..=219 => flights[at].at += Duration::from_millis(source.below(2000) as u64),
            220..=237 => {
                if let Some([first, second]) = cut(&flights[at].packet, source) {
                    let rest = Flight { packet: second, ..flights[at].clone() };
                    flights[at].packet = first;
                    flights.insert(at + 1, rest);
                }
            }
            _ => {
                for other in 0..count {
                    if other != at && flights[other].to == flights[at].to {
                        let Some(joined) = joined(&flights[at].packet, &flights[other].packet) else {
                            continue;
                        };
                        flights[at].packet = joined;
                        flights.remove(other);
                        break;
                    }
                }
            }
        }
    }

    /// For a while everything that programs and time do goes on, over a bad link.
    pub(super) fn storm(&mut self, source: &mut Source<'_>) {
        let levels: [u8; 5] = [0, 3, 13, 50, 130];
        self.link.storm = Some(Storm {
            rng: Rng::from_u64(u64::from(source.word())),
            loss: source.pick(&levels),
            duplicate: source.pick(&levels),
            late: source.pick(&levels),
            damage: source.pick(&[0, 0, 13]),
        });
        let millis = source.pick(&[50, 5, 500, 3000]);
        let end = self.now + Duration::from_millis(millis);
        for _ in 0..200 {
            self.run_programs(None);
            self.settle();
            let timers = self.hosts.iter().filter_map(crate::Stack::poll_timeout).map(|wake| wake.at);
            let Some(next) = timers.chain(self.link.next()).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            self.happen(true);
        }
        self.link.storm = None;
    }

    pub(super) fn option(&mut self, source: &mut Source<'_>) {
        let programs: Vec<(usize, crate::SocketId)> = self
            .flows
            .iter()
            .flatten()
            .filter_map(|program| Some((program.host, program.end.id()?)))
            .collect();
        let Some(&(host, id)) = programs.get(source.below(programs.len())) else { return };
        let on = source.chance(128);
        let option = match source.below(10) {
            0 => SocketOption::NoDelay(on),
            1 => SocketOption::Cork(on),
            2 => SocketOption::QuickAck(on),
            3 => SocketOption::MaxSegment(source.pick(&[0, 88, 536])),
            4 => SocketOption::RecvBuffer(source.pick(&[2000, 4000, 100_000])),
            5 => SocketOption::SendBuffer(source.pick(&[2000, 4000, 100_000])),
            6 => SocketOption::WindowClamp(source.pick(&[0, 1152, 5000])),
            7 => SocketOption::NotSentLowWater(source.pick(&[u32::MAX, 1, 5000])),
            8 => SocketOption::KeepAlive(on),
            _ => SocketOption::Congestion(source.pick(&[CongestionControl::Reno, CongestionControl::Cubic])),
        };
        self.hosts[host].set_option(self.now, id, option).expect("an option");
    }
}

/// The packet with one byte changed: checksums notice.
fn damaged(packet: &Packet, at: usize, change: u8) -> Packet {
    let mut bytes = frames::bytes(packet);
    let at = at % bytes.len();
    bytes[at] ^= change;
    frames::received(bytes)
}

/// The TCP header of a packet that has some, and where it starts.
fn tcp_header(packet: &Packet) -> Option<(TcpHeader, usize)> {
    let layout = IpLayout::parse(&packet.head).ok()?;
    if layout.protocol != Protocol::TCP || packet.payload.is_empty() {
        return None;
    }
    Some((TcpHeader::parse(&packet.head[layout.transport..]).ok()?.0, layout.transport))
}

fn write_header(packet: &mut Packet, header: &TcpHeader, transport: usize) {
    header.emit(&mut packet.head[transport..]);
    packet.head.state_len(packet.len());
}

/// A super-segment in two.
fn cut(packet: &Packet, source: &mut Source<'_>) -> Option<[Packet; 2]> {
    let size = usize::from(packet.meta.gso_size);
    let (header, transport) = tcp_header(packet).filter(|_| size > 0 && packet.payload.len() > size)?;
    let segments = packet.payload.len().div_ceil(size);
    let at = size * (1 + source.below(segments - 1));
    let (mut first, mut second) = (packet.clone(), packet.clone());
    first.payload = packet.payload.slice(0, at);
    second.payload = packet.payload.slice(at, packet.payload.len());
    let flags = header.flags & !(TcpFlags::FIN | TcpFlags::PSH);
    write_header(&mut first, &TcpHeader { flags, ..header }, transport);
    write_header(&mut second, &TcpHeader { seq: header.seq.wrapping_add(at as u32), ..header }, transport);
    Some([first, second])
}

/// Two segments that continue each other as one super-segment, as an interface that offloads makes them.
fn joined(first: &Packet, second: &Packet) -> Option<Packet> {
    let (one, transport) = tcp_header(first)?;
    let (two, _) = tcp_header(second)?;
    let len = first.payload.len();
    let size = if first.meta.gso_size > 0 { usize::from(first.meta.gso_size) } else { len };
    let plain = TcpFlags::ACK;
    let alike = TcpHeader { seq: one.seq, flags: one.flags, ..two } == one;
    let continues =
        two.seq == one.seq.wrapping_add(len as u32) && one.flags == plain && len.is_multiple_of(size);
    let fits = second.payload.len() <= size && first.len() + second.payload.len() < 60_000;
    let same_ends = first.head[transport..transport + 4] == second.head[transport..transport + 4];
    let intact =
        [first, second].iter().all(|packet| packet.meta.checksum == sockeye_packet::Checksum::Unfilled);
    if !(alike && continues && fits && same_ends && intact && second.meta.gso_size == 0) {
        return None;
    }
    let mut both = first.clone();
    both.payload.extend(second.payload.clone());
    both.meta.gso_size = size as u16;
    write_header(&mut both, &TcpHeader { flags: one.flags | two.flags, ..one }, transport);
    Some(both)
}

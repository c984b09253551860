//! Packet lines: those to inject, those to expect.

use super::clock::PATIENCE;
use super::flow::Flow;
use super::trace::{Wrong, seconds};
use super::wire::{Ends, Outbound, Sent};
use super::{Player, compare, notation, wire};
use crate::script::{Direction, EventTime, IcmpSpec, IpSpec, Packet, TcpSpec};
use core::net::SocketAddr;
use core::time::Duration;
use sockeye_packet::Batch;

/// Packets from outside.
impl Player {
    pub(super) fn inject(&mut self, packet: &Packet) -> Result<(), Wrong> {
        self.trace.note(self.elapsed(), format_args!("< {}", notation::packet(packet)));
        let bytes = match packet {
            Packet::Tcp(spec) => self.build_segment(spec)?,
            Packet::Icmp(spec) => self.build_icmp(spec)?,
            Packet::Udp { len, ip, .. } => {
                let (src, dst) = (self.remote_of_datagrams(), self.local_of_datagrams()?);
                wire::udp(Ends { src, dst }, *ip, *len, self.now)?
            }
        };
        let mut batch = Batch::new();
        batch.push(bytes);
        self.stack.handle_packets(self.now, self.nic, &mut batch);
        self.settle()
    }

    fn build_segment(&mut self, spec: &TcpSpec) -> Result<sockeye_packet::Packet, Wrong> {
        self.turn_to(spec.ports, Direction::Inbound)?;
        self.meet_caller()?;
        let now = self.now;
        let flow = self.flow.as_mut().ok_or_else(no_flow)?;
        let mut spec = spec.clone();
        flow.put_on_wire(&mut spec);
        let ends = Ends { src: flow.remote, dst: flow.local };
        let payload = vec![0; spec.len as usize];
        Ok(wire::segment(ends, &spec, &payload, self.settings.mss, now)?)
    }

    fn build_icmp(&mut self, spec: &IcmpSpec) -> Result<sockeye_packet::Packet, Wrong> {
        let flow = self.flow.as_ref().ok_or_else(no_flow)?;
        let ends = Ends { src: flow.remote, dst: flow.local };
        let seq = flow.live_seq(spec.quoted.map_or(0, |(seq, _)| seq));
        Ok(wire::icmp(ends, spec, seq, self.now)?)
    }

    /// Before the first packet for a socket that listens, or is only bound: somebody calls from a new port.
    fn meet_caller(&mut self) -> Result<(), Wrong> {
        if self.flow.is_some() {
            return Ok(());
        }
        let local = self.program.open_to(&self.stack).ok_or_else(no_flow)?;
        let local = SocketAddr::new(self.settings.local, local.port);
        let remote = SocketAddr::new(self.settings.remote, self.next_port);
        self.next_port += 1;
        self.flow = Some(Flow::new(local, remote));
        Ok(())
    }

    fn remote_of_datagrams(&self) -> SocketAddr {
        SocketAddr::new(self.settings.remote, self.settings.connect_port)
    }

    fn local_of_datagrams(&self) -> Result<SocketAddr, Wrong> {
        let local = self.program.latest_datagram(&self.stack).ok_or_else(no_flow)?;
        Ok(SocketAddr::new(self.settings.local, local.port))
    }
}

/// Packets of the stack.
impl Player {
    /// Waits for the next packet of the connection under test, and sees whether it is the one.
    pub(super) fn expect(
        &mut self,
        packet: &Packet,
        time: EventTime,
        from: Duration,
        to: Duration,
    ) -> Result<(), Wrong> {
        let spec = match packet {
            Packet::Tcp(spec) => Some(spec),
            Packet::Udp { .. } => None,
            Packet::Icmp(_) => return Err(Wrong::from("an ICMP error can't be expected".to_owned())),
        };
        self.turn_to(spec.and_then(|spec| spec.ports), Direction::Outbound)?;
        let tolerance = self.settings.tolerance_after(from.saturating_sub(self.last));
        let limit = if time == EventTime::Any { self.elapsed() + PATIENCE } else { to + tolerance };
        let mut found = false;
        self.advance_until(self.start + limit, |player| {
            found = player.sent.iter().any(|sent| player.concerns(sent));
            found
        })?;
        if !found {
            return self.nothing_came(packet, limit);
        }
        let Some(next) = self.next_concerning() else { return Ok(()) };
        let at = next.at() - self.start;
        match (packet, next) {
            (Packet::Tcp(spec), Outbound::Tcp(sent)) => self.expect_segment(spec, sent)?,
            (Packet::Udp { len: wanted, .. }, Outbound::Udp { len, .. }) if *wanted == len => {
                self.trace.note(at, format_args!("> udp ({len})"));
            }
            (_, other) => {
                return Err(Wrong::new(format!("> {}", notation::packet(packet)), format!("{other:?}")));
            }
        }
        if time != EventTime::Any {
            self.check_time(time, from, to, at, "the packet")?;
        }
        self.current = at.max(self.elapsed());
        Ok(())
    }

    /// Takes the next packet that concerns the script from the queue. What is before it is passed over, except
    /// that packets of other connections wait for lines that name them.
    fn next_concerning(&mut self) -> Option<Outbound> {
        let at = self.sent.iter().position(|sent| self.concerns(sent))?;
        let next = self.sent.remove(at);
        let before: Vec<Outbound> = self.sent.drain(..at).collect();
        for packet in before.into_iter().rev() {
            match &packet {
                Outbound::Tcp(sent) if self.others.iter().any(|flow| flow.sends(sent.src, sent.dst)) => {
                    self.sent.push_front(packet);
                }
                other => self.trace.note(other.at() - self.start, "a packet of no connection under test"),
            }
        }
        next
    }

    /// A line that names its ports makes their connection the one under test; from outside, also a new one.
    fn turn_to(&mut self, ports: Option<(u16, u16)>, direction: Direction) -> Result<(), Wrong> {
        let Some((src, dst)) = ports else { return Ok(()) };
        let ports = if direction == Direction::Inbound { (dst, src) } else { (src, dst) };
        if self.flow.as_ref().is_some_and(|flow| flow.is_between(ports)) {
            return Ok(());
        }
        let known = self.others.iter().position(|flow| flow.is_between(ports));
        let flow = match known {
            Some(at) => self.others.remove(at),
            None if direction == Direction::Inbound => {
                let ends = (self.settings.local, self.settings.remote);
                Flow::new(SocketAddr::new(ends.0, ports.0), SocketAddr::new(ends.1, ports.1))
            }
            None => return Err(no_flow()),
        };
        self.others.extend(self.flow.replace(flow));
        Ok(())
    }

    /// Whether a packet is one that a script sees.
    fn concerns(&self, packet: &Outbound) -> bool {
        match (packet, &self.flow) {
            (Outbound::Tcp(sent), Some(flow)) => flow.sends(sent.src, sent.dst),
            (Outbound::Udp { .. }, _) => true,
            _ => false,
        }
    }

    fn expect_segment(&mut self, expected: &TcpSpec, sent: Sent) -> Result<(), Wrong> {
        let queue = &mut self.sent;
        let (sent, rest) = compare::gather(expected, sent, |sent| {
            let joins = matches!(queue.front(), Some(Outbound::Tcp(next)) if compare::joins(sent, next));
            match queue.pop_front_if(|_| joins) {
                Some(Outbound::Tcp(next)) => Some(next),
                _ => None,
            }
        });
        if let Some(rest) = rest {
            self.sent.push_front(Outbound::Tcp(rest));
        }
        let flow = self.flow.as_mut().ok_or_else(no_flow)?;
        flow.learn(expected, &sent.spec);
        let at = sent.at - self.start;
        let mut spec = sent.spec;
        flow.take_to_script(&mut spec);
        let tolerance = self.settings.tolerance_after(self.current.saturating_sub(self.last));
        let ts = self.settings.ts_tick.map(|tick| (tick, tolerance));
        let difference = compare::difference(expected, &spec, ts);
        // Where the line doesn't speak of them, type of service and the like are only in the way.
        spec.ip.tos = spec.ip.tos.filter(|_| expected.ip.tos.is_some());
        spec.ip.ttl = spec.ip.ttl.filter(|_| expected.ip.ttl.is_some());
        spec.ip.flow_label = spec.ip.flow_label.filter(|_| expected.ip.flow_label.is_some());
        spec.ip.ecn = spec.ip.ecn.filter(|_| expected.ip.ecn.is_some());
        let line = notation::tcp(&spec);
        match difference {
            None => {
                self.trace.note(at, format_args!("> {line}"));
                Ok(())
            }
            Some(what) => Err(Wrong::new(
                format!("> {}", notation::tcp(expected)),
                format!("> {line} at {}: {what}", seconds(at)),
            )),
        }
    }

    /// Nothing was sent in time: tells what comes next, if anything does.
    fn nothing_came(&mut self, packet: &Packet, limit: Duration) -> Result<(), Wrong> {
        let expected = format!("> {} until {}", notation::packet(packet), seconds(limit));
        let mut next = None;
        let found = self.advance_until(self.now + PATIENCE, |player| {
            next = player.sent.iter().find(|sent| player.concerns(sent)).cloned();
            next.is_some()
        });
        let came = match (found, next) {
            (Ok(()), Some(Outbound::Tcp(mut sent))) => {
                if let Some(flow) = &self.flow {
                    flow.take_to_script(&mut sent.spec);
                }
                sent.spec.ip = IpSpec::default();
                format!("nothing until {}: > {}", seconds(sent.at - self.start), notation::tcp(&sent.spec))
            }
            (Ok(()), Some(other)) => format!("nothing until {}", seconds(other.at() - self.start)),
            _ => "nothing".to_owned(),
        };
        Err(Wrong::new(expected, came))
    }
}

fn no_flow() -> Wrong {
    Wrong::new("a connection under test", "no socket listens, is bound or has connected")
}

//! Flows out of the network: where they may go, and connections until both sides are open.

use super::tasks::Token;
use super::{Gateway, Source, Task, machine};
use crate::world::World;
use rustix::net::sockopt::socket_error;
use sockeye_packet::Instant;
use sockeye_stack::{Flow, FlowId, FlowProtocol, SockAddr, SocketId, Unreachability, Verdict};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// A machine socket that connects for a flow.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) fd: OwnedFd,
    pub(super) flow: FlowId,
    /// It has connected, or has failed.
    pub(super) ready: bool,
}

/// A machine socket whose flow is being opened.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) fd: OwnedFd,
    pub(super) flow: FlowId,
}

impl Gateway {
    /// Somebody wants to reach an address outside.
    pub(super) fn incoming(&mut self, world: &World, now: Instant, id: FlowId) {
        let Some(flow) = self.with(world, |stack| stack.flow(id)) else { return };
        let begun = match self.target(flow.dst) {
            Err(why) => Err(Verdict::Unreachable(why)),
            Ok(target) => match flow.protocol {
                FlowProtocol::Tcp => self.connect_out(world, now, id, (&flow, &target)),
                FlowProtocol::Udp => self.accept_datagrams(world, now, id, (&flow, &target)),
            },
        };
        tracing::trace!(flow = ?flow, refused = ?begun, "a flow out of the network");
        if let Err(verdict) = begun {
            // It may be lost by now.
            self.with(world, |stack| stack.answer(now, id, verdict)).ok();
        }
    }

    /// Where the machine's socket connects to for a flow to `dst`.
    pub(super) fn target(&self, dst: SockAddr) -> Result<SocketAddr, Unreachability> {
        let ip = self.target_ip(dst.ip_addr())?;
        if dst.port == 0 {
            return Err(Unreachability::Port);
        }
        Ok(SocketAddr::new(ip, dst.port))
    }

    /// The machine's loopback address for one that stands for it; never because a packet says so.
    pub(super) fn target_ip(&self, ip: IpAddr) -> Result<IpAddr, Unreachability> {
        if !self.config.outward {
            return Err(Unreachability::Network);
        }
        let [v4, v6] = self.machine;
        if ip == v4 {
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        if ip == v6 {
            return Ok(Ipv6Addr::LOCALHOST.into());
        }
        let is_unicast = match ip {
            IpAddr::V4(ip) => {
                ip.octets()[0] != 0 && !ip.is_loopback() && !ip.is_multicast() && !ip.is_broadcast()
            }
            // With the first 80 bits zero: `::`, `::1`, and IPv4 addresses in disguise, 127.0.0.1 among them.
            IpAddr::V6(ip) => {
                ip.segments()[..5] != [0; 5] && !ip.is_multicast() && !ip.is_unicast_link_local()
            }
        };
        if is_unicast { Ok(ip) } else { Err(Unreachability::Prohibited) }
    }

    fn connect_out(
        &mut self,
        world: &World,
        now: Instant,
        id: FlowId,
        (flow, target): (&Flow, &SocketAddr),
    ) -> Result<(), Verdict> {
        let source = Source::of(world, flow.src.ip_addr());
        let has_room = |gateway: &Gateway| gateway.streams.admit(source, gateway.config.max_streams);
        let gives_up = |gateway: &Gateway| gateway.connecting.len() >= gateway.config.max_connecting;
        if (!has_room(self) || gives_up(self))
            && let Some(victim) = self.connecting.victim(source)
        {
            self.give_up(world, now, victim);
        }
        if !has_room(self) {
            return Err(Verdict::Unreachable(Unreachability::Host));
        }
        let fd = machine::connect_stream(target).map_err(|error| machine::verdict(self.note_error(error)))?;
        let token = self.watch(fd, |fd| Task::Connecting(Connecting { fd, flow: id, ready: false }));
        let token = token.map_err(|_| Verdict::Unreachable(Unreachability::Host))?;
        self.streams.add(now, token, source);
        self.connecting.add(now, token, source);
        self.flows.insert(id, token);
        Ok(())
    }

    /// Gives up an attempt that nothing has answered. A client that still waits asks again.
    fn give_up(&mut self, world: &World, now: Instant, token: Token) {
        if let Some(&mut Task::Connecting(Connecting { flow, .. })) = self.tasks.get(token) {
            self.with(world, |stack| stack.answer(now, flow, Verdict::Drop)).ok();
        }
        self.end(world, now, token);
    }

    pub(super) fn step_connecting(&mut self, world: &World, now: Instant, token: Token) {
        let Some(Task::Connecting(connecting)) = self.tasks.get(token) else { return };
        if !std::mem::take(&mut connecting.ready) {
            return;
        }
        let flow = connecting.flow;
        let verdict = match socket_error(&connecting.fd) {
            Ok(Ok(())) if machine::talks_to_itself(&connecting.fd) => Verdict::Reset,
            Ok(Ok(())) => Verdict::Accept,
            Ok(Err(error)) | Err(error) => machine::verdict(error),
        };
        let answered = self.with(world, |stack| stack.answer(now, flow, verdict));
        if verdict != Verdict::Accept || answered.is_err() {
            return self.end(world, now, token);
        }
        self.connecting.remove(token);
        self.tasks.replace(token, |task| match task {
            Task::Connecting(Connecting { fd, flow, .. }) => Task::Accepted(Accepted { fd, flow }),
            other => other,
        });
    }

    /// An accepted flow has its socket.
    pub(super) fn opened(&mut self, world: &World, now: Instant, flow: FlowId, id: SocketId) {
        let Some(token) = self.flows.remove(&flow) else {
            self.with(world, |stack| stack.abort(now, id)).ok();
            return;
        };
        self.sockets.insert(id, token);
        match self.tasks.get(token) {
            Some(Task::Accepted(_)) => self.begin_relay(world, now, token, id),
            Some(Task::Datagrams(datagrams)) => {
                datagrams.id = Some(id);
                self.step(world, now, token);
            }
            _ => {}
        }
    }
}

//! UDP flows: datagrams that are held, the connected socket once they are accepted, errors told later.

use super::table::State;
use super::tcp::domain_of;
use super::unreachable::Unreachability;
use crate::counters::Counter;
use crate::demux::{Proto, Target, Tuple};
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::ip::input::Ingress;
use crate::slab::Key;
use crate::socket::udp::Udp;
use crate::socket::{Kind, Socket, SocketId, scoped, tuple_scope};
use crate::{Datagram, Stack};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use sockeye_packet::Instant;

impl Stack {
    /// A datagram for an address that is not the host's and for no socket.
    pub(crate) fn foreign_datagram(
        &mut self,
        now: Instant,
        tuple: Tuple,
        ingress: &Ingress,
        datagram: Datagram,
    ) {
        let owner = self.target_of(&tuple);
        let io = &mut self.io;
        let key = match owner {
            Some(Target::Flow(key)) => key,
            _ if io.flows.config().is_none() => {
                io.counters.bump(Counter::IpInAddrErrors);
                return;
            }
            // Nobody could be answered at port 0.
            _ if !io.flows.has_room() || tuple.remote_port == 0 => {
                io.counters.bump(Counter::FlowsFull);
                return;
            }
            _ => {
                let key = io.flows.add(tuple, ingress.nic, State::Datagrams(VecDeque::new()));
                io.wait_for_answer(now, key, &tuple);
                key
            }
        };
        let budget = &mut io.budget;
        if !io.flows.push(key, datagram, |cost| budget.try_charge(cost)) {
            io.counters.bump(Counter::FlowsFull);
        }
    }

    /// Makes the socket of a flow, with what it has received so far.
    pub(super) fn accept_datagrams(&mut self, key: Key) -> Result<()> {
        if self.sockets.len() >= self.io.config.max_sockets {
            return Err(Error::NoBufs);
        }
        let record = self.io.flows.get(key).ok_or(Error::InvalidArgument)?;
        let (tuple, nic) = (record.tuple, record.nic);
        let (datagrams, charged) = self.io.flows.take_datagrams(key);
        self.io.budget.release(charged);
        self.io.let_go(key);
        let udp = Udp::foreign(&self.io.config, tuple);
        let id = SocketId(self.sockets.insert(Socket {
            local: scoped(tuple.local, tuple.local_port, nic),
            peer: Some(scoped(tuple.remote, tuple.remote_port, nic)),
            ..Socket::new(domain_of(&tuple), self.io.flow_owner(), Kind::Udp(Box::new(udp)))
        }));
        self.io.demux.insert(&tuple, Target::Datagram(id));
        self.io.flows.finish(key, State::Opened(id));
        for datagram in datagrams {
            self.udp_queue_in(id, datagram);
        }
        self.touch(id, Readiness::READABLE);
        Ok(())
    }

    /// Tells the client of an accepted UDP flow that its datagrams don't arrive: an ICMP error, which quotes
    /// one of them. At most [`icmp_rate`](crate::Config::icmp_rate) errors a second leave the host.
    ///
    /// Any connected UDP socket will do; others are [`Error::NotConnected`], sockets of other types
    /// [`Error::NotSupported`].
    pub fn refuse_datagrams(&mut self, now: Instant, id: SocketId, why: Unreachability) -> Result<()> {
        let socket = self.socket_ref(id)?;
        if socket.proto() != Proto::Udp {
            return Err(Error::NotSupported);
        }
        let (local, peer) = (socket.local, socket.peer.ok_or(Error::NotConnected)?);
        let nic = self.io.path(&peer.ip, Some(local.ip), peer.scope)?.nic;
        let tuple = Tuple {
            local: local.ip,
            remote: peer.ip,
            local_port: local.port,
            remote_port: peer.port,
            scope: tuple_scope(&local.ip, &peer.ip, nic),
            proto: Proto::Udp,
        };
        self.io.refuse_datagram(now, nic, &tuple, why);
        Ok(())
    }
}

//! What programs do: any call on any socket, also on those that are closed.

use super::{LINK, World};
use crate::fuzzing::source::Source;
use crate::fuzzing::{bytes_from, first_wrong, write_len};
use crate::{
    CongestionControl, Domain, Intercept, MtuDiscover, OptionName, Owner, Readiness, RecvFlags, SendFlags,
    Shutdown, SockAddr, SocketId, SocketOption, SocketType,
};
use alloc::collections::VecDeque;
use core::time::Duration;

impl World {
    /// Two listeners, two datagram sockets.
    pub(super) fn start(&mut self) {
        for (kind, port) in [
            (SocketType::Stream, 80),
            (SocketType::Stream, 81),
            (SocketType::Datagram, 53),
            (SocketType::Datagram, 54),
        ] {
            let id = self.stack.socket(self.domain(), kind, Owner::default()).expect("a socket");
            self.stack.bind(id, SockAddr::new(self.own(), port)).expect("a free port");
            if kind == SocketType::Stream {
                self.stack.listen(self.now, id, usize::from(port - 80) * 4).expect("a free port");
            }
            self.sockets.push(id);
        }
    }

    fn domain(&self) -> Domain {
        if self.v6 { Domain::Inet6 } else { Domain::Inet }
    }

    pub(super) fn program(&mut self, source: &mut Source<'_>) {
        let count = self.sockets.len();
        if count == 0 {
            return self.open(source);
        }
        // The latest ones most often.
        let at =
            if source.chance(128) { source.below(count) } else { count - 1 - source.below(count.min(4)) };
        let Some(&id) = self.sockets.get(at) else { return self.open(source) };
        match source.byte() {
            0..=59 => self.send(source, id),
            60..=119 => self.receive(source, id),
            120..=144 => self.accept(source),
            145..=159 => self.open(source),
            160..=174 => self.connect(source, id),
            175..=189 => self.end(source, id),
            190..=209 => self.set(source, id),
            210..=214 => {
                let how = source.pick(&[Shutdown::Write, Shutdown::Read, Shutdown::Both]);
                let _ = self.stack.shutdown(self.now, id, how);
            }
            215..=222 => drop(self.stack.listen(self.now, id, source.below(5))),
            223..=227 => {
                let port = source.pick(&[0, 80, 81, 82, 53]);
                let _ = self.stack.bind(id, SockAddr::new(self.own(), port));
            }
            228..=232 => drop(self.stack.disconnect(self.now, id)),
            233..=237 => drop(self.stack.take_error(id)),
            238..=241 => {
                let how = source.chance(128).then(|| Intercept { max_flows: 4, ..Intercept::default() });
                self.stack.intercept(how);
            }
            _ => self.ask(source, id),
        }
    }

    fn open(&mut self, source: &mut Source<'_>) {
        let kind =
            source.pick(&[SocketType::Stream, SocketType::Stream, SocketType::Datagram, SocketType::Ping]);
        if let Ok(id) = self.stack.socket(self.domain(), kind, Owner::default()) {
            self.sockets.push(id);
        }
    }

    fn accept(&mut self, source: &mut Source<'_>) {
        let Some(&id) = self.sockets.get(source.pick(&[0, 1, 2, 4])) else { return };
        let told = self.stack.readiness(id).contains(Readiness::ACCEPT);
        match self.stack.accept(self.now, id) {
            Ok((child, _)) => self.sockets.push(child),
            Err(error) => assert!(!told || error != crate::Error::WouldBlock, "nothing to accept"),
        }
    }

    fn connect(&mut self, source: &mut Source<'_>, id: SocketId) {
        let to = if source.chance(160) { self.foreign(source.below(3) as u8) } else { self.own() };
        let port = source.pick(&[80, 81, 7, 2000]);
        let _ = self.stack.connect(self.now, id, SockAddr::new(to, port));
    }

    fn send(&mut self, source: &mut Source<'_>, id: SocketId) {
        let len = write_len(source);
        let flags = SendFlags {
            more: source.chance(20),
            oob: source.chance(10),
            dont_route: source.chance(10),
            // Drawn from nothing of its own: what was kept would mean something else.
            eor: len % 5 == 3,
        };
        // Every byte of a stream is that of its sequence number.
        let seq = self.stack.view_of(self.now, id).map_or(0, |(_, send_end)| send_end);
        let mut chunks = VecDeque::from([bytes_from(seq, len)]);
        let _ = self.stack.send(self.now, id, &mut chunks, flags);
    }

    fn receive(&mut self, source: &mut Source<'_>, id: SocketId) {
        let max = source.pick(&[100_000, 1000, 100, 1, 0]);
        let flags = RecvFlags { peek: source.chance(30), oob: source.chance(10) };
        let view = self.stack.view_of(self.now, id);
        let ready = self.stack.readiness(id);
        let read = self.stack.recv(self.now, id, max, flags);
        if let Err(error) = read {
            let told = ready.contains(Readiness::READABLE) && !flags.oob;
            assert!(!told || error != crate::Error::WouldBlock, "{id:?} was called readable");
        }
        let (Some((view, _)), Ok(payload)) = (view, read) else { return };
        if flags.oob {
            return;
        }
        let data = payload.to_vec();
        let inline = self.stack.get_option(id, OptionName::OobInline) == Ok(SocketOption::OobInline(true));
        let skipped = u32::from(view.urgent == Some(view.read_seq) && !inline);
        let wrong = first_wrong((view.read_seq + skipped).0, &data);
        assert_eq!(wrong, None, "read {} bytes at {:?}", data.len(), view.read_seq);
    }

    fn end(&mut self, source: &mut Source<'_>, id: SocketId) {
        let ended = if source.chance(60) {
            self.stack.abort(self.now, id)
        } else if source.chance(80) {
            self.stack.close_to_orphan(self.now, id).map(drop)
        } else {
            self.stack.close(self.now, id)
        };
        // Ids of closed sockets stay in the list for a while.
        if ended.is_err() {
            self.sockets.retain(|other| *other != id);
        }
    }

    fn set(&mut self, source: &mut Source<'_>, id: SocketId) {
        let on = source.chance(128);
        let time = Duration::from_millis(source.pick(&[0, 1, 1000, 3000, 60_000]));
        let size = source.pick(&[0, 1, 2000, 100_000, 10_000_000]);
        let option = match source.below(30) {
            0 => SocketOption::ReuseAddr(on),
            1 => SocketOption::ReusePort(on),
            2 => SocketOption::KeepAlive(on),
            3 => SocketOption::Linger(on.then_some(time)),
            4 => SocketOption::Broadcast(on),
            5 => SocketOption::OobInline(on),
            6 => SocketOption::RecvBuffer(size),
            7 => SocketOption::SendBuffer(size),
            8 => SocketOption::RecvLowWater(size as u32),
            9 => SocketOption::BindToNic(on.then_some(LINK)),
            10 => SocketOption::Ttl(on.then_some(size as u8)),
            11 => SocketOption::Tos(size as u8),
            12 => SocketOption::V6Only(on),
            13 => SocketOption::MtuDiscover(source.pick(&[
                MtuDiscover::Want,
                MtuDiscover::Dont,
                MtuDiscover::Do,
            ])),
            14 => SocketOption::NoDelay(on),
            15 => SocketOption::Cork(on),
            16 => SocketOption::QuickAck(on),
            17 => SocketOption::MaxSegment(source.pick(&[0, 88, 536, 1000, 40])),
            18 => SocketOption::UserTimeout(time),
            19 => SocketOption::KeepIdle(time),
            20 => SocketOption::KeepInterval(time),
            21 => SocketOption::KeepCount(size as u32),
            22 => SocketOption::DeferAccept(time),
            23 => SocketOption::FinTimeout(on.then_some(time)),
            24 => SocketOption::WindowClamp(size as u32),
            25 => SocketOption::HopLimit(on.then_some(size as u8)),
            26 => SocketOption::TrafficClass(size as u8),
            28 => SocketOption::UdpCork(on),
            27 => SocketOption::MtuDiscoverV6(if on { MtuDiscover::Do } else { MtuDiscover::Dont }),
            _ => source.pick(&[
                SocketOption::NotSentLowWater(1),
                SocketOption::NotSentLowWater(u32::MAX),
                SocketOption::Congestion(CongestionControl::Reno),
                SocketOption::Congestion(CongestionControl::Cubic),
                SocketOption::SynCount(1),
            ]),
        };
        let _ = self.stack.set_option(self.now, id, option);
    }

    /// Calls that only ask.
    fn ask(&mut self, source: &mut Source<'_>, id: SocketId) {
        let _ = source;
        let stack = &mut self.stack;
        let _ =
            (stack.local_addr(id), stack.peer_addr(id), stack.tcp_info(self.now, id), stack.tcp_state(id));
        let _ = (stack.send_space(id), stack.send_queued(id), stack.recv_queued(id), stack.at_mark(id));
        let _ = (stack.get_option(id, OptionName::MaxSegment), stack.counters(), stack.owner(id));
        drop(stack.poll_echo());
    }
}

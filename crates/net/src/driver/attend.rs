//! Threads that are about to sleep, and move their host's packets while they still watch.
//!
//! Whoever sends to the host meanwhile leaves the packets to that thread, on whose processor the host's state is: it
//! doesn't travel to the sender's and back for every packet.

use super::{Core, Scratch};
use crate::host::{HostCore, Token};
use crate::sync::atomic::Ordering;

/// A thread's watch over its host, which ends when dropped. What others have left to it by then is done.
pub(crate) struct Attendance<'a> {
    core: &'a Core,
    host: &'a HostCore,
    /// None while another thread moves the host's packets.
    token: Option<Token<'a>>,
}

impl Core {
    /// Begins to watch over a host. In a manual network that is nobody's but who turns it.
    pub(crate) fn attend<'a>(&'a self, host: &'a HostCore) -> Attendance<'a> {
        let token = if self.clock.is_manual() { None } else { host.try_token() };
        Attendance { core: self, host, token }
    }
}

impl Attendance<'_> {
    /// Does what others have left to this thread.
    pub(crate) fn look(&mut self) {
        if self.token.is_some() && self.host.work.load(Ordering::Relaxed) {
            self.leave();
            self.token = self.host.try_token();
        }
    }

    fn leave(&mut self) {
        // Who found the token taken has left its note before; who didn't see it taken needs none.
        if self.token.take().is_none() || !self.host.work.load(Ordering::SeqCst) {
            return;
        }
        let mut scratch = Scratch::take();
        scratch.queue.push_back(self.host.index);
        self.core.finish(self.core.clock.now(), scratch);
    }
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(all(test, not(sockeye_model)))]
mod tests {
    use crate::{Host, HostConfig, Network, NetworkBuilder};
    use std::io;

    fn hosts(build: fn(NetworkBuilder) -> Result<Network, crate::Error>) -> (Network, Host, Host) {
        let builder = Network::builder().host("web", HostConfig::default());
        let network = build(builder.host("me", HostConfig::default())).unwrap();
        let (web, me) = (network.host("web").unwrap(), network.host("me").unwrap());
        (network, web, me)
    }

    #[test]
    fn what_comes_meanwhile_is_left_to_who_attends() {
        let (_network, web, me) = hosts(NetworkBuilder::build);
        let receiver = web.udp_bind((web.ipv4(), 9)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let sender = me.udp_bind((me.ipv4(), 0)).unwrap();
        let send = || sender.send_to(b"?", (web.ipv4(), 9)).unwrap();
        let receive = || receiver.recv(&mut [0; 8]).map_err(|error| error.kind());

        let mut attendance = web.shared.core.attend(&web.core);
        send();
        assert_eq!(receive(), Err(io::ErrorKind::WouldBlock), "it was delivered by another thread");
        attendance.look();
        assert_eq!(receive(), Ok(1));
        send();
        drop(attendance);
        assert_eq!(receive(), Ok(1), "what came last was forgotten");
        send();
        assert_eq!(receive(), Ok(1), "nobody attends any more");
    }

    #[test]
    fn a_manual_network_is_left_to_who_turns_it() {
        let (network, web, me) = hosts(NetworkBuilder::build_manual);
        let receiver = web.udp_bind((web.ipv4(), 9)).unwrap();
        let sender = me.udp_bind((me.ipv4(), 0)).unwrap();
        let mut attendance = web.shared.core.attend(&web.core);
        sender.send_to(b"?", (web.ipv4(), 9)).unwrap();
        attendance.look();
        network.turn(network.now());
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1);
    }
}

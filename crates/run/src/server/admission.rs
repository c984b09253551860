//! Who may speak to a network: processes of the same user that aren't supervised themselves.

use super::{NetworkServer, Peer, Stage};
use crate::control::{Channel, FromNetwork};
use crate::poller::Token;
use crate::proto::MemberId;
use crate::reach::filters_of;
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, accept_with};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long a peer may take to say what it wants.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Most peers at once.
const PEERS_MAX: usize = 8192;
/// Most peers at once that aren't supervisors.
const STRANGERS_MAX: usize = 256;
/// Peers let in before others have their turn.
const TURN_MAX: usize = 64;

impl NetworkServer {
    /// Lets in who waits at the control socket.
    pub(super) fn admit(&mut self) {
        for _ in 0..TURN_MAX {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let Ok(socket) = accept_with(&self.ownership.listener, flags) else { return };
            let Ok(mut channel) = Channel::new(socket) else { continue };
            match self.check(&channel) {
                Ok(()) => self.welcome(channel),
                // Whoever doesn't read it misses nothing.
                Err(why) => drop(channel.send(&FromNetwork::Refused(why), None)),
            }
        }
    }

    fn check(&self, channel: &Channel) -> Result<(), String> {
        let unknown = |error: std::io::Error| format!("the peer can't be made out: {error}");
        let (pid, uid) = channel.peer().map_err(unknown)?;
        let own = rustix::process::geteuid().as_raw();
        if uid != own {
            return Err(format!("this network belongs to user {own}, not to user {uid}"));
        }
        let process = channel.peer_process().map_err(unknown)?;
        let theirs = filters_of(&pid.to_string()).map_err(unknown)?;
        // The number may have become another process's before that was read.
        if let Some(process) = process
            && has_ended(&process)
        {
            return Err("the peer has ended".to_owned());
        }
        let ours = filters_of("self").map_err(unknown)?;
        if theirs > ours {
            return Err("a program under sockeye, or in another sandbox, may not speak to a network: \
                        run this outside"
                .to_owned());
        }
        if self.peers.len() >= PEERS_MAX {
            return Err(format!("{PEERS_MAX} peers are here already"));
        }
        Ok(())
    }

    /// Parts with who has been here longest without saying anything, or without joining, when those are many.
    fn make_room(&mut self) {
        let strangers = self.peers.iter().filter(|(_, peer)| !matches!(peer.stage, Stage::Member(_)));
        if strangers.clone().count() < STRANGERS_MAX {
            return;
        }
        let silent = strangers.clone().find(|(_, peer)| matches!(peer.stage, Stage::Fresh));
        if let Some(id) = silent.or_else(|| strangers.clone().next()).map(|(&id, _)| id) {
            self.part_with(id);
        }
    }

    fn welcome(&mut self, channel: Channel) {
        self.next_peer += 1;
        let id = MemberId(self.next_peer);
        self.make_room();
        if self.poller.watch(&channel, Token::Member(id), EventFlags::IN).is_ok() {
            let since = self.core.now;
            self.peers.insert(id, Peer { channel, since, stage: Stage::Fresh, waits_for_room: false });
        }
    }
}

/// Whether the process of this descriptor has ended.
fn has_ended(process: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(process, PollFlags::IN)];
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(poll(&mut ready, Some(&none)), Ok(0))
}

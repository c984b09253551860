//! Who may speak to a network: processes of the same user that aren't supervised themselves.

use super::{NetworkServer, Peer, Stage};
use crate::control::{Channel, FromNetwork};
use crate::poller::Token;
use crate::proto::MemberId;
use crate::reach::filters_of;
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// How long a peer may take to say what it wants.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody is let in when descriptors have run out.
const CLOSED: Duration = Duration::from_millis(100);
/// Most peers at once.
const PEERS_MAX: usize = 8192;
/// Most peers at once that aren't supervisors.
const STRANGERS_MAX: usize = 256;
/// Generations of processes that are looked at.
const ANCESTORS_MAX: usize = 256;
/// Peers let in before others have their turn.
const TURN_MAX: usize = 64;

impl NetworkServer {
    /// Lets in who waits at the control socket.
    pub(super) fn admit(&mut self) {
        for _ in 0..TURN_MAX {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match accept_with(&self.ownership.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => return self.close_for_a_while(),
                Err(_) => return,
            };
            let Ok(mut channel) = Channel::new(socket) else { continue };
            match self.check(&channel) {
                Ok(()) => self.welcome(channel),
                // Whoever doesn't read it misses nothing.
                Err(why) => drop(channel.send(&FromNetwork::Refused(why), None)),
            }
        }
    }

    /// Without a descriptor left for who waits, the loop would find it waiting again and again.
    fn close_for_a_while(&mut self) {
        self.closed_until = Some(self.core.now + CLOSED);
        self.poller.rewatch(&self.ownership.listener, Token::Control, EventFlags::empty()).ok();
    }

    /// Lets peers in again.
    pub(super) fn reopen(&mut self) {
        self.closed_until = None;
        self.poller.rewatch(&self.ownership.listener, Token::Control, EventFlags::IN).ok();
    }

    fn check(&self, channel: &Channel) -> Result<(), String> {
        let unknown = |error: io::Error| format!("the peer can't be made out: {error}");
        let (pid, uid) = channel.peer().map_err(unknown)?;
        let own = rustix::process::geteuid().as_raw();
        if uid != own {
            return Err(format!("this network belongs to user {own}, not to user {uid}"));
        }
        let process = channel.peer_process().map_err(unknown)?;
        let theirs = filters_of(&pid.to_string()).map_err(unknown)?;
        let supervised = has_supervisor(pid).map_err(unknown)?;
        // The number may have become another process's before that was read.
        if let Some(process) = process
            && has_ended(&process)
        {
            return Err("the peer has ended".to_owned());
        }
        let ours = filters_of("self").map_err(unknown)?;
        if theirs > ours || supervised {
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
            self.peers.insert(id, Peer { channel, since, stage: Stage::Fresh, interest: EventFlags::IN });
        }
    }
}

/// Whether an ancestor of a process runs this program: as its supervisor does, or who guards it. One more
/// filter than the network has doesn't tell where the network itself was started in a sandbox.
fn has_supervisor(pid: u32) -> io::Result<bool> {
    let file_of = |process: &str| {
        let metadata = fs::metadata(format!("/proc/{process}/exe"))?;
        io::Result::Ok((metadata.dev(), metadata.ino()))
    };
    let ours = file_of("self")?;
    let mut process = parent_of(pid)?;
    for _ in 0..ANCESTORS_MAX {
        if process <= 1 {
            return Ok(false);
        }
        // What can't be looked at is another user's, or has just ended.
        if file_of(&process.to_string()).is_ok_and(|theirs| theirs == ours) {
            return Ok(true);
        }
        process = parent_of(process).unwrap_or_default();
    }
    Ok(true)
}

fn parent_of(pid: u32) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.and_then(|parent| parent.trim().parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Whether the process of this descriptor has ended.
fn has_ended(process: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(process, PollFlags::IN)];
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(poll(&mut ready, Some(&none)), Ok(0))
}

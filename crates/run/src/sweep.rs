//! The end of kept ends: where calls can't bring the program's end of a plug along, the network keeps a
//! duplicate of it until the socket is connected, and then the kernel doesn't tell that the program closed it.
//! Nor does it of sockets that have no plug to hang up, as their connection failed.
//!
//! So `/proc/PID/fd` is looked at now and then, as long as anything is kept. An end that nobody held in two
//! looks is let go, and the plug hangs up as it does elsewhere. One look doesn't settle it: the end may be on
//! its way to a program, or from one to another. It does where an address is wanted that the socket has, or
//! when all programs of a supervisor have ended.

use crate::core::Core;
use crate::datagram;
use crate::proto::MemberId;
use crate::reach;
use crate::sockets::{Record, SocketKey};
use rustix::net::sockopt::socket_cookie;
use sockeye_packet::Instant;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::time::Duration;

/// How often is looked, at most.
const LOOK: Duration = Duration::from_millis(500);

/// When is looked next, and what the last look found.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// None while nothing is kept.
    due: Option<Instant>,
    /// Ends that nobody held.
    missed: HashSet<u64>,
}

impl Core {
    /// An end is kept from now on.
    pub(crate) fn expect_close(&mut self) {
        let first = self.now + LOOK;
        self.sweep.due.get_or_insert(first);
    }

    /// Looks who holds the kept ends, if it is time to; answers when it will be again.
    pub(crate) fn sweep(&mut self) -> Option<Instant> {
        let due = self.sweep.due?;
        if due > self.now {
            return Some(due);
        }
        let kept = self.sockets.keys(|record| record.kept.is_some());
        let unheld = self.unheld(&kept);
        let cookies: HashMap<_, _> =
            unheld.into_iter().filter_map(|key| Some((self.cookie(key)?, key))).collect();
        let missed = std::mem::take(&mut self.sweep.missed);
        for (cookie, key) in &cookies {
            if missed.contains(cookie) {
                self.let_go(*key);
            }
        }
        self.sweep.missed = cookies.into_keys().filter(|cookie| !missed.contains(cookie)).collect();
        self.sweep.due = (!kept.is_empty()).then(|| self.now + LOOK);
        self.sweep.due
    }

    /// Closes the sockets that the programs have closed, since an address is wanted that one of them may
    /// have. Says whether there were any.
    pub(crate) fn sweep_for_address(&mut self) -> bool {
        let closed = datagram::look_now(self);
        self.let_go_of(|_| true) || closed
    }

    /// All programs of a member have ended: closes what nobody else holds of their sockets.
    pub(crate) fn sweep_after(&mut self, member: MemberId) {
        self.let_go_of(|record| record.member == member);
        datagram::look_now(self);
    }

    fn let_go_of(&mut self, which: impl Fn(&Record) -> bool) -> bool {
        let unseen = |record: &Record| record.kept.is_some() || record.is_unplugged();
        let kept = self.sockets.keys(|record| unseen(record) && which(record));
        let unheld = self.unheld(&kept);
        for &key in &unheld {
            self.let_go(key);
        }
        if !unheld.is_empty() {
            self.hear_plugs();
        }
        !unheld.is_empty()
    }

    /// Without the kept end the plug hangs up, unless somebody holds the program's end after all. Where there is no
    /// plug any more, it is up to us.
    fn let_go(&mut self, key: SocketKey) {
        let Some(record) = self.sockets.get_mut(key) else { return };
        record.kept = None;
        if record.is_unplugged()
            && let Some(record) = self.sockets.remove(key)
        {
            self.close_socket(&record);
        }
    }

    fn cookie(&self, key: SocketKey) -> Option<u64> {
        let kept = self.sockets.get(key)?.kept.as_ref()?;
        socket_cookie(kept).ok()
    }

    /// Which of these sockets no process but this one has a descriptor of.
    fn unheld(&self, keys: &[SocketKey]) -> Vec<SocketKey> {
        if keys.is_empty() {
            return Vec::new();
        }
        let record = |key: &SocketKey| Some((*key, self.sockets.get(*key)?));
        let mut wanted: HashMap<_, _> =
            keys.iter().filter_map(record).map(|(key, record)| (record.names.inode, key)).collect();
        // Whoever made it has it, as a rule.
        let owner = |(_, record): (_, &Record)| {
            self.world.with(record.host, |stack| stack.owner(record.id)).ok().map(|owner| owner.pid)
        };
        let owners: BTreeSet<u32> = keys.iter().filter_map(record).filter_map(owner).collect();
        for process in owners {
            strike_out(process, &mut wanted).ok();
        }
        let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
        let all = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for process in all.filter(|&process| process != std::process::id()) {
            if wanted.is_empty() {
                break;
            }
            if strike_out(process, &mut wanted).is_err() && may_hold(process) {
                return Vec::new();
            }
        }
        wanted.into_values().collect()
    }
}

/// Takes the sockets out of `wanted` that a process has descriptors of. Fails when it may not be looked at.
fn strike_out(process: u32, wanted: &mut HashMap<u64, SocketKey>) -> Result<(), ()> {
    let entries = match fs::read_dir(format!("/proc/{process}/fd")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(()),
        Err(_) => return Ok(()),
    };
    for entry in entries.flatten() {
        if let Ok(link) = fs::read_link(entry.path())
            && let Some(inode) = reach::socket_inode(&link)
        {
            wanted.remove(&inode);
        }
    }
    Ok(())
}

/// Whether a process that may not be looked at may have a program's descriptors: one of this user's, and
/// under a filter that this process isn't under.
fn may_hold(process: u32) -> bool {
    let process = process.to_string();
    reach::user_of(&process).is_ok_and(|uid| uid == rustix::process::geteuid().as_raw())
        && reach::filters_of(&process).ok() > reach::filters_of("self").ok()
}

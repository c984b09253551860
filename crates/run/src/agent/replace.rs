//! A socket gets another descriptor of the kernel's: it takes the places of the old one in the calling process, which are
//! the numbers of its duplicates and its entries in epoll sets.
//!
//! What other processes hold stays the old one. The supervisor serves nobody else meanwhile, so there is a limit to
//! what is looked at; beyond it, too, the old one stays.

use super::gather::Landing;
use super::processes::{LOOKED_AT, Named, closes_on_exec};
use super::{Agent, Call};
use crate::proto::Identity;
use crate::reach::socket_inode;
use crate::sys::{self, EpollSet, Interest};
use rustix::fs::Stat;
use sockeye_posix::Errno;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Most epoll sets of a process that are looked into.
const SETS: usize = 64;
/// Most entries that go along.
const ENTRIES: usize = 1024;
/// Most bytes read of what the kernel tells of a process's epoll sets; an entry is some seventy.
const TOLD: usize = 1 << 20;

impl Agent {
    /// Puts a descriptor in the place of the one that the call names, if that is the socket still that the network
    /// was asked about, and of its duplicates.
    pub(super) fn replace(
        &mut self,
        call: &Call,
        landing: &Landing,
        fd: Option<&OwnedFd>,
    ) -> Result<(), Errno> {
        let (&Landing::Place(identity), Some(fd)) = (landing, fd) else { return Err(Errno::EIO) };
        let number = call.int(0);
        let old = match self.processes.named(call.tid, number)? {
            Named::Socket(found, old) if found == identity => old,
            // Another thread has closed it, and put something else there perhaps.
            _ => return Err(Errno::EBADF),
        };
        let stat = old.as_ref().and_then(|old| rustix::fs::fstat(old).ok());
        let inode = match (identity, &stat) {
            (Identity::Inode(inode), _) => inode,
            (Identity::Cookie(_), Some(stat)) => stat.st_ino,
            (Identity::Cookie(_), None) => return Err(Errno::EIO),
        };
        match self.put(call, number, inode, fd) {
            Ok(true) => {}
            Ok(false) => return Err(Errno::EBADF),
            Err(error) => return Err(error.raw_os_error().map_or(Errno::EIO, Errno)),
        }
        // Each as it is met: what takes long comes after the last. Meanwhile another thread that changes an entry
        // of the new file finds none.
        let sets = self.put_duplicates(call, inode, fd);
        if let (Some(old), Some(stat)) = (old, stat) {
            let sets = with_entries(sets, &stat);
            if let Err(error) = sys::move_entries(old.as_fd(), fd.as_fd(), &sets) {
                tracing::warn!(%error, "an epoll set isn't as it should be");
            }
        }
        Ok(())
    }

    /// Puts a descriptor behind a number of the calling process, if the socket of this inode is there; says whether
    /// it was.
    ///
    /// The kernel can't be asked for both at once: what another thread puts there between the look and the kernel's
    /// change (some ten microseconds, and as long as it takes until the calling thread runs) is lost.
    fn put(&self, call: &Call, number: i32, inode: u64, fd: &OwnedFd) -> io::Result<bool> {
        let close_on_exec = closes_on_exec(call.tid, number);
        let add = sys::AddFd { fd: fd.as_fd(), replace: Some(number), close_on_exec, answer: false };
        let link = fs::read_link(format!("/proc/{}/fd/{number}", call.tid));
        if link.ok().and_then(|link| socket_inode(&link)) != Some(inode) {
            return Ok(false);
        }
        self.add_fd(call, &add).map(|_| true)
    }

    /// Puts a descriptor behind the numbers of the socket's duplicates. Returns the process's epoll sets, each once.
    fn put_duplicates(&mut self, call: &Call, inode: u64, fd: &OwnedFd) -> Vec<OwnedFd> {
        let mut sets: Vec<OwnedFd> = Vec::new();
        let folder = format!("/proc/{}/fd", call.tid);
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten().take(LOOKED_AT) {
            let (name, link) = (entry.file_name(), fs::read_link(entry.path()));
            let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(link) = link else { continue };
            if socket_inode(&link) == Some(inode) {
                if let Err(error) = self.put(call, number, inode, fd) {
                    tracing::warn!(%error, number, "a duplicate is cut off");
                }
            } else if link == Path::new("anon_inode:[eventpoll]")
                && sets.len() < SETS
                && let Ok(set) = self.processes.fetch(call.tid, number)
                && let Err(place) = sets.binary_search_by(|known| sys::file_order(known.as_fd(), set.as_fd()))
            {
                sets.insert(place, set);
            }
        }
        sets
    }
}

/// Those epoll sets that have entries for a file, with them.
fn with_entries(sets: Vec<OwnedFd>, stat: &Stat) -> Vec<EpollSet> {
    let (mut entries_left, mut bytes_left) = (ENTRIES, TOLD);
    let mut found = Vec::new();
    for file in sets {
        if entries_left == 0 || bytes_left == 0 {
            break;
        }
        let info = told_of(&file, bytes_left).unwrap_or_default();
        bytes_left -= info.len();
        let entries = info.lines().filter_map(|line| interest(line, stat)).take(entries_left);
        let entries: Vec<Interest> = entries.collect();
        entries_left -= entries.len();
        if !entries.is_empty() {
            found.push(EpollSet { file, entries });
        }
    }
    found
}

/// What the kernel tells of an epoll set of this process, at most this many bytes of it. (It writes all down before
/// the first is read, so a set of very many entries takes its time nevertheless, once.)
fn told_of(set: &OwnedFd, limit: usize) -> io::Result<String> {
    let mut info = String::new();
    let file = fs::File::open(format!("/proc/self/fdinfo/{}", set.as_raw_fd()))?;
    file.take(limit as u64).read_to_string(&mut info)?;
    Ok(info)
}

/// An entry for a file in what the kernel tells of an epoll set:
/// `tfd: 5 events: 19 data: 5  pos:0 ino:2f sdev:8`, the numbers but the first in hexadecimal digits.
fn interest(line: &str, stat: &Stat) -> Option<Interest> {
    let rest = line.strip_prefix("tfd:")?;
    let after = |name: &str| rest.split_once(name).and_then(|(_, text)| text.split_whitespace().next());
    let hex = |name: &str| after(name).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let is_same = hex("ino:")? == stat.st_ino && hex("sdev:")? == u64::from(rustix::fs::minor(stat.st_dev));
    let number = rest.split_whitespace().next()?.parse().ok()?;
    is_same.then_some(Interest { number, events: hex("events:")? as u32, data: hex("data:")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
    use std::os::fd::AsRawFd;

    #[test]
    fn the_kernels_account_of_an_epoll_set_is_understood() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let set = epoll::create(CreateFlags::CLOEXEC).unwrap();
        let data = EventData::new_u64(0xfedc_ba98_7654_3210);
        epoll::add(&set, &one, data, EventFlags::IN | EventFlags::ET).unwrap();
        epoll::add(&set, &other, EventData::new_u64(1), EventFlags::OUT).unwrap();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", set.as_raw_fd())).unwrap();
        let stat = rustix::fs::fstat(&one).unwrap();
        let found: Vec<Interest> = info.lines().filter_map(|line| interest(line, &stat)).collect();
        let events = (EventFlags::IN | EventFlags::ET | EventFlags::ERR | EventFlags::HUP).bits();
        assert_eq!(found, [Interest { number: one.as_raw_fd(), events, data: data.u64() }]);
    }
}

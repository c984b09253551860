//! A socket gets another descriptor of the kernel's: it takes the places of the old one in the calling process, which are
//! the numbers of its duplicates and its entries in epoll sets.
//!
//! What other processes hold stays the old one.

use super::processes::closes_on_exec;
use super::{Agent, Call};
use crate::reach::socket_inode;
use crate::sys::{self, Change, Interest};
use rustix::fs::Stat;
use sockeye_posix::Errno;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Most descriptors of a process that are looked through.
const LOOKED_AT: usize = 4096;

/// Where a file stands in a process.
#[derive(Debug, Default)]
struct Places {
    numbers: Vec<i32>,
    entries: Vec<(OwnedFd, Interest)>,
}

impl Agent {
    /// Puts a descriptor in the place of the one that the call names, and of its duplicates.
    pub(super) fn replace(&mut self, call: &Call, fd: Option<&OwnedFd>) -> Result<(), Errno> {
        let fd = fd.ok_or(Errno::EIO)?;
        let number = call.int(0);
        let old = self.processes.fetch(call.tid, number).ok();
        let places = old.as_ref().map(|old| self.places(call.tid, old)).unwrap_or_default();
        let change = |change, file: &OwnedFd| {
            for (set, interest) in &places.entries {
                if let Err(error) = sys::change_entry(change, file.as_fd(), set.as_fd(), *interest) {
                    tracing::warn!(%error, ?change, ?interest, "an epoll set isn't as it should be");
                }
            }
        };
        // First the new entries, then the new numbers: whoever uses a number that it has just got finds its entry.
        change(Change::Add, fd);
        let put = |number| {
            let close_on_exec = closes_on_exec(call.tid, number);
            let add = sys::AddFd { fd: fd.as_fd(), replace: Some(number), close_on_exec, answer: false };
            self.add_fd(call, &add)
        };
        if let Err(error) = put(number) {
            change(Change::Remove, fd);
            return Err(error.raw_os_error().map_or(Errno::EIO, Errno));
        }
        for &duplicate in places.numbers.iter().filter(|duplicate| **duplicate != number) {
            if let Err(error) = put(duplicate) {
                tracing::warn!(%error, duplicate, "a duplicate is cut off");
            }
        }
        // They would go with the last descriptor, but another process may have one.
        if let Some(old) = &old {
            change(Change::Remove, old);
        }
        Ok(())
    }

    /// Where a file, a socket, stands in a task's process.
    fn places(&mut self, tid: u32, file: &OwnedFd) -> Places {
        let mut places = Places::default();
        let Ok(stat) = rustix::fs::fstat(file) else { return places };
        let folder = format!("/proc/{tid}/fd");
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten().take(LOOKED_AT) {
            let (name, link) = (entry.file_name(), fs::read_link(entry.path()));
            let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(link) = link else { continue };
            if socket_inode(&link) == Some(stat.st_ino) {
                places.numbers.push(number);
            } else if link == Path::new("anon_inode:[eventpoll]") {
                let info = fs::read_to_string(format!("/proc/{tid}/fdinfo/{number}")).unwrap_or_default();
                for interest in info.lines().filter_map(|line| interest(line, &stat)) {
                    if let Ok(set) = self.processes.fetch(tid, number) {
                        places.entries.push((set, interest));
                    }
                }
            }
        }
        places
    }
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

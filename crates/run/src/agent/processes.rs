//! The descriptors of other processes: which sockets they are, and duplicates of them.

use crate::proto::Identity;
use crate::reach::{Unreached, socket_inode};
use crate::sys;
use rustix::io::Errno as SysErrno;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use sockeye_posix::Errno;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

/// Most descriptors of a process that are looked through.
pub(super) const LOOKED_AT: usize = 4096;
/// How many tasks' descriptors are kept for the next call.
const TASKS_KEPT: usize = 256;

/// A descriptor of another process.
#[derive(Debug)]
pub(crate) enum Named {
    /// A socket, and a duplicate of it where there can be one. While the duplicate of a plug is open the
    /// program's close can't be seen: drop it with the call.
    Socket(Identity, Option<OwnedFd>),
    /// Anything else, or nothing.
    Other,
}

/// The way to other processes' descriptors.
#[derive(Debug)]
pub(crate) struct Processes {
    /// Whether descriptors can be duplicated: a container's filter may refuse that.
    can_duplicate: bool,
    tasks: HashMap<u32, OwnedFd>,
    /// Programs that can't be reached.
    unreached: Unreached,
}

impl Processes {
    /// Finds out what this machine allows.
    pub(crate) fn new() -> Processes {
        let own = pidfd_open(getpid(), PidfdFlags::empty());
        let can_duplicate = own.is_ok_and(|own| {
            !matches!(
                pidfd_getfd(&own, i32::MAX, PidfdGetfdFlags::empty()),
                Err(SysErrno::PERM | SysErrno::NOSYS | SysErrno::ACCESS)
            )
        });
        Processes { can_duplicate, tasks: HashMap::new(), unreached: Unreached::default() }
    }

    /// Whether descriptors can be duplicated.
    pub(crate) fn can_duplicate(&self) -> bool {
        self.can_duplicate
    }

    /// What a task's descriptor is. Fails when this process has no room for a duplicate, or may not look:
    /// the kernel must not do to a plug what was meant for a socket.
    pub(crate) fn named(&mut self, tid: u32, fd: i32) -> Result<Named, Errno> {
        if fd < 0 {
            return Err(Errno::EBADF);
        }
        if !self.can_duplicate {
            return self.by_inode(tid, fd);
        }
        match self.fetch(tid, fd) {
            Ok(duplicate) => Ok(match rustix::net::sockopt::socket_cookie(&duplicate) {
                Ok(cookie) => Named::Socket(Identity::Cookie(cookie), Some(duplicate)),
                Err(_) => Named::Other,
            }),
            Err(SysErrno::MFILE | SysErrno::NFILE | SysErrno::NOMEM) => Err(Errno::ENFILE),
            Err(SysErrno::PERM) => Err(self.unreachable(tid)),
            // The kernel isn't asked: by then the number may be a plug's, with which it must not do this.
            Err(SysErrno::BADF) => Err(Errno::EBADF),
            Err(_) => Ok(Named::Other),
        }
    }

    /// What a descriptor of this process's will be called when it is a program's.
    pub(crate) fn identity_of(&self, fd: &OwnedFd) -> Option<Identity> {
        if self.can_duplicate {
            rustix::net::sockopt::socket_cookie(fd).ok().map(Identity::Cookie)
        } else {
            rustix::fs::fstat(fd).ok().map(|stat| Identity::Inode(stat.st_ino))
        }
    }

    fn by_inode(&mut self, tid: u32, fd: i32) -> Result<Named, Errno> {
        let link = match fs::read_link(format!("/proc/{tid}/fd/{fd}")) {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(self.unreachable(tid));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Errno::EBADF),
            Err(_) => return Ok(Named::Other),
        };
        let inode = socket_inode(&link);
        Ok(inode.map_or(Named::Other, |inode| Named::Socket(Identity::Inode(inode), None)))
    }

    /// A duplicate of a task's descriptor.
    pub(crate) fn fetch(&mut self, tid: u32, fd: i32) -> Result<OwnedFd, SysErrno> {
        for _ in 0..2 {
            if !self.tasks.contains_key(&tid) {
                if self.tasks.len() >= TASKS_KEPT {
                    self.tasks.clear();
                }
                let task = sys::open_task(tid);
                let task = task.map_err(|error| SysErrno::from_io_error(&error).unwrap_or(SysErrno::SRCH))?;
                self.tasks.insert(tid, task);
            }
            let task = self.tasks.get(&tid).ok_or(SysErrno::SRCH)?;
            match pidfd_getfd(task, fd, PidfdGetfdFlags::empty()) {
                // The number was another task's, which has ended.
                Err(SysErrno::SRCH) => drop(self.tasks.remove(&tid)),
                result => return result,
            }
        }
        Err(SysErrno::SRCH)
    }

    /// Ends what a process waits for at plugs on the loopback interface: a poll or a read there, which nobody
    /// intercepts, would not hear that the network has gone.
    pub(crate) fn hang_up_loopbacks(&mut self, process: u32) {
        for entry in
            fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten().take(LOOKED_AT)
        {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(number) = number
                && fs::read_link(entry.path()).is_ok_and(|link| socket_inode(&link).is_some())
                && let Ok(duplicate) = self.fetch(process, number)
                && sys::is_of_loopback_pair(&duplicate)
            {
                shutdown(&duplicate, Shutdown::Both).ok();
            }
        }
    }

    /// The program's memory and descriptors are closed to this process.
    fn unreachable(&mut self, tid: u32) -> Errno {
        self.unreached.tell(tid);
        Errno::EPERM
    }
}

/// Whether a descriptor of a task closes on exec.
pub(crate) fn closes_on_exec(tid: u32, fd: i32) -> bool {
    let info = fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|value| i32::from_str_radix(value.trim(), 8).ok())
        .is_some_and(|bits| bits & libc::O_CLOEXEC != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::process::{Command, Stdio};

    #[test]
    fn who_waits_at_a_plug_of_a_network_that_is_gone_is_woken() {
        let (ours, theirs) = sys::loopback_pair().unwrap();
        let waits = |fd: &OwnedFd| {
            let mut ready = [PollFd::new(fd, PollFlags::IN)];
            poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 0
        };
        let theirs_too = theirs.try_clone().unwrap();
        let mut command = Command::new("sleep");
        let mut program = command.arg("60").stdin(Stdio::from(theirs_too)).spawn().unwrap();
        drop(ours);
        assert!(waits(&theirs), "that the other end is closed is not heard");
        assert!(
            crate::family::descendants().iter().any(|pid| pid.as_raw_nonzero().get() as u32 == program.id())
        );
        Processes::new().hang_up_loopbacks(program.id());
        assert!(!waits(&theirs));
        program.kill().unwrap();
        program.wait().unwrap();
    }
}

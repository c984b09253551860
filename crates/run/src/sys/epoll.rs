//! Entries of another process's epoll sets.

use super::check;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// An entry of an epoll set: which number it goes by, what it waits for and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest {
    /// The descriptor's number where the entry was made. Together with its file it is the entry's name.
    pub(crate) number: i32,
    /// `EPOLLIN` and so on.
    pub(crate) events: u32,
    /// What `epoll_wait` gives to the program.
    pub(crate) data: u64,
}

/// A change of an epoll set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// The file gets an entry.
    Add,
    /// It loses it.
    Remove,
}

/// Changes an epoll set as a process would in which `file` has the entry's number.
///
/// A thread with descriptors of its own does it, as this process's have that number for something else.
pub(crate) fn change_entry(
    change: Change,
    file: BorrowedFd<'_>,
    set: BorrowedFd<'_>,
    interest: Interest,
) -> io::Result<()> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            own_descriptors()?;
            let result = change_own(change, file, set, interest);
            // SAFETY: this thread's descriptors are copies, which nothing else uses. They must be gone when it is
            // joined: the copy of a plug would hide its close.
            unsafe { libc::close_range(0, libc::c_uint::MAX, 0) };
            result
        })?;
        thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })
}

/// Gives this thread descriptors of its own: copies of all that the process has.
fn own_descriptors() -> io::Result<()> {
    // Unlike `unshare` it is allowed in containers; the range is beyond what there can be.
    let none = libc::c_uint::MAX;
    // SAFETY: nothing is closed, and a thread that owns no descriptor doesn't notice that they are copies.
    check(unsafe { libc::close_range(none, none, libc::CLOSE_RANGE_UNSHARE as libc::c_int) }.into()).map(drop)
}

/// Changes an entry in a thread whose descriptors are its own.
fn change_own(
    change: Change,
    file: BorrowedFd<'_>,
    set: BorrowedFd<'_>,
    interest: Interest,
) -> io::Result<()> {
    let Interest { number, events, data } = interest;
    // The number may be the set's, here: a duplicate has another one.
    let duplicate = if set.as_raw_fd() == number { Some(set.try_clone_to_owned()?) } else { None };
    let set = duplicate.as_ref().map_or(set, AsFd::as_fd);
    let mut event = libc::epoll_event { events, u64: data };
    let change = match change {
        Change::Add => libc::EPOLL_CTL_ADD,
        Change::Remove => libc::EPOLL_CTL_DEL,
    };
    // SAFETY: the number is replaced among this thread's copies only.
    check(unsafe { libc::dup2(file.as_raw_fd(), number) }.into())?;
    // SAFETY: the kernel reads one event.
    check(unsafe { libc::epoll_ctl(set.as_raw_fd(), change, number, &raw mut event) }.into()).map(drop)
}

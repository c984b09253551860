//! Entries of another process's epoll sets.

use super::check;
use std::cmp::Ordering;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// `KCMP_FILE` of `linux/kcmp.h`.
const KCMP_FILE: libc::c_long = 0;

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

/// An epoll set, and entries of it that are one file's.
#[derive(Debug)]
pub(crate) struct EpollSet {
    /// A descriptor of it in this process.
    pub(crate) file: OwnedFd,
    /// The file's entries.
    pub(crate) entries: Vec<Interest>,
}

/// How the files behind two descriptors of this process stand to each other in an order of the kernel's, by which
/// descriptors of the same file are equal. Where the kernel doesn't say, each comes before all others.
pub(crate) fn file_order(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Ordering {
    // SAFETY: the kernel compares, and writes nothing.
    let order = unsafe {
        let pid = libc::getpid();
        libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_FILE, one.as_raw_fd(), other.as_raw_fd())
    };
    match order {
        0 => Ordering::Equal,
        2 => Ordering::Greater,
        _ => Ordering::Less,
    }
}

/// Gives the entries of one file to another, as a process would in which the files have the entries' numbers. What
/// the program has done itself meanwhile stays. All are tried; fails with the first error.
///
/// A thread with descriptors of its own does it, as this process's have those numbers for something else. It costs
/// a copy of all descriptors, so there is one for all entries.
pub(crate) fn move_entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>, sets: &[EpollSet]) -> io::Result<()> {
    if sets.iter().all(|set| set.entries.is_empty()) {
        return Ok(());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            own_descriptors()?;
            let mut files = vec![from.as_raw_fd(), to.as_raw_fd()];
            files.extend(sets.iter().map(|set| set.file.as_raw_fd()));
            let mut result = Ok(());
            for (index, set) in sets.iter().enumerate() {
                for interest in &set.entries {
                    result = result.and(move_own(&mut files, index + 2, *interest));
                }
            }
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

/// Gives an entry of `files[set]` from `files[0]` to `files[1]`, in a thread whose descriptors are its own.
fn move_own(files: &mut [RawFd], set: usize, interest: Interest) -> io::Result<()> {
    let Interest { number, events, data } = interest;
    // The number may be a file's, here: it gets another one.
    if let Some(file) = files.iter_mut().find(|file| **file == number) {
        // SAFETY: a descriptor more, among this thread's copies only.
        *file = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) }.into())? as RawFd;
    }
    let (from, to, set) = (files[0], files[1], files[set]);
    let change = |change, file, done| {
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: the number is replaced among this thread's copies only.
        check(unsafe { libc::dup2(file, number) }.into())?;
        // SAFETY: the kernel reads one event.
        match check(unsafe { libc::epoll_ctl(set, change, number, &raw mut event) }.into()) {
            Err(error) if error.raw_os_error() != Some(done) => Err(error),
            _ => Ok(()),
        }
    };
    // What waits is never without both; and the old one would go with its last descriptor, but another process may
    // have one.
    let added = change(libc::EPOLL_CTL_ADD, to, libc::EEXIST);
    change(libc::EPOLL_CTL_DEL, from, libc::ENOENT).and(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::epoll;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_of_one_file_are_equal_and_others_are_in_order() {
        let (one, other) = UnixStream::pair().unwrap();
        let same = one.try_clone().unwrap();
        let order = file_order(one.as_fd(), other.as_fd());
        assert_eq!(file_order(one.as_fd(), same.as_fd()), Ordering::Equal);
        assert_eq!(file_order(other.as_fd(), same.as_fd()), order.reverse());
        assert_ne!(order, Ordering::Equal);
    }

    #[test]
    fn entries_move_whatever_has_their_numbers_here() {
        let ((old, _peer), (new, _other)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        // Made where the file had these numbers, which are the set's, the files' and nobody's here.
        let numbers = [set.as_raw_fd(), old.as_raw_fd(), new.as_raw_fd(), 900, 901];
        let entries: Vec<Interest> =
            numbers.iter().map(|&number| Interest { number, events: 4, data: number as u64 }).collect();
        let sets = [EpollSet { file: set.try_clone().unwrap(), entries }];
        let told = || {
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", set.as_raw_fd())).unwrap();
            let of = |stream: &UnixStream| format!("ino:{:x} ", rustix::fs::fstat(stream).unwrap().st_ino);
            [&old, &new].map(|stream| info.matches(&of(stream)).count())
        };
        move_entries(new.as_fd(), old.as_fd(), &sets).unwrap();
        assert_eq!(told(), [5, 0]);
        move_entries(old.as_fd(), new.as_fd(), &sets).unwrap();
        assert_eq!(told(), [0, 5]);
        // Once more, as for a set that was met twice.
        move_entries(old.as_fd(), new.as_fd(), &sets).unwrap();
        assert_eq!(told(), [0, 5]);
    }
}

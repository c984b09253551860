//! The system calls that no safe wrapper offers: seccomp's listener, another process's memory, Landlock,
//! signals as a descriptor, and the few steps between fork and exec.
//!
//! All `unsafe` of this crate stands here. Nothing here knows what a socket of ours is.

mod child;
mod datagram;
mod epoll;
mod frames;
mod loopback;
mod memory;
mod namespace;
mod seccomp;
mod signals;
mod socket;
mod unread;

pub(crate) use child::{
    ChildEnds, ChildPlan, ChildReport, Stage, close_all_but, fork, spawn_child, spawn_idle_child,
};
pub(crate) use datagram::{receive_datagram, send_datagram, tell_destinations};
pub(crate) use epoll::{EpollSet, Interest, file_order, move_entries};
pub(crate) use frames::{
    Cut, CutKind, hear_others_send, receive_frame, send_frame, with_facts, without_queue,
};
pub(crate) use loopback::{
    MARKS, hide_error, is_of_loopback_pair, loopback_pair, peer_is_closed, receive_marked, send_marked,
    show_error,
};
pub(crate) use memory::{read_memory, write_memory};
pub(crate) use namespace::{Namespace, Namespaces, new_namespaces};
pub(crate) use seccomp::{
    AddFd, Confinement, Notification, Response, add_fd, confine_this_thread, notification_is_valid,
    receive_notification, send_response, set_sync_wake_up, user_notification_is_available,
};
pub(crate) use signals::{SignalFd, SignalMask, block_signals, die_of, ended_child, send_signal};
pub(crate) use socket::{
    is_at_mark, landlock_abi, landlock_scope, open_task, peer_process, process_of_thread,
    threads_have_descriptors, unread_by_peer,
};
pub(crate) use unread::unread_of;

use std::io;

/// Closes all descriptors but the standard ones: for a process that goes on by itself and owns none yet.
pub(crate) fn close_inherited() {
    // SAFETY: nothing of this process has a descriptor beyond the standard ones at its start.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}

/// The result of a system call that answers -1 and errno.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

//! The socket API as C spells it: address bytes, option numbers, errno, control messages.
//!
//! Tables and translation between the bytes that a program hands to the kernel on a 64-bit Linux and
//! the types of `sockeye-stack`. No I/O and no state: what a socket remembers lives in a [`Stored`] that
//! its owner holds. Every parser takes arbitrary bytes, and what it refuses, it refuses with the errno
//! that Linux gives.

#![forbid(unsafe_code)]

pub mod address;
pub mod berkeley;
pub mod cmsg;
pub mod counters;
mod errno;
pub mod flags;
pub mod interface;
mod kind;
pub mod message;
pub mod options;
pub mod sock_diag;
pub mod tcp_info;

pub use errno::Errno;
pub use kind::{OfKind, Privilege, SocketKind};
pub use options::Stored;

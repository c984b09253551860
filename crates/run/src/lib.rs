//! Runs unmodified programs on Sockeye's sockets.
//!
//! Every descriptor that a program sees stays a kernel descriptor, so reading, writing, polling, `dup`, `fork`,
//! `exec` and descriptor passing work natively. Only the calls that name or set up sockets are intercepted,
//! by seccomp's user notification: no root, no preloaded library, static programs too. A [`Supervisor`]
//! answers them from the hosts of a [`sockeye::Network`], and pumps bytes between the programs and the stacks.

#![deny(unsafe_code)]

mod call;
mod calls;
mod core;
mod datagram;
mod dns;
mod filter;
#[allow(dead_code, reason = "the supervisor's loop does not call it yet")]
mod gateway;
mod launch;
mod sockets;
mod status;
mod stream;
mod supervisor;
#[allow(unsafe_code, reason = "system calls that no safe wrapper offers; each says why it is sound")]
mod sys;
mod world;

pub use gateway::{Publication, PublishError, PublishProtocol, PublishSpec, PublishSpecError};
pub use launch::{LaunchError, ProgramSpec, Stdio};
pub use status::end_as;
pub use supervisor::{ProgramId, StdStream, Supervisor, SupervisorEvent};

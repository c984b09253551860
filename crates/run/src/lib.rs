//! Runs unmodified programs on Sockeye's sockets.
//!
//! Every descriptor that a program sees stays a kernel descriptor, so reading, writing, polling, `dup`, `fork`,
//! `exec` and descriptor passing work natively. Only the calls that name or set up sockets are intercepted,
//! by seccomp's user notification: no root, no preloaded library, static programs too. A [`Supervisor`]
//! answers them from the hosts of a [`sockeye::Network`], and pumps bytes between the programs and the stacks.

#![deny(unsafe_code)]

mod agent;
mod calls;
mod clock;
mod control;
mod core;
mod datagram;
mod dns;
pub mod doctor;
mod end;
mod family;
mod filter;
mod front;
mod gateway;
mod launch;
mod mirror;
mod names;
mod netlink;
mod poller;
mod proto;
mod reach;
mod server;
mod shares;
mod sockets;
mod status;
mod stream;
mod supervisor;
mod sweep;
#[allow(unsafe_code, reason = "system calls that no safe wrapper offers; each says why it is sound")]
mod sys;
mod world;

pub use control::client::{Control, ControlError, Membership};
pub use control::place::{Folder, Place, PlaceError};
pub use control::{HostStatus, Join, ProgramStatus, SocketStatus, Status, Welcome};
#[doc(hidden)]
pub use control::{fuzz_decode, fuzz_example, fuzz_greeting};
pub use core::Outside;
pub use front::{Behind, Ended, Front, Guard, Split, close_inherited, leave_terminal, split};
pub use gateway::{Publication, PublishError, PublishProtocol, PublishSpec, PublishSpecError};
pub use launch::{LaunchError, ProgramSpec, Stdio};
pub use netlink::{fuzz_netlink, fuzz_netlink_example};
pub use server::{NetworkServer, ServerError, ServerOptions};
pub use status::{EndSignals, end_as};
pub use supervisor::{ProgramId, StdStream, Supervisor, SupervisorEvent};

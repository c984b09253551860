//! The control socket of a named network: what is said on it, and by whom it may be said.
//!
//! Messages are packets of a local SEQPACKET socket, encoded by serde (postcard), with at most one descriptor
//! beside them. Everything that is received may be anything: a message that is too long, cut, or no message
//! ends the conversation, and lengths inside it can't exceed what was received.

mod channel;
pub(crate) mod client;
mod fuzz;
pub(crate) mod place;

pub(crate) use channel::{Channel, MESSAGE_MAX};
pub use fuzz::{fuzz_decode, fuzz_example, fuzz_greeting};

use crate::proto::{Class, Identity, Notice, Outcome, Request, Seen, Ticket};
use crate::sockets::SocketKey;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// What a peer says first: both must be of one version, as the messages have no room for differences.
pub(crate) const GREETING: &[u8] = concat!("sockeye ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// A supervisor's wish to join.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The host to run on; it is made unless it is there.
    pub host: String,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// The conditions of its link, in netem's words.
    pub link: Option<String>,
    /// Whether the network has to be closed to the outside.
    pub offline: bool,
    /// The seed that the network has to have been given.
    pub seed: Option<u64>,
    /// Ports of the machine that lead to the host, as `-p` has them.
    pub publish: Vec<String>,
    /// How long connections that the program closed may take to end.
    pub linger: Duration,
    /// The program and its arguments, for tables.
    pub program: Vec<String>,
}

/// What a network is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToNetwork {
    /// A supervisor joins. The file for a capture of the host may be beside it. `keeps_ends` where its calls
    /// can't bring the program's end of a plug along.
    Join { join: Join, keeps_ends: bool },
    /// What becomes of this call? The program's end of the plug may be beside it.
    Ask { number: u32, request: Request },
    /// What is this socket?
    Identify { number: u32, identity: Identity },
    /// A call has ended so.
    Seen(Seen),
    /// A thread waits no more for this socket.
    Missed(SocketKey),
    /// The plug of this socket ends as a reset does.
    Spoiled(SocketKey),
    /// The supervisor's program runs, as this process.
    Started { pid: u32 },
    /// That program has ended; descendants of it still run.
    Ended,
    /// All programs of the supervisor have ended: it wants to hear when their connections have, too.
    Leaving,
    /// What is there?
    Status,
    /// The network is to end.
    Down,
    /// Ports of the machine are to lead to a host (the only one, unless named): all of them, or none.
    Publish { host: Option<String>, ports: Vec<String> },
    /// They are to lead nowhere again: all of them, or none.
    Unpublish { host: Option<String>, ports: Vec<String> },
}

/// What a network says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromNetwork {
    /// It won't: why. (Always the first, so that every version understands it.)
    Refused(String),
    /// The supervisor has joined.
    Joined(Welcome),
    /// What becomes of a call, with a descriptor beside it where the outcome has one.
    Reply { number: u32, outcome: Outcome, ticket: Option<Ticket> },
    /// What a socket is.
    Class { number: u32, class: Class },
    /// Something unasked.
    Notice(Notice),
    /// The connections of a leaving supervisor's programs have ended, or had their time.
    Drained,
    /// What is there.
    Status(Status),
    /// It was done; what the user should know of it.
    Done(String),
    /// It won't, for what the user wrote: what is wrong with that.
    Misused(String),
}

/// Where a supervisor has landed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The host's addresses.
    pub addresses: [IpAddr; 2],
    /// Whether the host is new.
    pub is_new_host: bool,
}

/// A network at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Whether nothing leaves it.
    pub offline: bool,
    /// Its process.
    pub pid: u32,
    /// Its hosts.
    pub hosts: Vec<HostStatus>,
    /// Flows to and from the outside at the moment.
    pub flows: usize,
    /// Rows of tables that were left out for their number.
    pub left_out: usize,
}

/// A host of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: [IpAddr; 2],
    /// The conditions of its link, in netem's words; empty for none.
    pub link: String,
    /// Ports of the machine that lead to it.
    pub published: Vec<String>,
    /// What runs on it.
    pub programs: Vec<ProgramStatus>,
    /// What is open on it.
    pub sockets: Vec<SocketStatus>,
}

/// A program that a supervisor runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    /// Its process; none when it has ended and left descendants.
    pub pid: Option<u32>,
    /// Its words.
    pub command: Vec<String>,
}

/// A socket of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketStatus {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Its state, as `ss` names it.
    pub state: String,
    /// Its address.
    pub local: String,
    /// Its peer's address.
    pub peer: String,
    /// The thread that made it.
    pub pid: u32,
}

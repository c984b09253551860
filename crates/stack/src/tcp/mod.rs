//! TCP: the connection and its parts (RFC 9293).
//!
//! A [`Connection`] has five calls for segments and time, and the user's calls. It knows no table,
//! interface, clock, randomness or IP version: its owner lends what it may use with each call
//! ([`Resources`]), and may call in any order.

mod ack;
mod acknowledge;
mod autosize;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod check;
mod chrono;
pub mod congestion;
pub(crate) mod connection;
pub(crate) mod cookie;
mod duplicates;
pub(crate) mod ecn;
mod events;
pub(crate) mod half_open;
pub(crate) mod info;
mod input;
pub(crate) mod isn;
pub(crate) mod listener;
mod open;
pub(crate) mod options;
mod output;
mod pacing;
mod path;
mod predict;
mod probe;
mod prr;
mod queue;
mod rack;
mod rate;
mod recovery;
pub(crate) mod recv;
pub(crate) mod recv_window;
mod retransmit;
mod room;
pub(crate) mod rtt;
mod sack;
pub(crate) mod segment;
pub(crate) mod send;
mod sent;
pub(crate) mod seq;
mod spare;
pub(crate) mod state;
pub(crate) mod time_wait;
mod timeout;
pub(crate) mod timers;
mod undo;
mod urgent;
mod usage;
mod user;
pub(crate) mod validate;

pub(crate) use connection::{Connection, Resources, TimeWaitSeed};
pub use info::{CaState, TcpInfo};
pub(crate) use open::{Handshake, OpenParams};
pub(crate) use path::MIN_MSS;
pub(crate) use sack::DUP_THRESH;
pub(crate) use segment::{Segment, reset_for};
pub(crate) use seq::SeqNumber;
pub(crate) use spare::Spares;
pub use state::State;

#[cfg(test)]
mod tests;

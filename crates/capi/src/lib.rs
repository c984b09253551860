//! `libsockeye`: the socket calls by name, for C programs.
//!
//! Its documentation for C programs is the header, `include/sockeye.h`, made of the comments here by
//! `cargo xtask header`, and `README.md`.
//!
//! An exported function takes its pointers apart (`sys`) and hands over to one without: those speak the words of
//! `sockeye_posix`, and wait by `sockeye`'s [`Host::wait_for`](sockeye::Host::wait_for). `answer` turns what they
//! return into C's value and `errno`. Descriptors are numbers of one table per host (`table`).
//!
//! `unsafe` stands where C's pointers come in: in `sys`, and in the first lines of each exported function.

#![allow(clippy::doc_markdown, reason = "these comments are the header's, where C's names stand as they are")]

pub mod answer;
pub mod data;
pub mod host;
pub mod messages;
pub mod multiple;
pub mod names;
pub mod network;
pub mod options;
pub mod poll;
pub mod socket;
mod sys;
mod table;
mod virtual_time;

pub use host::Host;
pub use network::Network;

#[cfg(test)]
mod tests;

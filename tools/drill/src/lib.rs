//! Packet scripts: what a program calls and what passes on the wire, line by line, played against a
//! [`Stack`](sockeye_stack::Stack) under virtual time.
//!
//! The language is packetdrill's. [`script`] holds what a script says, and reads it.

#![forbid(unsafe_code)]

pub mod eval;
mod lexer;
mod parse;
mod play;
pub mod script;

pub use play::{Failure, IpVersion, PlayOptions, play};

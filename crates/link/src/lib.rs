//! Where packets come from and go to.
//!
//! A [`Link`] is anything that carries IP packets. In memory there are the [`Cable`] (two ends) and the
//! [`Fabric`] (a switch with many ports, conditions and partitions), whose ports pass through
//! [`Netem`], the simulated bad network. [`segmentation`] cuts super-segments for what can't carry
//! them whole, and [`pcapng`] writes down what passes. `Tun` is an interface of the Linux kernel.
//!
//! Nothing here reads a clock: an [`Instant`](sockeye_packet::Instant) is always handed in.

#![deny(unsafe_code)]

mod cable;
pub mod fabric;
mod link;
pub mod netem;
pub mod pcapng;
pub mod segmentation;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod tun;

pub use cable::{Cable, CableEnd};
pub use fabric::{Fabric, FabricConfig, FabricError, PortId};
pub use link::{Capabilities, Link, Medium};
pub use netem::{Netem, NetemConfig};
#[cfg(target_os = "linux")]
pub use sys::sum::fastest_sum;
#[cfg(target_os = "linux")]
pub use tun::{Tun, TunConfig, TunCounters};

/// The fastest way that is known here to sum up words for checksums, for a stack's `Config::sum_words`.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn fastest_sum() -> sockeye_wire::SumWords {
    sockeye_wire::sum_words
}

#[cfg(test)]
mod testing;

//! What moves through Sockeye: time, randomness, payload and packets.
//!
//! These types cross every layer, from an application's write to the link and back. They hold no
//! protocol state, do no I/O and read no clock: an [`Instant`] is always handed in.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod batch;
mod budget;
mod chunk;
mod packet;
mod payload;
mod pool;
mod rng;
mod time;

pub use batch::Batch;
pub use budget::Budget;
pub use chunk::Chunk;
pub use packet::{Checksum, Head, Meta, NicId, Packet};
pub use payload::{Payload, PayloadChunks};
pub use pool::Pool;
pub use rng::Rng;
pub use time::Instant;

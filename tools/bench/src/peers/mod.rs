//! The two sides of the table: ours, and each peer.

pub(crate) mod smoltcp;
pub(crate) mod stack;

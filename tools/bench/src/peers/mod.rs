//! The two sides of the table: ours, and each peer.

pub(crate) mod smoltcp;
#[cfg(target_os = "linux")]
pub(crate) mod smoltcp_threads;
pub(crate) mod stack;

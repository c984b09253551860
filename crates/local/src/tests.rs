//! Tests of streams and listeners: what the kernel's sockets do too is in `tests/parity.rs`.

mod attached;
mod companion;
pub(crate) mod hostile;
mod ring;
mod stream;
mod young;

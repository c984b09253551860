//! What two processes share of one direction besides the bytes.

use crate::sync::atomic::{AtomicU32, AtomicU64};

/// What two processes share of one direction. All zero is its beginning. Two lines of the processor's cache apart, as
/// they are fetched in pairs.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Lane {
    pub(crate) produced: Produced,
    pub(crate) consumed: Consumed,
    pub(crate) reader: ReaderWaits,
    pub(crate) writer: WriterWaits,
}

/// Written by the producer.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Produced {
    pub(crate) position: AtomicU64,
    /// The last turn between the ring and the wide one, see [`crate::ring`].
    pub(crate) turn: AtomicU64,
    /// [`OPEN`], [`SHUT`] or [`CUT`].
    pub(crate) end: AtomicU32,
    /// The core where a thread of the producer's end last waited, for room or for bytes, see [`crate::wait::Spin`].
    pub(crate) core: AtomicU32,
    /// Marks so far, counted before the first of their bytes is published.
    pub(crate) marks: AtomicU32,
}

/// Written by the consumer.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Consumed {
    pub(crate) position: AtomicU64,
}

/// What the producer looks at after each write: seldom written, so that it stays in its cache.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct ReaderWaits {
    /// How the consumer waits for bytes, see [`crate::wait`].
    pub(crate) waits: AtomicU32,
    /// Nothing will be consumed any more.
    pub(crate) gone: AtomicU32,
}

/// How the producer waits for room, and how it began.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct WriterWaits {
    pub(crate) waits: AtomicU32,
    /// What became of the memory that was offered, see [`crate::young`]: in the client's lane only.
    pub(crate) offered: AtomicU32,
    /// Bytes that the producer sent by the kernel's socket before the first in the ring, and one; 0 before it has said so, and in
    /// connections that began with the ring.
    pub(crate) begun: AtomicU64,
}

/// More may come.
pub(crate) const OPEN: u32 = 0;
/// Nothing comes after what is there.
pub(crate) const SHUT: u32 = 1;
/// The producer closed without having read everything, which the other learns as a reset.
pub(crate) const CUT: u32 = 2;

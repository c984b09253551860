//! Parts that only a busy connection has.
//!
//! An idle connection owns no buffers. The parts of one that has fallen silent go to a few spares that all
//! connections share, so that a dialogue allocates nothing per message.

use super::recovery::Recovery;
use super::recv::RecvBuffer;
use super::send::SendBuffer;
use super::sent::SentQueue;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::ops::{Deref, DerefMut};

/// The most spare parts of one kind.
const MAX_SPARES: usize = 64;

/// What can be on demand: its default is at rest and owns no memory besides itself.
pub(super) trait Part: Debug + Default + 'static {
    /// The part as every connection without one sees it.
    fn none() -> &'static Self;
    /// Whether nothing would be lost with it.
    fn is_at_rest(&self) -> bool;
    /// Where spare ones are.
    fn spares(spares: &mut Spares) -> &mut Vec<Box<Self>>;
    /// Makes one at rest fit for another connection.
    #[inline]
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// A part that is there from the first write to it until it is at rest.
#[derive(Debug)]
pub(super) struct OnDemand<T>(Option<Box<T>>);

impl<T> Default for OnDemand<T> {
    fn default() -> OnDemand<T> {
        OnDemand(None)
    }
}

impl<T: Part> OnDemand<T> {
    /// Before it is written to: takes a spare one, if there is any.
    #[inline]
    pub(super) fn wake(&mut self, spares: &mut Spares) {
        if self.0.is_none() {
            self.0 = T::spares(spares).pop();
        }
    }

    /// After it has lost content: gives it back if it is at rest.
    #[inline]
    pub(super) fn rest(&mut self, spares: &mut Spares) {
        if let Some(mut part) = self.0.take_if(|part| part.is_at_rest()) {
            let spares = T::spares(spares);
            if spares.len() < MAX_SPARES {
                part.reset();
                spares.push(part);
            }
        }
    }

    /// Drops it, whatever it holds.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Whether it takes no memory.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Part> Deref for OnDemand<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| T::none())
    }
}

impl<T: Part> DerefMut for OnDemand<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

/// Parts at rest, of one stack.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "they move between connections and here")]
pub(crate) struct Spares {
    send: Vec<Box<SendBuffer>>,
    sent: Vec<Box<SentQueue>>,
    recv: Vec<Box<RecvBuffer>>,
    pub(super) recovery: Vec<Box<Recovery>>,
}

impl Part for SendBuffer {
    fn none() -> &'static SendBuffer {
        static NONE: SendBuffer = SendBuffer::EMPTY;
        &NONE
    }

    fn is_at_rest(&self) -> bool {
        self.is_empty()
    }

    fn spares(spares: &mut Spares) -> &mut Vec<Box<SendBuffer>> {
        &mut spares.send
    }

    #[inline]
    fn reset(&mut self) {
        self.rewind();
    }
}

impl Part for RecvBuffer {
    fn none() -> &'static RecvBuffer {
        static NONE: RecvBuffer = RecvBuffer::EMPTY;
        &NONE
    }

    fn is_at_rest(&self) -> bool {
        self.is_empty() && self.out_of_order_len() == 0
    }

    fn spares(spares: &mut Spares) -> &mut Vec<Box<RecvBuffer>> {
        &mut spares.recv
    }

    #[inline]
    fn reset(&mut self) {
        self.rewind();
    }
}

impl Part for SentQueue {
    fn none() -> &'static SentQueue {
        static NONE: SentQueue = SentQueue::EMPTY;
        &NONE
    }

    fn is_at_rest(&self) -> bool {
        self.is_empty()
    }

    fn spares(spares: &mut Spares) -> &mut Vec<Box<SentQueue>> {
        &mut spares.sent
    }

    #[inline]
    fn reset(&mut self) {
        // What it has grown to is of use to the next one, within reason.
        self.shrink();
    }
}

//! The payload of one packet or the result of one read: a few chunks in order.

use crate::Chunk;
use alloc::vec::Vec;

/// Bytes in order, as a list of [`Chunk`]s. One chunk, by far the common case, needs no allocation.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    first: Chunk,
    rest: Vec<Chunk>,
    len: usize,
}

impl Payload {
    /// No bytes.
    pub const EMPTY: Payload = Payload { first: Chunk::from_static(&[]), rest: Vec::new(), len: 0 };

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a chunk, joined with the last one if it can be; an empty one leaves the payload as it is.
    pub fn push(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        if self.len == 0 {
            self.len = chunk.len();
            self.first = chunk;
        } else {
            self.len += chunk.len();
            let last = self.rest.last_mut().unwrap_or(&mut self.first);
            if let Err(chunk) = last.join(chunk) {
                self.rest.push(chunk);
            }
        }
    }

    /// Appends what `next` holds. That stays behind unless it had to be moved: `next` is only to be dropped.
    #[inline]
    pub fn append_from(&mut self, next: &mut Payload) {
        let last = self.rest.last_mut().unwrap_or(&mut self.first);
        if next.rest.is_empty() && last.extend_over(&next.first) {
            self.len += next.len;
        } else {
            self.extend(core::mem::take(next));
        }
    }

    /// The chunks in order; none is empty.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        (!self.first.is_empty()).then_some(&self.first).into_iter().chain(self.rest.iter())
    }

    /// The bytes of `start..end`, sharing memory. Panics when out of bounds.
    #[must_use]
    #[inline]
    pub fn slice(&self, start: usize, end: usize) -> Payload {
        assert!(start <= end && end <= self.len, "slice {start}..{end} of a payload of {}", self.len);
        if self.rest.is_empty() && start < end {
            Payload { first: self.first.slice(start..end), rest: Vec::new(), len: end - start }
        } else {
            self.slice_of_parts(start, end)
        }
    }

    fn slice_of_parts(&self, start: usize, end: usize) -> Payload {
        let (mut part, mut offset) = (Payload::EMPTY, 0);
        for chunk in self.chunks() {
            let (from, to) = (start.max(offset), end.min(offset + chunk.len()));
            if from < to {
                part.push(chunk.slice(from - offset..to - offset));
            }
            offset += chunk.len();
        }
        part
    }

    /// Keeps only the bytes of `start..end`. Panics when out of bounds.
    pub fn trim(&mut self, start: usize, end: usize) {
        if (start, end) != (0, self.len) {
            *self = self.slice(start, end);
        }
    }

    /// Copies all bytes to the front of `out`, which must be long enough; returns how many.
    #[inline]
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let mut at = 0;
        for chunk in self.chunks() {
            out[at..at + chunk.len()].copy_from_slice(chunk);
            at += chunk.len();
        }
        at
    }

    /// All bytes in one vector.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len);
        for chunk in self.chunks() {
            all.extend_from_slice(chunk);
        }
        all
    }

    /// The bytes, if they are one chunk.
    #[inline]
    pub fn single(&self) -> Option<&Chunk> {
        (self.len > 0 && self.rest.is_empty()).then_some(&self.first)
    }

    /// Takes the bytes out, if they are one chunk.
    #[inline]
    pub fn take_single(&mut self) -> Option<Chunk> {
        if self.len == 0 || !self.rest.is_empty() {
            return None;
        }
        self.len = 0;
        Some(core::mem::take(&mut self.first))
    }

    /// The first chunk, which is empty if there are no bytes, and what follows it.
    pub fn into_parts(self) -> (Chunk, Vec<Chunk>) {
        (self.first, self.rest)
    }

    /// All bytes as one chunk; copies only when there is more than one.
    pub fn into_chunk(self) -> Chunk {
        if self.rest.is_empty() { self.first } else { Chunk::from(self.to_vec()) }
    }
}

impl From<Chunk> for Payload {
    #[inline]
    fn from(chunk: Chunk) -> Payload {
        Payload { len: chunk.len(), first: chunk, rest: Vec::new() }
    }
}

impl Extend<Chunk> for Payload {
    fn extend<I: IntoIterator<Item = Chunk>>(&mut self, chunks: I) {
        chunks.into_iter().for_each(|chunk| self.push(chunk));
    }
}

impl FromIterator<Chunk> for Payload {
    fn from_iter<I: IntoIterator<Item = Chunk>>(chunks: I) -> Payload {
        let mut payload = Payload::EMPTY;
        payload.extend(chunks);
        payload
    }
}

/// The chunks of a payload, by value, in order.
#[derive(Debug)]
pub struct PayloadChunks {
    first: Option<Chunk>,
    rest: alloc::vec::IntoIter<Chunk>,
}

impl Iterator for PayloadChunks {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        self.first.take().or_else(|| self.rest.next())
    }
}

impl IntoIterator for Payload {
    type Item = Chunk;
    type IntoIter = PayloadChunks;

    fn into_iter(self) -> PayloadChunks {
        let first = (!self.first.is_empty()).then_some(self.first);
        PayloadChunks { first, rest: self.rest.into_iter() }
    }
}

impl PartialEq for Payload {
    /// Equal bytes, however they are cut into chunks.
    fn eq(&self, other: &Payload) -> bool {
        self.len == other.len
            && self.chunks().flat_map(|c| c.iter()).eq(other.chunks().flat_map(|c| c.iter()))
    }
}

impl Eq for Payload {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slices_are_the_bytes_of_the_range(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..6),
            a in 0_usize..50, b in 0_usize..50,
        ) {
            let payload: Payload = parts.iter().map(|p| Chunk::copy_from(p)).collect();
            let all = parts.concat();
            prop_assert_eq!(payload.to_vec(), all.clone());
            let (start, end) = (a.min(b).min(all.len()), a.max(b).min(all.len()));
            prop_assert_eq!(payload.slice(start, end).to_vec(), all[start..end].to_vec());
            prop_assert_eq!(payload.clone().into_iter().map(|c| c.len()).sum::<usize>(), all.len());
            let mut joined = payload.slice(0, start);
            joined.append_from(&mut payload.slice(start, end));
            joined.append_from(&mut payload.slice(end, all.len()));
            prop_assert_eq!(joined.len(), all.len());
            prop_assert_eq!(joined.to_vec(), all.clone());
            let mut out = vec![0; all.len()];
            prop_assert_eq!(payload.copy_to(&mut out), all.len());
            prop_assert_eq!(out, all.clone());
            prop_assert_eq!(payload.into_chunk().to_vec(), all);
        }
    }
}

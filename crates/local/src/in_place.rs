//! Bytes read and written where they are, in memory that the peer may change at any time: so nobody has a reference to
//! them, and they can only be copied.

use crate::half::Kind;
use crate::ring::{Broken, Consumer, Start, record_len};
use crate::sys::Side;
use crate::wait::World;
use rustix::net::RecvFlags;
use std::io;
use std::os::unix::net::UnixStream;

/// Bytes to be read where they are, see [`LocalStream::read_in_place`](crate::LocalStream::read_in_place).
///
/// The process that wrote them may still change them: copied twice, they can be two different things. So copy what
/// is to be checked, and use the copy.
///
/// ```
/// use sockeye_local::LocalStream;
/// use std::io::Write;
///
/// let (mut ours, theirs) = LocalStream::pair()?;
/// ours.write_all(b"\x00\x03abc\x00\x09unfin")?;
/// let mut messages = Vec::new();
/// theirs.read_in_place(|bytes| {
///     let mut at = 0;
///     while at + 2 <= bytes.len() {
///         let mut len = [0; 2];
///         bytes.copy_to(at, &mut len);
///         let len = usize::from(u16::from_be_bytes(len));
///         if at + 2 + len > bytes.len() {
///             break;
///         }
///         let mut message = vec![0; len];
///         bytes.copy_to(at + 2, &mut message);
///         messages.push(message);
///         at += 2 + len;
///     }
///     at
/// })?;
/// assert_eq!(messages, [b"abc"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedSlice<'a> {
    place: Place<&'a [u8], &'a Side>,
    len: usize,
}

/// Room for bytes to be written where they will be read, see
/// [`LocalStream::write_in_place`](crate::LocalStream::write_in_place).
///
/// ```
/// use sockeye_local::{LocalStream, SharedSliceMut};
///
/// /// Puts as many numbers as there is room for; how many bytes that are.
/// fn put_numbers(room: &mut SharedSliceMut<'_>, mut numbers: impl Iterator<Item = u32>) -> usize {
///     let mut at = 0;
///     while at + 4 <= room.len() {
///         let Some(number) = numbers.next() else { break };
///         room.copy_from(at, &number.to_ne_bytes());
///         at += 4;
///     }
///     at
/// }
///
/// let (ours, theirs) = LocalStream::pair()?;
/// assert_eq!(ours.write_in_place(|room| put_numbers(room, 1..=100))?, 400);
/// assert_eq!(theirs.read_in_place(|bytes| bytes.len())?, 400);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedSliceMut<'a> {
    place: Place<&'a mut [u8], &'a Side>,
    len: usize,
}

#[derive(Debug)]
enum Place<B, S> {
    /// In a ring, where as many bytes from there on are this end's to read or to write.
    Ring(S, Start),
    Own(B),
}

impl<'a> SharedSlice<'a> {
    pub(crate) fn of_ring(memory: &'a Side, found: Found) -> SharedSlice<'a> {
        SharedSlice { place: Place::Ring(memory, found.start), len: found.len }
    }

    pub(crate) fn of_bytes(bytes: &'a [u8]) -> SharedSlice<'a> {
        SharedSlice { place: Place::Own(bytes), len: bytes.len() }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none: this is the end.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the bytes from `offset` on, as many as `bytes` holds.
    ///
    /// # Panics
    ///
    /// Where there aren't as many.
    pub fn copy_to(&self, offset: usize, bytes: &mut [u8]) {
        check(offset, bytes.len(), self.len);
        match &self.place {
            Place::Ring(memory, start) => start.copy_out(*memory, offset as u64, bytes),
            Place::Own(own) => bytes.copy_from_slice(&own[offset..offset + bytes.len()]),
        }
    }

    /// A copy of all bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.copy_to(0, &mut bytes);
        bytes
    }

    /// Where this byte is first.
    pub fn position(&self, wanted: u8) -> Option<usize> {
        let mut part = [0; 256];
        (0..self.len).step_by(part.len()).find_map(|offset| {
            let part = &mut part[..(self.len - offset).min(256)];
            self.copy_to(offset, part);
            part.iter().position(|byte| *byte == wanted).map(|at| offset + at)
        })
    }
}

impl<'a> SharedSliceMut<'a> {
    pub(crate) fn of_ring(memory: &'a Side, start: Start, len: usize) -> SharedSliceMut<'a> {
        SharedSliceMut { place: Place::Ring(memory, start), len }
    }

    pub(crate) fn of_bytes(bytes: &'a mut [u8]) -> SharedSliceMut<'a> {
        SharedSliceMut { len: bytes.len(), place: Place::Own(bytes) }
    }

    /// How many bytes there is room for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no room, as in a packet of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes to the room from `offset` on.
    ///
    /// # Panics
    ///
    /// Where there isn't as much.
    pub fn copy_from(&mut self, offset: usize, bytes: &[u8]) {
        check(offset, bytes.len(), self.len);
        match &mut self.place {
            Place::Ring(memory, start) => start.copy_in(*memory, offset as u64, bytes),
            Place::Own(own) => own[offset..offset + bytes.len()].copy_from_slice(bytes),
        }
    }
}

fn check(offset: usize, count: usize, len: usize) {
    assert!(offset <= len && count <= len - offset, "{count} bytes from {offset} on, of {len}");
}

/// Bytes that were found in a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    start: Start,
    pub(crate) len: usize,
    /// Something is attached to them.
    is_marked: bool,
}

/// What there is to read, as far as to the end of the first bytes with something attached.
pub(crate) fn find(
    world: &impl World,
    consumer: &mut Consumer,
    memory: &Side,
    kind: Kind,
) -> Result<Option<Found>, Broken> {
    let (_, known) = consumer.open(memory)?;
    let is_marked = known == 0 && consumer.is_held() && consumer.approach(|| world.next_mark())?;
    if is_marked {
        consumer.look_beyond();
    }
    let found = match kind {
        Kind::Bytes => Some(consumer.open(memory)?).filter(|(_, len)| *len > 0),
        Kind::Records => consumer.open_record(memory)?,
    };
    Ok(found.map(|(start, len)| Found { start, len, is_marked }))
}

/// Takes so many of the bytes that were found, or a record, and drops what is attached to them.
pub(crate) fn take(
    world: &impl World,
    consumer: &mut Consumer,
    memory: &Side,
    kind: Kind,
    found: Found,
    taken: usize,
) -> Result<(), Broken> {
    let released = match kind {
        Kind::Bytes => taken,
        Kind::Records => record_len(found.len),
    };
    let mark = if found.is_marked && released > 0 { consumer.pass() } else { None };
    if mark.is_some_and(|mark| !world.take_mark(mark, None)) {
        return Err(Broken);
    }
    consumer.release(memory, released);
    if found.is_marked {
        consumer.halt();
    }
    Ok(())
}

/// Bytes that are copied from the kernel's socket for one call.
const READ_AT_ONCE: usize = 64 << 10;
const WRITTEN_AT_ONCE: usize = 16 << 10;

/// Room for the bytes of one call.
pub(crate) fn room_to_read() -> Vec<u8> {
    vec![0; READ_AT_ONCE]
}

/// Reads from the kernel's socket of a stream.
pub(crate) fn read(socket: &UnixStream, with: impl FnOnce(&SharedSlice<'_>) -> usize) -> io::Result<usize> {
    let mut bytes = room_to_read();
    let (count, _) = rustix::net::recv(socket, &mut bytes[..], RecvFlags::PEEK)?;
    take_copied(&mut bytes[..count], with, |bytes| {
        Ok(rustix::net::recv(socket, bytes, RecvFlags::DONTWAIT)?.0)
    })
}

/// Takes bytes from where they were copied from, as many as `with` says: `take` takes some at a time, without waiting.
pub(crate) fn take_copied(
    bytes: &mut [u8],
    with: impl FnOnce(&SharedSlice<'_>) -> usize,
    mut take: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let taken = with(&SharedSlice::of_bytes(bytes)).min(bytes.len());
    let mut done = 0;
    // A read may stop where a message does.
    while done < taken {
        match take(&mut bytes[done..taken]) {
            Ok(0) => break,
            Ok(count) => done += count,
            // What was taken counts: another read took the rest.
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes to the kernel's socket of a stream, whose room is known once it was tried: `with` comes first.
pub(crate) fn write(
    with: impl FnOnce(&mut SharedSliceMut<'_>) -> usize,
    write: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut bytes = vec![0; WRITTEN_AT_ONCE];
    let count = with(&mut SharedSliceMut::of_bytes(&mut bytes)).min(bytes.len());
    write(&bytes[..count])
}

/// Receives a packet from the kernel's socket.
pub(crate) fn receive(
    socket: &UnixStream,
    with: impl FnOnce(&SharedSlice<'_>) -> usize,
) -> io::Result<usize> {
    let (_, len) = rustix::net::recv(socket, &mut [0; 0], RecvFlags::PEEK | RecvFlags::TRUNC)?;
    let mut packet = vec![0; len];
    let (count, _) = rustix::net::recv(socket, &mut packet[..], RecvFlags::empty())?;
    Ok(with(&SharedSlice::of_bytes(&packet[..count])))
}

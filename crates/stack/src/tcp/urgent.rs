//! Urgent data, both ways (RFC 9293 §3.8.5, RFC 6093): like the kernel, one byte, the last before the pointer.

use super::connection::{Connection, Resources};
use super::seq::SeqNumber;
use super::state::State;
use crate::{Error, Result};
use alloc::boxed::Box;
use sockeye_packet::{Chunk, Payload};
use sockeye_wire::{TcpFlags, TcpHeader};

/// What is urgent now; boxed, for hardly any connection ever has anything.
#[derive(Debug, Default)]
pub(super) struct Urgency(Option<Box<Both>>);

#[derive(Clone, Copy, Debug, Default)]
struct Both {
    /// SND.UP: the octet after the last urgent one, until it is acknowledged.
    snd_up: Option<SeqNumber>,
    recv: Option<Urgent>,
}

/// The peer's urgent data.
#[derive(Clone, Copy, Debug)]
struct Urgent {
    /// Where the byte is in the stream.
    mark: SeqNumber,
    /// The byte, from its arrival until it is read.
    byte: Option<u8>,
    /// It was read out of band.
    taken: bool,
}

impl Urgency {
    /// SND.UP, while something urgent is not acknowledged.
    pub(super) fn snd_up(&self) -> Option<SeqNumber> {
        self.0.as_ref()?.snd_up
    }

    /// The octet before `up` is urgent (MUST-62, RFC 6093: the pointer is the octet behind it).
    pub(super) fn set_snd_up(&mut self, up: SeqNumber) {
        self.0.get_or_insert_default().snd_up = Some(up);
    }

    /// SND.UNA is `una` now.
    pub(super) fn on_acknowledged(&mut self, una: SeqNumber) {
        if let Some(both) = &mut self.0 {
            both.snd_up = both.snd_up.filter(|up| up.after(una));
            self.tidy();
        }
    }

    /// Whether an urgent byte waits to be read out of band.
    pub(super) fn has_byte(&self) -> bool {
        self.recv().is_some_and(|urgent| urgent.byte.is_some())
    }

    /// Whether it takes no memory.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Where the peer's urgent byte is, until it is read over.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn mark(&self) -> Option<SeqNumber> {
        self.recv().map(|urgent| urgent.mark)
    }

    #[inline]
    fn recv(&self) -> Option<Urgent> {
        self.0.as_ref()?.recv
    }

    fn recv_mut(&mut self) -> Option<&mut Urgent> {
        self.0.as_mut()?.recv.as_mut()
    }

    /// Everything before `seq` was read.
    #[inline]
    fn on_read(&mut self, seq: SeqNumber) {
        if let Some(both) = &mut self.0 {
            both.recv = both.recv.filter(|urgent| !urgent.mark.before(seq));
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        self.0.take_if(|both| both.snd_up.is_none() && both.recv.is_none());
    }
}

impl Connection {
    /// Sixth step of RFC 9293 §3.10.7.4: the urgent pointer (MUST-30 to MUST-33, MUST-62: it points behind
    /// the urgent octet).
    pub(super) fn process_urgent(
        &mut self,
        header: &TcpHeader,
        payload: &Payload,
        resources: &mut Resources<'_>,
    ) {
        if !header.flags.contains(TcpFlags::URG) || header.urgent == 0 || !self.state.can_receive() {
            return;
        }
        let start = SeqNumber(header.seq) + u32::from(header.flags.syn());
        let mark = start + u32::from(header.urgent) - 1;
        let newer = self.urgent.recv().is_none_or(|urgent| mark.after(urgent.mark));
        if newer && !mark.before(self.read_seq()) {
            self.pass_urgent_byte(resources);
            self.urgent.0.get_or_insert_default().recv = Some(Urgent { mark, byte: None, taken: false });
        }
        self.take_urgent_byte(start, payload);
    }

    /// As the kernel: where the next byte to read is an urgent one that isn't in line, another urgent byte has it
    /// passed over, lest it becomes ordinary data.
    fn pass_urgent_byte(&mut self, resources: &mut Resources<'_>) {
        if !resources.settings.oob_inline && self.at_mark() && !self.recv.is_empty() {
            self.recv.read(1);
            self.recv.rest(resources.spares);
            self.settle_charge(resources.budget);
        }
    }

    /// Keeps the urgent byte when `payload`, which begins at `start`, has it.
    #[inline]
    pub(super) fn take_urgent_byte(&mut self, start: SeqNumber, payload: &Payload) {
        if let Some(urgent) = self.urgent.recv_mut()
            && urgent.byte.is_none()
            && !urgent.taken
            && urgent.mark.in_window(start, payload.len() as u32)
        {
            let at = urgent.mark.since(start) as usize;
            urgent.byte = payload.slice(at, at + 1).chunks().next().map(|chunk| chunk[0]);
        }
    }

    /// In-order bytes up to the urgent mark, which a read doesn't cross (RFC 6093 §2, MUST-33). An urgent
    /// byte that is not in line is left out.
    #[inline]
    pub(super) fn take_in_order(&mut self, max: usize, peek: bool, resources: &mut Resources<'_>) -> Payload {
        if self.recv.is_empty() {
            return Payload::EMPTY;
        }
        let inline = resources.settings.oob_inline;
        let mut max = max;
        let mut skip = 0;
        if let Some(urgent) = self.urgent.recv() {
            let distance = urgent.mark - self.read_seq();
            if distance > 0 {
                max = max.min(distance as usize);
            } else if !inline && distance == 0 && max > 0 {
                skip = 1;
            }
        }
        if peek {
            let payload = self.recv.peek(max.saturating_add(skip));
            let skip = skip.min(payload.len());
            return payload.slice(skip, payload.len());
        }
        if skip > 0 {
            self.recv.read(skip);
        }
        let payload = self.recv.read(max);
        self.recv.rest(resources.spares);
        self.urgent.on_read(self.read_seq());
        payload
    }

    /// The urgent byte, out of band.
    pub(super) fn recv_urgent(&mut self, peek: bool, resources: &Resources<'_>) -> Result<Payload> {
        let Some(urgent) = self.urgent.recv_mut().filter(|urgent| !urgent.taken) else {
            return Err(Error::InvalidArgument);
        };
        if resources.settings.oob_inline {
            return Err(Error::InvalidArgument);
        }
        if self.state == State::Closed && !self.flags.fin_received {
            return Err(Error::NotConnected);
        }
        let Some(byte) = urgent.byte else {
            let ended = self.flags.read_shut || !self.state.can_receive();
            return if ended { Ok(Payload::EMPTY) } else { Err(Error::WouldBlock) };
        };
        if !peek {
            urgent.byte = None;
            urgent.taken = true;
        }
        Ok(Payload::from(Chunk::copy_from(&[byte])))
    }

    /// How far it is to the urgent byte, until it is read over.
    pub(super) fn urgent_distance(&self) -> Option<usize> {
        self.urgent.recv().and_then(|urgent| usize::try_from(urgent.mark - self.read_seq()).ok())
    }

    /// Whether the next byte to read is the urgent one (SIOCATMARK).
    pub(crate) fn at_mark(&self) -> bool {
        self.urgent.recv().is_some_and(|urgent| urgent.mark == self.read_seq())
    }
}

//! Messages that are gathered into one datagram, `UDP_CORK` in udp(7) and `MSG_MORE` in send(2): where it goes and
//! how is what the first of them said.

use crate::error::{Error, Result};
use crate::ip::route::Path;
use crate::socket::{Kind, Message, SocketId};
use crate::{SockAddr, Stack};
use alloc::boxed::Box;
use alloc::vec::Vec;
use sockeye_packet::{Chunk, Instant, Payload};

/// A datagram that is not whole yet. What it holds is charged to its socket's send buffer.
#[derive(Debug)]
pub(crate) struct Corked {
    pub(super) path: Path,
    pub(super) to: SockAddr,
    pub(super) message: Message,
    /// Bytes of each datagram that it is cut into (`UDP_SEGMENT`); 0 for one whole.
    pub(super) segment_size: u16,
    pub(super) data: Vec<u8>,
}

impl Kind {
    fn corked(&mut self) -> Option<&mut Option<Box<Corked>>> {
        match self {
            Kind::Udp(udp) => Some(&mut udp.corked),
            Kind::Raw(raw) => Some(&mut raw.corked),
            _ => None,
        }
    }
}

impl Stack {
    /// Whether the socket has begun a datagram.
    pub(super) fn is_corked(&mut self, id: SocketId) -> Result<bool> {
        Ok(self.socket_mut(id)?.kind.corked().is_some_and(|corked| corked.is_some()))
    }

    /// Begins a datagram, to which `payload` is its first part. Only this waits for room: what is taken will be sent.
    pub(super) fn cork(&mut self, id: SocketId, corked: Corked, payload: &Payload) -> Result<usize> {
        let Some(slot) = self.socket_mut(id)?.kind.corked() else { return Err(Error::NotSupported) };
        *slot = Some(Box::new(corked));
        self.gather(id, payload)
    }

    /// Adds a message to the datagram that has been begun, and sends it unless there is `more` to come. As the
    /// kernel: when it gets too long, all of it is lost, and nothing else is reported.
    pub(super) fn append(
        &mut self,
        now: Instant,
        id: SocketId,
        payload: &Payload,
        more: bool,
    ) -> Result<usize> {
        if let Err(error) = self.check_appended(now, id, payload.len()) {
            self.forget_corked(id);
            return Err(error);
        }
        let sent = self.gather(id, payload)?;
        if !more {
            self.uncork(id)?;
        }
        Ok(sent)
    }

    fn check_appended(&mut self, now: Instant, id: SocketId, len: usize) -> Result<()> {
        let kind = &mut self.socket_mut(id)?.kind;
        let is_raw = matches!(kind, Kind::Raw(_));
        let Some(Some(corked)) = kind.corked() else { return Ok(()) };
        let (path, to, len, cut) = (corked.path, corked.to, corked.data.len() + len, corked.segment_size > 0);
        let mtu = if is_raw {
            self.too_long_for_raw(id, &path, &to, len)?
        } else {
            self.too_long_for(id, &path, &to, len, cut)?
        };
        if let Some(mtu) = mtu {
            self.report_too_long(now, id, to, mtu);
            return Err(Error::MessageSize);
        }
        Ok(())
    }

    /// Copies a message to the datagram that it is a part of. Parts are short, and there may be thousands.
    fn gather(&mut self, id: SocketId, payload: &Payload) -> Result<usize> {
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let Some(Some(corked)) = socket.kind.corked() else { return Err(Error::NotSupported) };
        if !io.budget.try_charge(payload.len()) {
            self.forget_corked(id);
            return Err(Error::NoBufs);
        }
        payload.chunks().for_each(|chunk| corked.data.extend_from_slice(chunk));
        self.queues(id)?.send_charged += payload.len();
        Ok(payload.len())
    }

    /// Sends the datagram that has been begun, if one has.
    pub(super) fn uncork(&mut self, id: SocketId) -> Result<()> {
        let Some(corked) = self.forget_corked(id) else { return Ok(()) };
        let Corked { path, to, message, segment_size, data } = *corked;
        let payload = Payload::from(Chunk::from(data));
        if matches!(self.socket_ref(id)?.kind, Kind::Raw(_)) {
            let packet = self.raw_packet(id, (&path, &to), &message, payload)?;
            return self.send_raw(id, &path, &to, packet);
        }
        self.send_along(id, path, &to, &message, payload, segment_size).map(drop)
    }

    /// Takes the datagram that has been begun, of which nothing is charged any more.
    fn forget_corked(&mut self, id: SocketId) -> Option<Box<Corked>> {
        let Stack { sockets, io, .. } = self;
        let kind = &mut sockets.get_mut(id.0)?.kind;
        let corked = kind.corked()?.take()?;
        kind.queues_mut()?.send_charged -= corked.data.len();
        io.budget.release(corked.data.len());
        Some(corked)
    }

    /// `UDP_CORK`: what follows is one datagram, until it is switched off.
    pub(super) fn set_cork(&mut self, id: SocketId, on: bool) -> Result<()> {
        match &mut self.socket_mut(id)?.kind {
            Kind::Udp(udp) if !udp.proto.is_echo() => udp.options.cork = on,
            _ => return Err(Error::ProtocolOption),
        }
        if !on {
            // As the kernel: nobody is told what becomes of it.
            let _ = self.uncork(id);
        }
        Ok(())
    }
}

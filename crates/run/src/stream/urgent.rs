//! Urgent bytes (`MSG_OOB`), both ways.
//!
//! A local stream socket knows them too: a read ends before an urgent byte, SIOCATMARK tells that it is the
//! next one, and whoever has it waiting sees POLLPRI and SIGURG. So the program's calls are the kernel's, and
//! the pump only has to keep the byte's place in the stream.

use super::Stream;
use rustix::io::Errno as SysErrno;
use rustix::net::{SendFlags, send};
use sockeye_packet::{Chunk, Instant};
use sockeye_stack::{
    Error, OptionName, RecvFlags as StackRecvFlags, SendFlags as StackSendFlags, SocketId, SocketOption,
    Stack,
};

/// What comes next from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgent {
    /// An urgent byte, which was taken.
    Taken,
    /// An urgent byte, which an ordinary read of one byte takes.
    Next,
    /// None that is urgent.
    No,
}

impl Stream {
    /// Reads the urgent byte that is next in the plug. It doesn't stay as the sentinel: it would be urgent for ever.
    pub(super) fn take_urgent(&mut self) -> Result<(), SysErrno> {
        let mut byte = [0_u8; 1];
        if rustix::io::read(&self.plug, &mut byte)? == 1 {
            self.urgent_out = Some(Chunk::copy_from(&byte));
        }
        Ok(())
    }

    /// Hands the stack an urgent byte; says whether it took it.
    pub(super) fn flush_urgent(&mut self, stack: &mut Stack, now: Instant, id: SocketId) -> bool {
        let Some(byte) = &self.urgent_out else { return true };
        let flags = StackSendFlags { oob: true, ..StackSendFlags::default() };
        let sent = stack.send(now, id, &mut [byte.clone()].into(), flags);
        if sent != Err(Error::WouldBlock) {
            self.urgent_out = None;
        }
        self.urgent_out.is_none()
    }

    /// Looks whether the peer's next byte is an urgent one.
    pub(super) fn receive_urgent(&mut self, stack: &mut Stack, now: Instant, id: SocketId) -> Urgent {
        if !stack.at_mark(id) {
            return Urgent::No;
        }
        if stack.get_option(id, OptionName::OobInline) == Ok(SocketOption::OobInline(true)) {
            return Urgent::Next;
        }
        match stack.recv(now, id, 1, StackRecvFlags { oob: true, ..StackRecvFlags::default() }) {
            Ok(byte) => {
                self.urgent_in = Some(byte.into_chunk());
                Urgent::Taken
            }
            // Taken already, or still on its way.
            Err(_) => Urgent::No,
        }
    }

    /// Writes an urgent byte for the program; says whether it went.
    pub(super) fn give_urgent(&mut self) -> bool {
        let Some(byte) = &self.urgent_in else { return true };
        let flags = SendFlags::OOB | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match send(&self.plug, byte, flags) {
            Err(SysErrno::AGAIN) => self.writable = false,
            Err(SysErrno::INTR) => {}
            // Gone, or the program reads no more.
            Ok(_) | Err(_) => self.urgent_in = None,
        }
        self.urgent_in.is_none()
    }
}

//! What carries the bytes of a stream, or packets.

use crate::ancillary::send_message;
use crate::end::End;
use crate::outside::Kernel;
use crate::sys::messages::receive;
use crate::watch::{Look, Ready, look_at_socket};
use crate::young::Young;
use crate::{Ancillary, Attached};
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// What carries a stream's bytes.
#[derive(Debug)]
pub(crate) enum Carrier {
    Ring(Box<End>),
    Kernel(Kernel),
    /// By the kernel's socket as long as it has carried little.
    Young(Box<Young>),
}

impl Carrier {
    pub(crate) fn plain(socket: UnixStream) -> Carrier {
        Carrier::Kernel(Kernel::new(socket))
    }

    /// The end over shared memory that everything goes by.
    pub(crate) fn end(&self) -> Option<&End> {
        match self {
            Carrier::Ring(end) => Some(end),
            Carrier::Young(young) => young.reading_end(),
            Carrier::Kernel(_) => None,
        }
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        match self {
            Carrier::Ring(end) => &end.outside.kernel,
            Carrier::Young(young) => young.kernel(),
            Carrier::Kernel(kernel) => kernel,
        }
    }

    pub(crate) fn socket(&self) -> &UnixStream {
        &self.kernel().socket
    }

    /// Sends bytes, one at least where it is a stream, or a packet that was found to fit.
    pub(crate) fn send_with(&self, bytes: &[u8], attached: Attached<'_>) -> io::Result<usize> {
        match self {
            Carrier::Ring(end) => end.write_with(bytes, attached),
            Carrier::Young(young) => young.write_with(bytes, attached),
            Carrier::Kernel(Kernel { socket, .. }) => {
                send_message(socket.as_fd(), bytes, SendFlags::empty(), attached)
            }
        }
    }

    pub(crate) fn recv_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        match self {
            Carrier::Ring(end) => end.read_with(bytes),
            Carrier::Young(young) => young.read_with(bytes),
            Carrier::Kernel(Kernel { socket, wants }) => {
                let mut attached = Ancillary::default();
                let count = receive(socket.as_fd(), bytes, RecvFlags::empty(), wants, &mut attached)?;
                Ok((count, attached.without_nobody(count == 0 && !bytes.is_empty())))
            }
        }
    }
}

impl Look for Carrier {
    fn look(&self, wanted: Ready) -> Ready {
        match self {
            Carrier::Ring(end) => end.look(wanted),
            Carrier::Young(young) => young.look(wanted),
            Carrier::Kernel(kernel) => look_at_socket(kernel.socket.as_fd()),
        }
    }
}

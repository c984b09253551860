//! The same cases on the kernel's datagram sockets, on ours, and between both: what holds of the first must hold of the
//! others.

#![cfg(target_os = "linux")]

/// Names for what both libraries have, as they spell it.
macro_rules! named {
    ($name:ident, $receiver:ident, $sender:ident) => {
        mod $name {
            use crate::kinds::{$receiver as Receiver, $sender as Sender};

            include!("datagram/named.rs");
        }
    };
}

macro_rules! paired {
    ($name:ident, $socket:ident, $shared:expr) => {
        mod $name {
            use crate::kinds::$socket as Socket;
            const IS_SHARED: bool = $shared;

            include!("datagram/paired.rs");
        }
    };
}

mod kinds {
    pub(crate) use sockeye_local::LocalDatagram;
    pub(crate) use std::os::unix::net::UnixDatagram;
}

named!(kernel, UnixDatagram, UnixDatagram);
named!(ours, LocalDatagram, LocalDatagram);
named!(plain_sender, LocalDatagram, UnixDatagram);
named!(plain_receiver, UnixDatagram, LocalDatagram);

paired!(kernel_pair, UnixDatagram, false);
paired!(our_pair, LocalDatagram, true);

/// What the standard library hasn't made stable, and what only we have.
trait Extra: std::os::fd::AsFd + Sized {
    fn look(&self, bytes: &mut [u8]) -> std::io::Result<usize>;
    fn is_shared(&self) -> bool;
    fn can_receive(&self) -> bool;
    fn can_send(&self) -> bool;

    /// Whether there is something to read, or an end or error to be told.
    fn has_event(&self) -> bool {
        self.tells(rustix::event::PollFlags::IN)
    }

    fn tells(&self, wanted: rustix::event::PollFlags) -> bool {
        let mut sources = [rustix::event::PollFd::new(self, wanted)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut sources, Some(&now)).unwrap() > 0
    }
}

impl Extra for kinds::UnixDatagram {
    fn look(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        Ok(rustix::net::recv(self, bytes, rustix::net::RecvFlags::PEEK)?.0)
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn can_receive(&self) -> bool {
        self.has_event()
    }

    fn can_send(&self) -> bool {
        self.tells(rustix::event::PollFlags::OUT)
    }
}

impl Extra for kinds::LocalDatagram {
    fn look(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.peek(bytes)
    }

    fn is_shared(&self) -> bool {
        self.is_shared_memory()
    }

    fn can_receive(&self) -> bool {
        self.is_readable().unwrap()
    }

    fn can_send(&self) -> bool {
        self.is_writable().unwrap()
    }
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<rustix::io::Errno> {
    rustix::io::Errno::from_io_error(&result.unwrap_err())
}

#[test]
fn a_name_that_nobody_has_open_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(kinds::UnixDatagram::bind(&path).unwrap());
    assert_eq!(errno(kinds::UnixDatagram::bind(&path)), Some(rustix::io::Errno::ADDRINUSE));
    for _ in 0..3 {
        let receiver = kinds::LocalDatagram::bind(&path).unwrap();
        kinds::UnixDatagram::unbound().unwrap().send_to(b"x", &path).unwrap();
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
}

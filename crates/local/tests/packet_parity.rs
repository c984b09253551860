//! Sequenced packets: the same cases on the kernel's sockets, on ours over shared memory, and on ours with a plain peer at
//! either end.

#![cfg(target_os = "linux")]

/// Ours, and the kernel's by the same names.
mod kinds {
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType,
    };
    use std::io;
    use std::net::Shutdown;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::time::Duration;

    pub(crate) use sockeye_local::{LocalPacketListener, LocalPackets};

    pub(crate) struct PlainListener(OwnedFd);

    /// The standard library has no such type; whatever isn't about packets, that of streams does.
    pub(crate) struct Plain(UnixStream);

    fn socket() -> io::Result<OwnedFd> {
        Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
    }

    #[allow(dead_code, reason = "of both libraries the cases use one for each end")]
    impl PlainListener {
        pub(crate) fn bind(path: &Path) -> io::Result<PlainListener> {
            PlainListener::bind_queued(path, 128)
        }

        pub(crate) fn bind_queued(path: &Path, backlog: u32) -> io::Result<PlainListener> {
            let listener = socket()?;
            rustix::net::bind(&listener, &SocketAddrUnix::new(path)?)?;
            rustix::net::listen(&listener, backlog as i32)?;
            Ok(PlainListener(listener))
        }

        pub(crate) fn accept(&self) -> io::Result<(Plain, Option<SocketAddrAny>)> {
            let (server, from) = rustix::net::acceptfrom(&self.0)?;
            Ok((Plain(UnixStream::from(server)), from))
        }

        pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            Ok(rustix::io::ioctl_fionbio(&self.0, nonblocking)?)
        }
    }

    #[allow(dead_code, reason = "as above")]
    impl Plain {
        pub(crate) fn connect(path: &Path) -> io::Result<Plain> {
            let client = socket()?;
            rustix::net::connect(&client, &SocketAddrUnix::new(path)?)?;
            Ok(Plain(UnixStream::from(client)))
        }

        pub(crate) fn send(&self, packet: &[u8]) -> io::Result<usize> {
            Ok(rustix::net::send(&self.0, packet, SendFlags::NOSIGNAL)?)
        }

        pub(crate) fn recv(&self, packet: &mut [u8]) -> io::Result<usize> {
            Ok(rustix::net::recv(&self.0, packet, RecvFlags::empty())?.0)
        }

        pub(crate) fn peek(&self, packet: &mut [u8]) -> io::Result<usize> {
            Ok(rustix::net::recv(&self.0, packet, RecvFlags::PEEK)?.0)
        }

        pub(crate) fn try_clone(&self) -> io::Result<Plain> {
            Ok(Plain(self.0.try_clone()?))
        }

        pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            self.0.set_nonblocking(nonblocking)
        }

        pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.set_read_timeout(timeout)
        }

        pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.set_write_timeout(timeout)
        }

        pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            self.0.shutdown(how)
        }
    }

    impl crate::Extra for Plain {
        fn is_shared(&self) -> bool {
            false
        }

        fn peer_pid(&self) -> u32 {
            rustix::net::sockopt::socket_peercred(&self.0).unwrap().pid.as_raw_nonzero().get() as u32
        }
    }
}

/// What only these tests call.
trait Extra {
    fn is_shared(&self) -> bool;
    fn peer_pid(&self) -> u32;
}

impl Extra for kinds::LocalPackets {
    fn is_shared(&self) -> bool {
        self.is_shared_memory()
    }

    fn peer_pid(&self) -> u32 {
        self.peer_cred().unwrap().pid.unwrap()
    }
}

trait Queued: Sized {
    fn bind_queued(path: &std::path::Path, backlog: u32) -> std::io::Result<Self>;
}

impl Queued for kinds::LocalPacketListener {
    fn bind_queued(path: &std::path::Path, backlog: u32) -> std::io::Result<Self> {
        let config = sockeye_local::ListenerConfig { backlog, ..Default::default() };
        kinds::LocalPacketListener::bind_with(path, &config)
    }
}

macro_rules! library {
    ($name:ident, $listener:ident, $client:ident, $server:ident, $shared:expr) => {
        mod $name {
            type Listener = crate::kinds::$listener;
            type Client = crate::kinds::$client;
            type Server = crate::kinds::$server;
            const IS_SHARED: bool = $shared;

            include!("parity/packets.rs");
        }
    };
}

library!(kernel, PlainListener, Plain, Plain, false);
library!(ours, LocalPacketListener, LocalPackets, LocalPackets, true);
library!(plain_client, LocalPacketListener, Plain, LocalPackets, false);
library!(plain_server, PlainListener, LocalPackets, Plain, false);

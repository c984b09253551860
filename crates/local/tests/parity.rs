//! The same cases on the kernel's sockets, on ours over shared memory, and on ours with a plain peer: what holds of the
//! first must hold of the others.

#![cfg(target_os = "linux")]

/// Names for what both libraries have, as they spell it.
macro_rules! library {
    ($name:ident, $listener:ty, $client:ty, $server:ty, $shared:expr, $dial:expr) => {
        mod $name {
            type Listener = $listener;
            /// What connects.
            type Client = $client;
            /// What is accepted.
            #[allow(dead_code, reason = "some cases name it")]
            type Server = $server;
            /// From the start.
            const IS_SHARED: bool = $shared;

            fn dial(path: impl AsRef<std::path::Path>) -> std::io::Result<Client> {
                $dial(path.as_ref())
            }

            include!("parity/cases.rs");
        }
    };
}

mod kinds {
    pub(crate) use sockeye_local::{LocalListener, LocalStream};
    pub(crate) use std::os::unix::net::{UnixListener, UnixStream};
}

library!(
    kernel,
    crate::kinds::UnixListener,
    crate::kinds::UnixStream,
    crate::kinds::UnixStream,
    false,
    crate::kinds::UnixStream::connect
);
library!(
    ours,
    crate::kinds::LocalListener,
    crate::kinds::LocalStream,
    crate::kinds::LocalStream,
    true,
    |path| crate::kinds::LocalStream::connect_with(path, sockeye_local::DEFAULT_RING)
);
// These begin at the kernel's socket, and most of the longer ones go over to memory.
library!(
    young,
    crate::kinds::LocalListener,
    crate::kinds::LocalStream,
    crate::kinds::LocalStream,
    false,
    crate::kinds::LocalStream::connect
);
library!(
    plain_client,
    crate::kinds::LocalListener,
    crate::kinds::UnixStream,
    crate::kinds::LocalStream,
    false,
    crate::kinds::UnixStream::connect
);
library!(
    plain_server,
    crate::kinds::UnixListener,
    crate::kinds::LocalStream,
    crate::kinds::UnixStream,
    false,
    crate::kinds::LocalStream::connect
);

/// What the standard library hasn't made stable.
trait Extra {
    fn look(&self, bytes: &mut [u8]) -> std::io::Result<usize>;
    /// Process, user and group of the other end.
    fn peer(&self) -> (u32, u32, u32);
    fn is_shared(&self) -> bool;
}

impl Extra for kinds::UnixStream {
    fn look(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        Ok(rustix::net::recv(self, bytes, rustix::net::RecvFlags::PEEK)?.0)
    }

    fn peer(&self) -> (u32, u32, u32) {
        let peer = rustix::net::sockopt::socket_peercred(self).unwrap();
        (peer.pid.as_raw_nonzero().get() as u32, peer.uid.as_raw(), peer.gid.as_raw())
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl Extra for kinds::LocalStream {
    fn look(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.peek(bytes)
    }

    fn peer(&self) -> (u32, u32, u32) {
        let peer = self.peer_cred().unwrap();
        (peer.pid.unwrap(), peer.uid, peer.gid)
    }

    fn is_shared(&self) -> bool {
        self.is_shared_memory()
    }
}

/// A listener with a queue of its own length, for which the standard library has no call.
trait Queued: Sized {
    fn bind_queued(path: &std::path::Path, backlog: u32) -> std::io::Result<Self>;
}

impl Queued for kinds::UnixListener {
    fn bind_queued(path: &std::path::Path, backlog: u32) -> std::io::Result<Self> {
        let listener = kinds::UnixListener::bind(path)?;
        rustix::net::listen(&listener, backlog as i32)?;
        Ok(listener)
    }
}

impl Queued for kinds::LocalListener {
    fn bind_queued(path: &std::path::Path, backlog: u32) -> std::io::Result<Self> {
        let config = sockeye_local::ListenerConfig { backlog, ..Default::default() };
        kinds::LocalListener::bind_with(path, &config)
    }
}

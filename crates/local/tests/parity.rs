//! The same cases on the kernel's sockets, on ours over shared memory, and on ours with a plain peer: what holds of the
//! first must hold of the others.

#![cfg(target_os = "linux")]

/// Names for what both libraries have, as they spell it.
macro_rules! library {
    ($name:ident, $listener:ty, $client:ty, $server:ty, $shared:expr) => {
        mod $name {
            type Listener = $listener;
            /// What connects.
            type Client = $client;
            /// What is accepted.
            #[allow(dead_code, reason = "some cases name it")]
            type Server = $server;
            const IS_SHARED: bool = $shared;

            include!("parity/cases.rs");
        }
    };
}

mod kinds {
    pub(crate) use sockeye_local::{LocalListener, LocalStream};
    pub(crate) use std::os::unix::net::{UnixListener, UnixStream};
}

library!(kernel, crate::kinds::UnixListener, crate::kinds::UnixStream, crate::kinds::UnixStream, false);
library!(ours, crate::kinds::LocalListener, crate::kinds::LocalStream, crate::kinds::LocalStream, true);
library!(
    plain_client,
    crate::kinds::LocalListener,
    crate::kinds::UnixStream,
    crate::kinds::LocalStream,
    false
);
library!(
    plain_server,
    crate::kinds::UnixListener,
    crate::kinds::LocalStream,
    crate::kinds::UnixStream,
    false
);

/// What the standard library hasn't made stable.
trait Extra {
    fn look(&self, bytes: &mut [u8]) -> std::io::Result<usize>;
    fn peer_pid(&self) -> u32;
    fn is_shared(&self) -> bool;
}

impl Extra for kinds::UnixStream {
    fn look(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        Ok(rustix::net::recv(self, bytes, rustix::net::RecvFlags::PEEK)?.0)
    }

    fn peer_pid(&self) -> u32 {
        rustix::net::sockopt::socket_peercred(self).unwrap().pid.as_raw_nonzero().get() as u32
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl Extra for kinds::LocalStream {
    fn look(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.peek(bytes)
    }

    fn peer_pid(&self) -> u32 {
        self.peer_cred().unwrap().pid.unwrap()
    }

    fn is_shared(&self) -> bool {
        self.is_shared_memory()
    }
}

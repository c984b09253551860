//! The same cases on tokio's sockets, on ours for tokio over shared memory, and on ours with one of tokio's as the peer.

#![cfg(all(target_os = "linux", feature = "tokio"))]

macro_rules! library {
    ($name:ident, $listener:ty, $client:ty, $server:ty, $shared:expr, $dial:expr) => {
        mod $name {
            type Listener = $listener;
            type Client = $client;
            #[allow(dead_code, reason = "some cases name it")]
            type Server = $server;
            /// From the start.
            const IS_SHARED: bool = $shared;

            async fn dial(path: impl AsRef<std::path::Path>) -> std::io::Result<Client> {
                $dial(path).await
            }

            include!("parity/tokio.rs");
        }
    };
}

mod kinds {
    pub(crate) use sockeye_local::tokio::{LocalListener, LocalStream};
    pub(crate) use tokio::net::{UnixListener, UnixStream};
}

library!(
    tokios,
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

/// What they don't name alike.
trait Extra {
    fn peer(&self) -> (u32, u32);
    fn is_shared(&self) -> bool;
}

impl Extra for kinds::UnixStream {
    fn peer(&self) -> (u32, u32) {
        let peer = self.peer_cred().unwrap();
        (peer.pid().unwrap() as u32, peer.uid())
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl Extra for kinds::LocalStream {
    fn peer(&self) -> (u32, u32) {
        let peer = self.peer_cred().unwrap();
        (peer.pid.unwrap(), peer.uid)
    }

    fn is_shared(&self) -> bool {
        self.is_shared_memory()
    }
}

/// A listener with a queue of its own length.
trait Queued: Sized {
    fn bind_queued(path: &std::path::Path, backlog: u32) -> Self;
}

impl Queued for kinds::UnixListener {
    fn bind_queued(path: &std::path::Path, backlog: u32) -> Self {
        let listener = kinds::UnixListener::bind(path).unwrap();
        rustix::net::listen(&listener, backlog as i32).unwrap();
        listener
    }
}

impl Queued for kinds::LocalListener {
    fn bind_queued(path: &std::path::Path, backlog: u32) -> Self {
        let config = sockeye_local::ListenerConfig { backlog, ..Default::default() };
        kinds::LocalListener::bind_with(path, &config).unwrap()
    }
}

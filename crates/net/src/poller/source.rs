//! What can be watched.

use crate::{StackSocket, TcpListener, TcpSocket, TcpStream, UdpSocket};
use sealed::Place;

/// A socket that a [`Poller`](super::Poller) can watch: those of this crate for threads, with the feature `local` also local streams,
/// packets, their listeners and datagrams. It can't be implemented elsewhere.
///
/// ```
/// use sockeye::poller::{Events, Interest, Mode, Poller, Source};
/// use sockeye::{HostConfig, Network};
///
/// /// Watches sockets under the numbers of their places.
/// fn watch(poller: &Poller, sockets: &[impl Source]) -> std::io::Result<()> {
///     let mut numbered = sockets.iter().enumerate();
///     numbered.try_for_each(|(key, socket)| poller.add(socket, key, Interest::READABLE, Mode::Level))
/// }
///
/// let network = Network::builder().host("web", HostConfig::default()).build()?;
/// let web = network.host("web")?;
/// let listeners = [web.tcp_listen("web:80")?, web.tcp_listen("web:443")?];
/// let (poller, mut events) = (Poller::new(), Events::new());
/// watch(&poller, &listeners)?;
/// let _client = web.tcp_connect("web:443")?;
/// poller.wait(&mut events, None)?;
/// assert_eq!(events.iter().next().unwrap().key, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Source: sealed::Sealed {}

pub(crate) mod sealed {
    use crate::Host;
    use crate::poller::outside;
    use sockeye_stack::SocketId;

    /// Where a socket is.
    #[derive(Debug)]
    pub enum Place<'a> {
        Stack(&'a Host, SocketId),
        Outside(outside::Handle),
    }

    /// A socket that is somewhere.
    pub trait Sealed {
        fn place(&self) -> Place<'_>;
    }
}

macro_rules! sources {
    ($($socket:ty),*) => { $(
        impl Source for $socket {}

        impl sealed::Sealed for $socket {
            fn place(&self) -> Place<'_> {
                let (host, socket) = self.socket().place();
                Place::Stack(host, socket)
            }
        }
    )* };
}

sources!(TcpListener, TcpSocket, TcpStream, UdpSocket);

impl Source for StackSocket {}

impl sealed::Sealed for StackSocket {
    fn place(&self) -> Place<'_> {
        let (host, socket) = StackSocket::place(self);
        Place::Stack(host, socket)
    }
}

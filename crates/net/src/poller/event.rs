//! What a poller watches sockets for, when it tells, and what.

use sockeye_stack::Readiness;
use std::ops::{BitOr, BitOrAssign};

/// What a socket is watched for. Errors and the end of a connection are reported always, as by epoll.
///
/// ```
/// use sockeye::poller::{Events, Interest, Mode, Poller};
/// use sockeye::{HostConfig, Network};
/// use std::time::Duration;
///
/// let network = Network::builder().host("web", HostConfig::default()).build()?;
/// let web = network.host("web")?;
/// let socket = web.udp_bind("web:9")?;
/// let (poller, mut events) = (Poller::new(), Events::new());
/// // A socket that could send is no news to who has nothing to say.
/// poller.add(&socket, 0, Interest::READABLE, Mode::Level)?;
/// assert_eq!(poller.wait(&mut events, Some(Duration::ZERO))?, 0);
/// poller.modify(&socket, 0, Interest::READABLE | Interest::WRITABLE, Mode::Level)?;
/// assert_eq!(poller.wait(&mut events, None)?, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interest(pub(super) Readiness);

impl Interest {
    /// Errors and the end of a connection only.
    pub const NONE: Interest = Interest(Readiness::EMPTY);
    /// Data, a connection to accept, and that the peer sends no more (`EPOLLIN | EPOLLRDHUP`).
    pub const READABLE: Interest = Interest(Readiness::READABLE.union(Readiness::READ_CLOSED));
    /// Room to write, and that a connection has opened (`EPOLLOUT`).
    pub const WRITABLE: Interest = Interest(Readiness::WRITABLE);
    /// Urgent data (`EPOLLPRI`).
    pub const PRIORITY: Interest = Interest(Readiness::PRIORITY);

    /// What is asked for.
    pub(crate) const fn readiness(self) -> Readiness {
        self.0
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0.union(other.0))
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Interest) {
        *self = *self | other;
    }
}

/// When a socket that is ready is reported.
///
/// ```
/// use sockeye::poller::{Events, Interest, Mode, Poller};
/// use sockeye::{HostConfig, Network};
/// use std::time::Duration;
///
/// let network = Network::builder().host("web", HostConfig::default()).build()?;
/// let web = network.host("web")?;
/// let (poller, mut events) = (Poller::new(), Events::new());
/// let mut is_told_twice = |mode| {
///     let socket = web.udp_bind("web:0")?;
///     poller.add(&socket, 0, Interest::WRITABLE, mode)?;
///     assert_eq!(poller.wait(&mut events, None)?, 1);
///     Ok::<_, std::io::Error>(poller.wait(&mut events, Some(Duration::ZERO))? == 1)
/// };
/// assert!(is_told_twice(Mode::Level)?);
/// assert!(!is_told_twice(Mode::Edge)?);
/// assert!(!is_told_twice(Mode::Oneshot)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By every [`Poller::wait`](super::Poller::wait), as long as it is ready.
    #[default]
    Level,
    /// Once when it is added or modified and ready, then when something new has come (`EPOLLET`): so read or
    /// write until that would block. Anything that happens to the socket may report it again while it is ready.
    Edge,
    /// Once; then not before [`Poller::modify`](super::Poller::modify) (`EPOLLONESHOT`).
    Oneshot,
}

/// A socket that is ready.
///
/// ```
/// use sockeye::poller::{Events, Interest, Mode, Poller};
/// use sockeye::{HostConfig, Network};
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
/// let listener = web.tcp_listen("web:80")?;
/// let client = me.tcp_connect("web:80")?;
/// let (stream, _) = listener.accept()?;
/// let (poller, mut events) = (Poller::new(), Events::new());
/// poller.add(&stream, 7, Interest::READABLE, Mode::Level)?;
/// drop(client);
/// poller.wait(&mut events, None)?;
/// let event = events.iter().next().unwrap();
/// assert_eq!(event.key, 7);
/// // The end can be read; as far as the peer is concerned, writing goes on.
/// assert!(event.is_readable() && event.is_read_closed() && !event.is_hangup());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What [`Poller::add`](super::Poller::add) or [`Poller::modify`](super::Poller::modify) was given.
    pub key: usize,
    /// What the socket was ready for when it was reported, of what it is watched for.
    pub readiness: Readiness,
}

impl Event {
    /// A read or accept would not block (`EPOLLIN`).
    pub fn is_readable(&self) -> bool {
        self.readiness.contains(Readiness::READABLE)
    }

    /// A write would not block (`EPOLLOUT`).
    pub fn is_writable(&self) -> bool {
        self.readiness.contains(Readiness::WRITABLE)
    }

    /// The peer sends no more, or reading is shut down (`EPOLLRDHUP`).
    pub fn is_read_closed(&self) -> bool {
        self.readiness.contains(Readiness::READ_CLOSED)
    }

    /// Nothing can be read or written any more (`EPOLLHUP`).
    pub fn is_hangup(&self) -> bool {
        self.readiness.contains(HANGUP)
    }

    /// `take_error` has something (`EPOLLERR`).
    pub fn is_error(&self) -> bool {
        self.readiness.contains(Readiness::ERROR)
    }

    /// There is urgent data (`EPOLLPRI`).
    pub fn is_priority(&self) -> bool {
        self.readiness.contains(Readiness::PRIORITY)
    }
}

/// What is reported as `EPOLLHUP`.
pub(super) const HANGUP: Readiness = Readiness::READ_CLOSED.union(Readiness::WRITE_CLOSED);

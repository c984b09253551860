//! What a stream socket is to its user, beside its connection: how far connect has come, what shutdown and a
//! connection of before have left. As the kernel keeps it, since programs see it in errno and poll(2).

use crate::Stack;
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::slab::Key;
use crate::socket::{Kind, RecvFlags, Shutdown, Socket, SocketId};
use crate::tcp::State;
use alloc::boxed::Box;
use sockeye_packet::{Instant, Payload};

/// What a stream socket has beside its connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stage {
    pub(crate) progress: Progress,
    /// The pending error, while there is no connection to have it.
    pub(crate) error: Option<Error>,
    /// Directions that were shut down while there was no connection: the next one begins so.
    pub(crate) read_shut: bool,
    pub(crate) write_shut: bool,
}

/// How far connect has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It may be called.
    #[default]
    Unconnected,
    /// It was called and has not said yet how it went.
    Connecting,
    /// It has succeeded, or the connection was accepted.
    Connected,
    /// The connection was lost or shut down before connect could say how it went: it never will.
    Disconnecting,
}

impl Stage {
    /// Of a socket with an open connection.
    pub(crate) const CONNECTED: Stage =
        Stage { progress: Progress::Connected, error: None, read_shut: false, write_shut: false };

    /// What poll(2) reports without a connection. As the kernel: a stream that was never connected hangs up, and has
    /// nothing to read unless reading was shut down.
    pub(crate) fn readiness(self) -> Readiness {
        let mut ready = Readiness::WRITABLE | Readiness::WRITE_CLOSED | Readiness::READ_CLOSED;
        ready.insert_if(Readiness::READABLE, self.read_shut);
        ready.insert_if(Readiness::ERROR, self.error.is_some());
        ready
    }

    /// recv without a connection.
    pub(crate) fn recv(&mut self, flags: RecvFlags) -> Result<Payload> {
        if flags.oob {
            return Err(Error::InvalidArgument);
        }
        match self.error.take() {
            Some(error) => Err(error),
            None if self.read_shut => Ok(Payload::EMPTY),
            None => Err(Error::NotConnected),
        }
    }
}

impl Stack {
    /// What connect(2) on a stream socket says before it looks at the address: that it is connected, or how the
    /// connection that was begun goes on. None: it may begin one, as datagram sockets always may.
    pub fn connect_again(&mut self, now: Instant, id: SocketId) -> Option<Result<()>> {
        let result = self.connect_progress(now, id);
        if result.is_some() {
            self.run_loopback(now);
        }
        result
    }

    /// What a connect(2) on a stream socket says that waits for what it began: [`Error::WouldBlock`] while it has to.
    /// Once it is told so, no later connect is.
    pub fn connect_outcome(&mut self, now: Instant, id: SocketId) -> Result<()> {
        self.socket_ref(id)?;
        match self.connect_again(now, id) {
            Some(Err(Error::Already)) => Err(Error::WouldBlock),
            // Somebody else was told, who waited too or shut the socket down.
            Some(Err(Error::IsConnected)) => Ok(()),
            None | Some(Err(Error::InvalidArgument)) => {
                let error = self.take_error(id).unwrap_or(Error::ConnectionAborted);
                self.make_idle(now, id);
                Err(error)
            }
            Some(result) => result,
        }
    }

    pub(crate) fn connect_progress(&mut self, now: Instant, id: SocketId) -> Option<Result<()>> {
        let socket = self.sockets.get_mut(id.0)?;
        let state = match socket.kind {
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => return None,
            Kind::Listener(_) => return Some(Err(Error::IsConnected)),
            Kind::Connection(key) => self.connections.get(key)?.connection.state(),
            Kind::Idle(_) => State::Closed,
        };
        let result = match (socket.stage.progress, state) {
            (Progress::Unconnected, _) => return None,
            (Progress::Connected, _) => Err(Error::IsConnected),
            (Progress::Disconnecting, _) => Err(Error::InvalidArgument),
            (Progress::Connecting, State::SynSent | State::SynReceived) => Err(Error::Already),
            (Progress::Connecting, State::Closed | State::TimeWait) => {
                let error = self.take_error(id).unwrap_or(Error::ConnectionAborted);
                self.make_idle(now, id);
                Err(error)
            }
            (Progress::Connecting, _) => {
                // As the kernel: the call that finds the connection open succeeds, later ones don't.
                socket.stage.progress = Progress::Connected;
                Ok(())
            }
        };
        Some(result)
    }

    pub(crate) fn tcp_shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<()> {
        let Stack { sockets, connections, .. } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let key = match socket.kind {
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => return Err(Error::NotSupported),
            Kind::Listener(_) => {
                // As the kernel: a listener that reads no more listens no more.
                if how.read() {
                    self.make_idle(now, id);
                }
                return Ok(());
            }
            Kind::Idle(_) => {
                socket.stage.read_shut |= how.read();
                socket.stage.write_shut |= how.write();
                if socket.stage.progress == Progress::Connecting {
                    socket.stage.progress = Progress::Disconnecting;
                }
                self.touch(id, Readiness::EMPTY);
                return Err(Error::NotConnected);
            }
            Kind::Connection(key) => key,
        };
        let state = connections.get(key).map_or(State::Closed, |tcb| tcb.connection.state());
        if socket.stage.progress == Progress::Connecting {
            // The kernel's way to say that nobody waits for it any more.
            let open = state.is_synchronized();
            socket.stage.progress = if open { Progress::Connected } else { Progress::Disconnecting };
        }
        match state {
            State::Closed => return Err(Error::NotConnected),
            State::SynSent => self.make_idle(now, id),
            _ => self.shutdown_connection(key, how),
        }
        Ok(())
    }

    /// connect(2) with `AF_UNSPEC`, and whatever else ends what a stream socket was: it is an ordinary one afterwards.
    /// The kernel leaves an error where there was a connection, and takes none.
    pub(crate) fn make_idle(&mut self, now: Instant, id: SocketId) {
        let Ok(socket) = self.socket_ref(id) else { return };
        let (mut error, mut listened) = (socket.stage.error, false);
        match socket.kind {
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => return,
            Kind::Idle(_) => {}
            Kind::Listener(_) => {
                self.stop_listening(now, id);
                listened = true;
            }
            Kind::Connection(key) => error = self.lose_connection(id, key),
        }
        let Some(socket) = self.sockets.get_mut(id.0) else { return };
        socket.stage = Stage { error, ..Stage::default() };
        self.forget_name(id, listened);
        self.touch(id, Readiness::EMPTY);
    }

    /// Resets a connection and takes it from its socket; answers the error that is left pending.
    fn lose_connection(&mut self, id: SocketId, key: Key) -> Option<Error> {
        let tcb = self.connections.get_mut(key)?;
        let resets = match tcb.connection.state() {
            State::Closed | State::TimeWait => false,
            State::Closing | State::LastAck => tcb.connection.has_unsent(),
            _ => true,
        };
        let error = if resets { Some(Error::ConnectionReset) } else { tcb.connection.pending_error() };
        let settings = tcb.settings.clone();
        self.reset(key);
        // Hands over what it holds of the port, if that was named.
        self.after(key, Readiness::EMPTY);
        if let Some(tcb) = self.connections.get_mut(key) {
            tcb.socket = None;
            self.io.orphans += 1;
            self.bury(key);
        }
        let socket = self.sockets.get_mut(id.0)?;
        socket.kind = Kind::Idle(settings);
        socket.peer = None;
        error
    }

    /// Lets go of what the user of a stream socket has not named: the address, which shows no more, and if it `listened`
    /// the port, which (as the kernel) shows until there is another. A connection has let go of its port by itself.
    fn forget_name(&mut self, id: SocketId, listened: bool) {
        let Stack { sockets, io, .. } = self;
        let Some(socket) = sockets.get_mut(id.0) else { return };
        let port = socket.local.port;
        if !socket.named_ip {
            socket.local = Socket::unspecified(socket.domain).with_port(port);
        }
        let Some((binding, hold)) = socket.bound.take().map(|bound| *bound) else { return };
        io.demux.release(&binding, hold);
        if hold.named || !listened {
            let binding = socket.binding_at(socket.local);
            io.demux.hold(binding, hold);
            socket.bound = Some(Box::new((binding, hold)));
        }
    }

    /// Whether a socket has a local port: one that shows may be that of a connection of before.
    pub(crate) fn holds_port(&self, socket: &Socket) -> bool {
        let connected = match socket.kind {
            Kind::Connection(key) => {
                self.connections.get(key).is_some_and(|tcb| tcb.connection.state() != State::Closed)
            }
            _ => false,
        };
        connected || socket.bound.is_some()
    }
}

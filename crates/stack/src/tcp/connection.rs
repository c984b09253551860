//! One TCP connection (RFC 9293).

use super::info::TcpInfo;
use super::segment::Segment;
use super::seq::SeqNumber;
use super::state::State;
use super::timers::Timer;
use crate::config::TcpConfig;
use crate::socket::options::TcpSettings;
use crate::{Error, Readiness, RecvFlags, Result, SendFlags, Shutdown};
use alloc::collections::VecDeque;
use core::time::Duration;
use sockeye_packet::{Budget, Chunk, Instant, Payload};
use sockeye_wire::TcpHeader;

/// What a connection may use, lent for one call.
#[derive(Debug)]
pub(crate) struct Resources<'a> {
    /// Memory of the stack: every buffer charges it.
    pub(crate) budget: &'a mut Budget,
    /// Settings of the stack.
    pub(crate) config: &'a TcpConfig,
    /// Options of the socket (or those it left behind when it was closed).
    pub(crate) settings: &'a TcpSettings,
    /// The most payload a super-segment may carry on the interface in use; at most one segment's: none.
    pub(crate) max_segment: usize,
}

/// What is decided when a connection begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenParams<'a> {
    /// Settings of the stack.
    pub(crate) config: &'a TcpConfig,
    /// Options of the socket.
    pub(crate) settings: &'a TcpSettings,
    /// Our initial sequence number (of a passive open: the one in the SYN-ACK).
    pub(crate) iss: SeqNumber,
    /// Added to the clock in timestamps.
    pub(crate) ts_offset: u32,
    /// The segment size that we advertise.
    pub(crate) local_mss: u16,
    /// What fits in a packet of the path's MTU behind the IP header and a TCP header without options.
    pub(crate) path_mss: u16,
    /// What a peer can receive that advertises nothing: 536 for IPv4, 1220 for IPv6 (MUST-15).
    pub(crate) default_mss: u16,
}

/// What a passive open learnt from the SYN and decided in its SYN-ACK.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handshake {
    /// The peer's initial sequence number.
    pub(crate) irs: SeqNumber,
    /// The peer's MSS option.
    pub(crate) peer_mss: Option<u16>,
    /// The peer's window scale option; with it ours was sent.
    pub(crate) peer_window_scale: Option<u8>,
    /// The shift that our SYN-ACK announced; counts only if the peer sent one.
    pub(crate) our_window_scale: u8,
    /// The window that our SYN-ACK announced (never scaled).
    pub(crate) our_window: u16,
    /// Whether both sides sent SACK-permitted.
    pub(crate) sack: bool,
    /// The last timestamp of the peer, when both sides sent timestamps.
    pub(crate) ts_recent: Option<u32>,
    /// From the SYN-ACK to its acknowledgment, when it was sent only once.
    pub(crate) rtt: Option<Duration>,
}

/// What has to be kept in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeWaitSeed {
    /// Our next sequence number.
    pub(crate) snd_nxt: SeqNumber,
    /// The peer's next sequence number, its FIN counted.
    pub(crate) rcv_nxt: SeqNumber,
    /// The window field of our acknowledgments, as it is sent.
    pub(crate) window: u16,
    /// The right edge of our window lies this far from `rcv_nxt`.
    pub(crate) rcv_wnd: u32,
    /// With timestamps: the peer's last one.
    pub(crate) ts_recent: Option<u32>,
    /// Added to the clock in timestamps.
    pub(crate) ts_offset: u32,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    state: State,
}

/// Beginning and end.
impl Connection {
    /// An active open: in SYN-SENT, its SYN owed to the next [`poll_transmit`](Connection::poll_transmit).
    pub(crate) fn connect(now: Instant, open: &OpenParams<'_>) -> Connection {
        let _ = (now, open);
        todo!()
    }

    /// A passive open whose handshake is complete. The owner then hands the segment that completed it to
    /// [`on_segment`](Connection::on_segment).
    pub(crate) fn from_handshake(now: Instant, open: &OpenParams<'_>, handshake: &Handshake) -> Connection {
        let _ = (now, open, handshake);
        todo!()
    }

    /// Gives back all memory that the connection has charged; to be called before it is dropped.
    pub(crate) fn release(&mut self, budget: &mut Budget) {
        let _ = budget;
        todo!()
    }
}

/// Segments and time.
impl Connection {
    /// Takes in a segment. What is answered is a reset or acknowledgment to be sent at once; its ports
    /// are not filled.
    pub(crate) fn on_segment(
        &mut self,
        now: Instant,
        segment: Segment,
        resources: &mut Resources<'_>,
    ) -> Option<TcpHeader> {
        let _ = (now, segment, resources);
        todo!()
    }

    /// Does what is due. What is answered is a reset to be sent at once; its ports are not filled.
    pub(crate) fn on_timeout(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<TcpHeader> {
        let _ = (now, resources);
        todo!()
    }

    /// The next segment to send; to be called until there is none.
    pub(crate) fn poll_transmit(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<Segment> {
        let _ = (now, resources);
        todo!()
    }

    /// When [`on_timeout`](Connection::on_timeout) is due, and for what.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        todo!()
    }

    /// An ICMP error that concerns this connection. A `hard` one ends a connection that is being opened;
    /// any other is remembered and reported should the connection time out (RFC 9293 §3.9.2.2, MUST-56).
    pub(crate) fn on_unreachable(&mut self, now: Instant, hard: bool, error: Error) {
        let _ = (now, hard, error);
        todo!()
    }

    /// The path carries segments of this size now ([`OpenParams::path_mss`]).
    pub(crate) fn on_path_mss(&mut self, path_mss: u16) {
        let _ = path_mss;
        todo!()
    }
}

/// The user's calls.
impl Connection {
    /// Takes from the front of `chunks` what there is room for.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        chunks: &mut VecDeque<Chunk>,
        flags: SendFlags,
        resources: &mut Resources<'_>,
    ) -> Result<usize> {
        let _ = (now, chunks, flags, resources);
        todo!()
    }

    /// Up to `max` bytes that came in; empty at the end of the stream.
    pub(crate) fn recv(
        &mut self,
        now: Instant,
        max: usize,
        flags: RecvFlags,
        resources: &mut Resources<'_>,
    ) -> Result<Payload> {
        let _ = (now, max, flags, resources);
        todo!()
    }

    /// Ends one direction or both.
    pub(crate) fn shutdown(&mut self, now: Instant, how: Shutdown, resources: &mut Resources<'_>) {
        let _ = (now, how, resources);
        todo!()
    }

    /// The socket is gone: closes in good order, or resets when data was not read or the linger time is
    /// zero. What is answered is the reset to be sent; the state is then [`State::Closed`].
    pub(crate) fn close(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<TcpHeader> {
        let _ = (now, resources);
        todo!()
    }

    /// Ends the connection at once; answers the reset to be sent, if the peer knows of the connection.
    pub(crate) fn abort(&mut self, now: Instant, budget: &mut Budget) -> Option<TcpHeader> {
        let _ = (now, budget);
        todo!()
    }

    /// The socket's options have changed.
    pub(crate) fn apply_settings(&mut self, now: Instant, resources: &mut Resources<'_>) {
        let _ = (now, resources);
        todo!()
    }

    /// Takes the pending error (SO_ERROR).
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        todo!()
    }
}

/// Getters.
impl Connection {
    /// Its state.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// What its socket is ready for.
    pub(crate) fn readiness(&self, settings: &TcpSettings) -> Readiness {
        let _ = settings;
        todo!()
    }

    /// Bytes that [`send`](Connection::send) would take now.
    pub(crate) fn send_space(&self) -> usize {
        todo!()
    }

    /// Bytes that can be read now.
    pub(crate) fn recv_queued(&self) -> usize {
        todo!()
    }

    /// Bytes sent or to be sent that are not acknowledged (SIOCOUTQ).
    pub(crate) fn send_queued(&self) -> usize {
        todo!()
    }

    /// Whether the next byte to read is the urgent one (SIOCATMARK).
    pub(crate) fn at_mark(&self) -> bool {
        todo!()
    }

    /// The segment size for sending, without options (TCP_MAXSEG).
    pub(crate) fn max_segment(&self) -> u16 {
        todo!()
    }

    /// In TIME-WAIT: what has to be kept for it.
    pub(crate) fn time_wait(&self) -> Option<TimeWaitSeed> {
        todo!()
    }

    /// How it is doing.
    pub(crate) fn info(&self) -> TcpInfo {
        todo!()
    }
}

//! One TCP connection: what it knows (RFC 9293 §3.3.1), how it begins and ends, and what can be asked.
//!
//! The machine that works on it is spread over its subjects: `input` takes segments, `output` makes
//! them, `ack` decides which acknowledgments are owed, `recovery` what is lost, `timeout` what to do when
//! a peer is silent, and `user` holds the socket's calls. Names are the RFC's: `snd_una` is SND.UNA.
//!
//! Invariants: records in `sent` cover exactly `snd_una..snd_nxt`; `send` holds the stream's bytes from
//! `snd_una` on; `charged` is what the budget was charged for both buffers.

use super::ack::Acks;
use super::congestion::{Congestion, Controller as _, Cubic, Reno};
use super::info::TcpInfo;
use super::options::Negotiated;
use super::recovery::Recovery;
use super::recv::RecvBuffer;
use super::rtt::RttEstimator;
use super::sack::Scoreboard;
use super::send::SendBuffer;
use super::sent::SentQueue;
use super::seq::SeqNumber;
use super::state::{State, Transition};
use super::timers::{Timer, Timers};
use crate::config::{CongestionControl, TcpConfig};
use crate::socket::options::TcpSettings;
use crate::{Error, Readiness};
use core::time::Duration;
use sockeye_packet::{Budget, Instant};
use sockeye_wire::{TcpFlags, TcpHeader};

/// The least segment size that a peer's MSS option or a path's MTU can bring about: below it, headers
/// would be all that is sent.
const MIN_MSS: u16 = 48;
/// Challenge ACKs and answers to empty segments outside the window, per second (RFC 5961 §7).
const CHALLENGES_PER_SECOND: u8 = 10;

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
    pub(super) state: State,

    // Send sequence space (RFC 9293 §3.3.1).
    pub(super) iss: SeqNumber,
    pub(super) snd_una: SeqNumber,
    pub(super) snd_nxt: SeqNumber,
    pub(super) snd_wl1: SeqNumber,
    pub(super) snd_wl2: SeqNumber,
    pub(super) snd_wnd: u32,
    /// The largest window the peer has offered.
    pub(super) max_snd_wnd: u32,
    /// End of the last segment sent that was not full: Nagle's algorithm waits for it.
    pub(super) snd_sml: SeqNumber,
    /// SND.UP: the octet after the last urgent one, until it is acknowledged.
    pub(super) snd_up: Option<SeqNumber>,

    // Receive sequence space.
    pub(super) irs: SeqNumber,
    pub(super) rcv_nxt: SeqNumber,
    /// The right edge of the window as the peer was told: never moves back.
    pub(super) rcv_adv: SeqNumber,
    /// Where the peer's FIN is, once seen.
    pub(super) rcv_fin: Option<SeqNumber>,
    pub(super) urgent: Option<Urgent>,

    // Sizes of segments, without options except for `snd_mss`.
    /// Payload of a full segment (Eff.snd.MSS).
    pub(super) snd_mss: u16,
    pub(super) peer_mss: u16,
    pub(super) path_mss: u16,
    pub(super) local_mss: u16,
    /// The largest segment seen from the peer.
    pub(super) rcv_mss: u16,

    // Buffers. The limits grow while the peer and the reader keep up.
    pub(super) send: SendBuffer,
    pub(super) recv: RecvBuffer,
    pub(super) send_limit: u32,
    pub(super) recv_limit: u32,
    /// Bytes read since `read_since`.
    pub(super) read_bytes: u32,
    pub(super) read_since: Instant,
    pub(super) charged: usize,

    // What is in flight and what became of it.
    pub(super) sent: SentQueue,
    pub(super) scoreboard: Scoreboard,
    pub(super) recovery: Recovery,
    pub(super) rtt: RttEstimator,
    pub(super) congestion: Congestion,
    pub(super) options: Negotiated,
    pub(super) acks: Acks,

    // Time.
    pub(super) timers: Timers,
    pub(super) last_sent_at: Instant,
    pub(super) last_received_at: Instant,
    /// Since when SND.UNA has not moved although something was to be acknowledged.
    pub(super) stalled_since: Instant,
    /// Timeouts in a row: retransmissions, probes of a closed window, or keep-alive probes.
    pub(super) retransmits: u8,
    pub(super) window_probes: u8,
    pub(super) window_backoff: u8,
    pub(super) keep_probes: u8,
    pub(super) total_retransmits: u32,
    pub(super) challenges: u8,
    pub(super) challenges_since: Instant,

    pub(super) flags: Flags,
    pub(super) error: Option<Error>,
    pub(super) soft_error: Option<Error>,
}

/// Independent facts about a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// The handshake is complete: from then on end of file is not "not connected".
    pub(super) was_open: bool,
    /// The user closed the sending side before the handshake was complete.
    pub(super) close_pending: bool,
    /// The peer's FIN has been received in order and is counted in RCV.NXT.
    pub(super) fin_received: bool,
    /// No socket holds the connection any more.
    pub(super) orphaned: bool,
    /// The user reads no more.
    pub(super) read_shut: bool,
    /// The last send said that more follows.
    pub(super) more: bool,
    /// A probe of a closed window is due.
    pub(super) window_probe_owed: bool,
    /// A keep-alive probe is due.
    pub(super) keep_probe_owed: bool,
    /// What was held back as too small goes out now (the override timeout of RFC 9293 §3.8.6.2.1).
    pub(super) send_small: bool,
    /// Our SYN timed out at least once.
    pub(super) syn_timed_out: bool,
}

/// The peer's urgent data (RFC 9293 §3.8.5): like the kernel, one byte, the last before the pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Urgent {
    /// Where the byte is in the stream.
    pub(super) mark: SeqNumber,
    /// The byte, from its arrival until it is read.
    pub(super) byte: Option<u8>,
    /// It was read out of band.
    pub(super) taken: bool,
}

/// Beginning and end.
impl Connection {
    /// An active open: in SYN-SENT, its SYN owed to the next [`poll_transmit`](Connection::poll_transmit).
    pub(crate) fn connect(now: Instant, open: &OpenParams<'_>) -> Connection {
        let mut connection = Connection::new(now, open);
        connection.state = State::SynSent;
        connection
    }

    /// A passive open whose handshake is complete. The owner then hands the segment that completed it to
    /// [`on_segment`](Connection::on_segment).
    pub(crate) fn from_handshake(now: Instant, open: &OpenParams<'_>, handshake: &Handshake) -> Connection {
        let Handshake {
            irs,
            peer_mss,
            peer_window_scale,
            our_window_scale,
            our_window,
            sack,
            ts_recent,
            rtt,
        } = *handshake;
        let mut connection = Connection::new(now, open);
        connection.snd_una = open.iss + 1;
        connection.snd_nxt = open.iss + 1;
        connection.options.rcv_wscale = our_window_scale;
        connection.options.window_scaling = true;
        connection.options.timestamps = true;
        connection.options.sack = sack;
        connection.options.set_window_scale(peer_window_scale);
        connection.options.set_timestamps(ts_recent, now);
        connection.peer_mss = peer_mss.unwrap_or(open.default_mss);
        connection.set_peer_isn(irs);
        connection.rcv_adv = connection.rcv_nxt + u32::from(our_window);
        if let Some(rtt) = rtt {
            connection.rtt.sample(rtt);
        }
        connection.state = State::SynReceived;
        connection.establish(now, open.config, open.settings);
        connection
    }

    fn new(now: Instant, open: &OpenParams<'_>) -> Connection {
        let OpenParams { config, settings, iss, ts_offset, local_mss, path_mss, default_mss } = *open;
        let mss = path_mss.max(MIN_MSS);
        let recv_limit = settings.recv_buffer.unwrap_or(config.recv_buffer.default as u32);
        Connection {
            state: State::Closed,
            iss,
            snd_una: iss,
            snd_nxt: iss,
            snd_wl1: SeqNumber(0),
            snd_wl2: iss,
            snd_wnd: 0,
            max_snd_wnd: 0,
            snd_sml: iss,
            snd_up: None,
            irs: SeqNumber(0),
            rcv_nxt: SeqNumber(0),
            rcv_adv: SeqNumber(0),
            rcv_fin: None,
            urgent: None,
            snd_mss: mss,
            peer_mss: default_mss,
            path_mss: mss,
            local_mss,
            rcv_mss: local_mss.min(536),
            send: SendBuffer::default(),
            recv: RecvBuffer::default(),
            send_limit: settings.send_buffer.unwrap_or(config.send_buffer.default as u32),
            recv_limit: clamp_window(recv_limit, settings),
            read_bytes: 0,
            read_since: now,
            charged: 0,
            sent: SentQueue::default(),
            scoreboard: Scoreboard::default(),
            recovery: Recovery::new(iss),
            rtt: RttEstimator::new(config.initial_rto, config.min_rto, config.max_rto),
            congestion: congestion(settings.congestion, mss, config.initial_window),
            options: Negotiated::offer(config, settings, ts_offset),
            acks: Acks::new(config, settings),
            timers: Timers::new(),
            last_sent_at: now,
            last_received_at: now,
            stalled_since: now,
            retransmits: 0,
            window_probes: 0,
            window_backoff: 0,
            keep_probes: 0,
            total_retransmits: 0,
            challenges: 0,
            challenges_since: now,
            flags: Flags::default(),
            error: None,
            soft_error: None,
        }
    }

    /// The peer's SYN has sequence number `irs`.
    pub(super) fn set_peer_isn(&mut self, irs: SeqNumber) {
        self.irs = irs;
        self.rcv_nxt = irs + 1;
        self.rcv_adv = self.rcv_nxt + self.recv_limit.min(u32::from(u16::MAX));
        self.snd_wl1 = irs;
        self.acks.last_sent = self.rcv_nxt;
    }

    /// Both SYNs are acknowledged: sizes follow from what was negotiated.
    pub(super) fn establish(&mut self, now: Instant, config: &TcpConfig, settings: &TcpSettings) {
        self.state = self.state.next(Transition::SynAcked);
        self.flags.was_open = true;
        self.update_mss(settings);
        // RFC 5681 §3.1: after a lost SYN one segment is the initial window.
        let segments = if self.flags.syn_timed_out { 1 } else { config.initial_window };
        self.congestion = congestion(settings.congestion, self.snd_mss, segments);
        if self.flags.syn_timed_out {
            self.rtt.on_syn_timeout();
        }
        self.recovery = Recovery::new(self.iss);
        self.read_since = now;
        if self.flags.close_pending {
            self.state = self.state.next(Transition::Close);
        }
        self.start_keep_alive(now, settings);
    }

    /// Eff.snd.MSS (RFC 9293 §3.7.1, MUST-16): the smaller of what the peer and the path can take, less
    /// the options that every segment carries.
    pub(super) fn update_mss(&mut self, settings: &TcpSettings) {
        let limit = settings.max_segment.unwrap_or(u16::MAX);
        let mss = self.peer_mss.min(self.path_mss).min(limit).max(MIN_MSS);
        self.snd_mss = (mss - self.options.data_options_len()).max(MIN_MSS - 12);
        self.congestion.set_mss(usize::from(self.snd_mss));
    }

    /// The path carries segments of this size now ([`OpenParams::path_mss`]).
    pub(crate) fn on_path_mss(&mut self, path_mss: u16, settings: &TcpSettings) {
        let before = self.snd_mss;
        self.path_mss = path_mss;
        self.update_mss(settings);
        // RFC 1191 §6.5: what was too large is sent again without waiting for the timer; it is no sign of
        // congestion.
        if self.snd_mss < before && self.state.is_synchronized() {
            self.retransmit_all();
        }
    }

    /// An ICMP error that concerns this connection. A `hard` one ends a connection that is being opened;
    /// any other is remembered and reported should the connection time out (RFC 9293 §3.9.2.2, MUST-56).
    pub(crate) fn on_unreachable(&mut self, hard: bool, error: Error, budget: &mut Budget) {
        // SHLD-26, as the kernel: an open connection outlives a hard error too, which may be forged
        // (RFC 5927 §5).
        if hard && matches!(self.state, State::SynSent | State::SynReceived) {
            self.fail(error, budget);
        } else if self.state != State::Closed {
            self.soft_error = Some(error);
        }
    }

    /// The connection is over because of `error`. What has arrived can still be read.
    pub(super) fn fail(&mut self, error: Error, budget: &mut Budget) {
        self.error = Some(error);
        self.end(budget);
    }

    /// The connection is over: nothing is sent any more.
    pub(super) fn end(&mut self, budget: &mut Budget) {
        self.state = self.state.next(Transition::Ended);
        self.timers.stop_all();
        self.send = SendBuffer::default();
        self.sent = SentQueue::default();
        self.scoreboard.clear();
        self.acks.clear();
        self.settle_charge(budget);
    }

    /// Gives back all memory that the connection has charged; to be called before it is dropped.
    pub(crate) fn release(&mut self, budget: &mut Budget) {
        self.send = SendBuffer::default();
        self.recv = RecvBuffer::default();
        self.settle_charge(budget);
    }

    /// Brings the charge in line with what the buffers hold. What the budget can't cover is charged later.
    pub(super) fn settle_charge(&mut self, budget: &mut Budget) {
        let held = self.send.charged() + self.recv.charged();
        if held < self.charged {
            budget.release(self.charged - held);
            self.charged = held;
        } else if held > self.charged {
            let more = (held - self.charged).min(budget.available());
            self.charged += if budget.try_charge(more) { more } else { 0 };
        }
    }

    /// The reset that ends this connection (RFC 9293 §3.10.5).
    pub(super) fn reset_header(&self) -> TcpHeader {
        TcpHeader {
            seq: self.ack_seq().0,
            ack: self.rcv_nxt.0,
            flags: TcpFlags::RST | TcpFlags::ACK,
            ..TcpHeader::default()
        }
    }

    /// Whether one more answer to a suspicious segment may be sent now (RFC 5961 §7).
    pub(super) fn may_challenge(&mut self, now: Instant) -> bool {
        if now.saturating_since(self.challenges_since) >= Duration::from_secs(1) {
            self.challenges_since = now;
            self.challenges = 0;
        }
        self.challenges = self.challenges.saturating_add(1);
        self.challenges <= CHALLENGES_PER_SECOND
    }
}

/// Derived facts.
impl Connection {
    /// Whether our FIN is queued or in flight.
    pub(super) fn fin_unacked(&self) -> bool {
        matches!(self.state, State::FinWait1 | State::Closing | State::LastAck)
    }

    /// The sequence number behind the last byte in the send buffer: where our FIN is or will be.
    pub(super) fn send_end(&self) -> SeqNumber {
        let syn = u32::from(matches!(self.state, State::SynSent | State::SynReceived));
        self.snd_una + syn + self.send.len() as u32
    }

    /// The sequence number of a segment without data: SND.NXT, unless a probe or a window that shrank has
    /// put that beyond the peer's window, where the peer would not look at it.
    pub(super) fn ack_seq(&self) -> SeqNumber {
        if self.state.is_synchronized() {
            self.snd_nxt.min(self.snd_una + self.snd_wnd)
        } else {
            self.snd_nxt
        }
    }

    /// Bytes in the send buffer that were never sent.
    pub(super) fn unsent(&self) -> u32 {
        (self.send_end() - self.snd_nxt).max(0) as u32
    }

    /// The window the peer was told, from RCV.NXT on.
    pub(super) fn rcv_wnd(&self) -> u32 {
        (self.rcv_adv - self.rcv_nxt).max(0) as u32
    }

    /// The sequence number of the next byte that the user reads.
    pub(super) fn read_seq(&self) -> SeqNumber {
        self.rcv_nxt - u32::from(self.flags.fin_received) - self.recv.len() as u32
    }
}

/// Getters.
impl Connection {
    /// Its state.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// When [`on_timeout`](Connection::on_timeout) is due, and for what.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    /// Whether an octet with this sequence number was sent and is not acknowledged.
    pub(crate) fn has_in_flight(&self, seq: SeqNumber) -> bool {
        seq.in_window(self.snd_una, self.snd_nxt.since(self.snd_una))
    }

    /// Whether a segment that starts here is the next one, and nothing has arrived ahead of it.
    pub(crate) fn is_in_sequence(&self, seq: SeqNumber) -> bool {
        seq == self.rcv_nxt && self.recv.out_of_order_len() == 0
    }

    /// What its socket is ready for.
    pub(crate) fn readiness(&self, settings: &TcpSettings) -> Readiness {
        let mut ready = Readiness::EMPTY;
        if matches!(self.state, State::SynSent | State::SynReceived) {
            return ready;
        }
        let ended = self.state == State::Closed;
        let read_closed = self.flags.read_shut || !self.state.can_receive();
        let write_closed = !self.state.can_send();
        let most = (self.recv_limit as usize / 2).max(1);
        let enough = (settings.recv_low_water as usize).clamp(1, most);
        ready.insert_if(Readiness::READABLE, read_closed || self.recv.len() >= enough);
        ready.insert_if(Readiness::READ_CLOSED, read_closed);
        ready.insert_if(Readiness::WRITE_CLOSED, write_closed);
        // As the kernel: writable from a third of the buffer on, so that writers work in large pieces.
        let writable = write_closed
            || (self.send_space() >= (self.send_limit as usize / 3).max(1)
                && self.unsent() < settings.not_sent_low_water);
        ready.insert_if(Readiness::WRITABLE, ended || writable);
        ready.insert_if(Readiness::ERROR, self.error.is_some());
        let urgent = self.urgent.is_some_and(|urgent| urgent.byte.is_some());
        ready.insert_if(Readiness::PRIORITY, urgent);
        ready
    }

    /// Bytes that [`send`](Connection::send) would take now.
    pub(crate) fn send_space(&self) -> usize {
        if self.state.can_send() { (self.send_limit as usize).saturating_sub(self.send.len()) } else { 0 }
    }

    /// Bytes that can be read now.
    pub(crate) fn recv_queued(&self) -> usize {
        self.recv.len()
    }

    /// Bytes sent or to be sent that are not acknowledged (SIOCOUTQ).
    pub(crate) fn send_queued(&self) -> usize {
        self.send.len()
    }

    /// Whether the next byte to read is the urgent one (SIOCATMARK).
    pub(crate) fn at_mark(&self) -> bool {
        self.urgent.is_some_and(|urgent| urgent.mark == self.read_seq())
    }

    /// The segment size for sending, without options (`TCP_MAXSEG`).
    pub(crate) fn max_segment(&self) -> u16 {
        self.snd_mss
    }

    /// In TIME-WAIT: what has to be kept for it.
    pub(crate) fn time_wait(&self) -> Option<TimeWaitSeed> {
        (self.state == State::TimeWait).then(|| TimeWaitSeed {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            window: (self.rcv_wnd() >> self.options.rcv_wscale) as u16,
            rcv_wnd: self.rcv_wnd(),
            ts_recent: self.options.ts_recent(),
            ts_offset: self.options.ts_offset(),
        })
    }

    /// How it is doing.
    pub(crate) fn info(&self) -> TcpInfo {
        TcpInfo {
            state: self.state,
            snd_mss: self.snd_mss,
            rcv_mss: self.rcv_mss,
            snd_cwnd: self.congestion.cwnd(),
            snd_ssthresh: self.congestion.ssthresh(),
            snd_wnd: self.snd_wnd,
            rcv_wnd: self.rcv_wnd(),
            in_flight: self.in_flight() as usize,
            unacked: self.snd_nxt.since(self.snd_una) as usize,
            sacked: self.sent.sacked() as usize,
            lost: self.sent.lost() as usize,
            unsent: self.unsent() as usize,
            retransmits: self.total_retransmits,
            backoff: self.retransmits,
            srtt: self.rtt.srtt(),
            min_rtt: self.rtt.min_rtt(),
            rttvar: self.rtt.rttvar().unwrap_or_default(),
            rto: self.rtt.rto(),
            timestamps: self.options.timestamps,
            sack: self.options.sack,
            snd_wscale: self.options.snd_wscale,
            rcv_wscale: self.options.rcv_wscale,
        }
    }
}

/// A receive buffer's size under `TCP_WINDOW_CLAMP`.
pub(super) fn clamp_window(limit: u32, settings: &TcpSettings) -> u32 {
    match settings.window_clamp {
        0 => limit,
        clamp => limit.min(clamp),
    }
}

/// A new controller.
pub(super) fn congestion(control: CongestionControl, mss: u16, initial_segments: u32) -> Congestion {
    match control {
        CongestionControl::Cubic => Congestion::Cubic(Cubic::new(usize::from(mss), initial_segments)),
        CongestionControl::Reno => Congestion::Reno(Reno::new(usize::from(mss), initial_segments)),
    }
}

//! One TCP connection: what it knows (RFC 9293 §3.3.1), how it ends, and what can be asked.
//!
//! The machine that works on it is spread over its subjects: `input` takes segments, `output` makes
//! them, `ack` decides which acknowledgments are owed, `recovery` what is lost, `timeout` what to do when
//! a peer is silent, `open` how it begins, and `user` holds the socket's calls. Names are the RFC's: `snd_una` is SND.UNA.
//!
//! Invariants: records in `sent` cover exactly `snd_una..snd_nxt`; `send` holds the stream's bytes from
//! `snd_una` on; `charged` is what the budget was charged for both buffers.

use super::ack::Acks;
use super::chrono::Chrono;
use super::congestion::Congestion;
use super::ecn::Ecn;
use super::info::Totals;
use super::options::Negotiated;
use super::rate::Rate;
use super::recovery::{Recovery, XmitTimer};
use super::recv::RecvBuffer;
use super::recv_window::RecvWindow;
use super::rtt::RttEstimator;
use super::sack::Scoreboard;
use super::send::SendBuffer;
use super::sent::SentQueue;
use super::seq::SeqNumber;
use super::spare::{OnDemand, Spares};
use super::state::{State, Transition};
use super::timers::{Timer, Timers};
use super::urgent::Urgency;
use super::usage::CwndUsage;
use super::validate::AnswerLimit;
use crate::Error;
use crate::config::TcpConfig;
use crate::counters::Counters;
use crate::socket::options::TcpSettings;
use sockeye_packet::{Budget, Instant};
use sockeye_wire::{TcpFlags, TcpHeader};

/// What a connection may use, lent for one call.
#[derive(Debug)]
pub(crate) struct Resources<'a> {
    /// Memory of the stack: every buffer charges it.
    pub(crate) budget: &'a mut Budget,
    /// Parts that other connections have left.
    pub(crate) spares: &'a mut Spares,
    /// What the stack counts.
    pub(crate) counters: &'a mut Counters,
    /// Settings of the stack.
    pub(crate) config: &'a TcpConfig,
    /// Options of the socket (or those it left behind when it was closed).
    pub(crate) settings: &'a TcpSettings,
    /// The most payload a super-segment may carry on the interface in use; at most one segment's: none.
    pub(crate) max_segment: usize,
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

    // Receive sequence space.
    pub(super) irs: SeqNumber,
    pub(super) rcv_nxt: SeqNumber,
    /// The right edge of the window as the peer was told: never moves back.
    pub(super) rcv_adv: SeqNumber,
    /// Where the peer's FIN is, once seen.
    pub(super) rcv_fin: Option<SeqNumber>,
    pub(super) urgent: Urgency,

    // Sizes of segments, without options except for `snd_mss`.
    /// Payload of a full segment (Eff.snd.MSS).
    pub(super) snd_mss: u16,
    pub(super) peer_mss: u16,
    pub(super) path_mss: u16,
    pub(super) local_mss: u16,
    /// The largest segment seen from the peer.
    pub(super) rcv_mss: u16,

    // Buffers. The limits grow while the peer and the reader keep up.
    pub(super) send: OnDemand<SendBuffer>,
    pub(super) recv: OnDemand<RecvBuffer>,
    pub(super) send_limit: u32,
    pub(super) recv_window: RecvWindow,
    pub(super) charged: usize,

    // What is in flight and what became of it.
    pub(super) sent: OnDemand<SentQueue>,
    pub(super) scoreboard: Scoreboard,
    pub(super) recovery: OnDemand<Recovery>,
    pub(super) usage: CwndUsage,
    pub(super) rtt: RttEstimator,
    pub(super) congestion: Congestion,
    pub(super) options: Negotiated,
    pub(super) acks: Acks,
    pub(super) ecn: Ecn,

    // Time.
    pub(super) timers: Timers,
    /// When the next data may be sent, if it is paced.
    pub(super) pacing_due: Instant,
    pub(super) last_sent_at: Instant,
    pub(super) last_received_at: Instant,
    /// Since when SND.UNA has not moved although something was to be acknowledged.
    pub(super) stalled_since: Instant,
    /// Timeouts in a row: retransmissions, probes of a closed window, or keep-alive probes.
    pub(super) retransmits: u8,
    pub(super) window_probes: u8,
    pub(super) window_backoff: u8,
    pub(super) keep_probes: u8,
    pub(super) totals: Totals,
    pub(super) chrono: Chrono,
    pub(super) rate: Rate,
    pub(super) answer_limit: AnswerLimit,

    pub(super) flags: Flags,
    pub(super) error: Option<Error>,
    pub(super) soft_error: Option<Error>,
}

/// Independent facts about a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// The user closed the sending side before the handshake was complete.
    pub(super) close_pending: bool,
    /// The peer's FIN has been received in order and is counted in RCV.NXT.
    pub(super) fin_received: bool,
    /// No socket holds the connection any more.
    pub(super) orphaned: bool,
    /// The user reads no more.
    pub(super) read_shut: bool,
    /// The user writes no more, and has said so before there was a connection.
    pub(super) write_shut: bool,
    /// The last send said that more follows.
    pub(super) more: bool,
    /// A probe of a closed window is due.
    pub(super) window_probe_owed: bool,
    /// A keep-alive probe is due.
    pub(super) keep_probe_owed: bool,
    /// What was held back as too small goes out now (the override timeout of RFC 9293 §3.8.6.2.1).
    pub(super) send_small: bool,
    /// It was the timeout that says so, as a probe.
    pub(super) small_is_probe: bool,
    /// The user had more to write than there was room for.
    pub(super) no_space: bool,
    /// Data was refused for want of memory, and the peer told that the window is closed.
    pub(super) starved: bool,
    /// So many retransmissions went unanswered that the path may be another by now.
    pub(super) path_doubted: bool,
    /// Our SYN timed out at least once.
    pub(super) syn_timed_out: bool,
    /// What the timer for retransmissions waits for.
    pub(super) xmit_timer: XmitTimer,
}

/// The end.
impl Connection {
    /// The connection is over because of `error`. What has arrived can still be read.
    pub(super) fn fail(&mut self, error: Error, budget: &mut Budget) {
        self.error = Some(error);
        self.end(budget);
    }

    /// The connection is over: nothing is sent any more.
    pub(crate) fn end(&mut self, budget: &mut Budget) {
        self.state = self.state.next(Transition::Ended);
        self.timers.stop_all();
        self.send.clear();
        self.sent.clear();
        self.scoreboard.clear();
        self.acks.clear();
        self.settle_charge(budget);
    }

    /// Gives back all memory that the connection has charged; to be called before it is dropped.
    pub(crate) fn release(&mut self, budget: &mut Budget) {
        self.send.clear();
        self.recv.clear();
        self.settle_charge(budget);
    }

    /// Brings the charge in line with what the buffers hold. What the budget can't cover is charged later.
    #[inline]
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
            seq: self.snd_nxt.0,
            ack: self.rcv_nxt.0,
            flags: TcpFlags::RST | TcpFlags::ACK,
            ..TcpHeader::default()
        }
    }
}

/// Derived facts.
impl Connection {
    /// Whether our FIN is queued or in flight.
    #[inline]
    pub(super) fn fin_unacked(&self) -> bool {
        matches!(self.state, State::FinWait1 | State::Closing | State::LastAck) || self.is_closed_early()
    }

    /// Whether the socket was closed in SYN-RECEIVED. As the kernel: the FIN then doesn't wait until our SYN is
    /// acknowledged (RFC 9293 §3.10.4: nothing is queued before it); with shutdown alone it does.
    pub(super) fn is_closed_early(&self) -> bool {
        self.state == State::SynReceived && self.flags.close_pending && self.flags.orphaned
    }

    /// Whether the user has closed the sending side.
    pub(super) fn fin_was_queued(&self) -> bool {
        self.fin_unacked() || matches!(self.state, State::FinWait2 | State::TimeWait)
    }

    /// The sequence number behind the last byte in the send buffer: where our FIN is or will be.
    #[inline]
    pub(super) fn send_end(&self) -> SeqNumber {
        let syn = u32::from(matches!(self.state, State::SynSent | State::SynReceived));
        self.snd_una + syn + self.send.len() as u32
    }

    /// Bytes in the send buffer that were never sent.
    #[inline]
    pub(super) fn unsent(&self) -> u32 {
        (self.send_end() - self.snd_nxt).max(0) as u32
    }

    /// Whether something of it, the FIN included, was never sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent() > 0 || (self.fin_unacked() && self.snd_nxt == self.send_end())
    }

    /// The window the peer was told, from RCV.NXT on.
    #[inline]
    pub(super) fn rcv_wnd(&self) -> u32 {
        (self.rcv_adv - self.rcv_nxt).max(0) as u32
    }

    /// The sequence number of the next byte that the user reads.
    #[inline]
    pub(super) fn read_seq(&self) -> SeqNumber {
        self.rcv_nxt - u32::from(self.flags.fin_received) - self.recv.len() as u32
    }
}

/// Getters.
impl Connection {
    /// Its state.
    #[inline]
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether it owns no memory besides itself.
    #[cfg(test)]
    pub(crate) fn is_bare(&self) -> bool {
        let Connection { send, recv, sent, scoreboard, urgent, .. } = self;
        let parts = [send.is_none(), recv.is_none(), sent.is_none(), scoreboard.is_none(), urgent.is_none()];
        parts.into_iter().all(|none| none)
    }

    /// When [`on_timeout`](Connection::on_timeout) is due; [`Instant::FAR_FUTURE`] when it isn't.
    #[inline]
    pub(crate) fn deadline(&self) -> Instant {
        self.timers.earliest()
    }

    /// The same, and for what.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    /// Whether an octet with this sequence number was sent and is not acknowledged.
    pub(crate) fn has_in_flight(&self, seq: SeqNumber) -> bool {
        seq.in_window(self.snd_una, self.snd_nxt.since(self.snd_una))
    }

    /// Whether a segment without data would have this sequence number.
    pub(crate) fn is_next(&self, seq: SeqNumber) -> bool {
        seq == self.snd_nxt
    }

    /// Whether a segment that starts here is the next one, and nothing has arrived ahead of it.
    pub(crate) fn is_in_sequence(&self, seq: SeqNumber) -> bool {
        seq == self.rcv_nxt && self.recv.out_of_order_len() == 0
    }

    /// Bytes that can be read now.
    pub(crate) fn recv_queued(&self) -> usize {
        self.recv.len()
    }

    /// How many of them come before the urgent byte, where there is one that is not in line (FIONREAD).
    pub(crate) fn recv_inquired(&self, inline: bool) -> usize {
        let ahead = if inline { None } else { self.urgent_distance() };
        ahead.map_or(self.recv.len(), |ahead| self.recv.len().min(ahead))
    }

    /// How many of them lie together at the front; none when there are none.
    pub(crate) fn recv_front(&self) -> Option<usize> {
        self.recv.front_len()
    }

    /// Bytes sent or to be sent that are not acknowledged (SIOCOUTQ).
    pub(crate) fn send_queued(&self) -> usize {
        self.send.len()
    }

    /// The segment size for sending, without options (`TCP_MAXSEG`).
    pub(crate) fn max_segment(&self) -> u16 {
        self.snd_mss
    }

    /// When it answered something suspicious last.
    pub(crate) fn answer_limit(&self) -> AnswerLimit {
        self.answer_limit
    }

    /// In TIME-WAIT: what has to be kept for it.
    pub(crate) fn time_wait(&self) -> Option<TimeWaitSeed> {
        (self.state == State::TimeWait).then(|| TimeWaitSeed {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            window: (self.rcv_wnd() >> self.options.rcv_wscale) as u16,
            ts_recent: self.options.ts_recent(),
            ts_offset: self.options.ts_offset(),
        })
    }
}

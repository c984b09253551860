//! How a connection begins: what is decided then, and what the handshake taught (RFC 9293 §3.5).

use super::ack::Acks;
use super::chrono::Chrono;
use super::congestion::Congestion;
use super::connection::{Connection, Flags};
use super::ecn::Ecn;
use super::info::Totals;
use super::options::Negotiated;
use super::path::MIN_MSS;
use super::rate::Rate;
use super::recv_window::{InitialWindow, RecvWindow};
use super::rtt::RttEstimator;
use super::sack::Scoreboard;
use super::seq::SeqNumber;
use super::spare::OnDemand;
use super::state::{State, Transition};
use super::timers::Timers;
use super::urgent::Urgency;
use super::usage::CwndUsage;
use super::validate::AnswerLimit;
use crate::config::TcpConfig;
use crate::socket::options::TcpSettings;
use core::time::Duration;
use sockeye_packet::Instant;

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
    /// The window that our SYN-ACK announced, as far as its field (never scaled) allowed.
    pub(crate) our_window: u32,
    /// Whether both sides sent SACK-permitted.
    pub(crate) sack: bool,
    /// Whether both sides use ECN.
    pub(crate) ecn: bool,
    /// The last timestamp of the peer, when both sides sent timestamps.
    pub(crate) ts_recent: Option<u32>,
    /// From the SYN-ACK to its acknowledgment, when it was sent only once.
    pub(crate) rtt: Option<Duration>,
    /// How often the SYN-ACK's timer expired.
    pub(crate) timeouts: u8,
}

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
            ecn,
            ts_recent,
            rtt,
            timeouts,
        } = *handshake;
        let mut connection = Connection::new(now, open);
        connection.snd_una = open.iss + 1;
        connection.snd_nxt = open.iss + 1;
        connection.totals.delivered = 1;
        connection.options.rcv_wscale = our_window_scale;
        connection.options.window_scaling = true;
        connection.options.timestamps = true;
        connection.options.sack = sack;
        connection.ecn = Ecn::agreed(ecn);
        connection.options.set_window_scale(peer_window_scale);
        connection.options.set_timestamps(ts_recent, now);
        connection.peer_mss = peer_mss.unwrap_or(open.default_mss);
        connection.set_peer_isn(irs);
        let largest = u32::from(u16::MAX) << connection.options.rcv_wscale;
        connection.rcv_adv = connection.rcv_nxt + our_window.min(largest);
        if let Some(rtt) = rtt {
            connection.rtt.sample(rtt, connection.snd_una, connection.snd_nxt);
            connection.rtt.note_least(now, rtt);
        }
        connection.flags.syn_timed_out = timeouts > 0;
        connection.totals.retransmits = timeouts.into();
        connection.state = State::SynReceived;
        connection.establish(now, open.config, open.settings);
        connection
    }

    fn new(now: Instant, open: &OpenParams<'_>) -> Connection {
        let OpenParams { config, settings, iss, ts_offset, local_mss, path_mss, default_mss } = *open;
        let mss = path_mss.max(MIN_MSS);
        let recv_window = RecvWindow::new(now, config, settings, local_mss);
        let shift = InitialWindow::new(config, settings, local_mss).shift;
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
            irs: SeqNumber(0),
            rcv_nxt: SeqNumber(0),
            rcv_adv: SeqNumber(0),
            rcv_fin: None,
            urgent: Urgency::default(),
            snd_mss: mss,
            peer_mss: default_mss,
            path_mss: mss,
            local_mss,
            rcv_mss: local_mss.min(536),
            send: OnDemand::default(),
            recv: OnDemand::default(),
            send_limit: settings.send_buffer.unwrap_or(config.send_buffer.default as u32),
            recv_window,
            charged: 0,
            sent: OnDemand::default(),
            scoreboard: Scoreboard::default(),
            recovery: OnDemand::begin(config),
            usage: CwndUsage::new(iss),
            rtt: RttEstimator::new(
                config.initial_rto,
                config.min_rto,
                settings.max_rto.unwrap_or(config.max_rto),
            ),
            congestion: Congestion::new(
                settings.congestion,
                mss,
                config.initial_window,
                config.slow_start_exit,
            ),
            options: Negotiated::offer(config, shift, ts_offset),
            ecn: Ecn::ask(config.ecn),
            acks: Acks::new(now, settings),
            timers: Timers::new(),
            pacing_due: Instant::ZERO,
            last_sent_at: now,
            last_received_at: now,
            stalled_since: now,
            retransmits: 0,
            window_probes: 0,
            window_backoff: 0,
            keep_probes: 0,
            totals: Totals::default(),
            chrono: Chrono::default(),
            rate: Rate::NONE,
            answer_limit: AnswerLimit::default(),
            flags: Flags::default(),
            error: None,
            soft_error: None,
        }
    }

    /// The peer's SYN has sequence number `irs`.
    pub(super) fn set_peer_isn(&mut self, irs: SeqNumber) {
        self.irs = irs;
        self.rcv_nxt = irs + 1;
        let largest = u32::from(u16::MAX) << self.options.rcv_wscale;
        self.rcv_adv = self.rcv_nxt + self.recv_window.ssthresh.min(largest);
        self.snd_wl1 = irs;
        self.acks.last_sent = self.rcv_nxt;
    }

    /// Both SYNs are acknowledged: sizes follow from what was negotiated.
    pub(super) fn establish(&mut self, now: Instant, config: &TcpConfig, settings: &TcpSettings) {
        let simultaneous = self.state == State::SynReceived;
        self.state = self.state.next(Transition::SynAcked);
        self.update_mss(settings);
        // RFC 5681 §3.1: after a lost SYN one segment is the initial window. As the kernel: not after one
        // timeout only, nor when the peer answers the first SYN (the timeout is short, RFC 6298 §2.1).
        let lost = self.flags.syn_timed_out && self.totals.retransmits > 1;
        let segments = if lost { 1 } else { config.initial_window };
        self.congestion =
            Congestion::new(settings.congestion, self.snd_mss, segments, config.slow_start_exit);
        self.rtt.on_syn_timeout();
        self.recovery = OnDemand::begin(config);
        self.expand_send_buffer(settings, config);
        self.usage = CwndUsage::new(self.iss);
        let (seq, offered, scaled) = (self.read_seq(), self.window_offered(), self.options.window_scaling);
        self.recv_window.establish(now, seq, self.local_mss, scaled, offered);
        self.acks.last_data_at = now;
        self.last_sent_at = now;
        if self.flags.close_pending || (simultaneous && self.flags.write_shut) {
            self.state = self.state.next(Transition::Close);
            if self.snd_una.after(self.iss + 1) {
                // The FIN followed our SYN, and both are acknowledged.
                self.state = self.state.next(Transition::FinAcked);
            }
        }
        self.start_keep_alive(now, settings);
    }
}

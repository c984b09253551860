//! Facts about a connection, for tables, tests and programs (`TCP_INFO`), and what is counted for them.

use super::chrono::Limits;
use super::congestion::Controller as _;
use super::connection::Connection;
use super::state::State;
use super::timers::Timer;
use crate::survey::{SurveyTimer, SurveyTimerKind};
use core::time::Duration;
use sockeye_packet::Instant;

/// How a connection is doing. Names and meanings are those of Linux's `struct tcp_info`; windows are bytes
/// here, and what is called a number of segments counts those that a super-segment carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// Its state. A listener has none: see `listening`.
    pub state: State,
    /// It is a listener: `unacked` connections wait to be accepted, `sacked` is its backlog, and the rest says
    /// what new connections start with.
    pub listening: bool,
    /// What loss recovery is at.
    pub ca_state: CaState,
    /// Retransmission timeouts since the last progress.
    pub retransmits: u8,
    /// Probes of a closed window, or of an idle peer, without an answer.
    pub probes: u8,
    /// How often the timeout was doubled.
    pub backoff: u8,
    /// Whether timestamps are in use.
    pub timestamps: bool,
    /// Whether selective acknowledgments are in use.
    pub sack: bool,
    /// Whether windows are scaled.
    pub window_scaling: bool,
    /// Whether ECN is in use.
    pub ecn: bool,
    /// Whether the peer has ever sent a packet that can be marked.
    pub ecn_seen: bool,
    /// The shift of the peer's windows.
    pub snd_wscale: u8,
    /// The shift of our windows.
    pub rcv_wscale: u8,
    /// `delivery_rate` was measured while the program had too little to send.
    pub delivery_rate_app_limited: bool,
    /// The retransmission timeout in force.
    pub rto: Duration,
    /// The delay of acknowledgments in force.
    pub ato: Duration,
    /// Segment size for sending, in bytes, without options.
    pub snd_mss: u16,
    /// The peer's segment size as its segments show it, in bytes.
    pub rcv_mss: u16,
    /// The segment size that we advertised, in bytes.
    pub advmss: u16,
    /// The path's MTU in bytes.
    pub pmtu: u32,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Segments selectively acknowledged.
    pub sacked: u32,
    /// Segments believed lost.
    pub lost: u32,
    /// Segments sent again that are still on the way.
    pub retrans: u32,
    /// Time since data was sent last.
    pub last_data_sent: Duration,
    /// Time since data arrived last.
    pub last_data_recv: Duration,
    /// Time since an acknowledgment arrived last.
    pub last_ack_recv: Duration,
    /// The window that the receive buffer allows for, in bytes.
    pub rcv_ssthresh: u32,
    /// Smoothed round-trip time, once measured.
    pub srtt: Option<Duration>,
    /// The variation of `srtt`.
    pub rttvar: Duration,
    /// The least round-trip time measured.
    pub min_rtt: Option<Duration>,
    /// Slow-start threshold in bytes; [`usize::MAX`] before the first loss.
    pub snd_ssthresh: usize,
    /// Congestion window in bytes.
    pub snd_cwnd: usize,
    /// Segments by which the path is believed to reorder.
    pub reordering: u32,
    /// The round-trip time as the receiver measures it.
    pub rcv_rtt: Duration,
    /// What the program reads in a round trip, in bytes.
    pub rcv_space: u32,
    /// Segments sent again in the life of the connection.
    pub total_retrans: u32,
    /// The rate at which packets are paced, in bytes per second; [`u64::MAX`] without pacing.
    pub pacing_rate: u64,
    /// The limit of `pacing_rate`.
    pub max_pacing_rate: u64,
    /// Octets acknowledged, an own SYN and FIN counted.
    pub bytes_acked: u64,
    /// Octets received in order, a FIN counted.
    pub bytes_received: u64,
    /// Bytes of data sent, repeated ones too.
    pub bytes_sent: u64,
    /// Bytes of data sent again.
    pub bytes_retrans: u64,
    /// Segments sent.
    pub segs_out: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments with data sent.
    pub data_segs_out: u32,
    /// Segments with data received.
    pub data_segs_in: u32,
    /// Bytes in the send buffer that have not been sent.
    pub notsent_bytes: u32,
    /// The latest delivery rate, in bytes per second.
    pub delivery_rate: u64,
    /// Time with something to send or in flight.
    pub busy_time: Duration,
    /// Of that, time in which the peer's window was the limit.
    pub rwnd_limited: Duration,
    /// Of that, time in which the send buffer was the limit.
    pub sndbuf_limited: Duration,
    /// Segments delivered to the peer, a SYN counted.
    pub delivered: u32,
    /// Of those, segments delivered with a mark of congestion.
    pub delivered_ce: u32,
    /// DSACKs received.
    pub dsack_dups: u32,
    /// How often reordering was seen.
    pub reord_seen: u32,
    /// Segments received out of order.
    pub rcv_ooopack: u32,
    /// The peer's receive window in bytes.
    pub snd_wnd: u32,
    /// The receive window that the peer was told, in bytes.
    pub rcv_wnd: u32,
    /// How often the flow label changed because of trouble.
    pub rehash: u32,
    /// Retransmission timeouts in the life of the connection.
    pub total_rto: u16,
    /// Recoveries from timeouts that were completed.
    pub total_rto_recoveries: u16,
    /// Time spent in them.
    pub total_rto_time: Duration,
}

/// What loss recovery is at (`tcpi_ca_state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaState {
    /// Nothing is amiss.
    #[default]
    Open,
    /// Something arrived out of order or twice, which may only mean reordering.
    Disorder,
    /// The window is being reduced because of a mark of congestion, or because a probe repaired a loss.
    Cwr,
    /// Fast recovery: what is lost is sent again while the window is being reduced.
    Recovery,
    /// Recovery from a timeout: all that was in flight is sent again, in slow start.
    Loss,
}

/// What a connection counts in its life.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) bytes_acked: u64,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_retrans: u64,
    pub(super) segs_out: u32,
    pub(super) segs_in: u32,
    pub(super) data_segs_out: u32,
    pub(super) data_segs_in: u32,
    pub(super) retransmits: u32,
    pub(super) delivered: u32,
    /// `delivered` when there was last nothing more to send.
    pub(super) answered: u32,
    pub(super) delivered_ce: u32,
    pub(super) dsack_dups: u32,
    pub(super) reord_seen: u32,
    pub(super) rcv_ooopack: u32,
    pub(super) rtos: u16,
    pub(super) rto_recoveries: u16,
    /// In milliseconds.
    pub(super) rto_time: u32,
}

impl Totals {
    /// `segments` segments with `bytes` of data in all are sent.
    #[inline]
    pub(super) fn on_sent(&mut self, segments: u32, bytes: usize) {
        self.segs_out = self.segs_out.wrapping_add(segments);
        if bytes > 0 {
            self.data_segs_out = self.data_segs_out.wrapping_add(segments);
            self.bytes_sent += bytes as u64;
        }
    }

    /// `segments` segments with `bytes` of data in all arrived.
    #[inline]
    pub(super) fn on_received(&mut self, segments: u32, bytes: usize) {
        self.segs_in = self.segs_in.wrapping_add(segments);
        if bytes > 0 {
            self.data_segs_in = self.data_segs_in.wrapping_add(segments);
        }
    }
}

impl Connection {
    /// What it waits for, as the kernel's `sock_diag(7)` tells it: one of its timers.
    pub(crate) fn awaited(&self, now: Instant) -> Option<SurveyTimer> {
        let close = if self.state == State::TimeWait {
            SurveyTimerKind::TimeWait
        } else {
            SurveyTimerKind::KeepAlive
        };
        let timers = [
            (Timer::Retransmit, SurveyTimerKind::Retransmit, self.retransmits),
            (Timer::Persist, SurveyTimerKind::Probe, self.window_probes),
            (Timer::Close, close, 0),
            (Timer::KeepAlive, SurveyTimerKind::KeepAlive, self.keep_probes),
        ];
        let (timer, kind, tries) = timers.into_iter().find(|(timer, ..)| self.timers.is_set(*timer))?;
        Some(SurveyTimer { kind, left: self.timers.deadline(timer).saturating_since(now), tries })
    }

    /// How it is doing; but for `pmtu`, which its owner knows.
    pub(crate) fn info(&self, now: Instant) -> TcpInfo {
        let Totals { bytes_acked, bytes_received, bytes_sent, bytes_retrans, .. } = self.totals;
        let Totals { segs_out, segs_in, data_segs_out, data_segs_in, .. } = self.totals;
        let Totals { delivered, delivered_ce, dsack_dups, reord_seen, rcv_ooopack, .. } = self.totals;
        let limits = Limits::of(&self.chrono, now);
        TcpInfo {
            state: self.state,
            listening: false,
            ca_state: self.recovery.state,
            retransmits: self.retransmits,
            probes: self.window_probes.max(self.keep_probes),
            backoff: self.rtt.doublings().max(self.window_backoff),
            timestamps: self.options.timestamps,
            sack: self.options.sack,
            window_scaling: self.options.window_scaling,
            ecn: self.ecn.is_on(),
            ecn_seen: self.ecn.is_seen(),
            snd_wscale: self.options.snd_wscale,
            rcv_wscale: self.options.rcv_wscale,
            delivery_rate_app_limited: self.rate.was_app_limited(),
            rto: self.rtt.rto(),
            ato: self.acks.delay(),
            snd_mss: self.snd_mss,
            rcv_mss: self.rcv_mss,
            advmss: self.local_mss,
            pmtu: 0,
            unacked: self.sent.packets_out(),
            sacked: self.sent.sacked_out(),
            lost: self.sent.lost_out(),
            retrans: self.sent.retrans_out(),
            last_data_sent: now.saturating_since(self.last_sent_at),
            last_data_recv: now.saturating_since(self.acks.last_data_at),
            last_ack_recv: now.saturating_since(self.last_received_at),
            rcv_ssthresh: self.recv_window.ssthresh,
            srtt: self.rtt.srtt(),
            rttvar: self.rtt.rttvar().unwrap_or_default(),
            min_rtt: self.rtt.min_rtt(),
            snd_ssthresh: self.congestion.ssthresh(),
            snd_cwnd: self.congestion.cwnd(),
            reordering: self.recovery.reordering.into(),
            rcv_rtt: Duration::from_micros(self.recv_window.rtt_micros().into()),
            rcv_space: self.recv_window.space,
            total_retrans: self.totals.retransmits,
            pacing_rate: u64::MAX,
            max_pacing_rate: u64::MAX,
            bytes_acked,
            bytes_received,
            bytes_sent,
            bytes_retrans,
            segs_out,
            segs_in,
            data_segs_out,
            data_segs_in,
            notsent_bytes: self.unsent(),
            delivery_rate: self.rate.bytes(self.snd_mss),
            busy_time: limits.busy,
            rwnd_limited: limits.rwnd,
            sndbuf_limited: limits.sndbuf,
            delivered,
            delivered_ce,
            dsack_dups,
            reord_seen,
            rcv_ooopack,
            snd_wnd: self.snd_wnd,
            rcv_wnd: self.rcv_wnd(),
            rehash: 0,
            total_rto: self.totals.rtos,
            total_rto_recoveries: self.totals.rto_recoveries,
            total_rto_time: Duration::from_millis(self.totals.rto_time.into()),
        }
    }
}

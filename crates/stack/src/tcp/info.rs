//! Facts about a connection, for tables, tests and programs (`TCP_INFO`).

use super::congestion::Controller as _;
use super::connection::Connection;
use super::state::State;
use core::time::Duration;

/// How a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// Its state.
    pub state: State,
    /// Segment size for sending, in bytes, without options.
    pub snd_mss: u16,
    /// Largest segment seen from the peer, in bytes.
    pub rcv_mss: u16,
    /// Congestion window in bytes.
    pub snd_cwnd: usize,
    /// Slow-start threshold in bytes; [`usize::MAX`] before the first loss.
    pub snd_ssthresh: usize,
    /// The peer's receive window in bytes.
    pub snd_wnd: u32,
    /// The receive window that the peer was told, in bytes.
    pub rcv_wnd: u32,
    /// Bytes believed to be on the way.
    pub in_flight: usize,
    /// Bytes sent and not acknowledged.
    pub unacked: usize,
    /// Bytes selectively acknowledged.
    pub sacked: usize,
    /// Bytes believed lost and not sent again yet.
    pub lost: usize,
    /// Bytes in the send buffer that have not been sent.
    pub unsent: usize,
    /// Segments (super-segments count once) sent again in the life of the connection.
    pub retransmits: u32,
    /// Retransmission timeouts since the last progress.
    pub backoff: u8,
    /// Smoothed round-trip time, once measured.
    pub srtt: Option<Duration>,
    /// The least round-trip time measured.
    pub min_rtt: Option<Duration>,
    /// The variation of `srtt`.
    pub rttvar: Duration,
    /// The retransmission timeout in force.
    pub rto: Duration,
    /// Whether timestamps are in use.
    pub timestamps: bool,
    /// Whether selective acknowledgments are in use.
    pub sack: bool,
    /// The shift of the peer's windows.
    pub snd_wscale: u8,
    /// The shift of our windows.
    pub rcv_wscale: u8,
}

impl Connection {
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

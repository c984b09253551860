//! What the path tells: how large a segment may be, and which hosts can't be reached.

use super::congestion::Controller as _;
use super::connection::Connection;
use super::state::State;
use crate::Error;
use crate::socket::options::TcpSettings;
use sockeye_packet::Budget;

/// The least segment size that a peer's MSS option or a path's MTU can bring about: below it, headers
/// would be all that is sent.
pub(crate) const MIN_MSS: u16 = 48;

impl Connection {
    /// What fits in a packet of the path's MTU ([`OpenParams::path_mss`](super::OpenParams::path_mss)).
    pub(crate) fn path_mss(&self) -> u16 {
        self.path_mss
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
}

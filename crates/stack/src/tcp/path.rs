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
/// The least payload of a full segment: [`MIN_MSS`] less timestamps.
const LEAST_PAYLOAD: u16 = MIN_MSS - 12;
/// The largest window of a peer that counts as tiny, so that all of it is used at once.
const TINY_WINDOW: u32 = 536;

impl Connection {
    /// What fits in a packet of the path's MTU ([`OpenParams::path_mss`](super::OpenParams::path_mss)).
    pub(crate) fn path_mss(&self) -> u16 {
        self.path_mss
    }

    /// Eff.snd.MSS (RFC 9293 §3.7.1, MUST-16): the smaller of what the peer and the path can take, less
    /// the options that every segment carries. As the kernel: no more than half of the peer's largest window
    /// (RFC 9293 §3.8.6.2.1), or all of it where that is tiny.
    pub(super) fn update_mss(&mut self, settings: &TcpSettings) {
        let limit = settings.max_segment.unwrap_or(u16::MAX);
        let mss = self.peer_mss.min(self.path_mss).min(limit).max(MIN_MSS);
        let mss = (mss - self.options.data_options_len()).max(LEAST_PAYLOAD);
        self.snd_mss = match self.window_share() {
            0 => mss,
            share => mss.min(share.min(u16::MAX.into()) as u16).max(LEAST_PAYLOAD),
        };
        self.congestion.set_mss(usize::from(self.snd_mss));
    }

    /// What one segment, however large, may take of the largest window that the peer has offered; 0 before
    /// there was one.
    pub(super) fn window_share(&self) -> u32 {
        if self.max_snd_wnd > TINY_WINDOW { self.max_snd_wnd / 2 } else { self.max_snd_wnd }
    }

    /// The peer offers a window. A larger one than ever may allow for larger segments.
    pub(super) fn offer_window(&mut self, window: u32, settings: &TcpSettings) {
        self.snd_wnd = window;
        if window > self.max_snd_wnd {
            let was_limit = self.window_share() <= self.snd_mss.into();
            self.max_snd_wnd = window;
            if was_limit {
                self.update_mss(settings);
            }
        }
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

    /// Whether R1 was reached since this was asked: then the path is to be looked up again.
    pub(crate) fn take_path_doubt(&mut self) -> bool {
        core::mem::take(&mut self.flags.path_doubted)
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

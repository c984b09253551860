//! What the two sides agreed on in their SYNs: window scale and timestamps with PAWS (RFC 7323), SACK
//! (RFC 2018).
//!
//! Before the peer's SYN has arrived the fields say what we offer, afterwards what holds.

use super::seq::SeqNumber;
use crate::config::TcpConfig;
use core::time::Duration;
use sockeye_packet::Instant;
use sockeye_wire::{TcpOptions, TcpTimestamps};

/// RFC 7323 §2.3: the largest shift.
const MAX_WINDOW_SHIFT: u8 = 14;
/// RFC 7323 §5.5: after this time without a segment TS.Recent says nothing any more.
const TS_RECENT_VALID: Duration = Duration::from_hours(576);
/// Ticks by which a segment may be older than TS.Recent.
const PAWS_WINDOW: u32 = 1;

/// The options of our SYN.
#[derive(Clone, Copy, Debug)]
struct Offer {
    timestamps: bool,
    sack: bool,
    window_scale: Option<u8>,
}

/// The options in force.
#[derive(Clone, Debug)]
pub(super) struct Negotiated {
    pub(super) timestamps: bool,
    pub(super) sack: bool,
    /// Whether segments that arrive twice are reported.
    pub(super) dsack: bool,
    pub(super) window_scaling: bool,
    /// Snd.Wind.Shift.
    pub(super) snd_wscale: u8,
    /// Rcv.Wind.Shift.
    pub(super) rcv_wscale: u8,
    /// What our SYN offers, whatever the peer's does.
    offered: Offer,
    ts_offset: u32,
    ts_recent: u32,
    /// When TS.Recent was set.
    ts_recent_at: Instant,
    /// What the peer echoed last; zero is no timestamp.
    ts_echo: u32,
}

impl Negotiated {
    /// What we offer.
    pub(super) fn offer(config: &TcpConfig, shift: u8, ts_offset: u32) -> Negotiated {
        Negotiated {
            offered: Offer {
                timestamps: config.timestamps,
                sack: config.sack,
                window_scale: config.window_scaling.then_some(shift),
            },
            timestamps: config.timestamps,
            sack: config.sack,
            dsack: config.dsack,
            window_scaling: config.window_scaling,
            snd_wscale: 0,
            rcv_wscale: if config.window_scaling { shift } else { 0 },
            ts_offset,
            ts_recent: 0,
            ts_recent_at: Instant::ZERO,
            ts_echo: 0,
        }
    }

    /// Keeps what the peer's SYN offers as well.
    pub(super) fn agree(&mut self, peer: &TcpOptions, now: Instant) {
        self.sack &= peer.sack_permitted;
        self.set_window_scale(peer.window_scale);
        self.set_timestamps(peer.timestamps.map(|timestamps| timestamps.value), now);
    }

    /// Takes the peer's window scale; without one neither side scales (RFC 7323 §2.2).
    pub(super) fn set_window_scale(&mut self, shift: Option<u8>) {
        self.window_scaling &= shift.is_some();
        if self.window_scaling {
            self.snd_wscale = shift.unwrap_or(0).min(MAX_WINDOW_SHIFT);
        } else {
            (self.snd_wscale, self.rcv_wscale) = (0, 0);
        }
    }

    /// Takes the peer's first timestamp; without one neither side sends them.
    pub(super) fn set_timestamps(&mut self, value: Option<u32>, now: Instant) {
        self.timestamps &= value.is_some();
        self.ts_recent = value.unwrap_or(0);
        self.ts_recent_at = now;
    }

    /// The options of our SYN, and as the kernel of the SYN-ACK by which it is repeated in a simultaneous open.
    pub(super) fn syn_options(&self, mss: u16, now: Instant) -> TcpOptions {
        let Offer { timestamps, sack, window_scale } = self.offered;
        let stamps = TcpTimestamps { value: self.clock(now), echo: self.ts_recent };
        TcpOptions {
            mss: Some(mss),
            window_scale,
            sack_permitted: sack,
            timestamps: timestamps.then_some(stamps),
            ..TcpOptions::default()
        }
    }

    /// The timestamps option of a segment sent now.
    #[inline]
    pub(super) fn timestamp(&self, now: Instant) -> Option<TcpTimestamps> {
        self.timestamps.then(|| TcpTimestamps { value: self.clock(now), echo: self.ts_recent })
    }

    /// How many bytes the options of every data segment take.
    pub(super) fn data_options_len(&self) -> u16 {
        if self.timestamps { 12 } else { 0 }
    }

    /// The timestamp clock: milliseconds (RFC 7323 §5.4).
    fn clock(&self, now: Instant) -> u32 {
        (now.as_millis() as u32).wrapping_add(self.ts_offset)
    }

    /// The time since we sent the timestamp that the peer echoes, if that can be.
    #[inline]
    pub(super) fn echoed_rtt(&self, now: Instant, timestamps: TcpTimestamps) -> Option<Duration> {
        let elapsed = self.clock(now).wrapping_sub(timestamps.echo) as i32;
        (self.timestamps && timestamps.echo != 0 && elapsed >= 0)
            .then(|| Duration::from_millis(elapsed.max(1) as u64))
    }

    /// Whether we may have sent the timestamp that the peer echoes within the last `period`.
    pub(super) fn may_echo(&self, now: Instant, timestamps: TcpTimestamps, period: Duration) -> bool {
        u128::from(self.clock(now).wrapping_sub(timestamps.echo)) <= period.as_millis() + 1
    }

    /// By how many ticks of the peer's clock a segment is older than TS.Recent.
    #[inline]
    pub(super) fn age(&self, timestamps: TcpTimestamps) -> u32 {
        (self.ts_recent.wrapping_sub(timestamps.value) as i32).max(0) as u32
    }

    /// Takes note of what an acknowledgment echoes.
    #[inline]
    pub(super) fn note_echo(&mut self, timestamps: Option<TcpTimestamps>) {
        if self.timestamps {
            self.ts_echo = timestamps.map_or(0, |timestamps| timestamps.echo);
        }
    }

    /// Whether the latest acknowledgment answers what was sent at `at`.
    pub(super) fn echoes(&self, at: Instant) -> bool {
        self.timestamps && self.ts_echo != 0 && self.ts_echo == self.clock(at)
    }

    /// Whether the latest acknowledgment answers something that was sent before `at` (RFC 3522).
    pub(super) fn echoes_before(&self, at: Instant) -> bool {
        self.timestamps && self.ts_echo != 0 && (self.ts_echo.wrapping_sub(self.clock(at)) as i32) < 0
    }

    /// PAWS (RFC 7323 §5.3 R1): the segment is older than what has arrived. As the kernel: one tick is no
    /// age, and zero is not a time (some peers send it in their SYN).
    pub(super) fn is_old(&self, now: Instant, timestamps: TcpTimestamps) -> bool {
        self.ts_recent != 0 && self.age(timestamps) > PAWS_WINDOW && !self.is_stale(now)
    }

    fn is_stale(&self, now: Instant) -> bool {
        now.saturating_since(self.ts_recent_at) >= TS_RECENT_VALID
    }

    /// RFC 7323 §4.3 (2): TS.Recent follows the segments that begin at or before the last ACK sent.
    #[inline]
    pub(super) fn note_timestamp(
        &mut self,
        now: Instant,
        timestamps: TcpTimestamps,
        seq: SeqNumber,
        last_ack_sent: SeqNumber,
    ) {
        let newer = self.age(timestamps) == 0 || self.ts_recent == 0 || self.is_stale(now);
        if self.timestamps && !seq.after(last_ack_sent) && newer {
            self.ts_recent = timestamps.value;
            self.ts_recent_at = now;
        }
    }

    /// TS.Recent, with timestamps.
    pub(super) fn ts_recent(&self) -> Option<u32> {
        self.timestamps.then_some(self.ts_recent)
    }

    pub(super) fn ts_offset(&self) -> u32 {
        self.ts_offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ts_recent_expires_after_24_days() {
        let config = TcpConfig::default();
        let mut agreed = Negotiated::offer(&config, 7, 0);
        agreed.set_timestamps(Some(1000), Instant::ZERO);
        let old = TcpTimestamps { value: 998, echo: 0 };
        assert!(agreed.is_old(Instant::from_millis(1), old));
        assert!(!agreed.is_old(Instant::ZERO + TS_RECENT_VALID, old));
    }
}

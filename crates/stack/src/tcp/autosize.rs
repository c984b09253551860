//! How large super-segments are.
//!
//! As the kernel: what would leave at the pacing rate within a millisecond, so that a slow connection sends
//! no bursts, and more where the round trip is short. In memory, where packets hold more than the kernel's usually do, as
//! much as the link takes where a millisecond is enough for it. Scripts see it, for a super-segment of several
//! segments carries PSH.

use super::congestion::Controller as _;
use super::connection::{Connection, Resources};
use core::time::Duration;

/// The most a super-segment holds that is sized by the rate (`GSO_LEGACY_MAX_SIZE`).
const GSO_MAX_SIZE: u64 = 65_536;
/// The share of a second that a super-segment lasts, as a shift (`sk_pacing_shift`).
const PACING_SHIFT: u32 = 10;
/// Microseconds of the least round-trip time that halve what is granted beyond, as a shift
/// (`tcp_tso_rtt_log`).
const RTT_SHIFT: u32 = 9;
/// Round trips that halve nothing.
const SHORT: Duration = Duration::from_micros(1 << RTT_SHIFT);

impl Connection {
    /// The most octets in one super-segment now: whole segments.
    pub(super) fn segment_limit(&self, resources: &Resources<'_>) -> u32 {
        let mss = u32::from(self.snd_mss);
        // The urgent pointer counts from each segment's own sequence number.
        if self.urgent.snd_up().is_some() {
            return mss;
        }
        let limit = resources.max_segment as u32;
        let limit = limit.min(self.window_share());
        if limit < 2 * mss {
            return mss;
        }
        let sized = self.auto_size(resources).saturating_mul(mss);
        (limit.min(sized) / mss * mss).max(mss)
    }

    /// The same for new data: half of `cwnd` at most, so that acknowledgments clock out more.
    pub(super) fn new_segment_limit(&self, resources: &Resources<'_>) -> u32 {
        let mss = u32::from(self.snd_mss);
        let half = (self.congestion.cwnd() as u32 / mss / 2).max(1) * mss;
        self.segment_limit(resources).min(half)
    }

    /// How many segments a super-segment should have.
    fn auto_size(&self, resources: &Resources<'_>) -> u32 {
        let least = self.rtt.min_rtt();
        let is_short = least.is_some_and(|least| least < SHORT);
        if is_short && resources.max_segment as u64 <= GSO_MAX_SIZE {
            // What is granted alone is as much as the link takes.
            return u32::MAX;
        }
        let mss = u64::from(self.snd_mss);
        let rate = self.pacing_rate(resources.config, resources.settings);
        if rate == u64::MAX {
            return u32::MAX;
        }
        if is_short {
            // Beyond that only as much as doesn't keep the path busy for longer than a millisecond.
            return ((rate >> PACING_SHIFT).max(GSO_MAX_SIZE) / mss).min(u32::MAX.into()) as u32;
        }
        let mut octets = rate >> PACING_SHIFT;
        let least = least.map_or(u64::MAX, |least| least.as_micros() as u64);
        if least >> RTT_SHIFT < u64::from(u32::BITS) {
            octets += GSO_MAX_SIZE >> (least >> RTT_SHIFT);
        }
        (octets.min(GSO_MAX_SIZE) / mss).max(resources.config.min_tso_segments.into()) as u32
    }
}

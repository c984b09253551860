//! A congestion window counted in whole segments, as the kernel counts: what Reno and CUBIC share.
//!
//! Growth of less than a segment is counted in acknowledged segments (`count`), acknowledged bytes that
//! make no whole segment in `partial`: thousands of acknowledgements of a byte each grow the window no
//! more than one acknowledgement of them all (RFC 3465, RFC 5681 §3.1).

use super::{AckEvent, MAX_CWND};

/// The largest count of segments: stands for a threshold that was never set, too.
const UNSET: u32 = u32::MAX;
/// Windows never shrink below this (RFC 5681 §3.1 (4)).
const LEAST_SSTHRESH: u32 = 2;

#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    mss: u32,
    /// The window in segments.
    cwnd: u32,
    ssthresh: u32,
    /// Acknowledged segments towards the next of growth.
    count: u32,
    /// Acknowledged bytes towards the next acknowledged segment.
    partial: u32,
    initial_segments: u16,
}

impl Window {
    pub(super) fn new(mss: usize, initial_segments: u32) -> Window {
        let mss = mss.clamp(1, MAX_CWND) as u32;
        Window {
            mss,
            cwnd: initial_window(mss, initial_segments),
            ssthresh: UNSET,
            count: 0,
            partial: 0,
            initial_segments: initial_segments.min(u16::MAX.into()) as u16,
        }
    }

    /// The window in segments.
    #[inline]
    pub(super) fn segments(&self) -> u32 {
        self.cwnd
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.cwnd as usize * self.mss as usize
    }

    #[inline]
    pub(super) fn ssthresh_bytes(&self) -> usize {
        if self.is_initial() { usize::MAX } else { self.ssthresh as usize * self.mss as usize }
    }

    /// Whether there was no congestion yet (RFC 9406 §4.3: the initial slow start).
    pub(super) fn is_initial(&self) -> bool {
        self.ssthresh == UNSET
    }

    pub(super) fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// How many segments an acknowledgement stands for. The last of what was in flight counts as one
    /// however short it is: as the kernel, which counts segments where the RFC counts bytes.
    #[inline]
    pub(super) fn acked_segments(&mut self, event: &AckEvent) -> u32 {
        let acked = (self.partial as usize).saturating_add(event.acked).min(MAX_CWND) as u32;
        self.partial = acked % self.mss;
        let tail = self.partial > 0 && event.una == event.nxt;
        if tail {
            self.partial = 0;
        }
        acked / self.mss + u32::from(tail)
    }

    fn largest(&self) -> u32 {
        MAX_CWND as u32 / self.mss
    }

    /// Slow start: a segment for each that was acknowledged, up to the threshold. Answers how many are
    /// left for congestion avoidance.
    ///
    /// There is no limit per acknowledgement (RFC 3465's L): super-segments make acknowledgements of
    /// dozens of segments normal, and the peer can only acknowledge what was sent.
    pub(super) fn slow_start(&mut self, acked: u32) -> u32 {
        let room = self.ssthresh.min(self.largest()).saturating_sub(self.cwnd);
        let used = acked.min(room);
        self.cwnd += used;
        acked - used
    }

    /// A segment for every `per` that are acknowledged.
    pub(super) fn grow(&mut self, per: u32, acked: u32) {
        let per = per.max(1);
        // What was counted at a slower pace is worth one segment at most.
        if self.count >= per {
            self.count = 0;
            self.cwnd += 1;
        }
        self.count += acked.min(self.cwnd);
        let more = self.count / per;
        self.count -= more * per;
        self.cwnd = (self.cwnd + more).min(self.largest()).max(1);
    }

    /// The window shrinks to `segments`, which is where slow start will end from now on.
    pub(super) fn reduce(&mut self, segments: u32) {
        self.ssthresh = segments.max(LEAST_SSTHRESH);
        self.count = 0;
    }

    /// The window is the threshold: slow start is over.
    pub(super) fn leave_slow_start(&mut self) {
        self.ssthresh = self.cwnd.max(LEAST_SSTHRESH);
    }

    /// Down to the threshold.
    pub(super) fn fall(&mut self) {
        self.cwnd = self.ssthresh;
    }

    /// Down to one segment, after a timeout.
    pub(super) fn collapse(&mut self) {
        self.cwnd = 1;
        self.count = 0;
    }

    pub(super) fn set_cwnd(&mut self, bytes: usize) {
        self.cwnd = (bytes.min(MAX_CWND) as u32 / self.mss).max(1);
    }

    pub(super) fn set_ssthresh(&mut self, bytes: usize) {
        if bytes != usize::MAX {
            self.ssthresh = (bytes.min(MAX_CWND) as u32 / self.mss).max(LEAST_SSTHRESH);
        }
    }

    /// RFC 5681 §4.1's restart window. As the kernel: halved for each `rto` of idling, down to it, and
    /// with the threshold where three quarters of the former window are (RFC 2861 §3).
    #[inline]
    pub(super) fn restart(&mut self, idle: core::time::Duration, rto: core::time::Duration) {
        let least = initial_window(self.mss, self.initial_segments.into()).min(self.cwnd);
        let mut left = idle;
        if left <= rto {
            return;
        }
        if !self.is_initial() {
            self.ssthresh = self.ssthresh.max(self.cwnd / 2 + self.cwnd / 4);
        }
        while let Some(rest) = left.checked_sub(rto.max(core::time::Duration::from_nanos(1)))
            && !rest.is_zero()
            && self.cwnd > least
        {
            left = rest;
            self.cwnd /= 2;
        }
        self.cwnd = self.cwnd.max(least);
        self.count = 0;
    }

    /// Back to `prior`, unless it has outgrown that.
    pub(super) fn undo(&mut self, prior: &Window) {
        self.cwnd = self.cwnd.max(prior.cwnd).min(self.largest()).max(1);
        self.ssthresh = self.ssthresh.max(prior.ssthresh);
    }

    pub(super) fn mss(&self) -> usize {
        self.mss as usize
    }

    pub(super) fn set_mss(&mut self, mss: usize) {
        let segments = u32::from(self.initial_segments);
        let untouched = self.is_initial() && self.cwnd == initial_window(self.mss, segments);
        self.mss = mss.clamp(1, MAX_CWND) as u32;
        if untouched {
            self.cwnd = initial_window(self.mss, segments);
        }
        self.cwnd = self.cwnd.min(self.largest()).max(1);
        self.partial = 0;
    }
}

/// The initial window in segments, for `segments` segments (RFC 6928 §2, where `segments` is 10).
fn initial_window(mss: u32, segments: u32) -> u32 {
    let segments = segments.max(1);
    segments.min((segments.saturating_mul(1460) / mss).max(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use sockeye_packet::Instant;

    #[test]
    fn initial_windows_of_rfc_6928() {
        assert_eq!(initial_window(1460, 10), 10);
        assert_eq!(initial_window(536, 10), 10);
        assert_eq!(initial_window(2_920, 10), 5);
        assert_eq!(initial_window(8_960, 10), 2);
        assert_eq!(initial_window(65_000, 10), 2);
        assert_eq!(initial_window(1460, 1), 1);
    }

    #[test]
    fn slow_start_stops_at_the_threshold() {
        let mut window = Window::new(1000, 10);
        window.set_ssthresh(12_000);
        assert_eq!(window.slow_start(1), 0);
        assert_eq!(window.slow_start(3), 2);
        assert_eq!((window.segments(), window.slow_start(7)), (12, 7));
        let mut window = Window::new(1000, 10);
        assert!(window.slow_start(u32::MAX) > 0);
        assert!(window.bytes() <= MAX_CWND && window.bytes() + 1000 > MAX_CWND);
    }

    #[test]
    fn bytes_become_segments_however_they_are_acknowledged() {
        let mut window = Window::new(1000, 10);
        let ack = |acked: usize, una: u32| AckEvent {
            now: Instant::ZERO,
            acked,
            in_flight: 0,
            rtt: None,
            srtt: Duration::ZERO,
            app_limited: false,
            una,
            nxt: 5000,
            paced: false,
        };
        let divided: u32 = (0..2499).map(|byte| window.acked_segments(&ack(1, byte))).sum();
        assert_eq!(divided, 2);
        assert_eq!(window.acked_segments(&ack(1, 2500)), 0);
        assert_eq!(window.acked_segments(&ack(2000, 4500)), 2);
        // The short tail.
        assert_eq!(window.acked_segments(&ack(400, 5000)), 1);
    }

    #[test]
    fn idling_halves_the_window_down_to_the_initial_one() {
        let rto = Duration::from_millis(300);
        let restarted = |idle: u64, segments: u32| {
            let mut window = Window::new(1000, 10);
            window.slow_start(segments - 10);
            window.restart(Duration::from_millis(idle), rto);
            window.segments()
        };
        assert_eq!(restarted(300, 36), 36);
        assert_eq!(restarted(301, 36), 18);
        assert_eq!(restarted(600, 36), 18);
        assert_eq!(restarted(601, 80), 20);
        assert_eq!(restarted(100_000, 80), 10);
        let mut small = Window::new(1000, 10);
        small.collapse();
        small.restart(Duration::from_secs(9), rto);
        assert_eq!(small.segments(), 1);
    }
}

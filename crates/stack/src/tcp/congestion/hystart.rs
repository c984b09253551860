//! The end of slow start before packets are lost: `HyStart++` (RFC 9406), or the kernel's `HyStart`.
//!
//! There are two signs that the path is full: the round-trip time rises, or a train of acknowledgements that
//! follow each other closely spans half the path. `HyStart++` then grows an eighth as fast for some rounds, and
//! goes back to slow start if a rise was noise; the kernel's `HyStart` ends slow start for good. The train is
//! the kernel's. RFC 9406 knows only the rise, which is seen a round trip after the packet that it befell was
//! sent: by then the window has doubled once more, which is too late for a queue as long as the path.

use super::AckEvent;
use super::window::Window;
use crate::config::SlowStartExit;
use core::time::Duration;

/// RFC 9406 §4.3. `N_RTT_SAMPLE`, the same number in both.
const SAMPLES: u8 = 8;
/// RFC 9406 §4.3: `MIN_RTT_THRESH`, `MAX_RTT_THRESH` and `MIN_RTT_DIVISOR`, also the same in both.
/// In microseconds.
const LEAST_RISE: u32 = 4_000;
const MOST_RISE: u32 = 16_000;
const RISE_DIVISOR: u32 = 8;
/// RFC 9406 §4.3: `CSS_GROWTH_DIVISOR` and `CSS_ROUNDS`. The first is tuned, as the section allows: with the
/// recommended 4 the window triples in these rounds, from half of what the path holds to more than a queue
/// of the same length takes in.
const CSS_GROWTH_DIVISOR: u32 = 8;
const CSS_ROUNDS: u8 = 5;

/// The kernel's `hystart_low_window`, in segments.
const LOW_WINDOW: u32 = 16;
/// The kernel's `hystart_ack_delta_us`: acknowledgements of one train follow each other this closely.
const TRAIN_GAP: u32 = 2000;
/// With `HyStart++`, whose trains need not begin with a round: as fast as this part of the round-trip time.
const TRAIN_GAP_DIVISOR: u32 = 4;
/// The most by which sending a train may have stretched it, and the burst that would.
const MOST_STRETCH: u32 = 1000;
const BURST: u64 = 4 * 65_536;

/// What this round-trip time has to rise to, to count as a sign.
fn grown(rtt: u32) -> u32 {
    rtt.saturating_add((rtt / RISE_DIVISOR).clamp(LEAST_RISE, MOST_RISE))
}

/// What one connection knows of it. Every connection has it: times are microseconds, which wrap, and no
/// round-trip time is [`u32::MAX`].
#[derive(Clone, Debug)]
pub(super) struct HyStart {
    exit: SlowStartExit,
    /// A round is under way.
    in_round: bool,
    samples: u8,
    /// Acknowledged segments not yet counted as growth (conservative slow start).
    rest: u8,
    /// `windowEnd`: SND.NXT when the round began.
    end: u32,
    /// `currentRoundMinRTT`.
    min_rtt: u32,
    train: Train,
    /// `lastRoundMinRTT`; in conservative slow start `cssBaselineMinRtt`.
    reference: u32,
    /// How many rounds of conservative slow start are over, while it lasts.
    css: Option<u8>,
}

/// The train of acknowledgements of a round.
#[derive(Clone, Debug)]
struct Train {
    /// The least round-trip time since the beginning or the last timeout.
    least: u32,
    /// When it began, and the latest acknowledgement in it.
    start: u32,
    latest: u32,
}

impl HyStart {
    pub(super) fn new(exit: SlowStartExit) -> HyStart {
        HyStart {
            exit,
            in_round: false,
            samples: 0,
            rest: 0,
            end: 0,
            min_rtt: u32::MAX,
            train: Train { least: u32::MAX, start: 0, latest: 0 },
            reference: u32::MAX,
            css: None,
        }
    }

    /// A timeout: what was learnt is void.
    pub(super) fn reset(&mut self) {
        *self = HyStart::new(self.exit);
    }

    /// Nothing was in flight: that is no round.
    pub(super) fn forget_round(&mut self) {
        self.in_round = false;
    }

    /// Looks at an acknowledgement and ends slow start if it is time.
    #[inline]
    pub(super) fn on_ack(&mut self, event: &AckEvent, window: &mut Window) {
        if !window.in_slow_start() {
            return;
        }
        let found = match self.exit {
            SlowStartExit::None => false,
            SlowStartExit::HyStart => self.classic(event, window),
            // RFC 9406 §4.3: for the initial slow start only.
            SlowStartExit::HyStartPlusPlus => window.is_initial() && self.plus_plus(event, window),
        };
        if found {
            window.leave_slow_start();
        }
    }

    /// How many of the acknowledged segments count as growth (RFC 9406 §4.2).
    pub(super) fn growth(&mut self, acked: u32) -> u32 {
        if self.css.is_none() {
            return acked;
        }
        let acked = acked.saturating_add(self.rest.into());
        self.rest = (acked % CSS_GROWTH_DIVISOR) as u8;
        acked / CSS_GROWTH_DIVISOR
    }

    fn begin_round(&mut self, event: &AckEvent) {
        self.in_round = true;
        self.end = event.nxt;
        self.samples = 0;
        self.min_rtt = u32::MAX;
    }

    fn sample(&mut self, rtt: u32) {
        self.min_rtt = self.min_rtt.min(rtt);
        self.samples = self.samples.saturating_add(1);
    }

    /// How far acknowledgements have gone beyond the end of the round.
    fn beyond(&self, event: &AckEvent) -> i32 {
        event.una.wrapping_sub(self.end) as i32
    }

    /// RFC 9406 §4.2: answers whether slow start is over.
    fn plus_plus(&mut self, event: &AckEvent, window: &Window) -> bool {
        if !self.in_round {
            self.begin_round(event);
        }
        if let Some(rtt) = event.rtt {
            self.sample(micros(rtt));
            self.train.least = micros(rtt).max(1).min(self.train.least);
        }
        // A train is whatever comes without a gap, wherever a round begins: bursts are seldom in step with
        // rounds. What a program sends little by little says nothing of the path.
        if event.app_limited || !self.train.goes_on(event, self.train.least / TRAIN_GAP_DIVISOR) {
            self.train.begin(event);
        }
        let spans = window.segments() >= LOW_WINDOW && self.train.spans_path(event, window);
        let (min_rtt, known) = (self.min_rtt, self.samples >= SAMPLES);
        let over = self.beyond(event) >= 0;
        if over {
            self.begin_round(event);
        }
        match self.css {
            None if known && min_rtt >= grown(self.reference) => {
                (self.css, self.reference) = (Some(0), min_rtt);
            }
            // No later round-trip time makes this one noise.
            None if spans => (self.css, self.reference) = (Some(0), 0),
            // The rise was noise.
            Some(_) if known && min_rtt < self.reference => self.css = None,
            _ => {}
        }
        if !over {
            return false;
        }
        match &mut self.css {
            None => {
                self.reference = min_rtt;
                false
            }
            // A part of a round counts as one.
            Some(rounds) => {
                *rounds += 1;
                *rounds >= CSS_ROUNDS
            }
        }
    }

    /// The kernel's: answers whether slow start is over.
    fn classic(&mut self, event: &AckEvent, window: &Window) -> bool {
        let Some(rtt) = event.rtt.map(micros) else { return false };
        self.train.least = rtt.max(1).min(self.train.least);
        if window.segments() < LOW_WINDOW {
            return false;
        }
        let begins = !self.in_round || self.beyond(event) > 0;
        if begins {
            self.begin_round(event);
            self.train.begin(event);
        }
        if self.train.goes_on(event, TRAIN_GAP) && self.train.spans_path(event, window) {
            return true;
        }
        if self.samples < SAMPLES {
            self.sample(rtt);
            return false;
        }
        self.min_rtt = self.min_rtt.min(rtt);
        self.min_rtt > grown(self.train.least)
    }
}

impl Train {
    fn begin(&mut self, event: &AckEvent) {
        (self.start, self.latest) = (now(event), now(event));
    }

    /// Takes an acknowledgement into the train, unless more than `gap` lies before it.
    fn goes_on(&mut self, event: &AckEvent, gap: u32) -> bool {
        let now = now(event);
        let is_part = now.wrapping_sub(self.latest) <= gap;
        if is_part {
            self.latest = now;
        }
        is_part
    }

    /// Whether it is half as long as the path.
    fn spans_path(&self, event: &AckEvent, window: &Window) -> bool {
        let span = self.least.saturating_add(stretch(event, window));
        // Pacing spreads a window over half a round trip by itself.
        let limit = if event.paced { span } else { span / 2 };
        self.latest.wrapping_sub(self.start) > limit
    }
}

/// The time of an acknowledgement, in microseconds, which wrap.
fn now(event: &AckEvent) -> u32 {
    (event.now.as_nanos() / 1000) as u32
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX - 1)
}

/// How much longer a train takes than the path explains: the time that the largest bursts take, at twice
/// the window per round trip, as it is paced in slow start.
fn stretch(event: &AckEvent, window: &Window) -> u32 {
    let time = BURST * u64::from(micros(event.srtt)) / (2 * window.bytes() as u64).max(1);
    time.min(MOST_STRETCH.into()) as u32
}

#[cfg(test)]
mod tests {
    use super::super::{Controller as _, Cubic};
    use super::*;
    use sockeye_packet::Instant;

    const MSS: usize = 1000;
    const RTT: Duration = Duration::from_millis(100);

    /// A sender in slow start whose acknowledgements come `gap` apart.
    struct Flow {
        cubic: Cubic,
        now: Instant,
        una: u32,
        nxt: u32,
    }

    impl Flow {
        fn new(exit: SlowStartExit) -> Flow {
            Flow { cubic: Cubic::new(MSS, 10, exit), now: Instant::from_millis(1), una: 0, nxt: 0 }
        }

        /// One round trip: a window is sent, and acknowledged in segments with this round-trip time.
        fn round(&mut self, gap: Duration, rtt: Duration) {
            self.now += RTT;
            for _ in 0..self.segments() {
                self.ack(MSS, rtt);
                self.now += gap;
            }
        }

        /// The same, acknowledged at once.
        fn whole_round(&mut self) {
            self.now += RTT;
            self.ack(self.cubic.cwnd(), RTT);
        }

        fn ack(&mut self, acked: usize, rtt: Duration) {
            self.nxt = self.una + self.cubic.cwnd() as u32;
            self.una += acked as u32;
            let event = AckEvent {
                now: self.now,
                acked,
                in_flight: acked,
                rtt: Some(rtt),
                srtt: RTT,
                app_limited: false,
                una: self.una,
                nxt: self.nxt,
                paced: false,
            };
            self.cubic.on_ack(&event);
        }

        fn segments(&self) -> usize {
            self.cubic.cwnd() / MSS
        }
    }

    /// Too long for a train.
    const GAP: Duration = Duration::from_millis(26);
    const LATE: Duration = Duration::from_millis(113);

    #[test]
    fn hystart_plus_plus_goes_on_carefully_when_the_round_trip_grows() {
        let mut flow = Flow::new(SlowStartExit::HyStartPlusPlus);
        flow.round(GAP, RTT);
        flow.round(GAP, RTT);
        assert_eq!(flow.segments(), 40);
        // A round begins with what was sent before the last acknowledgements, so the next is the first in
        // which all is late. Eight samples of it show that, and from there on growth is an eighth.
        flow.round(GAP, LATE);
        assert_eq!(flow.segments(), 80);
        flow.round(GAP, LATE);
        let grown = flow.segments() - 80;
        assert!((80 / 8..=8 + 72 / 8).contains(&grown), "{grown}");
        for _ in 0..4 {
            assert_eq!(flow.cubic.ssthresh(), usize::MAX);
            flow.round(GAP, LATE);
        }
        assert_ne!(flow.cubic.ssthresh(), usize::MAX);
        assert!((120..180).contains(&flow.segments()), "{}", flow.segments());
    }

    #[test]
    fn hystart_plus_plus_resumes_when_the_rise_was_noise() {
        let mut flow = Flow::new(SlowStartExit::HyStartPlusPlus);
        flow.round(GAP, RTT);
        flow.round(GAP, RTT);
        flow.round(GAP, LATE);
        flow.round(GAP, LATE);
        let before = flow.segments();
        assert!(before < 120);
        flow.round(GAP, RTT);
        flow.round(GAP, RTT);
        assert!(flow.segments() > 3 * before, "{before} {}", flow.segments());
        assert_eq!(flow.cubic.ssthresh(), usize::MAX);
    }

    #[test]
    fn a_small_rise_is_no_sign() {
        for exit in [SlowStartExit::HyStartPlusPlus, SlowStartExit::HyStart] {
            let mut flow = Flow::new(exit);
            for round in 0..4 {
                flow.round(GAP, RTT + Duration::from_millis(2 * round));
            }
            assert_eq!((flow.segments(), flow.cubic.ssthresh()), (160, usize::MAX));
        }
    }

    #[test]
    fn hystart_plus_plus_goes_on_carefully_when_a_train_fills_half_the_path() {
        let gap = Duration::from_millis(1);
        let mut flow = Flow::new(SlowStartExit::HyStartPlusPlus);
        for segments in [20, 40, 80] {
            flow.round(gap, RTT);
            assert_eq!(flow.segments(), segments);
            // Longer than a quarter of the round-trip time: the next train is another.
            flow.now += RTT;
        }
        flow.round(gap, RTT);
        let sped = 51;
        assert_eq!(flow.segments(), 80 + sped + (80 - sped) / 8);
        assert_eq!(flow.cubic.ssthresh(), usize::MAX);
        // No later round-trip time makes that noise: after five rounds slow start is over.
        for _ in 0..5 {
            flow.round(gap, RTT);
        }
        assert_ne!(flow.cubic.ssthresh(), usize::MAX);
    }

    #[test]
    fn the_kernels_ends_slow_start_at_the_ninth_late_sample() {
        let mut flow = Flow::new(SlowStartExit::HyStart);
        flow.whole_round();
        assert_eq!(flow.segments(), 20);
        flow.round(GAP, LATE);
        assert_eq!(flow.cubic.ssthresh(), 28 * MSS);
    }

    #[test]
    fn the_kernels_ends_slow_start_when_a_train_fills_half_the_path() {
        let gap = Duration::from_millis(1);
        let mut flow = Flow::new(SlowStartExit::HyStart);
        flow.whole_round();
        flow.whole_round();
        flow.round(gap, RTT);
        assert_eq!((flow.segments(), flow.cubic.ssthresh()), (80, usize::MAX));
        // Half of the round-trip time and of a millisecond of bursts is over with the 52nd.
        flow.round(gap, RTT);
        assert_eq!(flow.cubic.ssthresh() / MSS, 80 + 51);
        let mut off = Flow::new(SlowStartExit::None);
        for round in 0..5 {
            off.round(gap, RTT * (round + 1));
        }
        assert_eq!((off.segments(), off.cubic.ssthresh()), (320, usize::MAX));
    }
}

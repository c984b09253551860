//! How a producer's long copies go, as learnt from how long they take.
//!
//! No way is best everywhere. A line of the cache that is written again while the reader's core still has it costs several
//! times as much as one that both have forgotten, so that it pays to walk over more memory than both cores' own
//! caches hold, where they share one behind those. Where they don't, it is best to write past the caches. And where one core
//! has both threads, neither pays. Threads move, and so do virtual processors. So from time to time each
//! way has a lap, and the fastest goes on until the next time. A lap's time is that of both threads, as a ring that is full
//! makes its writer wait.

use std::time::{Duration, Instant};

/// A way of long copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// Within the ring and the caches.
    #[default]
    Usual,
    /// Past the caches.
    PastCaches,
    /// Over the wide ring.
    Wide,
}

/// What a producer has learnt.
#[derive(Debug)]
pub(crate) struct Ways {
    /// On trial, or found best.
    way: Way,
    is_trial: bool,
    /// Bytes of this trial or lap.
    bytes: usize,
    /// When the trial began, and its measured part.
    began: Option<Instant>,
    start: Option<Instant>,
    /// The best of these trials.
    best: Option<(Way, Duration)>,
    /// Laps to the next trials, and how many there are between two.
    laps: u32,
    between: u32,
    /// Trials to the next of the wide ring, and how many there are between two.
    until_wide: u32,
    between_wide: u32,
}

/// Bytes of a lap.
const LAP: usize = 1 << 20;
/// Bytes before a trial counts: the reader is where the last way went until then.
const WARM: usize = 512 << 10;
/// The same of the wide ring: its pages are there then, and not in the caches.
const WARM_WIDE: usize = 4 << 20;
/// How often a trial looks at the clock.
const STEP: usize = 64 << 10;
/// A trial has at least so many bytes.
const LEAST: usize = 256 << 10;
/// A way that takes so many times as long as the best isn't tried to the end.
const HOPELESS: u32 = 3;
/// Laps between trials, at first and at most.
const LAPS: (u32, u32) = (16, 1024);
/// The most trials without one of the wide ring.
const RARELY: u32 = 64;

impl Default for Ways {
    fn default() -> Ways {
        Ways {
            way: Way::Usual,
            is_trial: false,
            bytes: 0,
            began: None,
            start: None,
            best: None,
            laps: 1,
            between: LAPS.0,
            // Memory for it isn't taken before something like a stream has been seen.
            until_wide: 1,
            between_wide: 0,
        }
    }
}

impl Ways {
    pub(crate) fn way(&self) -> Way {
        self.way
    }

    /// Whether the wide ring may come back soon.
    pub(crate) fn is_trial(&self) -> bool {
        self.is_trial
    }

    /// Counts bytes of long copies, after which another way may be the one to take.
    pub(crate) fn count(&mut self, bytes: usize, clock: impl Fn() -> Instant) {
        let before = self.bytes;
        self.bytes += bytes;
        if !self.is_trial {
            if self.bytes >= LAP {
                self.bytes = 0;
                self.laps -= 1;
                if self.laps == 0 {
                    self.best = None;
                    self.begin(Way::Usual);
                }
            }
        } else if before / STEP != self.bytes / STEP && self.is_over(clock()) {
            self.next();
        }
    }

    /// Goes on without this way, which can't be taken.
    pub(crate) fn skip(&mut self) {
        if self.is_trial {
            self.next();
        } else {
            self.begin(Way::Usual);
        }
    }

    /// Whether the trial is over, which one that is far from the best is before its end; who gets to the end may be the best.
    fn is_over(&mut self, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        let warm = if self.way == Way::Wide { WARM_WIDE } else { WARM };
        if self.bytes >= warm {
            self.start.get_or_insert(now);
        }
        let is_whole = self.bytes >= warm + LAP;
        let Some((_, best)) = self.best else {
            if is_whole {
                self.best = self.start.map(|start| (self.way, now - start));
            }
            return is_whole;
        };
        // Who isn't far ahead isn't worth a turn.
        let spent = self.start.map(|start| now.duration_since(start)).filter(|_| is_whole);
        if let Some(spent) = spent.filter(|&spent| spent < best * 7 / 8) {
            self.best = Some((self.way, spent));
        }
        let allowed = best * HOPELESS * (self.bytes / STEP) as u32 / (LAP / STEP) as u32;
        is_whole || (self.bytes >= LEAST && now.duration_since(began) > allowed)
    }

    /// Goes on to the next trial, or with the best way.
    fn next(&mut self) {
        match self.way {
            Way::Usual => return self.begin(Way::PastCaches),
            Way::PastCaches if self.until_wide == 0 => return self.begin(Way::Wide),
            Way::PastCaches => self.until_wide -= 1,
            Way::Wide => {
                let is_best = self.best.is_some_and(|(best, _)| best == Way::Wide);
                self.between_wide = if is_best { 0 } else { (self.between_wide * 2).clamp(1, RARELY) };
                self.until_wide = self.between_wide;
            }
        }
        (self.way, self.is_trial) = (self.best.map_or(Way::Usual, |(best, _)| best), false);
        (self.bytes, self.laps) = (0, self.between);
        self.between = (self.between * 4).min(LAPS.1);
    }

    fn begin(&mut self, way: Way) {
        (self.way, self.is_trial, self.bytes) = (way, true, 0);
        (self.began, self.start) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Writes so many MiB, each of which takes as long as is said for its way; which way they went at the end, and how many
    /// MiB went over the wide ring.
    fn stream(ways: &mut Ways, mebibytes: usize, micros: impl Fn(Way) -> u64) -> (Way, usize) {
        let start = Instant::now();
        let spent = Cell::new(Duration::ZERO);
        let (mut way, mut wide) = (Way::Usual, 0);
        let piece = 16 << 10;
        for _ in 0..mebibytes * (LAP / piece) {
            way = ways.way();
            wide += if way == Way::Wide { piece } else { 0 };
            spent.set(spent.get() + Duration::from_nanos(micros(way) * 1000 * piece as u64 / LAP as u64));
            ways.count(piece, || start + spent.get());
        }
        (way, wide / LAP)
    }

    fn with(usual: u64, past_caches: u64, wide: u64) -> impl Fn(Way) -> u64 {
        move |way| match way {
            Way::Usual => usual,
            Way::PastCaches => past_caches,
            Way::Wide => wide,
        }
    }

    #[test]
    fn the_fastest_way_is_taken_and_another_once_that_is_faster() {
        let mut ways = Ways::default();
        assert_eq!(stream(&mut ways, 1000, with(140, 80, 27)).0, Way::Wide);
        assert_eq!(stream(&mut ways, 3000, with(600, 80, 500)).0, Way::PastCaches);
        assert_eq!(stream(&mut ways, 3000, with(50, 80, 70)).0, Way::Usual);
        assert_eq!(stream(&mut ways, 100_000, with(140, 80, 27)).0, Way::Wide);
    }

    #[test]
    fn who_is_hardly_ahead_isnt_worth_a_turn() {
        assert_eq!(stream(&mut Ways::default(), 1000, with(50, 48, 49)).0, Way::Usual);
    }

    #[test]
    fn a_short_stream_takes_no_memory_and_a_long_one_seldom_for_nothing() {
        assert_eq!(stream(&mut Ways::default(), 16, with(140, 80, 27)).1, 0);
        let (_, wide) = stream(&mut Ways::default(), 100_000, with(600, 80, 500));
        assert!((1..20).contains(&wide), "{wide}");
    }

    #[test]
    fn what_cannot_be_taken_is_done_without() {
        let mut ways = Ways::default();
        let start = Instant::now();
        let spent = Cell::new(Duration::ZERO);
        let mut refused = 0;
        for _ in 0..100_000 {
            if ways.way() == Way::Wide {
                ways.skip();
                refused += 1;
            }
            assert_ne!(ways.way(), Way::Wide);
            let micros = if ways.way() == Way::Usual { 9 } else { 1 };
            spent.set(spent.get() + Duration::from_micros(micros));
            ways.count(16 << 10, || start + spent.get());
        }
        assert!((1..10).contains(&refused), "{refused}");
        assert_eq!(ways.way(), Way::PastCaches);
    }
}

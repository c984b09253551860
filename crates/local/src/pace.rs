//! How often the reader of a stream of small writes looks for more.

use crate::sync::SPINS;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Keeps a reader of a stream of small writes from looking for each of them: every look takes the line with the
/// writer's position out of the cache of the writer's core, which waits for it at its next write.
///
/// So between looks passes sixteen times as long as one takes, where that has more bytes found at a look. Where it hasn't, the
/// writer waits for something that this reader does otherwise than by writing to this connection.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    phase: Phase,
    /// Looks of this phase so far, and where the first was.
    looks: u32,
    start: u64,
    /// Bytes found without pace.
    found: u64,
    /// How long the looks of a trial took.
    cost: Duration,
    span: Duration,
    last: Option<Instant>,
    /// Writes of this end: with answers in between it is no stream.
    writes: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Looks are counted: is it a stream, and how much does one find?
    #[default]
    Without,
    /// How much with pace, and how long does one take?
    Trial,
    /// That is worth it.
    With,
    /// It isn't.
    Rest,
}

/// Looks that make a stream.
const STREAM: u32 = 32;
/// Looks between trials.
const LASTING: u32 = 1024;
/// The time between two looks, during a trial and at least; and at most, so that something of the time that one may spin is left.
const SPANS: (Duration, Duration) = (Duration::from_nanos(500), Duration::from_nanos(1750));

impl Pace {
    /// Waits until it is time for the next look, by a reader at this position whose end has written so often; says for how
    /// long. `producers` is the word to be looked at.
    #[inline]
    pub(crate) fn keep(&mut self, writes: u32, position: u64, producers: &AtomicU64) -> Duration {
        if !SPINS || self.writes != writes {
            self.writes = writes;
            self.begin(Phase::Without, position);
            return Duration::ZERO;
        }
        self.keep_of_stream(position, producers)
    }

    fn keep_of_stream(&mut self, position: u64, producers: &AtomicU64) -> Duration {
        self.looks += 1;
        match self.phase {
            Phase::Without if self.looks > STREAM => {
                self.found = position - self.start;
                (self.cost, self.span) = (Duration::ZERO, SPANS.0);
                self.begin(Phase::Trial, position);
            }
            Phase::Trial if self.looks > STREAM => {
                self.span = (self.cost * 16 / STREAM).clamp(SPANS.0, SPANS.1);
                let is_worth_it = position - self.start > self.found + self.found / 4;
                self.begin(if is_worth_it { Phase::With } else { Phase::Rest }, position);
            }
            Phase::With | Phase::Rest if self.looks > LASTING => self.begin(Phase::Without, position),
            _ => {}
        }
        if matches!(self.phase, Phase::Trial | Phase::With) { self.wait(producers) } else { Duration::ZERO }
    }

    fn begin(&mut self, phase: Phase, position: u64) {
        (self.phase, self.looks, self.start) = (phase, 0, position);
    }

    fn wait(&mut self, producers: &AtomicU64) -> Duration {
        let start = Instant::now();
        let mut now = start;
        while self.last.is_some_and(|last| now.saturating_duration_since(last) < self.span) {
            std::hint::spin_loop();
            now = Instant::now();
        }
        self.last = Some(now);
        if self.phase == Phase::Trial {
            black_box(producers.load(Ordering::Acquire));
            // No look takes longer: who was kept from it did something else.
            self.cost += now.elapsed().min(SPANS.0);
        }
        now - start
    }
}

#[cfg(all(test, not(sockeye_model)))]
mod tests {
    use super::*;

    /// A reader that looks so often, of a writer that is so many bytes further at each; which phase it ends in.
    fn looks(pace: &mut Pace, count: u32, mut further: impl FnMut(Phase) -> u64) -> Phase {
        let mut position = pace.start;
        for _ in 0..count {
            position += further(pace.phase);
            pace.keep(0, position, &AtomicU64::new(0));
        }
        pace.phase
    }

    #[test]
    fn pace_is_kept_while_more_is_found_with_it() {
        let mut pace = Pace::default();
        let stream = |phase| if phase == Phase::Without { 128 } else { 512 };
        assert_eq!(looks(&mut pace, STREAM, stream), Phase::Without);
        assert_eq!(looks(&mut pace, STREAM, stream), Phase::Trial);
        assert_eq!(looks(&mut pace, STREAM, stream), Phase::With);
        assert!((SPANS.0..=SPANS.1).contains(&pace.span));
        assert_eq!(looks(&mut pace, LASTING, stream), Phase::Without, "from time to time it is tried again");
    }

    #[test]
    fn who_waits_for_this_reader_is_not_made_to() {
        let mut pace = Pace::default();
        assert_eq!(looks(&mut pace, 2 * STREAM + 2, |_| 64), Phase::Rest);
        let mut pace = Pace::default();
        let mut position = 0;
        for writes in 0..3 * STREAM {
            position += 64;
            assert_eq!(pace.keep(writes, position, &AtomicU64::new(0)), Duration::ZERO);
        }
        assert_eq!(pace.phase, Phase::Without, "answers go between");
    }

    #[test]
    fn looks_are_apart() {
        let mut pace = Pace::default();
        looks(&mut pace, STREAM, |_| 1);
        let start = Instant::now();
        assert_eq!(looks(&mut pace, STREAM, |_| 4), Phase::Trial);
        assert!(start.elapsed() >= SPANS.0 * (STREAM - 1));
    }
}

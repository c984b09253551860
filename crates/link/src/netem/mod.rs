//! A simulated bad network for one direction of a link.
//!
//! Sans-IO: packets go in with the time, come out when their time has come, and [`Netem::poll_timeout`]
//! says when that is. All verdicts come from one seeded generator.

use crate::segmentation::{self, Segments};
use queue::Queue;
use sockeye_packet::{Checksum, Chunk, Instant, Meta, Packet, Rng};
use std::ops::Range;
use std::time::Duration;

mod marks;
mod parse;
mod queue;

pub use parse::ParseNetemError;

/// The conditions of one direction of a link; the default is a perfect one.
///
/// Parses from, and prints as, the words of tc(8):
///
/// ```
/// use sockeye_link::NetemConfig;
///
/// let link: NetemConfig = "delay 40ms 5ms loss 1% rate 20mbit".parse()?;
/// assert_eq!((link.loss, link.rate), (1.0, 20_000_000));
/// assert_eq!(link.to_string(), "delay 40ms 5ms loss 1% rate 20mbit");
/// # Ok::<(), sockeye_link::netem::ParseNetemError>(())
/// ```
///
/// The words, each of them once at most, in any order:
///
/// | words | values |
/// |---|---|
/// | `delay TIME [JITTER]` | in `s`, `ms`, `us` or `ns`, with the unit; the second one is the jitter |
/// | `loss P%`, `duplicate P%`, `reorder P%`, `corrupt P%` | 0% to 100% |
/// | `rate RATE` | in `bit`, `kbit`, `mbit`, `gbit` or `tbit` per second; `bps`, `kbps` and so on are bytes |
/// | `limit PACKETS` | 1 or more |
/// | `ecn` | none |
///
/// Shares are in percent. `reorder` sends a segment without the delay, ahead of those that travel; where
/// there is no delay it holds the segment back for a millisecond, behind those that follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetemConfig {
    /// How long each segment travels.
    pub delay: Duration,
    /// How much the delay varies, evenly, in both directions. Order is kept unless `reorder` is set.
    pub jitter: Duration,
    /// Share of segments lost, in percent.
    pub loss: f64,
    /// Share of segments that arrive twice, in percent.
    pub duplicate: f64,
    /// Share of segments that overtake others, in percent.
    pub reorder: f64,
    /// Share of segments with one bit flipped, in percent.
    pub corrupt: f64,
    /// Bits per second, counted from the IP header on; 0 for no limit.
    pub rate: u64,
    /// How many segments may be under way at once, waiting and travelling; more are dropped.
    pub limit: usize,
    /// Where a packet that can be marked (RFC 3168: ECT or CE) would be lost, by `loss` or beyond `limit`, it is
    /// marked with congestion experienced instead. What comes when twice `limit` are under way is dropped.
    pub ecn: bool,
}

/// How many segments are under way at most, unless stated.
const DEFAULT_LIMIT: usize = 1000;

/// How long a segment is held back to be overtaken where there is no delay that others could skip.
const REORDER_HOLD: Duration = Duration::from_millis(1);

impl Default for NetemConfig {
    fn default() -> NetemConfig {
        NetemConfig {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            corrupt: 0.0,
            rate: 0,
            limit: DEFAULT_LIMIT,
            ecn: false,
        }
    }
}

impl NetemConfig {
    /// Whether packets pass as they came: whole, at once and all of them.
    pub fn is_clear(&self) -> bool {
        let NetemConfig { delay, jitter, loss, duplicate, reorder, corrupt, rate, limit: _, ecn: _ } = *self;
        let shares = [loss, duplicate, reorder, corrupt];
        delay.is_zero() && jitter.is_zero() && rate == 0 && shares.iter().all(|&percent| percent <= 0.0)
    }
}

/// What became of the segments that entered a [`Netem`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetemCounters {
    /// Segments that came out.
    pub passed: u64,
    /// Segments lost by verdict.
    pub lost: u64,
    /// Segments dropped because the limit was reached.
    pub overlimit: u64,
    /// Segments marked instead of being lost or dropped.
    pub marked: u64,
    /// Segments that entered once and were queued twice.
    pub duplicated: u64,
    /// Segments sent out of their turn.
    pub reordered: u64,
    /// Segments with a bit flipped.
    pub corrupted: u64,
}

/// One direction of a link under a [`NetemConfig`].
///
/// Verdicts are per wire segment: a super-segment leaves whole, or in the longest runs of segments that
/// share their fate and their time. Corrupted segments leave alone, their checksums filled before the
/// bit was flipped, so that the receiver's verification sees it.
#[derive(Debug)]
pub struct Netem {
    config: NetemConfig,
    rng: Rng,
    queue: Queue,
    line: Line,
    /// The latest departure given so far: none may be earlier while order is kept.
    last_departure: Instant,
    counters: NetemCounters,
}

impl Netem {
    /// A link direction under `config`, all of whose verdicts come from `rng`.
    pub fn new(config: NetemConfig, rng: Rng) -> Netem {
        Netem {
            config,
            rng,
            queue: Queue::default(),
            line: Line::default(),
            last_departure: Instant::ZERO,
            counters: NetemCounters::default(),
        }
    }

    /// The conditions that hold now.
    pub fn config(&self) -> &NetemConfig {
        &self.config
    }

    /// Changes the conditions for what enters from now on. What is under way keeps its verdict.
    pub fn set_config(&mut self, config: NetemConfig) {
        self.config = config;
    }

    /// Whether a packet would pass at once and as it is: the caller may then keep it to itself.
    pub fn is_clear(&self) -> bool {
        self.queue.is_empty() && self.config.is_clear()
    }

    /// What became of the segments so far.
    pub fn counters(&self) -> NetemCounters {
        self.counters
    }

    /// Takes a packet that is sent at `now`.
    pub fn enqueue(&mut self, now: Instant, packet: Packet) {
        let segments = Segments::of(&packet);
        let markable = self.config.ecn && marks::can_be_marked(&packet);
        let mut run: Option<Run> = None;
        for index in 0..segments.count() {
            let (copies, lost) = self.copies(markable);
            for copy in 0..copies {
                let under_way = self.queue.segments() + run.as_ref().map_or(0, Run::len);
                let over = under_way >= self.config.limit;
                if over && (!markable || under_way / 2 >= self.config.limit) {
                    self.counters.overlimit += 1;
                    continue;
                }
                let mark = lost || over;
                self.counters.marked += u64::from(mark);
                self.counters.duplicated += u64::from(copy > 0);
                let departure = self.departure(now, segments.wire_len(index));
                if self.draw(self.config.corrupt) {
                    self.flush(&segments, run.take());
                    let mut damaged = segments.slice(index..index + 1);
                    if mark {
                        marks::mark(&mut damaged);
                    }
                    let damaged = self.corrupt(damaged);
                    self.queue.push(departure, 1, damaged);
                } else if run.as_mut().is_none_or(|run| !run.extend(index, departure, mark)) {
                    let next = Run { segments: index..index + 1, departure, mark };
                    self.flush(&segments, run.replace(next));
                }
            }
        }
        match run {
            // Most packets leave as they came: they are moved, and only parts are made anew.
            Some(run) if run.len() == segments.count() => {
                let mut packet = packet;
                if run.mark {
                    marks::mark(&mut packet);
                }
                self.queue.push(run.departure, run.len(), packet);
            }
            run => self.flush(&segments, run),
        }
    }

    /// Takes out the next packet that is due at `now`, with the time at which it was due.
    pub fn dequeue(&mut self, now: Instant) -> Option<(Instant, Packet)> {
        let (due, segments, packet) = self.queue.pop_due(now)?;
        self.counters.passed += segments as u64;
        Some((due, packet))
    }

    /// When the next packet is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.next_due()
    }

    /// How often the segment at hand enters the queue, and whether it would have been lost if it were not
    /// `markable`.
    fn copies(&mut self, markable: bool) -> (usize, bool) {
        let lost = self.draw(self.config.loss);
        if lost && !markable {
            self.counters.lost += 1;
            return (0, true);
        }
        (if self.draw(self.config.duplicate) { 2 } else { 1 }, lost)
    }

    /// When a segment of `wire_len` bytes sent at `now` arrives: it waits for the line, is written out at
    /// the line's rate, and travels.
    fn departure(&mut self, now: Instant, wire_len: usize) -> Instant {
        let sent = self.line.send(now, wire_len, self.config.rate);
        if self.draw(self.config.reorder) {
            self.counters.reordered += 1;
            // Ahead of those that travel; where nothing travels, behind those that follow.
            return if self.config.delay.is_zero() { sent + REORDER_HOLD } else { sent };
        }
        let mut departure = sent + self.travel_time();
        if self.config.reorder <= 0.0 {
            departure = departure.max(self.last_departure);
        }
        self.last_departure = departure.max(self.last_departure);
        departure
    }

    fn travel_time(&mut self) -> Duration {
        let NetemConfig { delay, jitter, .. } = self.config;
        if jitter.is_zero() {
            return delay;
        }
        let spread = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX / 2).min(u64::MAX / 2 - 1);
        let shift = Duration::from_nanos(self.rng.below(2 * spread + 1));
        delay.saturating_add(shift).saturating_sub(jitter)
    }

    fn draw(&mut self, percent: f64) -> bool {
        self.rng.chance(percent / 100.0)
    }

    fn flush(&mut self, segments: &Segments<'_>, run: Option<Run>) {
        if let Some(run) = run {
            let (len, mut part) = (run.len(), segments.slice(run.segments));
            if run.mark {
                marks::mark(&mut part);
            }
            self.queue.push(run.departure, len, part);
        }
    }

    /// The packet's bytes with one bit flipped, for the receiver to find out.
    fn corrupt(&mut self, mut segment: Packet) -> Packet {
        self.counters.corrupted += 1;
        segmentation::fill_checksums(&mut segment);
        let mut bytes = segment.to_vec();
        let bit = self.rng.below(bytes.len() as u64 * 8) as usize;
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        let meta = Meta { checksum: Checksum::Unverified, gso_size: 0, ..segment.meta };
        Packet::from_bytes(&Chunk::from(bytes), meta)
    }
}

/// Segments of one packet that share their departure.
#[derive(Debug)]
struct Run {
    segments: Range<usize>,
    departure: Instant,
    /// They are marked with congestion experienced.
    mark: bool,
}

impl Run {
    fn len(&self) -> usize {
        self.segments.len()
    }

    /// Appends a segment if it comes next, at the same time and with the same mark; says whether it did.
    fn extend(&mut self, index: usize, departure: Instant, mark: bool) -> bool {
        let follows = (self.segments.end, self.departure, self.mark) == (index, departure, mark);
        self.segments.end += usize::from(follows);
        follows
    }
}

/// A serial line: sends one segment after the other at a rate.
///
/// The time at which it is free is kept exactly, as nanoseconds and a remainder, so that a long burst
/// takes as long as its bits at the rate and not a nanosecond less for each segment.
#[derive(Debug, Default)]
struct Line {
    free_at: Instant,
    /// Billionths of a bit already counted towards the next nanosecond; less than the rate.
    remainder: u64,
}

impl Line {
    /// When the last bit of `len` bytes, given to the line at `now`, has been sent.
    fn send(&mut self, now: Instant, len: usize, rate: u64) -> Instant {
        if rate == 0 {
            return now;
        }
        if self.free_at < now {
            (self.free_at, self.remainder) = (now, 0);
        }
        let work =
            (len as u64 * 8).saturating_mul(1_000_000_000).saturating_add(self.remainder.min(rate - 1));
        self.remainder = work % rate;
        self.free_at += Duration::from_nanos(work / rate);
        self.free_at
    }
}

#[cfg(test)]
mod tests;

//! How fast data is delivered, as `TCP_INFO` tells (draft-cheng-iccrg-delivery-rate-estimation).
//!
//! Every acknowledgment is a sample: what was delivered since the newest segment that it reports was sent, over
//! the longer of the time in which that was sent and the time in which it was acknowledged. As the kernel, in
//! segments; those sent while the program had too little to send are marked.

use super::acknowledge::AckInfo;
use super::congestion::{Congestion, Controller as _, RateSample};
use super::connection::Connection;
use super::seq::SeqNumber;
use core::time::Duration;
use sockeye_packet::Instant;

/// Where what is in flight begins: both are the present when nothing is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flight {
    /// When segments were delivered last (`C.delivered_time`).
    pub(super) delivered_at: Instant,
    /// When the newest of them had been sent (`C.first_sent_time`).
    pub(super) first_sent_at: Instant,
}

/// What a segment remembers of the moment at which it was sent, in microseconds before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    since_delivery: u32,
    since_first: u32,
    app_limited: bool,
}

/// The newest segment that an acknowledgment reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) sent_at: Instant,
    pub(super) end: SeqNumber,
    /// Segments delivered when it was sent.
    pub(super) prior: u32,
    pub(super) stamp: Stamp,
}

/// The latest rate, and whether the program is the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Segments delivered in `interval` microseconds.
    delivered: u32,
    interval: u32,
    /// The connection, not the program, was the limit then.
    full: bool,
    /// The program had too little to send until so many segments are delivered (`C.app_limited`); 0: not now.
    app_limited: u32,
}

fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

fn micros_between(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.nanos_since(from) / 1000).unwrap_or(u32::MAX)
}

impl Flight {
    pub(super) const NONE: Flight = Flight { delivered_at: Instant::ZERO, first_sent_at: Instant::ZERO };

    /// For a segment that is sent now.
    #[inline]
    pub(super) fn stamp(&self, now: Instant, app_limited: bool) -> Stamp {
        Stamp {
            since_delivery: micros_between(self.delivered_at, now),
            since_first: micros_between(self.first_sent_at, now),
            app_limited,
        }
    }
}

impl Stamp {
    /// The same for a segment that is sent once more, `by` later, with nothing new delivered.
    pub(super) fn moved(self, by: Duration) -> Stamp {
        let by = micros(by);
        Stamp {
            since_delivery: self.since_delivery.saturating_add(by),
            since_first: self.since_first.saturating_add(by),
            ..self
        }
    }
}

impl Rate {
    /// As the kernel: a handshake says little about the path.
    pub(super) const NONE: Rate = Rate { delivered: 0, interval: 0, full: false, app_limited: u32::MAX };

    pub(super) fn is_app_limited(&self) -> bool {
        self.app_limited != 0
    }

    /// Whether the program was the limit when the rate was measured. As the kernel: before that, too.
    pub(super) fn was_app_limited(&self) -> bool {
        !self.full
    }

    /// In bytes per second, with segments of `mss`; 0 before the first sample.
    pub(super) fn bytes(&self, mss: u16) -> u64 {
        let bytes = u64::from(self.delivered) * u64::from(mss);
        bytes.saturating_mul(1_000_000).checked_div(self.interval.into()).unwrap_or(0)
    }

    /// Takes a sample, unless the program made it a low one.
    #[inline]
    fn note(&mut self, delivered: u32, interval: u32, app_limited: bool) {
        let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
        if !app_limited || product(delivered, self.interval) >= product(self.delivered, interval) {
            (self.delivered, self.interval, self.full) = (delivered, interval, !app_limited);
        }
    }
}

impl Connection {
    /// The program writes more: was what it had written before too little?
    #[inline]
    pub(super) fn check_app_limited(&mut self) {
        let starved = self.unsent() < u32::from(self.snd_mss)
            && (self.in_flight() as usize) < self.congestion.cwnd()
            && self.sent.lost_out() <= self.sent.retrans_out();
        if starved {
            self.rate.app_limited = self.totals.delivered.wrapping_add(self.sent.packets_in_flight()).max(1);
        }
    }

    /// Everything else about an acknowledgment is known: what rate it shows. `prior_delivered` segments had been
    /// delivered before it, and `sample` is the newest that it reports; from one that `reneged` no rate is learned.
    #[inline]
    pub(super) fn measure_rate(
        &mut self,
        now: Instant,
        prior_delivered: u32,
        sample: Option<Sample>,
        reneged: bool,
    ) {
        let delivered = self.totals.delivered;
        if self.rate.is_app_limited() && delivered.wrapping_sub(self.rate.app_limited) as i32 > 0 {
            self.rate.app_limited = 0;
        }
        if !self.sent.is_empty() {
            let flight = self.sent.flight_mut();
            if delivered != prior_delivered {
                flight.delivered_at = now;
            }
            if let Some(sample) = sample {
                flight.first_sent_at = sample.sent_at;
            }
        }
        let Some(sample) = sample.filter(|_| !reneged) else { return };
        if let Some(interval) = self.sampled_interval(now, &sample) {
            self.rate.note(delivered.wrapping_sub(sample.prior), interval, sample.stamp.app_limited);
        }
    }

    /// How long the delivery that a sample measures took, in microseconds.
    #[inline]
    fn sampled_interval(&self, now: Instant, sample: &Sample) -> Option<u32> {
        let Sample { sent_at, stamp, .. } = *sample;
        let acknowledging = micros_between(sent_at, now).saturating_add(stamp.since_delivery);
        let interval = acknowledging.max(stamp.since_first);
        // What took less than the least round-trip time was acknowledged before it was sent, or the peer lies.
        self.rtt.min_rtt().is_some_and(|least| interval >= micros(least)).then_some(interval)
    }

    /// Hands a sample to a controller that an embedder brought; whether that has decided on `cwnd`. The others
    /// don't look at samples.
    #[inline]
    pub(super) fn offer_sample(&mut self, now: Instant, info: &AckInfo) -> bool {
        if !matches!(self.congestion, Congestion::Custom(_)) {
            return false;
        }
        let Some(sample) = info.sample.filter(|_| !info.reneged) else { return false };
        let bytes = |segments: u32| segments.wrapping_mul(self.snd_mss.into());
        let delivered = self.totals.delivered;
        let sample = RateSample {
            now,
            total_delivered: bytes(delivered),
            prior_delivered: bytes(sample.prior),
            delivered: bytes(delivered.wrapping_sub(sample.prior)),
            interval: self.sampled_interval(now, &sample).map(|span| Duration::from_micros(span.into())),
            app_limited: sample.stamp.app_limited,
            newly_delivered: bytes(delivered.wrapping_sub(info.prior_delivered)),
            newly_lost: bytes(self.recovery.lost.wrapping_sub(info.prior_lost)),
            prior_in_flight: bytes(info.prior_in_flight),
            in_flight: self.in_flight(),
            rtt: info.rtt,
            ece: info.ece,
        };
        self.congestion.on_sample(&sample)
    }
}

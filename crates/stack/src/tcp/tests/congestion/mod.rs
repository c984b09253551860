//! How congestion control does over minutes: the window that RFC 9438 predicts, fairness, overshoot.

mod dumbbell;

use super::*;
use crate::config::SlowStartExit;
use dumbbell::{Bottleneck, Dumbbell};

const MSS: f64 = 1448.0;

/// The mean window, in segments, over so many epochs of the deterministic loss of every `lose_every`-th
/// data segment.
fn mean_window(rtt: Duration, lose_every: u64, epochs: u64) -> f64 {
    let path = Bottleneck { rate: 0, queue: 0, rtt, lose_every, mark_above: None };
    let mut path = Dumbbell::new(path, 1);
    path.flow(path.now, &TcpConfig { slow_start_exit: SlowStartExit::None, ..TcpConfig::default() });
    // What slow start made of the window is forgotten after a few epochs.
    let settled = 10;
    let (mut area, mut time) = (0.0, 0.0);
    while path.lost < settled + epochs {
        let until = path.now + rtt * 8;
        path.run(until, |path, next| {
            if path.lost >= settled {
                let span = next.saturating_since(path.now).as_secs_f64();
                area += path.info(0).snd_cwnd as f64 / MSS * span;
                time += span;
            }
        });
    }
    area / time
}

/// RFC 9438 §5.1: the window of AIMD with CUBIC's parameters, and of the cubic curve; CUBIC has the larger.
fn predicted(rtt: Duration, p: f64) -> (f64, f64) {
    let (beta, c) = (0.7_f64, 0.4_f64);
    let alpha = 3.0 * (1.0 - beta) / (1.0 + beta);
    let friendly = (alpha * (1.0 + beta) / (2.0 * (1.0 - beta) * p)).sqrt();
    let cubic = (c * (3.0 + beta) / (4.0 * (1.0 - beta))).powf(0.25) * (rtt.as_secs_f64() / p).powf(0.75);
    (friendly, cubic)
}

/// Checks one rate of loss at one round-trip time.
fn check_window(millis: u64, lose_every: u64) {
    let rtt = Duration::from_millis(millis);
    let (friendly, cubic) = predicted(rtt, 1.0 / lose_every as f64);
    let window = mean_window(rtt, lose_every, 50);
    let expected = friendly.max(cubic);
    let ratio = window / expected;
    assert!((0.85..1.15).contains(&ratio), "{millis} ms, 1/{lose_every}: {window} instead of {expected}");
}

#[test]
fn the_window_is_renos_where_the_path_is_short() {
    check_window(20, 1_000);
    check_window(20, 10_000);
}

#[test]
fn the_window_is_cubics_where_the_path_is_long() {
    check_window(400, 1_000);
    check_window(200, 10_000);
}

/// 10 Mbit/s and 40 ms, with a queue of as much as the path holds.
const NARROW: Bottleneck = Bottleneck {
    rate: 10_000_000,
    queue: 50_000,
    rtt: Duration::from_millis(40),
    lose_every: 0,
    mark_above: None,
};

/// Jain's index of what two flows deliver in the two minutes after the second has begun.
fn fairness(path: Bottleneck, seed: u64, config: &TcpConfig) -> f64 {
    let mut path = Dumbbell::new(path, seed);
    path.flow(path.now, config);
    let second = path.now + Duration::from_secs(10) + Duration::from_millis(37 * seed);
    path.flow(second, config);
    path.run(second, |_, _| ());
    let before = path.received(0);
    path.run(second + Duration::from_mins(2), |_, _| ());
    let rates = [path.received(0) - before, path.received(1)].map(|bytes| bytes as f64);
    let (sum, squares) = (rates[0] + rates[1], rates[0] * rates[0] + rates[1] * rates[1]);
    assert!(sum * 8.0 / 120.0 > 0.9 * 10e6, "the line is not used: {rates:?}");
    sum * sum / (2.0 * squares)
}

#[test]
fn two_flows_share_a_line_fairly() {
    let seeds = 20;
    let indexes: Vec<f64> = (1..=seeds).map(|seed| fairness(NARROW, seed, &TcpConfig::default())).collect();
    let mean = indexes.iter().sum::<f64>() / seeds as f64;
    assert!(mean >= 0.95, "{mean}: {indexes:?}");
}

/// Without losses: who sends slower for a while, after one, shows a lower rate.
#[test]
fn the_delivery_rate_is_the_lines() {
    for (rate, rtt) in [(10_000_000, 40), (2_000_000, 100), (100_000_000, 5)] {
        let path = Bottleneck { rate, queue: 100_000_000, rtt: Duration::from_millis(rtt), ..NARROW };
        let mut path = Dumbbell::new(path, 1);
        path.flow(path.now, &TcpConfig::default());
        path.run(path.now + Duration::from_secs(2), |_, _| ());
        // A segment of 1448 bytes takes 1500 of the line.
        let expected = rate as f64 / 8.0 * 1448.0 / 1500.0;
        let mut seen = 0;
        path.run(path.now + Duration::from_secs(2), |path, _| {
            let info = path.info(0);
            let ratio = info.delivery_rate as f64 / expected;
            assert!((0.9..1.1).contains(&ratio), "{ratio} of {expected} B/s at {}", path.now);
            assert!(!info.delivery_rate_app_limited);
            seen += 1;
        });
        assert!(seen > 100);
    }
}

/// How many segments the first congestion loses, if there is any in the first seconds: until the loss is
/// repaired.
fn overshoot(path: Bottleneck, exit: SlowStartExit) -> u64 {
    let rtt = path.rtt;
    let mut path = Dumbbell::new(path, 1);
    path.flow(path.now, &TcpConfig { slow_start_exit: exit, ..TcpConfig::default() });
    let limit = path.now + Duration::from_secs(10);
    while path.overflowed == 0 && path.now < limit {
        path.run(path.now + rtt, |_, _| ());
    }
    path.run(path.now + rtt * 12, |_, _| ());
    path.overflowed
}

#[test]
fn slow_start_overshoots_less_than_a_tenth_with_hystart() {
    let paths = [(10_000_000, 40), (50_000_000, 40), (20_000_000, 80), (100_000_000, 20), (10_000_000, 100)];
    for (rate, rtt) in paths {
        let bdp = rate * rtt / 8000;
        for queue in [1, 2, 3, 4, 10] {
            let path = Bottleneck { rate, queue: bdp * queue, rtt: Duration::from_millis(rtt), ..NARROW };
            let losses = [SlowStartExit::None, SlowStartExit::HyStartPlusPlus, SlowStartExit::HyStart]
                .map(|exit| overshoot(path, exit));
            let [without, plus_plus, classic] = losses;
            assert!(
                without > 90 && plus_plus * 10 < without && classic * 10 < without,
                "{path:?}: {losses:?}"
            );
        }
    }
}

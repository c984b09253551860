use super::super::MAX_CWND;
use super::*;
use proptest::prelude::*;

const MSS: usize = 1460;
const RTT: Duration = Duration::from_millis(100);

fn ack(now: Instant, acked: usize) -> AckEvent {
    AckEvent {
        now,
        acked,
        in_flight: acked,
        rtt: Some(RTT),
        srtt: RTT,
        app_limited: false,
        una: 0,
        nxt: 1,
        paced: false,
    }
}

/// A controller in congestion avoidance after a loss at a window of `segments`.
fn after_loss(segments: usize) -> Cubic {
    let mut cubic = Cubic::new(MSS, 10, SlowStartExit::None);
    cubic.on_ack(&ack(Instant::ZERO, segments * MSS - cubic.cwnd()));
    assert_eq!(cubic.cwnd(), segments * MSS);
    cubic.on_congestion(Instant::ZERO, segments * MSS);
    cubic
}

/// Acknowledges a full window, segment by segment, in each of `rounds` round trips.
fn run_rounds(cubic: &mut Cubic, start: Instant, rounds: u32, mut each: impl FnMut(f64, usize)) -> Instant {
    let mut now = start;
    for _ in 0..rounds {
        let acks = cubic.cwnd() / MSS;
        for _ in 0..acks {
            cubic.on_ack(&ack(now, MSS));
            now += RTT / acks as u32;
        }
        each(now.saturating_since(start).as_secs_f64(), cubic.cwnd());
    }
    now
}

#[test]
fn cube_roots() {
    for exponent in -30..30 {
        for mantissa in [1.0_f64, 1.3, 2.0, 3.7, 5.0, 9.9] {
            let x = mantissa * 10_f64.powi(exponent);
            let error = (cube_root(x) - x.cbrt()).abs() / x.cbrt();
            assert!(error < 1e-14, "{x}: {error}");
        }
    }
    assert!(cube_root(0.0).abs() < f64::EPSILON);
}

#[test]
fn a_loss_takes_three_tenths() {
    let cubic = after_loss(100);
    assert_eq!((cubic.cwnd() / MSS, cubic.ssthresh() / MSS), (70, 70));
    assert_eq!(cubic.state.w_max, 100);
    // In whole segments, as the kernel: 717 of 1024 parts.
    assert_eq!(after_loss(11).cwnd() / MSS, 7);
    assert_eq!(after_loss(20).cwnd() / MSS, 14);
}

/// RFC 9438 figure 1: concave to `W_max` at t = K, then convex.
#[test]
fn follows_the_curve_through_its_plateau() {
    let segments = 1000.0;
    let mut cubic = after_loss(segments as usize);
    let k = (segments * 0.3 / 0.4_f64).cbrt();
    let mut checked = 0;
    run_rounds(&mut cubic, Instant::from_millis(1), 200, |t, cwnd| {
        // After a round the window has reached what it aimed at when the round began, at the latest.
        let curve = |t: f64| 0.4 * (t - k).powi(3) + segments;
        let (low, high) = (curve(t - 0.1), curve(t + 0.1));
        let w = cwnd as f64 / MSS as f64;
        assert!(w > low * 0.97 && w < high * 1.02 + 1.0, "t {t}: {w} not in {low}..{high}");
        checked += 1;
    });
    assert_eq!(checked, 200);
    assert!(cubic.cwnd() as f64 / MSS as f64 > segments * 1.4);
}

/// RFC 9438 §4.3: with a short round trip `W_est` leads, at alpha until `W_max` and then at one segment.
#[test]
fn is_never_slower_than_reno() {
    let short = Duration::from_millis(2);
    let mut cubic = after_loss(20);
    let (mut now, mut w_est) = (Instant::from_millis(1), 14.0_f64);
    let alpha = 3.0 * 0.3 / 1.7;
    for _ in 0..60 {
        for _ in 0..cubic.cwnd() / MSS {
            let window = cubic.cwnd() as f64 / MSS as f64;
            w_est += if w_est < 20.0 { alpha } else { 1.0 } / window;
            cubic.on_ack(&AckEvent { srtt: short, ..ack(now, MSS) });
            now += short / 14;
        }
        let behind = w_est - cubic.cwnd() as f64 / MSS as f64;
        assert!((-1.5..2.0).contains(&behind), "{behind}");
    }
    assert!(w_est > 60.0);
}

/// As the kernel counts: so many acknowledged segments for one of growth.
#[test]
fn grows_by_whole_segments_a_step_towards_the_curve_at_a_time() {
    let mut cubic = after_loss(10);
    assert_eq!(cubic.cwnd() / MSS, 7);
    // K is 1.96 s; in a round trip the curve is at 7.43, so the next segment takes a window.
    let mut now = Instant::from_millis(10);
    for acked in 1..=7 {
        cubic.on_ack(&ack(now, MSS));
        assert_eq!(cubic.cwnd() / MSS, if acked < 7 { 7 } else { 8 });
        now += Duration::from_micros(1);
    }
}

#[test]
fn searches_by_a_twentieth_where_no_congestion_is_known() {
    let mut cubic = Cubic::new(MSS, 10, SlowStartExit::None);
    cubic.on_ack(&ack(Instant::ZERO, 90 * MSS));
    cubic.set_ssthresh(100 * MSS);
    let now = Instant::from_millis(1);
    for _ in 0..19 {
        cubic.on_ack(&ack(now, MSS));
    }
    assert_eq!(cubic.cwnd() / MSS, 100);
    cubic.on_ack(&ack(now, MSS));
    assert_eq!(cubic.cwnd() / MSS, 101);
}

#[test]
fn converges_when_stopped_below_its_former_plateau() {
    let mut cubic = after_loss(100);
    let window = cubic.cwnd();
    cubic.on_congestion(Instant::ZERO, window);
    assert_eq!((cubic.state.w_max, cubic.state.cwnd_prior), (59, 70));
    assert_eq!(cubic.cwnd() / MSS, 49);
}

#[test]
fn starts_again_without_a_plateau_after_a_timeout() {
    let mut cubic = after_loss(100);
    cubic.on_timeout(Instant::ZERO, 102_200);
    assert_eq!((cubic.cwnd() / MSS, cubic.ssthresh() / MSS), (1, 49));
    cubic.on_timeout(Instant::ZERO, MSS);
    assert_eq!(cubic.ssthresh() / MSS, 49);
    let now = Instant::from_millis(5);
    cubic.on_ack(&ack(now, 48 * MSS));
    assert!(cubic.state.epoch.is_none());
    cubic.on_ack(&ack(now, MSS));
    let epoch = cubic.state.epoch.unwrap();
    assert_eq!((epoch.k, epoch.plateau, epoch.start), (0.0, 49.0, now));
}

#[test]
fn undo_restores_window_threshold_and_curve() {
    let mut cubic = after_loss(100);
    let now = run_rounds(&mut cubic, Instant::from_millis(1), 5, |_, _| ());
    let before = cubic.state.clone();
    cubic.on_timeout(now, 0);
    cubic.on_ack(&ack(now, MSS));
    cubic.undo();
    assert_eq!(alloc::format!("{:?}", cubic.state), alloc::format!("{before:?}"));
    // Nothing is left to undo, and a window that outgrew the saved one stays.
    cubic.on_congestion(now, 0);
    run_rounds(&mut cubic, now, 100, |_, _| ());
    let grown = cubic.cwnd();
    assert!(grown > before.window.bytes());
    cubic.undo();
    cubic.undo();
    assert_eq!(cubic.cwnd(), grown);
}

#[test]
fn time_without_growth_does_not_count() {
    let mut busy = after_loss(500);
    let now = run_rounds(&mut busy, Instant::from_millis(1), 10, |_, _| ());
    let mut idle = busy.clone();
    let later = now + Duration::from_mins(1);
    idle.on_ack(&AckEvent { app_limited: true, ..ack(now + Duration::from_secs(20), MSS) });
    idle.on_idle(Duration::from_secs(40), Duration::from_mins(2), true);
    assert_eq!(idle.cwnd(), busy.cwnd());
    run_rounds(&mut busy, now, 10, |_, _| ());
    run_rounds(&mut idle, later, 10, |_, _| ());
    let ratio = idle.cwnd() as f64 / busy.cwnd() as f64;
    assert!((ratio - 1.0).abs() < 0.005, "{ratio}");
}

#[test]
fn restarts_from_the_initial_window_after_idling() {
    let mut cubic = after_loss(100);
    cubic.on_idle(Duration::from_secs(4), Duration::from_secs(1), true);
    assert_eq!(cubic.cwnd(), 14_600);
    assert_eq!(cubic.ssthresh() / MSS, 70);
}

#[test]
fn an_undo_keeps_the_segment_size_of_now() {
    let mut cubic = Cubic::new(MSS, 10, SlowStartExit::None);
    cubic.on_timeout(Instant::from_millis(1), 10 * MSS);
    cubic.set_mss(500);
    cubic.undo();
    assert_eq!(cubic.cwnd(), 10 * 500);
}

/// RFC 9406 §4.3: a slow start after an idle time doubles again in a round trip.
#[test]
fn only_the_first_slow_start_is_slowed() {
    let mut cubic = Cubic::new(MSS, 10, SlowStartExit::HyStartPlusPlus);
    let (mut now, mut una) = (Instant::from_millis(1000), 0);
    let round = |cubic: &mut Cubic, now: &mut Instant, una: &mut u32, rtt: u64| {
        let end = *una + cubic.cwnd() as u32;
        *now += Duration::from_millis(rtt);
        while *una < end {
            *una += MSS as u32;
            let nxt = *una + cubic.cwnd() as u32;
            let rtt = Some(Duration::from_millis(rtt));
            cubic.on_ack(&AckEvent { rtt, una: *una, nxt, ..ack(*now, MSS) });
        }
    };
    for rtt in [100, 100, 120, 120, 120, 120, 120, 120, 120] {
        round(&mut cubic, &mut now, &mut una, rtt);
    }
    assert!(cubic.ssthresh() < usize::MAX && cubic.ssthresh() > 20 * MSS, "{}", cubic.ssthresh() / MSS);
    cubic.on_idle(Duration::from_mins(1), Duration::from_millis(400), true);
    assert_eq!(cubic.cwnd(), 10 * MSS);
    round(&mut cubic, &mut now, &mut una, 100);
    assert_eq!(cubic.cwnd(), 20 * MSS);
}

proptest! {
    /// Cutting the same acknowledged bytes into fewer, larger acknowledgements changes little.
    #[test]
    fn stretched_acknowledgements_grow_alike(segments in 150_usize..2000, stretch in 2_usize..45) {
        let (mut fine, mut coarse) = (after_loss(segments), after_loss(segments));
        let mut now = Instant::from_millis(1);
        for _ in 0..20 {
            let acks = fine.cwnd().min(coarse.cwnd()) / MSS / stretch;
            for _ in 0..acks {
                for _ in 0..stretch {
                    fine.on_ack(&ack(now, MSS));
                }
                coarse.on_ack(&ack(now, stretch * MSS));
                now += RTT / acks as u32;
            }
        }
        let ratio = fine.cwnd() as f64 / coarse.cwnd() as f64;
        prop_assert!((ratio - 1.0).abs() < 0.05, "{}", ratio);
    }

    #[test]
    fn the_window_stays_in_bounds(
        events in proptest::collection::vec((0_u8..8, any::<usize>(), any::<u64>()), 0..200),
    ) {
        let mut cubic = Cubic::new(MSS, 10, SlowStartExit::None);
        for (kind, n, at) in events {
            let now = Instant::from_nanos(at);
            match kind {
                0 | 1 => cubic.on_ack(&ack(now, n)),
                2 => cubic.on_congestion(now, n),
                3 => cubic.on_timeout(now, n),
                4 => cubic.undo(),
                5 => cubic.on_idle(Duration::from_nanos(at), RTT, true),
                6 => cubic.set_cwnd(n),
                _ => cubic.set_mss(n % 70_000),
            }
            prop_assert!(cubic.cwnd() >= 1 && cubic.cwnd() <= MAX_CWND);
            prop_assert!(cubic.ssthresh() >= 2);
        }
    }
}

//! How much is sent at once, when it is worth waiting, and when it is paced.

use super::*;
use crate::CongestionControl;
use crate::tcp::congestion::{AckEvent, Congestion, Controller, CustomControl, RateSample};

/// A connection that sends super-segments over a path with this round trip in milliseconds, and the lengths of
/// what it sends at once.
fn sizes(rtt: u64, len: usize, setup: impl FnOnce(&mut TcpConfig)) -> (Script, Vec<usize>) {
    let mut script = Script::established(rtt, SYN_ACK, setup);
    script.max_segment = 60_000;
    script.send(len);
    let sent = lengths(&mut script);
    (script, sent)
}

const SYN_ACK: &str = "S. 0:0(0) ack 1 win 65535 <mss 1000,nop,nop,sackOK>";

fn lengths(script: &mut Script) -> Vec<usize> {
    script.transmit().iter().map(|line| line.len as usize).collect()
}

#[test]
fn a_super_segment_is_a_millisecond_of_the_rate_and_at_most_half_a_window() {
    assert_eq!(sizes(100, 20_000, |_| ()).1, [2000; 5]);
    assert_eq!(sizes(100, 20_000, |config| config.min_tso_segments = 4).1, [4000, 4000, 2000]);
    assert_eq!(sizes(100, 20_000, |config| config.min_tso_segments = 10).1, [5000, 5000]);
    // Two windows per 2 ms: 10 kB per millisecond.
    assert_eq!(sizes(2, 20_000, |_| ()).1, [5000, 5000]);
    let (mut script, _) = sizes(100, 20_000, |config| {
        config.min_tso_segments = 10;
        config.tso_win_divisor = 0;
    });
    script.advance(100);
    script.inject(". 1:1(0) ack 10001 win 65535");
    assert_eq!(lengths(&mut script), [10_000]);
}

#[test]
fn a_sender_waits_for_room_if_the_next_acknowledgment_is_due() {
    let (mut script, sent) = sizes(100, 60_000, |config| config.min_tso_segments = 10);
    assert_eq!(sent, [5000, 5000]);
    script.advance(100);
    // It wrote long ago.
    script.inject(". 1:1(0) ack 1001 win 65535");
    assert_eq!(lengths(&mut script), [2000]);
    // Just now, and the third of the window is more than there is room for.
    for acked in ["2001", "3001"] {
        script.inject(&alloc::format!(". 1:1(0) ack {acked} win 65535"));
        assert_eq!(lengths(&mut script), []);
    }
    script.inject(". 1:1(0) ack 4001 win 65535");
    assert_eq!(lengths(&mut script), [6000]);
    // Nor if the rest of the flight was sent a moment ago: no acknowledgment is due.
    script.inject(". 1:1(0) ack 10001 win 65535");
    assert!(!lengths(&mut script).is_empty());
    script.inject(". 1:1(0) ack 12001 win 65535");
    assert!(!lengths(&mut script).is_empty());
}

#[test]
fn segments_are_paced_when_the_program_asks() {
    let (mut script, _) = sizes(100, 10_000, |_| ());
    script.settings.max_pacing_rate = 100_000;
    script.advance(100);
    script.inject(". 1:1(0) ack 10001 win 65535");
    script.send(10_000);
    // 2000 bytes each 20 ms.
    assert_eq!(lengths(&mut script), [2000]);
    for _ in 0..4 {
        script.advance(19);
        assert_eq!(lengths(&mut script), []);
        script.advance(1);
        assert_eq!(lengths(&mut script), [2000]);
    }
    script.advance(19);
    script.inject(". 1:1(0) ack 20001 win 65535");
    script.send(10_000);
    assert_eq!(lengths(&mut script), []);
    // The clock jumps: what was due is sent, half a turn early at most, and nothing is lost.
    script.advance(5000);
    let mut sent = lengths(&mut script);
    assert_eq!(sent, [2000]);
    while sent.iter().sum::<usize>() < 10_000 {
        script.advance(10);
        let more = lengths(&mut script);
        assert!(more.len() <= 1);
        sent.extend(more);
    }
    assert!(script.connection.poll_timeout().is_some());
}

#[test]
fn pacing_spreads_the_window_over_the_round_trip() {
    let mut script = Script::established(100, SYN_ACK, |config| {
        config.pacing = true;
        config.slow_start_after_idle = false;
    });
    script.max_segment = 60_000;
    script.send(10_000);
    assert_eq!(lengths(&mut script).len(), 5);
    script.advance(100);
    script.inject(". 1:1(0) ack 10001 win 65535");
    script.send(20_000);
    let begin = script.now;
    let mut sent = 0;
    while sent < 20_000 {
        sent += lengths(&mut script).iter().sum::<usize>();
        script.advance(1);
    }
    // In slow start at twice the rate: half a round trip.
    let took = script.now.saturating_since(begin).as_millis();
    assert!((40..=60).contains(&took), "{took}");
}

/// A program that writes little hides what the path can do: its samples count only if they are high.
#[test]
fn the_delivery_rate_of_a_starved_sender_is_marked() {
    let rate = |script: &Script| {
        let info = script.connection.info(script.now);
        (info.delivery_rate, info.delivery_rate_app_limited)
    };
    let mut script = Script::established(100, SYN_ACK, |_| ());
    // The SYN, in 100 ms.
    assert_eq!(rate(&script), (10_000, true));
    script.send(5000);
    assert_eq!(lengths(&mut script).len(), 5);
    script.advance(100);
    script.inject(". 1:1(0) ack 5001 win 65535");
    assert_eq!(rate(&script), (50_000, true));
    script.send(500);
    assert_eq!(lengths(&mut script).len(), 1);
    script.advance(100);
    script.inject(". 1:1(0) ack 5501 win 65535");
    assert_eq!(rate(&script), (50_000, true));
    // More than the window: what was written first counts as too little, what is sent later does not.
    script.send(30_000);
    assert_eq!(lengths(&mut script).len(), 10);
    script.advance(100);
    script.inject(". 1:1(0) ack 15501 win 65535");
    assert_eq!(rate(&script), (100_000, true));
    assert_eq!(lengths(&mut script).len(), 20);
    script.advance(100);
    script.inject(". 1:1(0) ack 20501 win 65535");
    assert_eq!(rate(&script), (50_000, false));
    // It was late: the window had room and nothing to send. But the path did no less, so it counts.
    script.send(30_000);
    assert_eq!(lengths(&mut script).len(), 10);
    script.advance(100);
    script.inject(". 1:1(0) ack 45501 win 65535");
    assert_eq!(rate(&script), (250_000, true));
}

/// `TCP_CONGESTION` counts at once: the next congestion is answered by the new algorithm.
#[test]
fn a_change_of_the_algorithm_keeps_the_windows() {
    let mut script = Script::with_sack();
    script.send(20_000);
    let mut acked = 1;
    acked += script.transmit().iter().map(|line| line.len).sum::<u32>();
    script.advance(100);
    script.inject(&alloc::format!(". 1:1(0) ack {acked} win 65535"));
    let windows = |script: &Script| {
        let info = script.connection.info(script.now);
        (script.connection.congestion.name(), info.snd_cwnd, info.snd_ssthresh)
    };
    let switch = |script: &mut Script, to: CongestionControl| {
        script.settings.congestion = to;
        script.call(Connection::apply_settings);
    };
    assert_eq!(windows(&script), ("cubic", 20_000, usize::MAX));
    switch(&mut script, CongestionControl::Reno);
    assert_eq!(windows(&script), ("reno", 20_000, usize::MAX));
    // Reno halves, CUBIC would leave seven tenths; what it had to undo is gone with it.
    script.connection.congestion.on_congestion(script.now, 20_000);
    assert_eq!(windows(&script), ("reno", 10_000, 10_000));
    switch(&mut script, CongestionControl::Cubic);
    script.connection.congestion.undo();
    assert_eq!(windows(&script), ("cubic", 10_000, 10_000));
    script.connection.congestion.on_congestion(script.now, 10_000);
    assert_eq!(windows(&script), ("cubic", 7000, 7000));
    // The one in use keeps what it knows.
    switch(&mut script, CongestionControl::Cubic);
    script.connection.congestion.undo();
    assert_eq!(windows(&script), ("cubic", 10_000, 10_000));
    // The same data that times out twice has reduced the threshold once, whoever counts.
    script.connection.congestion.on_timeout(script.now, 10_000);
    switch(&mut script, CongestionControl::Reno);
    script.connection.congestion.on_timeout(script.now, 10_000);
    assert_eq!(windows(&script), ("reno", 1000, 7000));
}

/// An embedder's own algorithm, chosen for a host and then for an open connection.
#[test]
fn another_algorithm_can_be_brought() {
    let fixed =
        |mss, _| alloc::boxed::Box::new(Fixed { window: 3 * mss }) as alloc::boxed::Box<dyn Controller>;
    let custom = CongestionControl::Custom(CustomControl::new("fixed", fixed));
    let mut script = Script::established(100, SYN_ACK, |config| config.congestion = custom);
    script.send(20_000);
    assert_eq!(script.transmit().len(), 3);
    script.advance(100);
    script.inject(". 1:1(0) ack 3001 win 65535");
    assert_eq!(script.transmit().len(), 3);
    let mut choose = |to| {
        script.settings.congestion = to;
        script.call(Connection::apply_settings);
        (script.connection.congestion.name(), script.connection.congestion.cwnd())
    };
    // Whoever comes goes on with the window that is there.
    assert_eq!(choose(CongestionControl::Reno), ("reno", 3000));
    assert_eq!(choose(custom), ("fixed", 3000));
    assert_eq!(choose(CongestionControl::Cubic), ("cubic", 3000));
}

/// A window that nothing but another algorithm's changes.
#[derive(Debug)]
struct Fixed {
    window: usize,
}

impl Controller for Fixed {
    fn cwnd(&self) -> usize {
        self.window
    }

    fn ssthresh(&self) -> usize {
        usize::MAX
    }

    fn on_ack(&mut self, _: &AckEvent) {}
    fn on_congestion(&mut self, _: Instant, _: usize) {}
    fn on_timeout(&mut self, _: Instant, _: usize) {}
    fn on_idle(&mut self, _: Duration, _: Duration, _: bool) {}
    fn undo(&mut self) {}

    fn set_cwnd(&mut self, cwnd: usize) {
        self.window = cwnd;
    }

    fn set_ssthresh(&mut self, _: usize) {}
    fn set_mss(&mut self, _: usize) {}

    fn name(&self) -> &'static str {
        "fixed"
    }
}

/// RFC 7661 §4.3
#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut script = Script::established(100, SYN_ACK, |_| ());
    let mut acked = 1;
    for _ in 0..12 {
        script.send(4000);
        acked += script.transmit().iter().map(|line| line.len).sum::<u32>();
        script.advance(90);
        script.inject(&alloc::format!(". 1:1(0) ack {acked} win 65535"));
    }
    assert_eq!(script.connection.info(script.now).snd_cwnd, 10_000);
}

/// RFC 5681 §4.1: not more often than once per idle time.
#[test]
fn a_restart_happens_once() {
    let mut script = Script::established(100, SYN_ACK, |_| ());
    script.send(30_000);
    let mut acked = 1;
    for _ in 0..2 {
        acked += script.transmit().iter().map(|line| line.len).sum::<u32>();
        script.advance(100);
        script.inject(&alloc::format!(". 1:1(0) ack {acked} win 65535"));
    }
    script.settings.cork = true;
    script.advance(250);
    // Held back: asked again and again whether it can go.
    script.send(100);
    for _ in 0..5 {
        script.expect(&[]);
    }
    assert_eq!(script.connection.info(script.now).snd_cwnd, 40_000);
    script.settings.cork = false;
    for sent in [&[". 30001:30101(100) ack 1"][..], &[], &[]] {
        script.expect(sent);
    }
    assert_eq!(script.connection.info(script.now).snd_cwnd, 20_000);
}

/// A controller that keeps one window whatever happens, and all samples.
#[derive(Clone, Debug, Default)]
struct Model(alloc::sync::Arc<std::sync::Mutex<Vec<RateSample>>>);

impl Controller for Model {
    fn cwnd(&self) -> usize {
        8000
    }

    fn ssthresh(&self) -> usize {
        usize::MAX
    }

    fn on_sample(&mut self, sample: &RateSample) -> bool {
        self.0.lock().unwrap().push(*sample);
        true
    }

    fn on_ack(&mut self, _: &AckEvent) {
        panic!("it has decided");
    }

    fn on_congestion(&mut self, _: Instant, _: usize) {}
    fn on_timeout(&mut self, _: Instant, _: usize) {}
    fn on_idle(&mut self, _: Duration, _: Duration, _: bool) {}
    fn undo(&mut self) {}
    fn set_cwnd(&mut self, _: usize) {}
    fn set_ssthresh(&mut self, _: usize) {}
    fn set_mss(&mut self, _: usize) {}

    fn name(&self) -> &'static str {
        "model"
    }
}

/// draft-cheng-iccrg-delivery-rate-estimation §3
#[test]
fn a_model_of_the_path_hears_of_every_delivery() {
    let mut script = Script::established(100, SYN_ACK, |_| ());
    let model = Model::default();
    script.connection.congestion = Congestion::Custom(alloc::boxed::Box::new(model.clone()));
    script.send(20_000);
    assert_eq!(script.transmit().len(), 8);
    script.advance(100);
    script.inject(". 1:1(0) ack 4001 win 65535");
    assert_eq!(script.transmit().len(), 4);
    // The fifth is lost: the rest of the first flight arrives, then the four that followed.
    script.advance(50);
    script.inject(". 1:1(0) ack 4001 win 65535 <nop,nop,sack 5001:8001>");
    script.inject(". 1:1(0) ack 4001 win 65535 <nop,nop,sack 5001:12001>");
    let samples = core::mem::take(&mut *model.0.lock().unwrap());
    let rates: Vec<_> = samples.iter().map(|sample| (sample.delivered, sample.interval)).collect();
    let millis = |millis| Some(Duration::from_millis(millis));
    // The last four were acknowledged within 50 ms, but it took 100 ms to send what was delivered meanwhile.
    assert_eq!(rates, [(4000, millis(100)), (7000, millis(150)), (7000, millis(100))]);
    let counts = samples.iter().map(|sample| {
        let &RateSample { newly_delivered, newly_lost, prior_in_flight, in_flight, .. } = sample;
        (newly_delivered, newly_lost, prior_in_flight, in_flight)
    });
    let counts: Vec<_> = counts.collect();
    assert_eq!(counts, [(4000, 0, 8000, 4000), (3000, 1000, 8000, 4000), (4000, 0, 4000, 0)]);
    let totals: Vec<_> =
        samples.iter().map(|sample| (sample.prior_delivered, sample.total_delivered)).collect();
    assert_eq!(totals, [(1000, 5000), (1000, 8000), (5000, 12_000)]);
    assert_eq!((samples[0].rtt, samples[0].app_limited, samples[0].ece), (millis(100), true, false));
    // In recovery, too, the window is the model's.
    assert_eq!(script.connection.congestion.cwnd(), 8000);
    assert_eq!(script.transmit().len(), 8);
}

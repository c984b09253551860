//! Two connections over a link that loses, duplicates and reorders, driven by a seed.
//!
//! What must hold: every byte arrives once and in order, both sides end, nothing stands still for longer
//! than a retransmission timeout, and all memory is given back.

use super::*;
use sockeye_packet::Rng;

/// How bad the link is.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    loss: f64,
    duplicate: f64,
    reorder: f64,
    delay: Duration,
}

/// A segment on its way.
struct Flight {
    at: Instant,
    order: u64,
    to: usize,
    segment: Segment,
}

struct End {
    connection: Connection,
    budget: Budget,
    spares: Spares,
    counters: Counters,
    config: TcpConfig,
    settings: TcpSettings,
    total: usize,
    written: usize,
    read: usize,
    closed: bool,
    finished: bool,
}

struct Pair {
    ends: [End; 2],
    now: Instant,
    flights: Vec<Flight>,
    order: u64,
    rng: Rng,
    conditions: Conditions,
    max_segment: usize,
    /// When the last byte was read, and the longest that took.
    progress: Instant,
    longest_stall: Duration,
    sent: usize,
}

impl Pair {
    /// Both ends open at once: a simultaneous open, unless the first SYN is answered in time.
    fn new(seed: u64, conditions: Conditions, total: usize, change: impl Fn(&mut TcpConfig)) -> Pair {
        let mut rng = Rng::from_u64(seed);
        let mut config = TcpConfig::default();
        change(&mut config);
        let now = Instant::from_millis(1);
        let ends = [0, 1].map(|_| {
            let settings = TcpSettings::new(&config);
            let open = OpenParams {
                config: &config,
                settings: &settings,
                iss: SeqNumber(u32::MAX - (rng.next_u32() >> 16)),
                ts_offset: rng.next_u32(),
                local_mss: 1460,
                path_mss: 1460,
                default_mss: 536,
            };
            End {
                connection: Connection::connect(now, &open),
                budget: Budget::new(64 << 20),
                spares: Spares::default(),
                counters: Counters::default(),
                config: config.clone(),
                settings: settings.clone(),
                total,
                written: 0,
                read: 0,
                closed: false,
                finished: false,
            }
        });
        let max_segment = if rng.chance(0.5) { 65_000 } else { 0 };
        Pair {
            ends,
            now,
            flights: Vec::new(),
            order: 0,
            rng,
            conditions,
            max_segment,
            progress: now,
            longest_stall: Duration::ZERO,
            sent: 0,
        }
    }

    fn user(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let mut resources = Resources {
            budget: &mut end.budget,
            spares: &mut end.spares,
            counters: &mut end.counters,
            config: &end.config,
            settings: &end.settings,
            max_segment: self.max_segment,
        };
        while end.written < end.total {
            let len = (1 + self.rng.below(20_000) as usize).min(end.total - end.written);
            let mut chunks = VecDeque::from([stream(end.written, len)]);
            match end.connection.send(self.now, &mut chunks, SendFlags::default(), &mut resources) {
                Ok(taken) => end.written += taken,
                Err(Error::WouldBlock) => break,
                Err(error) => panic!("send: {error}"),
            }
        }
        if end.written == end.total && !end.closed {
            end.connection.shutdown(crate::Shutdown::Write, &mut resources);
            end.closed = true;
        }
        loop {
            let max = 1 + self.rng.below(50_000) as usize;
            match end.connection.recv(self.now, max, RecvFlags::default(), &mut resources) {
                Ok(data) if data.is_empty() => {
                    end.finished = true;
                    break;
                }
                Ok(data) => {
                    assert_eq!(data.to_vec(), *stream(end.read, data.len()), "side {side} at {}", end.read);
                    end.read += data.len();
                    self.longest_stall = self.longest_stall.max(self.now - self.progress);
                    self.progress = self.now;
                }
                Err(Error::WouldBlock) => break,
                Err(error) => panic!("recv: {error}"),
            }
        }
    }

    fn transmit(&mut self, side: usize) {
        loop {
            let end = &mut self.ends[side];
            let mut resources = Resources {
                budget: &mut end.budget,
                spares: &mut end.spares,
                counters: &mut end.counters,
                config: &end.config,
                settings: &end.settings,
                max_segment: self.max_segment,
            };
            let Some(segment) = end.connection.poll_transmit(self.now, &mut resources) else { break };
            self.sent += 1;
            assert!(self.sent < 200_000, "too many segments");
            self.carry(1 - side, &segment);
        }
    }

    /// Gives a segment to the link, each wire segment its own fate.
    fn carry(&mut self, to: usize, segment: &Segment) {
        let size = usize::from(segment.gso_size);
        if size == 0 {
            self.carry_one(to, segment);
            return;
        }
        let len = segment.payload.len();
        for start in (0..len).step_by(size) {
            let end = (start + size).min(len);
            let mut part = segment.clone();
            part.gso_size = 0;
            part.header.seq = segment.header.seq.wrapping_add(start as u32);
            part.payload = segment.payload.slice(start, end);
            if end < len {
                part.header.flags =
                    part.header.flags & !(sockeye_wire::TcpFlags::FIN | sockeye_wire::TcpFlags::PSH);
            }
            self.carry_one(to, &part);
        }
    }

    fn carry_one(&mut self, to: usize, segment: &Segment) {
        let Conditions { loss, duplicate, reorder, delay } = self.conditions;
        let copies = if self.rng.chance(loss) { 0 } else { 1 + usize::from(self.rng.chance(duplicate)) };
        for _ in 0..copies {
            let extra = if self.rng.chance(reorder) { delay * 2 } else { Duration::ZERO };
            self.order += 1;
            let (at, order) = (self.now + delay + extra, self.order);
            self.flights.push(Flight { at, order, to, segment: segment.clone() });
        }
    }

    /// Runs until both ends are done; panics when that takes longer than `limit`.
    fn run(&mut self, limit: Duration) {
        let end_of_time = self.now + limit;
        for _ in 0..2_000_000 {
            for side in 0..2 {
                self.user(side);
                self.transmit(side);
            }
            if self.is_done() {
                return;
            }
            let arrival = self.flights.iter().map(|flight| flight.at).min();
            let timer =
                self.ends.iter().filter_map(|end| end.connection.poll_timeout()).map(|(at, _)| at).min();
            let next = arrival.into_iter().chain(timer).min().expect("nothing will ever happen");
            self.now = self.now.max(next);
            assert!(
                self.now < end_of_time,
                "not done in time: {:?}",
                self.ends.each_ref().map(|e| (e.read, e.connection.info(self.now)))
            );
            self.deliver();
        }
        panic!("too many steps");
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (mut due, rest): (Vec<Flight>, Vec<Flight>) =
            core::mem::take(&mut self.flights).into_iter().partition(|flight| flight.at <= now);
        self.flights = rest;
        due.sort_by_key(|flight| (flight.at, flight.order));
        for mut flight in due {
            let end = &mut self.ends[flight.to];
            let mut resources = Resources {
                budget: &mut end.budget,
                spares: &mut end.spares,
                counters: &mut end.counters,
                config: &end.config,
                settings: &end.settings,
                max_segment: self.max_segment,
            };
            let answer = end.connection.on_segment(now, &mut flight.segment, &mut resources);
            if let Some(header) = answer {
                // Only a connection that is over has anything to reset.
                assert_eq!(end.connection.state(), State::Closed, "answered {}", show(&header, 0));
                self.carry_one(1 - flight.to, &Segment::control(header));
            }
        }
        for end in &mut self.ends {
            let mut resources = Resources {
                budget: &mut end.budget,
                spares: &mut end.spares,
                counters: &mut end.counters,
                config: &end.config,
                settings: &end.settings,
                max_segment: self.max_segment,
            };
            if end.connection.poll_timeout().is_some_and(|(at, _)| at <= now) {
                end.connection.on_timeout(now, &mut resources);
            }
        }
    }

    fn is_done(&self) -> bool {
        self.ends.iter().all(|end| {
            end.read == end.total
                && end.finished
                && matches!(end.connection.state(), State::Closed | State::TimeWait)
        })
    }

    fn release(&mut self) {
        for end in &mut self.ends {
            end.connection.release(&mut end.budget);
            assert_eq!(end.budget.used(), 0);
        }
    }
}

#[test]
fn clean_links_never_retransmit() {
    for seed in 0..40 {
        let conditions = Conditions { delay: Duration::from_millis(seed % 30 + 1), ..Conditions::default() };
        let mut pair = Pair::new(seed, conditions, 200_000, |_| {});
        pair.run(Duration::from_mins(1));
        for end in &pair.ends {
            assert_eq!(end.connection.info(pair.now).total_retrans, 0, "seed {seed}");
        }
        assert!(pair.longest_stall < Duration::from_millis(400), "seed {seed}: {:?}", pair.longest_stall);
        pair.release();
    }
}

#[test]
fn bad_links_deliver_every_byte_once_and_in_order() {
    for seed in 0..300 {
        let conditions = Conditions {
            loss: [0.0, 0.01, 0.05, 0.2][seed as usize % 4],
            duplicate: [0.0, 0.05][seed as usize / 4 % 2],
            reorder: [0.0, 0.05, 0.3][seed as usize / 8 % 3],
            delay: Duration::from_micros([50, 5_000, 100_000][seed as usize / 24 % 3]),
        };
        let mut pair = Pair::new(seed, conditions, 100_000, |config| {
            config.sack = seed % 5 != 0;
            config.timestamps = seed % 7 != 0;
            config.window_scaling = seed % 11 != 0;
            config.congestion =
                if seed % 2 == 0 { crate::CongestionControl::Cubic } else { crate::CongestionControl::Reno };
        });
        pair.run(Duration::from_mins(20));
        pair.release();
    }
}

//! Two machines and a bad path between them: whatever is lost, doubled or overtaken, the bytes arrive, both
//! ends close in good order, and no memory stays charged.

use super::*;
use sockeye_packet::Rng;

/// What the path does to a segment, in percent, each way.
#[derive(Clone, Copy, Debug)]
struct Path {
    loss: u32,
    duplicate: u32,
    reorder: u32,
    delay: Duration,
}

struct End {
    connection: Connection,
    budget: Budget,
    spares: Spares,
    counters: Counters,
    settings: TcpSettings,
    sent: usize,
    received: usize,
    closed: bool,
}

struct Pair {
    now: Instant,
    config: TcpConfig,
    ends: [End; 2],
    /// Segments on their way, with the end they go to; unordered, few.
    path: Vec<(Instant, u64, usize, Segment)>,
    count: u64,
    max_segment: usize,
    rng: Rng,
}

impl Pair {
    fn new(config: TcpConfig, max_segment: usize, seed: u8) -> Pair {
        let now = Instant::from_millis(5);
        let end = |iss: u32| {
            let settings = TcpSettings::new(&config);
            let open = OpenParams {
                config: &config,
                settings: &settings,
                iss: SeqNumber(iss),
                ts_offset: iss,
                local_mss: 1460,
                path_mss: 1460,
                default_mss: 536,
            };
            let connection = Connection::connect(now, &open);
            let (budget, spares, counters) = (Budget::new(16 << 20), Spares::default(), Counters::default());
            End { connection, budget, spares, counters, settings, sent: 0, received: 0, closed: false }
        };
        // Sequence numbers wrap early on one side, and change sign on the other.
        let ends = [end(u32::MAX - 5_000), end((1 << 31) - 5_000)];
        Pair {
            now,
            config,
            ends,
            path: Vec::new(),
            count: 0,
            max_segment,
            rng: Rng::from_u64(u64::from(seed)),
        }
    }

    fn call<T>(
        &mut self,
        at: usize,
        call: impl FnOnce(&mut Connection, Instant, &mut Resources<'_>) -> T,
    ) -> T {
        let end = &mut self.ends[at];
        let mut resources = Resources {
            budget: &mut end.budget,
            spares: &mut end.spares,
            counters: &mut end.counters,
            config: &self.config,
            settings: &end.settings,
            max_segment: self.max_segment,
        };
        call(&mut end.connection, self.now, &mut resources)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.below(100) < u64::from(percent)
    }

    /// Everything that can be sent now goes on its way, or not.
    fn transmit(&mut self, path: Path) {
        for at in 0..2 {
            while let Some(segment) = self.call(at, Connection::poll_transmit) {
                assert!(self.path.len() < 20_000, "it does not stop sending");
                let copies =
                    if self.chance(path.loss) { 0 } else { 1 + u32::from(self.chance(path.duplicate)) };
                for _ in 0..copies {
                    let late = if self.chance(path.reorder) { path.delay / 2 } else { Duration::ZERO };
                    self.count += 1;
                    self.path.push((self.now + path.delay + late, self.count, 1 - at, segment.clone()));
                }
            }
        }
    }

    /// The users write, read and close, a little at a time; says whether there was something to do.
    fn use_sockets(&mut self, total: usize) -> bool {
        let before = self.ends.each_ref().map(|end| (end.sent, end.received, end.closed));
        for at in 0..2 {
            let (sent, received) = (self.ends[at].sent, self.ends[at].received);
            let state = self.ends[at].connection.state();
            if matches!(state, State::SynSent | State::SynReceived) {
                continue;
            }
            if sent < total {
                let mut chunks = VecDeque::from([Chunk::from(stream(sent, (total - sent).min(50_000)))]);
                let taken = self.call(at, |connection, now, resources| {
                    connection.send(now, &mut chunks, SendFlags::default(), resources)
                });
                self.ends[at].sent += taken.unwrap_or(0);
            }
            let read = self.call(at, |connection, now, resources| {
                connection.recv(now, 100_000, RecvFlags::default(), resources)
            });
            if let Ok(payload) = read {
                assert_eq!(payload.to_vec(), stream(received, payload.len()));
                self.ends[at].received += payload.len();
            }
            if self.ends[at].sent == total && !self.ends[at].closed {
                self.call(at, |connection, _, resources| connection.shutdown(Shutdown::Write, resources));
                self.ends[at].closed = true;
            }
        }
        before != self.ends.each_ref().map(|end| (end.sent, end.received, end.closed))
    }

    /// Time goes on to the next thing that happens; `false` when nothing will.
    fn step(&mut self) -> bool {
        let timeouts = self.ends.iter().filter_map(|end| end.connection.poll_timeout().map(|(at, _)| at));
        let Some(next) = timeouts.chain(self.path.iter().map(|(at, ..)| *at)).min() else { return false };
        self.now = self.now.max(next);
        self.path.sort_by_key(|&(at, count, ..)| (at, count));
        let due = self.path.partition_point(|(at, ..)| *at <= self.now);
        for (_, _, to, mut segment) in self.path.drain(..due).collect::<Vec<_>>() {
            let answer = self
                .call(to, |connection, now, resources| connection.on_segment(now, &mut segment, resources));
            if let Some(header) = answer {
                let reset = Segment::control(header);
                self.count += 1;
                self.path.push((self.now, self.count, 1 - to, reset));
            }
        }
        for at in 0..2 {
            if self.ends[at].connection.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
                self.call(at, Connection::on_timeout);
            }
        }
        true
    }

    /// Transfers `total` bytes each way; returns how long it took.
    fn run(mut self, total: usize, path: Path) -> Duration {
        let begin = self.now;
        let mut took = None;
        for _ in 0..200_000 {
            let used = self.use_sockets(total);
            self.transmit(path);
            if took.is_none() && self.ends.iter().all(|end| end.received == total) {
                took = Some(self.now.saturating_since(begin));
            }
            if !self.step() && !used {
                break;
            }
        }
        for (i, end) in self.ends.iter_mut().enumerate() {
            let info = end.connection.info(self.now);
            assert_eq!(end.received, total, "end {i} of {path:?} at {}: {info:?}", self.now);
            assert_eq!(end.connection.take_error(), None, "end {i} of {path:?}");
            assert_eq!(info.state, State::Closed, "end {i} of {path:?}");
            end.connection.release(&mut end.budget);
            assert_eq!(end.budget.used(), 0, "end {i} of {path:?}");
        }
        took.unwrap_or_default()
    }
}

fn paths() -> impl Iterator<Item = Path> {
    let delays = [Duration::from_micros(50), Duration::from_millis(20)];
    [0, 1, 5, 20].into_iter().flat_map(move |loss| {
        delays.into_iter().flat_map(move |delay| {
            [0, 5].into_iter().map(move |odd| Path { loss, duplicate: odd, reorder: odd, delay })
        })
    })
}

fn all_paths(setup: impl Fn(&mut TcpConfig), max_segment: usize) {
    for (seed, path) in (1..).zip(paths()) {
        let mut config = TcpConfig::default();
        setup(&mut config);
        let total = if path.loss > 5 { 60_000 } else { 400_000 };
        let took = Pair::new(config, max_segment, seed).run(total, path);
        std::println!("{path:?} took {took:?}");
    }
}

#[test]
fn with_everything() {
    all_paths(|_| (), 0);
}

#[test]
fn with_super_segments() {
    all_paths(|_| (), 65_000);
}

#[test]
fn without_options() {
    all_paths(
        |config| {
            config.sack = false;
            config.timestamps = false;
            config.window_scaling = false;
        },
        0,
    );
}

#[test]
fn with_small_buffers() {
    all_paths(
        |config| {
            config.recv_buffer.default = 4096;
            config.recv_buffer.max = 4096;
            config.send_buffer.default = 4096;
            config.send_buffer.max = 4096;
            config.congestion = crate::CongestionControl::Reno;
        },
        0,
    );
}

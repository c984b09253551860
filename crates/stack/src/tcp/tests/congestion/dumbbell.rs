//! Bulk transfers through one bottleneck, under virtual time: a serial line of a rate, a drop-tail queue in
//! front of it, the same delay behind it and back.

use super::super::*;
use crate::tcp::spare::Spares;
use sockeye_packet::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The path that all flows share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bottleneck {
    /// Bits per second; 0 for no limit.
    pub(super) rate: u64,
    /// Bytes that wait for the line at most.
    pub(super) queue: u64,
    /// Of the path without its queue.
    pub(super) rtt: Duration,
    /// Every so many-th data segment is lost; 0 for none.
    pub(super) lose_every: u64,
    /// Segments that would have to wait longer are marked, if they can be.
    pub(super) mark_above: Option<u64>,
}

struct End {
    connection: Connection,
    budget: Budget,
    spares: Spares,
    counters: Counters,
}

/// One transfer: its sender always has more to send, its receiver reads at once.
struct Flow {
    config: TcpConfig,
    settings: TcpSettings,
    ends: [End; 2],
    start: Instant,
    started: bool,
    received: u64,
}

pub(super) struct Dumbbell {
    pub(super) now: Instant,
    path: Bottleneck,
    flows: Vec<Flow>,
    /// When the line is free.
    free_at: Instant,
    events: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    segments: Vec<Option<(usize, usize, Segment)>>,
    spare_slots: Vec<usize>,
    count: u64,
    rng: Rng,
    data: Chunk,
    /// Data segments that entered, were lost to `lose_every`, and found the queue full.
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) overflowed: u64,
    pub(super) marked: u64,
}

const BUFFER: u32 = 16 << 20;

impl Dumbbell {
    pub(super) fn new(path: Bottleneck, seed: u64) -> Dumbbell {
        Dumbbell {
            now: Instant::from_millis(1),
            path,
            flows: Vec::new(),
            free_at: Instant::ZERO,
            events: BinaryHeap::new(),
            segments: Vec::new(),
            spare_slots: Vec::new(),
            count: 0,
            rng: Rng::from_u64(seed),
            data: Chunk::from(alloc::vec![0; 1 << 18]),
            sent: 0,
            lost: 0,
            overflowed: 0,
            marked: 0,
        }
    }

    /// Adds a transfer that begins at `start`.
    pub(super) fn flow(&mut self, start: Instant, config: &TcpConfig) {
        let settings =
            TcpSettings { recv_buffer: Some(BUFFER), send_buffer: Some(BUFFER), ..TcpSettings::new(config) };
        let config = TcpConfig {
            recv_buffer: crate::BufferSizes { max: BUFFER as usize, ..config.recv_buffer },
            ..config.clone()
        };
        let end = |iss: u32| {
            let open = OpenParams {
                config: &config,
                settings: &settings,
                iss: SeqNumber(iss),
                ts_offset: 0,
                local_mss: 1460,
                path_mss: 1460,
                default_mss: 536,
            };
            // Both open, at once: there is no listener here.
            let connection = Connection::connect(start, &open);
            let (budget, spares, counters) = (Budget::new(1 << 30), Spares::default(), Counters::default());
            End { connection, budget, spares, counters }
        };
        let ends = [end(self.rng.next_u32()), end(self.rng.next_u32())];
        self.flows.push(Flow { config, settings, ends, start, started: false, received: 0 });
    }

    /// Bytes that a flow has delivered so far.
    pub(super) fn received(&self, flow: usize) -> u64 {
        self.flows[flow].received
    }

    /// What its sender knows.
    pub(super) fn info(&self, flow: usize) -> crate::TcpInfo {
        self.flows[flow].ends[0].connection.info(self.now)
    }

    fn space(&self, flow: usize) -> usize {
        let Flow { config, settings, ends, .. } = &self.flows[flow];
        ends[0].connection.send_space(settings, config)
    }

    fn call<T>(
        &mut self,
        flow: usize,
        end: usize,
        call: impl FnOnce(&mut Connection, Instant, &mut Resources<'_>) -> T,
    ) -> T {
        let Flow { config, settings, ends, .. } = &mut self.flows[flow];
        let End { connection, budget, spares, counters } = &mut ends[end];
        let mut resources = Resources { budget, spares, counters, config, settings, max_segment: 0 };
        call(connection, self.now, &mut resources)
    }

    /// Runs until `until`; `each` is called before time moves on, with the time to which it will.
    pub(super) fn run(&mut self, until: Instant, mut each: impl FnMut(&Dumbbell, Instant)) {
        loop {
            let wakes = self.flows.iter().flat_map(|flow| {
                let timers = flow.ends.iter().filter_map(|end| end.connection.poll_timeout());
                timers.map(|(at, _)| at.max(flow.start)).chain((!flow.started).then_some(flow.start))
            });
            let segment = self.events.peek().map(|Reverse((at, ..))| *at);
            let next = wakes.chain(segment).min().unwrap_or(until).max(self.now).min(until);
            each(self, next);
            if next >= until {
                self.now = until;
                return;
            }
            self.now = next;
            assert!(self.count < 50_000_000, "it never ends");
            while let Some(Reverse((at, _, slot))) = self.events.peek().copied()
                && at <= self.now
            {
                self.events.pop();
                self.spare_slots.push(slot);
                let Some((flow, end, mut segment)) = self.segments[slot].take() else { continue };
                let reset = self.call(flow, end, |connection, now, resources| {
                    connection.on_segment(now, &mut segment, resources)
                });
                assert!(reset.is_none());
                self.turn(flow);
            }
            for flow in 0..self.flows.len() {
                self.wake(flow);
            }
        }
    }

    fn wake(&mut self, flow: usize) {
        if self.flows[flow].start > self.now {
            return;
        }
        let mut turn = !core::mem::replace(&mut self.flows[flow].started, true);
        for end in 0..2 {
            let due = self.flows[flow].ends[end].connection.poll_timeout();
            if due.is_some_and(|(at, _)| at <= self.now) {
                self.call(flow, end, Connection::on_timeout);
                turn = true;
            }
        }
        if turn {
            self.turn(flow);
        }
    }

    /// The programs write and read, and what can be sent is.
    fn turn(&mut self, flow: usize) {
        let data = self.data.clone();
        let open = self.flows[flow].ends[0].connection.state() == State::Established;
        while open && self.space(flow) >= data.len() {
            let mut chunks = VecDeque::from([data.clone()]);
            let sent = self.call(flow, 0, |connection, now, resources| {
                connection.send(now, &mut chunks, SendFlags::default(), resources)
            });
            assert_eq!(sent, Ok(data.len()));
        }
        while self.flows[flow].ends[1].connection.recv_queued() > 0 {
            let read = self.call(flow, 1, |connection, now, resources| {
                connection.recv(now, 1 << 20, RecvFlags::default(), resources)
            });
            self.flows[flow].received += read.map_or(0, |payload| payload.len() as u64);
        }
        for end in 0..2 {
            while let Some(segment) = self.call(flow, end, Connection::poll_transmit) {
                self.forward(flow, 1 - end, segment);
            }
        }
    }

    fn forward(&mut self, flow: usize, to: usize, mut segment: Segment) {
        // Hosts are not exact to the nanosecond: else drop-tail queues would lock flows in step.
        let jitter = Duration::from_nanos(self.rng.below(100_000));
        let mut leaves = self.now;
        if !segment.payload.is_empty() {
            self.sent += 1;
            if self.path.lose_every > 0 && self.sent.is_multiple_of(self.path.lose_every) {
                self.lost += 1;
                return;
            }
            let len = (segment.payload.len() + segment.header.len() + 20) as u64;
            if self.path.rate > 0 {
                let wait = self.free_at.saturating_since(self.now);
                let backlog = (wait.as_nanos() * u128::from(self.path.rate) / 8_000_000_000) as u64;
                if backlog + len > self.path.queue {
                    self.overflowed += 1;
                    return;
                }
                if self.path.mark_above.is_some_and(|limit| backlog > limit) && segment.ecn & 3 != 0 {
                    segment.ecn |= 3;
                    self.marked += 1;
                }
                self.free_at =
                    self.free_at.max(self.now) + Duration::from_nanos(len * 8_000_000_000 / self.path.rate);
                leaves = self.free_at;
            }
        } else if self.path.rate > 0 {
            leaves += jitter;
        }
        let slot = self.spare_slots.pop().unwrap_or_else(|| {
            self.segments.push(None);
            self.segments.len() - 1
        });
        self.segments[slot] = Some((flow, to, segment));
        self.count += 1;
        self.events.push(Reverse((leaves + self.path.rtt / 2, self.count, slot)));
    }
}

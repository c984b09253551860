//! Many connections between two stacks in one thread: opened and closed, active by turns, idle.

use std::cell::OnceCell;
use std::process::Command;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::peers::{smoltcp, stack};
use crate::row::{Figure, Row, Size};

/// Connections that are opened and closed in one run: fewer than a client has ports.
const OPENED: u32 = 20_000;
const REQUESTS: usize = 20_000;
const FEW: usize = 10;
const MANY: usize = 10_000;
/// What an idle established end may cost, in bytes.
const LIMIT: f64 = 1024.0;

pub(super) fn rows(size: Size) -> Vec<Row> {
    let mut rows = vec![opened(), active()];
    rows.extend(idle(match size {
        Size::Full => 1_000_000,
        Size::Short => 100_000,
    }));
    rows
}

fn opened() -> Row {
    let per_second = |spent: std::time::Duration| Ok(f64::from(OPENED) / spent.as_secs_f64());
    Row {
        name: "connect and both closes",
        unit: "/s",
        peer: "smoltcp",
        goal: 0.6,
        smaller: false,
        ours: Box::new(move || per_second(stack::Pair::connected(&stack::Link::MEMORY).connections(OPENED))),
        theirs: Box::new(move || {
            per_second(smoltcp::Pair::connected(smoltcp::Link::MEMORY).connections(OPENED))
        }),
    }
}

/// A request of 1 KiB and an answer of as much, on many connections in turn, beside few.
fn active() -> Row {
    let requests = |flows| {
        let mut made = None;
        move || {
            let (pair, flows) = made.get_or_insert_with(|| {
                let mut pair = stack::Pair::connected(&stack::Link::MEMORY);
                let flows = pair.flows(flows);
                // Each is warm: its buffers are there.
                pair.requests(&flows, flows.len());
                (pair, flows)
            });
            Ok(REQUESTS as f64 / pair.requests(flows, REQUESTS).as_secs_f64())
        }
    };
    Row {
        name: "requests of 1 KiB, 10,000 flows",
        unit: "/s",
        peer: "ours, 10 flows",
        goal: 0.8,
        smaller: false,
        ours: Box::new(requests(MANY)),
        theirs: Box::new(requests(FEW)),
    }
}

/// What a process says that holds many idle connections.
#[derive(Debug, Serialize, Deserialize)]
struct Idle {
    /// Resident bytes, by all that the ends brought.
    bytes_per_end: f64,
    /// The time of a round trip on one of them in microseconds, and on the only connection of another pair, in turns.
    round_trips: Vec<(f64, f64)>,
}

/// How often round trips are timed there.
const TIMES: usize = 9;
const ROUNDS: u32 = 5_000;

fn idle(ends: usize) -> [Row; 2] {
    let said = Rc::new(OnceCell::new());
    let figure = move |of: fn(&Idle) -> f64| {
        let said: Rc<OnceCell<Result<Idle, String>>> = Rc::clone(&said);
        Box::new(move || said.get_or_init(|| ask(ends)).as_ref().map(of).map_err(Clone::clone))
    };
    [
        Row {
            name: "memory of an idle end",
            unit: "B",
            peer: "1,024 B",
            goal: 1.0,
            smaller: true,
            ours: figure(|idle| idle.bytes_per_end),
            theirs: Box::new(|| Ok(LIMIT)),
        },
        Row {
            name: "round trip, 1 B, 1,000,000 idle ends",
            unit: "µs",
            peer: "ours alone",
            goal: 0.8,
            smaller: true,
            ours: figure(|idle| idle.median(|(among, _)| *among)),
            theirs: figure(|idle| idle.median(|(_, alone)| *alone)),
        },
    ]
}

impl Idle {
    fn median(&self, which: fn(&(f64, f64)) -> f64) -> f64 {
        crate::row::median(&self.round_trips.iter().map(which).collect::<Vec<_>>())
    }
}

/// Has a process of its own hold them, in which nothing else takes memory.
fn ask(ends: usize) -> Result<Idle, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program).args(["--idle-ends", &ends.to_string()]).output();
    let output = output.map_err(|error| format!("can't start a process: {error}"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// What that process does: as many ends, each of which has sent a byte and received one and has been silent since.
pub(crate) fn hold_idle(ends: usize) -> Result<String, String> {
    let mut alone = stack::Pair::by_steps(&stack::Link::MEMORY);
    let mut among = stack::Pair::by_steps(&stack::Link::MEMORY);
    let before = resident()?;
    for _ in 0..ends / 2 {
        among.add_idle();
    }
    among.rest();
    let bytes_per_end = (resident()? - before) / ends as f64;
    let time = |pair: &mut stack::Pair| pair.round_trips(ROUNDS).as_secs_f64() * 1e6 / f64::from(ROUNDS);
    let round_trips = (0..TIMES).map(|_| (time(&mut among), time(&mut alone))).collect();
    serde_json::to_string(&Idle { bytes_per_end, round_trips }).map_err(|error| error.to_string())
}

/// Bytes of this process that are resident.
fn resident() -> Figure {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let kib = kib.and_then(|kib| kib.trim().parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0).ok_or_else(|| "/proc/self/status says nothing of VmRSS".to_string())
}

//! One byte there and back between two stacks in one thread, alone and among other connections. smoltcp is always
//! alone: it looks at every socket for every packet.

use crate::peers::{smoltcp, stack};
use crate::row::Row;

const ROUNDS: u32 = 20_000;

pub(super) fn rows() -> Vec<Row> {
    let row = |name, others: usize, goal| Row {
        name,
        unit: "µs",
        peer: "smoltcp alone",
        goal,
        smaller: true,
        ours: {
            let mut pair = None;
            Box::new(move || {
                let pair = pair.get_or_insert_with(|| stack::Pair::among(&stack::Link::MEMORY, others));
                Ok(microseconds(pair.round_trips(ROUNDS)))
            })
        },
        theirs: {
            let mut pair = None;
            Box::new(move || {
                let pair = pair.get_or_insert_with(|| smoltcp::Pair::connected(smoltcp::Link::MEMORY));
                Ok(microseconds(pair.round_trips(ROUNDS)))
            })
        },
    };
    vec![
        row("round trip, 1 B, alone", 0, 1.0),
        row("round trip, 1 B, 10,000 others", 10_000, 1.0),
        row("round trip, 1 B, 100,000 others", 100_000, 0.8),
    ]
}

fn microseconds(rounds: std::time::Duration) -> f64 {
    rounds.as_secs_f64() * 1e6 / f64::from(ROUNDS)
}

//! One byte there and back between two stacks in one thread, alone and among other connections.

use crate::peers::{smoltcp, stack};
use crate::row::Row;

const ROUNDS: u32 = 20_000;

pub(super) fn rows() -> Vec<Row> {
    let row = |name, others: usize, rounds: u32, goal| Row {
        name,
        unit: "µs",
        peer: "smoltcp",
        goal,
        smaller: true,
        ours: {
            let mut pair = None;
            Box::new(move || {
                let link = stack::Link { mtu: 1500, checksums: false, super_segments: true };
                let pair = pair.get_or_insert_with(|| stack::Pair::among(&link, others));
                Ok(pair.round_trips(ROUNDS).as_secs_f64() * 1e6 / f64::from(ROUNDS))
            })
        },
        theirs: {
            let mut pair = None;
            Box::new(move || {
                let link = smoltcp::Link { mtu: 1500, checksums: false };
                let pair = pair.get_or_insert_with(|| smoltcp::Pair::among(link, others));
                Ok(pair.round_trips(rounds).as_secs_f64() * 1e6 / f64::from(rounds))
            })
        },
    };
    vec![
        row("round trip, 1 B, alone", 0, ROUNDS, 1.0),
        // smoltcp looks at every socket for every packet: fewer rounds keep the run short.
        row("round trip, 1 B, 10,000 others", 10_000, 200, 1.0),
    ]
}

//! Bulk transfer between two stacks in one thread.

use crate::peers::{smoltcp, stack};
use crate::row::Row;

/// Bytes of one transfer: long enough for the windows to open, short enough for many runs.
const BYTES: usize = 1 << 30;

pub(super) fn rows() -> Vec<Row> {
    let row = |name, goal, ours: stack::Link, theirs: smoltcp::Link| Row {
        name,
        unit: "Gbit/s",
        peer: "smoltcp",
        goal,
        smaller: false,
        ours: Box::new(move || Ok(gigabits(stack::Pair::connected(&ours).transfer(BYTES)))),
        theirs: Box::new(move || Ok(gigabits(smoltcp::Pair::connected(theirs).transfer(BYTES)))),
    };
    vec![
        row(
            "bulk, MTU 1500, checksums",
            1.3,
            stack::Link { mtu: 1500, checksums: true, super_segments: false },
            smoltcp::Link { mtu: 1500, checksums: true },
        ),
        row(
            "bulk, MTU 1500, no checksums",
            1.3,
            stack::Link { mtu: 1500, checksums: false, super_segments: false },
            smoltcp::Link { mtu: 1500, checksums: false },
        ),
        row(
            "bulk, super-segments, no checksums",
            1.3,
            stack::Link { mtu: 1500, checksums: false, super_segments: true },
            smoltcp::Link { mtu: 65535, checksums: false },
        ),
    ]
}

fn gigabits(time: std::time::Duration) -> f64 {
    BYTES as f64 * 8.0 / time.as_secs_f64() / 1e9
}

//! Bulk transfer between two stacks in one thread.

use std::time::Duration;

use crate::peers::{smoltcp, stack};
use crate::row::{Row, Size};

pub(super) fn rows(size: Size) -> Vec<Row> {
    // Long enough for the windows to open, short enough for many runs.
    let bytes: usize = match size {
        Size::Full => 1 << 30,
        Size::Short => 1 << 28,
    };
    let gigabits = move |time: Duration| bytes as f64 * 8.0 / time.as_secs_f64() / 1e9;
    let row = |name, ours: stack::Link, theirs: smoltcp::Link| Row {
        name,
        unit: "Gbit/s",
        peer: "smoltcp",
        goal: 1.3,
        smaller: false,
        ours: Box::new(move || Ok(gigabits(stack::Pair::connected(&ours).transfer(bytes)))),
        theirs: Box::new(move || Ok(gigabits(smoltcp::Pair::connected(theirs).transfer(bytes)))),
    };
    vec![
        row(
            "bulk, MTU 1500, checksums",
            stack::Link { mtu: 1500, checksums: true, super_segments: false },
            smoltcp::Link { mtu: 1500, checksums: true },
        ),
        row(
            "bulk, MTU 1500, no checksums",
            stack::Link { mtu: 1500, checksums: false, super_segments: false },
            smoltcp::Link { mtu: 1500, checksums: false },
        ),
        row(
            "bulk, super-segments, no checksums",
            stack::Link::MEMORY,
            smoltcp::Link { mtu: 65535, checksums: false },
        ),
        Row {
            name: "bulk, super-segments, zero-copy",
            unit: "Gbit/s",
            peer: "ours, copying",
            goal: 2.0,
            smaller: false,
            ours: Box::new(move || {
                Ok(gigabits(stack::Pair::connected(&stack::Link::MEMORY).transfer_shared(bytes)))
            }),
            theirs: Box::new(move || {
                Ok(gigabits(stack::Pair::connected(&stack::Link::MEMORY).transfer(bytes)))
            }),
        },
    ]
}

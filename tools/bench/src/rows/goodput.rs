//! Our sender beside Linux's over a path that loses packets, a Linux receiver at its other end: `tools/kernel` in the
//! table.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use sockeye_kernel::{Goodputs, goodputs};

use crate::row::{Figure, Row};

/// How many transfers of each sender are under way at the same time.
const TRANSFERS: u64 = 9;

pub(super) fn rows() -> Vec<Row> {
    let ours = Rc::new(RefCell::new(Pairs::default()));
    let theirs = Rc::clone(&ours);
    vec![Row {
        name: "goodput at loss 1 %, 20 ms",
        unit: "Mbit/s",
        peer: "Linux's sender",
        goal: 0.95,
        smaller: false,
        ours: Box::new(move || ours.borrow_mut().ours()),
        theirs: Box::new(move || theirs.borrow_mut().theirs()),
    }]
}

/// Pairs of transfers, whose chance has the same seed, made nine at a time: they wait most of the time.
#[derive(Default)]
struct Pairs {
    next_seed: u64,
    made: VecDeque<Goodputs>,
}

impl Pairs {
    /// Our figure of the next pair.
    fn ours(&mut self) -> Figure {
        if self.made.is_empty() {
            let seeds = self.next_seed..self.next_seed + TRANSFERS;
            self.made = goodputs(seeds)?.into();
            self.next_seed += TRANSFERS;
        }
        let pair = self.made.front().ok_or("there was no transfer")?;
        Ok(pair.sockeye * 8e-6)
    }

    /// The kernel's figure of the pair, which is done with.
    fn theirs(&mut self) -> Figure {
        let pair = self.made.pop_front().ok_or("ours comes first")?;
        Ok(pair.kernel * 8e-6)
    }
}

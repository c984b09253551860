//! Transfers over every sort of link, from kernel to kernel and from and to Sockeye, and their goodputs side by side.

use std::fmt;
use std::time::Duration;

use sockeye_link::NetemConfig;
use sockeye_packet::Rng;

use crate::program::{ENDLESS, Pattern, Plan};
use crate::run::{Outcome, Side, Spec, Subject};

/// Bytes of a transfer.
const TRANSFER: u64 = 256 * 1024;
/// Longest time of a run, unless stated.
const LIMIT: Duration = Duration::from_mins(2);
/// Share of segments that overtake others, where some do, in percent.
const REORDER: f64 = 5.0;
/// A silence of more timeouts than that is a stall.
const STALL: f64 = 3.0;

const LOSS: [f64; 4] = [0.0, 0.5, 2.0, 5.0];
const DELAY_MS: [u64; 3] = [1, 20, 100];

/// The conditions of a link, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Conditions {
    /// In percent of all packets.
    pub(crate) loss: f64,
    /// One way.
    pub(crate) delay_ms: u64,
    pub(crate) reorders: bool,
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.reorders { "reorder" } else { "in-order" };
        write!(f, "{}% {}ms {order}", self.loss, self.delay_ms)
    }
}

impl Conditions {
    /// All of the matrix. Neighbours, which run at the same time, have different delays: many fast transfers at
    /// once would wait for the processor.
    pub(crate) fn all() -> Vec<Conditions> {
        let mut all = Vec::new();
        for loss in LOSS {
            for reorders in [false, true] {
                all.extend(DELAY_MS.map(|delay_ms| Conditions { loss, delay_ms, reorders }));
            }
        }
        all
    }

    /// The six that a change is checked with: each loss, each delay and each order is among them.
    pub(crate) fn six() -> Vec<Conditions> {
        let cell = |loss, delay_ms, reorders| Conditions { loss, delay_ms, reorders };
        vec![
            cell(0.0, 1, false),
            cell(0.5, 1, true),
            cell(0.0, 20, true),
            cell(2.0, 20, false),
            cell(0.5, 100, false),
            cell(5.0, 20, true),
        ]
    }

    fn link(self) -> NetemConfig {
        NetemConfig {
            loss: self.loss,
            delay: Duration::from_millis(self.delay_ms),
            reorder: if self.reorders { REORDER } else { 0.0 },
            limit: 10_000,
            ..NetemConfig::default()
        }
    }
}

/// What the left end does in a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sends,
    Receives,
}

/// One figure of the table: conditions, a role of the left end and a family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) conditions: Conditions,
    pub(crate) role: Role,
    pub(crate) is_v6: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.role == Role::Sends { "sends" } else { "receives" };
        write!(f, "{} {role} {}", self.conditions, if self.is_v6 { "v6" } else { "v4" })
    }
}

impl Cell {
    /// The cells of these conditions, in the order in which a row shows them.
    pub(crate) fn of(conditions: Conditions) -> [Cell; 4] {
        let cell = |role, is_v6| Cell { conditions, role, is_v6 };
        [
            cell(Role::Sends, false),
            cell(Role::Sends, true),
            cell(Role::Receives, false),
            cell(Role::Receives, true),
        ]
    }

    /// Who measures: the side that receives.
    pub(crate) fn receiver(self) -> Side {
        if self.role == Role::Sends { Side::Right } else { Side::Left }
    }

    /// One transfer, as long as those of the table.
    pub(crate) fn transfer(self, subject: Subject, number: u64) -> Spec {
        self.transfer_of(TRANSFER, subject, number)
    }

    /// A transfer of so many bytes. The network's verdicts are the same for both subjects as long as they send the
    /// same packets. The sender connects in runs of even number, the receiver in the others.
    pub(crate) fn transfer_of(self, len: u64, subject: Subject, number: u64) -> Spec {
        let seed = self.seed(number);
        let sender = self.receiver().other();
        let data = Pattern::new(seed);
        let nothing = Pattern::new(0);
        let sends = Plan {
            send: len,
            data: data.clone(),
            expected: nothing.clone(),
            ends_last: false,
            reset_after: None,
        };
        let reads = Plan { send: 0, data: nothing, expected: data, ends_last: true, reset_after: None };
        Spec {
            name: self.run_name(subject, "transfer", number),
            is_transfer: true,
            subject,
            is_v6: self.is_v6,
            client: if number.is_multiple_of(2) { sender } else { sender.other() },
            plans: if sender == Side::Left { [sends, reads] } else { [reads, sends] },
            link: self.conditions.link(),
            seed,
            limit: LIMIT,
        }
    }

    /// A connection that ends otherwise than a transfer: both ends send, and one of them ends its direction, or
    /// resets, at a random point. Where it resets, the other sends until it hears of that.
    pub(crate) fn ending(self, number: u64) -> Spec {
        let seed = self.seed(number) ^ 0x5eed_0fe4d;
        let mut rng = Rng::from_u64(seed);
        let [left, right] = [1, 2].map(|side| Pattern::new(seed ^ side));
        let [a, b] = [(); 2].map(|()| rng.below(TRANSFER / 2));
        let resets = self.role == Role::Receives;
        let left_acts = rng.chance(0.5);
        let plan = |acts: bool, own: u64, data: &_, expected: &_| Plan {
            send: if resets { ENDLESS } else { own },
            data: std::sync::Arc::clone(data),
            expected: std::sync::Arc::clone(expected),
            ends_last: false,
            reset_after: (resets && acts).then_some(own),
        };
        Spec {
            name: self.run_name(Subject::Sockeye, if resets { "reset" } else { "half-close" }, number),
            is_transfer: false,
            subject: Subject::Sockeye,
            is_v6: self.is_v6,
            client: if rng.chance(0.5) { Side::Left } else { Side::Right },
            plans: [plan(left_acts, a, &left, &right), plan(!left_acts, b, &right, &left)],
            link: self.conditions.link(),
            seed,
            limit: LIMIT,
        }
    }

    fn run_name(self, subject: Subject, what: &str, number: u64) -> String {
        let subject = if subject == Subject::Kernel { "kernel" } else { "sockeye" };
        format!("{self} {what} {subject} {number}").replace([' ', '%'], "-")
    }

    fn seed(self, number: u64) -> u64 {
        let Conditions { loss, delay_ms, reorders } = self.conditions;
        let flags =
            u64::from(reorders) | u64::from(self.is_v6) << 1 | u64::from(self.role == Role::Sends) << 2;
        (number << 32) | ((loss * 10.0) as u64) << 16 | delay_ms << 4 | flags
    }
}

/// A cell is good when Sockeye's median is at least this part of the kernel's.
pub(crate) const GOOD: f64 = 0.9;

/// What the runs of one cell gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Bytes a second of each transfer, by subject.
    pub(crate) kernel: Vec<f64>,
    pub(crate) sockeye: Vec<f64>,
}

impl Figures {
    pub(crate) fn add(&mut self, cell: Cell, subject: Subject, outcome: &Outcome) {
        let time = outcome.times[cell.receiver() as usize].as_secs_f64();
        // A failed transfer counts as one that never ends.
        let goodput = if outcome.error.is_none() { TRANSFER as f64 / time } else { 0.0 };
        let figures = if subject == Subject::Kernel { &mut self.kernel } else { &mut self.sockeye };
        figures.push(goodput);
    }

    /// Sockeye's median beside the kernel's.
    pub(crate) fn ratio(&self) -> f64 {
        median(&self.sockeye) / median(&self.kernel)
    }

    pub(crate) fn is_good(&self) -> bool {
        self.ratio() >= GOOD
    }
}

/// The middle one; of an even number the mean of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// What is wrong with a run that Sockeye had a part in.
pub(crate) fn complaint(outcome: &Outcome) -> Option<String> {
    let stall =
        || (outcome.silence > STALL).then(|| format!("stalled: silent for {:.1} timeouts", outcome.silence));
    outcome.error.clone().or_else(stall)
}

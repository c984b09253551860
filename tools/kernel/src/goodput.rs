//! What a long transfer over a lossy path reaches, Sockeye's sender beside the kernel's, for the benchmarks' table.

use std::ops::Range;
use std::time::Duration;

use crate::matrix::{Cell, Conditions, Role};
use crate::namespace;
use crate::run::{Outcome, Spec, Subject};
use crate::world::World;

/// Loss of each direction, in percent.
const LOSS: f64 = 1.0;
/// Delay of each direction, in milliseconds.
const DELAY_MS: u64 = 20;
/// Bytes of a transfer: some 180 losses, so that chance evens out.
const TRANSFER: u64 = 24 << 20;
/// Longest time of a transfer. (The kernel's own take half a minute.)
const LIMIT: Duration = Duration::from_mins(3);

/// Bytes a second that a receiver of the kernel's had from both senders, over paths whose chance has the same seed.
#[derive(Clone, Copy, Debug)]
pub struct Goodputs {
    /// From a Sockeye stack.
    pub sockeye: f64,
    /// From the kernel.
    pub kernel: f64,
}

/// Carries out a transfer of 24 MiB from Sockeye and one from the kernel for each of `seeds`, all at the same time. Both
/// senders use CUBIC, as Linux does unless told otherwise; the path loses 1 % and takes 20 ms each way.
///
/// Blocks for a minute. Needs root, `ip` of iproute2 and TUN devices; the error says what is missing, or what failed.
pub fn goodputs(seeds: Range<u64>) -> Result<Vec<Goodputs>, String> {
    if let Some(reason) = namespace::missing() {
        return Err(reason);
    }
    // The loop takes a high priority, which its thread alone shall have.
    std::thread::scope(|scope| {
        let loop_ends = scope.spawn(|| transfer(seeds));
        loop_ends.join().unwrap_or_else(|_| Err("the transfers panicked".to_owned()))
    })
}

fn transfer(seeds: Range<u64>) -> Result<Vec<Goodputs>, String> {
    let conditions = Conditions { loss: LOSS, delay_ms: DELAY_MS, reorders: false };
    let cell = Cell { conditions, role: Role::Sends, is_v6: false };
    let mut specs = Vec::new();
    for seed in seeds {
        for subject in [Subject::Sockeye, Subject::Kernel] {
            specs.push(Spec { limit: LIMIT, ..cell.transfer_of(TRANSFER, subject, seed) });
        }
    }
    let parallel = specs.len();
    let mut world = World::new(None).map_err(|error| error.to_string())?;
    let outcomes = world.run(specs, parallel, |_, _| ()).map_err(|error| error.to_string())?;
    let goodput = |outcome: &Outcome| match &outcome.error {
        None => Ok(TRANSFER as f64 / outcome.times[cell.receiver() as usize].as_secs_f64()),
        Some(error) => Err(error.clone()),
    };
    let pairs = outcomes.chunks_exact(2);
    pairs.map(|pair| Ok(Goodputs { sockeye: goodput(&pair[0])?, kernel: goodput(&pair[1])? })).collect()
}

//! Inputs that are kept: `corpus/TARGET/`, small files that each met a situation that none before it did, and
//! those that once failed. The tests of sockeye-stack play them all.

use crate::Target;
use crate::clock::Moment;
use sockeye_stack::fuzzing::Seen;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most bytes of the files of one target: the repository keeps them.
const MAX_TARGET_BYTES: usize = 60_000;
/// Most bytes of one file.
const MAX_FILE_BYTES: usize = 600;

/// What was kept of a target, and what has been met with it.
#[derive(Debug, Default)]
pub struct Corpus {
    /// The inputs.
    pub inputs: Vec<Vec<u8>>,
    seen: Seen,
    /// Those that were met since it was loaded.
    fresh: Vec<Vec<u8>>,
}

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

impl Corpus {
    /// The files of a target, none if there is no folder.
    pub fn load(target: &Target) -> Corpus {
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder(target)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        Corpus { inputs: files.iter().filter_map(|file| fs::read(file).ok()).collect(), ..Corpus::default() }
    }

    /// Notes what an input has met; keeps the input if something was new.
    pub fn note(&mut self, input: &[u8], met: &Seen) {
        let before = self.seen.len();
        self.seen.extend(met);
        if self.seen.len() > before && !self.inputs.iter().any(|other| other == input) {
            self.inputs.push(input.to_vec());
            self.fresh.push(input.to_vec());
        }
    }

    /// How many kinds of situations were met.
    pub fn situations(&self) -> usize {
        self.seen.len()
    }

    /// Writes what is worth keeping: the smallest inputs first that together meet all that was met, each cut down
    /// as far as it still meets what it is kept for, as many as the limits allow.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn keep(&self, target: &Target) -> io::Result<usize> {
        let folder = folder(target);
        fs::create_dir_all(&folder)?;
        let (mut seen, mut bytes, mut files) = (Seen::new(), 0, 0);
        for entry in fs::read_dir(&folder)?.flatten() {
            let input = fs::read(entry.path())?;
            bytes += input.len();
            seen.extend(met(target, &input).unwrap_or_default());
        }
        let mut candidates = self.fresh.clone();
        candidates.sort_by_key(Vec::len);
        for input in candidates {
            let Some(new) = met(target, &input).map(|met| met.difference(&seen).copied().collect::<Seen>())
            else {
                continue;
            };
            if new.is_empty() {
                continue;
            }
            let still = |input: &[u8]| met(target, input).is_some_and(|met| met.is_superset(&new));
            let small = minimise(&input, Duration::from_millis(50), still);
            if small.len() > MAX_FILE_BYTES || bytes + small.len() > MAX_TARGET_BYTES {
                continue;
            }
            bytes += small.len();
            seen.extend(met(target, &small).unwrap_or_default());
            fs::write(folder.join(name(&small)), &small)?;
            files += 1;
        }
        Ok(files)
    }
}

/// What an input meets; none if it fails.
fn met(target: &Target, input: &[u8]) -> Option<Seen> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).ok()
}

/// A name for an input that is its own: a hash of it (FNV-1a).
pub fn name(input: &[u8]) -> String {
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// A smaller input of which `holds` is still true, as far as can be found in that much processor time.
pub fn minimise(input: &[u8], time: Duration, holds: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let started = Moment::now();
    let mut best = input.to_vec();
    let mut len = best.len().next_power_of_two() / 2;
    while len > 0 {
        let mut start = best.len().saturating_sub(len);
        loop {
            if started.elapsed() > time {
                return best;
            }
            let mut shorter = best.clone();
            shorter.drain(start..(start + len).min(best.len()));
            if holds(&shorter) {
                best = shorter;
            }
            if start == 0 {
                break;
            }
            start = start.saturating_sub(len);
        }
        len /= 2;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_is_cut_off() {
        let input: Vec<u8> = (0..200).collect();
        let needs = |input: &[u8]| input.contains(&7) && input.contains(&150);
        assert_eq!(minimise(&input, Duration::from_secs(5), needs), [7, 150]);
    }

    #[test]
    fn only_what_meets_something_new_is_kept() {
        let mut corpus = Corpus::default();
        corpus.note(b"a", &Seen::from([1, 2]));
        corpus.note(b"b", &Seen::from([2]));
        corpus.note(b"c", &Seen::from([3]));
        assert_eq!((corpus.inputs.len(), corpus.situations()), (2, 3));
    }
}

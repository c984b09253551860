//! The table.

use std::time::Duration;

use crate::matrix::{Cell, Figures, complaint, median};
use crate::run::{Outcome, Spec, Subject};

/// A cell is good when Sockeye's median is at least this part of the kernel's.
const GOOD: f64 = 0.9;
/// So many of all cells must be good.
const SHARE: f64 = 0.9;

/// Collects what is printed.
#[derive(Debug)]
pub(crate) struct Report {
    cells: Vec<Cell>,
    /// By cell: the longest silence of a run that Sockeye had a part in.
    silences: Vec<f64>,
    runs: usize,
    failed: usize,
}

impl Report {
    pub(crate) fn new(cells: &[Cell]) -> Report {
        Report { cells: cells.to_vec(), silences: vec![0.0; cells.len()], runs: 0, failed: 0 }
    }

    /// Takes note of one run.
    pub(crate) fn count(&mut self, cell: usize, spec: &Spec, outcome: &Outcome) {
        if spec.subject == Subject::Sockeye {
            self.runs += 1;
            self.failed += usize::from(complaint(outcome).is_some());
            self.silences[cell] = self.silences[cell].max(outcome.silence);
        }
    }

    /// Prints the table and what follows from it; true when that is good.
    pub(crate) fn print(&self, figures: &[Figures], lateness: Duration) -> bool {
        println!(
            "# Goodput of 256 KiB in Mbit/s, medians: kernel to kernel, and with Sockeye at one end beside it."
        );
        println!(
            "# Loss and delay are of each direction. The longest silence is in retransmission timeouts."
        );
        println!("{:<36} {:>9} {:>9} {:>6} {:>8}", "cell", "kernel", "sockeye", "ratio", "silence");
        let mut good = 0;
        for ((cell, figures), silence) in self.cells.iter().zip(figures).zip(&self.silences) {
            let [kernel, sockeye] =
                [&figures.kernel, &figures.sockeye].map(|values| median(values) * 8.0 / 1e6);
            let ratio = figures.ratio();
            let is_good = ratio >= GOOD;
            good += usize::from(is_good);
            let mark = if is_good { "" } else { "  <" };
            println!(
                "{:<36} {kernel:>9.3} {sockeye:>9.3} {ratio:>6.2} {silence:>8.2}{mark}",
                cell.to_string()
            );
        }
        println!("{} of {} runs with Sockeye at one end failed", self.failed, self.runs);
        println!("packets left the network up to {:.1} ms late", lateness.as_secs_f64() * 1e3);
        println!("{good} of {} cells at {GOOD} or better", self.cells.len());
        self.failed == 0 && good as f64 >= SHARE * self.cells.len() as f64
    }
}

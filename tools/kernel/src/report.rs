//! The table.

use std::time::Duration;

use crate::matrix::{Cell, Figures, GOOD, complaint, median};
use crate::run::{Outcome, Spec, Subject};

/// So many of all cells must be good.
const SHARE: f64 = 0.9;

/// Collects what is printed.
#[derive(Debug)]
pub(crate) struct Report {
    cells: Vec<Cell>,
    figures: Vec<Figures>,
    /// By cell: the longest silence of a run that Sockeye had a part in.
    silences: Vec<f64>,
    runs: usize,
    failed: usize,
}

impl Report {
    pub(crate) fn new(cells: Vec<Cell>) -> Report {
        let (figures, silences) = (vec![Figures::default(); cells.len()], vec![0.0; cells.len()]);
        Report { cells, figures, silences, runs: 0, failed: 0 }
    }

    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Takes note of one run of a cell.
    pub(crate) fn add(&mut self, cell: usize, spec: &Spec, outcome: &Outcome) {
        if spec.is_transfer {
            self.figures[cell].add(self.cells[cell], spec.subject, outcome);
        }
        if spec.subject == Subject::Sockeye {
            self.runs += 1;
            self.failed += usize::from(complaint(outcome).is_some());
            self.silences[cell] = self.silences[cell].max(outcome.silence);
        }
    }

    /// Which cells are not good so far.
    pub(crate) fn short_cells(&self) -> Vec<usize> {
        (0..self.cells.len()).filter(|&cell| !self.figures[cell].is_good()).collect()
    }

    /// Prints the table and what follows from it; true when that is good.
    pub(crate) fn print(&self, lateness: Duration) -> bool {
        println!(
            "# Goodput of 256 KiB in Mbit/s, medians: kernel to kernel, and with Sockeye at one end beside it."
        );
        println!(
            "# Loss and delay are of each direction. The longest silence is in retransmission timeouts."
        );
        println!(
            "{:<34} {:>4} {:>9} {:>9} {:>6} {:>8}",
            "cell", "runs", "kernel", "sockeye", "ratio", "silence"
        );
        for ((cell, figures), silence) in self.cells.iter().zip(&self.figures).zip(&self.silences) {
            let [kernel, sockeye] =
                [&figures.kernel, &figures.sockeye].map(|values| median(values) * 8.0 / 1e6);
            let mark = if figures.is_good() { "" } else { "  <" };
            println!(
                "{:<34} {:>4} {kernel:>9.3} {sockeye:>9.3} {:>6.2} {silence:>8.2}{mark}",
                cell.to_string(),
                figures.sockeye.len(),
                figures.ratio()
            );
        }
        let good = self.cells.len() - self.short_cells().len();
        println!("{} of {} runs with Sockeye at one end failed", self.failed, self.runs);
        println!("packets left the network up to {:.1} ms late", lateness.as_secs_f64() * 1e3);
        println!("{good} of {} cells at {GOOD} or better", self.cells.len());
        self.failed == 0 && good as f64 >= SHARE * self.cells.len() as f64
    }
}

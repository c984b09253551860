//! One row of the table: a figure of ours beside a peer's.

use std::time::{Duration, Instant};

use serde::Serialize;

/// A figure, or why it can't be had on this machine.
pub(crate) type Figure = Result<f64, String>;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// As the table says.
    Full,
    /// Less of everything, to see whether something has become much slower.
    Short,
}

/// What is measured, and against whom.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) peer: &'static str,
    /// The ratio to the peer that the project wants.
    pub(crate) goal: f64,
    /// Whether smaller figures are better, as for times.
    pub(crate) smaller: bool,
    pub(crate) ours: Box<dyn FnMut() -> Figure>,
    pub(crate) theirs: Box<dyn FnMut() -> Figure>,
}

/// Every figure of a row.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) row: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: Vec<f64>,
    pub(crate) peer: &'static str,
    pub(crate) theirs: Vec<f64>,
    pub(crate) goal: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) smaller: bool,
}

impl Row {
    /// Whether it needs programs or rights that a machine may lack.
    pub(crate) fn needs_others(&self) -> bool {
        ["run: ", "gateway: ", "TUN ", "goodput "].iter().any(|group| self.name.starts_with(group))
    }

    /// How often it is measured at least, whatever is asked for: chance has a large part in some.
    fn least_runs(&self) -> u32 {
        if self.name.starts_with("goodput ") { 9 } else { 1 }
    }

    /// Measures both sides in turns, once at least, until `within` has passed or there were as many runs.
    pub(crate) fn measure(&mut self, runs: u32, within: Duration) -> Result<Measured, String> {
        let runs = runs.max(self.least_runs());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let start = Instant::now();
        while ours.is_empty() || (ours.len() < runs as usize && start.elapsed() < within) {
            ours.push((self.ours)()?);
            theirs.push((self.theirs)()?);
        }
        let Row { name, unit, peer, goal, smaller, .. } = *self;
        Ok(Measured { row: name, unit, ours, peer, theirs, goal, smaller })
    }
}

impl Measured {
    /// A ratio that most runs reach, each beside the peer's that was taken next to it: what a noisy machine doesn't
    /// undercut by chance.
    pub(crate) fn cautious_ratio(&self) -> f64 {
        let pairs = self.ours.iter().zip(&self.theirs);
        let mut ratios: Vec<f64> =
            pairs.map(|(ours, theirs)| if self.smaller { theirs / ours } else { ours / theirs }).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 4).copied().unwrap_or(f64::NAN).min(self.ratio())
    }

    /// Whether it is short of its goal.
    pub(crate) fn is_short(&self) -> bool {
        self.ratio() < self.goal
    }

    /// How many times better than the peer: over 1 is ahead, whichever way the figures count.
    pub(crate) fn ratio(&self) -> f64 {
        let (ours, theirs) = (median(&self.ours), median(&self.theirs));
        if self.smaller { theirs / ours } else { ours / theirs }
    }
}

/// The middle of the sorted figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_over_one_is_ahead_whichever_way_figures_count() {
        let mut row = Measured {
            row: "r",
            unit: "u",
            ours: vec![9.0, 2.0, 1.0],
            peer: "p",
            theirs: vec![4.0, 4.0, 8.0],
            goal: 1.0,
            smaller: false,
        };
        assert!((row.ratio() - 0.5).abs() < 1e-9);
        // 9 to 4, 2 to 4, 1 to 8.
        assert!((row.cautious_ratio() - 0.125).abs() < 1e-9);
        row.smaller = true;
        assert!((row.ratio() - 2.0).abs() < 1e-9);
    }
}

//! The ratios of the last full run, kept in the repository: the short mode fails where one has halved.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::report::{machine, output_of};
use crate::row::Measured;

/// A ratio may fall to this part of the recorded one.
const PART: f64 = 0.5;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Recorded {
    commit: String,
    date: String,
    machine: String,
    rows: Vec<Ratio>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ratio {
    row: String,
    peer: String,
    is: f64,
}

impl Recorded {
    pub(crate) fn read(file: &Path) -> Result<Recorded, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Whether the row's ratio is less than half of what it was; on another machine, where the peer may be faster, of the
    /// goal if that is less.
    pub(crate) fn has_halved(&self, row: &Measured) -> bool {
        self.wanted(row).is_some_and(|wanted| row.ratio().is_nan() || row.ratio() < wanted)
    }

    fn wanted(&self, row: &Measured) -> Option<f64> {
        let known = self.ratio(row)?;
        Some(PART * if self.machine == machine() { known } else { known.min(row.goal) })
    }

    fn ratio(&self, row: &Measured) -> Option<f64> {
        self.rows.iter().find(|ratio| ratio.is_of(row)).map(|ratio| ratio.is)
    }

    /// What is said of a row that has halved.
    pub(crate) fn complaint(&self, row: &Measured) -> String {
        let (wanted, before) = (self.wanted(row), self.ratio(row));
        let [wanted, before] = [wanted, before].map(|ratio| ratio.unwrap_or(f64::NAN));
        format!(
            "{} beside {}: {:.2} is less than {wanted:.2}; {before:.2} is recorded",
            row.row,
            row.peer,
            row.ratio()
        )
    }

    /// Takes over these rows' ratios. What wasn't measured stays.
    pub(crate) fn record(&mut self, rows: &[Measured]) {
        self.commit = output_of("git", &["rev-parse", "--short", "HEAD"]);
        self.date = output_of("date", &["-u", "+%F"]);
        self.machine = machine();
        for row in rows {
            let ratio = (row.cautious_ratio() * 1000.0).round() / 1000.0;
            match self.rows.iter_mut().find(|ratio| ratio.is_of(row)) {
                Some(known) => known.is = ratio,
                None => {
                    self.rows.push(Ratio { row: row.row.to_string(), peer: row.peer.to_string(), is: ratio });
                }
            }
        }
    }

    /// A line for each row.
    pub(crate) fn write(&self, file: &Path) -> Result<(), String> {
        let rows: Result<Vec<String>, _> = self.rows.iter().map(serde_json::to_string).collect();
        let rows = rows.map_err(|error| error.to_string())?.join(",\n    ");
        let Recorded { commit, date, machine, .. } = self;
        let text = format!(
            "{{\n  \"commit\": {commit:?},\n  \"date\": {date:?},\n  \"machine\": {machine:?},\n  \"rows\": [\n    {rows}\n  ]\n}}\n"
        );
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Ratio {
    fn is_of(&self, row: &Measured) -> bool {
        self.row == row.row && self.peer == row.peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_ratio_below_half_is_told() {
        let row = |ours: f64| Measured {
            row: "r",
            unit: "u",
            ours: vec![ours],
            peer: "p \"q\"",
            theirs: vec![2.0],
            goal: 1.0,
            smaller: false,
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("recorded.json");
        let mut recorded = Recorded::default();
        recorded.record(&[row(8.0)]);
        recorded.record(&[row(4.0)]);
        recorded.write(&file).unwrap();
        let read = Recorded::read(&file).unwrap();
        assert_eq!(read.rows.len(), 1);
        assert!(!read.has_halved(&row(2.1)));
        assert!(read.has_halved(&row(1.9)));
        assert!(read.complaint(&row(1.9)).contains("0.95 is less than 1.00; 2.00 is recorded"));
        assert!(read.has_halved(&row(f64::NAN)));
        assert!(!Recorded::default().has_halved(&row(0.1)));
        // Elsewhere half of the goal is enough.
        let elsewhere = Recorded { machine: "another".to_string(), ..read };
        assert!(!elsewhere.has_halved(&row(1.9)));
        assert!(elsewhere.has_halved(&row(0.9)));
    }
}

//! The figures for people (a line, a Markdown table) and for programs (JSON).

use std::fmt::Write as _;

use crate::row::{Measured, median};

/// One row as a line of text.
pub(crate) fn line(row: &Measured) -> String {
    format!(
        "{:<34} {:>9.2}×  (goal {:.2})   ours {:>12}   {} {:>12}",
        row.row,
        row.ratio(),
        row.goal,
        figure(median(&row.ours), row.unit),
        row.peer,
        figure(median(&row.theirs), row.unit),
    )
}

/// One line of JSON for each row, with every single figure.
pub(crate) fn json(rows: &[Measured]) -> serde_json::Result<String> {
    rows.iter().map(|row| serde_json::to_string(row).map(|line| line + "\n")).collect()
}

/// The table in Markdown.
pub(crate) fn markdown(rows: &[Measured]) -> String {
    let mut text = String::from(
        "| row | peer | ratio | goal | ours (median) | peer (median) |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {} | {} |",
            row.row,
            row.peer,
            row.ratio(),
            row.goal,
            figure(median(&row.ours), row.unit),
            figure(median(&row.theirs), row.unit),
        );
    }
    text
}

fn figure(value: f64, unit: &str) -> String {
    if value >= 1000.0 { format!("{value:.0} {unit}") } else { format!("{value:.2} {unit}") }
}

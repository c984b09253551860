//! The ratios as a bar chart in SVG: a logarithmic scale on which 1 is the peer, and a mark where the goal is.

use std::fmt::Write as _;

use crate::row::Measured;

/// Widths and heights, in pixels.
const NAMES: f64 = 330.0;
const BARS: f64 = 420.0;
const PEERS: f64 = 190.0;
const ROW: f64 = 18.0;
const TOP: f64 = 44.0;
/// The scale's ends.
const LEAST: f64 = 0.1;
const MOST: f64 = 100.0;
/// What the scale names, and the place of 1 among it.
const TICKS: [f64; 10] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
const PEER: usize = 3;
const STYLE: &str = "text { font: 12px sans-serif; fill: #222 } .small { font-size: 10px; fill: #666 } \
    .line { stroke: #ddd } .peer { stroke: #888 } .met { fill: #4c956c } .short { fill: #d68c45 } .goal { stroke: #b3001b; \
    stroke-width: 2 }";

/// The chart of these rows.
pub(crate) fn svg(rows: &[Measured]) -> String {
    let (width, height) = (NAMES + BARS + PEERS, TOP + ROW * rows.len() as f64 + 10.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <style>{STYLE}</style>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"16\">Ratio to the peer in the same run; 1 is the peer, right of it is better, \
         the red mark is the goal</text>\n"
    );
    for (number, tick) in TICKS.into_iter().enumerate() {
        let (x, end) = (place(tick), height - 8.0);
        let class = if number == PEER { "peer" } else { "line" };
        let _ =
            writeln!(text, "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{end}\"/>");
        let y = TOP - 6.0;
        let _ = writeln!(
            text,
            "<text class=\"small\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{tick}</text>"
        );
    }
    for (number, row) in rows.iter().enumerate() {
        bar(&mut text, row, TOP + ROW * number as f64);
    }
    text.push_str("</svg>\n");
    text
}

/// One row: its name, the bar from 1 to its ratio, the goal's mark, the figure and the peer.
fn bar(text: &mut String, row: &Measured, y: f64) {
    let (ratio, goal) = (row.ratio(), place(row.goal));
    let (one, end) = (place(1.0), place(ratio));
    let (x, width) = (one.min(end), (end - one).abs().max(1.0));
    let class = if row.is_short() { "short" } else { "met" };
    let (base, name, peer) = (y + 13.0, escaped(row.row), escaped(row.peer));
    let (right, from, to) = (NAMES - 8.0, y + 2.0, y + 16.0);
    let _ = writeln!(text, "<text x=\"{right}\" y=\"{base}\" text-anchor=\"end\">{name}</text>");
    let _ = writeln!(
        text,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"12\"/>",
        y + 3.0
    );
    let _ =
        writeln!(text, "<line class=\"goal\" x1=\"{goal:.1}\" y1=\"{from}\" x2=\"{goal:.1}\" y2=\"{to}\"/>");
    let after = NAMES + BARS + 8.0;
    let _ = writeln!(
        text,
        "<text x=\"{after}\" y=\"{base}\">{ratio:.2} <tspan class=\"small\">{peer}</tspan></text>"
    );
}

/// Where a ratio is on the scale; what is beyond its ends is there.
fn place(ratio: f64) -> f64 {
    let share = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    NAMES + share * BARS
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_run_from_one_to_the_ratio_and_marks_are_at_the_goal() {
        let row = |row, ours: f64, goal| Measured {
            row,
            unit: "u",
            ours: vec![ours],
            peer: "a < b",
            theirs: vec![1.0],
            goal,
            smaller: false,
        };
        let text = svg(&[row("good", 10.0, 2.0), row("bad", 0.1, 0.5)]);
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        // A decade is a third of the scale.
        assert!(text.contains("class=\"met\" x=\"470.0\" y=\"47.0\" width=\"140.0\""), "{text}");
        assert!(text.contains("class=\"short\" x=\"330.0\" y=\"65.0\" width=\"140.0\""), "{text}");
        assert!(text.contains("a &lt; b") && !text.contains("a < b"));
        let marks = text.matches("class=\"goal\"").count();
        assert_eq!(marks, 2);
    }
}

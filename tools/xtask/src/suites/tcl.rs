//! Tcl's `socket.test`.

use super::fetch;
use super::report::Score;
use super::results::{self, Verdict};
use super::stage::{Stage, copy_all};
use std::error::Error;
use std::ffi::OsStr;

/// Longest time that the file takes, in seconds.
const LIMIT: u32 = 120;

/// Runs it as whoever started this: it writes beside itself, and an ordinary user's four tests more want ports below 1024
/// refused, which networks give to everybody.
pub(super) fn run(stage: &Stage) -> Result<Score, Box<dyn Error>> {
    let folder = stage.path("tcl");
    copy_all(&fetch::source(stage, "tcl8.6", "tcl8.6-")?.join("tests"), &folder)?;
    let line = ["tclsh8.6", "socket.test", "-verbose", "pse"].map(OsStr::new);
    let side = |here: bool| {
        let mut command = stage.command(here, false, &line);
        stage.output(command.current_dir(&folder), LIMIT)
    };
    let (native, here) = (side(false)?.text, side(true)?.text);
    let score = Score::new("tcl", &results::of_lines(&native, read), &results::of_lines(&here, read));
    if score.failed().next().is_some() {
        stage.show("tcl", &here);
    }
    Ok(score)
}

/// `++++ NAME PASSED`, `==== NAME what it is FAILED`.
fn read(line: &str) -> Option<(String, Verdict)> {
    let (mark, rest) = line.split_once(' ')?;
    let name = rest.split_whitespace().next()?.to_owned();
    match mark {
        "++++" if rest.ends_with("PASSED") => Some((name, Verdict::Pass)),
        "++++" if rest.contains("SKIPPED") => Some((name, Verdict::Skip)),
        "====" if rest.ends_with("FAILED") => Some((name, Verdict::Fail)),
        _ => None,
    }
}

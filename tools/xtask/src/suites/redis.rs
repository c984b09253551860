//! redis's own tests of its networking, protocol and publications, with the machine's server.

use super::fetch;
use super::report::Score;
use super::results::{self, Verdict};
use super::stage::{Stage, copy_all, said};
use std::error::Error;
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::process::Command;

/// Longest time that the units take, in seconds.
const LIMIT: u32 = 240;
const PROGRAMS: [&str; 4] = ["redis-server", "redis-cli", "redis-benchmark", "redis-sentinel"];

/// Runs the units.
pub(super) fn run(stage: &Stage) -> Result<Score, Box<dyn Error>> {
    let folder = stage.path("redis");
    copy_all(&fetch::source(stage, "redis", "redis-")?, &folder)?;
    for name in PROGRAMS {
        let program =
            said(Command::new("sh").args(["-c", "command -v \"$0\" || command -v redis-server", name]))?;
        symlink(program, folder.join("src").join(name))?;
    }
    stage.give(&folder.join("tests/tmp"))?;
    let line =
        ["./runtest", "--single", "unit/networking", "--single", "unit/protocol", "--single", "unit/pubsub"];
    let line = line.map(OsStr::new);
    let side = |here: bool| {
        let mut command = stage.command(here, true, &line);
        stage.output(command.current_dir(&folder), LIMIT)
    };
    let (native, here) = (side(false)?.text, side(true)?.text);
    let score = Score::new("redis", &results::of_lines(&native, read), &results::of_lines(&here, read));
    if score.failed().next().is_some() {
        stage.show("redis", &here);
    }
    Ok(score)
}

/// `[ok]: name (12 ms)`, coloured.
fn read(line: &str) -> Option<(String, Verdict)> {
    let plain = results::without_colours(line);
    let (word, rest) = plain.strip_prefix('[')?.split_once("]: ")?;
    let name = rest.rsplit_once(" (").map_or(rest, |(name, _)| name);
    let name = name.split(" in tests/").next().unwrap_or(name).trim().to_owned();
    match word {
        "ok" => Some((name, Verdict::Pass)),
        "err" | "exception" | "timeout" => Some((name, Verdict::Fail)),
        _ => None,
    }
}

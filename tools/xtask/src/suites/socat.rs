//! socat's `test.sh`: the parts about TCP, UDP and raw IP of version 4, and UNIX sockets.

use super::fetch;
use super::report::Score;
use super::results::{self, Verdict};
use super::stage::{Stage, check, copy_all, said};
use std::error::Error;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// Longest time that the parts take, in seconds.
const LIMIT: u32 = 1200;
const PARTS: [&str; 4] = ["tcp4", "udp4", "ip4", "unix"];

/// Runs them, with the machine's socat; as whoever started this, for some need root.
pub(super) fn run(stage: &Stage) -> Result<Score, Box<dyn Error>> {
    let folder = stage.path("socat");
    copy_all(&fetch::source(stage, "socat", "socat-")?, &folder)?;
    // The script would look for a safe prime, which takes minutes; TLS isn't what is tested here.
    let parameters = ["dhparam", "-dsaparam", "-out", "testcert.dh", "2048"];
    check(Command::new("openssl").args(parameters).current_dir(&folder).stderr(Stdio::null()))?;
    let mut programs = Vec::new();
    for (variable, name) in [("SOCAT", "socat"), ("FILAN", "filan"), ("PROCAN", "procan")] {
        programs.push((variable, said(Command::new("sh").args(["-c", "command -v \"$0\"", name]))?));
    }
    let words = ["bash", "test.sh", "-t", "0.3"];
    let line: Vec<&OsStr> = words.iter().chain(&PARTS).map(OsStr::new).collect();
    let side = |here: bool| {
        let mut command = stage.command(here, false, &line);
        command.current_dir(&folder).envs(programs.iter().map(|(name, value)| (name, value)));
        stage.output(&command, LIMIT)
    };
    let (native, here) = (side(false)?.text, side(true)?.text);
    let score = Score::new("socat", &results::of_lines(&native, read), &results::of_lines(&here, read));
    if score.failed().next().is_some() {
        stage.show("socat", &here);
    }
    Ok(score)
}

/// `test  33 TCP4: what it is... OK`.
fn read(line: &str) -> Option<(String, Verdict)> {
    let plain = results::without_colours(line);
    let mut words = plain.strip_prefix("test ")?.split_whitespace();
    let (number, name) = (words.next()?, words.next()?.strip_suffix(':')?);
    let said = plain.rsplit_once("... ")?.1;
    let verdict = match said.split_whitespace().next()? {
        "OK" => Verdict::Pass,
        "FAILED" => Verdict::Fail,
        _ => Verdict::Skip,
    };
    Some((format!("{number} {name}"), verdict))
}

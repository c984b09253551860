//! socat's `test.sh`: the parts about TCP, UDP and raw IP of version 4, and UNIX sockets.

use super::fetch;
use super::report::Score;
use super::results::{self, Results, Verdict};
use super::stage::{Stage, check, copy_all, said};
use std::error::Error;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// Longest time that the parts take, in seconds.
const LIMIT: u32 = 600;
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
    let score = Score::new("socat", &read(&native), &read(&here));
    if score.failed().next().is_some() {
        stage.show("socat", &here);
    }
    Ok(score)
}

/// Reads `test  33 TCP4: what it is... OK`, the verdict perhaps lines later, behind what the test's programs say.
fn read(output: &str) -> Results {
    let mut results = Results::new();
    let mut current = String::new();
    for line in output.lines().map(results::without_colours) {
        if let Some(name) = name(&line) {
            // What is never told is a failure: the run ended in it, or it can't be made here.
            results.insert(name.clone(), Verdict::Fail);
            current = name;
        }
        if line.ends_with(" OK") || line == "OK" {
            results.insert(current.clone(), Verdict::Pass);
        }
    }
    results.remove("");
    results
}

/// The number and the name at the start of a test.
fn name(line: &str) -> Option<String> {
    let mut words = line.strip_prefix("test ")?.split_whitespace();
    let (number, name) = (words.next()?, words.next()?.strip_suffix(':')?);
    Some(format!("{number} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_may_come_lines_later() {
        let output = "\
OK
test  33 TCP4: echo via TCP... \u{1b}[32mOK\u{1b}[39m
test  35 TCPX4: echo... Cannot open netlink socket
!port 12007 timed out! \u{1b}[32mOK\u{1b}[39m
test  36 A: first... \u{1b}[31mFAILED\u{1b}[39m: socat
test  37 B: second... \u{1b}[33mnot feasible\u{1b}[39m
test  38 C: third... ";
        let verdicts: Vec<_> = read(output).into_iter().collect();
        let [pass, fail] = [Verdict::Pass, Verdict::Fail];
        let expected =
            [("33 TCP4", pass), ("35 TCPX4", pass), ("36 A", fail), ("37 B", fail), ("38 C", fail)];
        assert_eq!(verdicts, expected.map(|(name, verdict)| (name.to_owned(), verdict)));
    }
}

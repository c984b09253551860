//! libuv's tests of TCP, UDP, pipes and polls, each in a process of its own. They refuse to run as root.

use super::fetch;
use super::report::Score;
use super::results::{Results, Verdict};
use super::stage::{Stage, check, copy_all};
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the names of the tests begin with.
const PARTS: [&str; 4] = ["tcp", "udp", "pipe", "poll"];
/// Longest time that one test takes, in seconds.
const LIMIT: u32 = 20;
/// The exit status of a test that was skipped.
const SKIPPED: &str = "# SKIP";

/// The library's sources on Linux, beside those of `src`.
const UNIX: &str = "async core dl fs getaddrinfo getnameinfo loop-watcher loop pipe poll process random-devurandom \
    signal stream tcp thread tty udp linux-core linux-inotify linux-syscalls procfs-exepath random-getrandom \
    random-sysctl-linux epoll proctitle";
const COMMON: &str =
    "fs-poll idna inet random strscpy threadpool timer uv-common uv-data-getter-setters version";

/// Builds and runs them.
pub(super) fn run(stage: &Stage) -> Result<Score, Box<dyn Error>> {
    let source = fetch::source(stage, "libuv1", "libuv1-")?;
    let built = stage.kept.join("uv_run_tests");
    if !built.is_file() {
        build(&source, &built)?;
    }
    let folder = stage.path("libuv");
    fs::create_dir_all(&folder)?;
    copy_all(&built, &folder.join("uv_run_tests"))?;
    copy_all(&source.join("test"), &folder.join("test"))?;
    stage.give(&folder)?;
    let program = folder.join("uv_run_tests");
    let listed =
        stage.output(&stage.command(false, true, &[program.as_os_str(), OsStr::new("--list")]), LIMIT)?;
    let names = listed.text.lines().filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| PARTS.iter().any(|part| name.starts_with(part))).collect();
    let side = |here: bool| -> Result<Results, Box<dyn Error>> {
        let mut results = Results::new();
        for name in &names {
            let mut command = stage.command(here, true, &[program.as_os_str(), OsStr::new(name)]);
            let output = stage.output(command.current_dir(&folder), LIMIT)?;
            let verdict =
                match output.text.lines().find(|line| line.starts_with("ok ") || line.starts_with("not ok "))
                {
                    Some(line) if line.contains(SKIPPED) => Verdict::Skip,
                    Some(line) if line.starts_with("ok ") => Verdict::Pass,
                    _ => Verdict::Fail,
                };
            if here && verdict == Verdict::Fail {
                stage.show(name, &output.text);
            }
            results.insert((*name).to_owned(), verdict);
        }
        Ok(results)
    };
    Ok(Score::new("libuv", &side(false)?, &side(true)?))
}

fn build(source: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let mut files: Vec<PathBuf> =
        UNIX.split_whitespace().map(|name| source.join(format!("src/unix/{name}.c"))).collect();
    files.extend(COMMON.split_whitespace().map(|name| source.join(format!("src/{name}.c"))));
    let helpers = ["blackhole-server.c", "echo-server.c", "run-tests.c", "runner.c", "runner-unix.c"];
    files.extend(helpers.map(|name| source.join("test").join(name)));
    for entry in fs::read_dir(source.join("test"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("test-") && path.extension().is_some_and(|extension| extension == "c") {
            files.push(path);
        }
    }
    let mut cc = Command::new("cc");
    // Some tests include the file that they test.
    cc.args([
        "-O0",
        "-w",
        "-Wl,-z,muldefs",
        "-D_GNU_SOURCE",
        "-D_FILE_OFFSET_BITS=64",
        "-D_LARGEFILE_SOURCE",
    ]);
    cc.arg("-I").arg(source.join("include")).arg("-I").arg(source.join("src")).arg("-o").arg(to).args(&files);
    check(cc.args(["-lpthread", "-ldl", "-lrt", "-lm"]))
}

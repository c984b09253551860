//! `CPython`'s own tests: Debian's python3.11 with the package of its tests, unpacked beside the machine's.

use super::fetch;
use super::report::Score;
use super::results;
use super::stage::{Stage, copy_all};
use std::error::Error;
use std::ffi::OsStr;

/// The files of tests: sockets, readiness, protocols, event loops.
pub(super) const MODULES: [&str; 19] = [
    "test_socket",
    "test_socketserver",
    "test_select",
    "test_selectors",
    "test_poll",
    "test_epoll",
    "test_asyncore",
    "test_asynchat",
    "test_httplib",
    "test_httpservers",
    "test_ftplib",
    "test_smtplib",
    "test_smtpd",
    "test_telnetlib",
    "test_xmlrpc",
    "test.test_asyncio.test_sock_lowlevel",
    "test.test_asyncio.test_selector_events",
    "test.test_asyncio.test_streams",
    "test.test_asyncio.test_server",
];

const PACKAGES: [&str; 4] =
    ["python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libpython3.11-testsuite"];
/// Longest time that one file takes, in seconds.
const LIMIT: u32 = 240;

/// Runs one file.
pub(super) fn run(stage: &Stage, module: &str) -> Result<Score, Box<dyn Error>> {
    let root = stage.path("python");
    if !root.is_dir() {
        copy_all(&fetch::packages(stage, "python", &PACKAGES)?, &root)?;
    }
    let (home, python) = (root.join("usr"), root.join("usr/bin/python3.11"));
    // VSOCK's cases hang on virtual machines, also natively.
    let words = ["-m", "test", "-v", "-u", "network", "-i", "*VSOCK*", module];
    let line: Vec<&OsStr> = std::iter::once(python.as_os_str()).chain(words.iter().map(OsStr::new)).collect();
    let side = |here: bool| {
        let mut command = stage.command(here, true, &line);
        command.env("PYTHONHOME", &home).env("PYTHONDONTWRITEBYTECODE", "1");
        stage.output(&command, LIMIT)
    };
    let (native, here) = (side(false)?, side(true)?);
    let score = Score::new(module, &results::of_python(&native.text), &results::of_python(&here.text));
    if score.failed().next().is_some() {
        stage.show(module, &here.text);
    }
    Ok(score)
}

//! The application scripts: a real server and real clients each, which check what arrives and say PASS or FAIL.

use super::report::Score;
use super::results::{Results, Verdict};
use super::stage::{Output, Stage};
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where server and clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Two hosts on one network.
    Two,
    /// One host, at its loopback address.
    One,
    /// Two hosts, and the server's link loses 1 % and delays by 10 ms, each way.
    Lossy,
}

impl Mode {
    /// What its row of the table is called.
    pub(super) fn suite(self) -> &'static str {
        match self {
            Mode::Two => "apps, two hosts",
            Mode::One => "apps, one host",
            Mode::Lossy => "apps, 1 % lost, 10 ms",
        }
    }
}

pub(super) const MODES: [Mode; 3] = [Mode::Two, Mode::One, Mode::Lossy];

const SERVER: &str = "10.77.0.2";
const CLIENT: &str = "10.77.0.3";
const CONDITIONS: &str = "delay 10ms loss 1%";
/// Longest time that a script takes, in seconds.
const LIMIT: u32 = 90;

/// Scripts that change owners or users: root's.
const OF_ROOT: [&str; 8] = [
    "db-postgres",
    "file-tftpd",
    "ftp-vsftpd-lftp-curl",
    "login-sshd",
    "login-telnetd",
    "mail-exim-swaks",
    "ntp-chrony",
    "print-cups-appsocket",
];

/// How often a script may try where packets are lost: what luck takes from a question and from its repetition, and so
/// from a script that asks no third time, says nothing.
const LOSSY_ATTEMPTS: usize = 3;

/// Scripts that need nothing lost: they say so themselves.
const NEED_ALL: [&str; 2] = ["load-iperf3", "name-ping-traceroute"];

/// A script.
pub(super) struct App {
    pub(super) name: String,
}

/// All scripts there are.
pub(super) fn all(stage: &Stage) -> Result<Vec<App>, Box<dyn Error>> {
    let mut apps = Vec::new();
    if !stage.apps.is_dir() {
        return Ok(apps);
    }
    for entry in fs::read_dir(&stage.apps)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".sh").filter(|name| *name != "lib") {
            apps.push(App { name: name.to_owned() });
        }
    }
    apps.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(apps)
}

/// Runs a script in one mode, after it has run natively.
pub(super) fn run(stage: &Stage, app: &App, mode: Mode) -> Result<Score, Box<dyn Error>> {
    let suite = mode.suite();
    let of_root = OF_ROOT.contains(&app.name.as_str());
    let skipped = of_root && !stage.is_root || mode == Mode::Lossy && NEED_ALL.contains(&app.name.as_str());
    let single = |verdict| Results::from([(app.name.clone(), verdict)]);
    if skipped {
        return Ok(Score::new(suite, &single(Verdict::Skip), &single(Verdict::Skip)));
    }
    let script = stage.apps.join(format!("{}.sh", app.name));
    let passed =
        |output: &Output| output.success && output.text.lines().any(|line| line.starts_with("PASS "));
    for _ in 0..if mode == Mode::Lossy { LOSSY_ATTEMPTS } else { 1 } {
        let network = Network::new(stage, app, mode, of_root)?;
        let mut command = stage.command(false, !of_root, &[OsStr::new("bash"), script.as_os_str()]);
        network.prepare(&mut command);
        let output = stage.output(&command, LIMIT)?;
        if passed(&output) {
            // It passes natively too, as the scripts' README says.
            return Ok(Score::new(suite, &single(Verdict::Pass), &single(Verdict::Pass)));
        }
        stage.show(&app.name, &output.text);
    }
    let native =
        stage.output(&stage.command(false, false, &[OsStr::new("bash"), script.as_os_str()]), LIMIT)?;
    let native = if passed(&native) { Verdict::Pass } else { Verdict::Fail };
    Ok(Score::new(suite, &single(native), &single(Verdict::Fail)))
}

/// A network that lives as long as a script, with its hosts.
struct Network {
    /// The command, as the user whose network it is.
    sockeye: String,
    /// The command as the script runs it for servers.
    for_servers: String,
    name: String,
    two: bool,
    /// Programs that keep the hosts.
    keepers: Vec<Child>,
}

impl Network {
    fn new(stage: &Stage, app: &App, mode: Mode, of_root: bool) -> Result<Network, Box<dyn Error>> {
        let name =
            format!("suite-{}-{}", std::process::id(), app.name.split('-').next_back().unwrap_or_default());
        let for_servers = stage.sockeye().display().to_string();
        let mut sockeye = for_servers.clone();
        if app.name == "db-postgres" {
            // A network is one user's, and the script has this server run by postgres: so are its clients.
            sockeye = format!("setpriv --reuid=postgres --regid=postgres --clear-groups {sockeye}");
        }
        let two = mode != Mode::One;
        let mut network = Network { sockeye, for_servers, name, two, keepers: Vec::new() };
        for (host, addr) in [("server", SERVER), ("client", CLIENT)] {
            if host == "client" && !two {
                continue;
            }
            let line = network.run_line(&network.sockeye, host, addr);
            let mut words: Vec<&OsStr> =
                line.split(' ').filter(|word| *word != "--").map(OsStr::new).collect();
            if mode == Mode::Lossy && host == "server" {
                words.extend(["--link", CONDITIONS].map(OsStr::new));
            }
            words.extend(["--", "sleep", "300"].map(OsStr::new));
            let mut keeper = stage.command(false, !of_root, &words);
            keeper.stdout(Stdio::null()).stderr(Stdio::null());
            network.keepers.push(keeper.spawn()?);
            network.wait_for(stage, host, of_root)?;
        }
        Ok(network)
    }

    /// The start of a command line for a program on a host.
    fn run_line(&self, sockeye: &str, host: &str, addr: &str) -> String {
        format!("{sockeye} run --net {} --host {host} --ip {addr} --", self.name)
    }

    /// Waits until a host is there.
    fn wait_for(&self, stage: &Stage, host: &str, of_root: bool) -> Result<(), Box<dyn Error>> {
        let line = format!("{} ps {}", self.sockeye, self.name);
        let words: Vec<&OsStr> = line.split(' ').map(OsStr::new).collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let listed = stage.output(&stage.command(false, !of_root, &words), 10)?;
            if listed.success && listed.text.contains(host) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the host {host} never came").into())
    }

    /// Tells a script where its server and clients run.
    fn prepare(&self, command: &mut Command) {
        let (server, client) = if self.two { (SERVER, CLIENT) } else { ("127.0.0.1", "127.0.0.1") };
        command.env("SERVER_ADDR", server).env("CLIENT_ADDR", client);
        command.env("SRV", self.run_line(&self.for_servers, "server", SERVER));
        let host = if self.two { ("client", CLIENT) } else { ("server", SERVER) };
        command.env("CLI", self.run_line(&self.sockeye, host.0, host.1));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for keeper in &mut self.keepers {
            // Without its programs the network ends.
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
    }
}

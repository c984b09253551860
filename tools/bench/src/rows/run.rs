//! Real programs under `sockeye run`, beside the same script on the kernel's loopback.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::nginx;
use crate::row::{Figure, Row};

/// Starts nginx, waits for it, runs the client that `$1` names, and stops it.
const NGINX: &str = r#"
set -u
cd "$2" || exit 1
nginx -p "$2" -c "$2/nginx.conf" 2>/dev/null & server=$!
for try in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:$PORT/small && break; sleep 0.05; done
case $1 in
  requests) wrk -t1 -c32 -d3s http://127.0.0.1:$PORT/small | awk '/Requests\/sec/ { print $2 }';;
  connections) wrk -t1 -c32 -d3s -H 'Connection: close' http://127.0.0.1:$PORT/small | awk '/Requests\/sec/ { print $2 }';;
  download) curl -s -o /dev/null -w '%{speed_download}\n' http://127.0.0.1:$PORT/large;;
esac
kill $server; wait $server 2>/dev/null
"#;

/// The same with redis, and its own benchmark's default: 50 clients, one request at a time each. Prints the mean rate.
const REDIS: &str = r#"
set -u
redis-server --port $PORT --bind 127.0.0.1 --save '' --appendonly no --dir "$2" > /dev/null & server=$!
for try in $(seq 100); do redis-cli -p $PORT ping > /dev/null 2>&1 && break; sleep 0.05; done
redis-benchmark -p $PORT -t set,get -n 60000 --csv | tr -d '"' | awk -F, '/^(SET|GET),/ { sum += $2; rows++ } END { if (rows == 2) print sum / rows }'
kill $server; wait $server 2>/dev/null
"#;

/// Where the servers listen.
const PORT: u16 = 18080;

pub(super) fn rows(sockeye: &Path) -> Vec<Row> {
    let row = |name, unit, (script, client): (&'static str, &'static str), goal, scale: f64| {
        let sockeye = sockeye.to_path_buf();
        Row {
            name,
            unit,
            peer: "kernel loopback",
            goal,
            smaller: false,
            ours: Box::new(move || run(Some(&sockeye), script, client).map(|figure| figure * scale)),
            theirs: Box::new(move || run(None, script, client).map(|figure| figure * scale)),
        }
    };
    vec![
        row("run: nginx keep-alive requests", "1/s", (NGINX, "requests"), 0.6, 1.0),
        row("run: nginx new connections", "1/s", (NGINX, "connections"), 0.3, 1.0),
        row("run: nginx 1 GiB download", "Gbit/s", (NGINX, "download"), 0.25, 8e-9),
        row("run: redis-benchmark", "1/s", (REDIS, "requests"), 0.6, 1.0),
    ]
}

/// The beginning of a command that is ended after a minute.
fn bounded() -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60"]);
    command
}

/// Runs a script, under Sockeye where `sockeye` is given, and returns the number it prints.
fn run(sockeye: Option<&PathBuf>, script: &str, client: &str) -> Figure {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    nginx::prepare(folder.path(), PORT).map_err(|error| format!("can't prepare files: {error}"))?;
    let mut command = match sockeye {
        Some(sockeye) if !sockeye.is_file() => {
            return Err(format!("{} is missing: cargo build --release", sockeye.display()));
        }
        Some(sockeye) => {
            let mut command = bounded();
            command.arg(sockeye).args(["run", "--", "sh"]);
            command
        }
        None => {
            let mut command = bounded();
            command.arg("sh");
            command
        }
    };
    let shell = command
        .args(["-c", script, "sh", client])
        .arg(folder.path())
        .env("PORT", PORT.to_string())
        .stdin(Stdio::null());
    let output = shell.output().map_err(|error| format!("can't start sh: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().ok().filter(|figure| *figure > 0.0).ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("needs nginx, curl, wrk and redis; the script printed {text:?} {}", errors.trim())
    })
}

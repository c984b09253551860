//! Real programs under `sockeye run`, beside the same script on the kernel's loopback.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::nginx;
use crate::row::{Figure, Row};

/// Starts nginx, waits for it, runs the client that `$1` names, and stops it.
const SCRIPT: &str = r#"
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

/// Where nginx listens.
const PORT: u16 = 18080;

pub(super) fn rows(sockeye: &Path) -> Vec<Row> {
    let row = |name, unit, client: &'static str, goal, scale: f64| {
        let sockeye = sockeye.to_path_buf();
        Row {
            name,
            unit,
            peer: "kernel loopback",
            goal,
            smaller: false,
            ours: Box::new(move || script(Some(&sockeye), client).map(|figure| figure * scale)),
            theirs: Box::new(move || script(None, client).map(|figure| figure * scale)),
        }
    };
    vec![
        row("run: nginx keep-alive requests", "1/s", "requests", 0.6, 1.0),
        row("run: nginx new connections", "1/s", "connections", 0.3, 1.0),
        row("run: nginx 1 GiB download", "Gbit/s", "download", 0.25, 8e-9),
    ]
}

/// Runs the script, under Sockeye where `sockeye` is given, and returns the number it prints.
fn script(sockeye: Option<&PathBuf>, client: &str) -> Figure {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    nginx::prepare(folder.path(), PORT).map_err(|error| format!("can't prepare files: {error}"))?;
    let mut command = match sockeye {
        Some(sockeye) if !sockeye.is_file() => {
            return Err(format!("{} is missing: cargo build --release", sockeye.display()));
        }
        Some(sockeye) => {
            let mut command = Command::new(sockeye);
            command.args(["run", "--"]);
            command.arg("sh");
            command
        }
        None => Command::new("sh"),
    };
    let shell = command
        .args(["-c", SCRIPT, "sh", client])
        .arg(folder.path())
        .env("PORT", PORT.to_string())
        .stdin(Stdio::null());
    let output = shell.output().map_err(|error| format!("can't start sh: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().ok().filter(|figure| *figure > 0.0).ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("needs nginx, curl and wrk; the script printed {text:?} {}", errors.trim())
    })
}

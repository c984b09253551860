//! How long each part took last time on this machine, to tell beforehand how long a run will take.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Seconds of parts that have not run here yet, by the start of their names.
const GUESSES: [(&str, u64); 6] =
    [("apps", 10), ("test_socket", 120), ("libuv", 90), ("socat", 600), ("redis", 40), ("", 20)];

/// Seconds by name, and the file that keeps them.
pub(super) struct Times {
    seconds: BTreeMap<String, u64>,
    file: PathBuf,
}

impl Times {
    /// Reads what the runs before have left in a folder.
    pub(super) fn read(folder: &Path) -> Times {
        let file = folder.join("times");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let seconds = text.lines().filter_map(|line| {
            let (seconds, name) = line.split_once(' ')?;
            Some((name.to_owned(), seconds.parse().ok()?))
        });
        Times { seconds: seconds.collect(), file }
    }

    /// How many seconds a part will take.
    pub(super) fn expected(&self, name: &str) -> u64 {
        let guess =
            || GUESSES.iter().find(|(start, _)| name.starts_with(start)).map_or(0, |(_, guess)| *guess);
        self.seconds.get(name).copied().unwrap_or_else(guess)
    }

    /// How many it took.
    pub(super) fn took(&mut self, name: &str, seconds: u64) {
        self.seconds.insert(name.to_owned(), seconds);
    }

    /// Keeps them for the next run.
    pub(super) fn write(&self) -> io::Result<()> {
        let mut text = String::new();
        for (name, seconds) in &self.seconds {
            let _ = writeln!(text, "{seconds} {name}");
        }
        fs::write(&self.file, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_tells_how_long_the_next_one_takes() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = Times::read(folder.path());
        assert_eq!(["apps, one host: x", "tcl"].map(|name| times.expected(name)), [10, 20]);
        times.took("apps, one host: x", 7);
        times.took("apps, one host: x", 3);
        times.write().unwrap();
        let times = Times::read(folder.path());
        assert_eq!(["apps, one host: x", "tcl"].map(|name| times.expected(name)), [3, 20]);
    }
}

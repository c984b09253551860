//! The programs' output: cut into lines, and printed with the host's name before each.

use std::io::Write;

/// A line that has no end after so many bytes is cut.
const LONGEST_LINE: usize = 64 * 1024;

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// The lines that `data` completes, without their ends.
    pub(super) fn push(&mut self, data: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            self.open.extend_from_slice(piece);
            if self.open.last() == Some(&b'\n') {
                self.open.pop();
                lines.push(std::mem::take(&mut self.open));
            } else if self.open.len() >= LONGEST_LINE {
                lines.push(std::mem::take(&mut self.open));
            }
        }
        lines
    }

    /// What came after the last line's end.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        (!self.open.is_empty()).then(|| std::mem::take(&mut self.open))
    }
}

/// Prints lines as `host │ line`.
#[derive(Debug)]
pub(super) struct Printer {
    width: usize,
    quiet: bool,
}

impl Printer {
    pub(super) fn new<'a>(hosts: impl Iterator<Item = &'a str>, quiet: bool) -> Printer {
        Printer { width: hosts.map(str::len).max().unwrap_or_default(), quiet }
    }

    pub(super) fn print(&mut self, host: &str, line: &[u8]) {
        if self.quiet {
            return;
        }
        let text = String::from_utf8_lossy(line);
        // A closed standard output ends the printing, not the lab.
        let _ = writeln!(
            std::io::stdout(),
            "{host:<width$} │ {}",
            text.trim_end_matches('\r'),
            width = self.width
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_come_in() {
        let mut lines = Lines::default();
        assert!(lines.push(b"on").is_empty());
        assert_eq!(lines.push(b"e\ntwo\n\nthr"), [b"one".to_vec(), b"two".to_vec(), b"".to_vec()]);
        assert_eq!(lines.finish(), Some(b"thr".to_vec()));
        assert_eq!(lines.finish(), None);
        let long = vec![b'x'; LONGEST_LINE];
        assert_eq!(lines.push(&long).len(), 1, "a line without end is cut");
    }
}

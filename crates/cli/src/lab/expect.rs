//! Whether a program did what the lab file expects of it.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitStatus;

use std::os::unix::process::ExitStatusExt;

use sha2::{Digest, Sha256};

use super::file::Expect;

/// Characters of an output that are shown when it is not what was expected.
const SHOWN: usize = 80;

/// The exit status as a shell reports it: 128 + the signal's number for a death by signal.
pub(super) fn exit_number(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Every way in which an ended program fell short, empty when it held.
///
/// `folder` is the program's working directory, from which the files' paths count.
pub(super) fn shortfalls(expect: &Expect, status: ExitStatus, stdout: &[u8], folder: &Path) -> Vec<String> {
    let Expect { exit, stdout: pattern, sha256 } = expect;
    let mut shortfalls = Vec::new();
    let got = exit_number(status);
    if got != *exit {
        shortfalls.push(format!("exit status {got}, expected {exit}"));
    }
    if let Some(pattern) = pattern {
        let text = String::from_utf8_lossy(stdout);
        if !pattern.is_match(&text) {
            let start: String = text.chars().take(SHOWN).collect();
            shortfalls.push(format!("its output doesn't match {pattern}; it begins with {start:?}"));
        }
    }
    for (file, expected) in sha256 {
        match sha256_of(&folder.join(file)) {
            Ok(sum) if sum.eq_ignore_ascii_case(expected) => {}
            Ok(sum) => shortfalls.push(format!("{} has sha256 {sum}, expected {expected}", file.display())),
            Err(error) => shortfalls.push(format!("can't read {}: {error}", file.display())),
        }
    }
    shortfalls
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut block = vec![0; 1 << 16];
    loop {
        let read = io::Read::read(&mut file, &mut block)?;
        if read == 0 {
            break;
        }
        hash.update(&block[..read]);
    }
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn names_every_shortfall() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("abc"), "abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut expect = Expect { exit: 0, stdout: Some(Regex::new("^ok").unwrap()), sha256: [].into() };
        expect.sha256.insert("abc".into(), sum.to_uppercase());
        assert_eq!(shortfalls(&expect, exited(0), b"ok then", folder.path()), Vec::<String>::new());

        expect.sha256.insert("abc".into(), sum.replace('b', "c"));
        expect.sha256.insert("none".into(), sum.to_string());
        let found = shortfalls(&expect, exited(3), b"no", folder.path());
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], "exit status 3, expected 0");
        assert!(found[2].starts_with("abc has sha256 ba78"), "{found:?}");
        assert!(found[3].starts_with("can't read none"), "{found:?}");
    }

    #[test]
    fn death_by_signal_counts_as_a_shell_counts_it() {
        assert_eq!(exit_number(ExitStatus::from_raw(9)), 137);
        let expect = Expect { exit: 137, ..Expect::default() };
        assert!(shortfalls(&expect, ExitStatus::from_raw(9), b"", Path::new("/")).is_empty());
    }
}

//! `sockeye doctor` as a user runs it.

use std::process::Command;

#[test]
fn the_table_fits_a_terminal_and_the_status_says_whether_programs_can_run() {
    let doctor = Command::new(env!("CARGO_BIN_EXE_sockeye")).arg("doctor").output().unwrap();
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(String::from_utf8_lossy(&doctor.stderr), "");
    for what in
        ["kernel", "seccomp notification", "programs' memory", "Landlock", "open files", "name servers"]
    {
        assert!(text.contains(what), "{what}:\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert!(["ok ", "limited ", "missing ", "   "].iter().any(|start| line.starts_with(start)), "{line}");
    }
    let missing = text.lines().any(|line| line.starts_with("missing"));
    assert_eq!(doctor.status.code(), Some(i32::from(missing)), "{text}");
}

//! A launch that fails leaves nothing behind. Alone in its process, whose descriptors and children it counts.

mod common;

use common::Lab;
use sockeye_run::{LaunchError, ProgramSpec, Stdio};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Descriptors and children of this process.
fn belongings() -> (Vec<String>, String) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let mut names: Vec<_> = descriptors
        .filter_map(|fd| Some(fs::read_link(fd.unwrap().path()).ok()?.display().to_string()))
        .collect();
    names.sort();
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect();
    (names, children)
}

#[test]
fn a_failed_launch_leaves_nothing_behind() {
    let script = std::env::temp_dir().join(format!("sockeye-no-interpreter-{}", std::process::id()));
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut lab = Lab::new();
    let spec = ProgramSpec {
        host: Some(lab.supervisor.network().unwrap().host("a").unwrap().id()),
        argv: vec!["true".into()],
        env: Vec::new(),
        cwd: None,
        stdin: Stdio::Null,
        stdout: Stdio::Pipe,
        stderr: Stdio::Pipe,
    };
    let nowhere =
        ProgramSpec { cwd: Some("/no/such/folder".into()), argv: vec!["/bin/true".into()], ..spec.clone() };
    let headless = ProgramSpec { argv: vec![script.clone().into()], ..spec };
    // The first round may make what stays, such as a file that the runtime keeps open.
    let mut counted = None;
    for _ in 0..3 {
        let error = lab.supervisor.spawn(&nowhere).unwrap_err();
        assert!(matches!(error, LaunchError::Directory(..)), "{error}");
        let error = lab.supervisor.spawn(&headless).unwrap_err();
        assert!(matches!(error, LaunchError::NotFound(_)), "{error}");
        let (names, children) = belongings();
        assert_eq!(children, "");
        assert_eq!(&names, counted.get_or_insert_with(|| names.clone()));
    }
    fs::remove_file(script).unwrap();
}

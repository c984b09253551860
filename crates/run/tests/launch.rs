//! Programs start, end and fail as they do without a supervisor.

mod common;

use common::Lab;
use sockeye_run::LaunchError;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;

#[test]
fn output_and_status_are_the_programs() {
    let mut lab = Lab::new();
    let program = lab.start("a", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    let outcome = lab.finish(program);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(outcome.status.unwrap().code(), Some(7));
}

#[test]
fn death_by_signal_is_told() {
    let mut lab = Lab::new();
    let program = lab.start("a", &["sh", "-c", "kill -9 $$"]);
    assert_eq!(lab.finish(program).status.unwrap().signal(), Some(9));
    let sleeper = lab.start("a", &["sleep", "100"]);
    lab.supervisor.kill(sleeper, libc::SIGTERM);
    assert_eq!(lab.finish(sleeper).status.unwrap().signal(), Some(libc::SIGTERM));
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut lab = Lab::new();
    let missing = lab.try_start("a", &["no-such-program-here"]).unwrap_err();
    assert_eq!(missing.exit_status(), 127, "{missing}");
    let missing = lab.try_start("a", &["/no/such/program"]).unwrap_err();
    assert_eq!(missing.exit_status(), 127, "{missing}");
    let directory = lab.try_start("a", &["/tmp"]).unwrap_err();
    assert_eq!(directory.exit_status(), 126, "{directory}");
    let plain = lab.try_start("a", &["/etc/passwd"]).unwrap_err();
    assert_eq!(plain.exit_status(), 126, "{plain}");
    assert_eq!(plain.to_string(), "/etc/passwd: can't be executed: permission denied");
    assert!(matches!(lab.try_start("a", &[]), Err(LaunchError::BadArgument)));
}

#[test]
fn a_script_without_an_interpreter_is_the_shells() {
    let path = std::env::temp_dir().join(format!("sockeye-script-{}", std::process::id()));
    std::fs::write(&path, "echo \"$1\" from $0\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut lab = Lab::new();
    let program = lab.start("a", &[path.to_str().unwrap(), "word"]);
    let output = lab.output(program);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(output, format!("word from {}\n", path.display()));
}

#[test]
fn the_program_finds_its_surroundings_as_they_were() {
    let script = "import resource,signal;print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], \
                  signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGTERM))";
    let here = std::process::Command::new("/usr/bin/python3").args(["-c", script]).output().unwrap();
    let mut lab = Lab::new();
    let there = lab.python("a", script);
    // The first supervisor of this process may have raised the limit before: programs get what was found.
    let (here, there) = (String::from_utf8(here.stdout).unwrap(), lab.output(there));
    let words = |text: &str| text.split_whitespace().skip(1).map(String::from).collect::<Vec<_>>();
    assert_eq!(words(&there), words(&here));
}

#[test]
fn other_families_and_rings_are_refused() {
    let mut lab = Lab::new();
    let script = "
import socket, errno, ctypes
for family, kind, proto in [(16, 3, 9), (31, 1, 0), (2, 3, 0), (2, 1, 262), (2, 2, 58), (2, 5, 0)]:
    try:
        socket.socket(family, kind, proto)
        print('made', family, kind, proto)
    except OSError as e:
        print(errno.errorcode[e.errno])
a, b = socket.socketpair()
a.send(b'x'); print(b.recv(1))
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(425, 8, 0), errno.errorcode[ctypes.get_errno()])
";
    let program = lab.python("a", script);
    let expected = "EPROTONOSUPPORT EAFNOSUPPORT EPROTONOSUPPORT EPROTONOSUPPORT EPROTONOSUPPORT ESOCKTNOSUPPORT b'x' -1 ENOSYS";
    assert_eq!(lab.output(program).split_whitespace().collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn dropping_the_supervisor_ends_its_programs() {
    let mut lab = Lab::new();
    let program = lab.start("a", &["sh", "-c", "echo $$; exec sleep 100"]);
    lab.until_printed(program, "\n");
    let pid: i32 = lab.outcomes[&program].stdout.trim().parse().unwrap();
    drop(lab);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn programs_outlive_the_thread_that_starts_them() {
    let mut lab = Lab::new();
    // Each is told to die with its parent, and its first parent is a thread that is about to end.
    let programs: Vec<_> = (0..50).map(|_| lab.start("a", &["sleep", "0.05"])).collect();
    for program in programs {
        lab.output(program);
    }
    let host = lab.supervisor.network().unwrap().host("a").unwrap().id();
    lab.until("the end of the last process", |lab| !lab.supervisor.is_busy(host));
}

#[test]
fn the_program_is_confined_and_its_supervisor_is_not() {
    let status = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let lines =
            status.lines().filter(|line| line.starts_with("Seccomp") || line.starts_with("NoNewPrivs"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = status();
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "import os
print([line.split()[1] for line in open('/proc/self/status') if line.startswith('Seccomp:')])
for fd in os.listdir('/proc/self/fd'):
    try:
        target = os.readlink('/proc/self/fd/' + fd)
    except OSError:
        continue
    assert 'seccomp' not in target and 'landlock' not in target, target",
    );
    assert_eq!(lab.output(program), "['2']\n");
    assert_eq!(status(), before);
}

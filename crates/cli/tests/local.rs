//! `sockeye local`, with peers of its own and plain ones.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn sockeye(command: &str, path: &Path) -> Child {
    let mut process = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    process.arg("local").args(command.split(' ')).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
    process.spawn().unwrap()
}

/// A plain client of a listener that is about to come.
fn dial(path: &Path) -> UnixStream {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(error) => assert!(start.elapsed() < Duration::from_mins(1), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until it is so, with a program that was just started.
fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether somebody listens there, as the kernel tells it: the file is there before one can connect.
fn is_listened_at(path: &Path) -> bool {
    // Names of others may be no text.
    let sockets = std::fs::read("/proc/net/unix").unwrap();
    let sockets = String::from_utf8_lossy(&sockets);
    let mut columns = sockets.lines().map(|line| line.split_whitespace().skip(3));
    columns.any(|mut line| line.next() == Some("00010000") && line.nth(3).map(Path::new) == Some(path))
}

/// Says something to the process, hears what it prints until its end.
fn hear(mut process: Child, say: &str) -> String {
    process.stdin.take().unwrap().write_all(say.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn listen_and_connect_talk_to_each_other_and_to_plain_programs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listening = sockeye("listen", &path);
    wait_until(|| is_listened_at(&path));
    let connecting = std::thread::spawn({
        let path = path.clone();
        move || hear(sockeye("connect", &path), "from the client")
    });
    assert_eq!(hear(listening, "from the server"), "from the client");
    assert_eq!(connecting.join().unwrap(), "from the server");
    assert!(!path.exists());

    let listening = sockeye("listen", &path);
    let mut plain = dial(&path);
    plain.write_all(b"plain words").unwrap();
    plain.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(hear(listening, "an answer"), "plain words");
    let mut heard = String::new();
    plain.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "an answer");

    let listener = UnixListener::bind(&path).unwrap();
    let connecting = sockeye("connect", &path);
    let (mut plain, _) = listener.accept().unwrap();
    plain.write_all(b"welcome").unwrap();
    plain.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(hear(connecting, "thanks"), "welcome");
}

#[test]
fn datagrams_go_to_and_from_plain_programs() {
    let folder = tempfile::tempdir().unwrap();
    let (to, from) = (folder.path().join("receiver"), folder.path().join("sender"));
    let plain = UnixDatagram::bind(&to).unwrap();
    assert_eq!(hear(sockeye("connect --datagram", &to), "to whom it may concern"), "");
    let mut datagram = [0; 64];
    let (count, sender) = plain.recv_from(&mut datagram).unwrap();
    assert_eq!(&datagram[..count], b"to whom it may concern");
    assert!(!sender.is_unnamed(), "one can answer");
    drop(plain);

    // The file that is there is replaced.
    let mut listening = sockeye("listen -u", &to);
    let plain = UnixDatagram::bind(&from).unwrap();
    wait_until(|| plain.connect(&to).is_ok());
    UnixDatagram::unbound().unwrap().send_to(b"no name; ", &to).unwrap();
    plain.send(b"a question").unwrap();
    let mut heard = [0; 19];
    listening.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"no name; a question");
    listening.stdin.as_mut().unwrap().write_all(b"an answer").unwrap();
    let count = plain.recv(&mut datagram).unwrap();
    assert_eq!(&datagram[..count], b"an answer");
    listening.kill().unwrap();
    listening.wait().unwrap();
}

#[test]
fn bench_prints_both_carriers_and_failures_name_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let table = hear(sockeye("bench", &path), "");
    assert!(table.contains("64 KiB writes") && table.contains("round trip") && !path.exists(), "{table}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_sockeye")).args(["local", "connect"]).arg(&path).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains(path.to_str().unwrap()), "{message}");
    assert_eq!(message.lines().count(), 1);
}

/// Exit status and the one line that was said.
fn fail(command: &str, path: &Path) -> (i32, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    let output = process.args(["local", command]).arg(path).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    (output.status.code().unwrap(), said)
}

#[test]
fn what_cannot_be_done_is_said_and_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"precious").unwrap();
    let used = folder.path().join("used");
    let _listener = UnixListener::bind(&used).unwrap();
    for (command, path, why) in [
        ("listen", &file, "no socket"),
        ("bench", &file, "no socket"),
        ("connect", &file, "no socket"),
        ("listen", &folder.path().to_owned(), "no socket"),
        ("listen", &used, "somebody listens"),
        ("bench", &used, "somebody listens"),
        ("connect", &folder.path().join("nothing"), "No such file"),
        ("listen", &folder.path().join("no/socket"), "no such folder"),
        ("connect", &folder.path().join("x".repeat(200)), "longer than 107"),
    ] {
        let (status, said) = fail(command, path);
        assert!(status == 125 && said.contains(why), "{command} {}: {status} {said}", path.display());
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    assert!(used.exists());
    let stale = folder.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    assert!(fail("connect", &stale).1.contains("nobody listens"));
    let letters = folder.path().join("letters");
    let _letters = std::os::unix::net::UnixDatagram::bind(&letters).unwrap();
    assert!(fail("connect", &letters).1.contains("another type"));
    // A file that is left over is replaced.
    let listening = sockeye("listen", &stale);
    drop(dial(&stale));
    assert_eq!(hear(listening, ""), "");
    assert!(!stale.exists());
}

#[test]
fn a_listener_that_is_ended_leaves_no_file() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let streams = [Signal::INT, Signal::TERM, Signal::HUP].map(|signal| (signal, None));
    for (signal, flag) in streams.into_iter().chain([(Signal::INT, Some("--datagram"))]) {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sockeye"));
        process.args(["local", "listen"]).args(flag).arg(&path).stdin(Stdio::piped());
        let mut listening = process.spawn().unwrap();
        wait_until(|| path.exists());
        kill_process(Pid::from_child(&listening), signal).unwrap();
        assert_eq!(listening.wait().unwrap().signal(), Some(signal.as_raw()));
        assert!(!path.exists());
    }
}

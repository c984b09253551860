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
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
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
    let start = Instant::now();
    while plain.connect(&to).is_err() {
        assert!(start.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(5));
    }
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

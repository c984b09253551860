//! A process is killed at any moment: its peer sees the end soon, and nothing is left of the connection.
//!
//! Each round's child is this program again. `SOCKEYE_LOCAL_KILLS` says how many rounds, and `SOCKEYE_LOCAL_SEED` from which
//! seed; `ci/local.sh` runs a thousand.

#![cfg(target_os = "linux")]

mod queued;

use queued::{own_thread, queued};
use sockeye_local::{DEFAULT_RING, LocalListener, LocalStream};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const PATH: &str = "SOCKEYE_LOCAL_TEST_PATH";
const LISTENS: &str = "SOCKEYE_LOCAL_TEST_LISTENS";
const AT_ONCE: &str = "SOCKEYE_LOCAL_TEST_AT_ONCE";

/// When the other must have seen the end. Machines that run tests are busy: the script asks for 100 ms.
fn limit() -> Duration {
    Duration::from_millis(number("SOCKEYE_LOCAL_LIMIT").unwrap_or(2_000))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The child's part: does nothing in the parent.
#[test]
fn child() {
    let Ok(path) = std::env::var(PATH).map(PathBuf::from) else { return };
    let stream = if std::env::var_os(LISTENS).is_some() {
        LocalListener::bind(path).unwrap().accept().unwrap().0
    } else {
        dial(&path, std::env::var_os(AT_ONCE).is_some()).unwrap()
    };
    let reader = stream.try_clone().unwrap();
    thread::spawn(move || while (&reader).read(&mut [0; 3000]).is_ok_and(|count| count > 0) {});
    let mut size = 1;
    while (&stream).write_all(&vec![1; size]).is_ok() {
        size = size * 7 % 9973;
        if size % 5 == 0 {
            thread::sleep(Duration::from_micros(size as u64 / 10));
        }
    }
}

/// Over shared memory at once, or after a while.
fn dial(path: &Path, at_once: bool) -> std::io::Result<LocalStream> {
    if at_once { LocalStream::connect_with(path, DEFAULT_RING) } else { LocalStream::connect(path) }
}

fn spawn(path: &Path, listens: bool, at_once: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact"]).env(PATH, path).stdout(Stdio::null()).stderr(Stdio::null());
    for (name, is_set) in [(LISTENS, listens), (AT_ONCE, at_once)] {
        if is_set {
            command.env(name, "1");
        }
    }
    command.spawn().unwrap()
}

/// A listener's file is there before one can connect.
fn connect(path: &Path, at_once: bool) -> LocalStream {
    let start = Instant::now();
    loop {
        match dial(path, at_once) {
            Ok(stream) => return stream,
            Err(error) => assert!(start.elapsed() < Duration::from_mins(1), "{error}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// What the process has open and mapped of ours.
fn possessions() -> (usize, usize) {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let target = entry.as_ref().map(|entry| std::fs::read_link(entry.path()));
        matches!(target, Ok(Ok(target)) if target.to_string_lossy().contains("sockeye-local"))
    });
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (open.count(), maps.lines().filter(|line| line.contains("sockeye-local")).count())
}

/// One round; how long the slower of the parent's two threads took to see the end.
fn kill_one(path: &Path, listens: bool, after: Duration, mode: u64) -> Duration {
    let listener = (!listens).then(|| LocalListener::bind(path).unwrap());
    let at_once = (mode / 3).is_multiple_of(2);
    let mut child = spawn(path, listens, at_once);
    let stream = match &listener {
        Some(listener) => listener.accept().unwrap().0,
        None => connect(path, at_once),
    };
    assert_eq!(stream.is_shared_memory(), at_once);
    let writer = stream.try_clone().unwrap();
    let (name, names) = mpsc::channel();
    let writers_name = name.clone();
    let reading = thread::spawn(move || {
        name.send(own_thread()).unwrap();
        loop {
            match (&stream).read(&mut [0; 5000]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => break assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
        (Instant::now(), own_thread(), queued(own_thread()))
    });
    let writing = thread::spawn(move || {
        writers_name.send(own_thread()).unwrap();
        loop {
            // Much, so that it waits for room; a little again and again; or rarely.
            let (size, pause) = [(50_000, 0), (10, 0), (10, 10)][mode as usize % 3];
            if let Err(error) = (&writer).write_all(&vec![2; size]) {
                assert!(
                    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                    "{error}"
                );
                break (Instant::now(), own_thread(), queued(own_thread()));
            }
            thread::sleep(Duration::from_millis(pause));
        }
    });
    thread::sleep(after);
    let before: HashMap<_, _> = names.iter().take(2).map(|thread| (thread, queued(thread))).collect();
    child.kill().unwrap();
    let killed = Instant::now();
    child.wait().unwrap();
    let dead = killed.elapsed();
    let [reading, writing] =
        [reading.join().unwrap(), writing.join().unwrap()].map(|(end, thread, queued)| {
            // On a busy machine a thread may stand in line for long, as may the process that is to die.
            (end.saturating_duration_since(killed), queued.saturating_sub(before[&thread]))
        });
    let slowest =
        reading.0.saturating_sub(reading.1).max(writing.0.saturating_sub(writing.1)).saturating_sub(dead);
    assert!(slowest < limit(), "{reading:?}, {writing:?}, dead after {dead:?}, in mode {}", mode % 3);
    slowest
}

#[test]
fn killed_at_any_moment() {
    let mut numbers = number("SOCKEYE_LOCAL_SEED").unwrap_or(0x5eed).max(1);
    let mut next = || {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        numbers
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut slowest = Duration::ZERO;
    for _ in 0..number("SOCKEYE_LOCAL_KILLS").unwrap_or(8) {
        let after =
            Duration::from_micros(next() % 20_000 + if next().is_multiple_of(10) { 100_000 } else { 0 });
        slowest = slowest.max(kill_one(&path, next().is_multiple_of(2), after, next()));
        // The file that a killed listener left is replaced by the next round's.
        assert_eq!(possessions(), (0, 0));
    }
    println!("the slowest saw it after {slowest:?}");
}

//! A pair whose ends are two processes', by a fork; and one of them is killed at any moment.
//!
//! `SOCKEYE_LOCAL_KILLS` says how many rounds, and `SOCKEYE_LOCAL_SEED` from which seed.

#![cfg(target_os = "linux")]

mod queued;

use queued::{own_thread, queued};
use rustix::io::Errno;
use sockeye_local::LocalDatagram;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// When the other must have been told. Machines that run tests are busy: the script asks for 100 ms.
fn limit() -> Duration {
    Duration::from_millis(number("SOCKEYE_LOCAL_LIMIT").unwrap_or(2_000))
}

/// One at a time: a forked process has all that the others have open.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the child's part in a process of its own.
fn fork(child: impl FnOnce() -> bool) -> libc::pid_t {
    // SAFETY: the child uses sockets that no other thread had, and ends.
    let process = unsafe { libc::fork() };
    if process == 0 {
        let is_good = child();
        // SAFETY: it ends the process, and nothing of it runs any more.
        unsafe { libc::_exit(if is_good { 7 } else { 1 }) };
    }
    assert!(process > 0);
    process
}

fn wait(process: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is there to be written to.
    let waited = unsafe { libc::waitpid(process, &raw mut status, 0) };
    assert_eq!(waited, process);
    status
}

/// What the process has mapped of ours.
fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("sockeye-local")).count()
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<Errno> {
    Errno::from_io_error(&result.unwrap_err())
}

/// A pair of which this process keeps one end and a child has the other.
fn with_child(child: impl FnOnce(LocalDatagram) -> bool) -> (LocalDatagram, libc::pid_t) {
    let (ours, theirs) = LocalDatagram::pair().unwrap();
    assert!(ours.is_shared_memory());
    ours.send(b"before").unwrap();
    let (mut ours, mut theirs) = (Some(ours), Some(theirs));
    let process = fork(|| {
        drop(ours.take());
        theirs.take().is_some_and(child)
    });
    drop(theirs.take());
    (ours.unwrap(), process)
}

/// Each process drops the end that is the other's, as is done with any descriptor.
#[test]
fn each_process_has_an_end() {
    let _alone = alone();
    let (ours, child) = with_child(|theirs| {
        let mut datagram = [0; 64];
        (0..101).all(|_| {
            let received = theirs.recv(&mut datagram);
            received.is_ok_and(|len| theirs.send(&datagram[..len]).is_ok_and(|sent| sent == len))
        })
    });
    let mut datagram = [0; 64];
    assert_eq!(ours.recv(&mut datagram).unwrap(), 6);
    for round in 0..100 {
        assert_eq!(ours.send(&vec![3; round % 50]).unwrap(), round % 50);
        assert_eq!(ours.recv(&mut datagram).unwrap(), round % 50);
    }
    let status = wait(child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
    let start = Instant::now();
    while ours.send(b"x").is_ok() {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(start.elapsed() < limit());
    assert_eq!(errno(ours.send(b"x")), Some(Errno::NOTCONN));
}

/// A child that closes what it got by the way doesn't bring back an end that was connected to another.
#[test]
fn who_has_left_stays_away_until_all_have_closed() {
    let _alone = alone();
    let (ours, theirs) = LocalDatagram::pair().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = LocalDatagram::bind(folder.path().join("other")).unwrap();
    theirs.connect(folder.path().join("other")).unwrap();
    assert_eq!(errno(ours.send(b"x")), Some(Errno::PERM));
    let mut theirs = Some(theirs);
    let child = fork(|| {
        drop(theirs.take());
        true
    });
    wait(child);
    assert_eq!(errno(ours.send(b"x")), Some(Errno::PERM));
    theirs.as_ref().unwrap().send(b"hello").unwrap();
    assert_eq!(other.recv(&mut [0; 8]).unwrap(), 5);
    drop(theirs);
    assert_eq!(errno(ours.send(b"x")), Some(Errno::CONNREFUSED));
}

/// How long the sender took to be told that its peer was killed, and not a datagram before.
fn kill_one(after: Duration, mode: u64) -> Duration {
    let (ours, child) = with_child(|theirs| {
        let mut datagram = [0; 5000];
        loop {
            // Only receives; receives and answers; only sends; does nothing.
            match mode % 4 {
                0 => drop(theirs.recv(&mut datagram)),
                1 => drop(theirs.recv(&mut datagram).and_then(|len| theirs.send(&datagram[..len]))),
                2 => drop(theirs.send(&datagram[..100])),
                _ => thread::sleep(Duration::from_mins(1)),
            }
        }
    });
    ours.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let receiver = ours.try_clone().unwrap();
    let receiving = thread::spawn(move || {
        // Until it isn't one of a pair any more.
        while receiver.is_shared_memory() {
            let _ = receiver.recv(&mut [0; 5000]);
        }
    });
    let (name, names) = mpsc::channel();
    let sending = thread::spawn(move || {
        name.send(own_thread()).unwrap();
        let error = loop {
            // Much, so that it waits for room; a little again and again; or rarely.
            let (size, pause) = [(4000, 0), (10, 0), (10, 10)][(mode / 4) as usize % 3];
            if let Err(error) = ours.send(&vec![2; size]) {
                break error;
            }
            thread::sleep(Duration::from_millis(pause));
        };
        assert_eq!(Errno::from_io_error(&error), Some(Errno::CONNREFUSED));
        (Instant::now(), queued(own_thread()))
    });
    thread::sleep(after);
    let before = queued(names.recv().unwrap());
    assert!(!sending.is_finished(), "told too early");
    let killed = Instant::now();
    // SAFETY: it is this process's child, which wasn't waited for yet.
    assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
    wait(child);
    let dead = killed.elapsed();
    let (end, queued) = sending.join().unwrap();
    receiving.join().unwrap();
    // On a busy machine a thread may stand in line for long, as may the process that is to die.
    let (told, queued) = (end.saturating_duration_since(killed), queued.saturating_sub(before));
    let slow = told.saturating_sub(queued).saturating_sub(dead);
    assert!(slow < limit(), "{told:?}, {queued:?} of it in line, dead after {dead:?}, in mode {mode}");
    slow
}

#[test]
fn killed_at_any_moment() {
    let _alone = alone();
    let mut numbers = number("SOCKEYE_LOCAL_SEED").unwrap_or(0x5eed).max(1);
    let mut next = || {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        numbers
    };
    let mut slowest = Duration::ZERO;
    for round in 0..number("SOCKEYE_LOCAL_KILLS").unwrap_or(12) {
        let after =
            Duration::from_micros(next() % 20_000 + if next().is_multiple_of(10) { 100_000 } else { 0 });
        slowest = slowest.max(kill_one(after, round));
        assert_eq!(mappings(), 0);
    }
    println!("the slowest was told after {slowest:?}");
}

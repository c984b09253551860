//! Streams, packets and listeners in processes that are forked from their own, or become another program.

#![cfg(target_os = "linux")]

use sockeye_local::{DEFAULT_RING, LocalListener, LocalPackets, LocalStream};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// When the other end must have seen a close: within 100 ms, but machines that run tests are busy.
fn limit() -> Duration {
    let set = std::env::var("SOCKEYE_LOCAL_LIMIT").ok().and_then(|text| text.parse().ok());
    Duration::from_millis(set.unwrap_or(2_000))
}

/// One at a time: a forked process has all that the others have open.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that was forked from this one, killed at the end.
struct Child(libc::pid_t);

impl Child {
    /// Runs a part in a process of its own, which says whether it went well.
    fn fork(part: impl FnOnce() -> bool) -> Child {
        // SAFETY: the child uses what no other thread is about to use, and ends.
        let process = unsafe { libc::fork() };
        if process == 0 {
            let is_good = part();
            // SAFETY: it ends the process, and nothing of it runs any more.
            unsafe { libc::_exit(if is_good { 7 } else { 1 }) };
        }
        assert!(process > 0);
        Child(process)
    }

    fn wait(self) {
        let mut status = 0;
        // SAFETY: `status` is there to be written to.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(waited, self.0);
        std::mem::forget(self);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status:x}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a process of ours, which nobody has waited for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

fn connected() -> (LocalStream, LocalStream) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let client = LocalStream::connect_with(&path, DEFAULT_RING).unwrap();
    let server = listener.accept().unwrap().0;
    assert!(client.is_shared_memory());
    (client, server)
}

/// A signal between processes, by which the tests say what comes first.
struct Gate(UnixStream, UnixStream);

impl Gate {
    fn new() -> Gate {
        let (one, other) = UnixStream::pair().unwrap();
        other.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Gate(one, other)
    }

    fn open(&self) -> bool {
        (&self.0).write_all(b"x").is_ok()
    }

    fn pass(&self) -> bool {
        (&self.1).read_exact(&mut [0]).is_ok()
    }
}

/// The end comes soon, and nothing before it.
fn ends_soon(mut stream: impl Read) {
    let start = Instant::now();
    assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0);
    assert!(start.elapsed() < limit(), "{:?}", start.elapsed());
}

/// A client that a forked process accepted would find its connection closed, where its offer is in this one's memory.
#[test]
fn a_forked_process_is_refused_before_it_takes_a_connection() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let mut client = LocalStream::connect_with(&path, DEFAULT_RING).unwrap();
    let listener = &listener;
    Child::fork(|| listener.accept().is_err_and(|error| error.kind() == ErrorKind::Unsupported)).wait();
    client.write_all(b"x").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert!(server.is_shared_memory());
    server.read_exact(&mut [0]).unwrap();
}

/// A server that forks for each of its clients.
#[test]
fn the_child_serves_while_its_parent_closes() {
    let _alone = alone();
    let (mut client, mut server) = connected();
    let closed = Gate::new();
    let child = {
        let (server, closed) = (&mut server, &closed);
        Child::fork(move || {
            let mut word = [0; 5];
            closed.pass() && server.read_exact(&mut word).is_ok() && server.write_all(&word).is_ok()
        })
    };
    drop(server);
    // Time for the client to see what it must not see.
    thread::sleep(Duration::from_millis(100));
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    closed.open();
    client.write_all(b"hello").unwrap();
    let mut word = [0; 5];
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"hello");
    ends_soon(&client);
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    child.wait();
}

/// And one that keeps its client, while the child closes what it got by the way, or just ends.
#[test]
fn the_parent_serves_while_its_child_closes() {
    let _alone = alone();
    for drops in [true, false] {
        let (mut client, server) = connected();
        let mut server = Some(server);
        let part = || {
            if drops {
                drop(server.take());
            }
            true
        };
        Child::fork(part).wait();
        thread::sleep(Duration::from_millis(100));
        let mut server = server.expect("this process has it still");
        client.write_all(b"hello").unwrap();
        let mut word = [0; 5];
        server.read_exact(&mut word).unwrap();
        server.write_all(&word).unwrap();
        client.read_exact(&mut word).unwrap();
        drop(server);
        ends_soon(&client);
    }
}

#[test]
fn an_end_is_over_once_both_have_closed_it() {
    let _alone = alone();
    let (client, server) = connected();
    let (last, closed) = (Gate::new(), Gate::new());
    let mut server = Some(server);
    let child = {
        let (server, last, closed) = (&mut server, &last, &closed);
        Child::fork(move || {
            let is_last = last.pass();
            drop(server.take());
            is_last && closed.open() && last.pass()
        })
    };
    drop(server.take());
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!((&client).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_read_timeout(None).unwrap();
    last.open();
    assert!(closed.pass());
    ends_soon(&client);
    last.open();
    child.wait();
}

/// Both processes had the end before it went over to shared memory, which only one of them knows of.
#[test]
fn a_close_after_going_over_is_not_for_who_has_the_end_still() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let mut client = LocalStream::connect(&path).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let over = Gate::new();
    let holder = Child::fork(|| over.pass());
    for _ in 0..40 {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        server.write_all(b"y").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    assert!(client.is_shared_memory());
    drop(client);
    server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    server.set_read_timeout(None).unwrap();
    over.open();
    holder.wait();
    ends_soon(&server);
}

#[test]
fn a_shutdown_is_one_for_both() {
    let _alone = alone();
    let (mut client, mut server) = connected();
    let child = {
        let server = &mut server;
        Child::fork(move || server.write_all(b"last").is_ok() && server.shutdown(Shutdown::Write).is_ok())
    };
    child.wait();
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "last");
    client.write_all(b"x").unwrap();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
    assert_eq!(server.write(b"y").unwrap_err().kind(), ErrorKind::BrokenPipe);
    {
        let server = &server;
        Child::fork(move || server.shutdown(Shutdown::Read).is_ok()).wait();
    }
    ends_soon(&server);
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

/// Who polls its socket has bells there that it never looks at, where a read finds the bytes at once.
#[test]
fn a_bell_that_nobody_took_is_no_loss() {
    let _alone = alone();
    let (mut client, mut server) = connected();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    server.write_all(b"x").unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 1);
    Child::fork(|| true).wait();
    drop(client);
    ends_soon(&server);
}

/// Who writes in place may learn meanwhile that nobody is there any more.
#[test]
fn a_stream_is_read_while_it_is_written_in_place() {
    let _alone = alone();
    let (client, server) = connected();
    Child::fork(|| true).wait();
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        server.write_in_place(|_| {
            drop(client);
            done.send((&server).read(&mut [0; 8])).map_or(1, |()| 0)
        })
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(20)).expect("it waits for itself").unwrap(), 0);
}

#[test]
fn who_waits_in_the_parent_is_not_disturbed() {
    let _alone = alone();
    for long in [5, 150] {
        let (mut client, server) = connected();
        let mut copy = Some(server.try_clone().unwrap());
        let waiting = thread::spawn(move || {
            let mut word = [0; 5];
            (&server).read_exact(&mut word).unwrap();
            (word, server)
        });
        // It sleeps on the futex, or waits at the socket.
        thread::sleep(Duration::from_millis(long));
        Child::fork(|| {
            drop(copy.take());
            true
        })
        .wait();
        drop(copy);
        thread::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished());
        client.write_all(b"hello").unwrap();
        let (word, server) = waiting.join().unwrap();
        assert_eq!(&word, b"hello");
        drop(server);
        ends_soon(&client);
    }
}

/// What was written before the fork and read by neither is the peer's loss, as with any close.
#[test]
fn what_neither_has_read_is_told() {
    let _alone = alone();
    let (mut client, server) = connected();
    client.write_all(b"unheard").unwrap();
    let mut server = Some(server);
    Child::fork(|| {
        drop(server.take());
        true
    })
    .wait();
    drop(server);
    let start = Instant::now();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(start.elapsed() < limit());
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn packets_go_on_in_the_child() {
    let _alone = alone();
    let (ours, theirs) = LocalPackets::pair().unwrap();
    let mut theirs = Some(theirs);
    let child = Child::fork(|| {
        let Some(theirs) = theirs.take() else { return false };
        let mut packet = [0; 16];
        (0..100).all(|round| {
            theirs.recv(&mut packet).is_ok_and(|count| count == round % 16)
                && theirs.send(&packet[..round % 16]).is_ok()
        })
    });
    drop(theirs);
    for round in 0..100 {
        ours.send(&[7; 16][..round % 16]).unwrap();
        assert_eq!(ours.recv(&mut [0; 16]).unwrap(), round % 16);
    }
    let start = Instant::now();
    assert_eq!(ours.recv(&mut [0; 16]).unwrap(), 0);
    assert!(start.elapsed() < limit());
    child.wait();
}

/// A program that is started has nothing of it.
#[test]
fn an_end_is_gone_after_exec() {
    let _alone = alone();
    let (client, server) = connected();
    let mut server = Some(server);
    let started = Gate::new();
    let _sleeper = Child::fork(|| {
        let name = c"/bin/sleep";
        started.open();
        // SAFETY: names that end, in a list that ends.
        unsafe {
            libc::execl(name.as_ptr(), name.as_ptr(), c"60".as_ptr(), std::ptr::null::<libc::c_char>())
        };
        false
    });
    assert!(started.pass());
    drop(server.take());
    ends_soon(&client);
    // And one that the standard library starts.
    let (client, server) = connected();
    let mut sleeper = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
    drop(server);
    ends_soon(&client);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

/// Who has its descriptor hasn't the stream, but keeps the connection open, as that of any socket.
#[test]
fn a_descriptor_elsewhere_keeps_the_connection_open() {
    let _alone = alone();
    let (mut client, server) = connected();
    let (holds, over) = (Gate::new(), Gate::new());
    let holder = Child::fork(|| holds.open() && over.pass());
    assert!(holds.pass());
    client.write_all(b"hello").unwrap();
    assert_eq!(server.peek(&mut [0; 8]).unwrap(), 5);
    drop(server);
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_read_timeout(None).unwrap();
    over.open();
    holder.wait();
    let start = Instant::now();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(start.elapsed() < limit());
}

#[test]
fn a_listener_goes_on_when_a_child_closes_its_copy() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let mut early = LocalStream::connect_with(&path, DEFAULT_RING).unwrap();
    let mut listener = Some(listener);
    Child::fork(|| {
        drop(listener.take());
        true
    })
    .wait();
    let listener = listener.expect("this process has it still");
    let mut late = LocalStream::connect_with(&path, DEFAULT_RING).unwrap();
    for client in [&mut early, &mut late] {
        let (mut server, _) = listener.accept().unwrap();
        assert!(server.is_shared_memory());
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
}

/// Each process that was forked can have one of its own, and connections that are its own.
#[test]
fn a_child_listens_and_connects_by_itself() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
    let listener = LocalListener::bind(&ours).unwrap();
    let child = Child::fork(|| {
        let (Ok(own), Ok(mut up)) =
            (LocalListener::bind(&theirs), LocalStream::connect_with(&ours, DEFAULT_RING))
        else {
            return false;
        };
        let mut word = [0; 5];
        up.write_all(b"ready").is_ok()
            && own.accept().is_ok_and(|(mut down, _)| {
                down.is_shared_memory() && down.read_exact(&mut word).is_ok() && down.write_all(&word).is_ok()
            })
    });
    let (mut up, _) = listener.accept().unwrap();
    assert!(up.is_shared_memory());
    let mut word = [0; 5];
    up.read_exact(&mut word).unwrap();
    let mut client = LocalStream::connect_with(&theirs, DEFAULT_RING).unwrap();
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"hello");
    ends_soon(&client);
    ends_soon(&up);
    child.wait();
}

//! Who dials a listener's companion and means no connection: it costs the listener little, and nobody else anything.

use crate::half::Kind;
use crate::rendezvous::{File, Offer, socket};
use crate::{ListenerConfig, LocalListener, LocalStream, SMALLEST_RING};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

fn listener(backlog: u32) -> (LocalListener, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let config = ListenerConfig { backlog, ..ListenerConfig::default() };
    (LocalListener::bind_with(&path, &config).unwrap(), path, folder)
}

fn dial(path: &Path) -> OwnedFd {
    let caller = socket(SocketType::SEQPACKET, SocketFlags::NONBLOCK).unwrap();
    rustix::net::connect(&caller, &File::at(path).unwrap().companion_name().unwrap()).unwrap();
    caller
}

fn is_over(caller: &OwnedFd) -> bool {
    let mut sources = [PollFd::new(caller, PollFlags::RDHUP)];
    poll(&mut sources, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

/// A client connects, and is served over shared memory.
fn serve_one(listener: &LocalListener, path: &Path) {
    let mut client = LocalStream::connect_with(path, SMALLEST_RING).unwrap();
    client.write_all(b"x").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert!(server.is_shared_memory() && client.is_shared_memory());
    server.read_exact(&mut [0]).unwrap();
}

#[test]
fn nobody_who_is_silent_is_kept() {
    let (listener, path, _folder) = listener(400);
    let callers: Vec<_> = (0..300).map(|_| dial(&path)).collect();
    serve_one(&listener, &path);
    assert!(callers.iter().all(is_over));
    // Nor where all others are plain clients.
    let callers: Vec<_> = (0..50).map(|_| dial(&path)).collect();
    let _plain = UnixStream::connect(&path).unwrap();
    assert!(!listener.accept().unwrap().0.is_shared_memory());
    assert!(callers.iter().all(is_over));
}

#[test]
fn a_flood_of_offers_drives_out_its_oldest_and_they_are_told() {
    let (listener, path, _folder) = listener(16);
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.extend((0..10).map(|_| Offer::leave(&path, SMALLEST_RING).unwrap()));
        serve_one(&listener, &path);
    }
    let is_dropped: Vec<_> = flood.iter().map(Offer::is_dropped).collect();
    let dropped = flood.len() - 2 * 16;
    assert!(is_dropped[..dropped].iter().all(|dropped| *dropped));
    assert!(!is_dropped[dropped..].iter().any(|dropped| *dropped));
    // Who was told connects without an offer; who wasn't is still welcome.
    let last = flood.pop().unwrap();
    let oldest = Offer::leave(&path, SMALLEST_RING).unwrap();
    for _ in 0..4 {
        flood.extend((0..10).map(|_| Offer::leave(&path, SMALLEST_RING).unwrap()));
        serve_one(&listener, &path);
    }
    for dropped in [last, oldest] {
        assert!(dropped.connect(&path, Kind::Bytes, true).unwrap().is_none());
    }
    assert!(flood.pop().unwrap().connect(&path, Kind::Bytes, true).unwrap().is_some());
    assert!(listener.accept().unwrap().0.is_shared_memory(), "after two that gave up");
}

#[test]
fn many_who_connect_at_once_are_all_served() {
    let (listener, path, _folder) = listener(64);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut client = LocalStream::connect_with(&path, SMALLEST_RING).unwrap();
                    client.write_all(b"x").unwrap();
                    assert_eq!(client.read(&mut [0]).unwrap(), 1);
                }
            });
        }
        for _ in 0..300 {
            let (mut server, _) = listener.accept().unwrap();
            server.read_exact(&mut [0]).unwrap();
            server.write_all(b"y").unwrap();
        }
    });
}

const CHILD: &str = "SOCKEYE_LOCAL_TEST_DESCRIPTORS";

/// In a process of its own, whose bound of descriptors it lowers.
#[test]
fn offers_make_way_where_descriptors_are_short() {
    if std::env::var_os(CHILD).is_some() {
        return serve_without_descriptors();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["tests::companion::offers_make_way_where_descriptors_are_short", "--exact"]);
    let output = command.env(CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn serve_without_descriptors() {
    let (listener, path, _folder) = listener(64);
    let bound = getrlimit(Resource::Nofile);
    for free in [1, 2, 3] {
        let _offers: Vec<_> = (0..4).map(|_| Offer::leave(&path, SMALLEST_RING).unwrap()).collect();
        let _plain = UnixStream::connect(&path).unwrap();
        drop(listener.accept().unwrap());
        let mut client = LocalStream::connect_with(&path, SMALLEST_RING).unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum: bound.maximum }).unwrap();
        let mut spare = Vec::new();
        while let Ok(another) = client.as_fd().try_clone_to_owned() {
            spare.push(another);
        }
        spare.truncate(spare.len() - free);
        let (mut server, _) = listener.accept().unwrap();
        assert!(server.is_shared_memory());
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        drop(spare);
        setrlimit(Resource::Nofile, bound).unwrap();
    }
}

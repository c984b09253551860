//! What epoll has no part in: threads, several networks, the descriptor. What it has: `tests/poller.rs`.

use super::*;
use crate::{HostConfig, Network, UdpSocket};

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

fn host() -> Host {
    let network = Network::builder().host("web", HostConfig::default()).build_manual().unwrap();
    network.host("web").unwrap()
}

fn socket(host: &Host) -> UdpSocket {
    host.udp_bind((host.ipv4(), 0)).unwrap()
}

fn send_to(socket: &UdpSocket, host: &Host) {
    socket.send_to(b"datagram", socket.local_addr().unwrap()).unwrap();
    let network = Network { shared: Arc::clone(&host.shared) };
    network.turn(network.now());
}

#[test]
fn one_poller_watches_several_networks() {
    let hosts = [host(), host()];
    let sockets = hosts.each_ref().map(socket);
    let (poller, mut events) = (Poller::new(), Events::new());
    for (key, socket) in sockets.iter().enumerate() {
        poller.add(socket, key, Interest::READABLE, Mode::Edge).unwrap();
    }
    assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 0);
    for (key, (socket, host)) in sockets.iter().zip(&hosts).enumerate().rev() {
        send_to(socket, host);
        assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 1);
        assert_eq!(events.iter().next().unwrap().key, key);
        assert_eq!(events.len(), 1);
    }
    assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 0);
    assert!(events.is_empty());
}

#[test]
fn a_notification_ends_one_wait() {
    let (poller, mut events) = (Arc::new(Poller::new()), Events::new());
    poller.notify();
    poller.notify();
    assert_eq!(poller.wait(&mut events, None).unwrap(), 0);
    let waiting = std::thread::spawn({
        let poller = Arc::clone(&poller);
        move || poller.wait(&mut Events::new(), None).unwrap()
    });
    poller.notify();
    assert_eq!(waiting.join().unwrap(), 0);
    let started = std::time::Instant::now();
    assert_eq!(poller.wait(&mut events, Some(Duration::from_millis(2))).unwrap(), 0);
    assert!(started.elapsed() >= Duration::from_millis(2), "what was used up ends no other wait");
}

#[test]
fn an_event_ends_a_sleep_in_a_threaded_network() {
    let network = Network::builder().host("web", HostConfig::default()).build().unwrap();
    let web = network.host("web").unwrap();
    let receiver = socket(&web);
    let poller = Poller::new();
    poller.add(&receiver, 3, Interest::READABLE, Mode::Level).unwrap();
    let to = receiver.local_addr().unwrap();
    let sending = std::thread::spawn(move || socket(&web).send_to(b"datagram", to).unwrap());
    let mut events = Events::new();
    assert_eq!(poller.wait(&mut events, None).unwrap(), 1);
    assert_eq!(events.iter().map(|event| event.key).collect::<Vec<_>>(), [3]);
    sending.join().unwrap();
}

#[test]
fn nothing_stays_of_a_poller_or_a_socket_that_is_gone() {
    let host = host();
    let receiver = socket(&host);
    let id = receiver.socket().place().1;
    for _ in 0..3 {
        let poller = Poller::new();
        poller.add(&receiver, 0, Interest::READABLE, Mode::Level).unwrap();
        assert_eq!(host.core.lock().waiters.watches(id).unwrap().len(), 1);
        send_to(&receiver, &host);
        poller.shared.lock().ready.front().expect("it is ready");
    }
    let (poller, mut events) = (Poller::new(), Events::new());
    poller.add(&receiver, 0, Interest::READABLE, Mode::Level).unwrap();
    let watch = Arc::downgrade(poller.shared.lock().ready.front().unwrap());
    drop(receiver);
    assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 0);
    assert!(watch.upgrade().is_none());
}

#[test]
fn who_is_watched_no_longer_leaves_nothing_with_a_poller_that_nobody_waits_for() {
    let host = host();
    let poller = Poller::new();
    let stays = socket(&host);
    poller.add(&stays, 0, Interest::WRITABLE, Mode::Level).unwrap();
    for deleted in 0..1000 {
        let goes = socket(&host);
        poller.add(&goes, 1, Interest::WRITABLE, Mode::Level).unwrap();
        if deleted % 2 == 0 {
            poller.delete(&goes).unwrap();
        }
    }
    assert!(poller.shared.lock().ready.len() < 200);
    let mut events = Events::new();
    assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 1);
    poller.modify(&stays, 7, Interest::WRITABLE, Mode::Level).unwrap();
    assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 1);
    assert_eq!(events.iter().next().unwrap().key, 7);
}

#[cfg(target_os = "linux")]
#[test]
fn the_descriptor_is_readable_while_there_is_something_to_tell() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let host = host();
    let receiver = socket(&host);
    let (poller, mut events) = (Poller::new(), Events::new());
    let is_readable = |poller: &Poller| {
        let fd = poller.as_fd().unwrap();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    };
    poller.add(&receiver, 0, Interest::READABLE, Mode::Level).unwrap();
    send_to(&receiver, &host);
    assert!(is_readable(&poller), "also when it is made late");
    for _ in 0..2 {
        assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 1);
        assert!(is_readable(&poller), "it is still ready");
    }
    receiver.recv(&mut [0; 16]).unwrap();
    assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 0);
    assert!(!is_readable(&poller));
    poller.modify(&receiver, 0, Interest::READABLE, Mode::Edge).unwrap();
    send_to(&receiver, &host);
    assert!(is_readable(&poller));
    assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 1);
    assert!(!is_readable(&poller), "told once");
    poller.notify();
    assert!(is_readable(&poller));
    assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 0);
    assert!(!is_readable(&poller));
}

#[test]
fn a_crash_is_told_of() {
    let mut simulation = Network::builder().host("web", HostConfig::default()).simulate().unwrap();
    let web = simulation.network().host("web").unwrap();
    let receiver = socket(&web);
    let (poller, mut events) = (Poller::new(), Events::new());
    poller.add(&receiver, 0, Interest::NONE, Mode::Edge).unwrap();
    simulation.crash(&web);
    assert_eq!(poller.wait(&mut events, AT_ONCE).unwrap(), 1);
    assert!(events.iter().all(|event| event.is_hangup() && event.is_error()));
}

//! Local sockets in a poller, beside those of hosts.

#![cfg(all(feature = "local", target_os = "linux"))]

use sockeye::local::{
    LocalDatagram, LocalListener, LocalPacketListener, LocalPackets, LocalStream, SMALLEST_RING,
};
use sockeye::poller::{Event, Events, Interest, Mode, Poller};
use sockeye::{Host, HostConfig, Network, UdpSocket};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(10));
const MODES: [Mode; 3] = [Mode::Level, Mode::Edge, Mode::Oneshot];

/// By both carriers.
fn pairs() -> [(LocalStream, LocalStream); 2] {
    let (plain, plain_too) = UnixStream::pair().unwrap();
    let pairs = [LocalStream::pair_with(SMALLEST_RING).unwrap(), (plain.into(), plain_too.into())];
    for stream in pairs.iter().flat_map(|(one, other)| [one, other]) {
        stream.set_nonblocking(true).unwrap();
    }
    pairs
}

fn host() -> (Network, Host) {
    let network = Network::builder().host("web", HostConfig::default()).build().unwrap();
    let host = network.host("web").unwrap();
    (network, host)
}

fn socket(host: &Host) -> UdpSocket {
    host.udp_bind((host.ipv4(), 0)).unwrap()
}

/// The events of one wait, by key.
fn wait(poller: &Poller, limit: Option<Duration>) -> Vec<Event> {
    let mut events = Events::new();
    poller.wait(&mut events, limit).unwrap();
    let mut events: Vec<_> = events.iter().copied().collect();
    events.sort_by_key(|event| event.key);
    events
}

fn fill(mut stream: &LocalStream) -> usize {
    let mut sent = 0;
    loop {
        match stream.write(&[1; 1000]) {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return sent;
            }
        }
    }
}

#[test]
fn what_comes_is_told_as_the_mode_says() {
    for mode in MODES {
        for (mut ours, mut theirs) in pairs() {
            let poller = Poller::new();
            poller.add(&ours, 5, Interest::READABLE, mode).unwrap();
            assert!(wait(&poller, AT_ONCE).is_empty());
            for _ in 0..20 {
                theirs.write_all(b"word").unwrap();
                let events = wait(&poller, LONG);
                assert!(events.len() == 1 && events[0].key == 5 && events[0].is_readable());
                assert!(!events[0].is_writable() && !events[0].is_read_closed());
                assert_eq!(wait(&poller, AT_ONCE).len(), usize::from(mode == Mode::Level));
                assert_eq!(ours.read(&mut [0; 3]).unwrap(), 3);
                assert_eq!(wait(&poller, AT_ONCE).len(), usize::from(mode == Mode::Level));
                assert_eq!(ours.read(&mut [0; 8]).unwrap(), 1);
                assert_eq!(ours.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
                assert!(wait(&poller, AT_ONCE).is_empty());
                if mode == Mode::Oneshot {
                    poller.modify(&ours, 5, Interest::READABLE, mode).unwrap();
                    assert!(wait(&poller, AT_ONCE).is_empty());
                }
            }
        }
    }
}

#[test]
fn room_is_told() {
    for mode in MODES {
        for (ours, mut theirs) in pairs() {
            let poller = Poller::new();
            poller.add(&ours, 0, Interest::READABLE | Interest::WRITABLE, mode).unwrap();
            let events = wait(&poller, LONG);
            assert!(events.len() == 1 && events[0].is_writable() && !events[0].is_readable());
            let sent = fill(&ours);
            if mode == Mode::Oneshot {
                poller.modify(&ours, 0, Interest::WRITABLE, mode).unwrap();
            }
            assert!(wait(&poller, Some(Duration::from_millis(10))).is_empty());
            theirs.set_nonblocking(false).unwrap();
            theirs.read_exact(&mut vec![0; sent]).unwrap();
            let events = wait(&poller, LONG);
            assert!(events.len() == 1 && events[0].is_writable() && !events[0].is_readable());
        }
    }
}

#[test]
fn datagrams_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let named = LocalDatagram::bind(folder.path().join("socket")).unwrap();
    let client = LocalDatagram::unbound().unwrap();
    client.connect(folder.path().join("socket")).unwrap();
    for (theirs, ours) in [LocalDatagram::pair().unwrap(), (client, named)] {
        for end in [&theirs, &ours] {
            end.set_nonblocking(true).unwrap();
        }
        let poller = Poller::new();
        poller.add(&ours, 0, Interest::READABLE, Mode::Level).unwrap();
        poller.add(&theirs, 1, Interest::WRITABLE, Mode::Oneshot).unwrap();
        assert_eq!(wait(&poller, LONG).iter().map(|event| event.key).collect::<Vec<_>>(), [1]);
        let mut sent = 0;
        while theirs.send(&[0; 100]).is_ok() {
            sent += 1;
        }
        poller.modify(&theirs, 1, Interest::WRITABLE, Mode::Edge).unwrap();
        assert_eq!(wait(&poller, LONG).iter().map(|event| event.key).collect::<Vec<_>>(), [0]);
        for _ in 0..sent {
            assert_eq!(ours.recv(&mut [0; 100]).unwrap(), 100);
        }
        assert_eq!(wait(&poller, LONG).iter().map(|event| event.key).collect::<Vec<_>>(), [1]);
        assert_eq!(ours.recv(&mut [0; 100]).unwrap_err().kind(), ErrorKind::WouldBlock);
        theirs.send(b"").unwrap();
        assert_eq!(wait(&poller, LONG)[0].key, 0);
    }
}

#[test]
fn ends_are_told() {
    for (ours, theirs) in pairs() {
        let poller = Poller::new();
        poller.add(&ours, 0, Interest::READABLE, Mode::Level).unwrap();
        assert!(wait(&poller, AT_ONCE).is_empty());
        theirs.shutdown(Shutdown::Write).unwrap();
        let event = wait(&poller, LONG)[0];
        assert!(event.is_readable() && event.is_read_closed() && !event.is_hangup());
        poller.modify(&ours, 1, Interest::NONE, Mode::Edge).unwrap();
        assert!(wait(&poller, AT_ONCE).is_empty());
        drop(theirs);
        let event = wait(&poller, LONG)[0];
        assert!(event.key == 1 && event.is_hangup());
    }
}

#[test]
fn watches_come_change_and_go() {
    for (ours, mut theirs) in pairs() {
        let poller = Poller::new();
        assert_eq!(poller.delete(&ours).unwrap_err().kind(), ErrorKind::NotFound);
        poller.add(&ours, 0, Interest::WRITABLE, Mode::Level).unwrap();
        let again = ours.try_clone().unwrap();
        let error = poller.add(&again, 0, Interest::WRITABLE, Mode::Level).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        poller.modify(&again, 7, Interest::READABLE, Mode::Level).unwrap();
        theirs.write_all(b"x").unwrap();
        assert_eq!(wait(&poller, LONG)[0].key, 7);
        poller.delete(&ours).unwrap();
        assert!(wait(&poller, AT_ONCE).is_empty());
        let error = poller.modify(&ours, 0, Interest::READABLE, Mode::Level).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        poller.add(&again, 8, Interest::READABLE, Mode::Level).unwrap();
        assert_eq!(wait(&poller, LONG)[0].key, 8);
        let number = ours.as_raw_fd();
        drop((ours, again));
        assert!(wait(&poller, AT_ONCE).is_empty(), "nobody has it any more");
        // Another socket gets the number, mostly.
        let (next, mut its_peer) = LocalStream::pair().unwrap();
        poller.add(&next, 9, Interest::READABLE, Mode::Level).unwrap();
        its_peer.write_all(b"x").unwrap();
        assert_eq!(wait(&poller, LONG)[0].key, 9, "{number} {}", next.as_raw_fd());
    }
}

/// The kernel has nothing to say of a socket that has no room, as the peer takes no bells.
#[test]
fn what_is_there_is_told_also_where_bells_have_no_room() {
    let (ours, mut theirs) = LocalStream::pair().unwrap();
    let mut bells = UnixStream::from(ours.as_fd().try_clone_to_owned().unwrap());
    bells.set_nonblocking(true).unwrap();
    while bells.write(&[0]).is_ok() {}
    let poller = Poller::new();
    theirs.write_all(b"x").unwrap();
    poller.add(&ours, 1, Interest::READABLE, Mode::Oneshot).unwrap();
    assert_eq!(wait(&poller, LONG)[0].key, 1);
    poller.modify(&ours, 2, Interest::READABLE, Mode::Oneshot).unwrap();
    assert_eq!(wait(&poller, LONG)[0].key, 2);
}

#[test]
fn all_kinds_are_watched_at_once() {
    let (_network, host) = host();
    let (udp, folder) = (socket(&host), tempfile::tempdir().unwrap());
    let [streams, packets] = ["streams", "packets"].map(|name| folder.path().join(name));
    let stream_listener = LocalListener::bind(&streams).unwrap();
    let packet_listener = LocalPacketListener::bind(&packets).unwrap();
    let poller = Poller::new();
    poller.add(&udp, 0, Interest::READABLE, Mode::Level).unwrap();
    poller.add(&stream_listener, 1, Interest::READABLE, Mode::Level).unwrap();
    poller.add(&packet_listener, 2, Interest::READABLE, Mode::Level).unwrap();
    assert!(wait(&poller, AT_ONCE).is_empty());

    let mut client = LocalStream::connect(&streams).unwrap();
    assert_eq!(wait(&poller, LONG)[0].key, 1);
    let (stream, _) = stream_listener.accept().unwrap();
    let packet_client = LocalPackets::connect(&packets).unwrap();
    assert_eq!(wait(&poller, LONG)[0].key, 2);
    let (packet, _) = packet_listener.accept().unwrap();
    poller.add(&stream, 3, Interest::READABLE, Mode::Level).unwrap();
    poller.add(&packet, 4, Interest::READABLE, Mode::Level).unwrap();
    assert!(wait(&poller, AT_ONCE).is_empty());

    packet_client.send(b"packet").unwrap();
    assert_eq!(wait(&poller, LONG)[0].key, 4);
    client.write_all(b"bytes").unwrap();
    udp.send_to(b"datagram", udp.local_addr().unwrap()).unwrap();
    let start = Instant::now();
    while wait(&poller, LONG).iter().map(|event| event.key).ne([0, 3, 4]) {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(packet.recv(&mut [0; 8]).unwrap(), 6);
    assert_eq!(wait(&poller, AT_ONCE).iter().map(|event| event.key).collect::<Vec<_>>(), [0, 3]);
}

/// Both kinds of sockets, and notifications, end the wait of the thread that waits for the kernel, and of those that sleep.
#[test]
fn threads_share_a_poller_and_nobody_oversleeps() {
    let (_network, host) = host();
    for round in 0..30 {
        let poller = Arc::new(Poller::new());
        let (udp, [(ours, mut theirs), (plain, mut plain_too)]) = (socket(&host), pairs());
        let told = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let (poller, told) = (Arc::clone(&poller), Arc::clone(&told));
                thread::spawn(move || {
                    while told.lock().unwrap().len() < 3 {
                        let keys = wait(&poller, LONG).into_iter().map(|event| event.key);
                        told.lock().unwrap().extend(keys);
                    }
                    // The others may have nothing to wait for any more.
                    poller.notify();
                })
            })
            .collect();
        if round % 2 == 0 {
            // Some sleep already when there is something to wait for at the kernel for the first time.
            thread::sleep(Duration::from_millis(2));
        }
        poller.add(&udp, 0, Interest::READABLE, Mode::Oneshot).unwrap();
        poller.add(&ours, 1, Interest::READABLE, Mode::Oneshot).unwrap();
        poller.add(&plain, 2, Interest::READABLE, Mode::Oneshot).unwrap();
        let start = Instant::now();
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => drop(udp.send_to(b"x", udp.local_addr().unwrap()).unwrap()),
                1 => theirs.write_all(b"x").unwrap(),
                _ => plain_too.write_all(b"x").unwrap(),
            }
            if round % 4 < 2 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        for thread in waiting {
            thread.join().unwrap();
        }
        told.lock().unwrap().sort_unstable();
        assert_eq!(*told.lock().unwrap(), [0, 1, 2]);
        assert!(start.elapsed() < Duration::from_secs(5), "round {round}");
    }
}

#[test]
fn a_notification_ends_the_wait_for_the_kernel() {
    let poller = Arc::new(Poller::new());
    let [(ours, _theirs), _] = pairs();
    poller.add(&ours, 0, Interest::READABLE, Mode::Level).unwrap();
    for _ in 0..20 {
        let waiting = {
            let poller = Arc::clone(&poller);
            thread::spawn(move || wait(&poller, None))
        };
        poller.notify();
        assert!(waiting.join().unwrap().is_empty());
    }
    let start = Instant::now();
    assert!(wait(&poller, Some(Duration::from_millis(5))).is_empty());
    assert!(start.elapsed() >= Duration::from_millis(5));
}

/// A server of both kinds of clients in one thread.
#[test]
fn one_thread_serves_both_kinds() {
    let (_network, host) = host();
    let udp = socket(&host);
    udp.set_nonblocking(true).unwrap();
    let to = udp.local_addr().unwrap();
    let [(ours, theirs), _] = pairs();
    theirs.set_nonblocking(false).unwrap();
    let serving = thread::spawn(move || {
        let poller = Poller::new();
        poller.add(&udp, 0, Interest::READABLE, Mode::Edge).unwrap();
        poller.add(&ours, 1, Interest::READABLE, Mode::Edge).unwrap();
        let mut served = [0; 2];
        while served.iter().sum::<u32>() < 1000 {
            for event in wait(&poller, LONG) {
                let mut bytes = [0; 64];
                loop {
                    let answered = match event.key {
                        0 => udp
                            .recv_from(&mut bytes)
                            .and_then(|(count, from)| udp.send_to(&bytes[..count], from)),
                        _ => (&ours).read(&mut bytes).and_then(|count| (&ours).write(&bytes[..count])),
                    };
                    match answered {
                        Ok(_) => served[event.key] += 1,
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::WouldBlock);
                            break;
                        }
                    }
                }
            }
        }
        served
    });
    let asking = thread::spawn(move || {
        for round in 0..500_u32 {
            (&theirs).write_all(&round.to_ne_bytes()).unwrap();
            let mut answer = [0; 4];
            (&theirs).read_exact(&mut answer).unwrap();
            assert_eq!(answer, round.to_ne_bytes());
        }
        theirs
    });
    let client = socket(&host);
    for _ in 0..500 {
        client.send_to(b"ping", to).unwrap();
        assert_eq!(client.recv(&mut [0; 8]).unwrap(), 4);
    }
    // Its end would be served too.
    let _theirs = asking.join().unwrap();
    assert_eq!(serving.join().unwrap(), [500, 500]);
}

//! A panic in what a user hands in leaves the network in order.

use sockeye::link::{Capabilities, Link};
use sockeye::packet::Batch;
use sockeye::poller::{Events, Interest, Mode, Poller};
use sockeye::stack::{Domain, Owner, SendFlags, SocketType, Stack};
use sockeye::{Direction, Host, HostConfig, Instant, LinkInterface, Network};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::task::Waker;
use std::thread;
use std::time::Duration;

fn builder() -> sockeye::NetworkBuilder {
    Network::builder().seed(1).host("a", HostConfig::default()).host("b", HostConfig::default())
}

fn hosts(network: &Network) -> [Host; 2] {
    ["a", "b"].map(|name| network.host(name).unwrap())
}

fn panic_within(host: &Host, call: impl FnOnce(&mut Stack, Instant)) {
    let call = AssertUnwindSafe(|| {
        host.with_stack(|stack, now| {
            call(stack, now);
            panic!("a user's closure that panics");
        })
    });
    let payload = catch_unwind(call).expect_err("the panic is the caller's");
    assert!(payload.downcast_ref::<&str>().unwrap().contains("user's closure"));
}

/// Sends a datagram through the stack itself.
fn send(stack: &mut Stack, now: Instant, to: SocketAddr) {
    let socket = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
    let payload = sockeye::packet::Chunk::from(vec![1, 2, 3]).into();
    stack.send_to(now, socket, payload, Some(to.into()), SendFlags::default()).unwrap();
}

#[test]
fn what_a_closure_did_before_it_panicked_is_carried_out() {
    let manual = builder().build_manual().unwrap();
    let [a, b] = hosts(&manual);
    let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
    receiver.set_nonblocking(true).unwrap();
    manual.turn(manual.now());
    panic_within(&a, |stack, now| send(stack, now, receiver.local_addr().unwrap()));
    manual.turn(manual.now());
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 3);

    let threaded = builder().build().unwrap();
    let [a, b] = hosts(&threaded);
    let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
    panic_within(&a, |stack, now| send(stack, now, receiver.local_addr().unwrap()));
    receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 3);
}

#[test]
fn packets_that_came_while_a_closure_panicked_are_not_forgotten() {
    let network = builder().build().unwrap();
    let [a, b] = hosts(&network);
    let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
    let to = receiver.local_addr().unwrap();
    // Unlike a call of the socket's, it does no work for the host.
    let (poller, mut events) = (Poller::new(), Events::new());
    poller.add(&receiver, 0, Interest::READABLE, Mode::Level).unwrap();
    let (began, begins) = channel();
    let (sent, wait_for_sent) = channel();
    let sending = thread::spawn(move || {
        begins.recv().unwrap();
        // The receiver's host is busy: the packet is left to the thread that works there.
        a.udp_bind((a.ipv4(), 0)).unwrap().send_to(b"abc", to).unwrap();
        sent.send(()).unwrap();
    });
    panic_within(&b, |_, _| {
        began.send(()).unwrap();
        wait_for_sent.recv().unwrap();
    });
    sending.join().unwrap();
    assert_eq!(poller.wait(&mut events, Some(Duration::from_secs(10))).unwrap(), 1);
}

/// A capture's writer that panics.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("a writer that panics");
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_captures_writer_that_panics_ends_the_capture_only() {
    let network = builder().capture_to(Broken).build().unwrap();
    let [a, b] = hosts(&network);
    let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
    for _ in 0..3 {
        sender.send_to(b"abc", receiver.local_addr().unwrap()).unwrap();
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 3);
    }
    let error = network.flush_captures().expect_err("the capture has failed");
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[test]
fn a_tap_that_panics_is_removed_and_its_packet_goes_on() {
    // With a delay the driver's thread delivers the packets, and calls the tap.
    for link in ["", "delay 100us"] {
        let network = builder().build().unwrap();
        let [a, b] = hosts(&network);
        network.set_link(&a, Direction::Up, link.parse().unwrap());
        let taps = [(&a, Direction::Up), (&b, Direction::Down)]
            .map(|(host, way)| (host, network.tap(host, way, |_, _| panic!("a tap that panics"))));
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        for _ in 0..3 {
            sender.send_to(b"abc", receiver.local_addr().unwrap()).unwrap();
            assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 3);
        }
        assert!(taps.into_iter().all(|(host, tap)| !network.remove_tap(host, tap)), "they are gone");
    }
}

/// A link that panics in a call.
struct BrokenLink {
    in_send: bool,
    waker: Option<Waker>,
}

impl Link for BrokenLink {
    fn capabilities(&self) -> Capabilities {
        Capabilities::memory(1500)
    }

    fn send(&mut self, _now: Instant, batch: &mut Batch) -> io::Result<()> {
        batch.drain().for_each(drop);
        assert!(!self.in_send, "a link that panics");
        self.in_send = true;
        // The network's thread is asked to receive.
        self.waker.iter().for_each(Waker::wake_by_ref);
        Ok(())
    }

    fn receive(&mut self, _now: Instant, _batch: &mut Batch) -> io::Result<()> {
        assert!(!self.in_send || self.waker.is_none(), "a link that panics");
        Ok(())
    }

    fn set_waker(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }
}

#[test]
fn a_link_that_panics_is_unplugged() {
    for in_send in [true, false] {
        let interface = LinkInterface::new("eth0").address("192.0.2.1".parse().unwrap(), 24);
        let link = BrokenLink { in_send, waker: None };
        let host = Host::over("a", link, &interface, HostConfig::default()).unwrap();
        let socket = host.udp_bind("192.0.2.1:0").unwrap();
        socket.send_to(b"abc", "192.0.2.2:9").unwrap();
        let error = loop {
            match host.take_link_error() {
                Some(error) => break error,
                None => thread::yield_now(),
            }
        };
        assert!(error.to_string().contains("panicked"), "{error}");
        socket.send_to(b"abc", "192.0.2.2:9").unwrap();
        // The network's thread lives: it ends a wait that only time ends.
        let late = host.tcp_socket_v4().unwrap();
        late.set_tcp_user_timeout(Some(Duration::from_millis(10))).unwrap();
        assert_eq!(late.connect("192.0.2.2:80").unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}

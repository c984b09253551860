//! The poller, in orders of threads that shuttle picks: no event and no notification is lost.

mod common;

use common::{check, hosts};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;
use sockeye_model::poller::{Events, Interest, Mode, Poller};
use std::sync::Arc;

#[test]
fn an_event_ends_a_wait() {
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        check(300, move || {
            let (_network, a, b) = hosts("");
            let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
            let to = receiver.local_addr().unwrap();
            let waiting = thread::spawn(move || {
                let poller = Poller::new();
                poller.add(&receiver, 7, Interest::READABLE, mode).unwrap();
                assert_eq!(poller.wait(&mut Events::new(), None).unwrap(), 1);
            });
            a.udp_bind((a.ipv4(), 0)).unwrap().send_to(b"ping", to).unwrap();
            waiting.join().unwrap();
        });
    }
}

#[test]
fn every_datagram_is_an_edge() {
    check(500, || {
        let (_network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let to = receiver.local_addr().unwrap();
        let reading = thread::spawn(move || {
            let (poller, mut events) = (Poller::new(), Events::new());
            poller.add(&receiver, 7, Interest::READABLE, Mode::Edge).unwrap();
            let mut received = 0;
            while received < 3 {
                poller.wait(&mut events, None).unwrap();
                while receiver.recv(&mut [0; 8]).is_ok() {
                    received += 1;
                }
            }
        });
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        (0..3).for_each(|_| assert_eq!(sender.send_to(b"ping", to).unwrap(), 4));
        reading.join().unwrap();
    });
}

#[test]
fn threads_share_a_poller() {
    check(500, || {
        let (_network, a, b) = hosts("");
        let poller = Arc::new(Poller::new());
        let sockets = [9, 10].map(|port| b.udp_bind((b.ipv4(), port)).unwrap());
        for socket in &sockets {
            poller.add(socket, 0, Interest::READABLE, Mode::Oneshot).unwrap();
        }
        let waiting = [0, 1].map(|_| {
            let poller = Arc::clone(&poller);
            thread::spawn(move || poller.wait(&mut Events::with_capacity(1), None).unwrap())
        });
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        for socket in &sockets {
            sender.send_to(b"ping", socket.local_addr().unwrap()).unwrap();
        }
        waiting.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 1));
    });
}

#[test]
fn a_notification_ends_a_wait_beside_events() {
    check(500, || {
        let (_network, a, b) = hosts("");
        let (poller, stop) = (Arc::new(Poller::new()), Arc::new(AtomicBool::new(false)));
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        poller.add(&receiver, 0, Interest::READABLE, Mode::Edge).unwrap();
        let serving = thread::spawn({
            let (poller, stop) = (Arc::clone(&poller), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::SeqCst) {
                    poller.wait(&mut Events::new(), None).unwrap();
                }
            }
        });
        let stopping = thread::spawn(move || {
            stop.store(true, Ordering::SeqCst);
            poller.notify();
        });
        a.udp_bind((a.ipv4(), 0)).unwrap().send_to(b"ping", receiver.local_addr().unwrap()).unwrap();
        stopping.join().unwrap();
        serving.join().unwrap();
    });
}

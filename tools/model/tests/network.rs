//! Whole threaded networks, in orders of their threads that shuttle picks: nobody sleeps while there is
//! something for it, and all threads end.

mod common;

use common::{check, hosts};
use shuttle::thread;
use sockeye_model::link::netem::NetemConfig;
use sockeye_model::{Direction, Verdict, let_time_pass};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[test]
fn a_datagram_ends_its_readers_sleep() {
    check(1_000, || {
        let (_network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let to = receiver.local_addr().unwrap();
        let reader = thread::spawn(move || receiver.recv(&mut [0; 8]).unwrap());
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        assert_eq!(sender.send_to(b"ping", to).unwrap(), 4);
        assert_eq!(reader.join().unwrap(), 4);
    });
}

#[test]
fn datagrams_by_lanes_wake_their_readers_in_order() {
    check(500, || {
        let (_network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        sender.connect((b.ipv4(), 9)).unwrap();
        let reader = thread::spawn(move || {
            for number in 0..8 {
                let mut data = [0];
                receiver.recv(&mut data).unwrap();
                assert_eq!(data, [number]);
            }
        });
        // Somebody looks, which ends lanes.
        let looking = thread::spawn(move || assert_eq!(a.usage().sockets + b.usage().connections, 1));
        (0..8).for_each(|number| assert_eq!(sender.send(&[number]).unwrap(), 1));
        reader.join().unwrap();
        looking.join().unwrap();
    });
}

#[test]
fn two_who_read_from_a_lane_both_have_a_turn() {
    check(500, || {
        let (_network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        sender.connect((b.ipv4(), 9)).unwrap();
        (0..4).for_each(|number| assert_eq!(sender.send(&[number]).unwrap(), 1));
        let reading: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.try_clone().unwrap();
                thread::spawn(move || (0..3).for_each(|_| assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1)))
            })
            .collect();
        (4..6).for_each(|number| assert_eq!(sender.send(&[number]).unwrap(), 1));
        reading.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn what_a_lane_has_taken_is_read_though_it_ends_meanwhile() {
    check(1_000, || {
        let (_network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        sender.connect((b.ipv4(), 9)).unwrap();
        let receive = || usize::from(receiver.recv(&mut [0]).is_ok());
        let mut received = 0;
        for _ in 0..4 {
            sender.send(&[0]).unwrap();
            received += receive();
        }
        let sending = thread::spawn(move || {
            sender.send(&[1]).unwrap();
            // Ends the lane.
            sender.local_addr().unwrap();
            sender
        });
        (0..3).for_each(|_| received += receive());
        let _sender = sending.join().unwrap();
        (0..2).for_each(|_| received += receive());
        assert_eq!(received, 5);
    });
}

#[test]
fn a_tap_sees_what_is_sent_after_it_was_added() {
    check(1_000, || {
        let (network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        sender.connect((b.ipv4(), 9)).unwrap();
        (0..2).for_each(|_| assert_eq!(sender.send(&[0]).unwrap(), 1));
        let sending = thread::spawn(move || {
            sender.send(&[1]).unwrap();
            sender
        });
        let seen = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&seen);
        network.tap(&b, Direction::Down, move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            Verdict::Pass
        });
        let sender = sending.join().unwrap();
        let before = seen.load(Ordering::Relaxed);
        sender.send(&[2]).unwrap();
        (0..4).for_each(|_| assert_eq!(receiver.recv(&mut [0]).unwrap(), 1));
        assert_eq!(seen.load(Ordering::Relaxed), before + 1);
    });
}

#[test]
fn two_who_send_by_a_lane_wake_two_who_read() {
    check(1_000, || {
        let (_network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        sender.connect((b.ipv4(), 9)).unwrap();
        (0..4).for_each(|_| assert_eq!(sender.send(&[0]).unwrap(), 1));
        (0..4).for_each(|_| assert_eq!(receiver.recv(&mut [0]).unwrap(), 1));
        let reading = [(); 2].map(|()| {
            let receiver = receiver.try_clone().unwrap();
            thread::spawn(move || receiver.recv(&mut [0]).unwrap())
        });
        let sending = [(); 2].map(|()| {
            let sender = sender.try_clone().unwrap();
            thread::spawn(move || sender.send(&[1]).unwrap())
        });
        reading.into_iter().chain(sending).for_each(|thread| assert_eq!(thread.join().unwrap(), 1));
    });
}

#[test]
fn a_connection_opens_echoes_and_closes() {
    check(500, || {
        let (_network, a, b) = hosts("");
        let listener = b.tcp_listen((b.ipv4(), 7)).unwrap();
        let to = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut data = Vec::new();
            stream.read_to_end(&mut data).unwrap();
            stream.write_all(&data).unwrap();
        });
        let mut client = a.tcp_connect(to).unwrap();
        client.write_all(b"ping").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"ping");
        server.join().unwrap();
    });
}

#[test]
fn two_who_accept_get_a_connection_each() {
    check(500, || {
        let (_network, a, b) = hosts("");
        let listener = b.tcp_listen((b.ipv4(), 7)).unwrap();
        let to = listener.local_addr().unwrap();
        let accepting: Vec<_> = (0..2)
            .map(|_| {
                let listener = listener.try_clone().unwrap();
                thread::spawn(move || drop(listener.accept().unwrap()))
            })
            .collect();
        let other = a.clone();
        let connecting = thread::spawn(move || drop(other.tcp_connect(to).unwrap()));
        drop(a.tcp_connect(to).unwrap());
        connecting.join().unwrap();
        accepting.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn everybody_who_waits_for_a_datagram_has_a_turn() {
    check(1_000, || {
        let (_network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let to = receiver.local_addr().unwrap();
        let waiting = [false, false, true].map(|only_looks| {
            let receiver = receiver.try_clone().unwrap();
            thread::spawn(move || {
                if only_looks {
                    receiver.peek_from(&mut [0; 8]).unwrap();
                } else {
                    receiver.recv(&mut [0; 8]).unwrap();
                }
            })
        });
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        (0..3).for_each(|_| assert_eq!(sender.send_to(b"ping", to).unwrap(), 4));
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn who_loses_patience_takes_nobodys_turn() {
    check(1_000, || {
        let (_network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let to = receiver.local_addr().unwrap();
        let impatient = receiver.try_clone().unwrap();
        // The time limit is one of all handles: the other begins before it is set.
        let patient = thread::spawn(move || while receiver.recv(&mut [0; 8]).is_err() {});
        let leaving = thread::spawn(move || {
            impatient.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            drop(impatient.recv(&mut [0; 8]));
            impatient.set_read_timeout(None).unwrap();
        });
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        let_time_pass(Duration::from_millis(2));
        (0..2).for_each(|_| assert_eq!(sender.send_to(b"ping", to).unwrap(), 4));
        let_time_pass(Duration::from_millis(2));
        leaving.join().unwrap();
        patient.join().unwrap();
    });
}

#[test]
fn the_driver_wakes_for_a_packet_that_was_delayed() {
    check(1_000, || {
        let (_network, a, b) = hosts("delay 5ms");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let to = receiver.local_addr().unwrap();
        let reader = thread::spawn(move || receiver.recv(&mut [0; 8]).unwrap());
        a.udp_bind((a.ipv4(), 0)).unwrap().send_to(b"ping", to).unwrap();
        // Out of the one link, through the other.
        let_time_pass(Duration::from_millis(6));
        let_time_pass(Duration::from_millis(6));
        assert_eq!(reader.join().unwrap(), 4);
    });
}

#[test]
fn the_driver_wakes_for_a_hosts_timer() {
    check(300, || {
        let (network, a, b) = hosts("loss 100%");
        let listener = b.tcp_listen((b.ipv4(), 7)).unwrap();
        let to = listener.local_addr().unwrap();
        let host = a.clone();
        let connecting = thread::spawn(move || drop(host.tcp_connect(to).unwrap()));
        while network.link(&a, Direction::Up).1.lost == 0 {
            thread::yield_now();
        }
        for host in [&a, &b] {
            network.set_link(host, Direction::Up, NetemConfig::default());
            network.set_link(host, Direction::Down, NetemConfig::default());
        }
        // The SYN's timer.
        let_time_pass(Duration::from_millis(1100));
        connecting.join().unwrap();
    });
}

#[test]
fn a_shutdown_ends_another_threads_read() {
    check(500, || {
        let (_network, a, b) = hosts("");
        let listener = b.tcp_listen((b.ipv4(), 7)).unwrap();
        let to = listener.local_addr().unwrap();
        let accepting = thread::spawn(move || listener.accept().unwrap().0);
        let client = a.tcp_connect(to).unwrap();
        let mut reader = client.try_clone().unwrap();
        let reading = thread::spawn(move || reader.read(&mut [0; 8]).unwrap());
        client.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reading.join().unwrap(), 0);
        drop(accepting.join().unwrap());
    });
}

#[test]
fn a_host_sends_to_itself() {
    check(500, || {
        let (_network, a, _) = hosts("");
        let receiver = a.udp_bind((a.ipv4(), 9)).unwrap();
        let to = receiver.local_addr().unwrap();
        let reader = thread::spawn(move || receiver.recv(&mut [0; 8]).unwrap());
        a.udp_bind((a.ipv4(), 0)).unwrap().send_to(b"ping", to).unwrap();
        assert_eq!(reader.join().unwrap(), 4);
    });
}

#[test]
fn a_panic_in_a_closure_loses_nobodys_packet() {
    check(500, || {
        let (_network, a, b) = hosts("");
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let to = receiver.local_addr().unwrap();
        let reader = thread::spawn(move || receiver.recv(&mut [0; 8]).unwrap());
        let panicking = thread::spawn(move || {
            let call = || b.with_stack(|_, _| std::panic::resume_unwind(Box::new("on purpose")));
            catch_unwind(AssertUnwindSafe(call)).unwrap_or(());
        });
        a.udp_bind((a.ipv4(), 0)).unwrap().send_to(b"ping", to).unwrap();
        assert_eq!(reader.join().unwrap(), 4);
        panicking.join().unwrap();
    });
}

#[test]
fn the_last_handles_are_dropped_at_once() {
    check(500, || {
        let (network, a, b) = hosts("");
        let socket = b.udp_bind((b.ipv4(), 9)).unwrap();
        let to = socket.local_addr().unwrap();
        let others = [
            thread::spawn(move || drop(socket)),
            thread::spawn(move || drop(a.udp_bind((a.ipv4(), 0)).unwrap().send_to(b"ping", to))),
            thread::spawn(move || drop(network)),
        ];
        drop(b);
        others.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

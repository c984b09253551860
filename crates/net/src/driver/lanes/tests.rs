//! What passes by lanes is as if it had not.

use crate::packet::Chunk;
use crate::poller::{Interest, Mode, Poller};
use crate::stack::{Counter, Counters, Domain, Owner, SendFlags, SocketType};
use crate::{Bytes, Direction, Host, HostConfig, NetemConfig, Network, UdpSocket, Verdict};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Something that is done, and what it is called.
type Deed = (&'static str, fn(&Ends));

struct Ends {
    network: Network,
    near: Host,
    far: Host,
    sender: UdpSocket,
    receiver: UdpSocket,
    /// The sender's address: to ask for it would close its lane.
    from: SocketAddr,
}

fn ends() -> Ends {
    let builder = Network::builder().host("near", HostConfig::default()).host("far", HostConfig::default());
    let network = builder.build().unwrap();
    let (near, far) = (network.host("near").unwrap(), network.host("far").unwrap());
    let receiver = far.udp_bind((far.ipv4(), 9)).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let sender = near.udp_bind((near.ipv4(), 0)).unwrap();
    sender.connect((far.ipv4(), 9)).unwrap();
    let from = sender.local_addr().unwrap();
    Ends { network, near, far, sender, receiver, from }
}

impl Ends {
    /// Whether a lane leads to the far host.
    fn has_lane(&self) -> bool {
        self.receiver.socket().has_lane()
    }

    /// Sends the numbers from `next` on until a lane is open.
    fn open(&self, next: &mut u32) {
        for _ in 0..10_000 {
            self.send(next);
            if self.has_lane() {
                return;
            }
            // What is sent the long way must have room.
            self.receive_all();
        }
        panic!("no lane was opened");
    }

    fn send(&self, next: &mut u32) {
        assert_eq!(self.sender.send(&next.to_be_bytes()).unwrap(), 4);
        *next += 1;
    }

    fn receive(&self) -> io::Result<u32> {
        let mut number = [0; 4];
        let (len, from) = self.receiver.recv_from(&mut number)?;
        assert_eq!((len, from), (4, self.from));
        Ok(u32::from_be_bytes(number))
    }

    fn receive_all(&self) -> Vec<u32> {
        std::iter::from_fn(|| self.receive().ok()).collect()
    }
}

/// What somebody may do while datagrams are in a lane.
fn disturbances() -> [Deed; 12] {
    [
        ("nothing", |_| {}),
        ("usage", |ends| assert!(ends.far.usage().sockets == 1)),
        ("a look at the sender", |ends| drop(ends.sender.local_addr())),
        ("an option", |ends| ends.receiver.set_broadcast(true).unwrap()),
        ("a peek", |ends| assert!(ends.receiver.peek(&mut [0; 4]).is_ok())),
        ("conditions", |ends| {
            for delay in ["delay 1ms", ""] {
                ends.network.set_link(&ends.near, Direction::Up, delay.parse().unwrap());
            }
        }),
        ("a partition", |ends| {
            ends.network.partition(&ends.near, &ends.far);
            ends.network.heal(&ends.near, &ends.far);
        }),
        ("a tap", |ends| {
            ends.network.tap(&ends.far, Direction::Down, |_, _| Verdict::Pass);
        }),
        ("another sender", |ends| {
            let other = ends.near.udp_bind((ends.near.ipv4(), 0)).unwrap();
            other.send_to(b"elsewhere", (ends.far.ipv4(), 10)).unwrap();
        }),
        ("another destination", |ends| {
            ends.sender.send_to(b"elsewhere", (ends.far.ipv4(), 10)).unwrap();
            // Nobody is there: that is the pending error, which is told once.
            drop(ends.sender.take_error());
        }),
        ("another peer meanwhile", |ends| {
            ends.sender.connect((ends.far.ipv4(), 10)).unwrap();
            ends.sender.connect((ends.far.ipv4(), 9)).unwrap();
        }),
        ("counters", |ends| assert!(ends.network.counters(&ends.near).sent > 0)),
    ]
}

#[test]
fn nothing_overtakes_whatever_happens_to_a_lane() {
    for (what, disturb) in disturbances() {
        let ends = ends();
        let mut next = 0;
        for _ in 0..if what == "a tap" { 1 } else { 3 } {
            ends.open(&mut next);
            ends.receive_all();
            let first = next;
            (0..5).for_each(|_| ends.send(&mut next));
            assert_eq!(ends.receive().unwrap(), first, "{what}");
            disturb(&ends);
            (0..5).for_each(|_| ends.send(&mut next));
            assert_eq!(ends.receive_all(), (first + 1..next).collect::<Vec<_>>(), "{what}");
        }
    }
}

#[test]
fn where_packets_are_changed_or_seen_there_is_no_lane() {
    let preventions: [Deed; 6] = [
        ("conditions", |ends| {
            let some: NetemConfig = "delay 1us".parse().unwrap();
            ends.network.set_link(&ends.far, Direction::Down, some);
        }),
        ("a tap", |ends| {
            ends.network.tap(&ends.near, Direction::Up, |_, _| Verdict::Pass);
        }),
        ("a capture", |ends| ends.network.capture_host(&ends.far, "/dev/null").unwrap()),
        ("a partition of others", |ends| ends.network.partition(&ends.near, &ends.network.gateway())),
        ("a direction that is shut", |ends| {
            ends.far.with_stack(|stack, now| {
                let id = ends.receiver.socket().place().1;
                let _ = stack.shutdown(now, id, sockeye_stack::Shutdown::Read);
            });
        }),
        ("a socket that sees packets", |ends| {
            ends.far.with_stack(|stack, _| {
                let all = SocketType::Packet { cooked: true, ethertype: 3 };
                stack.socket(Domain::Packet, all, Owner::default()).unwrap();
            });
        }),
    ];
    for (what, prevent) in preventions {
        let (ends, before) = (ends(), ends());
        before.open(&mut 0);
        prevent(&before);
        assert!(!before.has_lane(), "{what} that comes later");
        prevent(&ends);
        let mut next = 0;
        for _ in 0..100 {
            ends.send(&mut next);
            assert!(!ends.has_lane(), "{what}");
        }
    }
}

/// What was received, what both stacks counted, and what the wire did of each host.
type Played = (Vec<u32>, [Vec<(Counter, u64)>; 2], [(u64, u64); 2]);

/// Sends, at times more than there is room for, and reads all, several times.
fn played(with_lane: bool) -> Played {
    let ends = ends();
    if !with_lane {
        ends.network.tap(&ends.near, Direction::Up, |_, _| Verdict::Pass);
    }
    ends.receiver.set_recv_buffer_size(10_000).unwrap();
    let (mut next, mut received) = (0, Vec::new());
    for count in [20, 100, 7, 300] {
        (0..count).for_each(|_| ends.send(&mut next));
        received.extend(ends.receive_all());
    }
    assert_eq!(ends.has_lane(), with_lane);
    let counted = |counters: &Counters| {
        let all = Counter::ALL.iter().map(|&counter| (counter, counters[counter]));
        all.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    let of_wire = [&ends.near, &ends.far].map(|host| {
        let counters = ends.network.counters(host);
        (counters.sent, counters.received)
    });
    let of_stacks = [&ends.near, &ends.far].map(|host| host.with_stack(|stack, _| counted(stack.counters())));
    assert_eq!(ends.far.usage().bytes, 0);
    (received, of_stacks, of_wire)
}

#[test]
fn the_short_way_and_the_long_way_are_counted_and_limited_alike() {
    let (short, long) = (played(true), played(false));
    assert!(long.0.len() > 60 && long.0.last() < Some(&426), "not all had room");
    assert_eq!(short, long);
}

#[test]
fn answers_the_long_way_end_no_lane_and_what_may_be_an_error_does() {
    let ends = ends();
    let mut next = 0;
    ends.open(&mut next);
    ends.receiver.send_bytes_to(&Bytes::from_static(b"!"), ends.from).unwrap();
    assert_eq!(ends.sender.recv(&mut [0; 4]).unwrap(), 1);
    assert!(ends.has_lane());
    let other = ends.network.gateway();
    other.udp_bind("0.0.0.0:0").unwrap().send_to(b"?", (ends.near.ipv4(), 10)).unwrap();
    assert!(ends.has_lane());
    other.with_stack(|stack, now| {
        let ping = stack.socket(Domain::Inet, SocketType::Ping, Owner::default()).unwrap();
        let (request, to) = (Chunk::copy_from(&[8, 0, 0, 0, 0, 0, 0, 0]), (ends.near.ipv4(), 0));
        stack
            .send_to(now, ping, request.into(), Some(SocketAddr::from(to).into()), SendFlags::default())
            .unwrap();
    });
    assert!(!ends.has_lane(), "it might have been an error");
}

#[test]
fn who_sends_to_a_socket_that_is_gone_is_told() {
    let ends = ends();
    ends.open(&mut 0);
    let Ends { sender, receiver, .. } = ends;
    drop(receiver);
    assert_eq!(sender.send(b"?").unwrap(), 1);
    assert_eq!(sender.send(b"?").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_lane_to_a_host_that_is_removed_ends() {
    let ends = ends();
    let mut next = 0;
    ends.open(&mut next);
    ends.send(&mut next);
    ends.network.remove_host(&ends.far);
    assert!(!ends.has_lane());
    assert!(ends.receive().is_err());
    ends.sender.send(b"?").unwrap();
}

#[test]
fn who_waits_is_woken_by_what_comes_by_lanes_both_ways() {
    let ends = Arc::new(ends());
    ends.receiver.connect(ends.from).unwrap();
    for socket in [&ends.receiver, &ends.sender] {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let had_lane = AtomicBool::new(false);
    thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let mut buffer = [0; 8];
            for _ in 0..2000 {
                let len = ends.receiver.recv(&mut buffer)?;
                ends.receiver.send(&buffer[..len])?;
            }
            io::Result::Ok(())
        });
        for number in 0_u32..2000 {
            ends.sender.send(&number.to_be_bytes()).unwrap();
            let mut answer = [0; 4];
            ends.sender.recv(&mut answer).unwrap();
            assert_eq!(u32::from_be_bytes(answer), number);
            had_lane.fetch_or(ends.has_lane(), Ordering::Relaxed);
        }
        echo.join().unwrap().unwrap();
    });
    assert!(had_lane.into_inner());
}

#[test]
fn more_flows_than_lanes_keep_their_orders() {
    let ends = ends();
    let flows: Vec<_> = (0..40_u16)
        .map(|flow| {
            let receiver = ends.far.udp_bind((ends.far.ipv4(), 1000 + flow)).unwrap();
            receiver.set_nonblocking(true).unwrap();
            let sender = ends.near.udp_bind((ends.near.ipv4(), 0)).unwrap();
            sender.connect((ends.far.ipv4(), 1000 + flow)).unwrap();
            (sender, receiver)
        })
        .collect();
    let mut most = 0;
    for round in 0_u32..200 {
        for (sender, receiver) in &flows {
            sender.send(&round.to_be_bytes()).unwrap();
            let mut number = [0; 4];
            // Every third time something waits until the next.
            if round % 3 != 0 {
                (0..2).take_while(|_| receiver.recv(&mut number).is_ok()).for_each(drop);
                assert_eq!(u32::from_be_bytes(number), round);
            }
        }
        most = most.max(flows.iter().filter(|(_, receiver)| receiver.socket().has_lane()).count());
    }
    assert!((2..=16).contains(&most), "{most} lanes at a time");
}

#[test]
fn several_who_read_get_each_datagram_once() {
    let ends = ends();
    ends.receiver.set_nonblocking(false).unwrap();
    ends.receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (all, started) = (Mutex::new(Vec::new()), Instant::now());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = None;
                loop {
                    let number = ends.receive().expect("a datagram, or the end");
                    if number >= u32::MAX - 1 {
                        break;
                    }
                    assert!(last < Some(number), "{last:?} before {number}");
                    last = Some(number);
                    all.lock().unwrap().push(number);
                }
            });
        }
        let mut next = 0;
        while next < 2000 {
            (0..20).for_each(|_| ends.send(&mut next));
            // Never more than there is room for.
            while all.lock().unwrap().len() < next as usize {
                thread::yield_now();
            }
        }
        next = u32::MAX - 1;
        (0..2).for_each(|_| assert_eq!(ends.sender.send(&next.to_be_bytes()).unwrap(), 4));
    });
    assert!(started.elapsed() < Duration::from_secs(10), "somebody slept though there was something");
    let mut all = all.into_inner().unwrap();
    all.sort_unstable();
    assert_eq!(all, (0..2000).collect::<Vec<_>>());
}

impl Ends {
    /// Has no lanes from now on, where `with_lane` says so.
    fn choose(&self, with_lane: bool) {
        if !with_lane {
            self.network.tap(&self.near, Direction::Up, |_, _| Verdict::Pass);
        }
    }

    /// As [`Ends::open`], where lanes are chosen; all that was sent is read.
    fn open_chosen(&self, with_lane: bool) -> u32 {
        let mut next = 0;
        if with_lane {
            self.open(&mut next);
        }
        self.receive_all();
        next
    }
}

/// How many datagrams have room when some are read after the buffer was full.
fn received_after_full(with_lane: bool) -> usize {
    let ends = ends();
    ends.choose(with_lane);
    ends.receiver.set_recv_buffer_size(10_000).unwrap();
    let mut next = ends.open_chosen(with_lane);
    (0..100).for_each(|_| ends.send(&mut next));
    (0..5).for_each(|_| assert!(ends.receive().is_ok()));
    (0..10).for_each(|_| ends.send(&mut next));
    assert_eq!(ends.has_lane(), with_lane);
    5 + ends.receive_all().len()
}

#[test]
fn a_poller_that_is_gone_keeps_no_lane_away() {
    let ends = ends();
    let poller = Poller::new();
    poller.add(&ends.receiver, 1, Interest::READABLE, Mode::Level).unwrap();
    let mut next = 0;
    (0..100).for_each(|_| ends.send(&mut next));
    assert!(!ends.has_lane(), "a poller watches");
    drop(poller);
    ends.open(&mut next);
}

#[test]
fn who_finds_a_host_busy_soon_tries_again() {
    let ends = ends();
    let token = ends.near.core.try_token().unwrap();
    let mut next = 0;
    // What is left to who has the token has no room for ever.
    (0..100).for_each(|_| ends.send(&mut next));
    assert!(!ends.has_lane());
    drop(token);
    assert!(ends.near.usage().sockets == 1);
    (0..20).for_each(|_| ends.send(&mut next));
    assert!(ends.has_lane());
}

#[test]
fn what_is_read_makes_room_at_once() {
    let count = received_after_full(false);
    assert!(count > 10, "{count}");
    assert_eq!(received_after_full(true), count);
}

/// Two hosts send to a socket by turns, more than there is room for: how many of each are received, and in which order.
fn received_of_two(with_lane: bool) -> Vec<Vec<u8>> {
    let ends = ends();
    ends.choose(with_lane);
    ends.receiver.set_recv_buffer_size(10_000).unwrap();
    let gateway = ends.network.gateway();
    let other = gateway.udp_bind((gateway.ipv4(), 0)).unwrap();
    ends.open_chosen(with_lane);
    let mut all = Vec::new();
    for count in [1, 3, 20] {
        for number in 0..count {
            // By the stack, whatever there is.
            if number % 4 < 2 {
                other.send_bytes_to(&vec![1, number].into(), (ends.far.ipv4(), 9)).unwrap();
            }
            (0..3).for_each(|at| assert_eq!(ends.sender.send(&[2, number, at]).unwrap(), 3));
            assert_eq!(ends.has_lane(), with_lane);
        }
        let mut data = [0; 4];
        while let Ok(len) = ends.receiver.recv(&mut data) {
            all.push(data[..len].to_vec());
        }
    }
    all
}

#[test]
fn what_others_send_has_its_turn_and_takes_its_room() {
    let all = received_of_two(false);
    assert!(all.len() > 30, "{}", all.len());
    assert_eq!(received_of_two(true), all);
}

#[test]
fn what_comes_by_a_lane_came_when_it_was_sent_or_later() {
    let ends = ends();
    let mut next = ends.open_chosen(true);
    let before = ends.network.now();
    ends.send(&mut next);
    let id = ends.receiver.socket().place().1;
    let received =
        ends.far.with_stack(|stack, now| stack.recv_from(now, id, sockeye_stack::RecvFlags::default()));
    let at = received.unwrap().received_at;
    assert!(at >= before && at <= ends.network.now(), "{at:?}, sent after {before:?}");
}

#[test]
fn what_a_lane_has_accepted_has_memory() {
    let mut config = HostConfig::default();
    config.stack.memory = 1_000_000;
    let builder = Network::builder().host("near", HostConfig::default()).host("far", config);
    let network = builder.build().unwrap();
    let (near, far) = (network.host("near").unwrap(), network.host("far").unwrap());
    let receiver = far.udp_bind((far.ipv4(), 9)).unwrap();
    receiver.set_nonblocking(true).unwrap();
    receiver.set_recv_buffer_size(200_000).unwrap();
    let filled = far.udp_bind((far.ipv4(), 10)).unwrap();
    filled.set_recv_buffer_size(1_000_000).unwrap();
    let sender = near.udp_bind((near.ipv4(), 0)).unwrap();
    sender.connect((far.ipv4(), 9)).unwrap();
    for _ in 0..20 {
        sender.send(&[0; 4]).unwrap();
        receiver.recv(&mut [0; 4]).unwrap();
    }
    let _ = receiver.recv(&mut [0; 4]);
    assert!(receiver.socket().has_lane());
    // Something else takes all the memory that is left.
    let mut state = far.core.lock_beside_lanes();
    let id = filled.socket().place().1;
    let datagram = sockeye_stack::Datagram {
        payload: sockeye_packet::Chunk::copy_from(&[0; 10_000]).into(),
        from: SocketAddr::from((near.ipv4(), 1)).into(),
        to: SocketAddr::from((far.ipv4(), 10)).into(),
        nic: crate::nic::nic_id(0),
        ttl: 64,
        tos: 0,
        received_at: state.latest,
        dropped: 0,
        segment_size: 0,
        link: None,
    };
    (0..100).for_each(|_| state.stack.queue_plain(id, datagram.clone()));
    drop(state);
    (0..150).for_each(|_| assert_eq!(sender.send(&[1; 1000]).unwrap(), 1000));
    receiver.set_broadcast(true).unwrap();
    let count = std::iter::from_fn(|| receiver.recv(&mut [0; 1000]).ok()).count();
    assert_eq!(count, 150, "accepted, and dropped for want of memory");
    drop(filled);
    assert_eq!(far.usage().bytes, 0);
}

#[test]
fn who_would_read_the_next_of_a_lane_sees_that_it_is_there() {
    let ends = ends();
    let mut next = ends.open_chosen(true);
    assert!(ends.receiver.socket().is_drained());
    (0..3).for_each(|_| ends.send(&mut next));
    for left in (0..3).rev() {
        ends.receive().unwrap();
        assert_eq!(ends.receiver.socket().is_drained(), left == 0, "{left} are left");
    }
}

#[test]
fn a_lane_that_stays_empty_gives_its_memory_back() {
    let ends = ends();
    ends.open_chosen(true);
    let receive_all = || while ends.receiver.recv(&mut [0; 4]).is_ok() {};
    for _ in 0..2 {
        (0..100).for_each(|_| assert_eq!(ends.sender.send(&[0; 1472]).unwrap(), 1472));
        receive_all();
    }
    let kept = |ends: &Ends| ends.receiver.socket().lane_memory();
    assert!(kept(&ends) > 50_000, "{} bytes", kept(&ends));
    (0..10).for_each(|_| receive_all());
    assert!(ends.has_lane() && kept(&ends) < 16_000, "{} bytes", kept(&ends));
}

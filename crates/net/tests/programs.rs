//! Programs on the hosts of a simulation: time, crashes, and what can never end.

#![cfg(feature = "simulation")]

use sockeye::simulation::{current_host, spawn};
use sockeye::tokio::{TcpListener, TcpStream, UdpSocket};
use sockeye::{Host, HostConfig, Instant, NetemConfig, Network, Simulation};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant as TokioInstant, sleep};

async fn udp(host: &Host, port: u16) -> UdpSocket {
    UdpSocket::bind(host, (host.ipv4(), port)).await.unwrap()
}

fn address(host: &Host, port: u16) -> SocketAddr {
    (host.ipv4(), port).into()
}

fn two_hosts(link: &str) -> (Simulation, Host, Host) {
    let link = link.parse::<NetemConfig>().unwrap();
    let config = || HostConfig { link: link.into(), ..HostConfig::default() };
    let simulation = Network::builder().seed(1).host("a", config()).host("b", config()).simulate().unwrap();
    let (a, b) = (simulation.host("a").unwrap(), simulation.host("b").unwrap());
    (simulation, a, b)
}

#[test]
fn two_programs_exchange_datagrams_at_the_links_pace() {
    let (mut simulation, a, b) = two_hosts("delay 1500us");
    let to = address(&b, 7);
    simulation.program(&b, move || async move {
        let socket = udp(&current_host().unwrap(), 7).await;
        loop {
            let mut out = [0; 16];
            let (len, from) = socket.recv_from(&mut out).await.unwrap();
            socket.send_to(&out[..len], from).await.unwrap();
        }
    });
    let network = simulation.network().clone();
    let client = simulation.spawn(&a, async move {
        let socket = udp(&current_host().unwrap(), 0).await;
        let mut times = Vec::new();
        for _ in 0..3 {
            socket.send_to(b"ping", to).await.unwrap();
            let mut out = [0; 16];
            socket.recv_from(&mut out).await.unwrap();
            times.push(network.now());
        }
        times
    });
    let times = simulation.block_on(client).unwrap().unwrap();
    assert_eq!(times, [6, 12, 18].map(Instant::from_millis));
}

#[test]
fn timers_of_programs_and_of_the_network_come_in_order() {
    let (mut simulation, a, b) = two_hosts("delay 2700us");
    let (sender, receiver) = simulation.block_on(async { (udp(&a, 0).await, udp(&b, 7).await) }).unwrap();
    let order = Rc::new(RefCell::new(Vec::new()));
    let (network, seen) = (simulation.network().clone(), Rc::clone(&order));
    simulation.spawn(&b, async move {
        let mut out = [0; 16];
        receiver.recv_from(&mut out).await.unwrap();
        seen.borrow_mut().push(("packet", network.now()));
    });
    for millis in [5, 6] {
        let (network, seen) = (simulation.network().clone(), Rc::clone(&order));
        simulation.spawn(&a, async move {
            let started = TokioInstant::now();
            sleep(Duration::from_millis(millis)).await;
            assert_eq!(started.elapsed(), Duration::from_millis(millis));
            seen.borrow_mut().push(("sleep", network.now()));
        });
    }
    let to = address(&b, 7);
    sender.try_send_to(b"x", to).unwrap();
    simulation.run_for(Duration::from_secs(1));
    let expected = [
        ("sleep", Instant::from_millis(5)),
        ("packet", Instant::from_micros(5400)),
        ("sleep", Instant::from_millis(6)),
    ];
    assert_eq!(*order.borrow(), expected);
    assert_eq!(simulation.now(), Instant::from_secs(1));
}

#[test]
fn time_stops_at_the_limit_to_the_nanosecond() {
    let (mut simulation, a, _) = two_hosts("delay 1ms");
    let done = Rc::new(Cell::new(false));
    let flag = Rc::clone(&done);
    simulation.spawn(&a, async move {
        sleep(Duration::from_millis(10)).await;
        flag.set(true);
    });
    simulation.run_for(Duration::from_nanos(9_999_999));
    assert!(!done.get());
    assert_eq!(simulation.now(), Instant::from_nanos(9_999_999));
    simulation.run_for(Duration::from_nanos(1));
    assert!(done.get());
    assert_eq!(simulation.now(), Instant::from_millis(10));
    simulation.run_for(Duration::from_nanos(500));
    assert_eq!(simulation.now(), Instant::from_nanos(10_000_500));
}

#[test]
fn a_condition_is_asked_after_each_step() {
    let (mut simulation, a, _) = two_hosts("delay 1ms");
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    simulation.spawn(&a, async move {
        loop {
            sleep(Duration::from_secs(1)).await;
            counted.set(counted.get() + 1);
        }
    });
    assert!(simulation.run_until(Instant::from_secs(60), |_| count.get() == 7));
    assert_eq!(simulation.now(), Instant::from_secs(7));
    assert!(!simulation.run_until(Instant::from_millis(9500), |_| count.get() == 10));
    assert_eq!((simulation.now(), count.get()), (Instant::from_millis(9500), 9));
}

#[test]
fn what_has_stalled_is_stalled_when_asked_again() {
    let (mut simulation, ..) = two_hosts("delay 1ms");
    for _ in 0..3 {
        assert_eq!(simulation.block_on(std::future::pending::<()>()).unwrap_err().at, Instant::ZERO);
    }
    simulation.block_on(async { sleep(Duration::from_millis(7)).await }).unwrap();
    assert_eq!(simulation.now(), Instant::from_millis(7));
}

#[test]
fn the_end_of_time_is_where_everything_comes_to_rest() {
    type Run = fn(&mut Simulation);
    let runs: [Run; 2] = [
        |simulation| assert!(!simulation.run_until(Instant::FAR_FUTURE, |_| false)),
        |simulation| simulation.run_for(Duration::MAX),
    ];
    for (run, has_programs) in runs.into_iter().flat_map(|run| [(run, false), (run, true)]) {
        let (mut simulation, a, b) = two_hosts("delay 5ms");
        if has_programs {
            simulation.spawn(&a, std::future::pending::<()>());
        }
        let inbox = b.udp_bind((&b, 7)).unwrap();
        let outbox = a.udp_bind((&a, 7)).unwrap();
        for rest in [10, 20] {
            outbox.send_to(b"x", (&b, 7)).unwrap();
            run(&mut simulation);
            assert_eq!(simulation.now(), Instant::from_millis(rest), "{has_programs}");
            assert_eq!(inbox.recv(&mut [0; 8]).unwrap(), 1);
        }
    }
}

#[test]
fn what_can_never_end_is_stalled_and_no_time_has_passed() {
    let (mut simulation, a, _) = two_hosts("delay 1300us");
    let (sender, silent) = simulation.block_on(async { (udp(&a, 0).await, udp(&a, 9).await) }).unwrap();
    let mut out = [0; 4];
    let stalled = simulation
        .block_on(async {
            sleep(Duration::from_hours(30)).await;
            silent.recv_from(&mut out).await
        })
        .unwrap_err();
    assert_eq!(stalled.at, Instant::ZERO + Duration::from_hours(30));
    assert_eq!(simulation.now(), stalled.at);
    assert!(!simulation.step());
    // It can go on from there, and in step.
    let before = simulation.now();
    simulation.block_on(async { sleep(Duration::from_millis(3)).await }).unwrap();
    assert_eq!(simulation.now() - before, Duration::from_millis(3));
    // Something that isn't a program may still make it go on.
    sender.try_send_to(b"x", address(&a, 9)).unwrap();
    let received = simulation.block_on(silent.recv_from(&mut out));
    assert_eq!(received.unwrap().unwrap().0, 1);
}

#[test]
fn a_stall_between_ticks_keeps_both_clocks_in_step() {
    let (mut simulation, a, b) = two_hosts("delay 1300us");
    let (sender, receiver) = simulation.block_on(async { (udp(&a, 0).await, udp(&b, 7).await) }).unwrap();
    let to = address(&b, 7);
    for _ in 0..5 {
        let start = simulation.now();
        sender.try_send_to(b"x", to).unwrap();
        let mut out = [0; 4];
        simulation.block_on(receiver.recv_from(&mut out)).unwrap().unwrap();
        assert_eq!(simulation.now() - start, Duration::from_micros(2600));
        simulation.block_on(std::future::pending::<()>()).unwrap_err();
        assert_eq!(simulation.now() - start, Duration::from_micros(2600));
    }
}

#[test]
fn a_crash_is_silent_and_a_restart_resets() {
    let (mut simulation, a, b) = two_hosts("delay 5ms");
    let to = address(&b, 80);
    let starts = Rc::new(Cell::new(0));
    let started = Rc::clone(&starts);
    simulation.program(&b, move || {
        started.set(started.get() + 1);
        async move {
            let listener = TcpListener::bind(&current_host().unwrap(), to).await?;
            let (mut stream, _) = listener.accept().await?;
            stream.read_u8().await?;
            std::future::pending::<io::Result<()>>().await
        }
    });
    let mut stream = simulation.block_on(TcpStream::connect(&a, to)).unwrap().unwrap();
    simulation.run_for(Duration::from_secs(1));
    let kept = simulation.block_on(udp(&b, 9)).unwrap();
    let dropped = Rc::new(Cell::new(false));
    let notes = DropNote(Rc::clone(&dropped));
    simulation.spawn(&b, async move {
        std::future::pending::<()>().await;
        drop(notes);
    });
    let sent = simulation.network().counters(&b).sent;
    simulation.crash(&b);
    simulation.run_for(Duration::from_secs(1));
    assert!(dropped.get(), "a task of the host outlived it");
    assert_eq!(simulation.network().counters(&b).sent, sent, "a crash is silent");
    assert_eq!(kept.try_send_to(b"x", to).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let none = simulation.block_on(TcpStream::connect(&b, to)).unwrap().unwrap_err();
    assert_eq!(none.kind(), io::ErrorKind::NetworkUnreachable);
    // Nobody has told the client. What it sends is answered only after the restart, by a reset.
    simulation.block_on(stream.write_all(b"still there?")).unwrap().unwrap();
    simulation.run_for(Duration::from_secs(1));
    assert!(would_block(&stream.try_read(&mut [0; 4])));
    assert_eq!(starts.get(), 1);
    simulation.restart(&b);
    let error = simulation.block_on(stream.read(&mut [0; 4])).unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(starts.get(), 2);
    // The name, the address and the program are the same as before.
    simulation.block_on(TcpStream::connect(&a, to)).unwrap().unwrap();
}

#[test]
fn what_is_held_comes_later_and_in_order() {
    let (mut simulation, a, b) = two_hosts("delay 5ms");
    let (sender, receiver) = simulation.block_on(async { (udp(&a, 0).await, udp(&b, 7).await) }).unwrap();
    let to = address(&b, 7);
    let mut out = [0; 4];
    simulation.hold(&b, &a);
    for number in 1..4 {
        sender.try_send_to(&[number], to).unwrap();
        simulation.run_for(Duration::from_secs(1));
    }
    assert!(would_block(&receiver.try_recv_from(&mut out)));
    simulation.release(&a, &b);
    let released = simulation.now();
    for number in 1..4 {
        simulation.block_on(receiver.recv_from(&mut out)).unwrap().unwrap();
        assert_eq!(out[0], number);
    }
    assert_eq!(simulation.now() - released, Duration::from_millis(5));
    simulation.partition(&a, &b);
    sender.try_send_to(&[4], to).unwrap();
    simulation.run_for(Duration::from_secs(1));
    simulation.heal(&a, &b);
    simulation.run_for(Duration::from_secs(1));
    assert!(would_block(&receiver.try_recv_from(&mut out)));
}

#[test]
fn a_task_that_nobody_knows_of_fails_at_its_sockets_after_a_crash() {
    let (mut simulation, a, b) = two_hosts("delay 5ms");
    let to = address(&b, 80);
    simulation.program(&b, move || async move {
        let listener = TcpListener::bind(&current_host()?, to).await?;
        loop {
            let _ = listener.accept().await?;
        }
        #[allow(unreachable_code)]
        io::Result::Ok(())
    });
    let host = a.clone();
    let stranger = simulation.spawn(&a, async move {
        let socket = udp(&host, 9).await;
        (tokio::spawn(async move { socket.recv(&mut [0; 4]).await }),)
    });
    let (stranger,) = simulation.block_on(stranger).unwrap().unwrap();
    simulation.run_for(Duration::from_secs(1));
    simulation.crash(&a);
    let error = simulation.block_on(stranger).unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    // Other hosts haven't noticed anything, and the address is free again after the restart.
    simulation.restart(&a);
    simulation.block_on(udp(&a, 9)).unwrap();
    simulation.block_on(TcpStream::connect(&a, to)).unwrap().unwrap();
}

/// Tells that it was dropped.
struct DropNote(Rc<Cell<bool>>);

impl Drop for DropNote {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// Whether a call would have to wait.
fn would_block<R>(result: &io::Result<R>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
#[should_panic(expected = "the program of host \"a\" failed: no luck")]
fn a_program_with_an_error_ends_the_run() {
    let (mut simulation, a, _) = two_hosts("delay 1ms");
    simulation.program(&a, || async {
        sleep(Duration::from_secs(1)).await;
        Err::<(), _>("no luck")
    });
    simulation.run_for(Duration::from_secs(2));
}

#[test]
#[should_panic(expected = "out of cheese")]
fn a_panic_in_a_task_ends_the_run() {
    let (mut simulation, a, _) = two_hosts("delay 1ms");
    simulation.program(&a, || async {
        spawn(async {
            sleep(Duration::from_secs(1)).await;
            panic!("out of cheese");
        });
        std::future::pending::<()>().await;
    });
    simulation.run_for(Duration::from_secs(2));
}

#[test]
fn tasks_know_their_host() {
    let (mut simulation, a, b) = two_hosts("delay 1ms");
    let handles = [&a, &b].map(|host| {
        simulation.spawn(host, async {
            let child = spawn(async {
                sleep(Duration::from_millis(2)).await;
                current_host().unwrap()
            });
            sleep(Duration::from_millis(1)).await;
            let stranger = tokio::spawn(async { current_host().is_err() });
            assert!(stranger.await.unwrap());
            (current_host().unwrap(), child.await.unwrap())
        })
    });
    for (handle, host) in handles.into_iter().zip([a, b]) {
        let (own, of_child) = simulation.block_on(handle).unwrap().unwrap();
        assert_eq!([own.id(), of_child.id()], [host.id(); 2]);
    }
    assert!(current_host().is_err());
}

#[test]
fn ten_thousand_idle_connections_cost_nothing_but_memory() {
    const EACH: u16 = 1000;
    let mut sim = Network::builder().seed(1).simulate().unwrap();
    let server = sim.add_host("server", HostConfig::default()).unwrap();
    let to = address(&server, 80);
    let accepted = sim.spawn(&server, async move {
        let listener = TcpListener::bind(&current_host()?, to).await?;
        let mut streams = Vec::new();
        while streams.len() < usize::from(EACH) * 10 {
            streams.push(listener.accept().await?.0);
        }
        io::Result::Ok(streams)
    });
    let opened = [(); 10].map(|()| {
        let host = sim.add_host(&format!("client-{}", sim.network().hosts().len()), HostConfig::default());
        sim.spawn(&host.unwrap(), async move {
            let mut streams = Vec::new();
            for _ in 0..EACH {
                streams.push(TcpStream::connect(&current_host()?, to).await?);
            }
            io::Result::Ok(streams)
        })
    });
    let mut streams = sim.block_on(accepted).unwrap().unwrap().unwrap();
    for opened in opened {
        streams.extend(sim.block_on(opened).unwrap().unwrap().unwrap());
    }
    sim.run_for(Duration::from_secs(10));
    assert!(!sim.step(), "something happens although nobody does anything");
    assert_eq!(streams.len(), 20_000);
}

#[test]
fn a_removed_hosts_programs_end() {
    let (mut simulation, a, b) = two_hosts("");
    let alive = Rc::new(());
    for host in [&a, &b] {
        let alive = Rc::clone(&alive);
        simulation.program(host, move || {
            let alive = Rc::clone(&alive);
            async move {
                sleep(Duration::from_hours(1)).await;
                drop(alive);
            }
        });
    }
    // Those that a program has made end too, and a program may remove its own host.
    let (network, host, held) = (simulation.network().clone(), a.clone(), Rc::clone(&alive));
    simulation.spawn(&a, async move {
        spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        sleep(Duration::from_millis(5)).await;
        network.remove_host(&host);
        std::future::pending::<()>().await;
    });
    simulation.run_for(Duration::from_millis(4));
    assert_eq!(Rc::strong_count(&alive), 6);
    simulation.run_for(Duration::from_millis(2));
    // Here, and with what begins and what runs the program of either host.
    assert_eq!(Rc::strong_count(&alive), 4, "the removed host's program still runs");
    let late = simulation.spawn(&a, async {});
    assert!(simulation.block_on(late).unwrap().unwrap_err().is_cancelled());
    simulation.restart(&a);
    assert!(a.udp_bind((a.ipv4(), 0)).is_err(), "a removed host can't be restarted");
    simulation.run_for(Duration::from_millis(2));
    assert_eq!(Rc::strong_count(&alive), 4);
}

#[test]
fn a_program_of_a_host_that_is_down_begins_when_it_is_up() {
    let (mut simulation, a, _) = two_hosts("");
    let begun = Rc::new(Cell::new(0));
    let counter = Rc::clone(&begun);
    simulation.crash(&a);
    simulation.program(&a, move || {
        counter.set(counter.get() + 1);
        std::future::pending::<()>()
    });
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(begun.get(), 0);
    simulation.restart(&a);
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(begun.get(), 1);
}

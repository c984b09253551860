use super::*;
use crate::socket::Socket;
use crate::waiters::Waiter;
use sockeye_stack::{RecvFlags, SocketType};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use tokio::time::{Instant as TokioInstant, sleep};

/// Turns a poll of a socket into a future.
async fn poll<R>(mut call: impl FnMut(Option<Waiter<'_>>) -> Poll<io::Result<R>>) -> io::Result<R> {
    poll_fn(|cx| call(Some(Waiter::latest(cx.waker())))).await
}

async fn connect(host: &Host, to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(host, to, SocketType::Stream)?;
    socket.start_connect(to)?;
    poll(|waker| socket.poll_connected(waker)).await?;
    Ok(socket)
}

fn udp(host: &Host, port: u16) -> Socket {
    let socket = Socket::new(host, (host.ipv4(), 0).into(), SocketType::Datagram).unwrap();
    socket.bind((host.ipv4(), port).into()).unwrap();
    socket
}

fn two_hosts(link: &str) -> (Simulation, Host, Host) {
    let link = link.parse::<crate::NetemConfig>().unwrap();
    let config = || HostConfig { link: link.into(), ..HostConfig::default() };
    let simulation = Network::builder().seed(1).host("a", config()).host("b", config()).simulate().unwrap();
    let (a, b) = (simulation.host("a").unwrap(), simulation.host("b").unwrap());
    (simulation, a, b)
}

#[test]
fn two_programs_exchange_datagrams_at_the_links_pace() {
    let (mut simulation, a, b) = two_hosts("delay 1500us");
    let to = (b.ipv4(), 7).into();
    simulation.program(&b, move || async move {
        let socket = udp(&current_host().unwrap(), 7);
        loop {
            let mut out = [0; 16];
            let (len, from) =
                poll(|waker| socket.poll_recv_from(waker, &mut out, RecvFlags::default())).await.unwrap();
            poll(|waker| socket.poll_send_to(waker, &out[..len], Some(from))).await.unwrap();
        }
    });
    let network = simulation.network().clone();
    let client = simulation.spawn(&a, async move {
        let socket = udp(&current_host().unwrap(), 0);
        let mut times = Vec::new();
        for _ in 0..3 {
            poll(|waker| socket.poll_send_to(waker, b"ping", Some(to))).await.unwrap();
            let mut out = [0; 16];
            poll(|waker| socket.poll_recv_from(waker, &mut out, RecvFlags::default())).await.unwrap();
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
    let receiver = udp(&b, 7);
    let order = Rc::new(RefCell::new(Vec::new()));
    let (network, seen) = (simulation.network().clone(), Rc::clone(&order));
    simulation.spawn(&b, async move {
        let mut out = [0; 16];
        poll(|waker| receiver.poll_recv_from(waker, &mut out, RecvFlags::default())).await.unwrap();
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
    let to = (b.ipv4(), 7).into();
    assert!(udp(&a, 0).poll_send_to(None, b"x", Some(to)).is_ready());
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
fn what_can_never_end_is_stalled_and_no_time_has_passed() {
    let (mut simulation, a, _) = two_hosts("delay 1300us");
    let silent = udp(&a, 9);
    let mut out = [0; 4];
    let stalled = simulation
        .block_on(async {
            sleep(Duration::from_hours(30)).await;
            poll(|waker| silent.poll_recv_from(waker, &mut out, RecvFlags::default())).await
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
    assert!(udp(&a, 0).poll_send_to(None, b"x", Some((a.ipv4(), 9).into())).is_ready());
    let received =
        simulation.block_on(poll(|waker| silent.poll_recv_from(waker, &mut out, RecvFlags::default())));
    assert_eq!(received.unwrap().unwrap().0, 1);
}

#[test]
fn a_stall_between_ticks_keeps_both_clocks_in_step() {
    let (mut simulation, a, b) = two_hosts("delay 1300us");
    let (sender, receiver) = (udp(&a, 0), udp(&b, 7));
    let to = (b.ipv4(), 7).into();
    for _ in 0..5 {
        let start = simulation.now();
        assert!(sender.poll_send_to(None, b"x", Some(to)).is_ready());
        let mut out = [0; 4];
        simulation
            .block_on(poll(|waker| receiver.poll_recv_from(waker, &mut out, RecvFlags::default())))
            .unwrap()
            .unwrap();
        assert_eq!(simulation.now() - start, Duration::from_micros(2600));
        simulation.block_on(std::future::pending::<()>()).unwrap_err();
        assert_eq!(simulation.now() - start, Duration::from_micros(2600));
    }
}

#[test]
fn a_crash_is_silent_and_a_restart_resets() {
    let (mut simulation, a, b) = two_hosts("delay 5ms");
    let to: SocketAddr = (b.ipv4(), 80).into();
    let starts = Rc::new(Cell::new(0));
    let started = Rc::clone(&starts);
    simulation.program(&b, move || {
        started.set(started.get() + 1);
        async move {
            let listener = Socket::new(&current_host().unwrap(), to, SocketType::Stream)?;
            listener.bind(to)?;
            listener.call(|stack, id, now| stack.listen(now, id, 16))?;
            let (stream, _) = poll(|waker| listener.poll_accept(waker)).await?;
            let mut out = [0; 16];
            poll(|waker| stream.poll_recv(waker, &mut out, RecvFlags::default())).await?;
            std::future::pending::<io::Result<()>>().await
        }
    });
    let stream = simulation.block_on(connect(&a, to)).unwrap().unwrap();
    simulation.run_for(Duration::from_secs(1));
    let kept = udp(&b, 9);
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
    let answer = kept.poll_send_to(None, b"x", Some(to));
    assert!(matches!(answer, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset));
    assert!(Socket::new(&b, to, SocketType::Stream).is_err());
    // Nobody has told the client. What it sends is answered only after the restart, by a reset.
    assert!(matches!(stream.poll_send(None, b"still there?"), Poll::Ready(Ok(12))));
    simulation.run_for(Duration::from_secs(1));
    assert!(stream.poll_recv(None, &mut [0; 4], RecvFlags::default()).is_wait());
    assert_eq!(starts.get(), 1);
    simulation.restart(&b);
    let error = simulation
        .block_on(poll(|waker| stream.poll_recv(waker, &mut [0; 4], RecvFlags::default())))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(starts.get(), 2);
    // The name, the address and the program are the same as before.
    simulation.block_on(connect(&a, to)).unwrap().unwrap();
}

/// Tells that it was dropped.
struct DropNote(Rc<Cell<bool>>);

impl Drop for DropNote {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// What is asserted of a call that didn't wait.
trait Answer {
    fn is_wait(&self) -> bool;
}

impl<T> Answer for Poll<io::Result<T>> {
    fn is_wait(&self) -> bool {
        matches!(self, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WouldBlock)
    }
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
            let stranger = tokio::spawn(async { current_host().is_none() });
            assert!(stranger.await.unwrap());
            (current_host().unwrap(), child.await.unwrap())
        })
    });
    for (handle, host) in handles.into_iter().zip([a, b]) {
        let (own, of_child) = simulation.block_on(handle).unwrap().unwrap();
        assert_eq!([own.id(), of_child.id()], [host.id(); 2]);
    }
    assert!(current_host().is_none());
}

//! Tasks that open, use, cancel, drop and break things at random, in virtual time: when they are gone and the
//! connections had their time to end, no host holds a socket, a connection, a record or a byte of memory, and
//! no waker is kept.

use proptest::prelude::*;
use sockeye::stack::Usage;
use sockeye::tokio::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, UdpSocket};
use sockeye::{Direction, Host, HostConfig, Instant, NetemConfig, Network, Simulation};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a task does next; the numbers pick a host, a socket, how much, and after how many milliseconds it gives
/// up.
#[derive(Clone, Debug)]
enum Step {
    Connect(usize, u64),
    Accept(usize, u64),
    Write(usize, usize, u64),
    Read(usize, usize, u64),
    Both(usize, usize, u64),
    Ready(usize, u64),
    Shut(usize),
    Split(usize),
    DropHalf(usize, bool),
    ForgetHalf(usize),
    Drop(usize),
    SendTo(usize, usize),
    RecvFrom(usize, u64),
    Sleep(u64),
    PanicInStack(usize),
    Panic,
}

fn step() -> impl Strategy<Value = Step> {
    let (host, socket, len) = (0..2_usize, 0..4_usize, 1..200_000_usize);
    // Often at once: the future is polled, and dropped.
    let patience = prop_oneof![Just(0), 0..20_u64, 0..2000_u64];
    let on_host = (host.clone(), patience.clone());
    let on_socket = (socket.clone(), len, patience.clone());
    prop_oneof![
        32 => on_host.clone().prop_map(|(host, patience)| Step::Connect(host, patience)),
        32 => on_host.clone().prop_map(|(host, patience)| Step::Accept(host, patience)),
        32 => on_socket.clone().prop_map(|(socket, len, patience)| Step::Write(socket, len, patience)),
        32 => on_socket.clone().prop_map(|(socket, len, patience)| Step::Read(socket, len, patience)),
        16 => on_socket.prop_map(|(socket, len, patience)| Step::Both(socket, len, patience)),
        8 => (socket.clone(), patience.clone()).prop_map(|(socket, patience)| Step::Ready(socket, patience)),
        16 => socket.clone().prop_map(Step::Shut),
        16 => socket.clone().prop_map(Step::Split),
        16 => (socket.clone(), any::<bool>()).prop_map(|(socket, read)| Step::DropHalf(socket, read)),
        8 => socket.clone().prop_map(Step::ForgetHalf),
        16 => socket.prop_map(Step::Drop),
        16 => (host.clone(), 0..3000_usize).prop_map(|(host, len)| Step::SendTo(host, len)),
        8 => on_host.prop_map(|(host, patience)| Step::RecvFrom(host, patience)),
        8 => patience.prop_map(Step::Sleep),
        8 => host.prop_map(Step::PanicInStack),
        1 => Just(Step::Panic),
    ]
}

/// What happens to the hosts meanwhile.
#[derive(Clone, Debug)]
enum Fate {
    Part,
    Heal,
    Crash(usize),
    Restart(usize),
    /// A tap that panics.
    Tap(usize),
}

fn fate() -> impl Strategy<Value = (u64, Fate)> {
    let fate = prop_oneof![
        Just(Fate::Part),
        Just(Fate::Heal),
        (0..2_usize).prop_map(Fate::Crash),
        (0..2_usize).prop_map(Fate::Restart),
        (0..2_usize).prop_map(Fate::Tap),
    ];
    (0..1500_u64, fate)
}

/// What all tasks have.
struct Common {
    hosts: [Host; 2],
    listeners: [TcpListener; 2],
    datagrams: [UdpSocket; 2],
}

impl Common {
    async fn new(hosts: &[Host; 2]) -> Common {
        let [a, b] = hosts;
        Common {
            hosts: hosts.clone(),
            listeners: [listen_at(a).await, listen_at(b).await],
            datagrams: [bind_at(a).await, bind_at(b).await],
        }
    }
}

async fn listen_at(host: &Host) -> TcpListener {
    TcpListener::bind(host, (host.ipv4(), 80)).await.unwrap()
}

async fn bind_at(host: &Host) -> UdpSocket {
    UdpSocket::bind(host, (host.ipv4(), 9)).await.unwrap()
}

/// A stream, or what is left of it.
enum Stream {
    Whole(TcpStream),
    Halves(Option<OwnedReadHalf>, Option<OwnedWriteHalf>),
}

impl Stream {
    async fn write(&mut self, len: usize) {
        let data = vec![7; len];
        let _ = match self {
            Stream::Whole(stream) => stream.write_all(&data).await,
            Stream::Halves(_, Some(half)) => half.write_all(&data).await,
            Stream::Halves(_, None) => Ok(()),
        };
    }

    async fn read(&mut self, len: usize) {
        let mut data = vec![0; len];
        let _ = match self {
            Stream::Whole(stream) => stream.read_exact(&mut data).await,
            Stream::Halves(Some(half), _) => half.read_exact(&mut data).await,
            Stream::Halves(None, _) => Ok(0),
        };
    }

    /// Reads and writes at once, in one task.
    async fn both(&mut self, len: usize) {
        let (data, mut out) = (vec![7; len], vec![0; len]);
        match self {
            Stream::Whole(stream) => {
                let (mut read, mut write) = stream.split();
                let _ = tokio::join!(read.read_exact(&mut out), write.write_all(&data));
            }
            Stream::Halves(Some(read), Some(write)) => {
                let _ = tokio::join!(read.read_exact(&mut out), write.write_all(&data));
            }
            Stream::Halves(..) => {}
        }
    }

    async fn ready(&self) {
        if let Stream::Whole(stream) = self {
            let _ = tokio::join!(stream.readable(), stream.writable(), stream.readable());
        }
    }

    async fn shut(&mut self) {
        let _ = match self {
            Stream::Whole(stream) => stream.shutdown().await,
            Stream::Halves(_, Some(half)) => half.shutdown().await,
            Stream::Halves(_, None) => Ok(()),
        };
    }

    fn split(self) -> Stream {
        match self {
            Stream::Whole(stream) => {
                let (read, write) = stream.into_split();
                Stream::Halves(Some(read), Some(write))
            }
            Stream::Halves(Some(read), Some(write)) => Stream::Whole(read.reunite(write).unwrap()),
            halves @ Stream::Halves(..) => halves,
        }
    }
}

/// One task: what fails because others got in the way is part of the game.
async fn act(common: Rc<Common>, steps: Vec<Step>) {
    let mut streams: Vec<Stream> = Vec::new();
    for step in steps {
        let place = |socket: usize| socket % streams.len().max(1);
        match step {
            Step::Connect(host, patience) => {
                let to = common.listeners[1 - host].local_addr().unwrap_or(([10, 77, 0, 2], 80).into());
                let connecting = within(patience, TcpStream::connect(&common.hosts[host], to)).await;
                streams.extend(connecting.and_then(Result::ok).map(Stream::Whole));
            }
            Step::Accept(host, patience) => {
                let accepting = within(patience, common.listeners[host].accept()).await;
                streams.extend(accepting.and_then(Result::ok).map(|(stream, _)| Stream::Whole(stream)));
            }
            Step::SendTo(host, len) => {
                let to = SocketAddr::from((common.hosts[1 - host].ipv4(), 9));
                drop(within(5, common.datagrams[host].send_to(&vec![0; len], to)).await);
            }
            Step::RecvFrom(host, patience) => {
                drop(within(patience, common.datagrams[host].recv_from(&mut [0; 64])).await);
            }
            Step::Sleep(time) => tokio::time::sleep(Duration::from_millis(time)).await,
            Step::PanicInStack(host) => {
                let call = || common.hosts[host].with_stack(|_, _| panic!("{QUIET}"));
                catch_unwind(AssertUnwindSafe(call)).unwrap_or(());
            }
            Step::Panic => panic!("{QUIET}"),
            Step::Split(socket) | Step::Drop(socket) if !streams.is_empty() => {
                let stream = streams.swap_remove(place(socket));
                if matches!(step, Step::Split(_)) {
                    streams.push(stream.split());
                }
            }
            step => {
                let (Step::Write(socket, ..)
                | Step::Read(socket, ..)
                | Step::Both(socket, ..)
                | Step::Ready(socket, _)
                | Step::Shut(socket)
                | Step::DropHalf(socket, _)
                | Step::ForgetHalf(socket)) = step
                else {
                    continue;
                };
                let index = place(socket);
                if let Some(stream) = streams.get_mut(index) {
                    use_stream(stream, &step).await;
                }
            }
        }
    }
}

async fn use_stream(stream: &mut Stream, step: &Step) {
    match *step {
        Step::Write(_, len, patience) => within(patience, stream.write(len)).await.unwrap_or(()),
        Step::Read(_, len, patience) => within(patience, stream.read(len)).await.unwrap_or(()),
        Step::Both(_, len, patience) => within(patience, stream.both(len)).await.unwrap_or(()),
        Step::Ready(_, patience) => within(patience, stream.ready()).await.unwrap_or(()),
        Step::Shut(_) => stream.shut().await,
        Step::DropHalf(_, is_read) => {
            if let Stream::Halves(read, write) = stream {
                if is_read { drop(read.take()) } else { drop(write.take()) }
            }
        }
        Step::ForgetHalf(_) => {
            if let Stream::Halves(_, write) = stream
                && let Some(write) = write.take()
            {
                write.forget();
            }
        }
        _ => {}
    }
}

/// Awaits a future for so many milliseconds, and drops it then.
async fn within<F: Future>(patience: u64, future: F) -> Option<F::Output> {
    tokio::time::timeout(Duration::from_millis(patience), future).await.ok()
}

/// What panics say that are part of the game: they aren't printed.
const QUIET: &str = "a panic that was asked for";

/// A future that hands down a new waker at every poll; all of them hold `alive`.
struct Counted<F> {
    future: Pin<Box<F>>,
    alive: Arc<()>,
}

struct Relay {
    waker: Waker,
    _alive: Arc<()>,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.waker.wake_by_ref();
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let relay = Relay { waker: cx.waker().clone(), _alive: Arc::clone(&self.alive) };
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(relay))))
    }
}

/// Plays the programs with what happens to the hosts.
fn run(
    simulation: &mut Simulation,
    hosts: &[Host; 2],
    programs: Vec<Vec<Step>>,
    fates: &[(u64, Fate)],
    alive: &Arc<()>,
) {
    let common = simulation.block_on(Common::new(hosts)).unwrap();
    let common = Rc::new(common);
    for (number, steps) in programs.into_iter().enumerate() {
        let future = Box::pin(act(Rc::clone(&common), steps));
        simulation.spawn(&hosts[number % 2], Counted { future, alive: Arc::clone(alive) });
    }
    drop(common);
    for (pause, fate) in fates {
        simulation.run_for(Duration::from_millis(*pause));
        match *fate {
            Fate::Part => simulation.network().clone().partition(&hosts[0], &hosts[1]),
            Fate::Heal => simulation.network().clone().heal(&hosts[0], &hosts[1]),
            Fate::Crash(host) => simulation.crash(&hosts[host]),
            Fate::Restart(host) => simulation.restart(&hosts[host]),
            Fate::Tap(host) => {
                simulation.network().tap(&hosts[host], Direction::Up, |_, _| panic!("{QUIET}"));
            }
        }
    }
    simulation.run_for(Duration::from_secs(2));
    // A task that is cut short in the middle of anything is cancelled with the simulation.
}

/// Lets time pass in a network without programs.
fn let_pass(network: &Network, span: Duration) {
    let end = network.now() + span;
    let mut now = network.now();
    while let Some(next) = network.turn(now).filter(|&next| next < end) {
        now = now.max(next);
    }
    network.turn(end);
}

fn play(programs: Vec<Vec<Step>>, fates: &[(u64, Fate)], conditions: &str) {
    let link = || {
        let conditions: NetemConfig = conditions.parse().unwrap();
        HostConfig { link: conditions.into(), ..HostConfig::default() }
    };
    let mut simulation = Network::builder().seed(1).host("a", link()).host("b", link()).simulate().unwrap();
    let network = simulation.network().clone();
    let hosts = ["a", "b"].map(|name| network.host(name).unwrap());
    let alive = Arc::new(());
    let result = catch_unwind(AssertUnwindSafe(|| run(&mut simulation, &hosts, programs, fates, &alive)));
    if let Err(payload) = result {
        let message = payload.downcast_ref::<String>().expect("panics say something");
        assert_eq!(message, QUIET);
    }
    drop(simulation);
    assert_eq!(Arc::strong_count(&alive), 1, "wakers are kept");
    for host in &hosts {
        assert_eq!(host.usage().sockets, 0, "{host:?} {:?}", host.usage());
    }
    // Connections whose peer is cut off end by their timers.
    let_pass(&network, Duration::from_hours(2));
    for host in &hosts {
        assert_eq!(host.usage(), Usage::default(), "{host:?}");
    }
    assert!(network.turn(Instant::ZERO).is_none(), "something is still to happen");
}

/// Many futures that are dropped before they are done, beside others that wait for the same: what is kept is
/// bounded by who waits.
#[test]
fn cancelled_futures_leave_no_waker() {
    let mut simulation = Network::builder()
        .host("a", HostConfig::default())
        .host("b", HostConfig::default())
        .simulate()
        .unwrap();
    let hosts = ["a", "b"].map(|name| simulation.host(name).unwrap());
    let alive = Arc::new(());
    let cancelling = {
        let alive = Arc::clone(&alive);
        async move {
            let common = Common::new(&hosts).await;
            let to = common.listeners[1].local_addr().unwrap();
            let (mut client, accepted) =
                tokio::join!(TcpStream::connect(&hosts[0], to), common.listeners[1].accept());
            let (client, (server, _)) = (client.as_mut().unwrap(), accepted.unwrap());
            let data = vec![0; 100_000];
            for _ in 0..200 {
                drop(within(0, common.listeners[0].accept()).await);
                drop(within(0, common.datagrams[0].recv_from(&mut [0; 8])).await);
                drop(within(0, server.readable()).await);
                drop(within(0, client.read(&mut [0; 8])).await);
                drop(within(0, client.write_all(&data)).await);
                drop(within(0, TcpStream::connect(&hosts[0], "10.77.9.9:80")).await);
            }
            // This task's own and that of the poll that goes on, and those that `AsyncRead` and `AsyncWrite` leave:
            // one for each direction.
            assert!(Arc::strong_count(&alive) <= 8, "{} wakers", Arc::strong_count(&alive));
        }
    };
    let future = Counted { future: Box::pin(cancelling), alive: Arc::clone(&alive) };
    simulation.block_on(future).unwrap();
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn when_the_tasks_are_gone_so_is_everything() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<String>().is_none_or(|message| message != QUIET) {
            hook(info);
        }
    }));
    let programs = prop::collection::vec(prop::collection::vec(step(), 1..24), 2..6);
    let fates = prop::collection::vec(fate(), 0..4);
    let conditions = prop_oneof![Just(""), Just("delay 5ms"), Just("delay 1ms loss 10%")];
    let config = ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&(programs, fates, conditions), |(programs, fates, conditions)| {
            play(programs, &fates, conditions);
            Ok(())
        })
        .unwrap();
}

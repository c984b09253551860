//! Idle connections cost memory, and nothing else: no timer, no waker, no packet.

use sockeye::tokio::{TcpListener, TcpStream};
use sockeye::{Direction, Host, HostConfig, Network};
use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Counts the bytes in use.
struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps what `dealloc` asks for, and `System` allocated it.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONNECTIONS: usize = 10_000;
/// How many are opened at once.
const AT_ONCE: usize = 100;

/// Bytes of one end all told: its connection, its handle, and the future that waits for it.
const MOST_BYTES: usize = 2048;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What both ends of each connection do: they say something, hear it, and wait for more.
async fn wait(stream: TcpStream) {
    assert_eq!(stream.try_write(b"x").unwrap(), 1);
    loop {
        stream.readable().await.unwrap();
        match stream.try_read(&mut [0; 8]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

/// Does all that is due now.
fn turn(network: &Network) {
    let now = network.now();
    while network.turn(now) == Some(now) {}
}

/// Does all that is due within a span.
fn pass(network: &Network, span: Duration) {
    let end = network.now() + span;
    while let Some(at) = network.turn(network.now()).filter(|at| *at < end) {
        network.turn(at);
    }
    network.turn(end);
    turn(network);
}

fn ready<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Opens some connections; both ends of each.
fn open(network: &Network, listener: &TcpListener, client: &Host, count: usize) -> Vec<TcpStream> {
    let server = listener.local_addr().unwrap();
    let mut connecting: Vec<_> = (0..count).map(|_| Box::pin(TcpStream::connect(client, server))).collect();
    let mut ends = Vec::with_capacity(2 * count);
    assert!(connecting.iter_mut().all(|connecting| ready(connecting.as_mut()).is_none()));
    turn(network);
    for mut connecting in connecting {
        ends.push(ready(connecting.as_mut()).expect("connected after a turn").unwrap());
        ends.push(ready(pin!(listener.accept())).expect("a connection waits").unwrap().0);
    }
    ends
}

/// Opens all connections and polls who waits at their ends until nothing moves.
fn open_all(
    network: &Network,
    listener: &TcpListener,
    client: &Host,
    waker: &Waker,
) -> Vec<Pin<Box<impl Future<Output = ()>>>> {
    let mut context = Context::from_waker(waker);
    let mut waiting = Vec::with_capacity(2 * CONNECTIONS);
    for _ in 0..CONNECTIONS / AT_ONCE {
        let ends = open(network, listener, client, AT_ONCE);
        let first = waiting.len();
        waiting.extend(ends.into_iter().map(|end| Box::pin(wait(end))));
        assert!(waiting[first..].iter_mut().all(|end| end.as_mut().poll(&mut context).is_pending()));
        turn(network);
        assert!(waiting[first..].iter_mut().all(|end| end.as_mut().poll(&mut context).is_pending()));
    }
    // What follows the last byte, such as an acknowledgment that was put off, has followed after a minute.
    pass(network, Duration::from_mins(1));
    waiting
}

#[test]
fn ten_thousand_idle_connections_cost_only_memory() {
    let network = Network::builder()
        .seed(1)
        .host("server", HostConfig::default())
        .host("client", HostConfig::default())
        .build_manual()
        .unwrap();
    let (server, client) = (network.host("server").unwrap(), network.host("client").unwrap());
    let listener = ready(pin!(TcpListener::bind(&server, (server.ipv4(), 7)))).unwrap().unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let sent = || [&server, &client].map(|host| network.link(host, Direction::Up).1);

    let before = BYTES.load(Ordering::Relaxed);
    let waiting = open_all(&network, &listener, &client, &waker);
    let used = BYTES.load(Ordering::Relaxed) - before;
    let each = used as usize / waiting.len();
    println!("{each} bytes for each end of {CONNECTIONS} idle connections");
    assert!(each <= MOST_BYTES, "{each} bytes for each end of a connection");

    let (packets, woken) = (sent(), wakes.0.load(Ordering::Relaxed));
    let tomorrow = network.now() + Duration::from_hours(24);
    assert_eq!(network.turn(tomorrow), None, "something is due, now or later");
    assert_eq!((sent(), wakes.0.load(Ordering::Relaxed)), (packets, woken), "something moved");

    // Their memory is that of the next ones.
    drop(waiting);
    // Connections that were closed are remembered for a minute (RFC 9293 §3.6.1, TIME-WAIT).
    pass(&network, Duration::from_mins(2));
    drop(open_all(&network, &listener, &client, &waker));
    pass(&network, Duration::from_mins(2));
    let again = BYTES.load(Ordering::Relaxed) - before;
    assert!(again <= used, "{again} bytes after all were closed twice, {used} while they were open");
}

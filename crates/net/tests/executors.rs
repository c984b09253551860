//! The asynchronous sockets need no runtime of a certain kind: here they are awaited by threads that poll them,
//! and move between those and tokio.

use sockeye::tokio::{TcpListener, TcpStream, UdpSocket};
use sockeye::{Host, HostConfig, NetemConfig, Network};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The least executor: a thread that polls one future.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

fn network() -> (Host, Host) {
    let link: NetemConfig = "delay 1ms loss 1%".parse().unwrap();
    let network = Network::builder()
        .host("server", HostConfig::default())
        .host("client", HostConfig { link: link.into(), ..HostConfig::default() })
        .build()
        .unwrap();
    (network.host("server").unwrap(), network.host("client").unwrap())
}

async fn echo(listener: TcpListener) -> io::Result<u64> {
    let (mut stream, _) = listener.accept().await?;
    let (mut from, mut to) = stream.split();
    let copied = tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await?;
    Ok(copied)
}

/// Sends `text` and expects it back, reading and writing at once.
async fn say(stream: TcpStream, text: &[u8]) -> TcpStream {
    let (mut read, mut write) = stream.into_split();
    let mut back = Vec::new();
    let writing = async {
        write.write_all(text).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let ((), len) = tokio::join!(writing, read.read_to_end(&mut back));
    assert_eq!((len.unwrap(), back == text), (text.len(), true));
    read.reunite(write).unwrap()
}

#[test]
fn threads_that_poll_are_executors_enough() {
    let (server, client) = network();
    let listener = block_on(TcpListener::bind(&server, "server:7")).unwrap();
    let serving = thread::spawn(|| block_on(echo(listener)));
    let text = vec![7; 300_000];
    block_on(async {
        let stream = TcpStream::connect(&client, "server:7").await.unwrap();
        say(stream, &text).await;
    });
    assert_eq!(serving.join().unwrap().unwrap(), 300_000);
}

#[test]
fn sockets_move_between_executors() {
    let (server, client) = network();
    let listener = block_on(TcpListener::bind(&server, "server:7")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let serving = runtime.spawn(echo(listener));
    let stream = block_on(TcpStream::connect(&client, "server:7")).unwrap();
    let alone = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stream = alone.block_on(say(stream, &vec![8; 100_000]));
    // The one that it was polled in last is gone.
    drop(alone);
    assert_eq!(block_on(async { (stream.readable().await, stream.try_read(&mut [0])) }).1.unwrap(), 0);
    assert_eq!(runtime.block_on(serving).unwrap().unwrap(), 100_000);
}

#[test]
fn any_number_of_tasks_wait_for_one_socket() {
    const TASKS: u8 = 20;
    let (server, client) = network();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let at = block_on(UdpSocket::bind(&server, "server:9")).unwrap();
    let at = Arc::new(at);
    let (sender, heard) = std::sync::mpsc::channel();
    for _ in 0..TASKS {
        let (at, sender) = (Arc::clone(&at), sender.clone());
        runtime.spawn(async move {
            let mut byte = [0];
            at.recv(&mut byte).await.unwrap();
            sender.send(byte[0]).unwrap();
        });
    }
    drop(sender);
    // What the link loses is said again; who has heard something doesn't listen any more.
    let from = block_on(UdpSocket::bind(&client, "client:0")).unwrap();
    let mut all = Vec::new();
    while all.len() < usize::from(TASKS) {
        block_on(from.send_to(&[all.len() as u8], "server:9")).unwrap();
        all.extend(heard.recv_timeout(std::time::Duration::from_secs(1)));
    }
    assert!(heard.recv().is_err(), "all tasks have ended: {all:?}");
}

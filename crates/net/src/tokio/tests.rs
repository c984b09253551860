//! In a network turned by hand: what the futures do, when they are woken and what they leave behind.

use super::*;
use crate::{Host, HostConfig, Network};
use ::tokio::io::{AsyncRead, ReadBuf};
use bytes::Bytes;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often its task is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A task without an executor: its waker counts.
fn task() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// A network of two hosts, turned by hand.
struct Pair {
    network: Network,
    server: Host,
    client: Host,
}

impl Pair {
    fn new() -> Pair {
        let builder = Network::builder().seed(1);
        let builder = builder.host("server", HostConfig::default()).host("client", HostConfig::default());
        let network = builder.build_manual().unwrap();
        let (server, client) = (network.host("server").unwrap(), network.host("client").unwrap());
        Pair { network, server, client }
    }

    /// Does all that is due at this moment.
    fn turn(&self) {
        let now = self.network.now();
        while self.network.turn(now).is_some_and(|at| at <= now) {}
    }

    /// Does what is due, for a future that needs nothing but that.
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let (count, waker) = task();
        let mut woken = None;
        while woken != Some(count.get()) {
            woken = Some(count.get());
            if let Poll::Ready(result) = poll(future.as_mut(), &waker) {
                return result;
            }
            self.turn();
        }
        panic!("the future waits, and nothing is left to do");
    }

    /// A listener and the two ends of a connection.
    fn connection(&self) -> (TcpListener, TcpStream, TcpStream) {
        let listener = self.run(TcpListener::bind(&self.server, (self.server.ipv4(), 80))).unwrap();
        let at_client = self.run(TcpStream::connect(&self.client, (self.server.ipv4(), 80))).unwrap();
        let (at_server, peer) = self.run(listener.accept()).unwrap();
        assert_eq!(peer, at_client.local_addr().unwrap());
        (listener, at_server, at_client)
    }

    /// How many wakers the hosts hold.
    fn wakers(&self) -> usize {
        [&self.server, &self.client].map(|host| host.core.lock().waiters.wakers()).iter().sum()
    }
}

fn is_blocked<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_dropped_future_leaves_no_waker() {
    let pair = Pair::new();
    let (listener, stream, _peer) = pair.connection();
    let socket = pair.run(UdpSocket::bind(&pair.server, (pair.server.ipv4(), 9))).unwrap();
    assert_eq!(pair.wakers(), 0);
    for _ in 0..3 {
        let (count, waker) = task();
        let mut buf = [0; 1];
        assert!(poll(pin!(listener.accept()), &waker).is_pending());
        assert!(poll(pin!(stream.readable()), &waker).is_pending());
        assert!(poll(pin!(stream.peek(&mut buf)), &waker).is_pending());
        assert!(poll(pin!(socket.recv_from(&mut buf)), &waker).is_pending());
        assert!(poll(pin!(TcpStream::connect(&pair.client, (pair.server.ipv4(), 81))), &waker).is_pending());
        assert_eq!(pair.wakers(), 0);
        assert_eq!(Arc::strong_count(&count), 2, "the task's own two");
    }
}

#[test]
fn futures_of_one_task_have_a_place_each() {
    let pair = Pair::new();
    let (_listener, stream, peer) = pair.connection();
    let (count, waker) = task();
    let mut first = pin!(stream.readable());
    assert!(poll(first.as_mut(), &waker).is_pending());
    {
        let second = pin!(stream.readable());
        assert!(poll(second, &waker).is_pending());
        assert_eq!(pair.wakers(), 2);
    }
    assert_eq!(pair.wakers(), 1);
    peer.try_write(b"x").unwrap();
    pair.turn();
    assert_eq!(count.get(), 1, "dropping the second future took the first one's waker");
    assert!(poll(first, &waker).is_ready());
    assert_eq!(pair.wakers(), 0);
}

#[test]
fn a_future_polled_by_another_task_wakes_that_one() {
    let pair = Pair::new();
    let (_listener, stream, peer) = pair.connection();
    let (early, late) = (task(), task());
    let mut readable = pin!(stream.readable());
    assert!(poll(readable.as_mut(), &early.1).is_pending());
    assert!(poll(readable.as_mut(), &late.1).is_pending());
    assert_eq!(pair.wakers(), 1);
    peer.try_write(b"x").unwrap();
    pair.turn();
    assert_eq!((early.0.get(), late.0.get()), (0, 1));
    assert!(poll(readable, &late.1).is_ready());
}

#[test]
fn a_future_that_is_ready_without_being_woken_leaves_no_waker() {
    let pair = Pair::new();
    let (_listener, stream, _peer) = pair.connection();
    let (_, waker) = task();
    while stream.try_write(&[0; 4096]).is_ok() {}
    let mut ready = pin!(stream.ready(Interest::READABLE | Interest::WRITABLE));
    assert!(poll(ready.as_mut(), &waker).is_pending());
    assert_eq!(pair.wakers(), 2, "one for each direction");
    stream.end_writing().unwrap();
    // Ending writing makes it ready, which is found out by polling before any event is told.
    let Poll::Ready(ready) = poll(ready, &waker) else { panic!("not ready") };
    assert!(ready.unwrap().is_writable());
    assert_eq!(pair.wakers(), 0);
}

#[test]
fn the_task_that_polls_last_is_woken() {
    let pair = Pair::new();
    let (_listener, mut stream, peer) = pair.connection();
    let (early, late) = (task(), task());
    for waker in [&early.1, &late.1, &late.1] {
        let mut context = Context::from_waker(waker);
        assert!(stream.poll_read_ready(&mut context).is_pending());
        let (mut bytes, mut stream) = ([0; 4], Pin::new(&mut stream));
        assert!(stream.as_mut().poll_read(&mut context, &mut ReadBuf::new(&mut bytes)).is_pending());
    }
    assert_eq!(pair.wakers(), 1);
    peer.try_write(b"x").unwrap();
    pair.turn();
    assert_eq!((early.0.get(), late.0.get()), (0, 1));
}

/// A task that owns a socket and ends with its last waker.
struct Owner(#[expect(dead_code, reason = "dropped")] TcpStream);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_that_owns_a_socket_is_dropped_without_the_lock() {
    let pair = Pair::new();
    let (_listener, mut stream, _peer) = pair.connection();
    let other = || pair.run(TcpStream::connect(&pair.server, (pair.server.ipv4(), 80))).unwrap();
    let owner = Waker::from(Arc::new(Owner(other())));
    assert!(stream.poll_read_ready(&mut Context::from_waker(&owner)).is_pending());
    drop(owner);
    // Another task takes the first one's place, which ends with that, and closes its socket.
    assert!(stream.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending());

    let mut readable = Box::pin(stream.readable());
    let owner = Waker::from(Arc::new(Owner(other())));
    assert!(poll(readable.as_mut(), &owner).is_pending());
    drop(owner);
    drop(readable);
    let (_, write) = stream.split();
    assert!(write.as_ref().try_write(b"alive").is_ok());
}

#[test]
fn trying_says_that_it_would_block_and_what_there_is() {
    let pair = Pair::new();
    let (_listener, stream, peer) = pair.connection();
    let mut buf = [0; 8];
    assert!(is_blocked(stream.try_read(&mut buf)));
    assert!(is_blocked(stream.try_io(Interest::READABLE, || Ok(()))));
    assert!(stream.try_io(Interest::WRITABLE, || Ok(())).is_ok());
    let parts = [io::IoSlice::new(b"hea"), io::IoSlice::new(b""), io::IoSlice::new(b"d body")];
    assert_eq!(peer.try_write_vectored(&parts).unwrap(), 9);
    pair.turn();
    assert_eq!(pair.run(stream.peek(&mut buf)).unwrap(), 8);
    let (mut head, mut body) = ([0; 4], [0; 8]);
    let mut bufs = [io::IoSliceMut::new(&mut head), io::IoSliceMut::new(&mut body)];
    assert_eq!(stream.try_read_vectored(&mut bufs).unwrap(), 9);
    assert_eq!((&head, &body[..5]), (b"head", &b" body"[..]));
    drop(peer);
    pair.turn();
    let ready = pair.run(stream.ready(Interest::READABLE)).unwrap();
    assert!(ready.is_read_closed() && !ready.is_writable());
    assert_eq!(stream.try_read(&mut buf).unwrap(), 0);
}

#[test]
fn halves_are_put_together_again_and_end_writing_when_dropped() {
    let pair = Pair::new();
    let (listener, stream, peer) = pair.connection();
    let other = pair.run(TcpStream::connect(&pair.client, (pair.server.ipv4(), 80))).unwrap();
    let _at_server = pair.run(listener.accept()).unwrap();
    let ((read, write), (other_read, other_write)) = (stream.into_split(), other.into_split());
    let ReuniteError(read, other_write) = read.reunite(other_write).unwrap_err();
    drop(other_read.reunite(other_write).unwrap());
    let stream = write.reunite(read).unwrap();
    pair.turn();
    assert!(is_blocked(peer.try_read(&mut [0])), "putting together ended writing");
    let (read, write) = stream.into_split();
    write.forget();
    pair.turn();
    assert!(is_blocked(peer.try_read(&mut [0])), "a half that was forgotten ended writing");
    drop(read);
    pair.turn();
    assert_eq!(peer.try_read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_dropped_write_half_leaves_reading() {
    let pair = Pair::new();
    let (_listener, stream, peer) = pair.connection();
    let (read, write) = stream.into_split();
    write.try_write(b"bye").unwrap();
    drop(write);
    pair.turn();
    let mut buf = [0; 8];
    assert_eq!(peer.try_read(&mut buf).unwrap(), 3);
    assert_eq!(peer.try_read(&mut buf).unwrap(), 0);
    peer.try_write(b"good bye").unwrap();
    pair.turn();
    assert_eq!(read.try_read(&mut buf).unwrap(), 8);
    assert_eq!(&buf, b"good bye");
}

#[test]
fn datagrams_are_peeked_at_received_and_refused() {
    let pair = Pair::new();
    let at = (pair.server.ipv4(), 9);
    let server = pair.run(UdpSocket::bind(&pair.server, at)).unwrap();
    let client = pair.run(UdpSocket::bind(&pair.client, (pair.client.ipv4(), 0))).unwrap();
    pair.run(client.connect(at)).unwrap();
    let from = client.local_addr().unwrap();
    let mut buf = [0; 4];
    assert!(is_blocked(server.try_recv_from(&mut buf)));
    assert_eq!(pair.run(client.send(b"datagram")).unwrap(), 8);
    pair.turn();
    assert_eq!(pair.run(server.peek_sender()).unwrap(), from);
    assert_eq!(pair.run(server.peek_from(&mut buf)).unwrap(), (4, from));
    assert_eq!(pair.run(server.recv_from(&mut buf)).unwrap(), (4, from));
    assert_eq!(&buf, b"data");
    assert!(is_blocked(server.try_recv_from(&mut buf)), "the rest of a datagram is lost");
    drop(server);
    pair.run(client.send(b"nobody")).unwrap();
    pair.turn();
    let ready = pair.run(client.ready(Interest::READABLE)).unwrap();
    assert!(ready.is_readable(), "an error is something to read: {ready:?}");
    assert_eq!(pair.run(client.recv(&mut buf)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn nobody_listens() {
    let pair = Pair::new();
    let connect = pair.run(TcpStream::connect(&pair.client, (pair.server.ipv4(), 81)));
    assert_eq!(connect.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(pair.wakers(), 0);
}

#[test]
fn a_call_that_would_block_though_it_is_ready_lets_others_run() {
    let pair = Pair::new();
    let (_listener, stream, _peer) = pair.connection();
    let mut calls = 0;
    let written = pair.run(stream.async_io(Interest::WRITABLE, || {
        calls += 1;
        if calls < 3 { Err(ErrorKind::WouldBlock.into()) } else { Ok(calls) }
    }));
    assert_eq!(written.unwrap(), 3);
}

#[test]
fn bytes_go_without_a_copy_and_into_buffers_that_grow() {
    let pair = Pair::new();
    let (_listener, stream, peer) = pair.connection();
    let sent = Bytes::from(vec![3; 10_000]);
    let mut left = sent.clone();
    let count = pair.run(peer.send_bytes(&mut left)).unwrap();
    assert_eq!((count, left.len()), (10_000, 0));
    let (mut read, mut write) = stream.into_split();
    let part = pair.run(read.recv_bytes(4000)).unwrap();
    assert_eq!((part.len(), part.as_ptr()), (4000, sent.as_ptr()));
    let mut buf = Vec::with_capacity(5000);
    assert_eq!(read.try_read_buf(&mut buf).unwrap(), 5000);
    assert_eq!(buf.len(), 5000);
    assert_eq!(read.as_ref().try_recv_bytes(0).unwrap().len(), 0);
    assert_eq!(pair.run(read.recv_bytes(9000)).unwrap().len(), 1000);
    assert!(is_blocked(read.as_ref().try_recv_bytes(1)));
    assert_eq!(pair.run(write.send_bytes(&mut Bytes::from_static(b"back"))).unwrap(), 4);
    pair.turn();
    assert_eq!(peer.try_recv_bytes(9).unwrap(), "back");
}

#[test]
fn datagrams_go_without_a_copy_and_into_buffers_that_grow() {
    let pair = Pair::new();
    let server = pair.run(UdpSocket::bind(&pair.server, "server:9")).unwrap();
    let client = UdpSocket::from(pair.client.udp_socket_v4().unwrap());
    let sent = Bytes::from(vec![3; 1400]);
    assert_eq!(pair.run(client.send_bytes_to(&sent, "server:9")).unwrap(), 1400);
    let (data, from) = pair.run(server.recv_bytes_from()).unwrap();
    assert_eq!((data.as_ptr(), from.port()), (sent.as_ptr(), client.local_addr().unwrap().port()));
    pair.run(client.connect("server:9")).unwrap();
    for _ in 0..3 {
        assert_eq!(pair.run(client.send_bytes(&sent)).unwrap(), 1400);
    }
    pair.turn();
    let mut buf = Vec::with_capacity(2000);
    assert_eq!(pair.run(server.recv_buf(&mut buf)).unwrap(), 1400);
    assert_eq!(server.try_recv_buf(&mut buf).unwrap(), 600, "what doesn't fit is lost");
    buf.truncate(100);
    assert_eq!(server.try_recv_buf_from(&mut buf).unwrap(), (1400, from));
    assert_eq!(buf.len(), 1500);
    assert!(is_blocked(server.try_recv_buf(&mut buf)));
}

#[test]
fn of_several_addresses_one_after_the_other_is_tried() {
    let pair = Pair::new();
    let listener = pair.run(TcpListener::bind(&pair.server, "server:80")).unwrap();
    let nobody = (pair.server.ipv4(), 81).into();
    let stream =
        pair.run(TcpStream::connect(&pair.client, [nobody, listener.local_addr().unwrap()])).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    let refused = pair.run(TcpStream::connect(&pair.client, [nobody, nobody])).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let none: [std::net::SocketAddr; 0] = [];
    assert_eq!(pair.run(TcpStream::connect(&pair.client, none)).unwrap_err().kind(), ErrorKind::InvalidInput);
    let unknown = pair.run(TcpStream::connect(&pair.client, "nowhere:80")).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

#[cfg(feature = "futures")]
#[test]
fn the_traits_of_futures_io_do_the_same() {
    use futures_util::{AsyncReadExt, AsyncWriteExt};
    let pair = Pair::new();
    let (_listener, mut stream, peer) = pair.connection();
    let (mut read, mut write) = peer.into_split();
    pair.run(async {
        stream.write_all(b"head").await.unwrap();
        let parts = [io::IoSlice::new(b"er"), io::IoSlice::new(b" body")];
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 7);
        stream.close().await.unwrap();
    });
    let mut text = String::new();
    pair.run(read.read_to_string(&mut text)).unwrap();
    assert_eq!(text, "header body");
    pair.run(async {
        write.write_all(b"answer").await.unwrap();
        write.flush().await.unwrap();
    });
    pair.turn();
    let (mut first, mut second) = ([0; 2], [0; 9]);
    let mut bufs = [io::IoSliceMut::new(&mut first), io::IoSliceMut::new(&mut second)];
    assert_eq!(pair.run(stream.read_vectored(&mut bufs)).unwrap(), 6);
    assert_eq!((&first, &second[..4]), (b"an", &b"swer"[..]));
    pair.run(write.close()).unwrap();
    assert_eq!(pair.run(stream.read(&mut [0])).unwrap(), 0);
}

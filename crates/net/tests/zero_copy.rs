//! Bytes that are sent and received without a copy: the receiver gets the sender's own memory.

use sockeye::{Bytes, Host, HostConfig, NetemConfig, Network, TcpStream};
use std::io::{ErrorKind, Read, Write};
use std::thread;

fn pair(link: NetemConfig) -> (Host, TcpStream, TcpStream) {
    let network = Network::builder()
        .seed(5)
        .host("web", HostConfig { link: link.into(), ..HostConfig::default() })
        .host("me", HostConfig::default())
        .build()
        .unwrap();
    let (web, me) = (network.host("web").unwrap(), network.host("me").unwrap());
    let listener = web.tcp_listen("web:80").unwrap();
    let near = me.tcp_connect("web:80").unwrap();
    (me, near, listener.accept().unwrap().0)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn send_all(stream: &TcpStream, mut data: Bytes) {
    while !data.is_empty() {
        let before = data.len();
        let sent = stream.send_bytes(&mut data).unwrap();
        assert_eq!(before - data.len(), sent, "what is sent is taken off");
        assert!(sent > 0, "it waits until something fits");
    }
}

/// What a transfer over `link` leaves at the receiver, which must be the sender's memory, byte for byte.
fn arrives_where_it_lies(link: NetemConfig, len: usize) {
    let data = Bytes::from(pattern(len));
    let (_me, near, far) = pair(link);
    let sender = thread::spawn({
        let data = data.clone();
        move || {
            // Two large parts, and one that begins in the middle of the memory.
            let middle = data.len() / 2 + 1;
            send_all(&near, data.slice(..middle));
            send_all(&near, data.slice(middle..));
        }
    });
    let mut at = 0;
    loop {
        let part = far.recv_bytes(usize::MAX).unwrap();
        if part.is_empty() {
            break;
        }
        assert_eq!(part.as_ptr(), data[at..].as_ptr(), "at {at}");
        at += part.len();
    }
    assert_eq!(at, data.len());
    sender.join().unwrap();
}

#[test]
fn what_is_sent_arrives_where_it_lies() {
    arrives_where_it_lies(NetemConfig::default(), 5_000_000);
}

#[test]
fn lost_and_reordered_segments_are_no_copies_either() {
    arrives_where_it_lies("delay 1ms loss 1% reorder 1%".parse().unwrap(), 500_000);
}

#[test]
fn both_doors_mix() {
    let (_me, mut near, mut far) = pair(NetemConfig::default());
    let data = pattern(100_000);
    near.write_all(&data[..10]).unwrap();
    send_all(&near, Bytes::copy_from_slice(&data[10..60_000]));
    near.write_all(&data[60_000..]).unwrap();
    let mut received = vec![0; 5];
    far.read_exact(&mut received).unwrap();
    while received.len() < 70_000 {
        received.extend_from_slice(&far.recv_bytes(1000).unwrap());
    }
    let rest = received.len();
    received.resize(data.len(), 0);
    far.read_exact(&mut received[rest..]).unwrap();
    assert!(received == data);
}

#[test]
fn partial_and_refused_sends_leave_the_rest() {
    let (_me, near, far) = pair(NetemConfig::default());
    near.set_nonblocking(true).unwrap();
    let data = Bytes::from(pattern(64 << 20));
    let mut left = data.clone();
    let error = loop {
        match near.send_bytes(&mut left) {
            Ok(sent) => assert!(sent > 0),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(!left.is_empty() && left.len() < data.len());
    let before = left.clone();
    drop(far);
    let error = loop {
        match near.send_bytes(&mut left) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => break error,
            Ok(_) => panic!("there is nobody any more"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(left, before, "an error takes nothing");
    assert_eq!(near.send_bytes(&mut left).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn nothing_is_something_that_can_be_sent_and_asked_for() {
    let (_me, near, far) = pair(NetemConfig::default());
    assert_eq!(near.send_bytes(&mut Bytes::new()).unwrap(), 0);
    assert!(far.recv_bytes(0).unwrap().is_empty());
    drop(near);
    assert!(far.recv_bytes(100).unwrap().is_empty(), "end of file");
}

#[test]
fn datagrams_arrive_where_they_lie() {
    let (me, ..) = pair(NetemConfig::default());
    let (near, far) = (me.udp_bind("me:0").unwrap(), me.udp_bind("me:9").unwrap());
    let data = Bytes::from(pattern(60_000)).slice(7..1007);
    assert_eq!(near.send_bytes_to(&data, "me:9").unwrap(), 1000);
    near.connect("me:9").unwrap();
    assert_eq!(near.send_bytes(&data).unwrap(), 1000);
    let (first, from) = far.recv_bytes_from().unwrap();
    assert_eq!((first.as_ptr(), first.len()), (data.as_ptr(), 1000));
    assert_eq!(from.port(), near.local_addr().unwrap().port());
    assert_eq!(far.recv_bytes().unwrap().as_ptr(), data.as_ptr());
    let long = Bytes::from(vec![0; 70_000]);
    assert!(near.send_bytes(&long).is_err(), "too long for a datagram");
}

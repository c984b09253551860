//! Messages that become one datagram: `UDP_CORK`, `MSG_MORE`.

use super::*;
use crate::socket::Message;
use crate::{MtuDiscover, Protocol, Shutdown, SocketOption};
use alloc::vec;
use sockeye_packet::Payload;

fn send(pair: &mut Pair, id: SocketId, data: &[u8], to: Option<&str>, more: bool) -> Result<usize, Error> {
    let message = Message { to: to.map(addr), more, ..Message::default() };
    pair.a.send_msg(pair.now, id, Payload::from(Chunk::copy_from(data)), &message)
}

fn received(pair: &mut Pair, id: SocketId) -> Vec<Vec<u8>> {
    pair.cable();
    let flags = RecvFlags::default();
    core::iter::from_fn(|| pair.b.recv_from(pair.now, id, flags).ok())
        .map(|datagram| datagram.payload.to_vec())
        .collect()
}

fn cork(pair: &mut Pair, id: SocketId, on: bool) {
    pair.a.set_option(pair.now, id, SocketOption::UdpCork(on)).unwrap();
}

#[test]
fn what_is_more_goes_where_the_first_went() {
    for (local, remote, other) in [
        ("10.0.0.1:1000", "10.0.0.2:2000", "10.0.0.2:2001"),
        ("[fd77::1]:1000", "[fd77::2]:2000", "[fd77::2]:2001"),
    ] {
        let mut pair = Pair::new();
        let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
        let stranger = datagram(&mut pair.b, other);
        assert_eq!(send(&mut pair, a, b"one ", Some(remote), true), Ok(4));
        assert_eq!(send(&mut pair, a, b"", None, true), Ok(0));
        assert_eq!(send(&mut pair, a, b"two ", Some(other), true), Ok(4));
        assert!(received(&mut pair, b).is_empty());
        assert_eq!(send(&mut pair, a, b"three", None, false), Ok(5));
        assert_eq!(received(&mut pair, b), [b"one two three"]);
        assert!(received(&mut pair, stranger).is_empty());
        assert_eq!((pair.a.memory_used(), pair.a.send_queued(a)), (0, 0));
    }
}

#[test]
fn a_cork_holds_until_it_is_pulled() {
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1000"), datagram(&mut pair.b, "10.0.0.2:2000"));
    pair.a.connect(pair.now, a, addr("10.0.0.2:2000")).unwrap();
    cork(&mut pair, a, true);
    for part in [&b"a"[..], b"b", b"c"] {
        send(&mut pair, a, part, None, false).unwrap();
    }
    assert!(received(&mut pair, b).is_empty());
    cork(&mut pair, a, false);
    assert_eq!(received(&mut pair, b), [b"abc"]);
    cork(&mut pair, a, false);
    assert!(received(&mut pair, b).is_empty(), "nothing was begun");
    // It is cut where the first part said.
    cork(&mut pair, a, true);
    let message = Message { segment_size: Some(2), ..Message::default() };
    pair.a.send_msg(pair.now, a, Payload::from(Chunk::copy_from(b"12")), &message).unwrap();
    send(&mut pair, a, b"345", None, false).unwrap();
    cork(&mut pair, a, false);
    assert_eq!(received(&mut pair, b), [&b"12"[..], b"34", b"5"]);
    // A socket that is closed gives back what it holds.
    cork(&mut pair, a, true);
    send(&mut pair, a, &[0; 1000], None, false).unwrap();
    assert!(pair.a.memory_used() >= 1000);
    pair.a.close(pair.now, a).unwrap();
    assert_eq!(pair.a.memory_used(), 0);
    let ping = pair.a.socket(Domain::Inet, SocketType::Ping, Owner::default()).unwrap();
    assert_eq!(pair.a.set_option(pair.now, ping, SocketOption::UdpCork(true)), Err(Error::ProtocolOption));
}

#[test]
fn what_gets_too_long_is_lost() {
    for (local, remote, most) in
        [("10.0.0.1:1000", "10.0.0.2:2000", 65_507), ("[fd77::1]:1000", "[fd77::2]:2000", 65_527)]
    {
        let mut pair = Pair::new();
        let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
        pair.a.set_option(pair.now, a, SocketOption::RecvErr(true)).unwrap();
        assert_eq!(send(&mut pair, a, &vec![1; most - 5], Some(remote), true), Ok(most - 5));
        assert_eq!(send(&mut pair, a, b"123456", None, false), Err(Error::MessageSize));
        assert_eq!(pair.a.memory_used() > 0, pair.a.recv_error(pair.now, a).is_ok(), "but for the report");
        assert_eq!(send(&mut pair, a, &vec![1; most - 5], Some(remote), true), Ok(most - 5));
        assert_eq!(send(&mut pair, a, b"12345", None, false), Ok(5));
        assert_eq!(received(&mut pair, b).iter().map(Vec::len).collect::<Vec<_>>(), [most]);
        super::datagrams::discover(&mut pair.a, a, MtuDiscover::Do);
        assert_eq!(send(&mut pair, a, &[1; 1400], Some(remote), true), Ok(1400));
        assert_eq!(send(&mut pair, a, &[1; 100], None, true), Err(Error::MessageSize));
        assert_eq!(send(&mut pair, a, b"", None, false), Err(Error::DestinationRequired));
    }
}

#[test]
fn raw_packets_are_gathered_too() {
    let mut pair = Pair::new();
    let raw = SocketType::Raw(Protocol(200));
    let a = pair.a.socket(Domain::Inet, raw, Owner::default()).unwrap();
    let b = pair.b.socket(Domain::Inet, raw, Owner::default()).unwrap();
    assert_eq!(send(&mut pair, a, b"ab", Some("10.0.0.2:0"), true), Ok(2));
    assert_eq!(send(&mut pair, a, b"c", Some("10.0.0.3:0"), true), Ok(1));
    assert!(received(&mut pair, b).is_empty());
    assert_eq!(send(&mut pair, a, b"d", Some("10.0.0.3:0"), false), Ok(1));
    let got = received(&mut pair, b);
    assert_eq!((got.len(), &got[0][20..]), (1, &b"abcd"[..]));
    assert_eq!(send(&mut pair, a, &vec![0; 60_000], Some("10.0.0.2:0"), true), Ok(60_000));
    assert_eq!(send(&mut pair, a, &[0; 6000], Some("10.0.0.2:0"), false), Err(Error::MessageSize));
    assert_eq!(pair.a.memory_used(), 0);
}

/// Sends until the send buffer is full; how many.
fn fill(pair: &mut Pair, id: SocketId, data: &[u8], to: &str) -> usize {
    pair.a.set_option(pair.now, id, SocketOption::SendBuffer(20_000)).unwrap();
    let sent = core::iter::from_fn(|| send(pair, id, data, Some(to), false).ok()).count();
    assert_eq!(send(pair, id, data, Some(to), false), Err(Error::WouldBlock));
    sent
}

#[test]
fn a_datagram_is_begun_when_there_is_room() {
    let to = "10.0.0.2:2000";
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1000"), datagram(&mut pair.b, to));
    let sent = fill(&mut pair, a, &[1; 1000], to);
    assert_eq!(send(&mut pair, a, b"kept", Some(to), true), Err(Error::WouldBlock));
    cork(&mut pair, a, true);
    assert_eq!(send(&mut pair, a, b"kept", Some(to), false), Err(Error::WouldBlock));
    assert_eq!(received(&mut pair, b).len(), sent);
    assert_eq!(send(&mut pair, a, b"kept", Some(to), false), Ok(4));
    cork(&mut pair, a, false);
    assert_eq!(received(&mut pair, b), [b"kept"]);
}

#[test]
fn what_was_taken_is_sent_though_the_buffer_is_smaller_now() {
    let to = "10.0.0.2:2000";
    for segment_size in [None, Some(1000)] {
        let mut pair = Pair::new();
        let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1000"), datagram(&mut pair.b, to));
        for _ in 0..20 {
            assert_eq!(send(&mut pair, a, &[1; 1000], Some(to), false), Ok(1000));
        }
        let message = Message { to: Some(addr(to)), more: true, segment_size, ..Message::default() };
        pair.a.send_msg(pair.now, a, Payload::from(Chunk::copy_from(&[2; 1000])), &message).unwrap();
        pair.a.set_option(pair.now, a, SocketOption::SendBuffer(0)).unwrap();
        assert_eq!(pair.a.send_space(a), 0);
        assert_eq!(send(&mut pair, a, b"x", Some(to), true), Ok(1));
        cork(&mut pair, a, false);
        let mut got = received(&mut pair, b);
        assert_eq!(got.split_off(20).concat(), [vec![2; 1000], vec![b'x']].concat());
        assert_eq!(pair.a.memory_used(), 0);
    }
}

#[test]
fn raw_packets_are_begun_when_there_is_room_too() {
    let to = "10.0.0.2:0";
    let mut pair = Pair::new();
    let raw = SocketType::Raw(Protocol(200));
    let a = pair.a.socket(Domain::Inet, raw, Owner::default()).unwrap();
    let b = pair.b.socket(Domain::Inet, raw, Owner::default()).unwrap();
    let sent = fill(&mut pair, a, &[1; 1000], to);
    assert_eq!(send(&mut pair, a, b"kept", Some(to), true), Err(Error::WouldBlock));
    assert_eq!(received(&mut pair, b).len(), sent);
    assert_eq!(send(&mut pair, a, b"kept", Some(to), true), Ok(4));
    assert_eq!(send(&mut pair, a, b"", Some(to), false), Ok(0));
    assert!(received(&mut pair, b).iter().all(|packet| packet.ends_with(b"kept")));
}

#[test]
fn what_is_added_reports_nothing() {
    let to = "10.0.0.2:2000";
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1000"), datagram(&mut pair.b, to));
    pair.a.connect(pair.now, a, addr("10.0.0.2:2001")).unwrap();
    send(&mut pair, a, b"to nobody", None, false).unwrap();
    assert_eq!(send(&mut pair, a, b"o", Some(to), true), Ok(1));
    pair.cable();
    pair.a.shutdown(pair.now, a, Shutdown::Write).unwrap();
    assert_eq!(send(&mut pair, a, b"n", None, true), Ok(1));
    assert_eq!(send(&mut pair, a, b"e", None, false), Ok(1));
    assert_eq!(received(&mut pair, b), [b"one"]);
    assert_eq!(send(&mut pair, a, b"x", Some(to), true), Err(Error::ConnectionRefused));
    assert_eq!(send(&mut pair, a, b"x", Some(to), true), Err(Error::BrokenPipe));
    let raw = pair.a.socket(Domain::Inet, SocketType::Raw(Protocol(200)), Owner::default()).unwrap();
    pair.a.connect(pair.now, raw, addr("10.0.0.2:0")).unwrap();
    pair.a.shutdown(pair.now, raw, Shutdown::Write).unwrap();
    assert_eq!(send(&mut pair, raw, b"a", None, true), Ok(1));
    assert_eq!(send(&mut pair, raw, b"b", None, false), Ok(1));
    assert_eq!(send(&mut pair, raw, b"c", None, false), Ok(1));
}

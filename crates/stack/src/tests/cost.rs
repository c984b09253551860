use super::*;
use crate::SocketOption;
use crate::demux::Demux;
use crate::io::Token;
use crate::slab::Slab;
use crate::socket::Socket;
use crate::socket::tcb::Tcb;
use crate::tcp::Connection;
use crate::wheel::Wheel;
use alloc::sync::Arc;

/// An idle established end: its socket, its connection, its place in the table, one timer.
#[test]
fn an_idle_connection_costs_little() {
    let parts = [
        ("socket", Slab::<Socket>::ENTRY),
        ("around the connection", Slab::<Tcb>::ENTRY - size_of::<Connection>()),
        ("connection", size_of::<Connection>()),
        ("tuple", Demux::TUPLE_BYTES),
        ("timer", Wheel::<Token>::ENTRY),
    ];
    let total: usize = parts.iter().map(|(_, bytes)| bytes).sum();
    assert!(total <= 957, "{total}: {parts:?}");
}

/// Connections whose options are set alike have the settings together.
#[test]
fn options_that_all_connections_set_cost_once() {
    let mut pair = Pair::new();
    pair.listener("10.0.0.2:80", 5);
    for _ in 0..3 {
        let client = stream(&mut pair.a, addr("10.0.0.2:80"));
        let _ = pair.a.connect(pair.now, client, addr("10.0.0.2:80"));
        pair.cable();
        for option in [SocketOption::NoDelay(true), SocketOption::KeepAlive(true)] {
            pair.a.set_option(pair.now, client, option).unwrap();
        }
    }
    let all: Vec<_> = pair.a.connections.iter().map(|(_, tcb)| tcb.settings.clone()).collect();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|settings| settings.keep_alive && Arc::ptr_eq(settings, &all[0])));
}

/// What a connection owns besides that, it gives back when it has said everything.
#[test]
fn a_connection_that_fell_silent_owns_nothing() {
    let mut pair = Pair::new();
    let (client, _, server) = pair.connected("10.0.0.2:80");
    let bare = |stack: &Stack| stack.connections.iter().all(|(_, tcb)| tcb.connection.is_bare());
    assert!(bare(&pair.a) && bare(&pair.b));
    for _ in 0..3 {
        send(&mut pair.a, pair.now, client, b"question").unwrap();
        assert!(!bare(&pair.a));
        pair.cable();
        assert!(!bare(&pair.b));
        assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), b"question");
        send(&mut pair.b, pair.now, server, b"answer").unwrap();
        pair.cable();
        assert_eq!(recv(&mut pair.a, pair.now, client).unwrap(), b"answer");
        pair.pass(Duration::from_secs(1));
        assert!(bare(&pair.a) && bare(&pair.b));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let mut pair = Pair::new();
        pair.listener("10.0.0.2:80", 5);
        let client = stream(&mut pair.a, addr("10.0.0.2:80"));
        let _ = pair.a.connect(pair.now, client, addr("10.0.0.2:80"));
        let mut batch = Batch::new();
        pair.a.poll_transmit(pair.now, LINK, &mut batch);
        batch.drain().map(|packet| packet.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn ids_outlive_their_sockets_without_harm() {
    let mut stack = lonely();
    let id = stream(&mut stack, SockAddr::UNSPECIFIED_V4);
    assert_eq!(SocketId::from_u64(id.as_u64()), id);
    stack.close(Instant::ZERO, id).unwrap();
    let other = stream(&mut stack, SockAddr::UNSPECIFIED_V4);
    assert_ne!(id, other);
    assert_eq!(stack.bind(id, SockAddr::UNSPECIFIED_V4), Err(Error::BadSocket));
    assert_eq!(send(&mut stack, Instant::ZERO, SocketId::from_u64(u64::MAX), b"x"), Err(Error::BadSocket));
}

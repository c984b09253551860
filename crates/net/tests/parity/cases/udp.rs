//! Datagrams: borders, addresses, peers, errors.

use crate::api::{
    Api, AsyncUdp, Asynchronous, Blocking, BlockingUdp, NOBODY, Udp, kind, random_bytes, receive, udp_pair,
};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub(crate) async fn datagrams_keep_their_borders<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    for data in [&b"a"[..], b"bcd", b"", b"efghij"] {
        assert_eq!(client.send_to(data, server_addr).await.unwrap(), data.len());
    }
    for data in [&b"a"[..], b"bcd", b"", b"efghij"] {
        assert_eq!(receive(&server).await, (data.to_vec(), client_addr));
    }
}

pub(crate) async fn what_does_not_fit_is_lost<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    client.send_to(b"too long", server_addr).await.unwrap();
    client.send_to(b"next", server_addr).await.unwrap();
    let mut buf = [9; 3];
    assert_eq!(server.recv_from(&mut buf).await.unwrap(), (3, client_addr));
    assert_eq!(&buf, b"too");
    assert_eq!(receive(&server).await, (b"next".to_vec(), client_addr));
}

pub(crate) async fn an_empty_buffer_takes_a_datagram<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    client.send_to(b"lost", server_addr).await.unwrap();
    client.send_to(b"next", server_addr).await.unwrap();
    assert_eq!(server.recv_from(&mut []).await.unwrap(), (0, client_addr));
    assert_eq!(receive(&server).await.0, b"next");
}

pub(crate) async fn answers_go_back<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    client.send_to(b"ping", server_addr).await.unwrap();
    let (data, from) = receive(&server).await;
    assert_eq!((&data[..], from), (&b"ping"[..], client_addr));
    server.send_to(b"pong", from).await.unwrap();
    assert_eq!(receive(&client).await, (b"pong".to_vec(), server_addr));
}

pub(crate) async fn the_largest_datagram_passes<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    let data = random_bytes(10, 65_507);
    assert_eq!(client.send_to(&data, server_addr).await.unwrap(), data.len());
    assert!(receive(&server).await == (data, client_addr));
}

/// `EMSGSIZE`, for which `std` has no stable kind.
pub(crate) async fn a_longer_one_is_refused<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    assert!(client.send_to(&vec![0; 65_508], server_addr).await.is_err());
    client.send_to(b"short", server_addr).await.unwrap();
    assert_eq!(receive(&server).await, (b"short".to_vec(), client_addr));
}

pub(crate) async fn connected_sockets_send_and_receive<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    client.connect(server_addr).await.unwrap();
    server.connect(client_addr).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), server_addr);
    assert_eq!(client.send(b"there").await.unwrap(), 5);
    let mut buf = [0; 16];
    assert_eq!(server.recv(&mut buf).await.unwrap(), 5);
    assert_eq!(server.send(b"back").await.unwrap(), 4);
    assert_eq!(client.recv_from(&mut buf).await.unwrap(), (4, server_addr));
    assert_eq!(&buf[..4], b"back");
}

pub(crate) async fn a_connected_socket_hears_only_its_peer<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    let stranger = api.client_udp((api.place().client, 0)).await.unwrap();
    server.connect(client_addr).await.unwrap();
    // Whoever sends to a port that nobody has for him is told; he may not notice before he receives.
    stranger.send_to(b"stranger", server_addr).await.unwrap();
    client.send_to(b"peer", server_addr).await.unwrap();
    assert_eq!(receive(&server).await, (b"peer".to_vec(), client_addr));
}

pub(crate) async fn a_socket_may_change_its_peer<A: Api>(api: &A) {
    let ((client, _), (server, server_addr)) = udp_pair(api).await;
    let other = api.server_udp((api.place().server, 0)).await.unwrap();
    client.connect(server_addr).await.unwrap();
    client.send(b"one").await.unwrap();
    client.connect(other.local_addr().unwrap()).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), other.local_addr().unwrap());
    client.send(b"two").await.unwrap();
    assert_eq!(receive(&server).await.0, b"one");
    assert_eq!(receive(&other).await.0, b"two");
}

pub(crate) async fn a_connected_socket_may_send_elsewhere<A: Api>(api: &A) {
    let ((client, _), (server, server_addr)) = udp_pair(api).await;
    let other = api.server_udp((api.place().server, 0)).await.unwrap();
    client.connect(server_addr).await.unwrap();
    client.send_to(b"elsewhere", other.local_addr().unwrap()).await.unwrap();
    client.send(b"here").await.unwrap();
    assert_eq!(receive(&other).await.0, b"elsewhere");
    assert_eq!(receive(&server).await.0, b"here");
}

pub(crate) async fn no_peer_is_not_connected<A: Api>(api: &A) {
    let ((client, _), _) = udp_pair(api).await;
    assert_eq!(kind(client.peer_addr()), ErrorKind::NotConnected);
}

/// `EDESTADDRREQ`, for which `std` has no kind.
pub(crate) async fn sending_without_a_peer_fails<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    assert!(client.send(b"whither").await.is_err());
    client.send_to(b"thither", server_addr).await.unwrap();
    assert_eq!(receive(&server).await, (b"thither".to_vec(), client_addr));
}

pub(crate) async fn connecting_chooses_the_source<A: Api>(api: &A) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let (_, (_server, server_addr)) = udp_pair(api).await;
    let client = api.client_udp((any, 0)).await.unwrap();
    let port = client.local_addr().unwrap().port();
    assert_eq!(client.local_addr().unwrap().ip(), any);
    client.connect(server_addr).await.unwrap();
    assert_eq!(client.local_addr().unwrap(), SocketAddr::new(api.place().client, port));
}

pub(crate) async fn nobody_there_is_told_to_the_receiver<A: Api>(api: &A) {
    let ((client, _), _) = udp_pair(api).await;
    client.connect((api.place().server, NOBODY)).await.unwrap();
    client.send(b"anybody?").await.unwrap();
    assert_eq!(kind(client.recv(&mut [0; 8]).await), ErrorKind::ConnectionRefused);
}

pub(crate) async fn nobody_there_is_told_once<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    client.connect((api.place().server, NOBODY)).await.unwrap();
    client.send(b"anybody?").await.unwrap();
    assert_eq!(kind(client.recv(&mut [0; 8]).await), ErrorKind::ConnectionRefused);
    assert!(client.take_error().unwrap().is_none());
    client.connect(server_addr).await.unwrap();
    client.send(b"you").await.unwrap();
    assert_eq!(receive(&server).await, (b"you".to_vec(), client_addr));
}

pub(crate) async fn nobody_there_is_told_to_the_next_sender<A: Api>(api: &A) {
    let ((client, _), _) = udp_pair(api).await;
    client.connect((api.place().server, NOBODY)).await.unwrap();
    let mut sent = 0;
    let error = loop {
        match client.send(b"anybody?").await {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 5000, "nobody is there, and nobody says so");
        api.pause().await;
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(sent >= 1, "the first can't know it");
}

/// A socket without a peer isn't told: it may have many.
pub(crate) async fn nobody_there_is_not_told_without_a_peer<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    for _ in 0..3 {
        client.send_to(b"anybody?", (api.place().server, NOBODY)).await.unwrap();
    }
    server.send_to(b"me", client_addr).await.unwrap();
    assert_eq!(receive(&client).await, (b"me".to_vec(), server_addr));
}

pub(crate) async fn an_address_in_use_is_told<A: Api>(api: &A) {
    let (_, (_server, server_addr)) = udp_pair(api).await;
    assert_eq!(kind(api.server_udp(server_addr).await), ErrorKind::AddrInUse);
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    assert_eq!(kind(api.server_udp((any, server_addr.port())).await), ErrorKind::AddrInUse);
}

pub(crate) async fn an_address_is_free_after_close<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    drop(server);
    let again = api.server_udp(server_addr).await.unwrap();
    client.send_to(b"again", server_addr).await.unwrap();
    assert_eq!(receive(&again).await, (b"again".to_vec(), client_addr));
}

pub(crate) async fn the_unspecified_address_receives_everywhere<A: Api>(api: &A) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let server = api.server_udp((any, 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    assert_eq!(server.local_addr().unwrap().ip(), any);
    let ((client, client_addr), _) = udp_pair(api).await;
    client.send_to(b"any", (api.place().server, port)).await.unwrap();
    assert_eq!(receive(&server).await, (b"any".to_vec(), client_addr));
}

pub(crate) async fn the_best_match_receives<A: Api>(api: &A) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    // A socket with this peer comes before one without.
    server.connect((api.place().client, NOBODY)).await.unwrap();
    let free = api.server_udp((any, 0)).await.unwrap();
    let free_port = free.local_addr().unwrap().port();
    client.send_to(b"to the other", (server_addr.ip(), free_port)).await.unwrap();
    assert_eq!(receive(&free).await, (b"to the other".to_vec(), client_addr));
}

pub(crate) async fn tcp_and_udp_ports_are_apart<A: Api>(api: &A) {
    let (_, (_server, server_addr)) = udp_pair(api).await;
    api.listen(server_addr).await.unwrap();
}

pub(crate) async fn broadcast_needs_permission<A: Api>(api: &A) {
    let client = api.client_udp((IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)).await.unwrap();
    let everybody = SocketAddr::new(api.place().broadcast, 9);
    assert_eq!(kind(client.send_to(b"all", everybody).await), ErrorKind::PermissionDenied);
    assert_eq!(kind(client.connect(everybody).await), ErrorKind::PermissionDenied);
    client.set_broadcast(true).unwrap();
    assert_eq!(client.send_to(b"all", everybody).await.unwrap(), 3);
    client.connect(everybody).await.unwrap();
    assert_eq!(client.send(b"all!").await.unwrap(), 4);
}

pub(crate) async fn a_broadcast_is_received<A: Api>(api: &A) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let server = api.server_udp((any, 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let client = api.client_udp((any, 0)).await.unwrap();
    client.set_broadcast(true).unwrap();
    client.send_to(b"all", (api.place().broadcast, port)).await.unwrap();
    let (data, from) = receive(&server).await;
    assert_eq!((&data[..], from.port()), (&b"all"[..], client.local_addr().unwrap().port()));
}

pub(crate) async fn port_zero_is_invalid<A: Api>(api: &A) {
    let ((client, _), _) = udp_pair(api).await;
    assert_eq!(kind(client.send_to(b"x", (api.place().server, 0)).await), ErrorKind::InvalidInput);
}

pub(crate) async fn hundreds_keep_their_order<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    for round in 0..10_u8 {
        for number in 0..20_u8 {
            client.send_to(&[round, number], server_addr).await.unwrap();
        }
        for number in 0..20_u8 {
            assert_eq!(receive(&server).await, (vec![round, number], client_addr));
        }
    }
}

/// What comes when the queue is full is lost, not what waits.
pub(crate) async fn a_full_queue_keeps_the_oldest<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    let mut data = vec![0; 8000];
    for number in 0..2000_u32 {
        data[..4].copy_from_slice(&number.to_be_bytes());
        client.send_to(&data, server_addr).await.unwrap();
    }
    for number in 0..10_u32 {
        let (data, from) = receive(&server).await;
        assert_eq!((&data[..4], data.len(), from), (&number.to_be_bytes()[..], 8000, client_addr));
    }
}

pub(crate) async fn a_receive_waits<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    let receiving = api.spawn(async move { receive(&server).await });
    client.send_to(b"late", server_addr).await.unwrap();
    assert_eq!(receiving.join().await, (b"late".to_vec(), client_addr));
}

pub(crate) async fn receivers_share_a_socket<A: Api>(api: &A) {
    let ((client, _), (server, server_addr)) = udp_pair(api).await;
    let server = Arc::new(server);
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let server = Arc::clone(&server);
            api.spawn(async move {
                let mut numbers = Vec::new();
                for _ in 0..50 {
                    numbers.push(receive(&*server).await.0[0]);
                }
                numbers
            })
        })
        .collect();
    for number in 0..100_u8 {
        client.send_to(&[number], server_addr).await.unwrap();
    }
    let mut numbers = BTreeSet::new();
    for receiver in receivers {
        numbers.extend(receiver.join().await);
    }
    assert_eq!(numbers.len(), 100, "each is received once");
}

pub(crate) async fn senders_share_a_socket<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    let client = Arc::new(client);
    let senders: Vec<_> = (0..4_u8)
        .map(|sender| {
            let client = Arc::clone(&client);
            api.spawn(async move {
                for number in 0..10_u8 {
                    client.send_to(&[sender, number], server_addr).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().await;
    }
    let mut next = [0; 4];
    for _ in 0..40 {
        let (data, from) = receive(&server).await;
        assert_eq!(from, client_addr);
        assert_eq!(data[1], next[usize::from(data[0])], "of one sender they are in order");
        next[usize::from(data[0])] += 1;
    }
    assert_eq!(next, [10; 4]);
}

pub(crate) async fn clones_share_the_queue<A: Blocking>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    let clone = server.try_clone().unwrap();
    assert_eq!(clone.local_addr().unwrap(), server_addr);
    client.send_to(b"one", server_addr).await.unwrap();
    client.send_to(b"two", server_addr).await.unwrap();
    assert_eq!(receive(&clone).await, (b"one".to_vec(), client_addr));
    assert_eq!(receive(&server).await, (b"two".to_vec(), client_addr));
    drop(server);
    client.send_to(b"three", server_addr).await.unwrap();
    assert_eq!(receive(&clone).await, (b"three".to_vec(), client_addr));
}

pub(crate) async fn receiving_times_out<A: Blocking>(api: &A) {
    let ((client, _), (server, server_addr)) = udp_pair(api).await;
    assert_eq!(server.read_timeout().unwrap(), None);
    server.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    assert_eq!(kind(server.recv_from(&mut [0; 8]).await), ErrorKind::WouldBlock);
    assert_eq!(kind(server.peek_from(&mut [0; 8]).await), ErrorKind::WouldBlock);
    client.send_to(b"now", server_addr).await.unwrap();
    assert_eq!(receive(&server).await.0, b"now");
    assert_eq!(kind(server.set_read_timeout(Some(Duration::ZERO))), ErrorKind::InvalidInput);
}

pub(crate) async fn write_timeouts_are_kept<A: Blocking>(api: &A) {
    let ((client, _), _) = udp_pair(api).await;
    assert_eq!(client.write_timeout().unwrap(), None);
    client.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(client.write_timeout().unwrap(), Some(Duration::from_secs(2)));
    client.set_write_timeout(None).unwrap();
    assert_eq!(client.write_timeout().unwrap(), None);
    assert_eq!(kind(client.set_write_timeout(Some(Duration::ZERO))), ErrorKind::InvalidInput);
}

pub(crate) async fn nonblocking_receives_do_not_wait<A: Blocking>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    server.set_nonblocking(true).unwrap();
    assert_eq!(kind(server.recv_from(&mut [0; 8]).await), ErrorKind::WouldBlock);
    assert_eq!(kind(server.peek_from(&mut [0; 8]).await), ErrorKind::WouldBlock);
    server.set_nonblocking(false).unwrap();
    client.send_to(b"there", server_addr).await.unwrap();
    assert_eq!(server.peek_from(&mut [0; 8]).await.unwrap(), (5, client_addr));
    server.set_nonblocking(true).unwrap();
    assert_eq!(receive(&server).await, (b"there".to_vec(), client_addr));
    assert_eq!(kind(server.recv_from(&mut [0; 8]).await), ErrorKind::WouldBlock);
}

pub(crate) async fn tries_do_not_wait<A: Asynchronous>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    let mut buf = [0; 8];
    assert_eq!(kind(server.try_recv_from(&mut buf)), ErrorKind::WouldBlock);
    client.writable().await.unwrap();
    assert_eq!(client.try_send_to(b"try", server_addr).unwrap(), 3);
    server.readable().await.unwrap();
    assert_eq!(server.try_recv_from(&mut buf).unwrap(), (3, client_addr));
    assert_eq!(&buf[..3], b"try");
    assert_eq!(kind(server.try_recv_from(&mut buf)), ErrorKind::WouldBlock);
}

pub(crate) async fn connected_tries_do_not_wait<A: Asynchronous>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    client.connect(server_addr).await.unwrap();
    server.connect(client_addr).await.unwrap();
    client.writable().await.unwrap();
    assert_eq!(client.try_send(b"try").unwrap(), 3);
    server.readable().await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(server.try_recv(&mut buf).unwrap(), 3);
    assert_eq!(kind(server.try_recv(&mut buf)), ErrorKind::WouldBlock);
}

pub(crate) async fn the_sender_is_peeked_at<A: Asynchronous>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    client.send_to(b"who", server_addr).await.unwrap();
    assert_eq!(server.peek_sender().await.unwrap(), client_addr);
    assert_eq!(receive(&server).await, (b"who".to_vec(), client_addr));
}

//! Options, as the types of sockets offer them: what is set is read back, and has the effect that it promises
//! where that shows at the sockets.

use sockeye::stack::{OptionName, SocketOption};
use sockeye::{CongestionControl, Host, HostConfig, Network, TcpKeepalive, TcpListener, TcpState, TcpStream};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::time::Duration;

fn hosts() -> (Host, Host) {
    let network =
        Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build();
    let network = network.unwrap();
    (network.host("web").unwrap(), network.host("me").unwrap())
}

fn pair() -> (TcpListener, TcpStream, TcpStream) {
    let (web, me) = hosts();
    let listener = web.tcp_listen("web:80").unwrap();
    let near = me.tcp_connect("web:80").unwrap();
    let (far, _) = listener.accept().unwrap();
    (listener, near, far)
}

/// Sets options and reads them back, on a type that has those of every socket.
macro_rules! round_trip_of_all {
    ($socket:expr) => {
        let socket = &$socket;
        assert_eq!(socket.ttl().unwrap(), 64);
        for ttl in [1, 255] {
            socket.set_ttl(ttl).unwrap();
            assert_eq!(socket.ttl().unwrap(), ttl);
        }
        for bad in [0, 256] {
            assert_eq!(socket.set_ttl(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        socket.set_tos_v4(0xb8).unwrap();
        // Only a socket of IPv6 has a traffic class, and it is not its type of service.
        if socket.set_tclass_v6(0x20).is_ok() {
            assert_eq!(socket.tclass_v6().unwrap(), 0x20);
        } else {
            assert!(socket.local_addr().unwrap().is_ipv4() && socket.tclass_v6().is_err());
        }
        assert_eq!(socket.tos_v4().unwrap(), 0xb8);
        assert_eq!(socket.set_tos_v4(256).unwrap_err().kind(), ErrorKind::InvalidInput);
        for on in [true, false] {
            socket.set_reuse_address(on).unwrap();
            assert_eq!(socket.reuse_address().unwrap(), on);
            socket.set_reuse_port(on).unwrap();
            assert_eq!(socket.reuse_port().unwrap(), on);
        }
        socket.set_recv_buffer_size(50_000).unwrap();
        socket.set_send_buffer_size(60_000).unwrap();
        assert_eq!(socket.recv_buffer_size().unwrap(), 50_000);
        assert_eq!(socket.send_buffer_size().unwrap(), 60_000);
        // As in the kernel, sizes beyond the limits are not refused.
        socket.set_recv_buffer_size(usize::MAX).unwrap();
        assert!(socket.recv_buffer_size().unwrap() < 1 << 30);
        assert!(socket.take_error().unwrap().is_none());
        assert!(socket.only_v6().is_err(), "of IPv4");
    };
}

/// The same for those of TCP.
macro_rules! round_trip_of_tcp {
    ($socket:expr) => {
        let socket = &$socket;
        for on in [true, false] {
            socket.set_nodelay(on).unwrap();
            assert_eq!(socket.nodelay().unwrap(), on);
            socket.set_keepalive(on).unwrap();
            assert_eq!(socket.keepalive().unwrap(), on);
            socket.set_tcp_cork(on).unwrap();
            assert_eq!(socket.tcp_cork().unwrap(), on);
            socket.set_tcp_quickack(on).unwrap();
            assert_eq!(socket.tcp_quickack().unwrap(), on);
            socket.set_out_of_band_inline(on).unwrap();
            assert_eq!(socket.out_of_band_inline().unwrap(), on);
        }
        socket.set_zero_linger().unwrap();
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        for linger in [Some(Duration::from_secs(3)), None] {
            socket.set_linger(linger).unwrap();
            assert_eq!(socket.linger().unwrap(), linger);
        }
        for timeout in [Some(Duration::from_secs(9)), None] {
            socket.set_tcp_user_timeout(timeout).unwrap();
            assert_eq!(socket.tcp_user_timeout().unwrap(), timeout);
        }
        let [idle, interval] = [33, 44].map(Duration::from_secs);
        let before = socket.tcp_keepalive_interval().unwrap();
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_retries(5)).unwrap();
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), before, "what isn't said stays");
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_interval(interval)).unwrap();
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), interval);
        let bad = TcpKeepalive::new().with_retries(128);
        assert_eq!(socket.set_tcp_keepalive(&bad).unwrap_err().kind(), ErrorKind::InvalidInput);
        for control in [CongestionControl::Reno, CongestionControl::Cubic] {
            socket.set_tcp_congestion(control).unwrap();
            assert_eq!(socket.tcp_congestion().unwrap(), control);
        }
        socket.set_tcp_notsent_lowat(7000).unwrap();
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 7000);
        for bad in [87, 32_768, 70_000] {
            assert_eq!(socket.set_tcp_mss(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        socket.set_tcp_mss(1000).unwrap();
        socket.set_option(SocketOption::WindowClamp(10_000)).unwrap();
        assert_eq!(socket.option(OptionName::WindowClamp).unwrap(), SocketOption::WindowClamp(10_000));
    };
}

#[test]
fn what_is_set_is_read_back() {
    let (listener, near, _far) = pair();
    round_trip_of_all!(near);
    round_trip_of_tcp!(near);
    round_trip_of_all!(listener);
    round_trip_of_tcp!(listener);
    let (web, _) = hosts();
    let socket = web.tcp_socket_v4().unwrap();
    round_trip_of_all!(socket);
    round_trip_of_tcp!(socket);
    let udp = web.udp_bind("web:0").unwrap();
    round_trip_of_all!(udp);
    for on in [true, false] {
        udp.set_broadcast(on).unwrap();
        assert_eq!(udp.broadcast().unwrap(), on);
    }
    for timeout in [Some(Duration::from_secs(1)), None] {
        udp.set_read_timeout(timeout).unwrap();
        udp.set_write_timeout(timeout).unwrap();
        assert_eq!((udp.read_timeout().unwrap(), udp.write_timeout().unwrap()), (timeout, timeout));
    }
    assert!(udp.option(OptionName::NoDelay).is_err(), "a stream's");
}

#[test]
fn connections_begin_with_their_listeners_options() {
    let (web, me) = hosts();
    let socket = web.tcp_socket_v6().unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_keepalive(true).unwrap();
    socket.set_recv_buffer_size(40_000).unwrap();
    socket.set_tcp_mss(700).unwrap();
    socket.set_ttl(33).unwrap();
    socket.bind("[::]:80").unwrap();
    let listener = socket.listen(1).unwrap();
    for to in web.addresses() {
        let mut near = me.tcp_connect((to, 80)).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        assert!(far.nodelay().unwrap() && far.keepalive().unwrap());
        assert_eq!((far.recv_buffer_size().unwrap(), far.ttl().unwrap()), (40_000, 33));
        near.write_all(b"over both families").unwrap();
        far.read_exact(&mut [0; 18]).unwrap();
        assert!(near.tcp_mss().unwrap() <= 700, "the peer was told");
    }
}

#[test]
fn a_socket_of_ipv6_may_do_without_ipv4() {
    let (web, me) = hosts();
    let only = web.tcp_socket_v6().unwrap();
    only.set_only_v6(true).unwrap();
    only.bind("[::]:80").unwrap();
    let only = only.listen(5).unwrap();
    assert!(only.only_v6().unwrap());
    let other = web.tcp_listen("0.0.0.0:80").expect("the port is free in the other family");
    assert!(me.tcp_connect((web.ipv6(), 80)).is_ok() && me.tcp_connect((web.ipv4(), 80)).is_ok());
    assert!(only.accept().unwrap().1.is_ipv6() && other.accept().unwrap().1.is_ipv4());
    let udp = web.udp_socket_v6().unwrap();
    udp.set_only_v6(true).unwrap();
    udp.bind_to("[::]:53").unwrap();
    assert!(udp.set_only_v6(false).is_err(), "too late");
    assert!(udp.send_to(b"?", (me.ipv4(), 9)).is_err());
    // Of a name it takes the addresses that it can use.
    assert_eq!(udp.send_to(b"?", "me:9").unwrap(), 1);
    udp.connect("me:9").unwrap();
    assert_eq!(udp.peer_addr().unwrap(), (me.ipv6(), 9).into());
}

#[test]
fn shared_ports_have_to_be_asked_for() {
    let (web, _) = hosts();
    let [first, second] = [(); 2].map(|()| web.udp_socket_v4().unwrap());
    first.bind_to("web:53").unwrap();
    assert_eq!(second.bind_to("web:53").unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(first.bind_to("web:54").unwrap_err().kind(), ErrorKind::InvalidInput);
    let [first, second] = [(); 2].map(|()| web.tcp_socket_v4().unwrap());
    for socket in [&first, &second] {
        socket.set_reuseport(true).unwrap();
        assert!(socket.reuseport().unwrap() && !socket.reuseaddr().unwrap());
        socket.bind("web:80").unwrap();
    }
    assert!(first.listen(1).is_ok() && second.listen(1).is_ok());
}

#[test]
fn a_socket_can_be_bound_before_it_connects() {
    let (web, me) = hosts();
    let listener = web.tcp_listen("web:80").unwrap();
    let socket = me.tcp_socket_v4().unwrap();
    assert_eq!(socket.local_addr().unwrap(), "0.0.0.0:0".parse().unwrap());
    // The name has addresses of both families: each socket takes its own.
    socket.bind("me:7000").unwrap();
    let stream = socket.connect("web:80").unwrap();
    assert_eq!(stream.local_addr().unwrap(), (me.ipv4(), 7000).into());
    assert_eq!(listener.accept().unwrap().1, (me.ipv4(), 7000).into());
    let v6 = me.tcp_socket_v6().unwrap();
    v6.bind("me:7000").unwrap();
    assert_eq!(v6.local_addr().unwrap(), (me.ipv6(), 7000).into());
    assert_eq!(v6.connect("web:80").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let picked = me.tcp_socket_v4().unwrap().listen(1).unwrap();
    assert_ne!(picked.local_addr().unwrap().port(), 0);
}

#[test]
fn slices_are_filled_and_sent_in_order() {
    let (_listener, mut near, mut far) = pair();
    let parts = [&b""[..], b"one ", b"", b"two ", b"three"].map(IoSlice::new);
    assert_eq!(near.write_vectored(&parts).unwrap(), 13);
    let (mut a, mut b, mut c) = ([0; 3], [0; 0], [0; 20]);
    let mut slices = [&mut a[..], &mut b[..], &mut c[..]].map(IoSliceMut::new);
    assert_eq!(far.read_vectored(&mut slices).unwrap(), 13);
    assert_eq!((&a, &c[..10]), (b"one", &b" two three"[..]));
    assert_eq!(near.write_vectored(&[]).unwrap(), 0);
    assert_eq!(far.read_vectored(&mut []).unwrap(), 0);
    near.set_nonblocking(true).unwrap();
    let big = vec![7; 100_000];
    let (mut sent, mut received) = (0, 0);
    while let Ok(taken) = near.write_vectored(&[IoSlice::new(&big[..1]), IoSlice::new(&big)]) {
        sent += taken;
    }
    let mut buffer = vec![0; 70_000];
    while received < sent {
        let (front, back) = buffer.split_at_mut(1000);
        received += far.read_vectored(&mut [front, back].map(IoSliceMut::new)).unwrap();
        assert!(buffer.iter().take(received).all(|&byte| byte == 7));
    }
}

#[test]
fn urgent_bytes_are_read_beside_the_others_or_among_them() {
    let (_listener, mut near, mut far) = pair();
    let mut buffer = [0; 16];
    assert_eq!(far.recv_out_of_band(&mut buffer).unwrap_err().kind(), ErrorKind::InvalidInput);
    near.write_all(b"ab").unwrap();
    assert_eq!(near.send_out_of_band(b"c!").unwrap(), 2);
    near.write_all(b"de").unwrap();
    assert_eq!(far.read(&mut buffer).unwrap(), 3);
    assert!(far.at_mark().unwrap());
    assert_eq!(far.recv_out_of_band(&mut buffer).unwrap(), 1);
    assert_eq!(buffer[0], b'!');
    assert_eq!(far.recv_out_of_band(&mut buffer).unwrap_err().kind(), ErrorKind::InvalidInput);
    far.read_exact(&mut buffer[..2]).unwrap();
    assert_eq!(&buffer[..2], b"de");
    far.set_out_of_band_inline(true).unwrap();
    near.send_out_of_band(b"f").unwrap();
    far.read_exact(&mut buffer[..1]).unwrap();
    assert_eq!(buffer[0], b'f');
}

#[test]
fn a_connection_tells_how_it_is_doing() {
    let (_listener, mut near, mut far) = pair();
    near.write_all(&[1; 5000]).unwrap();
    far.read_exact(&mut [0; 5000]).unwrap();
    let (near, far) = (near.info().unwrap(), far.info().unwrap());
    assert_eq!(near.state, TcpState::Established);
    assert_eq!(near.bytes_sent, 5000);
    assert_eq!(far.bytes_received, 5000);
    assert!(near.srtt.is_some() && near.snd_cwnd > 0);
}

/// Runs a program that blocks, in virtual time: this thread turns the network to its next event whenever there is
/// one.
fn in_virtual_time<R: Send>(network: &Network, program: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let program = scope.spawn(program);
        let mut now = network.now();
        while !program.is_finished() {
            match network.turn(now) {
                Some(next) => now = next.max(now),
                None => std::thread::yield_now(),
            }
        }
        program.join().unwrap()
    })
}

#[test]
fn an_idle_peer_that_is_gone_is_noticed() {
    let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default());
    let network = network.build_manual().unwrap();
    let (web, me) = (network.host("web").unwrap(), network.host("me").unwrap());
    let listener = web.tcp_listen("web:80").unwrap();
    let started = in_virtual_time(&network, || {
        let mut near = me.tcp_connect("web:80").unwrap();
        let _far = listener.accept().unwrap();
        let started = network.now();
        let second = Duration::from_secs(1);
        let keepalive = TcpKeepalive::new().with_time(20 * second).with_interval(5 * second).with_retries(3);
        near.set_tcp_keepalive(&keepalive).unwrap();
        network.partition(&web, &me);
        assert_eq!(near.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
        started
    });
    let noticed = network.now().saturating_since(started);
    assert!((Duration::from_secs(34)..Duration::from_secs(36)).contains(&noticed), "after {noticed:?}");
}

#[test]
fn the_listener_goes_into_its_iterator() {
    let (web, me) = hosts();
    let listener = web.tcp_listen("web:80").unwrap();
    let incoming = listener.into_incoming();
    let greeting = std::thread::spawn(move || {
        incoming.take(2).map(|stream| stream.unwrap().write(b"hi").unwrap()).sum::<usize>()
    });
    for _ in 0..2 {
        let mut text = String::new();
        me.tcp_connect("web:80").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
    }
    assert_eq!(greeting.join().unwrap(), 4);
}

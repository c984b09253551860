//! Blocking sockets between hosts of a threaded network.

use sockeye::{Host, HostConfig, Network, TcpListener, TcpStream};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

fn hosts() -> (Host, Host) {
    let network = Network::builder()
        .host("server", HostConfig::default())
        .host("client", HostConfig::default())
        .build();
    let network = network.unwrap();
    (network.host("server").unwrap(), network.host("client").unwrap())
}

fn listen(server: &Host) -> (TcpListener, SocketAddr) {
    let listener = server.tcp_listen((server.ipv4(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    assert_ne!(address.port(), 0);
    (listener, address)
}

fn pair() -> (TcpStream, TcpStream) {
    let (server, client) = hosts();
    let (listener, address) = listen(&server);
    let near = client.tcp_connect(address).unwrap();
    let (far, peer) = listener.accept().unwrap();
    assert_eq!(peer, near.local_addr().unwrap());
    assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
    (near, far)
}

#[test]
fn megabytes_are_echoed_over_both_families() {
    let (server, client) = hosts();
    for ip in server.addresses() {
        let listener = server.tcp_listen((ip, 7)).unwrap();
        let echo = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            io::copy(&mut &stream, &mut &stream).unwrap()
        });
        let stream = client.tcp_connect((ip, 7)).unwrap();
        let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let sender = thread::spawn({
            let (stream, data) = (stream.try_clone().unwrap(), data.clone());
            move || {
                (&stream).write_all(&data).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            }
        });
        let mut back = Vec::new();
        (&stream).read_to_end(&mut back).unwrap();
        sender.join().unwrap();
        assert!(back == data);
        assert_eq!(echo.join().unwrap(), data.len() as u64);
    }
}

#[test]
fn one_end_may_close_while_the_other_goes_on() {
    let (mut near, mut far) = pair();
    near.write_all(b"question").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let mut question = String::new();
    far.read_to_string(&mut question).unwrap();
    assert_eq!(question, "question");
    assert_eq!(near.write(b"more").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    far.write_all(b"answer").unwrap();
    drop(far);
    let mut answer = String::new();
    near.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
}

#[test]
fn peeked_data_is_still_there() {
    let (mut near, mut far) = pair();
    near.write_all(b"abc").unwrap();
    let mut buffer = [0; 8];
    assert_eq!(far.peek(&mut buffer).unwrap(), 3);
    assert_eq!(far.read(&mut buffer).unwrap(), 3);
    assert_eq!(&buffer[..3], b"abc");
}

#[test]
fn errors_have_the_kinds_of_std() {
    let (server, client) = hosts();
    let nobody = client.tcp_connect((server.ipv4(), 9)).unwrap_err();
    assert_eq!(nobody.kind(), io::ErrorKind::ConnectionRefused);
    let nowhere = client.tcp_connect("10.77.9.9:80".parse::<SocketAddr>().unwrap()).unwrap_err();
    assert_eq!(nowhere.kind(), io::ErrorKind::HostUnreachable);
    let (_listener, address) = listen(&server);
    assert_eq!(server.tcp_listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert_eq!(client.tcp_listen(address).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
}

#[test]
fn reads_time_out_and_nonblocking_ones_do_not_wait() {
    let (mut near, _far) = pair();
    let mut buffer = [0; 8];
    near.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    assert_eq!(near.read_timeout().unwrap(), Some(Duration::from_millis(5)));
    assert_eq!(near.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    near.set_read_timeout(None).unwrap();
    assert_eq!(near.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    near.set_nonblocking(true).unwrap();
    assert_eq!(near.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn writes_to_a_peer_that_does_not_read_time_out() {
    let (mut near, _far) = pair();
    near.set_write_timeout(Some(Duration::from_millis(5))).unwrap();
    let data = vec![0; 1 << 20];
    let error = (0..100).find_map(|_| near.write(&data).err()).expect("buffers are bounded");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn connects_give_up_at_their_timeout() {
    let network = Network::builder()
        .host(
            "server",
            HostConfig {
                link: "loss 100%".parse::<sockeye::NetemConfig>().unwrap().into(),
                ..HostConfig::default()
            },
        )
        .host("client", HostConfig::default())
        .build()
        .unwrap();
    let (server, client) = (network.host("server").unwrap(), network.host("client").unwrap());
    let error = client.tcp_connect_timeout((server.ipv4(), 80), Duration::from_millis(10)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_bad_link_delivers_everything_in_real_time_too() {
    let link: sockeye::NetemConfig =
        "delay 1ms 1ms loss 2% duplicate 1% reorder 1% corrupt 1%".parse().unwrap();
    let network = Network::builder()
        .seed(3)
        .host("server", HostConfig::default())
        .host("client", HostConfig { link: link.into(), ..HostConfig::default() })
        .build()
        .unwrap();
    let (server, client) = (network.host("server").unwrap(), network.host("client").unwrap());
    let (listener, address) = listen(&server);
    let data: Vec<u8> = (0..300_000_u32).map(|n| (n % 253) as u8).collect();
    let sender = thread::spawn({
        let data = data.clone();
        move || listener.accept().unwrap().0.write_all(&data).unwrap()
    });
    let mut received = Vec::new();
    client.tcp_connect(address).unwrap().read_to_end(&mut received).unwrap();
    assert!(received == data);
    sender.join().unwrap();
}

#[test]
fn many_clients_at_once() {
    let (server, client) = hosts();
    let (listener, address) = listen(&server);
    let serving = thread::spawn(move || {
        let workers: Vec<_> = listener
            .incoming()
            .take(32)
            .map(|stream| {
                let stream = stream.unwrap();
                thread::spawn(move || io::copy(&mut &stream, &mut &stream).unwrap())
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>()
    });
    let clients: Vec<_> = (0..32_u8)
        .map(|n| {
            let client = client.clone();
            thread::spawn(move || {
                let mut stream = client.tcp_connect(address).unwrap();
                for round in 0..50_u8 {
                    let message = [n, round, n ^ round];
                    stream.write_all(&message).unwrap();
                    let mut back = [0; 3];
                    stream.read_exact(&mut back).unwrap();
                    assert_eq!(back, message);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(serving.join().unwrap(), 32 * 50 * 3);
}

#[test]
fn a_shutdown_ends_the_wait_of_another_thread() {
    let (near, _far) = pair();
    let reader = thread::spawn({
        let near = near.try_clone().unwrap();
        move || (&near).read(&mut [0; 8])
    });
    near.shutdown(Shutdown::Both).unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), 0);
}

#[test]
fn dropping_one_end_ends_the_wait_of_the_other() {
    let (mut near, far) = pair();
    let reader = thread::spawn(move || near.read(&mut [0; 8]));
    drop(far);
    assert_eq!(reader.join().unwrap().unwrap(), 0);
}

#[test]
fn closing_with_unread_data_resets() {
    let (mut near, far) = pair();
    near.write_all(b"never read").unwrap();
    drop(far);
    let error = near.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn datagrams_arrive_whole_and_say_whence() {
    let (server, client) = hosts();
    for (near, far) in client.addresses().into_iter().zip(server.addresses()) {
        let near = client.udp_bind((near, 0)).unwrap();
        let far = server.udp_bind((far, 0)).unwrap();
        let (near_address, far_address) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        let receiver = thread::spawn(move || {
            let mut buffer = [0; 2000];
            let (len, from) = far.recv_from(&mut buffer).unwrap();
            far.send_to(&buffer[..len], from).unwrap();
            from
        });
        near.connect(far_address).unwrap();
        assert_eq!(near.send(&[7; 1200]).unwrap(), 1200);
        let mut buffer = [0; 1000];
        assert_eq!(near.recv(&mut buffer).unwrap(), 1000, "the rest is lost");
        assert_eq!(receiver.join().unwrap(), near_address);
        near.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        assert_eq!(near.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_connected_udp_socket_learns_that_nobody_is_there() {
    let (server, client) = hosts();
    let socket = client.udp_bind((client.ipv4(), 0)).unwrap();
    socket.connect((server.ipv4(), 9)).unwrap();
    socket.send(b"?").unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_network_ends_with_its_last_handle() {
    let (near, far) = pair();
    drop(near);
    drop(far);
}

/// A stream over a link on which a packet takes 20 ms, and its other end.
fn far_apart(link: &str) -> (TcpStream, TcpStream) {
    let link: sockeye::NetemConfig = link.parse().unwrap();
    let network = Network::builder()
        .host("server", HostConfig::default())
        .host("client", HostConfig { link: link.into(), ..HostConfig::default() });
    let network = network.build().unwrap();
    let (server, client) = (network.host("server").unwrap(), network.host("client").unwrap());
    let (listener, address) = listen(&server);
    let near = client.tcp_connect(address).unwrap();
    (near, listener.accept().unwrap().0)
}

/// What can be read without waiting.
fn arrived(mut stream: &TcpStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let (mut all, mut buf) = (0, [0; 4096]);
    while let Ok(len @ 1..) = stream.read(&mut buf) {
        all += len;
    }
    all
}

#[test]
fn a_close_that_lingers_waits_until_all_has_arrived() {
    let (mut near, far) = far_apart("delay 20ms");
    assert_eq!(near.linger().unwrap(), None);
    near.set_linger(Some(Duration::from_mins(1))).unwrap();
    assert_eq!(near.linger().unwrap(), Some(Duration::from_mins(1)));
    near.write_all(&vec![1; 50_000]).unwrap();
    let other = near.try_clone().unwrap();
    // Not the last handle: nothing is closed.
    drop(near);
    assert_eq!(arrived(&far), 0);
    drop(other);
    assert_eq!(arrived(&far), 50_000);
}

#[test]
fn a_close_without_a_linger_time_or_of_a_nonblocking_stream_does_not_wait() {
    for (linger, nonblocking) in [(None, false), (Some(Duration::from_mins(1)), true)] {
        let (mut near, far) = far_apart("delay 200ms");
        near.set_linger(linger).unwrap();
        near.write_all(b"later").unwrap();
        near.set_nonblocking(nonblocking).unwrap();
        drop(near);
        assert_eq!(arrived(&far), 0);
        far.set_nonblocking(false).unwrap();
        assert_eq!(io::read_to_string(&far).unwrap(), "later");
    }
}

#[test]
fn a_lingering_close_ends_with_its_time() {
    let (mut near, far) = far_apart("delay 500ms");
    near.set_linger(Some(Duration::from_millis(30))).unwrap();
    near.write_all(b"later").unwrap();
    let begun = std::time::Instant::now();
    drop(near);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(arrived(&far), 0, "it waited until all had arrived");
    far.set_nonblocking(false).unwrap();
    assert_eq!(io::read_to_string(&far).unwrap(), "later");
}

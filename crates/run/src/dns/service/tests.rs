use super::*;
use crate::dns::Zone;
use sockeye_stack::{Config, Event};

const NOW: Instant = Instant::ZERO;
/// A query for the address of localhost, type A.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";
const ANSWER: [u8; 4] = [127, 0, 0, 1];

fn some_host() -> HostId {
    sockeye::Network::builder().build_manual().unwrap().gateway().id()
}

/// A host with a name server at two of its addresses.
struct Bench {
    stack: Stack,
    service: Service,
    names: Names,
}

impl Bench {
    fn new() -> Bench {
        let mut stack = Stack::new(Config::default(), [3; 32]);
        let addresses: [IpAddr; 2] = ["127.0.0.53".parse().unwrap(), "::1".parse().unwrap()];
        let service = Service::open(&mut stack, NOW, some_host(), &addresses).unwrap();
        Bench { stack, service, names: Names::new(Zone::new(&[])) }
    }

    fn socket(&mut self, kind: SocketType, server: &str) -> (SocketId, SockAddr) {
        let server = SockAddr::new(server.parse().unwrap(), PORT);
        let domain = if server.is_v4() { Domain::Inet } else { Domain::Inet6 };
        let id = self.stack.socket(domain, kind, Owner::default()).unwrap();
        (id, server)
    }

    /// Lets packets move and the service answer until all is quiet.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.stack.handle_timeout(NOW);
            let mut ready = Vec::new();
            while let Some(Event::Ready(id)) = self.stack.poll_event() {
                ready.push(id);
            }
            for id in ready.into_iter().filter(|&id| self.service.owns(id)).collect::<Vec<_>>() {
                while self.service.on_ready(&mut self.stack, NOW, id, &mut self.names) {}
            }
        }
    }
}

/// A name server outside, and a bench whose names ask it.
fn with_upstream() -> (Bench, std::net::UdpSocket) {
    let upstream = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut bench = Bench::new();
    bench.names.forward(NOW, Some(&[upstream.local_addr().unwrap()])).unwrap();
    (bench, upstream)
}

/// A query that the zone has no answer to.
fn foreign_query(number: u8) -> Vec<u8> {
    let name = [b'a' + number];
    [&[0, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1][..], &name, b"\x07example\0\0\x01\0\x01"].concat()
}

/// What the outside says to a query: there is an address, the name's first letter.
fn foreign_answer(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, query[13]]);
    answer
}

impl Bench {
    /// What the outside was asked, and by whom.
    fn asked(upstream: &std::net::UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
        let mut buffer = [0; 600];
        let (len, from) = upstream.recv_from(&mut buffer).unwrap();
        (buffer[..len].to_vec(), from)
    }

    /// Has the outside answer, and the answer delivered.
    fn answer(&mut self, upstream: &std::net::UdpSocket, (query, from): &(Vec<u8>, std::net::SocketAddr)) {
        upstream.send_to(&foreign_answer(query), from).unwrap();
        loop {
            let fd = self.names.fd().unwrap();
            rustix::event::poll(&mut [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)], None)
                .unwrap();
            self.names.on_ready(NOW);
            let Some((to, answer)) = self.names.poll_answer() else { continue };
            self.service.deliver(&mut self.stack, NOW, to, answer, &mut self.names);
            return self.settle();
        }
    }

    fn send(&mut self, id: SocketId, data: Vec<u8>) {
        self.stack.send(NOW, id, &mut VecDeque::from([Chunk::from(data)]), SendFlags::default()).unwrap();
        self.settle();
    }

    /// The answers that a stream has brought: number, and last byte.
    fn received(&mut self, id: SocketId) -> Vec<(u8, u8)> {
        let mut bytes = Vec::new();
        while let Ok(read) = self.stack.recv(NOW, id, 4096, RecvFlags::default()) {
            if read.is_empty() {
                break;
            }
            bytes.extend(read.to_vec());
        }
        let answers = std::iter::from_fn(|| next_query(&mut bytes));
        answers.map(|answer| (answer[1], *answer.last().unwrap())).collect()
    }
}

#[test]
fn a_late_answer_comes_from_the_address_that_was_asked() {
    let (mut bench, upstream) = with_upstream();
    let (client, server) = bench.socket(SocketType::Datagram, "127.0.0.53");
    bench.stack.connect(NOW, client, server).unwrap();
    let payload = Payload::from(Chunk::from(foreign_query(7)));
    bench.stack.send_to(NOW, client, payload, None, SendFlags::default()).unwrap();
    bench.settle();
    assert_eq!(bench.stack.recv_from(NOW, client, RecvFlags::default()).err(), Some(Error::WouldBlock));
    let asked = Bench::asked(&upstream);
    bench.answer(&upstream, &asked);
    let answer = bench.stack.recv_from(NOW, client, RecvFlags::default()).unwrap();
    assert_eq!(answer.from, server);
    assert_eq!(answer.payload.to_vec(), foreign_answer(&foreign_query(7)));
}

#[test]
fn late_answers_of_a_stream_come_in_any_order_and_are_bounded() {
    let (mut bench, upstream) = with_upstream();
    let (client, server) = bench.socket(SocketType::Stream, "127.0.0.53");
    bench.stack.connect(NOW, client, server).err();
    bench.settle();
    let all = PENDING_MAX as u8 + 2;
    let framed = |query: &[u8]| [&(query.len() as u16).to_be_bytes(), query].concat();
    let queries: Vec<u8> = (0..all).flat_map(|number| framed(&foreign_query(number))).collect();
    bench.send(client, [queries, framed(QUERY)].concat());
    bench.stack.shutdown(NOW, client, sockeye_stack::Shutdown::Write).unwrap();
    bench.settle();
    let mut waiting: Vec<_> = (0..PENDING_MAX).map(|_| Bench::asked(&upstream)).collect();
    upstream.set_nonblocking(true).unwrap();
    assert!(upstream.recv_from(&mut [0; 600]).is_err(), "no more are asked at once");
    upstream.set_nonblocking(false).unwrap();
    let mut expected = Vec::new();
    for _ in 0..all {
        let asked = waiting.pop().unwrap();
        expected.push((asked.0[13] - b'a', asked.0[13]));
        bench.answer(&upstream, &asked);
        if waiting.len() + expected.len() < all.into() {
            waiting.push(Bench::asked(&upstream));
        }
    }
    let received = bench.received(client);
    let late: Vec<_> = received.iter().copied().filter(|answer| answer.1 != 1).collect();
    assert_eq!(late, expected);
    assert!(received.contains(&(0x34, 1)), "what is known doesn't wait for the rest: {received:?}");
    assert!(bench.service.connections.len() == 0, "closed after the last answer");
}

#[test]
fn a_connection_that_is_closed_meanwhile_is_gone() {
    let (mut bench, upstream) = with_upstream();
    let (client, server) = bench.socket(SocketType::Stream, "127.0.0.53");
    bench.stack.connect(NOW, client, server).err();
    bench.settle();
    let query = foreign_query(3);
    bench.send(client, [&(query.len() as u16).to_be_bytes(), &query[..]].concat());
    let asked = Bench::asked(&upstream);
    bench.stack.abort(NOW, client).unwrap();
    bench.settle();
    assert!(bench.service.connections.len() == 0);
    bench.answer(&upstream, &asked);
    assert_eq!(bench.service.sockets.len(), 4);
}

#[test]
fn queries_are_cut_out_of_the_stream() {
    let mut input = vec![0, 3, 1, 2, 3, 0, 0, 0, 2, 9];
    assert_eq!(next_query(&mut input), Some(vec![1, 2, 3]));
    assert_eq!(next_query(&mut input), Some(vec![]));
    assert_eq!(next_query(&mut input), None);
    input.push(8);
    assert_eq!(next_query(&mut input), Some(vec![9, 8]));
    assert_eq!(next_query(&mut input), None);
    assert!(input.is_empty());
}

#[test]
fn datagrams_are_answered_from_the_address_that_was_asked() {
    for server in ["127.0.0.53", "::1"] {
        let mut bench = Bench::new();
        let (client, server) = bench.socket(SocketType::Datagram, server);
        // Connected, so that an answer from anywhere else would not come through.
        bench.stack.connect(NOW, client, server).unwrap();
        for query in [&b"junk"[..], QUERY] {
            let payload = Payload::from(Chunk::copy_from(query));
            bench.stack.send_to(NOW, client, payload, None, SendFlags::default()).unwrap();
        }
        bench.settle();
        let answer = bench.stack.recv_from(NOW, client, RecvFlags::default()).unwrap();
        assert_eq!(answer.from, server);
        let answer = answer.payload.to_vec();
        assert_eq!(answer[..2], QUERY[..2]);
        assert!(answer.ends_with(&ANSWER));
    }
}

#[test]
fn streams_are_answered_query_by_query_and_closed() {
    let mut bench = Bench::new();
    let (client, server) = bench.socket(SocketType::Stream, "127.0.0.53");
    bench.stack.connect(NOW, client, server).err();
    bench.settle();
    let framed = [&(QUERY.len() as u16).to_be_bytes(), QUERY].concat();
    let (head, tail) = framed.split_at(5);
    for part in [[&framed, head].concat(), tail.to_vec()] {
        bench
            .stack
            .send(NOW, client, &mut VecDeque::from([Chunk::from(part)]), SendFlags::default())
            .unwrap();
        bench.settle();
    }
    bench.stack.shutdown(NOW, client, sockeye_stack::Shutdown::Write).unwrap();
    bench.settle();
    let mut answers = Vec::new();
    while let Ok(read) = bench.stack.recv(NOW, client, 4096, RecvFlags::default()) {
        if read.is_empty() {
            break;
        }
        answers.extend(read.to_vec());
    }
    let len = 2 + usize::from(u16::from_be_bytes([answers[0], answers[1]]));
    assert_eq!(answers.len(), 2 * len);
    assert!(answers[..len].ends_with(&ANSWER) && answers.ends_with(&ANSWER));
    assert!(bench.service.connections.len() == 0, "the server closed its side");
}

#[test]
fn connections_are_bounded() {
    let mut bench = Bench::new();
    for _ in 0..CONNECTIONS_MAX + 10 {
        let (client, server) = bench.socket(SocketType::Stream, "127.0.0.53");
        bench.stack.connect(NOW, client, server).err();
        bench.settle();
    }
    assert_eq!(bench.service.connections.len(), CONNECTIONS_MAX);
    assert_eq!(bench.service.sockets.len(), CONNECTIONS_MAX + 4);
}

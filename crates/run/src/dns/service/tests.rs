use super::*;
use sockeye_stack::{Config, Event};

const NOW: Instant = Instant::ZERO;
/// A query for the address of localhost, type A.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";
const ANSWER: [u8; 4] = [127, 0, 0, 1];

/// A host with a name server at two of its addresses.
struct Bench {
    stack: Stack,
    service: Service,
    zone: Zone,
}

impl Bench {
    fn new() -> Bench {
        let mut stack = Stack::new(Config::default(), [3; 32]);
        let addresses: [IpAddr; 2] = ["127.0.0.53".parse().unwrap(), "::1".parse().unwrap()];
        let service = Service::open(&mut stack, NOW, &addresses).unwrap();
        Bench { stack, service, zone: Zone::new(&[]) }
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
                while self.service.on_ready(&mut self.stack, NOW, id, &self.zone) {}
            }
        }
    }
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
    assert!(bench.service.connections.is_empty(), "the server closed its side");
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

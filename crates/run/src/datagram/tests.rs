use super::*;
use crate::end::ProgramEnd;
use sockeye_stack::{Config, Domain, Owner, SocketType};

/// A host that talks to itself, with a server's socket, and a plug whose socket is connected to it or not.
struct Bench {
    stack: Stack,
    pool: Pool,
    server: SocketId,
    server_addr: SockAddr,
    client: SocketId,
    datagram: Datagram,
    theirs: OwnedFd,
}

const NOW: Instant = Instant::ZERO;

impl Bench {
    fn new(connected: bool) -> Bench {
        let mut stack = Stack::new(Config::default(), [7; 32]);
        let mut socket = || stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
        let (server, client) = (socket(), socket());
        let server_addr = SockAddr::new([127, 0, 0, 1].into(), 53);
        stack.bind(server, server_addr).unwrap();
        if connected {
            stack.connect(NOW, client, server_addr).unwrap();
        } else {
            stack.bind(client, SockAddr::new([127, 0, 0, 1].into(), 0)).unwrap();
        }
        let (datagram, theirs) = open(SocketType::Datagram, true).unwrap();
        Bench { stack, pool: Pool::default(), server, server_addr, client, datagram, theirs }
    }

    /// Lets both directions and the host's own packets move.
    fn turn(&mut self) -> Progress {
        let Bench { stack, pool, client, datagram, .. } = self;
        let progress = datagram.move_outward(stack, pool, NOW, *client);
        stack.handle_timeout(NOW);
        datagram.move_inward(stack, NOW, *client);
        progress
    }

    /// Sends from the server to the client's address.
    fn serve(&mut self, bytes: &'static [u8]) {
        let to = self.stack.local_addr(self.client).unwrap();
        let payload = Payload::from(Chunk::from_static(bytes));
        self.stack.send_to(NOW, self.server, payload, Some(to), StackSendFlags::default()).unwrap();
        self.stack.handle_timeout(NOW);
    }

    fn program_reads(&self) -> Result<Vec<u8>, SysErrno> {
        let mut buffer = [0_u8; 100];
        recv(&self.theirs, &mut buffer, RecvFlags::DONTWAIT).map(|(len, _)| buffer[..len].to_vec())
    }

    fn program_writes(&mut self, bytes: &[u8]) {
        send(&self.theirs, bytes, SendFlags::DONTWAIT).unwrap();
        self.datagram.readable = true;
    }
}

#[test]
fn datagrams_keep_their_bounds_both_ways_even_when_empty() {
    let mut bench = Bench::new(true);
    for message in [&b"one"[..], b"", b"two"] {
        bench.program_writes(message);
    }
    bench.turn();
    for message in [&b"one"[..], b"", b"two"] {
        let got = bench.stack.recv_from(NOW, bench.server, StackRecvFlags::default()).unwrap();
        assert_eq!(got.payload.to_vec(), message);
    }
    for message in [&b"three"[..], b"", b"four"] {
        bench.serve(message);
    }
    bench.turn();
    for message in [&b"three"[..], b"", b"four"] {
        assert_eq!(bench.program_reads().unwrap(), message);
    }
    assert_eq!(bench.program_reads(), Err(SysErrno::AGAIN));
}

#[test]
fn sources_follow_what_native_reads_take() {
    let mut bench = Bench::new(false);
    for message in [&b"a"[..], b"bb", b"ccc"] {
        bench.serve(message);
    }
    bench.turn();
    assert_eq!(bench.datagram.queued.len(), 3);
    let server = bench.server_addr;
    assert!(bench.datagram.queued.iter().all(|queued| queued.source.is_some_and(|s| s.from == server)));
    bench.program_reads().unwrap();
    bench.program_reads().unwrap();
    bench.datagram.forget_read();
    assert_eq!(bench.datagram.queued.len(), 1);
    bench.program_reads().unwrap();
    bench.datagram.forget_read();
    assert_eq!((bench.datagram.queued.len(), bench.datagram.charged), (0, 0));
}

#[test]
fn a_program_that_does_not_read_stops_the_flow_and_loses_nothing_before_the_stack_does() {
    let mut bench = Bench::new(true);
    let mut sent = 0;
    while bench.datagram.writable && sent < 10_000 {
        bench.serve(&[7; 1000]);
        bench.turn();
        sent += 1;
    }
    assert!(bench.datagram.held.is_some(), "the program's queue was never full");
    let mut read = 0;
    for _ in 0..10_000 {
        if bench.program_reads().is_ok() {
            read += 1;
            continue;
        }
        bench.datagram.writable = true;
        bench.turn();
        if read == sent {
            break;
        }
    }
    assert_eq!(read, sent);
}

#[test]
fn a_refusal_wakes_the_program_and_is_told_once() {
    let mut bench = Bench::new(true);
    bench.stack.close(NOW, bench.server).unwrap();
    bench.program_writes(b"anybody?");
    bench.turn();
    bench.turn();
    let mut buffer = [0_u8; 1];
    assert_eq!(recv(&bench.theirs, &mut buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK), Ok((0, 0)));
    assert_eq!(
        bench.datagram.take_error(&ProgramEnd::new(bench.theirs.try_clone().ok(), None)),
        Some(Error::ConnectionRefused)
    );
    assert_eq!(bench.datagram.take_error(&ProgramEnd::new(bench.theirs.try_clone().ok(), None)), None);
    assert_eq!(bench.program_reads(), Err(SysErrno::AGAIN));
}

#[test]
fn what_was_written_before_the_close_is_sent() {
    let Bench { mut stack, mut pool, server, client, mut datagram, theirs, .. } = Bench::new(true);
    for message in [&b"x"[..], b"", b"y"] {
        send(&theirs, message, SendFlags::DONTWAIT).unwrap();
    }
    drop(theirs);
    (datagram.readable, datagram.closed) = (true, true);
    assert_eq!(datagram.move_outward(&mut stack, &mut pool, NOW, client), Progress::Ended);
    stack.handle_timeout(NOW);
    for message in [&b"x"[..], b"", b"y"] {
        let got = stack.recv_from(NOW, server, StackRecvFlags::default()).unwrap();
        assert_eq!(got.payload.to_vec(), message);
    }
}

#[test]
fn too_long_messages_are_refused_natively() {
    let bench = Bench::new(true);
    assert_eq!(send(&bench.theirs, &vec![0; 65_509], SendFlags::DONTWAIT), Err(SysErrno::MSGSIZE));
    assert_eq!(send(&bench.theirs, &vec![0; 65_507], SendFlags::DONTWAIT), Ok(65_507));
}

#[test]
fn the_end_is_told_from_an_empty_datagram_before_its_event_is_fetched() {
    let (datagram, theirs) = open(SocketType::Datagram, true).unwrap();
    send(&theirs, &[], SendFlags::DONTWAIT).unwrap();
    assert!(!datagram.is_at_end(), "an empty datagram waits");
    recv(&datagram.plug, &mut [0_u8; 1], RecvFlags::DONTWAIT).unwrap();
    drop(theirs);
    assert!(datagram.is_at_end(), "closed");
}

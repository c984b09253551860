//! Two programs that exchange data in a simulation, as a program with `poll` would.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use sockeye::packet::{Chunk, Payload, Rng};
use sockeye::stack::{
    Domain, Error, Event, Owner, RecvFlags, SendFlags, Shutdown, SockAddr, SocketId, SocketType, Stack,
};
use sockeye::{Host, HostConfig, Instant, NetemConfig, NetworkBuilder, Simulation};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Size of the pieces that programs write.
const WRITE: usize = 64 * 1024;

/// Bytes without a pattern, different for each seed.
pub fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::from_u64(seed);
    let mut bytes = Vec::with_capacity(len + 32);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.next_seed());
    }
    bytes.truncate(len);
    bytes
}

/// A capture kept in memory.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    /// All that was written.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Memory {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A program with one connection: it sends all of `data`, ends its direction, and receives until the
/// other direction ends.
pub struct Program {
    pub host: Host,
    pub id: SocketId,
    unsent: VecDeque<Chunk>,
    shut: bool,
    /// What is expected to come.
    expected: Chunk,
    pub received: usize,
    /// When the last byte came.
    pub last_byte_at: Instant,
    pub ended: bool,
    pub error: Option<Error>,
}

impl Program {
    pub fn new(host: &Host, id: SocketId, data: &Chunk, expected: &Chunk) -> Program {
        let pieces = (0..data.len()).step_by(WRITE).map(|at| data.slice(at..data.len().min(at + WRITE)));
        Program {
            host: host.clone(),
            id,
            unsent: pieces.collect(),
            shut: false,
            expected: expected.clone(),
            received: 0,
            last_byte_at: Instant::ZERO,
            ended: false,
            error: None,
        }
    }

    /// Does what the socket is ready for.
    pub fn run(&mut self) {
        let host = self.host.clone();
        host.with_stack(|stack, now| {
            if let Err(error) = self.receive(stack, now).and_then(|()| self.send(stack, now)) {
                self.error.get_or_insert(error);
            }
        });
    }

    fn send(&mut self, stack: &mut Stack, now: Instant) -> Result<(), Error> {
        while !self.unsent.is_empty() {
            match stack.send(now, self.id, &mut self.unsent, SendFlags::default()) {
                Ok(_) => {}
                Err(Error::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if !self.shut {
            self.shut = true;
            stack.shutdown(now, self.id, Shutdown::Write)?;
        }
        Ok(())
    }

    fn receive(&mut self, stack: &mut Stack, now: Instant) -> Result<(), Error> {
        while !self.ended {
            match stack.recv(now, self.id, usize::MAX, RecvFlags::default()) {
                Ok(payload) if payload.is_empty() => self.ended = true,
                Ok(payload) => self.check(&payload, now),
                Err(Error::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn check(&mut self, payload: &Payload, now: Instant) {
        for chunk in payload.chunks() {
            let end = self.received + chunk.len();
            assert!(end <= self.expected.len(), "{} bytes too many", end - self.expected.len());
            assert!(
                self.expected[self.received..end] == chunk[..],
                "wrong bytes in {}..{end}",
                self.received
            );
            self.received = end;
        }
        self.last_byte_at = now;
    }

    /// How far it is, for messages.
    pub fn describe(&self) -> String {
        let Program { host, id, unsent, shut, received, ended, error, .. } = self;
        let unsent = unsent.iter().fold(0, |sum, chunk| sum + chunk.len());
        let tcp = host.with_stack(|stack, now| (stack.readiness(*id), stack.tcp_info(now, *id)));
        let name = host.name();
        format!(
            "{name}: {unsent} bytes unsent, shut {shut}, {received} received, ended {ended}, error {error:?}, {tcp:?}"
        )
    }

    pub fn is_done(&self) -> bool {
        self.shut && self.ended
    }
}

/// What a transfer in both directions at once took.
pub struct Outcome {
    /// From the SYN to the last byte, at the client and at the server.
    pub times: [Duration; 2],
    pub simulation: Simulation,
}

/// Has two hosts send `data` to each other over a link with these conditions each way.
///
/// Fails when bytes are wrong, an error is met, or it takes longer than `limit` of virtual time.
pub fn exchange(
    builder: NetworkBuilder,
    link: NetemConfig,
    data: [&Chunk; 2],
    limit: Duration,
) -> Result<Outcome, String> {
    exchange_from(builder, HostConfig { link: link.into(), ..HostConfig::default() }, data, limit)
}

/// The same, with a client and a link of this sort.
pub fn exchange_from(
    builder: NetworkBuilder,
    client: HostConfig,
    data: [&Chunk; 2],
    limit: Duration,
) -> Result<Outcome, String> {
    let mut simulation = builder
        .host("client", client)
        .host("server", HostConfig::default())
        .simulate()
        .map_err(|error| error.to_string())?;
    let (client, server) = (simulation.host("client").unwrap(), simulation.host("server").unwrap());
    let address = SockAddr::new(server.ipv4().into(), 80);
    let listener = server.with_stack(|stack, now| {
        let id = stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).unwrap();
        stack.bind(id, address).unwrap();
        stack.listen(now, id, 1).unwrap();
        id
    });
    let id = client.with_stack(|stack, now| {
        let id = stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).unwrap();
        assert_eq!(stack.connect(now, id, address), Err(Error::InProgress));
        id
    });
    let mut programs = vec![Program::new(&client, id, data[0], data[1])];
    let done = simulation.run_until(Instant::ZERO + limit, |simulation| {
        while let Some((host, event)) = simulation.network().poll_event() {
            let Event::Ready(id) = event else { continue };
            if (host, id) == (server.id(), listener)
                && let Ok((id, _)) = server.with_stack(|stack, now| stack.accept(now, listener))
            {
                programs.push(Program::new(&server, id, data[1], data[0]));
                programs[1].run();
            }
            programs.iter_mut().filter(|p| (p.host.id(), p.id) == (host, id)).for_each(Program::run);
        }
        programs.iter().any(|p| p.error.is_some())
            || programs.len() == 2 && programs.iter().all(Program::is_done)
    });
    if !done || programs.iter().any(|program| program.error.is_some()) {
        let states: Vec<String> = programs.iter().map(Program::describe).collect();
        return Err(format!("at {}: {}", simulation.now(), states.join("; ")));
    }
    for program in &programs {
        assert_eq!(program.received, program.expected.len(), "{} received too little", program.host.name());
    }
    let times = [0, 1].map(|index| programs[index].last_byte_at.saturating_since(Instant::ZERO));
    Ok(Outcome { times, simulation })
}

//! The machine's sockets through which the forwarder asks.
//!
//! They are watched by an epoll instance of their own, whose descriptor is readable while one of them is ready:
//! whoever turns the resolver watches that. Each try has a socket of its own, connected to the server, so that the
//! kernel chooses a port that can't be guessed, drops what others send, and tells when nobody serves there.

use super::Transport;
use super::forward::{FlightId, Forwarder, ReplyTo, Step};
use super::question::Asked;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use rustix::rand::{GetRandomFlags, getrandom};
use sockeye_packet::Instant;
use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Sockets looked at in one turn, and datagrams read from one of them.
const EVENTS: usize = 64;
const DATAGRAMS: usize = 32;
/// The longest datagram or piece of a stream that is read.
const READ_LEN: usize = 65_535;

/// Asks the machine's name servers.
#[derive(Debug)]
pub(crate) struct Resolver {
    forwarder: Forwarder,
    epoll: OwnedFd,
    /// A flight has one socket at a time.
    links: BTreeMap<FlightId, Link>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Link {
    Datagram(OwnedFd),
    Stream(Stream),
}

#[derive(Debug)]
struct Stream {
    socket: OwnedFd,
    /// What is still to be sent.
    output: Vec<u8>,
    /// What came of the answer, behind its length.
    input: Vec<u8>,
}

impl Resolver {
    /// A resolver that asks these servers, in order.
    pub(crate) fn new(servers: &[SocketAddr]) -> io::Result<Resolver> {
        let mut seed = [0; 32];
        let filled = getrandom(&mut seed, GetRandomFlags::empty())?;
        if filled != seed.len() {
            return Err(io::Error::other("the kernel gave too little randomness"));
        }
        Ok(Resolver {
            forwarder: Forwarder::new(servers, seed),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            links: BTreeMap::new(),
            buffer: vec![0; READ_LEN],
        })
    }

    /// Readable while there is something for [`Resolver::on_ready`].
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Asks other servers from now on.
    pub(crate) fn set_servers(&mut self, servers: &[SocketAddr]) {
        self.forwarder.set_servers(servers);
    }

    /// From now on, names of the outside don't lead into these subnets.
    pub(crate) fn set_own(&mut self, own: Vec<(IpAddr, u8)>) {
        self.forwarder.set_own(own);
    }

    /// Whether somebody who had to wait has an answer.
    pub(crate) fn has_answers(&self) -> bool {
        self.forwarder.has_answers()
    }

    /// Asks for somebody. The answer is returned if it is clear at once, else it comes out of
    /// [`Resolver::poll_answer`].
    pub(crate) fn ask(&mut self, now: Instant, to: ReplyTo, asked: Asked) -> Option<Vec<u8>> {
        let answer = self.forwarder.ask(now, to, asked);
        self.take_steps(now);
        answer
    }

    /// The descriptor is readable.
    pub(crate) fn on_ready(&mut self, now: Instant) {
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A failure shows in what follows: deadlines end every flight.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut buffer, Some(&none)) else { return };
        for event in &*events {
            let id = FlightId(event.data.u64());
            match self.links.get_mut(&id) {
                None => {}
                Some(Link::Datagram(_)) => self.read_datagrams(now, id),
                Some(Link::Stream(stream)) => match stream.advance(&mut self.buffer) {
                    Ok(None) => drop(stream.watch(&self.epoll, id)),
                    Ok(Some(message)) => self.forwarder.on_stream(now, id, &message),
                    Err(_) => self.forwarder.on_failure(now, id),
                },
            }
        }
        self.take_steps(now);
    }

    /// Lets time pass; says when to come back.
    pub(crate) fn on_timeout(&mut self, now: Instant) -> Option<Instant> {
        self.forwarder.handle_timeout(now);
        self.take_steps(now);
        self.forwarder.poll_timeout()
    }

    /// The next answer for somebody who had to wait.
    pub(crate) fn poll_answer(&mut self) -> Option<(ReplyTo, Vec<u8>)> {
        self.forwarder.poll_answer()
    }

    fn read_datagrams(&mut self, now: Instant, id: FlightId) {
        for _ in 0..DATAGRAMS {
            let Some(Link::Datagram(socket)) = self.links.get(&id) else { return };
            match recv(socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((len, _)) => {
                    let message = &self.buffer[..len.min(READ_LEN)];
                    self.forwarder.on_datagram(now, id, message);
                    // Now the flight may be over, or its socket the former one.
                    self.take_steps(now);
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                // Above all ECONNREFUSED: nobody serves there.
                Err(_) => return self.forwarder.on_failure(now, id),
            }
        }
    }

    /// Does what the forwarder wants. Each try that fails at once is one less to come, so this ends.
    fn take_steps(&mut self, now: Instant) {
        while let Some(step) = self.forwarder.poll_step() {
            match step {
                Step::Close(flight) => drop(self.links.remove(&flight)),
                Step::Ask { flight, server, transport, query } => {
                    // The former socket is open meanwhile: the new one has another port for certain.
                    match open(&self.epoll, flight, server, transport, &query) {
                        Ok(link) => drop(self.links.insert(flight, link)),
                        Err(error) => {
                            self.links.remove(&flight);
                            tracing::debug!(%server, ?transport, %error, "can't ask a name server");
                            self.forwarder.on_failure(now, flight);
                        }
                    }
                }
            }
        }
    }
}

/// Opens a flight's socket and asks, as far as that is possible at once.
fn open(
    epoll: &OwnedFd,
    flight: FlightId,
    server: SocketAddr,
    transport: Transport,
    query: &[u8],
) -> io::Result<Link> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if transport == Transport::Udp { SocketType::DGRAM } else { SocketType::STREAM };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let data = epoll::EventData::new_u64(flight.0);
    match transport {
        Transport::Udp => {
            send(&socket, query, SendFlags::NOSIGNAL)?;
            epoll::add(epoll, &socket, data, epoll::EventFlags::IN)?;
            Ok(Link::Datagram(socket))
        }
        Transport::Tcp => {
            epoll::add(epoll, &socket, data, epoll::EventFlags::OUT)?;
            // RFC 1035 §4.2.2: each message follows its length.
            let mut output = (query.len() as u16).to_be_bytes().to_vec();
            output.extend_from_slice(query);
            Ok(Link::Stream(Stream { socket, output, input: Vec::new() }))
        }
    }
}

impl Stream {
    /// Sends and reads what it can; returns the answer once it is whole.
    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
        while !self.output.is_empty() {
            match send(&self.socket, &self.output, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        loop {
            if let Some((len, rest)) = self.input.split_first_chunk::<2>()
                && let Some(message) = rest.get(..u16::from_be_bytes(*len).into())
            {
                return Ok(Some(message.to_vec()));
            }
            match recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // At most a message's length and a read.
                Ok((len, _)) => self.input.extend_from_slice(&buffer[..len]),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Watches for what it waits for.
    fn watch(&self, epoll: &OwnedFd, flight: FlightId) -> rustix::io::Result<()> {
        let events = if self.output.is_empty() { epoll::EventFlags::IN } else { epoll::EventFlags::OUT };
        epoll::modify(epoll, &self.socket, epoll::EventData::new_u64(flight.0), events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::forward::tests::reply_to;
    use crate::dns::response::tests::{answer_to, asked};
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::serialize::binary::BinDecodable;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::io::{Read, Write};
    use std::net::{TcpListener, UdpSocket};

    const NOW: Instant = Instant::ZERO;

    /// Turns the resolver until the answer is there, which time alone will not bring.
    fn answer(resolver: &mut Resolver) -> Message {
        loop {
            if let Some((_, answer)) = resolver.poll_answer() {
                return Message::from_bytes(&answer).unwrap();
            }
            poll(&mut [PollFd::new(&resolver.fd(), PollFlags::IN)], None).unwrap();
            resolver.on_ready(NOW);
        }
    }

    /// A server whose datagrams are always cut, and which treats each stream as told.
    fn server(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> SocketAddr {
        let (udp, tcp) = std::iter::repeat_with(|| {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            TcpListener::bind(udp.local_addr().unwrap()).map(|tcp| (udp, tcp))
        })
        .find_map(Result::ok)
        .unwrap();
        let addr = udp.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut query = [0; 600];
            while let Ok((len, from)) = udp.recv_from(&mut query) {
                let cut = answer_to(&query[..len], 0, 0).truncate();
                udp.send_to(&cut.to_vec().unwrap(), from).unwrap();
                if let Ok((stream, _)) = tcp.accept() {
                    serve(stream);
                }
            }
        });
        addr
    }

    fn read_query(stream: &mut std::net::TcpStream) -> Vec<u8> {
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        let mut query = vec![0; u16::from_be_bytes(len).into()];
        stream.read_exact(&mut query).unwrap();
        query
    }

    #[test]
    fn streams_that_end_early_are_failures_and_the_next_server_is_asked() {
        let silent = server(drop);
        let curt = server(|mut stream| {
            read_query(&mut stream);
            stream.write_all(&[0, 100, 1, 2, 3]).unwrap();
        });
        let good = server(|mut stream| {
            let answer = answer_to(&read_query(&mut stream), 250, 60).to_vec().unwrap();
            stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        });
        let mut resolver = Resolver::new(&[silent, curt]).unwrap();
        assert_eq!(resolver.ask(NOW, reply_to(1), asked("example.")), None);
        assert_eq!(answer(&mut resolver).metadata.response_code, ResponseCode::ServFail);
        assert!(resolver.links.is_empty() && resolver.on_timeout(NOW).is_none());
        resolver.set_servers(&[curt, good]);
        assert_eq!(resolver.ask(NOW, reply_to(1), asked("example.")), None);
        let answer = answer(&mut resolver);
        assert_eq!(
            (answer.metadata.response_code, answer.metadata.truncation),
            (ResponseCode::NoError, true)
        );
        assert!(resolver.links.is_empty());
    }

    #[test]
    fn nobody_at_the_port_is_known_at_once() {
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut resolver = Resolver::new(&[nobody]).unwrap();
        assert_eq!(resolver.ask(NOW, reply_to(1), asked("example.")), None);
        assert_eq!(answer(&mut resolver).metadata.response_code, ResponseCode::ServFail);
    }

    #[test]
    fn a_silent_server_costs_its_time_and_no_more() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut resolver = Resolver::new(&[silent.local_addr().unwrap()]).unwrap();
        resolver.ask(NOW, reply_to(1), asked("example."));
        let mut sources = Vec::new();
        let mut due = resolver.on_timeout(NOW);
        while let Some(now) = due {
            sources.push(silent.recv_from(&mut [0; 600]).unwrap().1);
            due = resolver.on_timeout(now);
        }
        assert_eq!(sources.len(), 2);
        assert_ne!(sources[0], sources[1], "a port for each try");
        assert_eq!(answer(&mut resolver).metadata.response_code, ResponseCode::ServFail);
        assert!(resolver.links.is_empty());
    }
}

//! The network's name server: a query's bytes in, the answer's bytes out (RFC 1035, 6891).
//!
//! [`Names`] answers from the [`Zone`] what is the network's own, and has a resolver ask the machine's name servers
//! for the rest, if that is wanted: [`forward`] says whom to ask when, [`upstream`] has the machine's sockets,
//! [`cache`] what is known already. [`service`] holds the sockets on the network's hosts. Queries come from programs
//! and may be any bytes; what can't be understood is answered with FORMERR or, where it isn't even a query, not at all.

mod cache;
mod forward;
mod question;
mod resolv_conf;
mod response;
pub(crate) mod service;
mod upstream;
mod zone;

pub(crate) use forward::ReplyTo;
pub(crate) use resolv_conf::{ResolvConf, ResolvFile};
pub(crate) use zone::Zone;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use question::Asked;
use sockeye_packet::Instant;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use upstream::Resolver;
use zone::Found;

/// The port of name servers.
pub(crate) const PORT: u16 = 53;
/// How long an answer may be kept, in seconds: hosts may come and go.
const TTL: u32 = 5;
/// The longest answer over UDP to who doesn't ask for more (RFC 1035 §4.2.1).
const UDP_DEFAULT: usize = 512;
/// The longest answer over UDP at all, which is also what we say we can take (RFC 6891 §6.2.5).
const UDP_MAX: u16 = 1232;
/// Length of the header.
const HEADER_LEN: usize = 12;

/// How a query came, and so how long its answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In a datagram: 512 bytes, or what EDNS allows.
    Udp,
    /// In a stream: 65,535 bytes.
    Tcp,
}

/// What becomes of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// This answer.
    Now(Vec<u8>),
    /// Another name server is asked; the answer comes out of [`Names::poll_answer`].
    Later,
    /// There is nothing to answer.
    Nothing,
}

/// All names that can be asked for: the network's own, and through a resolver those of the world outside.
#[derive(Debug)]
pub(crate) struct Names {
    /// The network's names.
    pub(crate) zone: Zone,
    /// Who asks outside; without one other names don't exist.
    resolver: Option<Resolver>,
    /// Where the resolver's servers stand, unless they were given.
    file: Option<ResolvFile>,
}

impl Names {
    /// The names of the network alone.
    pub(crate) fn new(zone: Zone) -> Names {
        Names { zone, resolver: None, file: None }
    }

    /// From now on, asks others for what the zone doesn't have: these servers, or those of the machine's
    /// resolv.conf. Whoever turns this must watch [`Names::fd`].
    pub(crate) fn forward(&mut self, now: Instant, servers: Option<&[SocketAddr]>) -> io::Result<()> {
        let (servers, file) = if let Some(servers) = servers {
            (servers.to_vec(), None)
        } else {
            let (file, conf) = ResolvFile::of_this_machine(now);
            (conf.sockets(), Some(file))
        };
        self.file = file;
        if let Some(resolver) = &mut self.resolver {
            resolver.set_servers(&servers);
        } else {
            let mut resolver = Resolver::new(&servers)?;
            resolver.set_own(self.zone.subnets());
            self.resolver = Some(resolver);
        }
        Ok(())
    }

    /// While this is readable, [`Names::on_ready`] has something to do. It stays the same.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.resolver.as_ref().map(Resolver::fd)
    }

    /// Answers a query. `to` is where its answer would go later.
    pub(crate) fn answer(&mut self, now: Instant, query: &[u8], transport: Transport, to: ReplyTo) -> Reply {
        let Some(header) = query.first_chunk::<HEADER_LEN>() else { return Reply::Nothing };
        // QR: a response is not answered, or two servers could talk for ever.
        if header[2] & 0x80 != 0 {
            return Reply::Nothing;
        }
        let answer = if let Ok(query) = Message::from_bytes(query) {
            if let Some(reply) = self.ask_outside(now, &query, transport, to) {
                return reply;
            }
            answer(&query, &self.zone, transport)
        } else {
            let id = u16::from_be_bytes([header[0], header[1]]);
            let op_code = OpCode::from_u8(header[2] >> 3 & 0xf);
            Message::error_msg(id, op_code, ResponseCode::FormErr).to_vec().ok()
        };
        answer.map_or(Reply::Nothing, Reply::Now)
    }

    /// Asks others, if the query is for them.
    fn ask_outside(
        &mut self,
        now: Instant,
        query: &Message,
        transport: Transport,
        to: ReplyTo,
    ) -> Option<Reply> {
        let resolver = self.resolver.as_mut()?;
        if let Some(conf) = self.file.as_mut().and_then(|file| file.changed(now)) {
            resolver.set_servers(&conf.sockets());
            self.zone.set_search(&conf.search);
        }
        if query.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
            return None;
        }
        let asked = Asked::from_message(query, transport)?;
        let name = query.queries.first()?.name();
        if self.zone.find(name) != Found::Outside {
            return None;
        }
        Some(resolver.ask(now, to, asked).map_or(Reply::Later, Reply::Now))
    }

    /// The resolver's descriptor is readable.
    pub(crate) fn on_ready(&mut self, now: Instant) {
        if let Some(resolver) = &mut self.resolver {
            resolver.on_ready(now);
        }
    }

    /// Lets time pass; says when to come back.
    pub(crate) fn on_timeout(&mut self, now: Instant) -> Option<Instant> {
        self.resolver.as_mut()?.on_timeout(now)
    }

    /// Whether there is an answer that somebody had to wait for.
    pub(crate) fn has_answers(&self) -> bool {
        self.resolver.as_ref().is_some_and(Resolver::has_answers)
    }

    /// The next answer that somebody had to wait for.
    pub(crate) fn poll_answer(&mut self) -> Option<(ReplyTo, Vec<u8>)> {
        self.resolver.as_mut()?.poll_answer()
    }
}

/// The zone's answer to a query.
fn answer(query: &Message, zone: &Zone, transport: Transport) -> Option<Vec<u8>> {
    let mut response = respond(query, zone);
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX).set_rcode_high(response.metadata.response_code.high());
        response.set_edns(edns);
    }
    let bytes = response.to_vec().ok()?;
    if bytes.len() <= limit(query, transport) { Some(bytes) } else { response.truncate().to_vec().ok() }
}

/// The longest answer that a query allows.
fn limit(query: &Message, transport: Transport) -> usize {
    match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => {
            let asked = query.edns.as_ref().map_or(UDP_DEFAULT, |edns| edns.max_payload().into());
            asked.clamp(UDP_DEFAULT, UDP_MAX.into())
        }
    }
}

fn respond(query: &Message, zone: &Zone) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.message_type = MessageType::Response;
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    response.metadata.response_code = match (query.metadata.op_code, query.queries.as_slice()) {
        _ if query.edns.as_ref().is_some_and(|edns| edns.version() != 0) => ResponseCode::BADVERS,
        (OpCode::Query, [question]) => resolve(question, zone, &mut response),
        (OpCode::Query, _) => ResponseCode::FormErr,
        _ => ResponseCode::NotImp,
    };
    response
}

/// Appends what the zone knows. No records with `NoError` means: the name exists, this type doesn't.
fn resolve(question: &Query, zone: &Zone, response: &mut Message) -> ResponseCode {
    if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        return ResponseCode::Refused;
    }
    let name = question.name();
    let found = zone.find(name);
    if matches!(found, Found::Nobody | Found::Outside) {
        return ResponseCode::NXDomain;
    }
    response.metadata.authoritative = true;
    let wanted = |kind| matches!(question.query_type(), RecordType::ANY) || question.query_type() == kind;
    let mut add = |data| {
        response.add_answer(Record::from_rdata(name.clone(), TTL, data));
    };
    match found {
        Found::Host(addresses) => {
            for address in addresses {
                match address {
                    IpAddr::V4(v4) if wanted(RecordType::A) => add(RData::A(A(*v4))),
                    IpAddr::V6(v6) if wanted(RecordType::AAAA) => add(RData::AAAA(AAAA(*v6))),
                    _ => {}
                }
            }
        }
        Found::Address(host) if wanted(RecordType::PTR) => {
            // Hosts' names are names: the network checks them.
            if let Ok(host) = Name::from_ascii(host).and_then(|host| host.append_domain(&Name::root())) {
                add(RData::PTR(PTR(host)));
            }
        }
        Found::Address(_) | Found::Nobody | Found::Outside => {}
    }
    ResponseCode::NoError
}

#[cfg(test)]
mod tests;

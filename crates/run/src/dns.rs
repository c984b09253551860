//! The network's name server: a query's bytes in, the answer's bytes out (RFC 1035, 6891).
//!
//! [`answer`] knows the names of the network's own hosts and nothing else: other names don't exist
//! (forwarding them will be the gateway's business, at the one place marked in [`resolve`]).
//! [`service`] holds the sockets. Queries come from programs and may be any bytes; what can't be understood
//! is answered with FORMERR or, where it isn't even a query, not at all.

pub(crate) mod service;
mod zone;

pub(crate) use zone::{ResolvConf, Zone};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use std::net::IpAddr;

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

/// The answer to a query, or none where there is nothing to answer.
pub(crate) fn answer(query: &[u8], zone: &Zone, transport: Transport) -> Option<Vec<u8>> {
    let header = query.first_chunk::<HEADER_LEN>()?;
    // QR: a response is not answered, or two servers could talk for ever.
    if header[2] & 0x80 != 0 {
        return None;
    }
    let Ok(query) = Message::from_bytes(query) else {
        let id = u16::from_be_bytes([header[0], header[1]]);
        let op_code = OpCode::from_u8(header[2] >> 3 & 0xf);
        return Message::error_msg(id, op_code, ResponseCode::FormErr).to_vec().ok();
    };
    let mut response = respond(&query, zone);
    let limit = match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => {
            let asked = query.edns.as_ref().map_or(UDP_DEFAULT, |edns| edns.max_payload().into());
            asked.clamp(UDP_DEFAULT, UDP_MAX.into())
        }
    };
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX).set_rcode_high(response.metadata.response_code.high());
        response.set_edns(edns);
    }
    let bytes = response.to_vec().ok()?;
    if bytes.len() <= limit { Some(bytes) } else { response.truncate().to_vec().ok() }
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
    let Some(found) = find(name, zone) else {
        // A name outside the zone: once there is a way out of the network, it is asked there.
        return ResponseCode::NXDomain;
    };
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
        Found::Address(host) if wanted(RecordType::PTR) => add(RData::PTR(PTR(host))),
        Found::Address(_) => {}
    }
    ResponseCode::NoError
}

enum Found<'a> {
    Host(&'a [IpAddr]),
    Address(Name),
}

fn find<'a>(name: &Name, zone: &'a Zone) -> Option<Found<'a>> {
    if let Some(address) = reverse_address(name) {
        let host = Name::from_ascii(zone.reverse(address)?).ok()?;
        return Some(Found::Address(host.append_domain(&Name::root()).ok()?));
    }
    zone.lookup(&name.to_ascii()).map(Found::Host)
}

/// The address that a name under in-addr.arpa or ip6.arpa spells in full.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let whole = matches!(name.iter().count(), 6 | 34);
    whole.then(|| name.parse_arpa_name().ok()).flatten().map(|network| network.addr())
}

#[cfg(test)]
mod tests;

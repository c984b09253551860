//! What becomes of a program's requests, as `rtnetlink` of Linux answers somebody who may change nothing.

use super::describe::{address, link, rules};
use super::host::{Interface, interfaces};
use super::refusal::Refusal;
use super::request::{Request, requests};
use super::{neighbours, routes};
use netlink_packet_core::{
    DoneMessage, ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_FILTERED,
    NLM_F_MULTIPART, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use sockeye_posix::Errno;
use sockeye_stack::Stack;
use std::num::NonZeroI32;

/// The longest message of a dump, as of a kernel with pages of 4 KiB (`NLMSG_GOODSIZE`): the C library reads
/// into one page, and gives up when that is too short.
pub(super) const MESSAGE_LEN: usize = 3776;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The highest request there is (`RTM_MAX`).
const LAST_REQUEST: u16 = 123;
/// Requests that libc doesn't name.
const RTM_GETMDB: u16 = 86;
const RTM_GETVLAN: u16 = 114;
const RTM_GETTUNNEL: u16 = 122;
/// Headers of requests about interfaces and addresses.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
/// Attributes that name an interface or an address.
const IFLA_IFNAME: u16 = 3;
const IFLA_ALT_IFNAME: u16 = 53;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Who asks, and how it wants to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asker {
    /// The port of its socket.
    pub(super) port: u32,
    /// `NETLINK_CAP_ACK`: errors don't repeat the request.
    pub(super) capped: bool,
    /// `NETLINK_EXT_ACK`: errors are explained.
    pub(super) explained: bool,
    /// `NETLINK_GET_STRICT_CHK`: dumps heed what they are asked for.
    pub(super) strict: bool,
}

/// What a request comes to.
#[derive(Debug)]
enum Answer {
    One(RouteNetlinkMessage),
    Dump { messages: Vec<RouteNetlinkMessage>, filtered: bool },
    Nothing,
}

/// Answers all requests in what a program wrote, one message after the other through `put`, until that says
/// that there is no room for more.
pub(super) fn respond(stack: &mut Stack, asker: Asker, bytes: &[u8], put: &mut dyn FnMut(&[u8]) -> bool) {
    for request in requests(bytes) {
        let answer = if request.asks() { answer(stack, asker, &request) } else { Ok(Answer::Nothing) };
        let reply = Reply::new(asker, request);
        let fits = match answer {
            // The end of a dump is its acknowledgment.
            Ok(Answer::Dump { messages, filtered }) => reply.dump(messages, filtered, put),
            Ok(Answer::One(message)) => {
                put(&reply.message(NetlinkPayload::InnerMessage(message), 0))
                    && reply.acknowledge(Ok(()), put)
            }
            Ok(Answer::Nothing) => reply.acknowledge(Ok(()), put),
            Err(refusal) => reply.acknowledge(Err(refusal), put),
        };
        if !fits {
            return;
        }
    }
}

/// The kinds of request, by the last two bits of their number.
const GET: u16 = 2;

fn answer(stack: &mut Stack, asker: Asker, request: &Request<'_>) -> Result<Answer, Refusal> {
    if request.kind > LAST_REQUEST {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let Some(family) = request.family() else { return Ok(Answer::Nothing) };
    if request.kind % 4 != GET {
        return Err(Errno::EPERM.into());
    }
    if request.flags & NLM_F_DUMP != 0 {
        return dump(stack, asker, request, family).map_err(Refusal::from);
    }
    let v4 = family == libc::AF_INET;
    match (request.kind, family) {
        (libc::RTM_GETLINK, _) => Ok(one_link(stack, request)?),
        (libc::RTM_GETROUTE, libc::AF_INET | libc::AF_INET6) => {
            Ok(Answer::One(routes::lookup(stack, request, v4)?))
        }
        (libc::RTM_GETADDR, libc::AF_INET6) => Ok(one_address(stack, request)?),
        (libc::RTM_GETNEIGH, libc::AF_BRIDGE) => Err(Errno::ENOENT.into()),
        (libc::RTM_GETNEIGH, _) => Err(neighbours::refuse(stack, request)),
        // So are rules, which Linux only lists.
        _ => Err(Errno::EOPNOTSUPP.into()),
    }
}

fn dump(stack: &Stack, asker: Asker, request: &Request<'_>, family: i32) -> Result<Answer, Errno> {
    // A family that has no such thing gets everybody's.
    let of = |own: i32| family == own || !matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_BRIDGE);
    let families =
        || [(true, libc::AF_INET), (false, libc::AF_INET6)].into_iter().filter(|&(_, own)| of(own));
    let mut filtered = false;
    let messages = match request.kind {
        libc::RTM_GETLINK if family != libc::AF_BRIDGE => interfaces(stack).iter().map(link).collect(),
        libc::RTM_GETADDR => {
            let index = request.field(4).filter(|&index| asker.strict && index != 0);
            filtered = index.is_some();
            let interfaces = interfaces(stack);
            if index.is_some_and(|index| !interfaces.iter().any(|interface| interface.index() == index)) {
                return Err(Errno::ENODEV);
            }
            let wanted = |interface: &&Interface| index.is_none_or(|index| index == interface.index());
            let wanted: Vec<_> = interfaces.iter().filter(wanted).collect();
            families().flat_map(|(v4, _)| addresses(&wanted, v4)).collect()
        }
        libc::RTM_GETROUTE if !routes::asks_for_clones(request) => {
            let filter = if asker.strict { routes::Filter::of(request)? } else { routes::Filter::default() };
            filtered = filter.is_some();
            families().flat_map(|(v4, _)| routes::table(stack, v4, filter)).collect()
        }
        libc::RTM_GETRULE => families().flat_map(|(v4, _)| rules(v4)).collect(),
        kind if !can_be_listed(kind, family) => return Err(Errno::EOPNOTSUPP),
        _ => Vec::new(),
    };
    Ok(Answer::Dump { messages, filtered })
}

/// Whether Linux has lists of this kind, of those that have nothing in them here.
fn can_be_listed(kind: u16, family: i32) -> bool {
    match kind {
        libc::RTM_GETMULTICAST => matches!(family, libc::AF_INET | libc::AF_INET6),
        libc::RTM_GETANYCAST | libc::RTM_GETADDRLABEL => family == libc::AF_INET6,
        RTM_GETMDB | RTM_GETTUNNEL => family == libc::AF_BRIDGE,
        // The last are numbers that no kind of object has a list for.
        libc::RTM_GETDCB | RTM_GETVLAN | 54 | 70 | 98 | 110 => false,
        _ => true,
    }
}

fn addresses(interfaces: &[&Interface], v4: bool) -> Vec<RouteNetlinkMessage> {
    let all = interfaces.iter().flat_map(|interface| {
        let of_family = interface.addresses.iter().filter(move |(ip, _)| ip.is_ipv4() == v4);
        of_family.map(move |&(ip, prefix)| address(interface, ip, prefix))
    });
    all.collect()
}

/// The interface of a number or a name.
fn one_link(stack: &Stack, request: &Request<'_>) -> Result<Answer, Errno> {
    let index = request.field(4).ok_or(Errno::EINVAL)? as i32;
    let name = || {
        let name =
            [IFLA_IFNAME, IFLA_ALT_IFNAME].into_iter().find_map(|kind| request.attribute(LINK_HEADER, kind));
        name.map(|name| name.split(|&byte| byte == 0).next().unwrap_or_default())
    };
    let interfaces = interfaces(stack);
    let found = match (index, name()) {
        (1.., _) => interfaces.iter().find(|interface| interface.index() as i32 == index),
        (_, Some(name)) => interfaces.iter().find(|interface| interface.name.as_bytes() == name),
        (_, None) => return Err(Errno::EINVAL),
    };
    found.map(|interface| Answer::One(link(interface))).ok_or(Errno::ENODEV)
}

/// What is known of an IPv6 address.
fn one_address(stack: &Stack, request: &Request<'_>) -> Result<Answer, Errno> {
    let asked = |kind| request.address(ADDRESS_HEADER, kind, false).map_err(|_| Errno::EINVAL);
    let ip = match asked(IFA_LOCAL)? {
        Some(ip) => ip,
        None => asked(IFA_ADDRESS)?.ok_or(Errno::EINVAL)?,
    };
    let interfaces = interfaces(stack);
    let found = interfaces.iter().find_map(|interface| {
        let own = interface.addresses.iter().find(|&&(own, _)| own == ip);
        own.map(|&(ip, prefix)| address(interface, ip, prefix))
    });
    found.map(Answer::One).ok_or(Errno::EADDRNOTAVAIL)
}

/// The answers to one request.
pub(super) struct Reply<'a> {
    asker: Asker,
    request: Request<'a>,
}

impl<'a> Reply<'a> {
    pub(super) fn new(asker: Asker, request: Request<'a>) -> Reply<'a> {
        Reply { asker, request }
    }

    fn message(&self, payload: NetlinkPayload<RouteNetlinkMessage>, flags: u16) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.request.sequence;
        header.port_number = self.asker.port;
        header.flags = flags;
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
        message.serialize(&mut bytes);
        bytes
    }

    /// As many messages in one as fit, with the end behind the last.
    fn dump(
        &self,
        messages: Vec<RouteNetlinkMessage>,
        filtered: bool,
        put: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool {
        let flags = NLM_F_MULTIPART | if filtered { NLM_F_DUMP_FILTERED } else { 0 };
        let parts = messages.into_iter().map(NetlinkPayload::InnerMessage);
        let parts = parts.chain([NetlinkPayload::Done(DoneMessage::default())]);
        let mut together = Vec::new();
        for part in parts {
            let part = self.message(part, flags);
            if !together.is_empty() && together.len() + part.len() > MESSAGE_LEN {
                if !put(&together) {
                    return false;
                }
                together.clear();
            }
            together.extend_from_slice(&part);
        }
        put(&together)
    }

    /// How a request fared: that it was carried out is told only who asks.
    pub(super) fn acknowledge(
        &self,
        outcome: Result<(), Refusal>,
        put: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool {
        if outcome.is_ok() && self.request.flags & NLM_F_ACK == 0 {
            return true;
        }
        let capped = outcome.is_ok() || self.asker.capped;
        let mut flags = if capped { NLM_F_CAPPED } else { 0 };
        let mut error = ErrorMessage::default();
        let len = if capped { HEADER } else { self.request.whole.len() };
        error.header = self.request.whole[..len].to_vec();
        if let Err(refusal) = outcome {
            error.code = NonZeroI32::new(-refusal.errno.0);
            let more = if self.asker.explained { refusal.attributes() } else { Vec::new() };
            if !more.is_empty() {
                flags |= NLM_F_ACK_TLVS;
                error.header.resize(len.next_multiple_of(4), 0);
                error.header.extend(more);
            }
        }
        put(&self.message(NetlinkPayload::Error(error), flags))
    }
}

#[cfg(test)]
mod tests;

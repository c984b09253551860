//! TCP, UDP, UDP-Lite and raw sockets in lists.

use super::super::request::Request;
use super::super::work::Work;
use super::bytecode::{Bytecode, Subject};
use super::{Host, Plugged, Wanted, attribute, words};
use netlink_packet_core::NLM_F_DUMP;
use sockeye_posix::Errno;
use sockeye_posix::address::{interface_index, nic_of_index};
use sockeye_posix::options;
use sockeye_posix::sock_diag::attribute::{
    CLASS_ID, CONG, INFO, MEMINFO, PROTOCOL, SHUTDOWN, SKMEMINFO, SKV6ONLY, SOCKOPT, TCLASS, TOS,
};
use sockeye_posix::sock_diag::{
    BOUND_INACTIVE, InetMessage, InetRequest, LISTEN, SocketIdentity, request, state_number,
};
use sockeye_posix::tcp_info;
use sockeye_stack::{
    Domain, OptionName, Protocol, Readiness, SocketId, SocketOption, SocketReport, SocketType,
    SurveyQuestion, SurveyTimerKind, TcpState,
};
use std::time::Duration;

/// The longest message of one socket.
pub(super) const MESSAGE_MAX: usize = 768;
/// The number under which raw sockets are listed, whatever their protocol.
const RAW: u32 = libc::IPPROTO_RAW as u32;
/// Length of `struct inet_diag_req` up to its states.
const OLD_STATES: usize = 52;

/// What a request asks for. A protocol that there is none of is an empty list, whose end says so.
pub(super) fn wanted(asked: &Request<'_>, work: &mut Work) -> Result<Wanted, Errno> {
    let request = InetRequest::parse(asked.body).ok_or(Errno::EINVAL)?;
    let protocol = asked.number(InetRequest::SIZE, request::PROTOCOL).unwrap_or(request.protocol.into());
    with_filter(asked, InetRequest::SIZE, (request, protocol), work)
}

fn with_filter(
    asked: &Request<'_>,
    offset: usize,
    (request, protocol): (InetRequest, u32),
    work: &mut Work,
) -> Result<Wanted, Errno> {
    // As the kernel: who asks for one socket may have any filter.
    let filter = asked.attribute(offset, request::BYTECODE).filter(|_| asked.flags & NLM_F_DUMP != 0);
    let filter = filter.map(|program| Bytecode::new(program, work)).transpose()?;
    let known = [libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_UDPLITE, libc::IPPROTO_RAW];
    // A socket of MPTCP there never is, but the list.
    let known = known.into_iter().chain([libc::IPPROTO_MPTCP]).any(|number| number as u32 == protocol);
    if known { Ok(Wanted::Inet { request, protocol, filter }) } else { Ok(Wanted::Nothing(Errno::ENOENT)) }
}

/// The same of a `struct inet_diag_req`, for TCP alone.
pub(super) fn wanted_of_old(asked: &Request<'_>, work: &mut Work) -> Result<Wanted, Errno> {
    let (&[family, _, _, wanted], rest) = asked.body.split_first_chunk().ok_or(Errno::EINVAL)?;
    let mut bytes = [0; InetRequest::SIZE];
    bytes[..4].copy_from_slice(&[family, libc::IPPROTO_TCP as u8, wanted, 0]);
    // Behind the identity: states, and a number that nobody uses.
    let (id, states) = rest.split_at_checked(OLD_STATES - 4).ok_or(Errno::EINVAL)?;
    let states: &[u8; 8] = states.first_chunk().ok_or(Errno::EINVAL)?;
    bytes[4..8].copy_from_slice(&states[..4]);
    bytes[8..].copy_from_slice(id);
    let request = InetRequest::parse(&bytes).ok_or(Errno::EINVAL)?;
    with_filter(asked, OLD_STATES + 8, (request, libc::IPPROTO_TCP as u32), work)
}

/// The protocol by which lists know a socket; none for those that no list has.
fn protocol_of(kind: SocketType) -> Option<u32> {
    Some(match kind {
        SocketType::Stream => libc::IPPROTO_TCP as u32,
        SocketType::Datagram => libc::IPPROTO_UDP as u32,
        SocketType::DatagramLite => libc::IPPROTO_UDPLITE as u32,
        SocketType::Raw(_) => RAW,
        SocketType::Ping | SocketType::Packet { .. } => return None,
    })
}

fn family_of(domain: Domain) -> i32 {
    match domain {
        Domain::Inet => libc::AF_INET,
        Domain::Inet6 => libc::AF_INET6,
        Domain::Packet => libc::AF_PACKET,
    }
}

/// The state by which a request asks for a socket; none for one that isn't in Linux's tables.
fn asked_state(report: &SocketReport) -> Option<u8> {
    let bound = report.local.port != 0;
    match report.kind {
        _ if report.listening => Some(LISTEN),
        SocketType::Stream if report.state == TcpState::Closed => bound.then_some(BOUND_INACTIVE),
        SocketType::Datagram | SocketType::DatagramLite => bound.then(|| state_number(report.state)),
        _ => Some(state_number(report.state)),
    }
}

fn identity(report: &SocketReport) -> SocketIdentity {
    let id = SocketIdentity::new(report.domain, report.local, report.peer);
    SocketIdentity { interface: report.nic.map_or(id.interface, interface_index), ..id }
}

/// Whether a socket is in a list.
pub(super) fn is_wanted(
    request: &InetRequest,
    protocol: u32,
    filter: Option<&Bytecode>,
    report: &SocketReport,
    work: &mut Work,
) -> bool {
    let id = identity(report);
    let asked = &request.id;
    let subject = Subject { family: request.family, id: &id, port_named: report.port_named };
    protocol_of(report.kind) == Some(protocol)
        && family_of(report.domain) == i32::from(request.family)
        && asked_state(report).is_some_and(|state| request.states & 1 << state != 0)
        && (asked.local_port == 0 || asked.local_port == id.local_port)
        && (asked.peer_port == 0 || asked.peer_port == id.peer_port)
        && filter.is_none_or(|filter| filter.takes(subject, work))
}

/// The one socket that a request names.
pub(super) fn find(
    host: &Host<'_>,
    request: &InetRequest,
    protocol: u32,
    work: &mut Work,
) -> Result<SocketReport, Errno> {
    let domain = match i32::from(request.family) {
        libc::AF_INET => Domain::Inet,
        libc::AF_INET6 => Domain::Inet6,
        _ => return Err(Errno::EINVAL),
    };
    let kind = match protocol as i32 {
        libc::IPPROTO_TCP => SocketType::Stream,
        libc::IPPROTO_UDP => SocketType::Datagram,
        libc::IPPROTO_UDPLITE => SocketType::DatagramLite,
        libc::IPPROTO_RAW => SocketType::Raw(Protocol(request.raw_protocol)),
        _ => return Err(Errno::ENOENT),
    };
    let [mut local, mut peer] = request.id.addresses(domain);
    if matches!(kind, SocketType::Datagram | SocketType::DatagramLite) {
        // As the kernel: it asks as a datagram would that comes in.
        std::mem::swap(&mut local, &mut peer);
    }
    let question = SurveyQuestion { kind, domain, local, peer, nic: nic_of_index(request.id.interface) };
    let mut looked = 0;
    let report = host.stack.survey_one(host.now, &question, &mut looked);
    work.look(looked);
    let report = report.filter(|report| asked_state(report).is_some()).ok_or(Errno::ENOENT)?;
    let cookie = host.plugged(report.socket).cookie;
    if ![SocketIdentity::ANY_COOKIE, cookie].contains(&request.id.cookie) {
        return Err(Errno::ENOENT);
    }
    Ok(report)
}

/// A socket as it is told.
pub(super) fn message(host: &Host<'_>, request: &InetRequest, report: &SocketReport) -> Vec<u8> {
    let plugged = host.plugged(report.socket);
    let ownerless = report.socket.is_none();
    // The kernel keeps only as much of these as of connections in TIME-WAIT.
    let resting = ownerless && matches!(report.state, TcpState::FinWait2 | TcpState::TimeWait);
    let state = if report.listening { LISTEN } else { state_number(report.state) };
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let queues = queues(report, &plugged);
    let timer = report.timer;
    let timer_kind = match timer.map(|timer| timer.kind) {
        Some(_) if resting => SurveyTimerKind::TimeWait as u8,
        kind => kind.map_or(0, |kind| kind as u8),
    };
    let head = InetMessage {
        family: family_of(report.domain) as u8,
        state,
        timer: timer_kind,
        tries: timer.map_or(0, |timer| timer.tries),
        id: SocketIdentity { cookie: plugged.cookie, ..identity(report) },
        expires: timer.map_or(0, |timer| millis(timer.left)),
        recv_queue: count(queues[0]),
        send_queue: count(queues[1]),
        uid: report.socket.and_then(|id| host.stack.owner(id).ok()).map_or(0, |owner| owner.uid),
        inode: plugged.inode,
    };
    let mut body = head.to_bytes().to_vec();
    if resting || report.state == TcpState::SynReceived && ownerless {
        return body;
    }
    common(host, request, report, &mut body);
    memory(host, request, report, queues, &mut body);
    if let SocketType::Raw(protocol) = report.kind {
        attribute(&mut body, PROTOCOL, &[protocol.0]);
    }
    if report.kind == SocketType::Stream {
        connection(host, request, report, &mut body);
    }
    body
}

/// What waits to be read, and to be sent, in the stack and in the plug.
pub(super) fn queues(report: &SocketReport, plugged: &Plugged) -> [usize; 2] {
    [report.recv_queued + plugged.waiting[0], report.send_queued + plugged.waiting[1]]
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// An option of a socket, as a number.
fn number(host: &Host<'_>, id: Option<SocketId>, name: OptionName) -> Option<u32> {
    let option = host.stack.get_option(id?, name).ok()?;
    let value = options::answer(libc::SOL_SOCKET, option);
    let bytes = value.cut_to(4).ok()?;
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// What every socket has.
fn common(host: &Host<'_>, request: &InetRequest, report: &SocketReport, body: &mut Vec<u8>) {
    let id = report.socket;
    attribute(body, SHUTDOWN, &[shut(host, report)]);
    let tos = number(host, id, OptionName::Tos).unwrap_or(0) as u8;
    if request.wants(TOS) {
        attribute(body, TOS, &[tos]);
    }
    if report.domain == Domain::Inet6 {
        if request.wants(TCLASS) {
            attribute(body, TCLASS, &[tos]);
        }
        if report.state == TcpState::Closed {
            let v6_only = number(host, id, OptionName::V6Only).unwrap_or(0) as u8;
            attribute(body, SKV6ONLY, &[v6_only]);
        }
    }
    if request.wants(TCLASS) {
        words(body, CLASS_ID, &[0]);
    }
    // `struct inet_diag_sockopt`.
    let flag = |name, bit: u32| number(host, id, name).map_or(0, |value| u32::from(value != 0) << bit);
    let flags = flag(OptionName::RecvErr, 0)
        | u32::from(report.kind == SocketType::Stream) << 1
        | flag(OptionName::FreeBind, 2)
        | flag(OptionName::HeaderIncluded, 3)
        | flag(OptionName::MulticastLoop, 4)
        | flag(OptionName::MulticastAll, 6);
    attribute(body, SOCKOPT, &[flags as u8, 0]);
}

/// Which directions are shut: 1 for reading, 2 for writing.
fn shut(host: &Host<'_>, report: &SocketReport) -> u8 {
    let Some(id) = report.socket else { return 3 };
    let of_state = match report.state {
        _ if report.kind != SocketType::Stream => 0,
        TcpState::CloseWait => 1,
        TcpState::FinWait1 | TcpState::FinWait2 => 2,
        TcpState::Closing | TcpState::LastAck | TcpState::TimeWait => 3,
        TcpState::Closed | TcpState::SynSent | TcpState::SynReceived => return 0,
        TcpState::Established => 0,
    };
    let ready = host.stack.readiness(id);
    let read = u8::from(ready.contains(Readiness::READ_CLOSED));
    of_state | read | u8::from(ready.contains(Readiness::WRITE_CLOSED)) << 1
}

/// How much memory it uses.
fn memory(
    host: &Host<'_>,
    request: &InetRequest,
    report: &SocketReport,
    queues: [usize; 2],
    body: &mut Vec<u8>,
) {
    let queued = |count: usize| if report.listening { 0 } else { u32::try_from(count).unwrap_or(u32::MAX) };
    let [recv, send] = queues.map(queued);
    if request.wants(MEMINFO) {
        words(body, MEMINFO, &[recv, send, 0, send]);
    }
    if request.wants(SKMEMINFO) {
        words(body, SKMEMINFO, &limits(host, report, [recv, send]));
    }
}

/// The numbers of `SK_MEMINFO_*`.
pub(super) fn limits(host: &Host<'_>, report: &SocketReport, [recv, send]: [u32; 2]) -> [u32; 9] {
    let limit = |name| number(host, report.socket, name).unwrap_or(0);
    let (recv_limit, send_limit) = (limit(OptionName::RecvBuffer), limit(OptionName::SendBuffer));
    let waiting = if report.kind == SocketType::Stream { send } else { 0 };
    [recv, recv_limit, send, send_limit, 0, waiting, 0, 0, report.drops]
}

/// What only TCP has.
fn connection(host: &Host<'_>, request: &InetRequest, report: &SocketReport, body: &mut Vec<u8>) {
    if request.wants(INFO)
        && let Some(info) = host.stack.report_info(host.now, report)
    {
        attribute(body, INFO, &tcp_info::encode(&info));
    }
    if request.wants(CONG)
        && let Some(id) = report.socket
        && let Ok(SocketOption::Congestion(congestion)) = host.stack.get_option(id, OptionName::Congestion)
    {
        let mut name = congestion.name().as_bytes().to_vec();
        name.push(0);
        attribute(body, CONG, &name);
    }
}

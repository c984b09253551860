//! Control messages (`struct cmsghdr`): reading what a program sends, writing what it receives.
//!
//! Layout of 64-bit Linux: a header of 16 bytes (length including the header, level, type), data, padding
//! to 8 bytes. A program's buffer is hostile: lengths are checked against what is left of it before use,
//! and each message takes at least its header, so reading ends.

use crate::SocketKind;
use crate::address::{AddressBytes, INET_LEN, INET6_LEN, interface_index, nic_of_index};
use crate::options::{PacketInfo, Stored};
use crate::{Errno, flags::MessageFlags};
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use sockeye_packet::NicId;
use sockeye_stack::{Domain, ErrorOrigin, ErrorReport, SockAddr};

const HEADER: usize = 16;
const ALIGNMENT: usize = 8;
/// Bytes of `struct sock_extended_err`.
const EXTENDED_ERROR: usize = 16;
const SO_EE_ORIGIN_LOCAL: u8 = 1;
const SO_EE_ORIGIN_ICMP: u8 = 2;
const SO_EE_ORIGIN_ICMP6: u8 = 3;
/// The option of the same meaning and, on 64-bit machines, the same layout as the one without `NEW`.
const SO_TIMESTAMPNS_NEW: i32 = 64;
const SO_TIMESTAMPING_NEW: i32 = 65;
const SO_TXTIME: i32 = 61;
const SO_RCVMARK: i32 = 75;
const SO_RCVPRIORITY: i32 = 82;
const IP_ORIGDSTADDR: i32 = 20;
const IPV6_ORIGDSTADDR: i32 = 74;
const IPV6_2292HOPOPTS: i32 = 3;
const IPV6_2292DSTOPTS: i32 = 4;
const IPV6_HOPOPTS: i32 = 54;
const IPV6_RTHDRDSTOPTS: i32 = 55;
const IPV6_DSTOPTS: i32 = 59;

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control<'a> {
    /// Whose message it is: `SOL_SOCKET`, `IPPROTO_IP`, …
    pub level: i32,
    /// Which of that level's messages (`SCM_RIGHTS`, `IP_PKTINFO`, …).
    pub kind: i32,
    /// What it says.
    pub data: &'a [u8],
}

/// The control messages in `buffer`, in order. A length below the header's or beyond the buffer is EINVAL
/// and ends the iteration; too few bytes for a header at the end are ignored, as by the kernel.
pub fn parse(buffer: &[u8]) -> impl Iterator<Item = Result<Control<'_>, Errno>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_first_chunk::<HEADER>()?;
        let len = u64::from_ne_bytes(*header.first_chunk()?);
        let Some(len) = usize::try_from(len).ok().filter(|len| (HEADER..=rest.len()).contains(len)) else {
            rest = &[];
            return Some(Err(Errno::EINVAL));
        };
        let (level, kind) = (int(&header[8..]), int(&header[12..]));
        let data = &rest[HEADER..len];
        rest = rest.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or(&[]);
        Some(Ok(Control { level, kind, data }))
    })
}

/// Whether a message passes descriptors or credentials: such messages belong to local sockets and are
/// none of ours.
pub fn is_local(buffer: &[u8]) -> bool {
    parse(buffer)
        .flatten()
        .any(|c| c.level == libc::SOL_SOCKET && matches!(c.kind, libc::SCM_RIGHTS | libc::SCM_CREDENTIALS))
}

/// What the control messages of a sent datagram ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SendControls {
    /// The source address (`IP_PKTINFO`, `IPV6_PKTINFO`), when it isn't the unspecified one.
    pub source: Option<IpAddr>,
    /// The interface to leave by.
    pub nic: Option<NicId>,
    /// Time to live or hop limit.
    pub ttl: Option<u8>,
    /// Type of service or traffic class.
    pub tos: Option<u8>,
    /// Bytes of each datagram that the message is cut into (`UDP_SEGMENT`); 0 for one whole.
    pub segment_size: Option<u16>,
}

/// Reads the control messages of a `sendmsg` on an INET or INET6 datagram socket.
///
/// EINVAL for what the kernel does not know at these levels, for wrong lengths and values out of range, EPERM for
/// what needs a capability; messages of other levels are ignored. Descriptors and credentials mean nothing here and
/// are ignored too. What the messages leave open, the socket's `IPV6_PKTINFO` says (RFC 3542 §6.6).
pub fn parse_send(buffer: &[u8], domain: Domain, stored: &Stored) -> Result<SendControls, Errno> {
    let PacketInfo { source, nic } = stored.packet_info();
    let mut controls = SendControls { source, nic, ..SendControls::default() };
    for control in parse(buffer) {
        let control = control?;
        match control.level {
            libc::SOL_SOCKET => check_socket(control, stored)?,
            libc::IPPROTO_IP => read_ip(control, &mut controls)?,
            libc::IPPROTO_IPV6 if domain == Domain::Inet6 => read_ipv6(control, &mut controls)?,
            libc::IPPROTO_UDP => controls.segment_size = Some(read_segment_size(control)?),
            _ => {}
        }
    }
    Ok(controls)
}

/// Messages that every socket takes: none of them changes what is sent.
fn check_socket(control: Control<'_>, stored: &Stored) -> Result<(), Errno> {
    /// `SOF_TIMESTAMPING_TX_RECORD_MASK`: hardware, software, scheduled, acknowledged, completed.
    const RECORDS: i32 = 1 | 2 | 1 << 8 | 1 << 9 | 1 << 18;
    let (kind, data) = (control.kind, control.data);
    match (kind, data.len()) {
        (libc::SCM_RIGHTS | libc::SCM_CREDENTIALS, _) => Ok(()),
        (libc::SO_TIMESTAMPING | SO_TIMESTAMPING_NEW, 4) if int(data) & !RECORDS == 0 => Ok(()),
        (SO_TXTIME, 8) if stored.has_transmit_time() => Ok(()),
        (libc::SO_PRIORITY, 4) if (0..=6).contains(&int(data)) => Ok(()),
        (libc::SO_MARK, _) | (libc::SO_PRIORITY, 4) => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// `UDP_SEGMENT`, the only one of its level.
fn read_segment_size(control: Control<'_>) -> Result<u16, Errno> {
    let size = <[u8; 2]>::try_from(control.data).map_err(|_| Errno::EINVAL)?;
    if control.kind == libc::UDP_SEGMENT { Ok(u16::from_ne_bytes(size)) } else { Err(Errno::EINVAL) }
}

fn read_ip(control: Control<'_>, controls: &mut SendControls) -> Result<(), Errno> {
    match (control.kind, control.data) {
        (libc::IP_PKTINFO, data) if data.len() == 12 => {
            controls.nic = nic_of(&data[..4])?;
            // struct in_pktinfo: index, ipi_spec_dst (the source to use), ipi_addr.
            let source = [data[4], data[5], data[6], data[7]];
            controls.source = (source != [0; 4]).then_some(IpAddr::from(source));
        }
        (libc::IP_TTL, data) if data.len() == 4 => {
            let ttl = u8::try_from(int(data)).ok().filter(|&ttl| ttl > 0);
            controls.ttl = Some(ttl.ok_or(Errno::EINVAL)?);
        }
        (libc::IP_TOS, &[tos]) => controls.tos = Some(tos),
        (libc::IP_TOS, data) if data.len() == 4 => {
            controls.tos = Some(u8::try_from(int(data)).map_err(|_| Errno::EINVAL)?);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

fn read_ipv6(control: Control<'_>, controls: &mut SendControls) -> Result<(), Errno> {
    match (control.kind, control.data) {
        (libc::IPV6_PKTINFO | libc::IPV6_2292PKTINFO, data) => {
            // struct in6_pktinfo: the address comes first.
            let address = data.first_chunk::<16>().filter(|_| data.len() >= 20).ok_or(Errno::EINVAL)?;
            controls.nic = nic_of(&data[16..20])?;
            controls.source = (*address != [0; 16]).then(|| IpAddr::from(*address).to_canonical());
        }
        (libc::IPV6_HOPLIMIT | libc::IPV6_2292HOPLIMIT, data) => controls.ttl = byte_or_default(data)?,
        (libc::IPV6_TCLASS, data) => controls.tos = byte_or_default(data)?,
        (libc::IPV6_DONTFRAG, data) if data.len() == 4 && matches!(int(data), 0 | 1) => {}
        // Extension headers need CAP_NET_RAW.
        (IPV6_HOPOPTS | IPV6_RTHDRDSTOPTS | IPV6_DSTOPTS | IPV6_2292HOPOPTS | IPV6_2292DSTOPTS, data)
            if data.len() >= 2 =>
        {
            return Err(Errno::EPERM);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// A byte spelled as an `int`, where -1 stands for the default.
fn byte_or_default(data: &[u8]) -> Result<Option<u8>, Errno> {
    match int(data) {
        _ if data.len() != 4 => Err(Errno::EINVAL),
        -1 => Ok(None),
        value => u8::try_from(value).map(Some).map_err(|_| Errno::EINVAL),
    }
}

fn nic_of(index: &[u8]) -> Result<Option<NicId>, Errno> {
    match int(index) {
        0 => Ok(None),
        index => nic_of_index(index as u32).map(Some).ok_or(Errno::ENODEV),
    }
}

/// Where a received datagram came from and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The address it was sent to.
    pub to: SockAddr,
    /// The interface it came in by.
    pub nic: NicId,
    /// Time to live or hop limit on arrival.
    pub ttl: u8,
    /// Type of service or traffic class on arrival.
    pub tos: u8,
    /// Wall-clock time of arrival, since 1970.
    pub at: Duration,
    /// [`Datagram::dropped`](sockeye_stack::Datagram::dropped).
    pub dropped: u32,
    /// [`Datagram::segment_size`](sockeye_stack::Datagram::segment_size).
    pub segment_size: u16,
}

/// Appends the control messages that the socket's options ask for, in the kernel's order.
pub fn write_received(out: &mut ControlWriter, stored: &Stored, kind: SocketKind, received: &Received) {
    write_timestamp(out, stored, received.at);
    // As the kernel: only once something was dropped.
    if received.dropped > 0 && stored.is_on(libc::SOL_SOCKET, libc::SO_RXQ_OVFL) {
        out.put(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &received.dropped.to_ne_bytes());
    }
    if received.segment_size > 0 {
        out.put_int(libc::IPPROTO_UDP, libc::UDP_GRO, received.segment_size.into());
    }
    // Nothing marks packets, and none is more urgent than others.
    for (option, message) in [(SO_RCVMARK, libc::SO_MARK), (SO_RCVPRIORITY, libc::SO_PRIORITY)] {
        if stored.is_on(libc::SOL_SOCKET, option) {
            out.put_int(libc::SOL_SOCKET, message, 0);
        }
    }
    if kind.domain == Domain::Inet6 {
        write_received_v6(out, stored, received);
    }
    if let IpAddr::V4(to) = received.to.ip_addr() {
        write_received_v4(out, stored, received, to);
    }
}

/// What an IPv6 socket is told; of IPv4 packets only where they went.
fn write_received_v6(out: &mut ControlWriter, stored: &Stored, received: &Received) {
    let wants = |name| stored.is_on(libc::IPPROTO_IPV6, name);
    let mut info = [0; 20];
    info[..16].copy_from_slice(&received.to.ip);
    info[16..].copy_from_slice(&interface_index(received.nic).to_ne_bytes());
    let v6 = !received.to.is_v4();
    if wants(libc::IPV6_RECVPKTINFO) {
        out.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
    }
    if v6 && wants(libc::IPV6_RECVHOPLIMIT) {
        out.put_int(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, received.ttl.into());
    }
    if v6 && wants(libc::IPV6_RECVTCLASS) {
        out.put_int(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, received.tos.into());
    }
    // The same by the numbers of RFC 2292.
    if v6 && wants(libc::IPV6_2292PKTINFO) {
        out.put(libc::IPPROTO_IPV6, libc::IPV6_2292PKTINFO, &info);
    }
    if v6 && wants(libc::IPV6_2292HOPLIMIT) {
        out.put_int(libc::IPPROTO_IPV6, libc::IPV6_2292HOPLIMIT, received.ttl.into());
    }
    if v6 && wants(IPV6_ORIGDSTADDR) {
        out.put(
            libc::IPPROTO_IPV6,
            IPV6_ORIGDSTADDR,
            AddressBytes::new(received.to, Domain::Inet6).as_slice(),
        );
    }
}

fn write_received_v4(out: &mut ControlWriter, stored: &Stored, received: &Received, to: Ipv4Addr) {
    let wants = |name| stored.is_on(libc::IPPROTO_IP, name);
    if wants(libc::IP_PKTINFO) {
        let mut info = [0; 12];
        info[..4].copy_from_slice(&interface_index(received.nic).to_ne_bytes());
        info[4..8].copy_from_slice(&to.octets());
        info[8..].copy_from_slice(&to.octets());
        out.put(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
    }
    if wants(libc::IP_RECVTTL) {
        out.put_int(libc::IPPROTO_IP, libc::IP_TTL, received.ttl.into());
    }
    if wants(libc::IP_RECVTOS) {
        out.put(libc::IPPROTO_IP, libc::IP_TOS, &[received.tos]);
    }
    if wants(IP_ORIGDSTADDR) {
        out.put(libc::IPPROTO_IP, IP_ORIGDSTADDR, AddressBytes::new(received.to, Domain::Inet).as_slice());
    }
}

/// Appends the control messages of a report from the error queue: those that [`write_received`] has for the ICMP
/// message, and last a `sock_extended_err` with the offender's address (`IP_RECVERR`, `IPV6_RECVERR`). `at` is the
/// wall-clock time of [`ErrorReport::received_at`], since 1970.
///
/// The rest of such a message: its data is [`ErrorReport::payload`], its address [`ErrorReport::to`], and its flags
/// have [`MessageFlags::error_queue`].
pub fn write_error(
    out: &mut ControlWriter,
    stored: &Stored,
    kind: SocketKind,
    report: &ErrorReport,
    at: Duration,
) {
    if report.offender.is_some() {
        let ErrorReport { local, nic, ttl, tos, .. } = *report;
        write_received(
            out,
            stored,
            kind,
            &Received { to: local, nic, ttl, tos, at, dropped: 0, segment_size: 0 },
        );
    } else {
        write_timestamp(out, stored, at);
    }
    let origin = match report.origin {
        ErrorOrigin::Local => SO_EE_ORIGIN_LOCAL,
        ErrorOrigin::Icmp => SO_EE_ORIGIN_ICMP,
        ErrorOrigin::Icmp6 => SO_EE_ORIGIN_ICMP6,
    };
    // struct sock_extended_err: errno, origin, type, code, padding, info, data. Behind it an address of the
    // socket's family, all zeros where nobody else is to blame.
    let mut data = [0; EXTENDED_ERROR + INET6_LEN];
    data[..4].copy_from_slice(&(Errno::from(report.error).0 as u32).to_ne_bytes());
    data[4..7].copy_from_slice(&[origin, report.kind, report.code]);
    data[8..12].copy_from_slice(&report.info.to_ne_bytes());
    if let Some(offender) = report.offender {
        let offender = AddressBytes::new(offender, kind.domain);
        let bytes = offender.as_slice();
        data[EXTENDED_ERROR..][..bytes.len()].copy_from_slice(bytes);
    }
    match kind.domain {
        Domain::Packet => {}
        Domain::Inet => out.put(libc::IPPROTO_IP, libc::IP_RECVERR, &data[..EXTENDED_ERROR + INET_LEN]),
        Domain::Inet6 => out.put(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, &data),
    }
}

/// Appends the time of arrival when `SO_TIMESTAMP`, `SO_TIMESTAMPNS` or `SO_TIMESTAMPING` asks for it.
pub fn write_timestamp(out: &mut ControlWriter, stored: &Stored, at: Duration) {
    /// `SOF_TIMESTAMPING_RX_SOFTWARE` and `SOF_TIMESTAMPING_SOFTWARE`: take the time, and tell it.
    const SOFTWARE: u32 = 1 << 3 | 1 << 4;
    let pair = |fraction: u32| {
        let mut data = [0; 16];
        data[..8].copy_from_slice(&(at.as_secs() as i64).to_ne_bytes());
        data[8..].copy_from_slice(&i64::from(fraction).to_ne_bytes());
        data
    };
    // Each answers with a message of its own number.
    match stored.timestamp() {
        Some(name @ (libc::SO_TIMESTAMPNS | SO_TIMESTAMPNS_NEW)) => {
            out.put(libc::SOL_SOCKET, name, &pair(at.subsec_nanos()));
        }
        Some(name) => out.put(libc::SOL_SOCKET, name, &pair(at.subsec_micros())),
        None => {}
    }
    let (flags, name) = stored.timestamping();
    if flags & SOFTWARE == SOFTWARE {
        // struct scm_timestamping: by software, none any more, by the device.
        let mut times = [0; 48];
        times[..16].copy_from_slice(&pair(at.subsec_nanos()));
        out.put(libc::SOL_SOCKET, name, &times);
    }
}

/// Writes control messages into a buffer of the receiver's size.
#[derive(Clone, Debug)]
pub struct ControlWriter {
    bytes: Vec<u8>,
    room: usize,
    truncated: bool,
}

impl ControlWriter {
    /// A writer of at most `room` bytes.
    pub fn new(room: usize) -> ControlWriter {
        ControlWriter { bytes: Vec::new(), room, truncated: false }
    }

    /// Appends one message. Without room for its header it is left out, without room for all of its data it
    /// is cut; both mark the message as truncated (`MSG_CTRUNC`).
    pub fn put(&mut self, level: i32, kind: i32, data: &[u8]) {
        let left = self.room - self.bytes.len();
        if left < HEADER {
            self.truncated = true;
            return;
        }
        let len = (HEADER + data.len()).min(left);
        self.truncated |= len < HEADER + data.len();
        self.bytes.extend_from_slice(&(len as u64).to_ne_bytes());
        self.bytes.extend_from_slice(&level.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&data[..len - HEADER]);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT).min(self.room), 0);
    }

    /// Appends a message whose data is an `int`.
    pub fn put_int(&mut self, level: i32, kind: i32, value: i32) {
        self.put(level, kind, &value.to_ne_bytes());
    }

    /// The bytes for the program's buffer, `msg_controllen` of them, and notes truncation in `flags`.
    pub fn finish(self, flags: &mut MessageFlags) -> Vec<u8> {
        flags.control_truncated |= self.truncated;
        self.bytes
    }
}

fn int(data: &[u8]) -> i32 {
    data.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests;

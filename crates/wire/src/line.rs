//! The packet-line notation: one packet as one line of text that reads back as the same value.
//!
//! ```text
//! 10.77.0.2:40000 > 10.77.0.3:80: P. 1:1001(1000) ack 1 win 257 <nop,nop,TS val 5 ecr 6>
//! S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>
//! [fd77::2]:5000 > [fd77::3]:53: udp (1000)
//! 10.77.0.3 > 10.77.0.2: icmp unreachable port [10.77.0.2:9 > 10.77.0.3:7: udp (4)]
//! ```
//!
//! Addresses may be left out. A TCP line has, in this order: flags (`F S R P . U E W A`, or `-` for none),
//! `first:end(length)` in sequence numbers, `ack`, `win`, `urg`, and options; `<...>` stands for options of
//! any kind, and a missing `win` for any window. A quote never holds another quote. [`parse`] reads lines.

mod parse;

pub use parse::LineError;

use crate::{
    Error, Fragment, Icmpv4, Icmpv6, IpLayout, Protocol, Quoted, SackBlock, TcpFlags, TcpHeader, TcpOptions,
    UdpHeader, header_len,
};
use alloc::boxed::Box;
use core::fmt;
use core::net::SocketAddr;

/// A packet as a line of the notation says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketLine {
    /// Where it comes from and goes to; `None` when the line leaves that out.
    pub endpoints: Option<Endpoints>,
    /// What the packet is.
    pub body: LineBody,
}

/// The addresses of a packet, both of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Source address; the port is 0 where the packet has none.
    pub src: SocketAddr,
    /// Destination address; the port is 0 where the packet has none.
    pub dst: SocketAddr,
}

/// What a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineBody {
    /// A TCP segment or super-segment.
    Tcp(TcpLine),
    /// A quoted TCP segment of which not the whole header came: `tcp seq 1`.
    TcpStart {
        /// Sequence number.
        seq: u32,
    },
    /// A UDP datagram: `udp (1000)`.
    Udp {
        /// Bytes of data.
        len: u32,
    },
    /// An `ICMPv4` message: `icmp echo request id 1 seq 2 (56)`.
    Icmpv4(Icmpv4, IcmpData),
    /// An `ICMPv6` message: `icmp6 packet too big mtu 1280 (96)`.
    Icmpv6(Icmpv6, IcmpData),
    /// A fragment of a packet: `fragment id 7 proto 17 offset 1480 (520)`, with `more` at the end unless it
    /// is the last.
    Fragment {
        /// Which fragment of which packet.
        fragment: Fragment,
        /// What the whole packet carries.
        protocol: Protocol,
        /// Bytes behind the IP headers.
        len: u32,
    },
    /// Anything else: `proto 47 (100)`.
    Other {
        /// What the packet carries.
        protocol: Protocol,
        /// Bytes behind the IP headers.
        len: u32,
    },
}

/// A TCP segment as a line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpLine {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Bytes of data.
    pub len: u32,
    /// Acknowledgment number; left out of the line when it is 0 and the ACK flag isn't set.
    pub ack: u32,
    /// Window as it is in the header; `None` when the line doesn't say.
    pub window: Option<u16>,
    /// Urgent pointer; left out of the line when it is 0 and the URG flag isn't set.
    pub urgent: u16,
    /// Options; `None` when the line leaves them open with `<...>`.
    pub options: Option<TcpOptions>,
}

/// What follows an ICMP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IcmpData {
    /// So many bytes.
    Len(u32),
    /// The packet that an error quotes.
    Quote(Box<PacketLine>),
}

impl PacketLine {
    /// The line for a packet whose headers are in `head` and whose data is `payload_len` bytes behind it.
    ///
    /// An ICMP error's quote is data: add it with [`PacketLine::quoting`].
    pub fn from_head(head: &[u8], payload_len: usize) -> Result<PacketLine, Error> {
        let ip = IpLayout::parse(head)?;
        let came = head.len().saturating_add(payload_len);
        // Super-segments in memory may be longer than their header can state.
        let is_unstated = came > usize::from(u16::MAX) && ip.total_len < head.len();
        PacketLine::from_layout(&ip, head, if is_unstated { came } else { ip.total_len.min(came) })
    }

    /// The line with the packet that an ICMP error quotes, given its data or the start of it.
    /// Any other line, and one whose quote doesn't parse, stays as it is.
    pub fn quoting(mut self, data: &[u8]) -> PacketLine {
        let slot = match &mut self.body {
            LineBody::Icmpv4(message, slot) if message.is_error() => slot,
            LineBody::Icmpv6(message, slot) if message.is_error() => slot,
            _ => return self,
        };
        let quoted = &data[..header_len(data)];
        // The whole packet's length counts here, not that of the part that is quoted.
        let line = IpLayout::parse(quoted).and_then(|ip| PacketLine::from_layout(&ip, data, ip.total_len));
        if let Ok(line) = line {
            *slot = IcmpData::Quote(Box::new(line));
        }
        self
    }

    /// The line for the packet that starts with `bytes` and is `total_len` bytes long.
    fn from_layout(ip: &IpLayout, bytes: &[u8], total_len: usize) -> Result<PacketLine, Error> {
        let transport = bytes.get(ip.transport..).unwrap_or_default();
        let carried = total_len.saturating_sub(ip.transport);
        let data_len = |header_len: usize| carried.saturating_sub(header_len) as u32;
        let mut ports = (0, 0);
        let body = match ip.protocol {
            protocol if let Some(fragment) = ip.fragment => {
                LineBody::Fragment { fragment, protocol, len: data_len(0) }
            }
            Protocol::TCP => match TcpHeader::parse(transport) {
                Ok((tcp, header_len)) => {
                    ports = (tcp.src_port, tcp.dst_port);
                    LineBody::Tcp(TcpLine::new(&tcp, data_len(header_len)))
                }
                Err(error) => {
                    let transport = *transport.first_chunk().ok_or(error)?;
                    let start =
                        Quoted { src: ip.src, dst: ip.dst, protocol: ip.protocol, transport, total_len };
                    ports = (start.src_port(), start.dst_port());
                    LineBody::TcpStart { seq: start.tcp_seq() }
                }
            },
            Protocol::UDP => {
                let (udp, header_len) = UdpHeader::parse(transport)?;
                ports = (udp.src_port, udp.dst_port);
                LineBody::Udp { len: data_len(header_len) }
            }
            Protocol::ICMP if ip.src.is_ipv4() => {
                let (message, header_len) = Icmpv4::parse(transport)?;
                LineBody::Icmpv4(message, IcmpData::Len(data_len(header_len)))
            }
            Protocol::ICMPV6 if ip.src.is_ipv6() => {
                let (message, header_len) = Icmpv6::parse(transport)?;
                LineBody::Icmpv6(message, IcmpData::Len(data_len(header_len)))
            }
            protocol => LineBody::Other { protocol, len: data_len(0) },
        };
        let endpoints =
            Endpoints { src: SocketAddr::new(ip.src, ports.0), dst: SocketAddr::new(ip.dst, ports.1) };
        Ok(PacketLine { endpoints: Some(endpoints), body })
    }

    /// The line without its addresses.
    pub fn without_endpoints(self) -> PacketLine {
        PacketLine { endpoints: None, ..self }
    }

    /// The line with TCP sequence numbers counted from `seq_base`, and those of the other direction (ack,
    /// SACK blocks) from `ack_base`: the two sides' initial sequence numbers make them start at 0.
    pub fn relative_to(mut self, seq_base: u32, ack_base: u32) -> PacketLine {
        if let LineBody::Tcp(tcp) = &mut self.body {
            tcp.seq = tcp.seq.wrapping_sub(seq_base);
            if tcp.flags.ack() {
                tcp.ack = tcp.ack.wrapping_sub(ack_base);
            }
            for SackBlock { left, right } in tcp.options.iter_mut().flat_map(|options| &mut *options.sack) {
                *left = left.wrapping_sub(ack_base);
                *right = right.wrapping_sub(ack_base);
            }
        }
        self
    }
}

impl TcpLine {
    /// The line for a segment with this header and `len` bytes of data.
    pub fn new(tcp: &TcpHeader, len: u32) -> TcpLine {
        let TcpHeader { src_port: _, dst_port: _, seq, ack, flags, window, urgent, options } = *tcp;
        TcpLine { flags, seq, len, ack, window: Some(window), urgent, options: Some(options) }
    }

    /// The header that the line describes. What the line leaves open is zero or empty.
    pub fn header(&self, src_port: u16, dst_port: u16) -> TcpHeader {
        let TcpLine { flags, seq, len: _, ack, window, urgent, options } = *self;
        TcpHeader {
            src_port,
            dst_port,
            seq,
            ack,
            flags,
            window: window.unwrap_or_default(),
            urgent,
            options: options.unwrap_or_default(),
        }
    }
}

impl fmt::Display for PacketLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Endpoints { src, dst }) = self.endpoints {
            if self.body.has_ports() {
                write!(f, "{src} > {dst}: ")?;
            } else {
                write!(f, "{} > {}: ", src.ip(), dst.ip())?;
            }
        }
        self.body.fmt(f)
    }
}

impl LineBody {
    /// Whether ports belong to the addresses.
    fn has_ports(&self) -> bool {
        matches!(self, LineBody::Tcp(_) | LineBody::TcpStart { .. } | LineBody::Udp { .. })
    }
}

impl fmt::Display for LineBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineBody::Tcp(tcp) => tcp.fmt(f),
            LineBody::TcpStart { seq } => write!(f, "tcp seq {seq}"),
            LineBody::Udp { len } => write!(f, "udp ({len})"),
            LineBody::Icmpv4(message, data) => {
                f.write_str("icmp ")?;
                fmt_icmpv4(*message, f)?;
                data.fmt(f)
            }
            LineBody::Icmpv6(message, data) => {
                f.write_str("icmp6 ")?;
                fmt_icmpv6(*message, f)?;
                data.fmt(f)
            }
            LineBody::Fragment { fragment: Fragment { id, offset, more }, protocol, len } => {
                write!(f, "fragment id {id} proto {protocol} offset {offset} ({len})")?;
                f.write_str(if *more { " more" } else { "" })
            }
            LineBody::Other { protocol, len } => write!(f, "proto {protocol} ({len})"),
        }
    }
}

impl fmt::Display for TcpLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TcpLine { flags, seq, len, ack, window, urgent, ref options } = *self;
        write!(f, "{flags} {seq}:{}({len})", seq.wrapping_add(len))?;
        if flags.ack() || ack != 0 {
            write!(f, " ack {ack}")?;
        }
        if let Some(window) = window {
            write!(f, " win {window}")?;
        }
        if flags.contains(TcpFlags::URG) || urgent != 0 {
            write!(f, " urg {urgent}")?;
        }
        match options {
            None => f.write_str(" <...>"),
            Some(options) if *options == TcpOptions::default() => Ok(()),
            Some(options) => write!(f, " <{options}>"),
        }
    }
}

/// As in packet lines, with the padding that [`TcpOptions::emit`] writes: `nop,nop,TS val 5 ecr 6`.
impl fmt::Display for TcpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TcpOptions { mss, window_scale, sack_permitted, timestamps, sack } = self;
        let mut comma = "";
        if let Some(mss) = mss {
            write!(f, "mss {mss}")?;
            comma = ",";
        }
        if *sack_permitted || timestamps.is_some() {
            let aligned = *sack_permitted && timestamps.is_some();
            f.write_str(comma)?;
            f.write_str(if aligned { "" } else { "nop,nop," })?;
            f.write_str(if *sack_permitted { "sackOK" } else { "" })?;
            f.write_str(if aligned { "," } else { "" })?;
            if let Some(timestamps) = timestamps {
                write!(f, "TS val {} ecr {}", timestamps.value, timestamps.echo)?;
            }
            comma = ",";
        }
        if let Some(shift) = window_scale {
            write!(f, "{comma}nop,wscale {shift}")?;
            comma = ",";
        }
        if !sack.is_empty() {
            write!(f, "{comma}nop,nop,sack")?;
            sack.iter().try_for_each(|SackBlock { left, right }| write!(f, " {left}:{right}"))?;
        }
        Ok(())
    }
}

/// The words for codes of an ICMP error.
type CodeNames = &'static [(u8, &'static str)];

const V4_UNREACHABLE: CodeNames = &[
    (Icmpv4::NET_UNREACHABLE, "net"),
    (Icmpv4::HOST_UNREACHABLE, "host"),
    (Icmpv4::PROTOCOL_UNREACHABLE, "protocol"),
    (Icmpv4::PORT_UNREACHABLE, "port"),
    (Icmpv4::FRAGMENTATION_NEEDED, "frag-needed"),
    (Icmpv4::SOURCE_ROUTE_FAILED, "source-route"),
    (Icmpv4::ADMIN_PROHIBITED, "prohibited"),
];

const V6_UNREACHABLE: CodeNames = &[
    (Icmpv6::NO_ROUTE, "no-route"),
    (Icmpv6::ADMIN_PROHIBITED, "prohibited"),
    (Icmpv6::BEYOND_SCOPE, "beyond-scope"),
    (Icmpv6::ADDRESS_UNREACHABLE, "address"),
    (Icmpv6::PORT_UNREACHABLE, "port"),
];

const TIME_EXCEEDED: CodeNames = &[(0, "ttl"), (1, "reassembly")];

/// A code by its name, or as `code 9` when it has none.
fn fmt_code(names: CodeNames, code: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match names.iter().find(|(named, _)| *named == code) {
        Some((_, name)) => f.write_str(name),
        None => write!(f, "code {code}"),
    }
}

fn fmt_icmpv4(message: Icmpv4, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match message {
        Icmpv4::EchoRequest { id, seq } => write!(f, "echo request id {id} seq {seq}"),
        Icmpv4::EchoReply { id, seq } => write!(f, "echo reply id {id} seq {seq}"),
        Icmpv4::Unreachable { code, mtu } => {
            f.write_str("unreachable ")?;
            fmt_code(V4_UNREACHABLE, code, f)?;
            if code == Icmpv4::FRAGMENTATION_NEEDED { write!(f, " mtu {mtu}") } else { Ok(()) }
        }
        Icmpv4::TimeExceeded { code } => {
            f.write_str("time exceeded ")?;
            fmt_code(TIME_EXCEEDED, code, f)
        }
        Icmpv4::ParameterProblem { code, pointer } => {
            write!(f, "parameter problem code {code} pointer {pointer}")
        }
        Icmpv4::Other { kind, code, rest } => fmt_other(kind, code, rest, f),
    }
}

fn fmt_icmpv6(message: Icmpv6, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match message {
        Icmpv6::EchoRequest { id, seq } => write!(f, "echo request id {id} seq {seq}"),
        Icmpv6::EchoReply { id, seq } => write!(f, "echo reply id {id} seq {seq}"),
        Icmpv6::Unreachable { code } => {
            f.write_str("unreachable ")?;
            fmt_code(V6_UNREACHABLE, code, f)
        }
        Icmpv6::PacketTooBig { mtu } => write!(f, "packet too big mtu {mtu}"),
        Icmpv6::TimeExceeded { code } => {
            f.write_str("time exceeded ")?;
            fmt_code(TIME_EXCEEDED, code, f)
        }
        Icmpv6::ParameterProblem { code, pointer } => {
            write!(f, "parameter problem code {code} pointer {pointer}")
        }
        Icmpv6::Other { kind, code, rest } => fmt_other(kind, code, rest, f),
    }
}

fn fmt_other(kind: u8, code: u8, rest: [u8; 4], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "type {kind} code {code} rest {}", u32::from_be_bytes(rest))
}

impl fmt::Display for IcmpData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IcmpData::Len(len) => write!(f, " ({len})"),
            IcmpData::Quote(line) => write!(f, " [{line}]"),
        }
    }
}

#[cfg(test)]
mod tests;

//! Packets between a script's lines and the bytes of a link: those to inject are built here, those that
//! the stack sends are read.

use super::options;
use crate::script::{EcnSpec, IcmpSpec, IpSpec, TcpSpec};
use core::net::{IpAddr, SocketAddr};
use sockeye_packet::{Checksum, Chunk, Instant, Meta, Packet};
use sockeye_wire::{
    Icmpv4, Icmpv6, IpLayout, Ipv4Header, Ipv6Header, Protocol, TcpFixed, TcpFlags, TcpHeader, UdpHeader,
};

/// A segment that the stack sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    /// As it was on the wire, with every field that a script can name.
    pub(super) spec: TcpSpec,
    /// Payload of the segments that it becomes on the wire; 0 where it is one, as far as is known.
    pub(super) mss: u32,
    /// Whether it ends with the end of a super-segment of several segments.
    pub(super) several: bool,
}

/// What a packet of the stack is.
#[derive(Clone, Debug)]
pub(super) enum Outbound {
    Tcp(Sent),
    /// A datagram with so many bytes.
    Udp {
        at: Instant,
        len: u32,
    },
    /// Anything else.
    Other {
        at: Instant,
    },
}

impl Outbound {
    pub(super) fn at(&self) -> Instant {
        match self {
            Outbound::Tcp(sent) => sent.at,
            Outbound::Udp { at, .. } | Outbound::Other { at } => *at,
        }
    }
}

/// Reads a packet of the stack.
pub(super) fn read(packet: &Packet, at: Instant) -> Result<Outbound, String> {
    let head = &packet.head;
    let ip = IpLayout::parse(head).map_err(|error| format!("the stack sent no IP packet: {error}"))?;
    let transport = &head[ip.transport..];
    let broken = |error| format!("the stack sent a broken packet: {error}");
    match ip.protocol {
        Protocol::TCP => {
            let (tcp, header_len) = TcpHeader::parse(transport).map_err(broken)?;
            let spec = TcpSpec {
                ip: read_ip(head),
                ports: None,
                flags: tcp.flags,
                ace: None,
                seq: tcp.seq,
                len: packet.payload.len() as u32,
                ack: tcp.flags.ack().then_some(tcp.ack),
                window: Some(tcp.window),
                urgent: tcp.flags.contains(TcpFlags::URG).then_some(tcp.urgent),
                options: Some(options::parse(&transport[TcpHeader::MIN_LEN..header_len])),
                bad_checksum: false,
            };
            let mss = u32::from(packet.meta.gso_size);
            let several = mss > 0 && spec.len > mss;
            let (src, dst) = (SocketAddr::new(ip.src, tcp.src_port), SocketAddr::new(ip.dst, tcp.dst_port));
            Ok(Outbound::Tcp(Sent { at, src, dst, spec, mss, several }))
        }
        Protocol::UDP => {
            UdpHeader::parse(transport).map_err(broken)?;
            Ok(Outbound::Udp { at, len: packet.payload.len() as u32 })
        }
        _ => Ok(Outbound::Other { at }),
    }
}

fn read_ip(head: &[u8]) -> IpSpec {
    let (tos, ttl, flow_label) = match (Ipv4Header::parse(head), Ipv6Header::parse(head)) {
        (Ok((ip, _)), _) => (ip.tos_ecn, ip.ttl, 0),
        (_, Ok((ip, _))) => (ip.traffic_class, ip.hop_limit, ip.flow_label),
        _ => (0, 0, 0),
    };
    let ecn = [EcnSpec::None, EcnSpec::Ect1, EcnSpec::Ect0, EcnSpec::Ce][usize::from(tos & 3)];
    IpSpec { ecn: Some(ecn), tos: Some(tos), ttl: Some(ttl), flow_label: Some(flow_label) }
}

/// The two ends of a packet to be injected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
}

/// A segment whose numbers are the stack's. `payload` are its bytes; of a packet that is longer than `mss`
/// the stack is told that it was merged from such segments.
pub(super) fn segment(
    ends: Ends,
    spec: &TcpSpec,
    payload: &[u8],
    mss: Option<u16>,
    now: Instant,
) -> Result<Packet, String> {
    let option_bytes = options::emit(spec.options.as_deref().unwrap_or_default())?;
    let header = TcpHeader {
        src_port: ends.src.port(),
        dst_port: ends.dst.port(),
        seq: spec.seq,
        ack: spec.ack.unwrap_or(0),
        flags: spec.flags,
        window: spec.window.unwrap_or(0),
        urgent: spec.urgent.unwrap_or(0),
        ..TcpHeader::default()
    };
    let header_len = TcpHeader::MIN_LEN + option_bytes.len();
    let mut bytes = vec![0; TcpHeader::MIN_LEN];
    header.emit(&mut bytes);
    if let Some(fixed) = TcpFixed::at_mut(&mut bytes) {
        fixed.offset_flags = ((header_len as u16 / 4) << 12 | spec.flags.bits()).into();
        if let Some(ace) = spec.ace {
            // The three bits of the ACE field are AE, CWR and ECE.
            let bits = fixed.offset_flags.get() & !0x1c0 | u16::from(ace) << 6;
            fixed.offset_flags = bits.into();
        }
    }
    bytes.extend(option_bytes);
    bytes.extend(payload);
    let mut packet = datagram(ends, spec.ip, Protocol::TCP, &bytes)?;
    let checksum = TcpHeader::MIN_LEN - 4;
    fill(&mut packet, ends, Protocol::TCP, checksum, spec.bad_checksum);
    let merged = mss.filter(|&mss| payload.len() > usize::from(mss)).unwrap_or(0);
    Ok(finish(packet, now, merged))
}

/// A datagram with a payload of zeros.
pub(super) fn udp(ends: Ends, ip: IpSpec, len: u32, now: Instant) -> Result<Packet, String> {
    let mut bytes = vec![0; 8 + len as usize];
    let total = u16::try_from(bytes.len()).map_err(|_| format!("a datagram of {len} bytes"))?;
    for (at, value) in [(0, ends.src.port()), (2, ends.dst.port()), (4, total)] {
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
    let mut packet = datagram(ends, ip, Protocol::UDP, &bytes)?;
    fill(&mut packet, ends, Protocol::UDP, 6, false);
    Ok(finish(packet, now, 0))
}

/// The IP packet that carries `bytes`.
fn datagram(ends: Ends, ip: IpSpec, protocol: Protocol, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let ecn = match ip.ecn {
        None | Some(EcnSpec::None) => 0,
        Some(EcnSpec::Ect1) => 1,
        Some(EcnSpec::Ect0) => 2,
        Some(EcnSpec::Ce) => 3,
        Some(EcnSpec::Ect01) => return Err("[ect01] can only be expected".into()),
    };
    let tos = ip.tos.unwrap_or(0) | ecn;
    let ttl = ip.ttl.unwrap_or(255);
    let too_long = || format!("a packet of {} bytes", bytes.len());
    let mut packet = match (ends.src.ip(), ends.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total = Ipv4Header::MIN_LEN + bytes.len();
            let total_len = u16::try_from(total).map_err(|_| too_long())?;
            let header =
                Ipv4Header { tos_ecn: tos, total_len, ttl, protocol, src, dst, ..Ipv4Header::default() };
            let mut packet = vec![0; Ipv4Header::MIN_LEN];
            header.emit(&mut packet);
            packet
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = Ipv6Header {
                traffic_class: tos,
                flow_label: ip.flow_label.unwrap_or(0),
                payload_len: u16::try_from(bytes.len()).map_err(|_| too_long())?,
                next_header: protocol,
                hop_limit: ttl,
                src,
                dst,
            };
            let mut packet = vec![0; Ipv6Header::LEN];
            header.emit(&mut packet);
            packet
        }
        (src, dst) => return Err(format!("a packet from {src} to {dst}")),
    };
    packet.extend(bytes);
    Ok(packet)
}

/// Fills the transport checksum, which lies `at` bytes into the transport header, or spoils it.
fn fill(packet: &mut [u8], ends: Ends, protocol: Protocol, at: usize, spoilt: bool) {
    let start = if ends.src.is_ipv4() { Ipv4Header::MIN_LEN } else { Ipv6Header::LEN };
    let bytes = &mut packet[start..];
    let pseudo = sockeye_wire::Checksum::pseudo_header(ends.src.ip(), ends.dst.ip(), protocol, bytes.len());
    let sum = pseudo.with(bytes).finish();
    let sum = if spoilt { !sum } else { sum };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn finish(packet: Vec<u8>, now: Instant, gso_size: u16) -> Packet {
    let meta = Meta { received_at: now, gso_size, checksum: Checksum::Unverified, ..Meta::default() };
    Packet::from_bytes(&Chunk::from(packet), meta)
}

/// An ICMP error about a segment of the flow from `ends.dst` to `ends.src` whose first sequence number on
/// the wire is `seq`.
pub(super) fn icmp(ends: Ends, spec: &IcmpSpec, seq: u32, now: Instant) -> Result<Packet, String> {
    let quoted_len = spec.quoted.map_or(0, |(_, len)| len);
    let back = Ends { src: ends.dst, dst: ends.src };
    let header =
        TcpHeader { src_port: back.src.port(), dst_port: back.dst.port(), seq, ..TcpHeader::default() };
    let mut tcp = vec![0; TcpHeader::MIN_LEN + quoted_len as usize];
    header.emit(&mut tcp);
    let quoted = datagram(back, IpSpec::default(), Protocol::TCP, &tcp)?;
    // As routers do it: the IP header and the first bytes of TCP's.
    let ip_len = quoted.len() - tcp.len();
    let quoted = &quoted[..ip_len + TcpHeader::MIN_LEN];
    let mut bytes = vec![0; Icmpv4::LEN];
    if ends.src.is_ipv4() {
        icmpv4(spec)?.emit(&mut bytes);
    } else {
        icmpv6(spec)?.emit(&mut bytes);
    }
    bytes[2..4].fill(0);
    bytes.extend(quoted);
    if ends.src.is_ipv4() {
        let sum = sockeye_wire::Checksum::new().with(&bytes).finish();
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        return Ok(finish(datagram(ends, spec.ip, Protocol::ICMP, &bytes)?, now, 0));
    }
    let mut packet = datagram(ends, spec.ip, Protocol::ICMPV6, &bytes)?;
    fill(&mut packet, ends, Protocol::ICMPV6, 2, false);
    Ok(finish(packet, now, 0))
}

fn icmpv4(spec: &IcmpSpec) -> Result<Icmpv4, String> {
    let unreachable = |code| Ok(Icmpv4::Unreachable { code, mtu: spec.mtu.unwrap_or(0) as u16 });
    match (spec.kind.as_str(), spec.code.as_str()) {
        ("unreachable", "net_unreachable") => unreachable(0),
        ("unreachable", "host_unreachable") => unreachable(1),
        ("unreachable", "protocol_unreachable") => unreachable(2),
        ("unreachable", "port_unreachable") => unreachable(3),
        ("unreachable", "frag_needed") => unreachable(4),
        ("unreachable", "source_route_failed") => unreachable(5),
        ("unreachable", "net_unknown") => unreachable(6),
        ("unreachable", "host_unknown") => unreachable(7),
        ("unreachable", "source_host_isolated") => unreachable(8),
        ("unreachable", "net_prohibited") => unreachable(9),
        ("unreachable", "host_prohibited") => unreachable(10),
        ("unreachable", "net_unreachable_for_service") => unreachable(11),
        ("unreachable", "host_unreachable_for_service") => unreachable(12),
        ("unreachable", "communication_prohibited") => unreachable(13),
        ("unreachable", "host_precedence_violation") => unreachable(14),
        ("unreachable", "precedence_cutoff") => unreachable(15),
        ("time_exceeded", _) => Ok(Icmpv4::TimeExceeded { code: u8::from(spec.code.contains("reassembly")) }),
        ("parameter_problem", _) => Ok(Icmpv4::ParameterProblem { code: 0, pointer: 0 }),
        ("source_quench", _) => Ok(Icmpv4::Other { kind: 4, code: 0, rest: [0; 4] }),
        (kind, code) => Err(format!("icmp {kind} {code}: no such error")),
    }
}

fn icmpv6(spec: &IcmpSpec) -> Result<Icmpv6, String> {
    let unreachable = |code| Ok(Icmpv6::Unreachable { code });
    match (spec.kind.as_str(), spec.code.as_str()) {
        ("packet_too_big", _) | ("unreachable", "frag_needed") => {
            Ok(Icmpv6::PacketTooBig { mtu: spec.mtu.unwrap_or(0) })
        }
        ("unreachable", "no_route" | "net_unreachable") => unreachable(0),
        (
            "unreachable",
            "admin_prohibited" | "communication_prohibited" | "host_prohibited" | "net_prohibited",
        ) => unreachable(1),
        ("unreachable", "not_neighbour" | "beyond_scope") => unreachable(2),
        ("unreachable", "addr_unreachable" | "host_unreachable" | "address_unreachable") => unreachable(3),
        ("unreachable", "port_unreachable") => unreachable(4),
        ("unreachable", "protocol_unreachable") => Ok(Icmpv6::ParameterProblem { code: 1, pointer: 6 }),
        ("time_exceeded", _) => Ok(Icmpv6::TimeExceeded { code: u8::from(spec.code.contains("reassembly")) }),
        ("parameter_problem", _) => Ok(Icmpv6::ParameterProblem { code: 0, pointer: 0 }),
        (kind, code) => Err(format!("icmp {kind} {code}: no such error")),
    }
}

#[cfg(test)]
mod tests;

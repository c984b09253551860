//! Packets as a script writes them.

use crate::script::{EcnSpec, FastOpenCookie, IcmpSpec, IpSpec, Packet, TcpOptionSpec, TcpSpec};
use std::fmt::Write as _;

/// A packet without the sign of its direction.
pub(super) fn packet(packet: &Packet) -> String {
    match packet {
        Packet::Tcp(spec) => tcp(spec),
        Packet::Udp { len, ip: spec, .. } => format!("{}udp ({len})", ip(spec)),
        Packet::Icmp(spec) => icmp(spec),
    }
}

/// A TCP segment.
pub(super) fn tcp(spec: &TcpSpec) -> String {
    let mut line = ip(&spec.ip);
    let _ = write!(line, "{}", spec.flags);
    if let Some(ace) = spec.ace {
        let _ = write!(line, "{ace}");
    }
    let _ = write!(line, " {}:{}({})", spec.seq, spec.seq.wrapping_add(spec.len), spec.len);
    if let Some(ack) = spec.ack {
        let _ = write!(line, " ack {ack}");
    }
    if let Some(window) = spec.window {
        let _ = write!(line, " win {window}");
    }
    if let Some(urgent) = spec.urgent {
        let _ = write!(line, " urg {urgent}");
    }
    match &spec.options {
        None => line.push_str(" <...>"),
        Some(options) if options.is_empty() => {}
        Some(options) => {
            let words: Vec<String> = options.iter().map(option).collect();
            let _ = write!(line, " <{}>", words.join(","));
        }
    }
    line
}

fn ip(spec: &IpSpec) -> String {
    let mut words = Vec::new();
    let ecn = |ecn| match ecn {
        EcnSpec::None => "noecn",
        EcnSpec::Ect0 => "ect0",
        EcnSpec::Ect1 => "ect1",
        EcnSpec::Ect01 => "ect01",
        EcnSpec::Ce => "ce",
    };
    words.extend(spec.ecn.map(|bits| ecn(bits).to_owned()));
    words.extend(spec.tos.map(|tos| format!("tos {tos:#04x}")));
    words.extend(spec.ttl.map(|ttl| format!("ttl {ttl}")));
    words.extend(spec.flow_label.map(|label| format!("flowlabel {label:#x}")));
    if words.is_empty() { String::new() } else { format!("[{}] ", words.join(", ")) }
}

fn option(option: &TcpOptionSpec) -> String {
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |all, byte| format!("{all}{byte:02x}"));
    match option {
        TcpOptionSpec::Eol => "eol".into(),
        TcpOptionSpec::Nop => "nop".into(),
        TcpOptionSpec::Mss(mss) => format!("mss {mss}"),
        TcpOptionSpec::WindowScale(shift) => format!("wscale {shift}"),
        TcpOptionSpec::SackPermitted => "sackOK".into(),
        TcpOptionSpec::Sack(blocks) => {
            blocks.iter().fold("sack".into(), |line, block| format!("{line} {}:{}", block.left, block.right))
        }
        TcpOptionSpec::Timestamps { value, echo } => format!("TS val {value} ecr {echo}"),
        TcpOptionSpec::FastOpen { experimental, cookie } => {
            let name = if *experimental { "FOEXP" } else { "FO" };
            let cookie = match cookie {
                FastOpenCookie::Bytes(bytes) => hex(bytes),
                FastOpenCookie::Named(name) => name.clone(),
            };
            format!("{name} {cookie}").trim_end().to_owned()
        }
        TcpOptionSpec::AccurateEcn(text) => text.clone(),
        TcpOptionSpec::Raw(kind, data) => format!("option {kind} {}", hex(data)).trim_end().to_owned(),
    }
}

fn icmp(spec: &IcmpSpec) -> String {
    let mut line = format!("{}icmp {}", ip(&spec.ip), spec.kind);
    if !spec.code.is_empty() {
        let _ = write!(line, " {}", spec.code);
    }
    if let Some(mtu) = spec.mtu {
        let _ = write!(line, " mtu {mtu}");
    }
    if let Some((seq, len)) = spec.quoted {
        let _ = write!(line, " [{seq}:{}({len})]", seq.wrapping_add(len));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_wire::{SackBlock, TcpFlags};

    #[test]
    fn packets_read_as_in_scripts() {
        let mut spec = TcpSpec {
            flags: TcpFlags::PSH | TcpFlags::ACK,
            seq: 1,
            len: 1000,
            ack: Some(5),
            window: Some(257),
            options: Some(vec![
                TcpOptionSpec::Nop,
                TcpOptionSpec::Sack(vec![SackBlock { left: 7, right: 9 }]),
                TcpOptionSpec::Timestamps { value: 1, echo: 2 },
            ]),
            ..TcpSpec::default()
        };
        assert_eq!(tcp(&spec), "P. 1:1001(1000) ack 5 win 257 <nop,sack 7:9,TS val 1 ecr 2>");
        spec.options = None;
        spec.window = None;
        spec.urgent = Some(3);
        spec.ip.ecn = Some(EcnSpec::Ect0);
        assert_eq!(packet(&Packet::Tcp(spec)), "[ect0] P. 1:1001(1000) ack 5 urg 3 <...>");
        let icmp = IcmpSpec {
            kind: "unreachable".into(),
            code: "frag_needed".into(),
            mtu: Some(1200),
            quoted: Some((1, 1000)),
            ip: IpSpec::default(),
        };
        assert_eq!(packet(&Packet::Icmp(icmp)), "icmp unreachable frag_needed mtu 1200 [1:1001(1000)]");
    }
}

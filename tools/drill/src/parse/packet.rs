//! Packets: `< S. 0:0(0) ack 1 win 5792 <mss 1460>`, `> udp (100)`, `< icmp unreachable frag_needed mtu 1200
//! [1:1001(1000)]`.

use sockeye_wire::TcpFlags;

use super::options;
use crate::lexer::{Lexer, ParseError};
use crate::script::{Direction, EcnSpec, IcmpSpec, IpSpec, Packet, TcpSpec};

/// A packet, from its `<` or `>` on.
pub(super) fn packet(lexer: &mut Lexer<'_>) -> Result<(Direction, Packet), ParseError> {
    let direction = if lexer.eat("<") {
        Direction::Inbound
    } else {
        lexer.expect(">")?;
        Direction::Outbound
    };
    let mut ip = IpSpec::default();
    let mut quoted = None;
    while lexer.at("[") {
        if let Some(segment) = quoted_segment(lexer)? {
            quoted = Some(segment);
        } else {
            ip_info(lexer, &mut ip)?;
        }
    }
    let packet = if lexer.eat_word("icmp") {
        Packet::Icmp(icmp(lexer, ip, quoted)?)
    } else if quoted.is_some() {
        return Err(lexer.expected("`icmp`"));
    } else {
        let ports = ports(lexer)?;
        if lexer.eat_word("udp") {
            let ports = if ports.is_some() { ports } else { self::ports(lexer)? };
            lexer.expect("(")?;
            let len = lexer.number::<u16>("a length of payload")?;
            lexer.expect(")")?;
            Packet::Udp { len: u32::from(len), ports, ip }
        } else {
            Packet::Tcp(tcp(lexer, ip, ports)?)
        }
    };
    Ok((direction, packet))
}

/// `[ect0]`, `[tos 0x10, ttl 64]`, `[flowlabel 0x1]`.
fn ip_info(lexer: &mut Lexer<'_>, ip: &mut IpSpec) -> Result<(), ParseError> {
    const WHAT: &str = "`noecn`, `ect0`, `ect1`, `ect01`, `ce`, `tos`, `ttl` or `flowlabel`";
    lexer.expect("[")?;
    loop {
        let mut before = lexer.clone();
        match lexer.word() {
            Some("noecn") => ip.ecn = Some(EcnSpec::None),
            Some("ect0") => ip.ecn = Some(EcnSpec::Ect0),
            Some("ect1") => ip.ecn = Some(EcnSpec::Ect1),
            Some("ect01") => ip.ecn = Some(EcnSpec::Ect01),
            Some("ce") => ip.ecn = Some(EcnSpec::Ce),
            Some("tos") => ip.tos = Some(lexer.number("a traffic class")?),
            Some("ttl") => ip.ttl = Some(lexer.number("a time to live")?),
            Some("flowlabel") => {
                let mut start = lexer.clone();
                let label = lexer.number::<u32>("a flow label")?;
                if label >= 1 << 20 {
                    return Err(start.error("a flow label out of range"));
                }
                ip.flow_label = Some(label);
            }
            _ => return Err(before.expected(WHAT)),
        }
        if lexer.eat("]") {
            return Ok(());
        }
        if !lexer.eat(",") {
            return Err(lexer.expected("`,` or `]`"));
        }
    }
}

/// The segment that an ICMP error quotes, if what stands here is one: `[1:1001(1000)]`.
fn quoted_segment(lexer: &mut Lexer<'_>) -> Result<Option<(u32, u32)>, ParseError> {
    let mut ahead = lexer.clone();
    if !ahead.eat("[") || !ahead.peek().is_some_and(|c| c.is_ascii_digit()) {
        return Ok(None);
    }
    let segment = sequence(&mut ahead)?;
    ahead.expect("]")?;
    *lexer = ahead;
    Ok(Some(segment))
}

/// What stands behind `icmp`. `quoted` is what stood before it.
fn icmp(lexer: &mut Lexer<'_>, ip: IpSpec, quoted: Option<(u32, u32)>) -> Result<IcmpSpec, ParseError> {
    let Some(kind) = lexer.word() else { return Err(lexer.expected("a type of ICMP message")) };
    let mut icmp = IcmpSpec { kind: kind.to_owned(), code: String::new(), mtu: None, quoted, ip };
    let mut ahead = lexer.clone();
    if let Some(code) = ahead.word().filter(|&word| word != "mtu") {
        code.clone_into(&mut icmp.code);
        *lexer = ahead;
    }
    if lexer.eat_word("mtu") {
        icmp.mtu = Some(lexer.number("an MTU")?);
    }
    if lexer.at("[") && icmp.quoted.is_none() {
        icmp.quoted = quoted_segment(lexer)?;
        if icmp.quoted.is_none() {
            return Err(lexer.expected("a quoted segment `[first:last(length)]`"));
        }
    }
    Ok(icmp)
}

/// `8080 > 40000`: the ports, if they stand here.
fn ports(lexer: &mut Lexer<'_>) -> Result<Option<(u16, u16)>, ParseError> {
    if !lexer.peek().is_some_and(|c| c.is_ascii_digit()) {
        return Ok(None);
    }
    let source = lexer.number("a port")?;
    lexer.expect(">")?;
    Ok(Some((source, lexer.number("a port")?)))
}

fn tcp(lexer: &mut Lexer<'_>, ip: IpSpec, ports: Option<(u16, u16)>) -> Result<TcpSpec, ParseError> {
    let (flags, ace) = flags(lexer)?;
    let (seq, len) = sequence(lexer)?;
    let ack = if lexer.eat_word("ack") { Some(lexer.number("an acknowledgment number")?) } else { None };
    let window = if lexer.eat_word("win") { Some(lexer.number("a window")?) } else { None };
    let urgent = if lexer.eat_word("urg") { Some(lexer.number("an urgent pointer")?) } else { None };
    let options = if lexer.eat("<") { options::options(lexer)? } else { Some(Vec::new()) };
    let bad_checksum = lexer.eat_word("sum");
    if bad_checksum && !lexer.eat_word("bad") {
        return Err(lexer.expected("`bad`"));
    }
    Ok(TcpSpec { ip, ports, flags, ace, seq, len, ack, window, urgent, options, bad_checksum })
}

/// The control bits, and the count of accurate ECN where a digit stands for its three: `S.`, `P.5`, `SEWA`.
fn flags(lexer: &mut Lexer<'_>) -> Result<(TcpFlags, Option<u8>), ParseError> {
    const WHAT: &str = "flags of F, S, R, P, `.`, U, E, W, A and a digit, or `-`";
    let mut before = lexer.clone();
    if lexer.eat("-") {
        return Ok((TcpFlags::NONE, None));
    }
    let letters = lexer.run(|c| c.is_ascii_alphanumeric() || c == '.');
    let mut flags = TcpFlags::NONE;
    let mut ace = None;
    for letter in letters.chars() {
        flags |= match letter {
            'F' => TcpFlags::FIN,
            'S' => TcpFlags::SYN,
            'R' => TcpFlags::RST,
            'P' => TcpFlags::PSH,
            '.' => TcpFlags::ACK,
            'U' => TcpFlags::URG,
            'E' => TcpFlags::ECE,
            'W' => TcpFlags::CWR,
            'A' => TcpFlags::AE,
            '0'..='7' if ace.is_none() => {
                ace = Some(letter as u8 - b'0');
                TcpFlags::NONE
            }
            _ => return Err(before.expected(WHAT)),
        };
    }
    if letters.is_empty() { Err(before.expected(WHAT)) } else { Ok((flags, ace)) }
}

/// `1:1001(1000)`: the first sequence number and the length.
fn sequence(lexer: &mut Lexer<'_>) -> Result<(u32, u32), ParseError> {
    let mut start = lexer.clone();
    let first = lexer.number::<u32>("a sequence number")?;
    lexer.expect(":")?;
    let last = lexer.number::<u32>("a sequence number")?;
    lexer.expect("(")?;
    let len = u32::from(lexer.number::<u16>("a length of payload")?);
    lexer.expect(")")?;
    if first.wrapping_add(len) != last {
        return Err(start.error(format!("sequence numbers {first}:{last} with a length of {len}")));
    }
    Ok((first, len))
}

//! Reads packet lines. One pass over the words, without backtracking; an error names the word that was not
//! understood and what stands there in a line that is right.

use super::{
    CodeNames, Endpoints, IcmpData, LineBody, PacketLine, TIME_EXCEEDED, TcpLine, V4_UNREACHABLE,
    V6_UNREACHABLE,
};
use crate::{Fragment, Icmpv4, Icmpv6, Protocol, SackBlock, TcpFlags, TcpOptions, TcpTimestamps};
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

/// A line that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The word that was not understood; empty where the line ends too early.
    pub word: String,
    /// What should stand there.
    pub expected: &'static str,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LineError { word, expected } = self;
        if word.is_empty() {
            write!(f, "the packet line ends where {expected} should stand")
        } else {
            write!(f, "'{word}' in a packet line is not {expected}")
        }
    }
}

impl core::error::Error for LineError {}

fn error<T>(word: &str, expected: &'static str) -> Result<T, LineError> {
    Err(LineError { word: word.into(), expected })
}

impl FromStr for PacketLine {
    type Err = LineError;

    fn from_str(text: &str) -> Result<PacketLine, LineError> {
        parse_line(&mut Words { rest: text.trim() }, Quotes::Allowed)
    }
}

impl FromStr for TcpFlags {
    type Err = LineError;

    fn from_str(text: &str) -> Result<TcpFlags, LineError> {
        if text == "-" {
            return Ok(TcpFlags::NONE);
        }
        let mut flags = TcpFlags::NONE;
        for letter in text.chars() {
            match TcpFlags::LETTERS.iter().find(|(known, _)| *known == letter) {
                Some((_, flag)) => flags |= *flag,
                None => {
                    return error(text, "TCP flags out of F S R P . U E W A, nor a word that starts a body");
                }
            }
        }
        if text.is_empty() { error(text, "TCP flags") } else { Ok(flags) }
    }
}

/// Whether an ICMP error may quote a packet: not inside another quote, so that nesting has an end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Allowed,
    Refused,
}

/// What is left of the text.
#[derive(Clone, Copy)]
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// The next word, which isn't taken; empty at the end.
    fn peek(&self) -> &'a str {
        self.rest.split_whitespace().next().unwrap_or_default()
    }

    /// Takes the next word.
    fn next(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let (word, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        self.rest = rest;
        word
    }

    /// Takes the next word if it is `word`.
    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == word;
        if found {
            self.next();
        }
        found
    }

    /// Takes the next word, which must be `word`.
    fn expect(&mut self, word: &'static str) -> Result<(), LineError> {
        if self.take(word) { Ok(()) } else { error(self.peek(), word) }
    }

    /// Takes `name NUMBER`.
    fn field<T: FromStr>(&mut self, name: &'static str) -> Result<T, LineError> {
        self.expect(name)?;
        number(self.next())
    }

    /// Takes `(NUMBER)`.
    fn length(&mut self) -> Result<u32, LineError> {
        let word = self.next();
        match word.strip_prefix('(').and_then(|word| word.strip_suffix(')')) {
            Some(length) => number(length),
            None => error(word, "a length in parentheses"),
        }
    }

    /// Takes all that is left, which must start with `open` and end with `close`.
    fn enclosed(&mut self, open: char, close: char) -> Option<&'a str> {
        let inside = self.rest.trim().strip_prefix(open)?.strip_suffix(close)?;
        self.rest = "";
        Some(inside)
    }

    /// Nothing may be left.
    fn end(&self) -> Result<(), LineError> {
        if self.peek().is_empty() { Ok(()) } else { error(self.peek(), "the end of the line") }
    }
}

fn number<T: FromStr>(word: &str) -> Result<T, LineError> {
    // `parse` also takes a leading plus sign, which has no place here.
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    match word.parse() {
        Ok(number) if digits => Ok(number),
        _ => error(word, "a decimal number of the field's size"),
    }
}

fn parse_line(words: &mut Words<'_>, quotes: Quotes) -> Result<PacketLine, LineError> {
    let mut ahead = *words;
    let src = ahead.next();
    let dst = if ahead.take(">") {
        *words = ahead;
        Some(words.next())
    } else {
        None
    };
    let body = parse_body(words, quotes)?;
    words.end()?;
    let endpoints = dst.map(|dst| parse_endpoints(src, dst, &body)).transpose()?;
    Ok(PacketLine { endpoints, body })
}

fn parse_endpoints(src: &str, dst: &str, body: &LineBody) -> Result<Endpoints, LineError> {
    let Some(without_colon) = dst.strip_suffix(':') else {
        return error(dst, "a destination with a colon behind it");
    };
    let ports = body.has_ports();
    let endpoints = Endpoints { src: parse_addr(src, ports)?, dst: parse_addr(without_colon, ports)? };
    if endpoints.src.is_ipv4() != endpoints.dst.is_ipv4() {
        return error(dst, "an address of the source's family");
    }
    match body {
        LineBody::Icmpv4(..) if endpoints.src.is_ipv6() => error(src, "an IPv4 address, as icmp demands"),
        LineBody::Icmpv6(..) if endpoints.src.is_ipv4() => error(src, "an IPv6 address, as icmp6 demands"),
        _ => Ok(endpoints),
    }
}

fn parse_addr(word: &str, with_port: bool) -> Result<SocketAddr, LineError> {
    if with_port {
        match word.parse() {
            Ok(SocketAddr::V6(addr)) if addr.scope_id() != 0 => error(word, "an address without a scope"),
            Ok(addr) => Ok(addr),
            Err(_) => error(word, "an address with a port, as in 10.77.0.2:80 or [fd77::2]:80"),
        }
    } else {
        match word.parse::<IpAddr>() {
            Ok(addr) => Ok(SocketAddr::new(addr, 0)),
            Err(_) => error(word, "an IP address without a port"),
        }
    }
}

fn parse_body(words: &mut Words<'_>, quotes: Quotes) -> Result<LineBody, LineError> {
    let first = words.next();
    Ok(match first {
        "" => return error(first, "TCP flags, tcp, udp, icmp, icmp6, fragment or proto"),
        "tcp" => LineBody::TcpStart { seq: words.field("seq")? },
        "udp" => LineBody::Udp { len: words.length()? },
        "icmp" => {
            let message = parse_icmpv4(words)?;
            LineBody::Icmpv4(message, parse_icmp_data(words, message.is_error(), quotes)?)
        }
        "icmp6" => {
            let message = parse_icmpv6(words)?;
            LineBody::Icmpv6(message, parse_icmp_data(words, message.is_error(), quotes)?)
        }
        "fragment" => {
            let id = words.field("id")?;
            let protocol = Protocol(words.field("proto")?);
            let offset = words.field("offset")?;
            let len = words.length()?;
            LineBody::Fragment { fragment: Fragment { id, offset, more: words.take("more") }, protocol, len }
        }
        "proto" => LineBody::Other { protocol: Protocol(number(words.next())?), len: words.length()? },
        flags => LineBody::Tcp(parse_tcp(flags.parse()?, words)?),
    })
}

fn parse_tcp(flags: TcpFlags, words: &mut Words<'_>) -> Result<TcpLine, LineError> {
    let (seq, len) = parse_range(words.next())?;
    let optional = |words: &mut Words<'_>, name| {
        if words.peek() == name { words.field(name).map(Some) } else { Ok(None) }
    };
    // A segment that acknowledges says what; any other may.
    let ack = if flags.ack() || words.peek() == "ack" { words.field("ack")? } else { 0 };
    let window = optional(words, "win")?;
    let urgent =
        if flags.contains(TcpFlags::URG) { Some(words.field("urg")?) } else { optional(words, "urg")? };
    let options = if words.peek().is_empty() {
        Some(TcpOptions::default())
    } else {
        match words.enclosed('<', '>') {
            Some("...") => None,
            Some(options) => Some(options.parse()?),
            None => return error(words.peek(), "ack, win, urg or options in <>, in that order"),
        }
    };
    Ok(TcpLine { flags, seq, len, ack, window, urgent: urgent.unwrap_or_default(), options })
}

/// Reads `first:end(length)`.
fn parse_range(word: &str) -> Result<(u32, u32), LineError> {
    const RANGE: &str = "a range of sequence numbers, as in 1:1001(1000)";
    let parts = word.strip_suffix(')').and_then(|word| word.split_once('('));
    let Some(((first, end), len)) = parts.and_then(|(range, len)| Some((range.split_once(':')?, len))) else {
        return error(word, RANGE);
    };
    let (first, end, len): (u32, u32, u32) = (number(first)?, number(end)?, number(len)?);
    if first.wrapping_add(len) != end {
        return error(word, "a range whose end is its first number plus its length");
    }
    Ok((first, len))
}

/// Reads the options between the angle brackets. Padding counts for nothing.
impl FromStr for TcpOptions {
    type Err = LineError;

    fn from_str(text: &str) -> Result<TcpOptions, LineError> {
        let mut options = TcpOptions::default();
        for option in text.split(',').filter(|_| !text.trim().is_empty()) {
            let words = &mut Words { rest: option };
            match words.peek() {
                "nop" | "eol" | "sackOK" => options.sack_permitted |= words.next() == "sackOK",
                "mss" => options.mss = Some(words.field("mss")?),
                "wscale" => options.window_scale = Some(words.field("wscale")?),
                "TS" => {
                    words.next();
                    options.timestamps =
                        Some(TcpTimestamps { value: words.field("val")?, echo: words.field("ecr")? });
                }
                "sack" => {
                    words.next();
                    while !words.peek().is_empty() {
                        let word = words.next();
                        let Some((left, right)) = word.split_once(':') else {
                            return error(word, "a SACK block, as in 1:1001");
                        };
                        if !options.sack.push(SackBlock { left: number(left)?, right: number(right)? }) {
                            return error(word, "one of four SACK blocks: no more fit");
                        }
                    }
                }
                other => return error(other, "a TCP option out of mss, sackOK, TS, wscale, sack, nop, eol"),
            }
            words.end()?;
        }
        Ok(options)
    }
}

/// Reads a code by its name, or `code NUMBER`.
fn parse_code(names: CodeNames, words: &mut Words<'_>) -> Result<u8, LineError> {
    let word = words.next();
    if word == "code" {
        return number(words.next());
    }
    match names.iter().find(|(_, name)| *name == word) {
        Some((code, _)) => Ok(*code),
        None => error(word, "a known reason, nor a number as in code 9"),
    }
}

fn parse_icmpv4(words: &mut Words<'_>) -> Result<Icmpv4, LineError> {
    let first = words.next();
    Ok(match first {
        "echo" => {
            let request = parse_request(words)?;
            let (id, seq) = (words.field("id")?, words.field("seq")?);
            if request { Icmpv4::EchoRequest { id, seq } } else { Icmpv4::EchoReply { id, seq } }
        }
        "unreachable" => {
            let code = parse_code(V4_UNREACHABLE, words)?;
            let mtu = if code == Icmpv4::FRAGMENTATION_NEEDED { words.field("mtu")? } else { 0 };
            Icmpv4::Unreachable { code, mtu }
        }
        "time" => {
            words.expect("exceeded")?;
            Icmpv4::TimeExceeded { code: parse_code(TIME_EXCEEDED, words)? }
        }
        "parameter" => {
            words.expect("problem")?;
            Icmpv4::ParameterProblem { code: words.field("code")?, pointer: words.field("pointer")? }
        }
        "type" => {
            let (kind, code, rest) = parse_other(words)?;
            Icmpv4::Other { kind, code, rest }
        }
        _ => return error(first, "an ICMP message: echo, unreachable, time, parameter or type"),
    })
}

fn parse_icmpv6(words: &mut Words<'_>) -> Result<Icmpv6, LineError> {
    let first = words.next();
    Ok(match first {
        "echo" => {
            let request = parse_request(words)?;
            let (id, seq) = (words.field("id")?, words.field("seq")?);
            if request { Icmpv6::EchoRequest { id, seq } } else { Icmpv6::EchoReply { id, seq } }
        }
        "unreachable" => Icmpv6::Unreachable { code: parse_code(V6_UNREACHABLE, words)? },
        "packet" => {
            words.expect("too")?;
            words.expect("big")?;
            Icmpv6::PacketTooBig { mtu: words.field("mtu")? }
        }
        "time" => {
            words.expect("exceeded")?;
            Icmpv6::TimeExceeded { code: parse_code(TIME_EXCEEDED, words)? }
        }
        "parameter" => {
            words.expect("problem")?;
            Icmpv6::ParameterProblem { code: words.field("code")?, pointer: words.field("pointer")? }
        }
        "type" => {
            let (kind, code, rest) = parse_other(words)?;
            Icmpv6::Other { kind, code, rest }
        }
        _ => return error(first, "an ICMPv6 message: echo, unreachable, packet, time, parameter or type"),
    })
}

/// Whether an echo is a request.
fn parse_request(words: &mut Words<'_>) -> Result<bool, LineError> {
    match words.next() {
        "request" => Ok(true),
        "reply" => Ok(false),
        word => error(word, "request or reply"),
    }
}

/// Behind `type`.
fn parse_other(words: &mut Words<'_>) -> Result<(u8, u8, [u8; 4]), LineError> {
    let kind = number(words.next())?;
    let code = words.field("code")?;
    Ok((kind, code, words.field::<u32>("rest")?.to_be_bytes()))
}

fn parse_icmp_data(words: &mut Words<'_>, is_error: bool, quotes: Quotes) -> Result<IcmpData, LineError> {
    if !words.peek().starts_with('[') {
        return Ok(IcmpData::Len(words.length()?));
    }
    if !is_error {
        return error(words.peek(), "the length of a message that quotes nothing");
    }
    if quotes == Quotes::Refused {
        return error(words.peek(), "a length: a quote holds no other quote");
    }
    match words.enclosed('[', ']') {
        Some(quote) => {
            let line = parse_line(&mut Words { rest: quote.trim() }, Quotes::Refused)?;
            Ok(IcmpData::Quote(Box::new(line)))
        }
        None => error(words.peek(), "a quoted packet line in brackets"),
    }
}

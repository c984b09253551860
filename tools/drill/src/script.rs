//! What a packet script says, as data: the language is packetdrill's.
//!
//! A script is a list of options, then of events in order of time. Times, numbers and names are as they
//! are written; what they mean where the script runs (addresses, descriptors, sequence numbers) is the
//! player's business.

use core::time::Duration;

pub use crate::lexer::ParseError;
pub use crate::parse::parse;
use sockeye_wire::{SackBlock, TcpFlags};

/// A whole script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// `--name=value` lines at the top, in order, without the dashes.
    pub options: Vec<(String, String)>,
    /// Shell commands before the first event, without the backticks: `sysctl` lines and the like.
    pub init: Vec<Command>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Shell commands behind the last event: they put back what those before it changed.
    pub cleanup: Vec<Command>,
}

impl Script {
    /// The value of `--name=value`; of several the last counts.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A shell command of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Line of its first character, from 1.
    pub line: usize,
    /// What stands between the backticks.
    pub text: String,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Line on which it begins, from 1.
    pub line: usize,
    /// The source text, on one line.
    pub text: String,
    /// When it happens.
    pub time: EventTime,
    /// What happens.
    pub action: Action,
}

/// When an event happens, or is expected. Relative times count from the event before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// `1.5`: since the start of the script.
    Absolute(Duration),
    /// `+0.1`: since the event before.
    Relative(Duration),
    /// `1~2`: between two times since the start.
    AbsoluteRange(Duration, Duration),
    /// `+0.1~+0.2`: between two times since the event before.
    RelativeRange(Duration, Duration),
    /// `*`: whenever.
    Any,
}

/// What an event does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `< …` is injected, `> …` expected.
    Packet(Direction, Packet),
    /// A system call of the program under test.
    Call(Call),
    /// A shell command.
    Command(Command),
    /// `%{ … }%`: statements in Python, on the state of the program's latest socket.
    Code(Command),
}

/// Which way a packet goes, seen from the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `<`: into the stack.
    Inbound,
    /// `>`: out of it.
    Outbound,
}

/// A packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// A TCP segment.
    Tcp(TcpSpec),
    /// A datagram: `udp (len)`.
    Udp {
        /// Bytes of payload.
        len: u32,
        /// Source and destination port, where the line names them.
        ports: Option<(u16, u16)>,
        /// `[ect0]` and the like.
        ip: IpSpec,
    },
    /// An ICMP error that quotes a segment: `icmp unreachable frag_needed mtu 1200 [1:1001(1000)]`.
    Icmp(IcmpSpec),
}

/// What a packet line says of the IP header: `[ect0]`, `[noecn]`, `[ect01]`, `[ce]`, `ttl N`, `[flowlabel 0x1]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpSpec {
    /// The ECN bits; `None` where the line says nothing.
    pub ecn: Option<EcnSpec>,
    /// The whole traffic class, from `[tos 0x10]`.
    pub tos: Option<u8>,
    /// The time to live, from `[ttl 64]` or `ttl 64`.
    pub ttl: Option<u8>,
    /// The flow label, from `[flowlabel 0x1]`.
    pub flow_label: Option<u32>,
}

/// The ECN bits of a packet line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnSpec {
    /// Not ECN-capable.
    None,
    /// ECT(0).
    Ect0,
    /// ECT(1).
    Ect1,
    /// Either of the two (outbound only).
    Ect01,
    /// Congestion experienced.
    Ce,
}

/// A TCP segment as a line of a script writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpSpec {
    /// The IP header.
    pub ip: IpSpec,
    /// Source and destination port, where the line names them: `8080 > 40000 S 0:0(0)`.
    pub ports: Option<(u16, u16)>,
    /// The control bits by letter; `-` is the empty set.
    pub flags: TcpFlags,
    /// The ACE field of accurate ECN, where the flags hold a digit.
    pub ace: Option<u8>,
    /// First sequence number, relative.
    pub seq: u32,
    /// Bytes of payload.
    pub len: u32,
    /// The acknowledgment number, relative; `None` where the line has no `ack`.
    pub ack: Option<u32>,
    /// The window field, as it is sent (not scaled); `None` where the line says nothing.
    pub window: Option<u16>,
    /// The urgent pointer.
    pub urgent: Option<u16>,
    /// The options; `None` for `<...>` (any), an empty list where the line has none.
    pub options: Option<Vec<TcpOptionSpec>>,
    /// `sum bad` or the like: the checksum is spoilt (inbound only).
    pub bad_checksum: bool,
}

/// One TCP option as a line writes it, in order, NOPs included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpOptionSpec {
    /// `eol`
    Eol,
    /// `nop`
    Nop,
    /// `mss 1460`
    Mss(u16),
    /// `wscale 7`
    WindowScale(u8),
    /// `sackOK`
    SackPermitted,
    /// `sack 1:2 3:4`, relative.
    Sack(Vec<SackBlock>),
    /// `TS val 1 ecr 2`
    Timestamps {
        /// `TSval`.
        value: u32,
        /// `TSecr`.
        echo: u32,
    },
    /// `FO 1122` (option 34) or `FOEXP 1122` (experimental); an empty cookie is a request.
    FastOpen {
        /// Whether the experimental number is used.
        experimental: bool,
        /// The cookie.
        cookie: FastOpenCookie,
    },
    /// `ECN e1b 1 ceb 0 e0b 1` or `exp-ECN` and the like of accurate ECN: kept as text, single blanks between.
    AccurateEcn(String),
    /// Any other: its kind and the bytes behind its length.
    Raw(u8, Vec<u8>),
}

/// The cookie of a Fast Open option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FastOpenCookie {
    /// The bytes themselves; none are a request.
    Bytes(Vec<u8>),
    /// A name whose value depends on the run's addresses: `TFO_COOKIE`.
    Named(String),
}

/// An ICMP error.
#[derive(Clone, Debug, PartialEq)]
pub struct IcmpSpec {
    /// `unreachable`, `time_exceeded`, `packet_too_big`, …
    pub kind: String,
    /// `frag_needed`, `host_unreachable`, `port_unreachable`, …; empty where there is none.
    pub code: String,
    /// `mtu 1200`.
    pub mtu: Option<u32>,
    /// The segment that it quotes, `[1:1001(1000)]`: first sequence number and length.
    pub quoted: Option<(u32, u32)>,
    /// The IP header.
    pub ip: IpSpec,
}

/// A system call: `0.1...0.2 write(4, ..., 1000) = -1 EPIPE (Broken pipe)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// When it is to return if it blocks: since the start, or since the event before where the event's own
    /// time is relative.
    pub blocks_until: Option<Duration>,
    /// `socket`, `write`, …
    pub name: String,
    /// The arguments. What a call reads into a buffer or a struct stands there as it is expected.
    pub args: Vec<Expr>,
    /// What it answers.
    pub result: Expr,
    /// The name of the error it sets: `EPIPE`.
    pub errno: Option<String>,
    /// The note behind: `Broken pipe`.
    pub note: Option<String>,
}

/// An expression in a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `...`: whatever is usual there.
    Ellipsis,
    /// A number, decimal or hexadecimal.
    Int(i64),
    /// `1.5`
    Float(f64),
    /// `"text"`, escapes resolved.
    Text(Vec<u8>),
    /// `SOL_SOCKET`, `NULL`, `INFINITE_TIMEOUT`
    Name(String),
    /// `O_RDWR | O_NONBLOCK`, `a + b`
    Binary(Box<Expr>, BinaryOp, Box<Expr>),
    /// `~O_NONBLOCK`
    Not(Box<Expr>),
    /// `[1, 2]`
    List(Vec<Expr>),
    /// `{fd=4, events=POLLOUT}`, `{sa_family = AF_INET, …}`; without a name, `{1, 2}`, names are empty. What
    /// is written `msg_iov(1)=[…]` has the field name `msg_iov`, and the value.
    Struct(Vec<(String, Expr)>),
    /// `htons(8080)`, `inet_addr("1.2.3.4")`.
    Apply(String, Vec<Expr>),
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `|`
    Or,
    /// `&`
    And,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `<<`
    Shl,
}

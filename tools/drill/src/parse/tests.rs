use core::time::Duration;
use std::path::{Path, PathBuf};

use sockeye_wire::{SackBlock, TcpFlags};

use super::parse;
use crate::eval::Program;
use crate::script::{
    Action, BinaryOp, Call, Direction, EcnSpec, Event, EventTime, Expr, FastOpenCookie, IcmpSpec, IpSpec,
    Packet, Script, TcpOptionSpec, TcpSpec,
};

fn script(text: &str) -> Script {
    parse("test.pkt", text).unwrap_or_else(|error| panic!("{error}"))
}

fn error(text: &str) -> String {
    parse("test.pkt", text).expect_err("a script that is none").to_string()
}

fn event(text: &str) -> Event {
    let mut events = script(text).events;
    assert_eq!(events.len(), 1, "{text}");
    events.remove(0)
}

fn packet(text: &str) -> Packet {
    match event(&format!("0 < {text}")).action {
        Action::Packet(Direction::Inbound, packet) => packet,
        other => panic!("{other:?}"),
    }
}

fn tcp(text: &str) -> TcpSpec {
    match packet(text) {
        Packet::Tcp(tcp) => tcp,
        other => panic!("{other:?}"),
    }
}

fn call(text: &str) -> Call {
    match event(text).action {
        Action::Call(call) => call,
        other => panic!("{other:?}"),
    }
}

/// The expression `text` as an argument.
fn argument(text: &str) -> Expr {
    let mut args = call(&format!("0 call({text}) = 0")).args;
    assert_eq!(args.len(), 1, "{text}");
    args.remove(0)
}

fn name(name: &str) -> Expr {
    Expr::Name(name.to_owned())
}

fn binary(left: Expr, operator: BinaryOp, right: Expr) -> Expr {
    Expr::Binary(Box::new(left), operator, Box::new(right))
}

fn structure<const N: usize>(fields: [(&str, Expr); N]) -> Expr {
    Expr::Struct(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

#[test]
fn a_whole_script() {
    let script = script(
        "#!/usr/bin/env packetdrill\n\
         // What it shows.\n\
         --ip_version=ipv4   // a comment\n\
         --tolerance_usecs=\"5000\"\n\
         `sysctl -q a=1\n  b=2`\n\
         0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n\
         +.1 > S 0:0(0) <...>\n\
         \x20 * `true`\n\
         +0 %{\n  assert tcpi_rtt == 1\n}%\n\
         `restore`\n",
    );
    let options = [("ip_version", "ipv4"), ("tolerance_usecs", "5000")];
    assert_eq!(script.options, options.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((script.init[0].line, script.init[0].text.as_str()), (5, "sysctl -q a=1\n  b=2"));
    assert_eq!((script.cleanup[0].line, script.cleanup[0].text.as_str()), (13, "restore"));
    let lines: Vec<_> = script.events.iter().map(|event| (event.line, event.text.as_str())).collect();
    assert_eq!(
        lines,
        [
            (7, "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3"),
            (8, "+.1 > S 0:0(0) <...>"),
            (9, "* `true`"),
            (10, "+0 %{ assert tcpi_rtt == 1 }%"),
        ]
    );
    assert_eq!(script.events[1].time, EventTime::Relative(Duration::from_millis(100)));
    assert!(matches!(&script.events[2].action, Action::Command(command) if command.text == "true"));
    assert!(matches!(&script.events[3].action, Action::Code(code) if code.text.contains("assert")));
}

#[test]
fn a_script_may_be_empty() {
    assert_eq!(script(" // nothing\n"), Script::default());
}

#[test]
fn flags_sequence_and_fields() {
    let spec = tcp("FP. 1:1001(1000) ack 7 win 257 urg 3");
    assert_eq!(spec.flags, TcpFlags::FIN | TcpFlags::PSH | TcpFlags::ACK);
    assert_eq!(
        (spec.seq, spec.len, spec.ack, spec.window, spec.urgent),
        (1, 1000, Some(7), Some(257), Some(3))
    );
    assert_eq!(spec.options, Some(Vec::new()));
    let bare = tcp("- 4294967295:9(10)");
    assert_eq!(
        (bare.flags, bare.seq, bare.len, bare.ack, bare.window),
        (TcpFlags::NONE, u32::MAX, 10, None, None)
    );
    assert_eq!(tcp("SEWA 0:0(0)").flags, TcpFlags::SYN | TcpFlags::ECE | TcpFlags::CWR | TcpFlags::AE);
    let counted = tcp("P.5 1:2(1) ack 1");
    assert_eq!((counted.flags, counted.ace), (TcpFlags::PSH | TcpFlags::ACK, Some(5)));
    assert_eq!(tcp("RU 0:0(0)").flags, TcpFlags::RST | TcpFlags::URG);
    assert!(tcp(". 1:1(0) ack 1 sum bad").bad_checksum);
    assert_eq!(tcp("8080 > 40000 . 1:1(0) ack 1").ports, Some((8080, 40000)));
}

#[test]
fn every_option_of_a_segment() {
    let options = |text: &str| tcp(&format!("S 0:0(0) <{text}>")).options;
    assert_eq!(options("..."), None);
    assert_eq!(
        options("mss 1460,sackOK,TS val 1 ecr 0x2, nop ,wscale 7,eol"),
        Some(vec![
            TcpOptionSpec::Mss(1460),
            TcpOptionSpec::SackPermitted,
            TcpOptionSpec::Timestamps { value: 1, echo: 2 },
            TcpOptionSpec::Nop,
            TcpOptionSpec::WindowScale(7),
            TcpOptionSpec::Eol,
        ])
    );
    let blocks = vec![SackBlock { left: 1, right: 2 }, SackBlock { left: 5, right: 9 }];
    assert_eq!(options("sack 1:2 5:9"), Some(vec![TcpOptionSpec::Sack(blocks)]));
    let fast_open = |experimental, cookie| TcpOptionSpec::FastOpen { experimental, cookie };
    assert_eq!(
        options("FO,FO 12ab,FOEXP 00,FO TFO_COOKIE,nop"),
        Some(vec![
            fast_open(false, FastOpenCookie::Bytes(vec![])),
            fast_open(false, FastOpenCookie::Bytes(vec![0x12, 0xab])),
            fast_open(true, FastOpenCookie::Bytes(vec![0])),
            fast_open(false, FastOpenCookie::Named("TFO_COOKIE".into())),
            TcpOptionSpec::Nop,
        ])
    );
    assert_eq!(
        options("ECN e1b 1 ceb 0  e0b 1,exp-ECN e0b 5,ECN"),
        Some(vec![
            TcpOptionSpec::AccurateEcn("ECN e1b 1 ceb 0 e0b 1".into()),
            TcpOptionSpec::AccurateEcn("exp-ECN e0b 5".into()),
            TcpOptionSpec::AccurateEcn("ECN".into()),
        ])
    );
    assert_eq!(
        options("md5,gen 30 0102,gen 31"),
        Some(vec![
            TcpOptionSpec::Raw(19, vec![0; 16]),
            TcpOptionSpec::Raw(30, vec![1, 2]),
            TcpOptionSpec::Raw(31, vec![]),
        ])
    );
}

#[test]
fn what_a_line_says_of_the_ip_header() {
    assert_eq!(tcp("[ect0] . 1:1(0)").ip.ecn, Some(EcnSpec::Ect0));
    assert_eq!(tcp("[ect01] . 1:1(0)").ip.ecn, Some(EcnSpec::Ect01));
    assert_eq!(tcp("[ect1] . 1:1(0)").ip.ecn, Some(EcnSpec::Ect1));
    assert_eq!(tcp("[noecn] . 1:1(0)").ip.ecn, Some(EcnSpec::None));
    assert_eq!(
        tcp("[ce, ttl 63] [flowlabel 0xfffff,tos 0x10] . 1:1(0)").ip,
        IpSpec { ecn: Some(EcnSpec::Ce), tos: Some(0x10), ttl: Some(63), flow_label: Some(0xfffff) }
    );
}

#[test]
fn datagrams_and_icmp() {
    let ip = IpSpec::default();
    assert_eq!(packet("udp (100)"), Packet::Udp { len: 100, ports: None, ip });
    assert_eq!(packet("udp 1 > 2 (0)"), Packet::Udp { len: 0, ports: Some((1, 2)), ip });
    let frag_needed = IcmpSpec {
        kind: "unreachable".into(),
        code: "frag_needed".into(),
        mtu: Some(1200),
        quoted: Some((1, 1000)),
        ip,
    };
    assert_eq!(
        packet("icmp unreachable frag_needed mtu 1200 [1:1001(1000)]"),
        Packet::Icmp(frag_needed.clone())
    );
    assert_eq!(packet("[1:1001(1000)] icmp unreachable frag_needed mtu 1200"), Packet::Icmp(frag_needed));
    let too_big = IcmpSpec {
        kind: "packet_too_big".into(),
        code: String::new(),
        mtu: Some(1280),
        quoted: Some((0, 0)),
        ip,
    };
    assert_eq!(packet("icmp packet_too_big mtu 1280 [0:0(0)]"), Packet::Icmp(too_big));
    let bare = IcmpSpec { kind: "source_quench".into(), code: String::new(), mtu: None, quoted: None, ip };
    assert_eq!(packet("icmp source_quench"), Packet::Icmp(bare));
}

#[test]
fn calls_and_their_results() {
    let plain = call("0 accept(3, ..., ...) = 4");
    assert_eq!((plain.name.as_str(), plain.args.len(), plain.result), ("accept", 3, Expr::Int(4)));
    let failed = call("+0 write(4, ..., 10) = -1 EPIPE (Broken pipe)");
    assert_eq!(failed.result, Expr::Int(-1));
    assert_eq!((failed.errno.as_deref(), failed.note.as_deref()), (Some("EPIPE"), Some("Broken pipe")));
    let noted = call("+0 fcntl(3, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)");
    assert_eq!((noted.result, noted.errno), (Expr::Int(0x802), None));
    assert_eq!(noted.note.as_deref(), Some("flags O_RDWR|O_NONBLOCK"));
    let unnamed = call("+0 call() = -1 (Invalid Argument)");
    assert_eq!((unnamed.args.len(), unnamed.errno), (0, None));
    assert_eq!(call("+0 call() = ...").result, Expr::Ellipsis);
    assert_eq!(call("+0 call() = A | B").result, binary(name("A"), BinaryOp::Or, name("B")));
    assert_eq!(call("+.1...0.2 read(4, ..., 1) = 1").blocks_until, Some(Duration::from_millis(200)));
    assert_eq!(call("+.1 ... 2 read(4, ..., 1) = 1").blocks_until, Some(Duration::from_secs(2)));
}

#[test]
fn a_result_ends_before_the_next_event() {
    assert_eq!(script("0 f() = 1\n+0 g() = 2\n* > . 1:1(0) ack 1\n+0 < . 1:1(0) ack 1\n").events.len(), 4);
}

#[test]
fn plain_expressions() {
    assert_eq!(argument("..."), Expr::Ellipsis);
    assert_eq!(argument("-17"), Expr::Int(-17));
    assert_eq!(argument("-9223372036854775808"), Expr::Int(i64::MIN));
    assert_eq!(argument("0xff"), Expr::Int(255));
    assert_eq!(argument("1.5"), Expr::Float(1.5));
    assert_eq!(argument("-.5"), Expr::Float(-0.5));
    assert_eq!(argument("NULL"), name("NULL"));
    assert_eq!(argument(r#""a\x00b""#), Expr::Text(b"a\0b".to_vec()));
    assert_eq!(argument(r#""begin"..."#), Expr::Text(b"begin".to_vec()));
    assert_eq!(argument("htons(8080)"), Expr::Apply("htons".into(), vec![Expr::Int(8080)]));
    assert_eq!(argument("[1, ...]"), Expr::List(vec![Expr::Int(1), Expr::Ellipsis]));
    assert_eq!(argument("[]"), Expr::List(vec![]));
    assert_eq!(argument("[1,\n // why\n 2,]"), Expr::List(vec![Expr::Int(1), Expr::Int(2)]));
}

#[test]
fn operators_bind_as_in_c() {
    let product = binary(Expr::Int(3), BinaryOp::Mul, Expr::Int(4));
    let sum = binary(Expr::Int(2), BinaryOp::Add, product);
    assert_eq!(argument("A | 2 + 3 * 4"), binary(name("A"), BinaryOp::Or, sum));
    let difference = binary(binary(Expr::Int(9), BinaryOp::Sub, Expr::Int(4)), BinaryOp::Sub, Expr::Int(1));
    assert_eq!(argument("9 - 4 - 1"), difference);
    let bits = binary(Expr::Not(Box::new(name("A"))), BinaryOp::And, name("B"));
    assert_eq!(argument("~A & B"), bits);
    let shift = binary(Expr::Int(1), BinaryOp::Shl, binary(Expr::Int(2), BinaryOp::Add, Expr::Int(3)));
    assert_eq!(argument("1 << 2 + 3"), shift);
    let grouped = binary(binary(Expr::Int(1), BinaryOp::Add, Expr::Int(2)), BinaryOp::Mul, Expr::Int(3));
    assert_eq!(argument("(1 + 2) * 3"), grouped);
}

#[test]
fn structures() {
    assert_eq!(
        argument("{onoff=1, linger=2}"),
        structure([("onoff", Expr::Int(1)), ("linger", Expr::Int(2))])
    );
    assert_eq!(argument("{..., 1000}"), structure([("", Expr::Ellipsis), ("", Expr::Int(1000))]));
    assert_eq!(
        argument("{POLLIN | POLLOUT}"),
        structure([("", binary(name("POLLIN"), BinaryOp::Or, name("POLLOUT")))])
    );
    assert_eq!(
        argument("[{fd=4, events=POLLOUT, revents=POLLOUT}]"),
        Expr::List(vec![structure([
            ("fd", Expr::Int(4)),
            ("events", name("POLLOUT")),
            ("revents", name("POLLOUT"))
        ])])
    );
    assert_eq!(
        argument(r#"{sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr("1.2.3.4")}"#),
        structure([
            ("sa_family", name("AF_INET")),
            ("sin_port", Expr::Apply("htons".into(), vec![Expr::Int(80)])),
            ("sin_addr", Expr::Apply("inet_addr".into(), vec![Expr::Text(b"1.2.3.4".to_vec())])),
        ])
    );
}

#[test]
fn messages_with_control_data() {
    let message = argument(
        "{msg_name(...)=..., msg_iov(1)=[{..., 10}],
          msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data=0}], msg_flags=0}",
    );
    let control = structure([
        ("cmsg_level", name("SOL_TCP")),
        ("cmsg_type", name("TCP_CM_INQ")),
        ("cmsg_data", Expr::Int(0)),
    ]);
    let expected = structure([
        ("msg_name", Expr::Ellipsis),
        ("msg_iov", Expr::List(vec![structure([("", Expr::Ellipsis), ("", Expr::Int(10))])])),
        ("msg_control", Expr::List(vec![control])),
        ("msg_flags", Expr::Int(0)),
    ]);
    assert_eq!(message, expected);
}

#[test]
fn errors_say_where_and_what() {
    for (text, message) in [
        ("0 < S 0:0(0) win", "test.pkt:1:17: expected a window, found the end of the script"),
        ("0 < S 0:0(0) win 65536", "test.pkt:1:18: a window out of range"),
        ("\n  0 < . 1:10(1)", "test.pkt:2:9: sequence numbers 1:10 with a length of 1"),
        (
            "0 < Q 0:0(0)",
            "test.pkt:1:5: expected flags of F, S, R, P, `.`, U, E, W, A and a digit, or `-`, found `Q`",
        ),
        ("0 < S 0:0(0) <mss 1 nop>", "test.pkt:1:21: expected `,` or `>`, found `nop>`"),
        ("0 < S 0:0(0) <TS ecr 1>", "test.pkt:1:18: expected `val`, found `ecr`"),
        ("0 < S 0:0(0) <FO abc>", "test.pkt:1:18: expected a cookie of whole bytes, found `abc>`"),
        ("0 < [1:2(1)] . 1:1(0)", "test.pkt:1:14: expected `icmp`, found `.`"),
        ("0 < [flowlabel 0x100000] . 1:1(0)", "test.pkt:1:16: a flow label out of range"),
        ("0 accept(3, 4 = 1", "test.pkt:1:15: expected `,` or `)`, found `=`"),
        ("0 accept(3) ", "test.pkt:1:13: expected `=`, found the end of the script"),
        ("0 f() = 99999999999999999999", "test.pkt:1:9: a number out of range"),
        ("0 f() = 9223372036854775808", "test.pkt:1:9: a number out of range"),
        ("0 `never closed", "test.pkt:1:3: ``` without its ```"),
        ("0 %{ assert 1", "test.pkt:1:3: `%{` without its `}%`"),
        ("--mss 5", "test.pkt:1:7: expected `=`, found `5`"),
        ("0 ", "test.pkt:1:3: expected a packet, a call, a command or code, found the end of the script"),
    ] {
        assert_eq!(error(text), message);
    }
}

#[test]
fn nesting_is_bounded() {
    for open in ["(", "[", "{", "{a=", "f(", "~", "{f("] {
        let message = error(&format!("0 call({}", open.repeat(100_000)));
        assert!(message.ends_with("this expression is nested too deep"), "{open}: {message}");
    }
}

#[test]
fn chains_of_operators_are_bounded() {
    assert!(
        error(&format!("0 call(1{}) = 0", " | 1".repeat(100_000))).ends_with("this expression is too long")
    );
    assert!(
        error(&format!("0 call() = 1{}", " | 1".repeat(100_000))).ends_with("this expression is too long")
    );
}

/// All files below `folder` that end in `.pkt`.
fn scripts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of scripts") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(scripts(&path));
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            found.push(path);
        }
    }
    found
}

#[test]
fn shared_scripts_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/packetdrill");
    if !folder.is_dir() {
        eprintln!("skipped: no scripts in {}", folder.display());
        return;
    }
    let scripts = scripts(&folder);
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("a script");
        let script = parse(&path.display().to_string(), &text).map_err(|error| error.to_string())?;
        for event in script.events {
            if let Action::Code(code) = event.action {
                Program::parse(&code.text)
                    .map_err(|error| format!("{}:{}: {error}", path.display(), code.line))?;
            }
        }
        Ok(())
    };
    let failed: Vec<String> = scripts.iter().filter_map(|path| read(path).err()).collect();
    assert!(failed.is_empty(), "{} of {} are not read:\n{}", failed.len(), scripts.len(), failed.join("\n"));
}

/// Pieces that scripts are made of, for texts that are nearly scripts.
const PIECES: [&str; 60] = [
    "0",
    "1",
    "+0",
    "+.1",
    "~",
    "+",
    "*",
    "...",
    " ",
    "\n",
    "< ",
    "> ",
    "S",
    "S.",
    "P.5",
    ".",
    "-",
    "0:0(0)",
    "1:1001(1000)",
    "ack ",
    "win ",
    "urg ",
    "<",
    ">",
    "<...>",
    "mss ",
    "nop",
    ",",
    "sack ",
    "1:2",
    "TS val ",
    "ecr ",
    "FO ",
    "ECN e1b 1",
    "[",
    "]",
    "ect0",
    "ttl ",
    "udp ",
    "icmp ",
    "unreachable ",
    "mtu ",
    "(",
    ")",
    "{",
    "}",
    "=",
    "fd=",
    "msg_iov(1)=",
    "\"",
    "\\x",
    "|",
    "`",
    "%{",
    "}%",
    "//",
    "/*",
    "*/",
    "#",
    "--mss=1",
];

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    /// Any text is read or refused: no panic, no end of the stack, no loop without an end.
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = parse("any.pkt", &text);
    }

    #[test]
    fn pieces_of_scripts_are_read_or_refused(pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..60)) {
        if let Err(error) = parse("any.pkt", &pieces.concat()) {
            proptest::prop_assert!(error.line >= 1 && error.column >= 1);
        }
    }

    /// A script of which bytes were lost or changed.
    #[test]
    fn spoilt_scripts_are_read_or_refused(at in 0usize..600, piece in proptest::sample::select(&PIECES[..]), cut in 0usize..5) {
        const TEXT: &str = "--mss=1000\n`sysctl -q a=1`\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3 // one\n\
            +0 < [ect0] S. 0:0(0) ack 1 win 100 <mss 1000,sackOK,TS val 1 ecr 0,sack 1:2 3:4,FO 1234>\n\
            +0...0.1 poll([{fd=4, events=POLLIN|POLLOUT, revents=...}], 1, -1) = -1 EINTR (Interrupted)\n\
            +0~+.1 > icmp unreachable frag_needed mtu 1200 [1:1001(1000)]\n\
            * recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{\"a\\x00\", 10}], msg_flags=0}, 0) = 10\n\
            +0 %{ assert tcpi_rtt < 5 }%\n";
        let start = at.min(TEXT.len());
        let end = (start + cut).min(TEXT.len());
        let spoilt = format!("{}{piece}{}", &TEXT[..start], &TEXT[end..]);
        let _ = parse("any.pkt", &spoilt);
    }
}

//! The table of options against the running kernel: the same calls on a socket of each, option by option.
//!
//! Every number of every level is tried, not only those that have a row. What differs on purpose is listed in
//! [`KNOWN`] with its reason; a difference that isn't listed fails. Options that the kernel is too old for don't count. The sockets are the machine's own, on its loopback.

mod sys;

use sockeye_packet::Instant;
use sockeye_posix::address::AddressBytes;
use sockeye_posix::options::{Target, find};
use sockeye_posix::{Errno, SocketKind, Stored};
use sockeye_stack::{Config, Domain, NicConfig, Owner, SockAddr, SocketId, SocketType, Stack};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::OwnedFd;

const KINDS: [(&str, SocketKind); 4] = [
    ("TCP", SocketKind { domain: Domain::Inet, kind: SocketType::Stream }),
    ("TCP over IPv6", SocketKind { domain: Domain::Inet6, kind: SocketType::Stream }),
    ("UDP", SocketKind { domain: Domain::Inet, kind: SocketType::Datagram }),
    ("UDP over IPv6", SocketKind { domain: Domain::Inet6, kind: SocketType::Datagram }),
];

const LEVELS: [i32; 5] =
    [libc::SOL_SOCKET, libc::IPPROTO_IP, libc::IPPROTO_IPV6, libc::IPPROTO_TCP, libc::IPPROTO_UDP];

/// What a socket has been through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Fresh,
    Bound,
    Listening,
    Connected,
}

const STATES: [State; 4] = [State::Fresh, State::Bound, State::Listening, State::Connected];

/// Options that answer otherwise than the machine's kernel, and why.
const KNOWN: &[(&str, &str)] = &[
    ("0:3", "IP_HDRINCL is raw sockets' alone, also to read"),
    ("17:101", "checksums are always there"),
    ("17:102", "checksums are always there"),
    ("UDP_GRO", "datagrams are not joined"),
    ("UDP_SEGMENT", "messages are not cut"),
    ("1:26", "SO_ATTACH_FILTER is for raw and packet sockets"),
    ("1:27", "SO_DETACH_FILTER is for raw and packet sockets"),
    ("1:44", "SO_LOCK_FILTER is for raw and packet sockets"),
    ("IP6T_SO_ORIGINAL_DST", "nothing is redirected, whatever the room"),
    ("IPV6_2292PKTOPTIONS", "control messages that stay are not read"),
    ("IPV6_ADDRFORM", "a socket's family doesn't change"),
    ("IPV6_FLOWLABEL_MGR", "flow labels are not leased"),
    ("IPV6_MULTICAST_IF", "the machine has other interfaces"),
    ("IPV6_PATHMTU", "that there is no peer is told before that there is no room"),
    ("IP_DROP_MEMBERSHIP", "EINVAL for what is no group, which nobody can have joined"),
    ("IP_MSFILTER", "filters of sources are not read"),
    ("IP_MULTICAST_ALL", "Linux starts IPv6's sockets with a 0 that isn't acted on"),
    ("MCAST_MSFILTER", "filters of sources are not read"),
    ("SO_ATTACH_FILTER", "the instructions come gathered, not as a pointer"),
    ("SO_ATTACH_BPF", "EINVAL for every descriptor"),
    ("SO_ATTACH_REUSEPORT_CBPF", "no programs for groups that share a port"),
    ("SO_ATTACH_REUSEPORT_EBPF", "EINVAL for every descriptor"),
    ("SO_BINDTODEVICE", "a socket may change its interface without CAP_NET_RAW"),
    ("SO_BINDTOIFINDEX", "a socket may change its interface without CAP_NET_RAW"),
    ("SO_DEVMEM_DONTNEED", "there is no memory of devices"),
    ("SO_LINGER", "the seconds of a linger that is off are forgotten"),
    ("SO_ORIGINAL_DST", "nothing is redirected, whatever the room"),
    ("SO_TIMESTAMPING", "numbers of what is sent may be asked for in any state"),
    ("SO_TIMESTAMPING_NEW", "numbers of what is sent may be asked for in any state"),
    ("SO_ZEROCOPY", "copying is what is done"),
    ("TCP_CC_INFO", "the kernel's default may be BBR, which tells more than CUBIC"),
    ("TCP_FASTOPEN_CONNECT", "Fast Open is off"),
    ("TCP_FASTOPEN_KEY", "Fast Open is off"),
    ("TCP_QUEUE_SEQ", "EINVAL in every state"),
    ("TCP_TX_DELAY", "`sockeye lab` has links that delay"),
    ("TCP_ZEROCOPY_RECEIVE", "memory can't be lent"),
    ("UDP_ENCAP", "datagrams are not decapsulated"),
];

/// Options whose values are each socket's or each machine's own: only lengths and errors are compared.
const VALUES: &[&str] = &[
    "IPV6_MTU",
    "IP_MTU",
    "IP_PROTOCOL",
    "SO_COOKIE",
    "SO_INCOMING_CPU",
    "SO_MEMINFO",
    "SO_NETNS_COOKIE",
    "SO_PEERNAME",
    "SO_RCVBUF",
    "SO_RCVLOWAT",
    "SO_RCVTIMEO",
    "SO_RCVTIMEO_NEW",
    "SO_SNDBUF",
    "SO_SNDTIMEO",
    "SO_SNDTIMEO_NEW",
    "TCP_CONGESTION",
    "TCP_DELACK_MAX_US",
    "TCP_INFO",
    "TCP_MAXSEG",
    "TCP_RTO_MAX_MS",
    "TCP_RTO_MIN_US",
    "TCP_TIMESTAMP",
    "TCP_WINDOW_CLAMP",
];

/// Levels' numbers that are not the sockets' but the packet filter's.
fn is_netfilter(level: i32, name: i32) -> bool {
    matches!(level, libc::IPPROTO_IP | libc::IPPROTO_IPV6)
        && matches!(name, 64..=69 | 81..=99)
        && !(level == libc::IPPROTO_IPV6 && matches!(name, 66 | 67))
}

/// A socket of the kernel, and those that it needs.
struct Theirs {
    fd: OwnedFd,
    _others: Vec<OwnedFd>,
}

/// A socket of a stack, and the stack.
struct Ours {
    stack: Stack,
    id: SocketId,
    kind: SocketKind,
    stored: Stored,
}

fn domain(kind: SocketKind) -> i32 {
    if kind.domain == Domain::Inet { libc::AF_INET } else { libc::AF_INET6 }
}

fn here(kind: SocketKind, port: u16) -> SockAddr {
    let ip = if kind.domain == Domain::Inet { "127.0.0.1" } else { "::1" };
    SockAddr::new(ip.parse().unwrap(), port)
}

impl Theirs {
    /// None where the kernel refuses such sockets.
    fn new(kind: SocketKind, state: State) -> Option<Theirs> {
        let type_ = if kind.kind == SocketType::Stream { libc::SOCK_STREAM } else { libc::SOCK_DGRAM };
        let new = || sys::socket(domain(kind), type_, 0).ok();
        let any = AddressBytes::new(here(kind, 0), kind.domain);
        let fd = new()?;
        let mut others = Vec::new();
        match state {
            State::Fresh => {}
            State::Bound => sys::bind(&fd, any.as_slice()).ok()?,
            State::Listening => {
                sys::bind(&fd, any.as_slice()).ok()?;
                sys::listen(&fd).ok()?;
            }
            State::Connected => {
                let peer = new()?;
                sys::bind(&peer, any.as_slice()).ok()?;
                if kind.kind == SocketType::Stream {
                    sys::listen(&peer).ok()?;
                }
                sys::connect(&fd, &sys::local(&peer).ok()?).ok()?;
                if kind.kind == SocketType::Stream {
                    others.push(sys::accept(&peer).ok()?);
                }
                others.push(peer);
            }
        }
        Some(Theirs { fd, _others: others })
    }
}

const NOW: Instant = Instant::ZERO;

impl Ours {
    fn new(kind: SocketKind, state: State) -> Ours {
        let mut stack = Stack::new(Config::default(), [7; 32]);
        stack.add_nic(NicConfig::memory("eth0", 1500)).unwrap();
        let id = stack.socket(kind.domain, kind.kind, Owner::default()).unwrap();
        match state {
            State::Fresh => {}
            State::Bound => stack.bind(id, here(kind, 0)).unwrap(),
            State::Listening => {
                stack.bind(id, here(kind, 0)).unwrap();
                stack.listen(NOW, id, 5).unwrap();
            }
            State::Connected => {
                let peer = stack.socket(kind.domain, kind.kind, Owner::default()).unwrap();
                stack.bind(peer, here(kind, 4000)).unwrap();
                if kind.kind == SocketType::Stream {
                    stack.listen(NOW, peer, 5).unwrap();
                }
                // A stream's handshake on the loopback is over when the call returns, and it says so the next time.
                let _ = stack.connect(NOW, id, here(kind, 4000));
                if kind.kind == SocketType::Stream {
                    stack.accept(NOW, peer).unwrap();
                }
                assert!(stack.peer_addr(id).is_ok());
            }
        }
        Ours { stack, id, kind, stored: Stored::default() }
    }

    fn target(&mut self) -> Target<'_> {
        let Ours { stack, id, kind, stored } = self;
        Target { stack, now: NOW, id: *id, kind: *kind, stored }
    }

    fn set(&mut self, level: i32, name: i32, value: &[u8]) -> Result<(), i32> {
        self.target().set(level, name, value).map_err(|errno| errno.0)
    }

    fn get(&mut self, level: i32, name: i32, room: usize) -> Result<Vec<u8>, i32> {
        let value = self.target().get(level, name).map_err(|errno| errno.0)?;
        value.cut_to(room).map(<[u8]>::to_vec).map_err(|errno| errno.0)
    }
}

/// What options are set to: numbers, bytes too few and too many, names.
fn values() -> Vec<Vec<u8>> {
    let numbers = [
        0,
        1,
        -1,
        -2,
        2,
        3,
        4,
        5,
        6,
        7,
        100,
        127,
        128,
        255,
        256,
        999,
        1000,
        1279,
        1280,
        1500,
        2000,
        4608,
        32767,
        32768,
        65535,
        65536,
        120_000,
        200_000,
        200_001,
        1_000_000,
        i32::MIN,
        i32::MAX,
        1 << 24,
    ];
    let mut values: Vec<Vec<u8>> = numbers.map(|number: i32| number.to_ne_bytes().to_vec()).to_vec();
    values.extend([vec![], vec![0], vec![1], vec![255], vec![1, 0], vec![1, 0, 0], vec![1, 0, 0, 0, 7]]);
    let pair = |a: i32, b: i32| [a.to_ne_bytes(), b.to_ne_bytes()].concat();
    values.extend([pair(0, 0), pair(1, 0), pair(1, 5), pair(1, 1), pair(0, 1), pair(1, 7), pair(-1, -1)]);
    let time = |a: i64, b: i64| [a.to_ne_bytes(), b.to_ne_bytes()].concat();
    values.extend([time(0, 0), time(1, 2000), time(1, 1_000_000), time(-1, 0), time(3, 0), time(0, -1)]);
    // Options of IPv4: a route to record, a full one, none, and a word to routers.
    values.extend([vec![7, 7, 4, 0, 0, 0, 0], vec![7, 7, 8, 1, 2, 3, 4], vec![7, 3, 4], vec![148, 4, 0, 0]]);
    values.extend([vec![0; 12], vec![0; 20], vec![0; 32], vec![1; 20], vec![0; 200]]);
    values
        .extend(["lo", "lo\0", "no-such-device", "reno", "cubic", "no-such"].map(|t| t.as_bytes().to_vec()));
    values
}

const ROOMS: [usize; 9] = [4, 0, 1, 2, 3, 8, 12, 16, 40];

fn spelled(result: &Result<Vec<u8>, i32>) -> String {
    match result {
        Err(errno) => Errno(*errno).to_string(),
        Ok(bytes) => match <[u8; 4]>::try_from(bytes.as_slice()) {
            Ok(int) => i32::from_ne_bytes(int).to_string(),
            Err(_) => format!("{bytes:02x?}"),
        },
    }
}

/// The first difference of an option's answers, if there is one. None also for what the kernel doesn't know.
fn difference(
    ours: &mut Ours,
    theirs: &OwnedFd,
    (level, name): (i32, i32),
    values: &[Vec<u8>],
) -> Option<String> {
    let mut said = String::new();
    let mut known = false;
    let label = label(ours.kind, level, name);
    let lengths_only = VALUES.contains(&label.as_str());
    let mut compare = |what: std::fmt::Arguments<'_>, a: &Result<Vec<u8>, i32>, b: &Result<Vec<u8>, i32>| {
        known |= *b != Err(libc::ENOPROTOOPT) && *b != Err(libc::EINVAL);
        let same = match (a, b) {
            (Ok(a), Ok(b)) if lengths_only => a.len() == b.len(),
            _ => a == b,
        };
        if !same && said.is_empty() {
            write!(said, "{what}: {}, the kernel's {}", spelled(a), spelled(b)).unwrap();
        }
    };
    for room in ROOMS {
        let (a, b) = (ours.get(level, name, room), sys::get(theirs, level, name, room));
        compare(format_args!("get({room})"), &a, &b);
    }
    for value in values {
        let (a, b) = (ours.set(level, name, value), sys::set(theirs, level, name, value));
        let text = spelled(&Ok(value.clone()));
        compare(format_args!("set({text})"), &a.map(|()| Vec::new()), &b.map(|()| Vec::new()));
        for room in [4, 16] {
            let (a, b) = (ours.get(level, name, room), sys::get(theirs, level, name, room));
            compare(format_args!("get({room}) after set({text})"), &a, &b);
        }
    }
    let has_row = find(ours.kind, level, name).is_some();
    (!said.is_empty() && (known || !has_row)).then_some(said)
}

fn label(kind: SocketKind, level: i32, name: i32) -> String {
    find(kind, level, name).map_or_else(|| format!("{level}:{name}"), |row| row.label.to_owned())
}

/// The differences by option, or none where sockets are refused.
fn differences() -> Option<BTreeMap<String, Vec<String>>> {
    sys::become_ordinary();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let all = values();
    for (what, kind) in KINDS {
        for state in STATES {
            if state == State::Listening && kind.kind != SocketType::Stream {
                continue;
            }
            // What a socket has been through matters to few options, and not for odd values.
            let values = if state == State::Fresh { &all[..] } else { &all[..12] };
            for option in LEVELS.iter().flat_map(|&level| (0..=105).map(move |name| (level, name))) {
                if is_netfilter(option.0, option.1) {
                    continue;
                }
                let theirs = Theirs::new(kind, state)?;
                if let Some(said) = difference(&mut Ours::new(kind, state), &theirs.fd, option, values) {
                    let label = label(kind, option.0, option.1);
                    found.entry(label).or_default().push(format!("{what}, {state:?}: {said}"));
                }
            }
        }
    }
    Some(found)
}

#[test]
fn options_answer_as_the_kernels() {
    let Some(found) = std::thread::spawn(differences).join().unwrap() else {
        eprintln!("skipped: no sockets, or no IPv6, on this machine");
        return;
    };
    let known = |label: &str| KNOWN.iter().any(|(known, _)| *known == label);
    let unknown: Vec<_> = found.iter().filter(|(label, _)| !known(label)).collect();
    for (label, places) in &unknown {
        eprintln!("{label}");
        places.iter().for_each(|place| eprintln!("    {place}"));
    }
    assert!(unknown.is_empty(), "{} options answer otherwise than the kernel's", unknown.len());
}

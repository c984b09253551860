//! Sequences of calls from seeds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{
    AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM, SOL_SOCKET,
};
use sockeye_packet::Rng;
use sockeye_posix::berkeley::SIOCATMARK;
use sockeye_posix::options::TABLE;

use crate::call::{Address, Call, PLACES, PORTS, Place, Port};

/// What a sequence is mostly about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Theme {
    Stream,
    Datagram,
    Names,
    Options,
    Anything,
}

/// What there is in sequences beside streams, UDP and the options about names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scope {
    /// Options of all kinds, with all kinds of values.
    pub(crate) options: bool,
    /// Ping, raw and UDP-Lite sockets instead of streams.
    pub(crate) packets: bool,
}

/// The sequence of a seed.
pub(crate) fn sequence(seed: u64, scope: Scope) -> Vec<Call> {
    let mut maker = Maker { rng: Rng::from_u64(seed), scope, kinds: [None; PLACES], calls: Vec::new() };
    let theme = match maker.below(10) {
        0..=3 if scope.packets => Theme::Anything,
        0..=3 => Theme::Stream,
        4 | 5 => Theme::Datagram,
        6 | 7 => Theme::Names,
        8 if scope.options => Theme::Options,
        _ => Theme::Anything,
    };
    match theme {
        Theme::Stream => maker.connection(),
        Theme::Datagram => maker.datagrams(),
        Theme::Names | Theme::Options | Theme::Anything => {}
    }
    for _ in 0..8 + maker.below(20) {
        maker.one(theme);
    }
    maker.calls
}

/// The numbers of a socket call.
#[derive(Clone, Copy)]
struct Kind {
    domain: i32,
    of: i32,
    protocol: i32,
}

impl Kind {
    /// Whether its local port is no port.
    fn is_portless(self) -> bool {
        self.of == SOCK_RAW || self.is_ping()
    }

    fn is_ping(self) -> bool {
        self.of == SOCK_DGRAM && [libc::IPPROTO_ICMP, libc::IPPROTO_ICMPV6].contains(&self.protocol)
    }
}

struct Maker {
    rng: Rng,
    scope: Scope,
    /// The socket in each place, as far as can be told.
    kinds: [Option<Kind>; PLACES],
    calls: Vec<Call>,
}

impl Maker {
    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn socket(&mut self, at: Place, domain: i32, kind: i32) {
        self.open(at, Kind { domain, of: kind, protocol: 0 });
    }

    fn open(&mut self, at: Place, what: Kind) {
        self.kinds[at] = Some(what);
        let Kind { domain, of: kind, protocol } = what;
        self.calls.push(Call::Socket { at, domain, kind, protocol });
    }

    /// A socket that carries packets, of any kind; some there are none of.
    fn open_packets(&mut self, at: Place, domain: i32) {
        let echo = if domain == AF_INET { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 };
        let (of, protocol) = match self.below(14) {
            0..=3 => (SOCK_DGRAM, 0),
            4 | 5 => (SOCK_DGRAM, libc::IPPROTO_UDPLITE),
            6..=8 => (SOCK_DGRAM, echo),
            9 | 10 => (SOCK_RAW, self.pick(&[echo, libc::IPPROTO_UDP])),
            11 | 12 => (SOCK_RAW, 253),
            _ => (self.pick(&[SOCK_DGRAM, SOCK_RAW, SOCK_STREAM, 7]), self.pick(&[-1, 0, 1, 6, 17, 58, 263])),
        };
        self.open(at, Kind { domain, of, protocol });
    }

    /// A connection between two places, accepted at a third.
    fn connection(&mut self) {
        let server = self.pick(&[AF_INET, AF_INET6]);
        self.socket(0, server, SOCK_STREAM);
        if self.one_in(3) {
            self.set_flag(0, (SOL_SOCKET, libc::SO_REUSEADDR), 1);
        }
        if server == AF_INET6 && self.one_in(3) {
            let on = self.below(2);
            self.set_flag(0, (IPPROTO_IPV6, libc::IPV6_V6ONLY), on as i32);
        }
        let address = Address { port: Port::Fixed(0), len: None, ..self.own_address(server) };
        self.calls.push(Call::Bind { at: 0, address });
        let backlog = self.pick(&[0, 1, 5, 5]);
        self.calls.push(Call::Listen { at: 0, backlog });
        let client = if self.one_in(4) { self.pick(&[AF_INET, AF_INET6]) } else { server };
        self.socket(1, client, SOCK_STREAM);
        let mut peer = Address { port: Port::Of(0), len: None, ..self.own_address(client) };
        if client == server && !self.one_in(4) {
            peer.ip = address.ip;
        }
        self.calls.push(Call::Connect { at: 1, address: peer });
        if !self.one_in(5) {
            self.kinds[2] = self.kinds[0];
            self.calls.push(Call::Accept { at: 0, into: 2 });
        }
        if self.one_in(2) {
            self.calls.push(Call::Connect { at: 1, address: peer });
        }
    }

    /// Two datagram sockets that know each other.
    fn datagrams(&mut self) {
        let domain = self.pick(&[AF_INET, AF_INET6]);
        for at in 0..2 {
            self.socket(at, domain, SOCK_DGRAM);
            let address = Address { port: Port::Fixed(at as u16), len: None, ..self.own_address(domain) };
            self.calls.push(Call::Bind { at, address });
        }
        for at in 0..2 {
            if self.one_in(2) {
                let address = Address { port: Port::Of(1 - at), len: None, ..self.own_address(domain) };
                self.calls.push(Call::Connect { at, address });
            }
        }
    }

    /// An address that is most likely the host's and right for the family.
    fn own_address(&mut self, domain: i32) -> Address {
        const V4: [Ipv4Addr; 4] =
            [Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::UNSPECIFIED];
        let v4 = self.pick(&V4);
        let ip = if domain == AF_INET {
            IpAddr::V4(v4)
        } else if self.one_in(4) {
            IpAddr::V6(v4.to_ipv6_mapped())
        } else {
            IpAddr::V6(self.pick(&[Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED]))
        };
        Address { family: domain, ip, port: self.port(), len: None }
    }

    fn port(&mut self) -> Port {
        match self.below(8) {
            0 => Port::Zero,
            1..=3 => match self.below(PLACES) {
                place if self.kinds[place].is_some_and(Kind::is_portless) => Port::Fixed(0),
                place => Port::Of(place),
            },
            _ => Port::Fixed(self.below(PORTS.into()) as u16),
        }
    }

    /// Any address, right for the socket's family more often than not.
    fn address(&mut self, at: Place) -> Address {
        let domain = self.kinds[at].map_or(AF_INET, |kind| kind.domain);
        let other = if domain == AF_INET { AF_INET6 } else { AF_INET };
        let mut address = match self.below(20) {
            0 => Address { family: other, ..self.own_address(domain) },
            1 => self.own_address(other),
            2 => {
                // Nobody's address, and no route to it.
                let ip: IpAddr = match (domain, self.below(2)) {
                    (AF_INET, _) => Ipv4Addr::new(192, 0, 2, 1).into(),
                    (_, 0) => Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into(),
                    _ => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
                };
                Address { family: domain, ip, port: self.port(), len: None }
            }
            _ => self.own_address(domain),
        };
        let raw = self.kinds[at].is_some_and(|kind| kind.of == SOCK_RAW);
        if raw && domain == AF_INET6 && !self.one_in(4) {
            // A port is wrong there.
            address.port = Port::Zero;
        }
        if self.one_in(30) {
            address.len = Some(self.pick(&[0, 1, 2, 8, 15, 16, 24, 27, 28, 128]));
        }
        address
    }

    /// An address to connect to. A datagram socket that is connected to port 0 is a curiosity of the kernel's.
    fn peer(&mut self, at: Place) -> Address {
        let mut address = self.address(at);
        if address.port == Port::Zero && self.kinds[at].is_some_and(|kind| kind.of == SOCK_DGRAM) {
            address.port = Port::Fixed(0);
        }
        address
    }

    fn set_flag(&mut self, at: Place, option: (i32, i32), value: i32) {
        self.calls.push(Call::Set { at, option, value: value.to_ne_bytes().to_vec() });
    }

    fn one(&mut self, theme: Theme) {
        let at = self.below(PLACES);
        if self.kinds[at].is_none() {
            // Places fill up slowly, so that calls meet.
            if self.one_in(2) {
                self.fresh(at, theme);
            } else {
                self.one(theme);
            }
            return;
        }
        let weight = self.below(100);
        match theme {
            Theme::Options if weight < 80 => self.any_option(at),
            Theme::Names if weight < 25 => self.named_option(at),
            Theme::Names if weight < 50 => {
                let address = self.address(at);
                self.calls.push(Call::Bind { at, address });
            }
            Theme::Names if weight < 60 => self.listen(at),
            _ => self.any(at, theme),
        }
    }

    fn fresh(&mut self, at: Place, theme: Theme) {
        let domain = self.pick(&[AF_INET, AF_INET6]);
        if self.scope.packets {
            return self.open_packets(at, domain);
        }
        let kind = match (theme, self.below(4)) {
            (Theme::Stream, 0..3) | (Theme::Datagram, 0) => SOCK_STREAM,
            (Theme::Stream | Theme::Datagram, _) => SOCK_DGRAM,
            (_, 0..2) => SOCK_STREAM,
            _ => SOCK_DGRAM,
        };
        self.socket(at, domain, kind);
    }

    fn listen(&mut self, at: Place) {
        let backlog = self.pick(&[0, 1, 5, -1]);
        self.calls.push(Call::Listen { at, backlog });
    }

    fn any(&mut self, at: Place, theme: Theme) {
        let call = match self.below(100) {
            0..=4 => return self.fresh(at, theme),
            5..=11 => Call::Bind { at, address: self.address(at) },
            12..=24 => Call::Connect { at, address: self.peer(at) },
            25..=27 => {
                let family = libc::AF_UNSPEC;
                Call::Connect { at, address: Address { family, len: None, ..self.address(at) } }
            }
            28..=32 => return self.listen(at),
            33..=40 => {
                let into = self.below(PLACES);
                self.kinds[into] = self.kinds[at];
                Call::Accept { at, into }
            }
            41..=53 => Call::Send {
                at,
                len: self.length(),
                first: self.first_byte(at),
                flags: self.send_flags(),
                to: if self.one_in(3) { Some(self.address(at)) } else { None },
            },
            54..=68 => Call::Receive { at, room: self.length(), flags: self.receive_flags() },
            69..=76 => Call::Shutdown { at, how: self.pick(&[0, 1, 1, 2, 2, 3]) },
            77..=81 => Call::Close { at },
            82..=85 => Call::LocalName { at },
            86..=88 => Call::PeerName { at },
            89..=91 => self.fact(at),
            92..=93 => {
                let request = self.pick(&[libc::FIONREAD as u32, SIOCATMARK]);
                Call::Request { at, request }
            }
            _ => return self.named_option(at),
        };
        self.calls.push(call);
    }

    /// An option that tells what became of the socket.
    fn fact(&mut self, at: Place) -> Call {
        let name = self.pick(&[libc::SO_ERROR, libc::SO_ERROR, libc::SO_ERROR, libc::SO_ACCEPTCONN]);
        Call::Get { at, option: (SOL_SOCKET, name), room: 4 }
    }

    fn length(&mut self) -> usize {
        self.pick(&[0, 1, 10, 100, 100, 1000, 2000])
    }

    /// The first byte to send: that of an echo request from a ping socket, mostly.
    fn first_byte(&mut self, at: Place) -> u8 {
        let Some(kind) = self.kinds[at].filter(|kind| kind.is_ping()) else { return 0 };
        match (self.one_in(4), kind.domain) {
            (true, _) => 0,
            (false, AF_INET) => 8,
            (false, _) => 128,
        }
    }

    fn send_flags(&mut self) -> i32 {
        if self.one_in(12) {
            // When what a stream sends with MSG_MORE goes out is a matter of time.
            let flags = [libc::MSG_EOR, libc::MSG_CONFIRM, libc::MSG_NOSIGNAL, libc::MSG_DONTROUTE];
            if self.one_in(2) { libc::MSG_OOB } else { self.pick(&flags) }
        } else {
            0
        }
    }

    fn receive_flags(&mut self) -> i32 {
        let flags = [libc::MSG_PEEK, libc::MSG_OOB, libc::MSG_TRUNC, libc::MSG_WAITALL];
        let more = self.pick(&flags);
        match self.below(6) {
            0 => more,
            1 if self.one_in(3) => more | self.pick(&flags),
            _ => 0,
        }
    }

    /// An option that decides about names and connections, with a sensible value.
    fn named_option(&mut self, at: Place) {
        const OPTIONS: [(i32, i32); 9] = [
            (SOL_SOCKET, libc::SO_REUSEADDR),
            (SOL_SOCKET, libc::SO_REUSEADDR),
            (SOL_SOCKET, libc::SO_REUSEPORT),
            (SOL_SOCKET, libc::SO_REUSEPORT),
            (IPPROTO_IPV6, libc::IPV6_V6ONLY),
            (SOL_SOCKET, libc::SO_OOBINLINE),
            (SOL_SOCKET, libc::SO_LINGER),
            (SOL_SOCKET, libc::SO_RCVLOWAT),
            (IPPROTO_TCP, libc::TCP_NODELAY),
        ];
        let option = self.pick(&OPTIONS);
        if option.1 == libc::SO_LINGER && option.0 == SOL_SOCKET {
            let value = [i32::from(!self.one_in(3)), 0].map(i32::to_ne_bytes).concat();
            self.calls.push(Call::Set { at, option, value });
            return;
        }
        let mut on = i32::from(!self.one_in(4));
        if option == (SOL_SOCKET, libc::SO_RCVLOWAT) {
            on = self.pick(&[0, 1, 10, 101]);
        }
        self.set_flag(at, option, on);
    }

    /// Any option, read or written, with any value of any length.
    fn any_option(&mut self, at: Place) {
        let row = TABLE[self.below(TABLE.len())];
        let mut option = (row.level, row.name);
        if self.one_in(40) {
            option = (self.pick(&[SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6]), self.below(90) as i32);
        }
        let len = if self.one_in(5) { self.below(20) } else { 4 };
        let get = Call::Get { at, option, room: len };
        if self.one_in(3) {
            self.calls.push(get);
            return;
        }
        let number: i32 = match self.below(6) {
            0 => -1,
            1 => 0,
            2 => 1,
            3 => self.below(300) as i32,
            4 => self.below(70_000) as i32,
            _ => self.rng.next_u32() as i32,
        };
        let mut value = [number, self.below(2) as i32, 0, 0, 0].map(i32::to_ne_bytes).concat();
        value.truncate(len);
        self.calls.push(Call::Set { at, option, value });
        self.calls.push(get);
    }
}

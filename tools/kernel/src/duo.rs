//! One Sockeye stack and one kernel's host with a connection between them, for scenarios that are told step by step.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sockeye_link::{Link, Netem, NetemConfig};
use sockeye_packet::{Batch, Checksum, Chunk, Head, Instant, Meta, Packet, Payload, Rng};
use sockeye_stack::Config;
use sockeye_wire::{Icmpv4, Icmpv6, IpLayout, Ipv4Header, Ipv6Header, Protocol, TcpHeader};

use crate::kernel_end::KernelEnd;
use crate::namespace::KernelHost;
use crate::program::{End, Plan, Program, Socket};
use crate::run::{Side, addresses};
use crate::sockeye_end::SockeyeEnd;

/// What a scenario answers.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The server's port.
pub(crate) const PORT: u16 = 2_000;
/// Longest turn.
const TURN: Duration = Duration::from_millis(20);
const BUFFER_LEN: usize = 256 * 1024;

/// How the two are set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) is_v6: bool,
    /// Who connects.
    pub(crate) client: Side,
    /// The Sockeye stack's.
    pub(crate) config: Config,
    /// Values below `/proc/sys/net` of the kernel's host.
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    /// The conditions of each direction.
    pub(crate) link: NetemConfig,
    /// Whether super-segments cross the TUN device.
    pub(crate) offload: bool,
    /// The longest packet that a router on the path lets pass; it tells of others.
    pub(crate) path_mtu: Option<u16>,
}

impl Setup {
    pub(crate) fn new(is_v6: bool, client: Side) -> Setup {
        Setup {
            is_v6,
            client,
            config: Config::default(),
            settings: Vec::new(),
            link: NetemConfig { delay: Duration::from_millis(5), ..NetemConfig::default() },
            offload: false,
            path_mtu: None,
        }
    }
}

/// A packet that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) from: Side,
    /// From its IP header on, in bytes.
    pub(crate) len: usize,
    pub(crate) payload: usize,
    pub(crate) tcp: TcpHeader,
    /// The ECN bits of its IP header.
    pub(crate) ecn: u8,
}

/// Sockeye on the left, the kernel on the right.
#[derive(Debug)]
pub(crate) struct Duo {
    pub(crate) setup: Setup,
    pub(crate) kernel: KernelHost,
    pub(crate) ours: SockeyeEnd,
    pub(crate) theirs: KernelEnd,
    /// By the side that sends.
    pub(crate) netems: [Netem; 2],
    /// All TCP segments sent so far.
    pub(crate) passed: Vec<Passed>,
    /// Whose next segments with data are marked as having met congestion.
    pub(crate) mark: Option<Side>,
    origin: std::time::Instant,
    buffer: Vec<u8>,
}

impl Duo {
    /// Sets both up; the client begins to connect.
    pub(crate) fn start(setup: Setup) -> Result<Duo> {
        let kernel = KernelHost::new(&addresses(Side::Right), setup.offload)?;
        for (name, value) in &setup.settings {
            kernel.set(name, value).map_err(|error| format!("{name}: {error}"))?;
        }
        let origin = std::time::Instant::now();
        let now = Instant::from_millis(1);
        let server = address(setup.client.other(), setup.is_v6, PORT);
        let (ours, theirs) = if setup.client == Side::Left {
            let theirs = KernelEnd::listen(&kernel, server)?;
            (SockeyeEnd::connect(setup.config.clone(), [7; 32], now, server)?, theirs)
        } else {
            let ours = SockeyeEnd::listen(setup.config.clone(), [7; 32], now, server)?;
            (ours, KernelEnd::connect(&kernel, server)?)
        };
        let netems = [1, 2].map(|seed| Netem::new(setup.link, Rng::from_u64(seed)));
        let (passed, mark, buffer) = (Vec::new(), None, vec![0; BUFFER_LEN]);
        Ok(Duo { setup, kernel, ours, theirs, netems, passed, mark, origin, buffer })
    }

    /// Sets both up and waits until the connection is open at both.
    pub(crate) fn connected(setup: Setup) -> Result<Duo> {
        let mut duo = Duo::start(setup)?;
        duo.until("the connection is open", Duration::from_secs(5), |duo| {
            duo.theirs.accept()?;
            Ok(duo.ours.is_open()? && duo.theirs.is_open()?)
        })?;
        Ok(duo)
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_millis(1) + self.origin.elapsed()
    }

    /// Lets packets and time pass until something holds.
    pub(crate) fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut holds: impl FnMut(&mut Duo) -> Result<bool>,
    ) -> Result<()> {
        let end = self.now() + limit;
        while !holds(self)? {
            if self.now() > end {
                return Err(format!("after {limit:?} it isn't so that {what}").into());
            }
            self.turn()?;
        }
        Ok(())
    }

    /// Lets packets and time pass.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<()> {
        let end = self.now() + time;
        while self.now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Carries out a program at each end, Sockeye's first; a missing one does nothing meanwhile.
    pub(crate) fn programs(&mut self, limit: Duration, programs: [Option<&mut Program>; 2]) -> Result<()> {
        let [mut left, mut right] = programs;
        self.until("all programs ended", limit, |duo| {
            let now = duo.now();
            if let Some(left) = &mut left {
                left.step(now, &mut duo.ours, &mut duo.buffer);
            }
            if let Some(right) = &mut right {
                right.step(now, &mut duo.theirs, &mut duo.buffer);
            }
            Ok([&left, &right].into_iter().flatten().all(|program| program.end.is_some()))
        })
    }

    /// Carries out a transfer both ways and checks that every byte came through.
    pub(crate) fn transfer(&mut self, plans: [Plan; 2], limit: Duration) -> Result<()> {
        let [mut left, mut right] = plans.map(Program::new);
        self.programs(limit, [Some(&mut left), Some(&mut right)])?;
        finished(&left, &right)
    }

    /// The segments that a side sent.
    pub(crate) fn sent_by(&self, side: Side) -> impl Iterator<Item = &Passed> {
        self.passed.iter().filter(move |passed| passed.from == side)
    }

    /// Waits for what comes next and does it.
    fn turn(&mut self) -> Result<()> {
        let now = self.now();
        let netems = self.netems.iter().filter_map(Netem::poll_timeout);
        let due = netems.chain(self.ours.poll_timeout()).min().unwrap_or(now + TURN);
        let wait = (due - now).min(TURN);
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        let fd = self.kernel.tun.as_fd().ok_or("a TUN device has a descriptor")?;
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout))?;
        let now = self.now();
        let mut batch = Batch::new();
        self.kernel.tun.receive(now, &mut batch)?;
        batch.drain().for_each(|packet| self.take(now, Side::Right, packet));
        while let Some((_, packet)) = self.netems[Side::Right as usize].dequeue(now) {
            self.ours.receive(packet);
        }
        self.ours.advance(now);
        self.ours.transmit(now, &mut batch);
        batch.drain().for_each(|packet| self.take(now, Side::Left, packet));
        while let Some((_, packet)) = self.netems[Side::Left as usize].dequeue(now) {
            batch.push(packet);
        }
        Ok(self.kernel.tun.send(now, &mut batch)?)
    }

    /// A packet enters the network.
    fn take(&mut self, now: Instant, from: Side, mut packet: Packet) {
        let Ok(ip) = IpLayout::parse(&packet.head) else { return };
        let tcp = packet.head.get(ip.transport..).and_then(|bytes| TcpHeader::parse(bytes).ok());
        let Some((tcp, _)) = tcp.filter(|_| ip.protocol == Protocol::TCP) else { return };
        if let Some(mtu) = self.setup.path_mtu.filter(|&mtu| wire_len(&packet) > usize::from(mtu)) {
            let error = too_big(&packet, &ip, mtu);
            self.netems[from.other() as usize].enqueue(now, error);
            return;
        }
        if self.mark == Some(from) && !packet.payload.is_empty() {
            set_ecn(&mut packet, 3);
        }
        let (len, payload, ecn) = (packet.len(), packet.payload.len(), ecn_of(&packet));
        self.passed.push(Passed { from, len, payload, tcp, ecn });
        self.netems[from as usize].enqueue(now, packet);
    }
}

/// An address of a side.
pub(crate) fn address(side: Side, is_v6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(addresses(side)[usize::from(is_v6)], port)
}

/// Whether two programs that sent to each other saw all of it.
pub(crate) fn finished(left: &Program, right: &Program) -> Result<()> {
    for (own, peer, name) in [(left, right, "Sockeye's"), (right, left, "the kernel's")] {
        if own.end != Some(End::Closed) || !own.intact || own.received != peer.sent {
            let (end, received, sent) = (own.end, own.received, peer.sent);
            return Err(
                format!("{name} end: {end:?}, intact {}, {received} bytes of {sent}", own.intact).into()
            );
        }
    }
    Ok(())
}

/// Length of the longest segment of a packet on the wire.
fn wire_len(packet: &Packet) -> usize {
    let size = usize::from(packet.meta.gso_size);
    packet.head.len() + if size > 0 { packet.payload.len().min(size) } else { packet.payload.len() }
}

fn ecn_of(packet: &Packet) -> u8 {
    let head = &packet.head;
    match head.first().map_or(0, |byte| byte >> 4) {
        4 => head[1] & 3,
        _ => (head[1] >> 4) & 3,
    }
}

fn set_ecn(packet: &mut Packet, ecn: u8) {
    match packet.head.first().map_or(0, |byte| byte >> 4) {
        4 => packet.head[1] = packet.head[1] & !3 | ecn,
        _ => packet.head[1] = packet.head[1] & !0x30 | ecn << 4,
    }
    // The IPv4 header's checksum is another one now.
    packet.meta.checksum = Checksum::Unfilled;
}

/// What a router answers that can't pass a packet on (RFC 1191, RFC 8201).
fn too_big(packet: &Packet, ip: &IpLayout, mtu: u16) -> Packet {
    let quoted = packet.to_vec();
    let quoted = &quoted[..quoted.len().min(if ip.src.is_ipv4() { 28 } else { 1000 })];
    let mut bytes = [0; 48];
    let len = match (router(ip.src.is_ipv4()), ip.src) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total_len = (Ipv4Header::MIN_LEN + Icmpv4::LEN + quoted.len()) as u16;
            let header =
                Ipv4Header { src, dst, total_len, protocol: Protocol::ICMP, ..Ipv4Header::default() };
            let at = header.emit(&mut bytes);
            at + Icmpv4::Unreachable { code: Icmpv4::FRAGMENTATION_NEEDED, mtu }.emit(&mut bytes[at..])
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let payload_len = (Icmpv6::LEN + quoted.len()) as u16;
            let header = Ipv6Header { src, dst, next_header: Protocol::ICMPV6, ..Ipv6Header::default() };
            let at = Ipv6Header { payload_len, ..header }.emit(&mut bytes);
            at + Icmpv6::PacketTooBig { mtu: mtu.into() }.emit(&mut bytes[at..])
        }
        _ => 0,
    };
    let meta = Meta { checksum: Checksum::Unfilled, ..Meta::default() };
    Packet { head: Head::from_slice(&bytes[..len]), payload: Payload::from(Chunk::copy_from(quoted)), meta }
}

/// The router that both sides have in their network.
fn router(is_v4: bool) -> IpAddr {
    if is_v4 { [10, 99, 0, 254].into() } else { [0xfd99, 0, 0, 0, 0, 0, 0, 0xfe].into() }
}

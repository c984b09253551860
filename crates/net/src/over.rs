//! Interfaces over a [`Link`] of their own: a TUN device, a cable, a tunnel, a link of the user's.
//!
//! Whoever moves the host's packets calls the link, under a lock of its own and with no lock of a stack or of
//! the wire held. A link is asked for packets when its waker was called, its descriptor became ready, or its
//! time has come.

use crate::driver::Core;
use crate::network::Network;
use crate::nic::everything;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, Host, HostConfig};
use sockeye_link::segmentation::{self, Segments};
use sockeye_link::{Capabilities, Link, Medium};
use sockeye_packet::{Batch, Instant, Packet};
use sockeye_stack::{NicConfig, Route};
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

/// When a link that had no room is offered its packets again, if nobody says earlier that there is room.
const RETRY: Duration = Duration::from_millis(10);

/// How an interface over a [`Link`] is set up: MTU, super-segments and checksums follow from the link's
/// [capabilities](Link::capabilities), the rest is said here.
///
/// ```
/// use sockeye::LinkInterface;
///
/// let interface = LinkInterface::new("tun0")
///     .address("192.0.2.2".parse()?, 24)
///     .gateway("192.0.2.1".parse()?);
/// # assert_eq!(interface.addresses.len(), 1);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInterface {
    /// Its name, as programs and captures see it.
    pub name: String,
    /// Its addresses, with the lengths of their prefixes: what shares the prefix is reached by the link.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Further ranges that are reached by it, as addresses with the lengths of their prefixes, and the router
    /// to them, if there is one.
    pub routes: Vec<(IpAddr, u8, Option<IpAddr>)>,
    /// An MTU, in bytes, of at least 68 and at most the link's, which holds unless one is stated. Another is
    /// [`Error::BadMtu`].
    pub mtu: Option<u32>,
}

impl LinkInterface {
    /// An interface without addresses.
    pub fn new(name: impl Into<String>) -> LinkInterface {
        LinkInterface { name: name.into(), addresses: Vec::new(), routes: Vec::new(), mtu: None }
    }

    /// Gives it one more address.
    pub fn address(mut self, address: IpAddr, prefix: u8) -> LinkInterface {
        self.addresses.push((address, prefix));
        self
    }

    /// Has what no other route leads to go by this router, in its family.
    pub fn gateway(mut self, router: IpAddr) -> LinkInterface {
        self.routes.push((everything(router), 0, Some(router)));
        self
    }

    /// Has a range of addresses be reached by the link, without a router.
    pub fn route(mut self, address: IpAddr, prefix: u8) -> LinkInterface {
        self.routes.push((address, prefix, None));
        self
    }

    /// The settings of the stack's interface over this link. A link that wants Ethernet headers is refused.
    pub(crate) fn nic_config(&self, host: &str, link: &dyn Link) -> Result<NicConfig, Error> {
        let capabilities = link.capabilities();
        let Capabilities { medium, mtu, max_packet, in_memory } = capabilities;
        if medium != Medium::Ip {
            let reason = "it carries Ethernet frames, and the stack speaks IP only";
            return Err(Error::Link { name: host.to_owned(), reason });
        }
        let bounds = NicConfig::LEAST_MTU..=mtu.min(Capabilities::LONGEST_PACKET);
        let mtu = self.mtu.unwrap_or(*bounds.end());
        if !bounds.contains(&mtu) {
            return Err(Error::BadMtu { name: Some(self.name.clone()), mtu, bounds });
        }
        // What a link takes beyond its MTU is super-segments, whose headers are at most 120 bytes long.
        let whole = (capabilities.takes_super_segments() && max_packet > mtu)
            .then(|| (max_packet as usize).saturating_sub(120));
        let max_segment = whole.unwrap_or(0).min(NicConfig::LARGEST_STATED_SEGMENT);
        Ok(NicConfig { checksums: !in_memory, max_segment, ..NicConfig::memory(&*self.name, mtu) })
    }

    /// The routes that are stated, by interface `nic`.
    pub(crate) fn stack_routes(&self, nic: sockeye_packet::NicId) -> Vec<Route> {
        let route = |&(dest, prefix, gateway)| Route { dest, prefix, gateway, nic, metric: 0 };
        self.routes.iter().map(route).collect()
    }
}

/// Standalone hosts.
impl Host {
    /// A host with one interface, over any link: sockets on a TUN device, a tunnel, a cable in memory, or a
    /// [`Link`] of your own. It is driven by the machine's clock, with a thread that ends with the last handle
    /// to the host or one of its sockets: what isn't sent by then is lost, so keep one.
    ///
    /// Of the [`HostConfig`] only the stack's settings and the capture may be stated: the interface says the rest.
    ///
    /// ```
    /// use sockeye::link::Cable;
    /// use sockeye::{Host, HostConfig, LinkInterface};
    /// use std::io::{Read, Write};
    ///
    /// let (near, far) = Cable::default().connect();
    /// let address = |ip: &str| LinkInterface::new("eth0").address(ip.parse().unwrap(), 24);
    /// let server = Host::over("server", near, &address("192.0.2.1"), HostConfig::default())?;
    /// let client = Host::over("client", far, &address("192.0.2.2"), HostConfig::default())?;
    ///
    /// let listener = server.tcp_listen((server.ipv4(), 80))?;
    /// client.tcp_connect((server.ipv4(), 80))?.write_all(b"hello")?;
    /// let mut text = String::new();
    /// listener.accept()?.0.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn over(
        name: &str,
        link: impl Link + 'static,
        interface: &LinkInterface,
        config: HostConfig,
    ) -> Result<Host, Error> {
        Network::builder().build()?.add_standalone(name, Box::new(link), interface, config)
    }

    /// The last error that one of its [links](Host::over) reported since this was last asked: such a link
    /// loses what it is given until it works again; one that panicked is not used any more.
    pub fn take_link_error(&self) -> Option<io::Error> {
        self.core.nics.iter().filter_map(|nic| nic.link.as_ref()).find_map(LinkPort::take_error)
    }
}

/// A link, and what the driver must know of it without asking it.
pub(crate) struct LinkPort {
    inner: Mutex<Inner>,
    /// It may have something to receive.
    is_readable: AtomicBool,
    /// It had no room for all that it was given.
    is_blocked: AtomicBool,
    /// When it wants to be called, in nanoseconds.
    deadline: AtomicU64,
}

struct Inner {
    link: Box<dyn Link>,
    /// What it had no room for.
    pending: Batch,
    error: Option<io::Error>,
    /// It has panicked, and is not called any more.
    is_broken: bool,
}

impl std::fmt::Debug for LinkPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkPort")
    }
}

impl LinkPort {
    pub(crate) fn new(link: Box<dyn Link>) -> LinkPort {
        LinkPort {
            inner: Mutex::new(Inner { link, pending: Batch::new(), error: None, is_broken: false }),
            is_readable: AtomicBool::new(true),
            is_blocked: AtomicBool::new(false),
            deadline: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether nothing can be sent now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::SeqCst)
    }

    /// When the link wants to be called.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::from_nanos(self.deadline.load(Ordering::SeqCst))
    }

    /// Notes that it may have something to receive, or room.
    pub(crate) fn mark_ready(&self) {
        self.is_readable.store(true, Ordering::SeqCst);
    }

    /// Does what is due, offers again what found no room, and fetches what has arrived until the batch is full.
    pub(crate) fn receive(&self, now: Instant, batch: &mut Batch) {
        let is_due = self.deadline() <= now;
        if !is_due && !self.is_readable.swap(false, Ordering::SeqCst) {
            return;
        }
        self.call(now, |inner| {
            if inner.link.poll_timeout().is_some_and(|at| at <= now) {
                inner.link.handle_timeout(now);
            }
            inner.offer(now);
            if let Err(error) = inner.link.receive(now, batch) {
                inner.error = Some(error);
            }
            if batch.is_full() {
                self.mark_ready();
            }
        });
    }

    /// Sends the packets of the batch; what finds no room waits for the next call.
    pub(crate) fn send(&self, now: Instant, batch: &mut Batch) {
        self.call(now, |inner| {
            let capabilities = inner.link.capabilities();
            batch.drain().for_each(|packet| prepare(&capabilities, packet, &mut inner.pending));
            inner.offer(now);
        });
        // A link that is broken takes nothing.
        batch.drain().for_each(drop);
    }

    /// Calls the link, and stores what the driver asks for later. A panic must not unwind through the thread that
    /// happens to move the packets, which may be the driver's: it is the link's last.
    fn call(&self, now: Instant, call: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        if inner.is_broken {
            return;
        }
        let called = catch_unwind(AssertUnwindSafe(|| {
            call(&mut inner);
            self.note(now, &inner);
        }));
        if called.is_err() {
            inner.is_broken = true;
            inner.pending.drain().for_each(drop);
            inner.error = Some(io::Error::other("the link panicked, and is not used any more"));
            self.is_blocked.store(false, Ordering::SeqCst);
            self.deadline.store(u64::MAX, Ordering::SeqCst);
        }
    }

    fn note(&self, now: Instant, inner: &Inner) {
        let is_blocked = !inner.pending.is_empty();
        self.is_blocked.store(is_blocked, Ordering::SeqCst);
        let mut deadline = inner.link.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
        if is_blocked {
            deadline = deadline.min(now + RETRY);
        }
        self.deadline.store(deadline.as_nanos(), Ordering::SeqCst);
    }

    fn take_error(&self) -> Option<io::Error> {
        self.lock().error.take()
    }

    /// Has the link wake its host, and answers the number of its descriptor, which is open as long as this is.
    pub(crate) fn connect(&self, waker: &Waker) -> Option<RawDescriptor> {
        let mut inner = self.lock();
        inner.link.set_waker(waker);
        #[cfg(unix)]
        return inner.link.as_fd().map(|fd| std::os::fd::AsRawFd::as_raw_fd(&fd));
        #[cfg(not(unix))]
        None
    }

    /// Takes the link away: its other end sees it go, and nothing is sent or received any more.
    pub(crate) fn unplug(&self) {
        let gone = std::mem::replace(&mut self.lock().link, Box::new(Unplugged));
        // With no lock held: a link may wake somebody when it goes.
        drop(gone);
        self.deadline.store(u64::MAX, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn offer(&mut self, now: Instant) {
        if self.pending.is_empty() {
            return;
        }
        if let Err(error) = self.link.send(now, &mut self.pending) {
            // It is down: what waits for it would only be late.
            self.pending.drain().for_each(drop);
            self.error = Some(error);
        }
    }
}

/// Puts into `pending` what a packet is on a link: super-segments are cut as far as it wants them to be, and where bytes
/// leave memory checksums are filled, so that a link needs to know of neither.
fn prepare(capabilities: &Capabilities, packet: Packet, pending: &mut Batch) {
    let mut push = |mut part: Packet| {
        // A link that takes super-segments fills what it cuts.
        if !capabilities.in_memory && !part.is_super_segment() {
            segmentation::fill_checksums(&mut part);
        }
        pending.push(part);
    };
    let most = if capabilities.takes_super_segments() { capabilities.max_packet as usize } else { 0 };
    if packet.is_super_segment() && packet.len() > most {
        Segments::of(&packet).runs(most).for_each(push);
    } else {
        push(packet);
    }
}

/// A descriptor's number.
pub(crate) type RawDescriptor = i32;

/// What stands for the link of a host that was removed.
struct Unplugged;

impl Link for Unplugged {
    fn capabilities(&self) -> Capabilities {
        Capabilities::memory(Capabilities::LONGEST_PACKET)
    }

    fn send(&mut self, _now: Instant, batch: &mut Batch) -> io::Result<()> {
        batch.drain().for_each(drop);
        Ok(())
    }

    fn receive(&mut self, _now: Instant, _batch: &mut Batch) -> io::Result<()> {
        Ok(())
    }
}

/// Has a host visited when its link has something for it.
pub(crate) struct LinkWaker {
    core: Weak<Core>,
    host: u32,
    nic: usize,
}

impl LinkWaker {
    /// The waker of an interface's link.
    pub(crate) fn of(core: &Arc<Core>, host: u32, nic: usize) -> Waker {
        Waker::from(Arc::new(LinkWaker { core: Arc::downgrade(core), host, nic }))
    }
}

impl Wake for LinkWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(core) = self.core.upgrade() {
            core.link_is_ready(self.host, self.nic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_packet::{Checksum, Chunk, Head, Meta, Payload};
    use sockeye_wire::{Ipv4Header, Protocol, TcpHeader};

    /// A super-segment of 90 segments of this size.
    fn of_segments(size: u16) -> Packet {
        let mut head = Head::zeroed(40);
        Ipv4Header { protocol: Protocol::TCP, ..Ipv4Header::default() }.emit(&mut head);
        TcpHeader::default().emit(&mut head[20..]);
        let payload = Payload::from(Chunk::from(vec![7; 90 * usize::from(size)]));
        let meta = Meta { gso_size: size, checksum: Checksum::Unfilled, ..Meta::default() };
        let mut packet = Packet { head, payload, meta };
        packet.head.state_len(packet.len());
        packet
    }

    #[test]
    fn a_link_gets_packets_that_it_takes() {
        let memory = Capabilities::memory(1500);
        let offload = Capabilities { in_memory: false, ..memory };
        let plain = Capabilities { max_packet: 1500, ..offload };
        // What a link is, the size of segments, and how many packets it gets.
        let cases =
            [(memory, 1460, 3), (offload, 1460, 3), (plain, 1460, 90), (plain, 536, 90), (plain, 10, 90)];
        for (capabilities, size, count) in cases {
            let mut pending = Batch::new();
            prepare(&capabilities, of_segments(size), &mut pending);
            let parts: Vec<_> = pending.drain().collect();
            assert_eq!(parts.len(), count);
            assert!(
                parts.iter().all(|part| part.len() <= capabilities.max_packet as usize && part.states_len())
            );
            let filled = capabilities == plain;
            assert!(parts.iter().all(|part| (part.meta.checksum == Checksum::Verified) == filled));
            let bytes: usize = parts.iter().map(|part| part.payload.len()).sum();
            assert_eq!(bytes, 90 * usize::from(size));
        }
    }
}

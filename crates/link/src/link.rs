//! What a stack's driver needs to know of anything that carries packets.

use sockeye_packet::{Batch, Instant};
use std::io;
use std::task::Waker;

/// Carries IP packets to and from somewhere: a cable in memory, a TUN device, a tunnel, a card.
///
/// The trait is open: implement it to run a stack over a link of your own. A driver calls it from one
/// thread at a time, with no lock of a stack held, and never expects it to block.
///
/// A driver waits for a link in one of two ways. A link over a descriptor of the operating system
/// returns it from [`Link::as_fd`], and is used when the descriptor is ready. Any other link wakes the
/// [`Waker`] it was given when there is something to receive, or room again after a refused send.
/// A link with timers of its own (a tunnel's keep-alive, a simulated delay) states the next of them in
/// [`Link::poll_timeout`].
pub trait Link: Send {
    /// What the link can carry. It may change (an MTU lowered at run time): ask again after errors.
    fn capabilities(&self) -> Capabilities;

    /// Takes packets off the front of `batch` and sends them, in order.
    ///
    /// What is left in the batch found no room: offer it again once the link is writable. A packet that
    /// the link can't carry at all is dropped and counted, as a card would. Super-segments longer than
    /// [`Capabilities::max_packet`] are cut, and unfilled checksums filled, by a link that writes out
    /// bytes. An error concerns the link, not a packet: it is down until further notice.
    fn send(&mut self, now: Instant, batch: &mut Batch) -> io::Result<()>;

    /// Appends packets that arrived, oldest first, until the batch is full or none is waiting.
    fn receive(&mut self, now: Instant, batch: &mut Batch) -> io::Result<()>;

    /// Whom to wake when there is something to receive, or room after a refused send. Replaces the
    /// waker given before. A link with a descriptor may ignore it.
    fn set_waker(&mut self, waker: &Waker) {
        let _ = waker;
    }

    /// The descriptor to poll for readiness, of a link that has one.
    #[cfg(unix)]
    fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    /// When the link wants [`Link::handle_timeout`] to be called.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what is due at `now`.
    fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }
}

/// What a link can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What stands in front of an IP packet.
    pub medium: Medium,
    /// The longest IP packet in bytes that crosses the link in one piece.
    pub mtu: u32,
    /// The longest packet in bytes that the link takes, which is more than the MTU when it takes
    /// super-segments without cutting them itself.
    pub max_packet: u32,
    /// Whether packets stay in memory, so that checksums need not be filled.
    pub in_memory: bool,
}

impl Capabilities {
    /// The longest packet that is handed to links: what the length field of IPv4 can state.
    pub const LONGEST_PACKET: u32 = 65_535;

    /// Whether the link takes super-segments: it says so by taking more than its MTU, unless it is in memory.
    pub const fn takes_super_segments(&self) -> bool {
        self.in_memory || self.max_packet > self.mtu
    }

    /// A link in memory, which carries super-segments of up to [`Capabilities::LONGEST_PACKET`] and needs no checksums.
    pub const fn memory(mtu: u32) -> Capabilities {
        Capabilities { medium: Medium::Ip, mtu, max_packet: Self::LONGEST_PACKET, in_memory: true }
    }
}

/// What stands in front of an IP packet on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Nothing: packets start with their IP header and need no neighbour's address.
    Ip,
    /// An Ethernet header: the stack resolves neighbours by ARP and neighbour discovery.
    Ethernet {
        /// The card's own address.
        address: [u8; 6],
    },
}

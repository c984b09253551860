//! Taps: closures that see the packets of a host as they pass, and may drop them.

use crate::network::Network;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::{Direction, Host};
use sockeye_packet::{Batch, Instant, Packet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, TryLockError};

/// What a tap says of a packet.
///
/// ```
/// use sockeye::{Direction, HostConfig, Network, Verdict};
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let me = network.host("me")?;
/// let mut count = 0;
/// // Every second packet is lost.
/// network.tap(&me, Direction::Up, move |_, _| {
///     count += 1;
///     if count % 2 == 0 { Verdict::Drop } else { Verdict::Pass }
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is lost here.
    Drop,
}

/// Names a tap, to [remove](Network::remove_tap) it.
///
/// ```
/// use sockeye::{Direction, HostConfig, Network, Verdict};
/// use std::sync::mpsc;
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
/// let (socket, sender) = (web.udp_bind("web:9")?, me.udp_bind("me:0")?);
/// let (lens, seen) = mpsc::channel();
/// let tap = network.tap(&web, Direction::Down, move |_, packet| {
///     let _ = lens.send(packet.len());
///     Verdict::Pass
/// });
/// sender.send_to(b"seen", "web:9")?;
/// assert_eq!(socket.recv(&mut [0; 16])?, 4);
/// assert!(network.remove_tap(&web, tap));
/// assert!(!network.remove_tap(&web, tap)); // It is gone already.
/// sender.send_to(b"unseen", "web:9")?;
/// assert_eq!(socket.recv(&mut [0; 16])?, 6);
/// // The headers of IPv4 and UDP, and four bytes.
/// assert_eq!(seen.iter().collect::<Vec<_>>(), [20 + 8 + 4]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TapId(u64);

type Closure = dyn FnMut(Instant, &Packet) -> Verdict + Send;

/// The taps of one host.
#[derive(Default)]
pub(crate) struct Taps {
    list: RwLock<Vec<Tap>>,
    /// How many there are, readable without the lock.
    count: AtomicU64,
}

#[derive(Clone)]
struct Tap {
    id: TapId,
    way: Direction,
    closure: Arc<Mutex<Closure>>,
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Taps({})", self.count.load(Ordering::Relaxed))
    }
}

impl Taps {
    fn add(&self, tap: Tap) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.push(tap);
        self.count.store(list.len() as u64, Ordering::SeqCst);
    }

    fn remove(&self, id: TapId) -> bool {
        let removed = {
            let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
            let removed = list.iter().position(|tap| tap.id == id).map(|at| list.remove(at));
            self.count.store(list.len() as u64, Ordering::SeqCst);
            removed
        };
        // The closure may own handles, whose end needs locks: it goes with none held.
        removed.is_some()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Forgets all taps.
    pub(crate) fn clear(&self) {
        let gone = std::mem::take(&mut *self.list.write().unwrap_or_else(PoisonError::into_inner));
        self.count.store(0, Ordering::SeqCst);
        drop(gone);
    }

    /// Shows a batch to the taps of this direction, in the order in which they were added, and takes out what
    /// one of them drops. No lock is held but that of the tap itself.
    pub(crate) fn see(&self, now: Instant, way: Direction, batch: &mut Batch) {
        if self.count.load(Ordering::Relaxed) == 0 || batch.is_empty() {
            return;
        }
        let taps: Vec<Tap> = {
            let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
            list.iter().filter(|tap| tap.way == way).cloned().collect()
        };
        if taps.is_empty() {
            return;
        }
        let mut broken = Vec::new();
        batch.retain(|packet| {
            taps.iter().all(|tap| {
                if broken.contains(&tap.id) {
                    return true;
                }
                let mut closure = match tap.closure.try_lock() {
                    Ok(closure) => closure,
                    Err(TryLockError::Poisoned(closure)) => closure.into_inner(),
                    // Who moves the host's packets calls its taps one after the other. But a removal sends
                    // resets beside that, perhaps from within this very tap.
                    Err(TryLockError::WouldBlock) => return true,
                };
                // A panic must not unwind through the thread that happens to move the packet, which may be the driver's.
                let verdict = catch_unwind(AssertUnwindSafe(|| closure(now, packet)));
                verdict.unwrap_or_else(|_| {
                    broken.push(tap.id);
                    Verdict::Pass
                }) == Verdict::Pass
            })
        });
        for id in broken {
            self.remove(id);
        }
    }
}

/// Taps.
impl Network {
    /// Shows `tap` every packet that a host sends ([`Direction::Up`]) or receives ([`Direction::Down`]) from now
    /// on, by all its interfaces but the loopback, and the time; it says whether the packet goes on.
    ///
    /// It runs in whatever thread moves the host's packets, a socket call's or the network's own, between
    /// the host and its links, with no lock of the network held: it may use the network and its sockets, but
    /// must not wait for something that this host would have to do. One tap is never called twice at the same
    /// time. It sees super-segments as one packet ([`Meta::gso_size`](crate::packet::Meta)): links cut them
    /// further on. Such a packet may be longer than the 65,535 bytes that its IP header can state, which is 0 then
    /// ([`Packet::is_beyond_stating`](crate::packet::Packet::is_beyond_stating)). On the way out it stands before captures and conditions, on the way in behind them.
    ///
    /// When a tap removes its own host, the resets that this sends pass unseen by it.
    ///
    /// A tap stays until it is [removed](Network::remove_tap), it panics (the packet goes on), or its host is
    /// removed; a tap that holds a handle of the network keeps it alive. This one loses the first two SYNs, and counts what is sent:
    ///
    /// ```
    /// use sockeye::wire_format::{IpLayout, Protocol, TcpFlags, TcpHeader};
    /// use sockeye::{Direction, HostConfig, Network, Verdict};
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use std::time::Duration;
    ///
    /// let mut hasty = HostConfig::default();
    /// hasty.stack.tcp.initial_rto = Duration::from_millis(5);
    /// hasty.stack.tcp.min_rto = Duration::from_millis(5);
    /// let network = Network::builder().host("a", hasty).host("b", HostConfig::default()).build()?;
    /// let (a, b) = (network.host("a")?, network.host("b")?);
    /// let syns = Arc::new(AtomicU32::new(0));
    /// let counter = Arc::clone(&syns);
    /// let tap = network.tap(&a, Direction::Up, move |_now, packet| {
    ///     let is_syn = IpLayout::parse(&packet.head).is_ok_and(|ip| {
    ///         ip.protocol == Protocol::TCP
    ///             && TcpHeader::parse(&packet.head[ip.transport..])
    ///                 .is_ok_and(|(tcp, _)| tcp.flags.contains(TcpFlags::SYN))
    ///     });
    ///     if is_syn && counter.fetch_add(1, Ordering::Relaxed) < 2 { Verdict::Drop } else { Verdict::Pass }
    /// });
    /// let listener = b.tcp_listen((b.ipv4(), 80))?;
    /// let _stream = a.tcp_connect((b.ipv4(), 80))?; // After two retransmission timeouts.
    /// assert_eq!(syns.load(Ordering::Relaxed), 3);
    /// assert!(network.remove_tap(&a, tap));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn tap(
        &self,
        host: &Host,
        way: Direction,
        tap: impl FnMut(Instant, &Packet) -> Verdict + Send + 'static,
    ) -> TapId {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let id = TapId(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        host.core.taps.add(Tap { id, way, closure: Arc::new(Mutex::new(tap)) });
        // What goes by lanes would not be seen.
        drop(host.core.lock());
        id
    }

    /// Removes a tap of a host; false when there is none. A packet that is being shown to it in another thread
    /// still gets its verdict.
    pub fn remove_tap(&self, host: &Host, tap: TapId) -> bool {
        host.core.taps.remove(tap)
    }
}

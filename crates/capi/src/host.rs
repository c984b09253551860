//! Hosts: `sockeye_host_*`.

use crate::answer::{Explained, answer, explain};
use crate::network::required;
use crate::sys::{self, Room, SizedRoom};
use crate::table::{Entry, Table};
use crate::virtual_time;
use sockeye::poller::Interest;
use sockeye::{Direction, HostConfig, LinkConfig, NetemConfig, StackSocket};
use sockeye_packet::Instant;
use sockeye_posix::Errno;
use sockeye_posix::address::AddressBytes;
use sockeye_stack::{Domain, SockAddr, Stack};
use std::ffi::{c_char, c_int};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

/// A host of a network, with the sockets of the programs on it.
#[derive(Debug)]
pub struct Host {
    inner: sockeye::Host,
    network: sockeye::Network,
    is_removed: AtomicBool,
    pub(crate) table: Table,
}

/// Until when a call may wait; none for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    Machine(Option<std::time::Instant>),
    Virtual(Option<Instant>),
}

/// The conditions of a link.
fn link(text: &str) -> Result<NetemConfig, Explained> {
    let parsed = if text.trim().is_empty() { Ok(NetemConfig::default()) } else { text.parse() };
    parsed.map_err(|error: <NetemConfig as std::str::FromStr>::Err| {
        Explained::new(Errno::EINVAL, format!("bad link {text:?}: {error}"))
    })
}

impl Host {
    pub(crate) fn new(
        network: &sockeye::Network,
        name: &str,
        address: &str,
        conditions: &str,
    ) -> Result<Host, Explained> {
        let bad = |_| Explained::new(Errno::EINVAL, format!("{address:?} is no IP address"));
        let ip = if address.is_empty() { None } else { Some(address.parse().map_err(bad)?) };
        let config = HostConfig { ip, link: LinkConfig::from(link(conditions)?), ..HostConfig::default() };
        let inner = network.add_host(name, config)?;
        Ok(Host { inner, network: network.clone(), is_removed: AtomicBool::new(false), table: Table::new() })
    }

    /// What a descriptor names. EBADF for none.
    pub(crate) fn entry(&self, fd: c_int) -> Result<Arc<Entry>, Errno> {
        self.table.get(fd)
    }

    pub(crate) fn with_stack<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        self.inner.with_stack(call)
    }

    /// ENETUNREACH for a host that was removed.
    pub(crate) fn check_is_there(&self) -> Result<(), Errno> {
        if self.is_removed.load(Ordering::SeqCst) { Err(Errno::ENETUNREACH) } else { Ok(()) }
    }

    /// A new descriptor for a socket of the stack.
    pub(crate) fn enter(
        &self,
        posix: sockeye_posix::berkeley::Socket,
        nonblocking: bool,
    ) -> Result<c_int, Errno> {
        let socket = self.inner.adopt(posix.id());
        self.table.insert(Entry::new(socket, posix, nonblocking))
    }

    /// The addresses of a name, IPv4 first.
    pub(crate) fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.inner.resolve(name).ok()
    }

    /// The present, of the network's clock.
    pub(crate) fn now(&self) -> Instant {
        self.network.now()
    }

    pub(crate) fn deadline(&self, limit: Option<Duration>) -> Deadline {
        if self.network.is_manual() {
            return Deadline::Virtual(limit.map(|limit| self.network.now() + limit));
        }
        Deadline::Machine(limit.and_then(|limit| std::time::Instant::now().checked_add(limit)))
    }

    /// Whether time is virtual.
    pub(crate) fn is_virtual(&self) -> bool {
        self.network.is_manual()
    }

    /// As [`sockeye::Host::poll_for`].
    pub(crate) fn poll_for<R>(
        &self,
        sockets: &[(&StackSocket, Interest)],
        waker: &Waker,
        call: impl FnMut(&mut Stack, Instant) -> Poll<R>,
    ) -> Poll<R> {
        self.inner.poll_for(sockets, waker, call)
    }

    /// As [`sockeye::Host::stop_polling`].
    pub(crate) fn stop_polling(&self, sockets: &[(&StackSocket, Interest)], waker: &Waker) {
        self.inner.stop_polling(sockets, waker);
    }

    /// Makes `call` until it is ready, as [`sockeye::Host::wait_for`] does, or, under virtual time, has time pass until
    /// it is. None when the time is over.
    pub(crate) fn wait<R>(
        &self,
        sockets: &[(&StackSocket, Interest)],
        deadline: &Deadline,
        mut call: impl FnMut(&mut Stack, Instant) -> Poll<R>,
    ) -> Result<Option<R>, Errno> {
        match *deadline {
            Deadline::Virtual(deadline) => {
                virtual_time::wait(&self.network, deadline, || match self.inner.with_stack(&mut call) {
                    Poll::Ready(result) => Some(result),
                    Poll::Pending => None,
                })
            }
            Deadline::Machine(deadline) => {
                let limit = deadline.map(|end| end.saturating_duration_since(std::time::Instant::now()));
                self.inner.wait_for(sockets, limit, call).map_err(|_| Errno::EIO)
            }
        }
    }
}

/// Gives a host back: closes its sockets, as sockeye_close() does one by one, and ends the calls that wait for them with
/// EBADF. Null is read over.
///
/// The host stays in its network, and what it has still to send is sent; to take it away at once, call
/// sockeye_host_remove() before. Calls on it that other threads have begun end well; none may begin with this pointer any
/// more. When the network and all its hosts have been given back, they are gone, and so is the network's thread.
///
/// # Safety
///
/// `host` is null, or comes from sockeye_host_new() and was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_host_free(host: *mut Host) {
    // SAFETY: passed on.
    let host = unsafe { sys::take_handle(host) };
    answer(|| {
        for entry in host.iter().flat_map(|host| host.table.end()) {
            entry.close();
        }
        drop(host);
        Ok(0)
    });
}

/// Takes a host out of its network, with a reset to the peers of its connections. Calls on its sockets fail with
/// ECONNRESET from now on, and new sockets can't be made; its name and addresses are free. It has still to be given back.
///
/// Returns 0; -1 with EFAULT for a null pointer.
///
/// # Safety
///
/// `host` is null, or was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_host_remove(host: *const Host) -> c_int {
    // SAFETY: passed on.
    let host = unsafe { sys::handle(host) };
    explain(|| {
        let host = host?;
        host.is_removed.store(true, Ordering::SeqCst);
        host.network.remove_host(&host.inner);
        Ok(0)
    })
}

/// Changes what a host's link does to packets from now on, in the words of sockeye_host_new(): to those it sends
/// (`outgoing`) and to those it receives (`incoming`). "" is a perfect link; null leaves that direction as it is.
///
/// Returns 0; -1 with EINVAL for bad words, which sockeye_last_error() explains, or EFAULT without a host.
///
/// # Safety
///
/// `host` is null, or was not given back; the others are null or strings that end with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_host_set_link(
    host: *const Host,
    outgoing: *const c_char,
    incoming: *const c_char,
) -> c_int {
    // SAFETY: passed on.
    let (host, outgoing, incoming) = unsafe { (sys::handle(host), sys::text(outgoing), sys::text(incoming)) };
    explain(|| {
        let host = host?;
        let parse =
            |text: Option<_>, what| text.map(|text| required(Some(text), what).and_then(link)).transpose();
        let (outgoing, incoming) = (parse(outgoing, "`outgoing`")?, parse(incoming, "`incoming`")?);
        for (way, conditions) in [(Direction::Up, outgoing), (Direction::Down, incoming)] {
            if let Some(conditions) = conditions {
                host.network.set_link(&host.inner, way, conditions);
            }
        }
        Ok(0)
    })
}

/// Writes what a host sends and receives from now on to a file, in pcapng, which tcpdump and wireshark read. The file is
/// complete when the network is gone.
///
/// Returns 0; -1 with EBUSY when it is captured already, the errno of opening the file when that fails, or EFAULT.
/// sockeye_last_error() says what was wrong.
///
/// # Safety
///
/// `host` is null, or was not given back; `file` is null or a string that ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_host_capture(host: *const Host, file: *const c_char) -> c_int {
    // SAFETY: passed on.
    let (host, file) = unsafe { (sys::handle(host), sys::text(file)) };
    explain(|| {
        let host = host?;
        host.network.capture_host(&host.inner, required(file, "`file`")?)?;
        Ok(0)
    })
}

/// Writes a host's own address of a family, AF_INET or AF_INET6, as getsockname(2) would, with port 0.
///
/// Returns 0; -1 with EAFNOSUPPORT for another family, EINVAL for a negative length, or EFAULT.
///
/// # Safety
///
/// `host` is null, or was not given back; `addr` is null, or has as many bytes as the number says that `len` points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_host_address(
    host: *const Host,
    family: c_int,
    addr: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> c_int {
    // SAFETY: passed on.
    let (host, room) = unsafe { (sys::handle(host), SizedRoom::new(addr.cast(), len)) };
    answer(|| {
        let (host, room) = (host?, room?);
        let (ip, domain): (IpAddr, _) = match family {
            libc::AF_INET => (host.inner.ipv4().into(), Domain::Inet),
            libc::AF_INET6 => (host.inner.ipv6().into(), Domain::Inet6),
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        room.write(AddressBytes::new(SockAddr::new(ip, 0), domain).as_slice());
        Ok(0)
    })
}

/// Writes a host's name, and a zero behind it, as gethostname(2).
///
/// Returns 0; -1 with ENAMETOOLONG when there is no room for all of it, or EFAULT.
///
/// # Safety
///
/// `host` is null, or was not given back; `name` is null, or has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_gethostname(host: *const Host, name: *mut c_char, len: usize) -> c_int {
    // SAFETY: passed on.
    let (host, room) = unsafe { (sys::handle(host), Room::new(name.cast(), len)) };
    answer(|| {
        let (host, room) = (host?, room?);
        let name = host.inner.name().as_bytes();
        if name.len() >= room.len() {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        room.write(room.write(0, name), &[0]);
        Ok(0)
    })
}

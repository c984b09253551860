//! Names: getaddrinfo and freeaddrinfo.

use crate::answer::answer;
use crate::host::Host;
use crate::sys;
use sockeye_posix::Errno;
use sockeye_posix::address::AddressBytes;
use sockeye_stack::{Domain, SockAddr};
use std::ffi::{CStr, CString, c_char, c_int};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One result and all it points to: what is given out points to its `info`.
#[repr(C)]
struct Node {
    info: libc::addrinfo,
    address: [u8; 32],
    name: Option<CString>,
}

/// A way to use a service: type, protocol, port.
type Way = (c_int, c_int, u16);

/// The ways that the machine's files know a service by, without any address.
fn ways(service: Option<&CStr>, hints: &libc::addrinfo) -> Result<Vec<Way>, c_int> {
    let asked = libc::addrinfo {
        // The service is looked up for one family, or every way would be there twice.
        ai_family: libc::AF_INET,
        ai_flags: hints.ai_flags & libc::AI_NUMERICSERV | libc::AI_PASSIVE,
        ai_socktype: hints.ai_socktype,
        ai_protocol: hints.ai_protocol,
        ..no_hints()
    };
    let mut list = std::ptr::null_mut();
    // A service of none is port 0.
    let service = service.unwrap_or(c"0");
    // SAFETY: the strings end with a zero, and the structures are there for the call.
    let failed =
        unsafe { libc::getaddrinfo(std::ptr::null(), service.as_ptr(), &raw const asked, &raw mut list) };
    if failed != 0 {
        return Err(failed);
    }
    let (mut ways, mut next) = (Vec::new(), list);
    // SAFETY: the list is the C library's until it is freed, and its end is null.
    while let Some(info) = unsafe { next.as_ref() } {
        // SAFETY: of the family that was asked for, an address is that long.
        let address: libc::sockaddr_in = unsafe { info.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
        ways.push((info.ai_socktype, info.ai_protocol, u16::from_be(address.sin_port)));
        next = info.ai_next;
    }
    // SAFETY: it comes from `getaddrinfo`, and isn't used any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(ways)
}

/// Hints that ask for nothing.
fn no_hints() -> libc::addrinfo {
    libc::addrinfo {
        ai_flags: 0,
        ai_family: libc::AF_UNSPEC,
        ai_socktype: 0,
        ai_protocol: 0,
        ai_addrlen: 0,
        ai_addr: std::ptr::null_mut(),
        ai_canonname: std::ptr::null_mut(),
        ai_next: std::ptr::null_mut(),
    }
}

/// The addresses of a node of the families that are asked for.
fn addresses(host: &Host, node: Option<&CStr>, hints: &libc::addrinfo) -> Result<Vec<IpAddr>, c_int> {
    let found: Vec<IpAddr> = match node {
        None if hints.ai_flags & libc::AI_PASSIVE != 0 => {
            vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        }
        None => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Some(name) => {
            let name = name.to_str().map_err(|_| libc::EAI_NONAME)?;
            let is_number = name.parse::<IpAddr>().is_ok();
            if hints.ai_flags & libc::AI_NUMERICHOST != 0 && !is_number {
                return Err(libc::EAI_NONAME);
            }
            host.resolve(name).ok_or(libc::EAI_NONAME)?
        }
    };
    let wanted: Vec<IpAddr> = match hints.ai_family {
        libc::AF_UNSPEC => found,
        libc::AF_INET => found.into_iter().filter(IpAddr::is_ipv4).collect(),
        libc::AF_INET6 => found.into_iter().filter(IpAddr::is_ipv6).collect(),
        _ => return Err(libc::EAI_FAMILY),
    };
    if wanted.is_empty() { Err(libc::EAI_NONAME) } else { Ok(wanted) }
}

/// A list of results, the last one first to be made.
fn list(addresses: &[IpAddr], ways: &[Way], flags: c_int, name: Option<&CStr>) -> *mut libc::addrinfo {
    let mut next = std::ptr::null_mut();
    let all = addresses.iter().enumerate().flat_map(|at| ways.iter().enumerate().map(move |way| (at, way)));
    for ((index, address), (number, (kind, protocol, port))) in all.collect::<Vec<_>>().into_iter().rev() {
        let domain = if address.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
        let bytes = AddressBytes::new(SockAddr::new(*address, *port), domain);
        // The first only has the name.
        let name = name.filter(|_| (index, number) == (0, 0) && flags & libc::AI_CANONNAME != 0);
        let node = Box::into_raw(Box::new(Node {
            info: no_hints(),
            address: [0; 32],
            name: name.map(CStr::to_owned),
        }));
        // SAFETY: it was made just now.
        let made = unsafe { &mut *node };
        made.address[..bytes.as_slice().len()].copy_from_slice(bytes.as_slice());
        made.info = libc::addrinfo {
            ai_flags: flags,
            ai_family: if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 },
            ai_socktype: *kind,
            ai_protocol: *protocol,
            ai_addrlen: bytes.as_slice().len() as libc::socklen_t,
            ai_addr: made.address.as_mut_ptr().cast(),
            ai_canonname: made.name.as_ref().map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut()),
            ai_next: next,
        };
        next = node.cast();
    }
    next
}

/// Finds the addresses of a name and a service, as getaddrinfo(3): names are those of the network's hosts ("web" or
/// "web.sockeye"), "localhost" and addresses as text; services are the machine's. Nothing is asked on any network, so it
/// never waits. `hints` may be null.
///
/// Returns 0 and writes a list to `result`, for sockeye_freeaddrinfo(); else an error for gai_strerror(3), EAI_SYSTEM with EFAULT
/// for a null `host` or `result`.
///
/// # Safety
///
/// `host` is null, or was not given back; the strings are null or end with a zero; `hints` and `result` are null, or
/// point to one of their type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_getaddrinfo(
    host: *const Host,
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
) -> c_int {
    // SAFETY: passed on.
    let (host, node, service, hints, place) = unsafe {
        let hints = if hints.is_null() { no_hints() } else { hints.read() };
        (sys::handle(host), sys::text(node), sys::text(service), hints, sys::Place::new(result))
    };
    let outcome = answer(|| {
        let (host, place) = (host?, place?);
        if node.is_none() && service.is_none() {
            return Ok(libc::EAI_NONAME);
        }
        let found = ways(service, &hints)
            .and_then(|ways| addresses(&host, node, &hints).map(|addresses| (addresses, ways)));
        match found {
            Err(error) => Ok(error),
            Ok((addresses, ways)) => {
                place.write(list(&addresses, &ways, hints.ai_flags, node));
                Ok(0)
            }
        }
    });
    if outcome == -1 { libc::EAI_SYSTEM } else { outcome }
}

/// Frees a list of sockeye_getaddrinfo(). Null is read over.
///
/// # Safety
///
/// `list` is null, or comes from sockeye_getaddrinfo() and wasn't freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_freeaddrinfo(list: *mut libc::addrinfo) {
    answer(|| {
        let mut next = list;
        while !next.is_null() {
            // SAFETY: each was made by `list` from a box, and is taken back once.
            let node = unsafe { Box::from_raw(next.cast::<Node>()) };
            next = node.info.ai_next;
        }
        Ok::<c_int, Errno>(0)
    });
}

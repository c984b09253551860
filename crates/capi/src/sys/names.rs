//! Lists of `struct addrinfo`: the C library's are read, this library's are made.

use sockeye_posix::address::AddressBytes;
use sockeye_stack::{Domain, SockAddr};
use std::ffi::{CStr, CString, c_int};
use std::net::IpAddr;

/// One result and all it points to: what is given out points to its `info`.
#[repr(C)]
struct Node {
    info: libc::addrinfo,
    address: [u8; 32],
    name: Option<CString>,
}

/// A way to use a service: type, protocol, port.
pub(crate) type Way = (c_int, c_int, u16);

/// The ways that the machine's files know a service by, without any address.
pub(crate) fn ways(service: Option<&CStr>, hints: &libc::addrinfo) -> Result<Vec<Way>, c_int> {
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
pub(crate) fn no_hints() -> libc::addrinfo {
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

/// A list of results, the last one first to be made.
pub(crate) fn list(
    addresses: &[IpAddr],
    ways: &[Way],
    flags: c_int,
    name: Option<&CStr>,
) -> *mut libc::addrinfo {
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

/// Frees a list.
///
/// # Safety
///
/// It is null, or comes from [`list`] and wasn't freed.
pub(crate) unsafe fn free(list: *mut libc::addrinfo) {
    let mut next = list;
    while !next.is_null() {
        // SAFETY: each was made by `list` from a box, and is taken back once.
        let node = unsafe { Box::from_raw(next.cast::<Node>()) };
        next = node.info.ai_next;
    }
}

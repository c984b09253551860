//! Names: getaddrinfo and freeaddrinfo.

use crate::answer::answer;
use crate::host::Host;
use crate::sys;
use crate::sys::names::{list, no_hints, ways};
use sockeye_posix::Errno;
use std::ffi::{CStr, c_char, c_int};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
        // SAFETY: passed on.
        unsafe { sys::names::free(list) };
        Ok::<c_int, Errno>(0)
    });
}

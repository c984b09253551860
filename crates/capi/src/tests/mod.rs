//! The exported functions, called as a C program would.

mod calls;
mod pointers;
mod waiting;

use crate::host::{Host, sockeye_host_free};
use crate::network::{Network, sockeye_host_new, sockeye_network_free, sockeye_network_new};
use crate::socket::*;
use crate::sys::errno;
use sockeye_posix::Errno;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::{null, null_mut};

/// A network with two hosts, given back at the end.
pub(super) struct Lab {
    pub(super) network: *mut Network,
    pub(super) web: *mut Host,
    pub(super) me: *mut Host,
}

// SAFETY: C programs hand these pointers to any thread.
unsafe impl Sync for Lab {}

impl Lab {
    pub(super) fn new(settings: &str, link: &str) -> Lab {
        let [settings, link] = [settings, link].map(|text| CString::new(text).unwrap());
        // SAFETY: strings that end with a zero, and handles that are checked.
        unsafe {
            let network = sockeye_network_new(settings.as_ptr());
            let web = sockeye_host_new(network, c"web".as_ptr(), null(), null());
            let me = sockeye_host_new(network, c"me".as_ptr(), null(), link.as_ptr());
            assert!(!network.is_null() && !web.is_null() && !me.is_null(), "{:?}", last_error());
            Lab { network, web, me }
        }
    }

    /// Two connected sockets: of `me`, and of `web`.
    pub(super) fn connected(&self) -> (c_int, c_int) {
        let (listener, address) = listen(self.web);
        let near = socket(self.me, libc::SOCK_STREAM);
        assert_eq!(connect(self.me, near, &address), Ok(0));
        // SAFETY: null is no address.
        let far = ok(unsafe { sockeye_accept(self.web, listener, null_mut(), null_mut()) });
        // SAFETY: the host is there.
        assert_eq!(unsafe { sockeye_close(self.web, listener) }, 0);
        (near, far)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // SAFETY: they are given back once.
        unsafe {
            sockeye_network_free(self.network);
            sockeye_host_free(self.web);
            sockeye_host_free(self.me);
        }
    }
}

/// The result of a call as Rust has it.
pub(super) fn result<R: Copy + PartialEq + TryFrom<i64>>(value: R) -> Result<R, Errno> {
    if R::try_from(-1).is_ok_and(|failed| failed == value) { Err(errno()) } else { Ok(value) }
}

pub(super) fn ok(value: c_int) -> c_int {
    result(value).unwrap()
}

pub(super) fn last_error() -> String {
    // SAFETY: it is a string, and stays until the next failure.
    unsafe { CStr::from_ptr(crate::answer::sockeye_last_error()) }.to_str().unwrap().to_owned()
}

pub(super) fn socket(host: *mut Host, kind: c_int) -> c_int {
    // SAFETY: the host is there.
    ok(unsafe { sockeye_socket(host, libc::AF_INET, kind, 0) })
}

/// An address of a host.
pub(super) fn address(host: *mut Host, port: u16) -> libc::sockaddr_in {
    let mut address = blank();
    let mut len = size_of_val(&address) as u32;
    // SAFETY: the room is as long as it says.
    let done = unsafe {
        crate::host::sockeye_host_address(host, libc::AF_INET, (&raw mut address).cast(), &raw mut len)
    };
    assert_eq!((done, len), (0, 16));
    address.sin_port = port.to_be();
    address
}

pub(super) fn blank() -> libc::sockaddr_in {
    libc::sockaddr_in { sin_family: 0, sin_port: 0, sin_addr: libc::in_addr { s_addr: 0 }, sin_zero: [0; 8] }
}

pub(super) fn bind(host: *mut Host, fd: c_int, address: &libc::sockaddr_in) -> Result<c_int, Errno> {
    // SAFETY: the address is as long as it says.
    result(unsafe { sockeye_bind(host, fd, std::ptr::from_ref(address).cast(), 16) })
}

pub(super) fn connect(host: *mut Host, fd: c_int, address: &libc::sockaddr_in) -> Result<c_int, Errno> {
    // SAFETY: the address is as long as it says.
    result(unsafe { sockeye_connect(host, fd, std::ptr::from_ref(address).cast(), 16) })
}

/// A listener, and where.
pub(super) fn listen(host: *mut Host) -> (c_int, libc::sockaddr_in) {
    let fd = socket(host, libc::SOCK_STREAM);
    set(host, fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1_i32.to_ne_bytes()).unwrap();
    bind(host, fd, &address(host, 80)).unwrap();
    // SAFETY: the host is there.
    ok(unsafe { sockeye_listen(host, fd, 8) });
    (fd, address(host, 80))
}

pub(super) fn send(host: *mut Host, fd: c_int, data: &[u8], flags: c_int) -> Result<isize, Errno> {
    // SAFETY: the data is as long as it says.
    result(unsafe { crate::data::sockeye_send(host, fd, data.as_ptr().cast(), data.len(), flags) })
}

pub(super) fn recv(host: *mut Host, fd: c_int, room: usize, flags: c_int) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; room];
    // SAFETY: the buffer is as long as it says.
    let count = unsafe { crate::data::sockeye_recv(host, fd, buffer.as_mut_ptr().cast(), room, flags) };
    buffer.truncate(usize::try_from(result(count)?).unwrap());
    Ok(buffer)
}

pub(super) fn set(
    host: *mut Host,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: &[u8],
) -> Result<c_int, Errno> {
    let len = value.len() as u32;
    // SAFETY: the value is as long as it says.
    result(unsafe {
        crate::options::sockeye_setsockopt(host, fd, level, name, value.as_ptr().cast::<c_void>(), len)
    })
}

pub(super) fn set_timeout(host: *mut Host, fd: c_int, name: c_int, millis: i64) {
    let time = [millis / 1000, millis % 1000 * 1000].map(i64::to_ne_bytes).concat();
    assert_eq!(set(host, fd, libc::SOL_SOCKET, name, &time), Ok(0));
}

/// `poll` of one descriptor.
pub(super) fn poll(host: *mut Host, fd: c_int, events: i16, timeout: c_int) -> (c_int, i16) {
    let mut asked = libc::pollfd { fd, events, revents: -1 };
    // SAFETY: it is one.
    let ready = unsafe { crate::poll::sockeye_poll(host, &raw mut asked, 1, timeout) };
    (ready, asked.revents)
}

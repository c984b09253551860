//! The requests to the kernel's TUN driver that no safe wrapper offers (`linux/if_tun.h`).
//!
//! All `unsafe` of this crate stands here.

#![allow(unsafe_code, reason = "ioctls of a driver, code for certain processors")]

pub(crate) mod sum;

use rustix::ioctl::{IntegerSetter, Opcode, Updater, ioctl, opcode};
use std::ffi::{c_int, c_short, c_uint};
use std::io;
use std::os::fd::BorrowedFd;

const TUNSETIFF: Opcode = opcode::write::<c_int>(b'T', 202);
const TUNSETOFFLOAD: Opcode = opcode::write::<c_uint>(b'T', 208);

const IFF_TUN: c_short = 0x0001;
const IFF_NO_PI: c_short = 0x1000;
const IFF_VNET_HDR: c_short = 0x4000;

const TUN_F_CSUM: usize = 0x01;
const TUN_F_TSO4: usize = 0x02;
const TUN_F_TSO6: usize = 0x04;
const TUN_F_TSO_ECN: usize = 0x08;

/// The longest name of an interface in bytes, without the zero behind it.
pub(crate) const NAME_LEN: usize = 15;

/// `struct ifreq` as far as `TUNSETIFF` uses it: a name, flags, and room for what other requests keep there.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_LEN + 1],
    flags: c_short,
    unused: [u8; 22],
}

/// Joins `fd`, an open `/dev/net/tun`, to the interface `name`, which is made if there is none, and answers the
/// name it has. A name with `%d` in it, or none, lets the kernel choose a number.
pub(crate) fn attach(fd: BorrowedFd<'_>, name: &str, offload: bool) -> io::Result<String> {
    let flags = IFF_TUN | IFF_NO_PI | if offload { IFF_VNET_HDR } else { 0 };
    let mut request = InterfaceRequest { name: [0; NAME_LEN + 1], flags, unused: [0; 22] };
    let bytes = name.as_bytes();
    if bytes.len() > NAME_LEN || bytes.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{name}` names no interface: at most {NAME_LEN} bytes"),
        ));
    }
    request.name[..bytes.len()].copy_from_slice(bytes);
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which `InterfaceRequest` is as long as.
    unsafe { ioctl(fd, Updater::<TUNSETIFF, _>::new(&mut request))? };
    let given = request.name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(given).into_owned())
}

/// Lets the kernel hand over TCP super-segments and checksums that are not filled.
pub(crate) fn set_offload(fd: BorrowedFd<'_>) -> io::Result<()> {
    let offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    // SAFETY: TUNSETOFFLOAD takes a set of flags by value.
    unsafe { ioctl(fd, IntegerSetter::<TUNSETOFFLOAD>::new_usize(offloads))? };
    Ok(())
}

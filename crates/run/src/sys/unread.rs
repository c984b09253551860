//! How many bytes wait in a local socket that only its inode is known of: the kernel's list of local sockets tells
//! (`sock_diag(7)`).

use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `UDIAG_SHOW_RQLEN`, and the attribute that shows it.
const SHOW_QUEUE: u32 = 0x10;
const QUEUE: u16 = 4;
/// Lengths of `struct nlmsghdr`, `struct unix_diag_req` and `struct unix_diag_msg`.
const HEADER: usize = 16;
const LEN: usize = HEADER + 24;
const MESSAGE: usize = HEADER + 16;

/// Bytes that the local socket of this inode has not read; none where the kernel doesn't tell.
pub(crate) fn unread_of(inode: u64) -> Option<usize> {
    let words = [LEN as u32, u32::from(REQUEST) << 16 | u32::from(BY_FAMILY), 1, 0];
    let request =
        [libc::AF_UNIX as u32, u32::MAX, u32::try_from(inode).ok()?, SHOW_QUEUE, u32::MAX, u32::MAX];
    let bytes: Vec<u8> = words.iter().chain(&request).flat_map(|word| word.to_le_bytes()).collect();
    let kernel =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(SOCK_DIAG)).ok()?;
    send(&kernel, &bytes, SendFlags::DONTWAIT).ok()?;
    let mut answer = [0; 512];
    let (len, _) = recv(&kernel, &mut answer, RecvFlags::DONTWAIT).ok()?;
    let answer = answer.get(..len)?;
    if answer.get(4..6)? != BY_FAMILY.to_le_bytes() {
        return None;
    }
    let mut attributes = answer.get(MESSAGE..)?;
    while let [low, high, kind_low, kind_high, value @ ..] = attributes {
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        if u16::from_le_bytes([*kind_low, *kind_high]) == QUEUE {
            return value.first_chunk().map(|count| u32::from_le_bytes(*count) as usize);
        }
        attributes = attributes.get(len.max(4).next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::socketpair;

    #[test]
    fn the_kernel_tells_what_waits() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let inode = rustix::fs::fstat(&theirs).unwrap().st_ino;
        assert_eq!(unread_of(inode), Some(0));
        send(&ours, b"hello", SendFlags::empty()).unwrap();
        assert_eq!(unread_of(inode), Some(5));
        drop((ours, theirs));
        assert_eq!(unread_of(inode), None);
    }
}

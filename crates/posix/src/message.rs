//! The memory layout of `struct iovec`, `struct msghdr` and `struct mmsghdr` on 64-bit Linux.
//!
//! The structures are read from a program's memory as bytes and never trusted: counts and lengths are
//! bounded here as the kernel bounds them, pointers stay plain numbers for the caller to read through.

use crate::Errno;

/// The most buffers one call may name (`UIO_MAXIOV`).
pub const IOV_MAX: usize = 1024;
/// The most messages one `sendmmsg` or `recvmmsg` handles; a longer vector is cut, as Linux does.
pub const MMSG_MAX: usize = 1024;
/// The most bytes one call moves (`MAX_RW_COUNT`): a longer vector of buffers is cut.
pub const TRANSFER_MAX: usize = 0x7fff_f000;
/// The largest address one may pass (`sizeof(struct sockaddr_storage)`).
pub const ADDRESS_MAX: usize = 128;
/// The largest control buffer that is read from a program (`net.core.optmem_max`).
pub const CONTROL_MAX: usize = 128 * 1024;

/// One `struct iovec`: a buffer in the program's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct IoVec {
    /// Address of the first byte.
    pub base: u64,
    /// Length in bytes.
    pub len: usize,
}

impl IoVec {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 16;

    /// Reads a vector of buffers. A length beyond `isize` is EINVAL; buffers beyond [`TRANSFER_MAX`] bytes
    /// in total are cut; bytes after the last whole structure are ignored.
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<IoVec>, Errno> {
        if bytes.len() / Self::SIZE > IOV_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let mut room = TRANSFER_MAX;
        bytes
            .chunks_exact(Self::SIZE)
            .map(|entry| {
                let (base, len) = (u64_at(entry, 0), u64_at(entry, 8));
                if len > i64::MAX as u64 {
                    return Err(Errno::EINVAL);
                }
                let len = room.min(usize::try_from(len).unwrap_or(usize::MAX));
                room -= len;
                Ok(IoVec { base, len })
            })
            .collect()
    }
}

/// A `struct msghdr`: where a message's address, buffers and control messages lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MessageHeader {
    /// Address of the socket address, 0 for none.
    pub name: u64,
    /// Length of the socket address or of the room for it, at most [`ADDRESS_MAX`].
    pub name_len: usize,
    /// Address of the vector of buffers.
    pub iov: u64,
    /// Number of buffers, at most [`IOV_MAX`].
    pub iov_len: usize,
    /// Address of the control buffer, 0 for none.
    pub control: u64,
    /// Length of the control buffer.
    pub control_len: usize,
    /// The flags as the program left them; a receiver overwrites them.
    pub flags: i32,
}

impl MessageHeader {
    /// Size of `struct msghdr` in bytes.
    pub const SIZE: usize = 56;
    /// Size of `struct mmsghdr`: a message header, the length moved, padding.
    pub const MULTIPLE_SIZE: usize = 64;
    /// Offset of `msg_namelen`, an `int`, which a receiver writes back.
    pub const NAME_LEN_OFFSET: usize = 8;
    /// Offset of `msg_controllen`, a `size_t`, which a receiver writes back.
    pub const CONTROL_LEN_OFFSET: usize = 40;
    /// Offset of `msg_flags`, an `int`, which a receiver writes back.
    pub const FLAGS_OFFSET: usize = 48;
    /// Offset of `msg_len`, an `unsigned int`, in a `struct mmsghdr`.
    pub const MESSAGE_LEN_OFFSET: usize = 56;

    /// Reads the structure and checks it as the kernel does before it looks at any buffer.
    ///
    /// EINVAL for a negative address length, EMSGSIZE for more buffers than [`IOV_MAX`], ENOBUFS for a
    /// control buffer beyond `int`. A control buffer of no address has no length.
    pub fn parse(bytes: &[u8; Self::SIZE]) -> Result<MessageHeader, Errno> {
        let name = u64_at(bytes, 0);
        let name_len = i32_at(bytes, Self::NAME_LEN_OFFSET);
        if name != 0 && name_len < 0 {
            return Err(Errno::EINVAL);
        }
        let name_len = if name == 0 { 0 } else { (name_len as usize).min(ADDRESS_MAX) };
        let iov_len = u64_at(bytes, 24);
        if iov_len > IOV_MAX as u64 {
            return Err(Errno::EMSGSIZE);
        }
        let control = u64_at(bytes, 32);
        let control_len = if control == 0 { 0 } else { u64_at(bytes, Self::CONTROL_LEN_OFFSET) };
        if control_len > i32::MAX as u64 {
            return Err(Errno::ENOBUFS);
        }
        Ok(MessageHeader {
            name,
            name_len,
            iov: u64_at(bytes, 16),
            iov_len: iov_len as usize,
            control,
            control_len: control_len as usize,
            flags: i32_at(bytes, Self::FLAGS_OFFSET),
        })
    }
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes[offset..].first_chunk().map_or(0, |b| u64::from_ne_bytes(*b))
}

fn i32_at(bytes: &[u8], offset: usize) -> i32 {
    bytes[offset..].first_chunk().map_or(0, |b| i32::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(name: u64, name_len: i32, iov_len: u64, control: u64, control_len: u64) -> [u8; 56] {
        let mut bytes = [0; 56];
        bytes[0..8].copy_from_slice(&name.to_ne_bytes());
        bytes[8..12].copy_from_slice(&name_len.to_ne_bytes());
        bytes[16..24].copy_from_slice(&0x1000_u64.to_ne_bytes());
        bytes[24..32].copy_from_slice(&iov_len.to_ne_bytes());
        bytes[32..40].copy_from_slice(&control.to_ne_bytes());
        bytes[40..48].copy_from_slice(&control_len.to_ne_bytes());
        bytes[48..52].copy_from_slice(&7_i32.to_ne_bytes());
        bytes
    }

    #[test]
    fn reads_the_layout_of_libc() {
        assert_eq!(size_of::<libc::msghdr>(), MessageHeader::SIZE);
        assert_eq!(size_of::<libc::mmsghdr>(), MessageHeader::MULTIPLE_SIZE);
        assert_eq!(size_of::<libc::iovec>(), IoVec::SIZE);
        assert_eq!(std::mem::offset_of!(libc::msghdr, msg_namelen), MessageHeader::NAME_LEN_OFFSET);
        assert_eq!(std::mem::offset_of!(libc::msghdr, msg_controllen), MessageHeader::CONTROL_LEN_OFFSET);
        assert_eq!(std::mem::offset_of!(libc::msghdr, msg_flags), MessageHeader::FLAGS_OFFSET);
        assert_eq!(std::mem::offset_of!(libc::mmsghdr, msg_len), MessageHeader::MESSAGE_LEN_OFFSET);
        let parsed = MessageHeader::parse(&header(0x2000, 16, 3, 0x3000, 64)).unwrap();
        let expected = MessageHeader {
            name: 0x2000,
            name_len: 16,
            iov: 0x1000,
            iov_len: 3,
            control: 0x3000,
            control_len: 64,
            flags: 7,
        };
        assert_eq!(parsed, expected);
    }

    #[test]
    fn bounds_are_the_kernels() {
        assert_eq!(MessageHeader::parse(&header(1, -1, 0, 0, 0)), Err(Errno::EINVAL));
        assert_eq!(MessageHeader::parse(&header(0, -1, 0, 0, 0)).unwrap().name_len, 0);
        assert_eq!(MessageHeader::parse(&header(1, 500, 0, 0, 0)).unwrap().name_len, 128);
        assert_eq!(MessageHeader::parse(&header(0, 0, 1025, 0, 0)), Err(Errno::EMSGSIZE));
        assert_eq!(MessageHeader::parse(&header(0, 0, 0, 1, 1 << 31)), Err(Errno::ENOBUFS));
        assert_eq!(MessageHeader::parse(&header(0, 0, 0, 0, 1 << 31)).unwrap().control_len, 0);
    }

    proptest! {
        #[test]
        fn any_vector_of_buffers_is_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(vectors) = IoVec::parse_all(&bytes) {
                prop_assert_eq!(vectors.len(), bytes.len() / 16);
                prop_assert!(vectors.iter().map(|v| v.len).sum::<usize>() <= TRANSFER_MAX);
            }
        }

        #[test]
        fn any_header_is_bounded(bytes in any::<[u8; 32]>(), tail in any::<[u8; 24]>()) {
            let mut all = [0; 56];
            all[..32].copy_from_slice(&bytes);
            all[32..].copy_from_slice(&tail);
            if let Ok(header) = MessageHeader::parse(&all) {
                prop_assert!(header.iov_len <= IOV_MAX && header.name_len <= ADDRESS_MAX);
            }
        }
    }
}

//! Packet sockets of the kernel, on which frames pass with what their sender knows of them: interface, protocol, and
//! how they are to be cut.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Length of the `struct virtio_net_hdr` in front of each frame.
const FACTS: usize = 10;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum is yet to be filled in.
const UNFILLED: u8 = 1;
/// `ETH_P_ALL`.
const ALL: u16 = 3;
/// How much waits to be read, at most.
const RECEIVE_BUFFER: libc::c_int = 4 << 20;
/// `SKF_AD_OFF + SKF_AD_PKTTYPE`: where a filter finds whom a frame is for.
const PACKET_TYPE: u32 = (-0x1000_i32 + 4) as u32;

/// How a frame that is longer than the link's is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) kind: CutKind,
    /// Bytes of payload of each piece.
    pub(crate) size: u16,
    /// Where the transport header starts in the frame, and where the payload.
    pub(crate) transport: u16,
    pub(crate) payload: u16,
}

/// What is cut (`VIRTIO_NET_HDR_GSO_*`), and where its checksum is in the transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutKind {
    Tcp4,
    Tcp6,
    Udp,
}

impl Cut {
    fn to_bytes(self) -> [u8; FACTS] {
        let (kind, checksum) = match self.kind {
            CutKind::Tcp4 => (1, 16_u16),
            CutKind::Tcp6 => (4, 16),
            CutKind::Udp => (5, 6),
        };
        let mut bytes = [UNFILLED, kind, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, value) in [(2, self.payload), (4, self.size), (6, self.transport), (8, checksum)] {
            bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }
}

/// From now on frames have their facts in front of them.
pub(crate) fn with_facts(packets: &OwnedFd) -> io::Result<()> {
    set(packets, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1_i32)
}

/// From now on frames go straight to the interface, without its queue. The queue of the end of a pair that was raised
/// first is there only a moment after the other end was, and loses until then what is sent.
pub(crate) fn without_queue(packets: &OwnedFd) -> io::Result<()> {
    set(packets, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1_i32)
}

/// From now on a packet socket gets what others send by any interface of its namespace, and nothing that comes in.
pub(crate) fn hear_others_send(packets: &OwnedFd) -> io::Result<()> {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, PACKET_TYPE),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::PACKET_OUTGOING.into()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    set(packets, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)?;
    // Whoever owns the namespace may go over the machine's limit; the default does too.
    set(packets, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER).ok();
    let name = name(0, ALL);
    let len = size_of_val(&name) as libc::socklen_t;
    // SAFETY: the kernel reads a struct sockaddr_ll.
    check(unsafe { libc::bind(packets.as_raw_fd(), (&raw const name).cast(), len) }.into()).map(drop)
}

/// Sends a frame of this Ethernet protocol by an interface, without waiting.
pub(crate) fn send_frame(
    packets: &OwnedFd,
    interface: u32,
    ethertype: u16,
    cut: Option<Cut>,
    frame: &[u8],
) -> io::Result<()> {
    let facts = cut.map_or([0; FACTS], Cut::to_bytes);
    let part =
        |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut parts = [part(&facts), part(frame)];
    let mut name = name(interface, ethertype);
    // SAFETY: all of its fields are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of_val(&name) as libc::socklen_t;
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    // SAFETY: the message points to memory of this function and of `frame`, with the lengths it states, and the
    // kernel writes to none of it.
    check(
        unsafe { libc::sendmsg(packets.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) } as libc::c_long
    )
    .map(drop)
}

/// The next frame and its interface, without waiting; one longer than `buffer` is cut.
pub(crate) fn receive_frame<'a>(packets: &OwnedFd, buffer: &'a mut [u8]) -> io::Result<(u32, &'a [u8])> {
    let mut facts = [0_u8; FACTS];
    let part = |bytes: &mut [u8]| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut parts = [part(&mut facts), part(buffer)];
    let mut from = name(0, 0);
    // SAFETY: all of its fields are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of_val(&from) as libc::socklen_t;
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    // SAFETY: the message points to memory of this function and of `buffer`, with the lengths it states.
    let len = unsafe { libc::recvmsg(packets.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let len = check(len as libc::c_long)? as usize;
    Ok((from.sll_ifindex as u32, &buffer[..len.saturating_sub(FACTS)]))
}

fn name(interface: u32, ethertype: u16) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: interface as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

/// Sets an option whose value is a plain structure of C.
fn set<T>(fd: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads that many bytes at `value`, and the program that a filter points to.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), len) };
    check(result.into()).map(drop)
}

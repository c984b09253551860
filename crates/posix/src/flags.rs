//! The flags of the send and receive calls (`MSG_*`).

use crate::Errno;
use sockeye_stack::SocketType;

/// What a `send`, `sendto`, `sendmsg` or `sendmmsg` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SendFlags {
    /// `MSG_OOB`: the last byte is urgent.
    pub out_of_band: bool,
    /// `MSG_DONTROUTE`: only hosts on a directly connected network.
    pub dont_route: bool,
    /// `MSG_DONTWAIT`: don't block, whatever the descriptor says.
    pub dont_wait: bool,
    /// `MSG_NOSIGNAL`: EPIPE without SIGPIPE.
    pub no_signal: bool,
    /// `MSG_MORE`: more data follows; corks this one write.
    pub more: bool,
    /// `MSG_EOR`: the last byte ends a record.
    pub end_of_record: bool,
}

impl SendFlags {
    /// Reads the flags of a send. Flags that carry no meaning here (`MSG_CONFIRM`,
    /// `MSG_ZEROCOPY` without `SO_ZEROCOPY`, bits that no one defined) are ignored, as by the kernel.
    ///
    /// EOPNOTSUPP for urgent datagrams and for `MSG_FASTOPEN`, as where TCP Fast Open is switched off.
    pub fn parse(flags: i32, kind: SocketType) -> Result<SendFlags, Errno> {
        let parsed = SendFlags {
            out_of_band: flags & libc::MSG_OOB != 0,
            dont_route: flags & libc::MSG_DONTROUTE != 0,
            dont_wait: flags & libc::MSG_DONTWAIT != 0,
            no_signal: flags & libc::MSG_NOSIGNAL != 0,
            more: flags & libc::MSG_MORE != 0,
            end_of_record: flags & libc::MSG_EOR != 0,
        };
        let fast_open = kind == SocketType::Stream && flags & libc::MSG_FASTOPEN != 0;
        let urgent_datagram = kind != SocketType::Stream && parsed.out_of_band;
        if fast_open || urgent_datagram { Err(Errno::EOPNOTSUPP) } else { Ok(parsed) }
    }
}

/// What a `recv`, `recvfrom`, `recvmsg` or `recvmmsg` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RecvFlags {
    /// `MSG_OOB`: the urgent byte.
    pub out_of_band: bool,
    /// `MSG_PEEK`: leave the data queued.
    pub peek: bool,
    /// `MSG_TRUNC`: a datagram's true length is the result; a stream's bytes are dropped uncopied.
    pub truncate: bool,
    /// `MSG_DONTWAIT`: don't block, whatever the descriptor says.
    pub dont_wait: bool,
    /// `MSG_WAITALL`: block until all of the buffer is filled.
    pub wait_all: bool,
    /// `MSG_ERRQUEUE`: the queued errors, not the data.
    pub error_queue: bool,
    /// `MSG_WAITFORONE`: of a `recvmmsg`, don't block once there is one message.
    pub wait_for_one: bool,
    /// `MSG_CMSG_CLOEXEC`: descriptors that come along close on exec.
    pub close_on_exec: bool,
}

impl RecvFlags {
    /// Reads the flags of a receive; those without a meaning here are ignored, as by the kernel.
    pub fn parse(flags: i32) -> RecvFlags {
        RecvFlags {
            out_of_band: flags & libc::MSG_OOB != 0,
            peek: flags & libc::MSG_PEEK != 0,
            truncate: flags & libc::MSG_TRUNC != 0,
            dont_wait: flags & libc::MSG_DONTWAIT != 0,
            wait_all: flags & libc::MSG_WAITALL != 0,
            error_queue: flags & libc::MSG_ERRQUEUE != 0,
            wait_for_one: flags & libc::MSG_WAITFORONE != 0,
            close_on_exec: flags & libc::MSG_CMSG_CLOEXEC != 0,
        }
    }
}

/// The flags that a received message is handed over with (`msg_flags`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MessageFlags {
    /// The datagram was longer than the buffers.
    pub truncated: bool,
    /// Control messages were cut or left out for want of room.
    pub control_truncated: bool,
    /// The data is urgent.
    pub out_of_band: bool,
    /// The message comes from the error queue.
    pub error_queue: bool,
    /// As the call's, for no descriptors come along: [`RecvFlags::close_on_exec`].
    pub close_on_exec: bool,
}

impl MessageFlags {
    /// The value of `msg_flags`.
    pub fn bits(self) -> i32 {
        let flag = |set, bit| if set { bit } else { 0 };
        flag(self.truncated, libc::MSG_TRUNC)
            | flag(self.control_truncated, libc::MSG_CTRUNC)
            | flag(self.out_of_band, libc::MSG_OOB)
            | flag(self.error_queue, libc::MSG_ERRQUEUE)
            | flag(self.close_on_exec, libc::MSG_CMSG_CLOEXEC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_flags_are_read_and_the_impossible_refused() {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_MORE | libc::MSG_CONFIRM;
        let parsed = SendFlags::parse(flags, SocketType::Stream);
        assert_eq!(parsed, Ok(SendFlags { no_signal: true, more: true, ..SendFlags::default() }));
        assert_eq!(SendFlags::parse(libc::MSG_OOB, SocketType::Datagram), Err(Errno::EOPNOTSUPP));
        assert!(SendFlags::parse(libc::MSG_OOB, SocketType::Stream).is_ok_and(|f| f.out_of_band));
        assert_eq!(SendFlags::parse(libc::MSG_FASTOPEN, SocketType::Stream), Err(Errno::EOPNOTSUPP));
    }

    #[test]
    fn message_flags_are_bits() {
        let flags = MessageFlags { truncated: true, control_truncated: true, ..MessageFlags::default() };
        assert_eq!(flags.bits(), libc::MSG_TRUNC | libc::MSG_CTRUNC);
        assert_eq!(MessageFlags::default().bits(), 0);
    }
}

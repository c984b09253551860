//! UDP-Lite (RFC 3828): datagrams whose checksum covers as much of them as the sender asks for. All else is UDP's.

use crate::demux::Proto;
use crate::error::{Error, Result};
use crate::socket::{Kind, Socket, SocketId};
use crate::{OptionName, SocketOption, Stack};
use sockeye_packet::Payload;
use sockeye_wire::UdpHeader;

/// How much of a UDP-Lite socket's datagrams is covered by the checksum, in bytes from the header on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// `UDPLITE_SEND_CSCOV`: of those sent; 0 is all.
    pub(crate) send: u16,
    /// `UDPLITE_RECV_CSCOV`: the least of those received; 0 is all of them. None takes any.
    pub(crate) recv: Option<u16>,
}

impl Coverage {
    /// What the header of a datagram of `len` bytes states, header included.
    pub(crate) fn stated(self, len: usize) -> u16 {
        if usize::from(self.send) < len { self.send } else { len as u16 }
    }

    /// Whether a datagram with `covered` of its `len` bytes covered is good enough.
    pub(crate) fn suffices(self, covered: usize, len: usize) -> bool {
        match self.recv {
            None => true,
            _ if covered == len => true,
            Some(0) => false,
            Some(least) => covered >= least.into(),
        }
    }
}

/// The ports of a datagram with so much data, and how much of it its checksum covers; `None` when the header states
/// what it may not (RFC 3828 §3.1).
pub(super) fn parse(transport: &[u8], data: usize) -> Option<(u16, u16, usize)> {
    let field = |at: usize| Some(u16::from_be_bytes([*transport.get(at)?, *transport.get(at + 1)?]));
    let len = UdpHeader::LEN + data;
    let covered = match usize::from(field(4)?) {
        0 => len,
        stated => (UdpHeader::LEN..=len).contains(&stated).then_some(stated)?,
    };
    Some((field(0)?, field(2)?, covered))
}

impl Socket {
    pub(crate) fn coverage_option(&self, name: OptionName) -> Result<SocketOption> {
        let Kind::Udp(udp) = &self.kind else { return Err(Error::ProtocolOption) };
        match name {
            _ if udp.proto != Proto::UdpLite => Err(Error::ProtocolOption),
            OptionName::SendCoverage => Ok(SocketOption::SendCoverage(udp.coverage.send)),
            _ => Ok(SocketOption::RecvCoverage(udp.coverage.recv.unwrap_or(0))),
        }
    }
}

impl Stack {
    /// Whether as much of a datagram is covered as its socket asks for.
    pub(super) fn covers_enough(&self, id: SocketId, covered: usize, payload: &Payload) -> bool {
        let len = UdpHeader::LEN + payload.len();
        covered == len
            || matches!(self.socket_ref(id).map(|socket| &socket.kind),
                Ok(Kind::Udp(udp)) if udp.coverage.suffices(covered, len))
    }

    /// `UDPLITE_SEND_CSCOV` and `UDPLITE_RECV_CSCOV`: less than the header is all of it.
    pub(super) fn set_coverage(&mut self, id: SocketId, option: SocketOption) -> Result<()> {
        let udp = self.udp(id)?;
        let at_least_header = |bytes: u16| if bytes == 0 { 0 } else { bytes.max(UdpHeader::LEN as u16) };
        match option {
            SocketOption::SendCoverage(bytes) if udp.proto == Proto::UdpLite => {
                udp.coverage.send = at_least_header(bytes);
            }
            SocketOption::RecvCoverage(bytes) if udp.proto == Proto::UdpLite => {
                udp.coverage.recv = Some(at_least_header(bytes));
            }
            _ => return Err(Error::ProtocolOption),
        }
        Ok(())
    }
}

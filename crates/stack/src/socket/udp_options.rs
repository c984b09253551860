//! What udp(7) lets a program set of its socket.

use crate::demux::Proto;
use crate::error::{Error, Result};
use crate::socket::options::OptionName;
use crate::socket::{Kind, Socket, SocketId};
use crate::{SocketOption, Stack};

/// The options of a UDP socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UdpOptions {
    /// `UDP_SEGMENT`: bytes of each datagram that a message is cut into; 0 for one whole.
    pub(crate) segment: u16,
    /// `UDP_CORK`: messages are gathered into one datagram.
    pub(crate) cork: bool,
    /// `UDP_GRO`: datagrams that follow each other may be read as one.
    pub(crate) gro: bool,
    /// `UDP_NO_CHECK6_TX`: sends without checksums over IPv6.
    pub(crate) no_check6_tx: bool,
    /// `UDP_NO_CHECK6_RX`: takes datagrams without checksums over IPv6 (RFC 6935 §5, RFC 6936 §5).
    pub(crate) no_check6_rx: bool,
}

impl Stack {
    pub(super) fn set_udp_option(&mut self, id: SocketId, option: SocketOption) -> Result<()> {
        match &mut self.socket_mut(id)?.kind {
            Kind::Udp(udp) if udp.proto == Proto::Udp => udp.options.set(option),
            _ => Err(Error::ProtocolOption),
        }
    }
}

impl Socket {
    pub(super) fn udp_option(&self, name: OptionName) -> Result<SocketOption> {
        match &self.kind {
            Kind::Udp(udp) if udp.proto == Proto::Udp => udp.options.get(name),
            Kind::Udp(udp) if udp.proto == Proto::UdpLite && name == OptionName::UdpCork => {
                udp.options.get(name)
            }
            _ => Err(Error::ProtocolOption),
        }
    }
}

impl UdpOptions {
    fn set(&mut self, option: SocketOption) -> Result<()> {
        match option {
            SocketOption::UdpSegment(bytes) => self.segment = bytes,
            SocketOption::UdpGro(on) => self.gro = on,
            SocketOption::NoCheck6Tx(on) => self.no_check6_tx = on,
            SocketOption::NoCheck6Rx(on) => self.no_check6_rx = on,
            _ => return Err(Error::ProtocolOption),
        }
        Ok(())
    }

    fn get(self, name: OptionName) -> Result<SocketOption> {
        Ok(match name {
            OptionName::UdpSegment => SocketOption::UdpSegment(self.segment),
            OptionName::UdpCork => SocketOption::UdpCork(self.cork),
            OptionName::UdpGro => SocketOption::UdpGro(self.gro),
            OptionName::NoCheck6Tx => SocketOption::NoCheck6Tx(self.no_check6_tx),
            OptionName::NoCheck6Rx => SocketOption::NoCheck6Rx(self.no_check6_rx),
            _ => return Err(Error::ProtocolOption),
        })
    }
}

//! Reading what a program asks: messages, and their attributes.
//!
//! As leniently as the kernel: what is behind a message that is cut is read over, and so are attributes that
//! nobody knows.

use netlink_packet_core::{NLM_F_REQUEST, NetlinkBuffer, NlasIterator};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Messages below this number are the protocol's own (`NLMSG_MIN_TYPE`).
const FIRST_REQUEST: u16 = 16;

/// One message of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// All of it.
    pub(super) whole: &'a [u8],
    /// What is behind its header.
    pub(super) body: &'a [u8],
}

/// The messages in what a program wrote, up to the first that is cut.
pub(super) fn requests(bytes: &[u8]) -> impl Iterator<Item = Request<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let len = message.length() as usize;
        let request = Request {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            whole: rest.get(..len)?,
            body: message.payload(),
        };
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(request)
    })
}

impl<'a> Request<'a> {
    /// Whether it asks for something; anything else is only acknowledged.
    pub(super) fn asks(&self) -> bool {
        self.flags & NLM_F_REQUEST != 0 && self.kind >= FIRST_REQUEST
    }

    /// The family that it is about, the first byte of every request of this protocol.
    pub(super) fn family(&self) -> Option<i32> {
        self.body.first().map(|&family| family.into())
    }

    /// An attribute behind a header of `offset` bytes; the last one of its kind counts.
    pub(super) fn attribute(&self, offset: usize, kind: u16) -> Option<&'a [u8]> {
        let attributes = self.body.get(offset..)?;
        let found = NlasIterator::new(attributes).map_while(Result::ok).filter(|found| found.kind() == kind);
        let last = found.last()?;
        let len = last.value_length();
        last.into_inner().get(4..)?.get(..len)
    }

    /// An attribute that is a number.
    pub(super) fn number(&self, offset: usize, kind: u16) -> Option<u32> {
        self.attribute(offset, kind)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// A number at this place of the body.
    pub(super) fn field(&self, at: usize) -> Option<u32> {
        self.body.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// An attribute that is an address of this family; of another length it is the error.
    pub(super) fn address(&self, offset: usize, kind: u16, v4: bool) -> Result<Option<IpAddr>, BadAddress> {
        let Some(bytes) = self.attribute(offset, kind) else { return Ok(None) };
        let address = if v4 {
            bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into())
        } else {
            bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into())
        };
        address.map(Some).ok_or(BadAddress)
    }
}

/// An address that is too short for its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadAddress;

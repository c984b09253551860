//! Packet formats: header views and builders, checksums, and the packet-line notation.
//!
//! Every format has two faces: a *view* (`Ipv4Fixed`, `TcpFixed`, …: the fixed part of a header as it
//! lies in the packet, read and written in place) and a plain *value* (`Ipv4Header`, `TcpHeader`, …) that
//! is parsed out of bytes and emitted into a caller's buffer. Parsers take arbitrary bytes: they answer
//! with an [`Error`] and never panic. Nothing here holds state or knows what a socket is.
//!
//! ```
//! use sockeye_wire::{TcpFlags, TcpHeader};
//!
//! let syn = TcpHeader { src_port: 40000, dst_port: 80, seq: 7, flags: TcpFlags::SYN, ..TcpHeader::default() };
//! let mut bytes = [0; 20];
//! assert_eq!(syn.emit(&mut bytes), 20);
//! assert_eq!(TcpHeader::parse(&bytes), Ok((syn, 20)));
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bounded;
mod checksum;
mod error;
mod icmpv4;
mod icmpv6;
mod ip;
mod ipv4;
mod ipv6;
mod line;
mod tcp;
mod udp;

pub use bounded::Bounded;
pub use checksum::{
    BadChecksum, Checksum, SumWords, fill_checksums, incremental_update, sum_words, verify_checksums,
};
pub use error::{Error, Format};
pub use icmpv4::Icmpv4;
pub use icmpv6::Icmpv6;
pub use ip::{Fragment, IpLayout, Protocol, Quoted, header_len};
pub use ipv4::{Ipv4Fixed, Ipv4Header, Ipv4Options};
pub use ipv6::{Extensions, Ipv6Fixed, Ipv6Header, Routing, UnknownOption};
pub use line::{Endpoints, IcmpData, LineBody, LineError, PacketLine, TcpLine};
pub use tcp::{SackBlock, SackBlocks, TcpFixed, TcpFlags, TcpHeader, TcpOptions, TcpTimestamps};
pub use udp::{UdpFixed, UdpHeader};

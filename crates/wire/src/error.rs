//! Why bytes are not the header they were taken for.

use core::fmt;

/// Which header an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The first byte of a packet.
    Ip,
    /// An IPv4 header (RFC 791).
    Ipv4,
    /// An IPv6 header (RFC 8200).
    Ipv6,
    /// An IPv6 extension header (RFC 8200 §4).
    Ipv6Extension,
    /// A TCP header (RFC 9293).
    Tcp,
    /// A UDP header (RFC 768).
    Udp,
    /// An `ICMPv4` header (RFC 792).
    Icmpv4,
    /// An `ICMPv6` header (RFC 4443).
    Icmpv6,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Ip => "IP packet",
            Format::Ipv4 => "IPv4 header",
            Format::Ipv6 => "IPv6 header",
            Format::Ipv6Extension => "IPv6 extension header",
            Format::Tcp => "TCP header",
            Format::Udp => "UDP header",
            Format::Icmpv4 => "ICMPv4 header",
            Format::Icmpv6 => "ICMPv6 header",
        })
    }
}

/// Why bytes don't parse as a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The packet ends before the header does.
    Truncated(Format),
    /// The version field holds another IP version.
    Version(Format),
    /// A length field contradicts the header's own size.
    Length(Format),
    /// More IPv6 extension headers than any sender has reason to use.
    TooManyExtensions,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Truncated(format) => write!(f, "the packet ends inside its {format}"),
            Error::Version(format) => write!(f, "the version field of the {format} holds another version"),
            Error::Length(format) => write!(f, "a length field of the {format} contradicts its size"),
            Error::TooManyExtensions => f.write_str("the packet has too many IPv6 extension headers"),
        }
    }
}

impl core::error::Error for Error {}

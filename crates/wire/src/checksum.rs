//! The Internet checksum (RFC 1071): a one's complement sum of 16-bit words.
//!
//! The sum is kept in the machine's byte order, where it is the same up to a swap of its bytes (RFC 1071
//! §2 (B)), and turned into the network's at the end. Data may come in any number of slices of any length:
//! a slice that starts at an odd place is summed as if at an even one and its sum swapped.

use crate::{IpLayout, Ipv4Fixed, Protocol};
use core::fmt;
use core::net::IpAddr;

/// A sum in progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    /// Sum of native-endian 16-bit words, not folded.
    sum: u64,
    /// Whether an odd number of bytes was added.
    odd: bool,
}

impl Checksum {
    /// An empty sum.
    pub fn new() -> Checksum {
        Checksum::default()
    }

    /// The sum of a few words of 32 bits.
    #[inline]
    pub(crate) fn of_words(words: &[[u8; 4]]) -> Checksum {
        Checksum { sum: words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum(), odd: false }
    }

    /// The sum of the pseudo header of TCP, UDP and (IPv6 only) ICMP: addresses, protocol, and the length
    /// in bytes of the transport header and its data (RFC 9293 §3.1, RFC 8200 §8.1).
    ///
    /// Panics when the addresses are of different families.
    pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: Protocol, len: usize) -> Checksum {
        let mut sum = Checksum::new();
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                sum.add(&src.octets());
                sum.add(&dst.octets());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                sum.add(&src.octets());
                sum.add(&dst.octets());
            }
            _ => unreachable!("a packet from {src} to {dst}"),
        }
        sum.add_u16(protocol.0.into());
        sum.add_u32(len as u32);
        sum
    }

    /// Adds bytes, which follow directly those added before.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        self.add_by(sum_words, bytes);
    }

    /// [`Checksum::add`] for long runs of bytes, summed up by `sum_words`.
    #[inline]
    pub fn add_by(&mut self, sum_words: SumWords, bytes: &[u8]) {
        let sum = sum_words(bytes);
        self.sum += u64::from(if self.odd { sum.swap_bytes() } else { sum });
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// [`Checksum::add`] as a chain.
    #[inline]
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Checksum {
        self.add(bytes);
        self
    }

    /// Adds a 16-bit field.
    #[inline]
    pub fn add_u16(&mut self, value: u16) {
        let word = value.to_be();
        self.sum += u64::from(if self.odd { word.swap_bytes() } else { word });
    }

    /// Adds a 32-bit field.
    #[inline]
    pub fn add_u32(&mut self, value: u32) {
        self.add_u16((value >> 16) as u16);
        self.add_u16(value as u16);
    }

    /// The checksum: the complement of the sum. It is 0 over data that includes its own right checksum.
    #[inline]
    pub fn finish(self) -> u16 {
        !u16::from_be(fold(self.sum))
    }

    /// The checksum as UDP writes it: 0 would mean that there is none, and goes out as 0xffff, which is the
    /// same number in one's complement (RFC 768).
    #[inline]
    pub fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            sum => sum,
        }
    }
}

/// The checksum after a 16-bit field under it changed from `old` to `new` (RFC 1624, equation 3).
pub fn incremental_update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u64::from(!checksum) + u64::from(!old) + u64::from(new);
    !fold(sum)
}

/// 32-bit lanes that are summed side by side: enough for two additions a cycle on any vector unit.
const LANES: usize = 16;

/// Bytes after which the lanes are drained, so that they can't overflow: a lane takes 2^16 additions.
const BLOCK: usize = 1 << 20;

/// What sums up long runs of bytes: [`sum_words`], or the same with what a processor offers.
pub type SumWords = fn(&[u8]) -> u16;

/// The folded sum of the bytes as native-endian words; an odd byte at the end counts as if a zero followed.
#[inline]
#[must_use]
pub fn sum_words(bytes: &[u8]) -> u16 {
    let mut sum = 0;
    let (rows, rest) = bytes.as_chunks::<{ 4 * LANES }>();
    for block in rows.chunks(BLOCK / (4 * LANES)) {
        sum += sum_rows(block);
    }
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    sum += match *rest {
        [a, b, c] => u64::from(u16::from_ne_bytes([a, b])) + u64::from(u16::from_ne_bytes([c, 0])),
        [a, b] => u64::from(u16::from_ne_bytes([a, b])),
        [a] => u64::from(u16::from_ne_bytes([a, 0])),
        _ => 0,
    };
    fold(sum)
}

/// The sum of the halves of all 32-bit words, in a form that compilers turn into vector code.
///
/// Adding up whole words and, beside that, their upper halves takes one operation less per word than adding
/// up both halves: what a lane of whole words holds beyond its upper halves is the lower halves' sum, for
/// that fits in 32 bits although the lane itself wrapped.
fn sum_rows(rows: &[[u8; 4 * LANES]]) -> u64 {
    let mut whole = [0u32; LANES];
    let mut upper = [0u32; LANES];
    for row in rows {
        for (lane, word) in row.as_chunks::<4>().0.iter().enumerate() {
            let word = u32::from_ne_bytes(*word);
            whole[lane] = whole[lane].wrapping_add(word);
            upper[lane] += word >> 16;
        }
    }
    let lanes = whole.iter().zip(&upper);
    lanes.map(|(whole, upper)| u64::from(whole.wrapping_sub(upper << 16)) + u64::from(*upper)).sum()
}

/// Adds the carries back in until 16 bits are left.
#[inline]
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// Which checksum of a packet is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadChecksum {
    /// The IPv4 header's.
    Ipv4Header,
    /// The transport's: TCP, UDP, UDP-Lite or ICMP.
    Transport(Protocol),
    /// The packet doesn't parse, or ends before its headers or before the length that they state: nothing can
    /// be verified.
    Truncated,
}

impl fmt::Display for BadChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadChecksum::Ipv4Header => f.write_str("bad IPv4 header checksum"),
            BadChecksum::Transport(Protocol::TCP) => f.write_str("bad TCP checksum"),
            BadChecksum::Transport(Protocol::UDP) => f.write_str("bad UDP checksum"),
            BadChecksum::Transport(Protocol::UDP_LITE) => f.write_str("bad UDP-Lite checksum"),
            BadChecksum::Transport(Protocol::ICMP | Protocol::ICMPV6) => f.write_str("bad ICMP checksum"),
            BadChecksum::Transport(protocol) => write!(f, "bad checksum of protocol {protocol}"),
            BadChecksum::Truncated => f.write_str("the packet is shorter than its headers say"),
        }
    }
}

impl core::error::Error for BadChecksum {}

/// Fills the IPv4 header checksum and the TCP, UDP, UDP-Lite or ICMP checksum of a packet whose headers are in `head`
/// and whose data follows in `payload`.
///
/// Fragments and other protocols get the IPv4 header checksum only; what isn't an IP packet is left alone.
pub fn fill_checksums<'a>(head: &mut [u8], payload: impl Iterator<Item = &'a [u8]>) {
    let Ok(ip) = IpLayout::parse(head) else { return };
    if let (IpAddr::V4(_), Some(fixed)) = (ip.src, Ipv4Fixed::at_mut(head)) {
        fixed.checksum = 0.into();
        let header_len = fixed.header_len();
        let checksum = Checksum::new().with(&head[..header_len]).finish();
        head[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    let Ok(Some(field)) = checksum_field(&ip, head) else { return };
    head[field..field + 2].fill(0);
    let Some(sum) = transport_sum(&ip, head, payload) else { return };
    let never_zero = matches!(ip.protocol, Protocol::UDP | Protocol::UDP_LITE);
    let checksum = if never_zero { sum.finish_udp() } else { sum.finish() };
    head[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Verifies the checksums that [`fill_checksums`] fills. What has none (fragments, other protocols, UDP over
/// IPv4 with checksum 0) is right.
pub fn verify_checksums<'a>(head: &[u8], payload: impl Iterator<Item = &'a [u8]>) -> Result<(), BadChecksum> {
    let ip = IpLayout::parse(head).map_err(|_| BadChecksum::Truncated)?;
    let v4 = ip.src.is_ipv4();
    if v4 && !crate::Ipv4Header::verify(head) {
        return Err(BadChecksum::Ipv4Header);
    }
    let Some(field) = checksum_field(&ip, head)? else { return Ok(()) };
    // RFC 768: a checksum of 0 is none; RFC 8200 §8.1 forbids it over IPv6.
    if ip.protocol == Protocol::UDP && head[field..field + 2] == [0, 0] {
        return if v4 { Ok(()) } else { Err(BadChecksum::Transport(ip.protocol)) };
    }
    // RFC 3828 §3.1: UDP-Lite always has one.
    if ip.protocol == Protocol::UDP_LITE && head[field..field + 2] == [0, 0] {
        return Err(BadChecksum::Transport(ip.protocol));
    }
    let sum = transport_sum(&ip, head, payload).ok_or(BadChecksum::Truncated)?;
    if sum.finish() == 0 { Ok(()) } else { Err(BadChecksum::Transport(ip.protocol)) }
}

/// Where the transport's checksum lies in `head`; `None` when the packet has none, or is a fragment.
fn checksum_field(ip: &IpLayout, head: &[u8]) -> Result<Option<usize>, BadChecksum> {
    let v4 = ip.src.is_ipv4();
    let (offset, min_len) = match ip.protocol {
        Protocol::TCP => (16, 20),
        Protocol::UDP | Protocol::UDP_LITE => (6, 8),
        Protocol::ICMP if v4 => (2, 8),
        Protocol::ICMPV6 if !v4 => (2, 8),
        _ => return Ok(None),
    };
    if ip.fragment.is_some_and(|fragment| fragment.offset != 0 || fragment.more) {
        return Ok(None);
    }
    if head.len().min(ip.total_len) < ip.transport + min_len {
        return Err(BadChecksum::Truncated);
    }
    Ok(Some(ip.transport + offset))
}

/// The sum over pseudo header, transport header and data; `None` when bytes are missing.
fn transport_sum<'a>(
    ip: &IpLayout,
    head: &[u8],
    payload: impl Iterator<Item = &'a [u8]>,
) -> Option<Checksum> {
    let mut len = ip.total_len.checked_sub(ip.transport)?;
    if ip.protocol == Protocol::UDP {
        // The header's own length counts: bytes behind it belong to nobody.
        let stated = usize::from(u16::from_be_bytes([head[ip.transport + 4], head[ip.transport + 5]]));
        len = (8..=len).contains(&stated).then_some(stated)?;
    }
    let pseudo_len = len;
    if ip.protocol == Protocol::UDP_LITE {
        // RFC 3828 §3.1: the field says how much is covered, 0 all of it; the pseudo header has the length of all.
        let stated = usize::from(u16::from_be_bytes([head[ip.transport + 4], head[ip.transport + 5]]));
        let coverage = if stated == 0 { len } else { stated };
        len = (8..=len).contains(&coverage).then_some(coverage)?;
    }
    let mut sum = match ip.protocol {
        Protocol::ICMP => Checksum::new(),
        protocol => Checksum::pseudo_header(ip.src, ip.dst, protocol, pseudo_len),
    };
    let own = len.min(head.len() - ip.transport);
    sum.add(&head[ip.transport..][..own]);
    let mut left = len - own;
    for slice in payload {
        if left == 0 {
            break;
        }
        let taken = slice.len().min(left);
        sum.add(&slice[..taken]);
        left -= taken;
    }
    (left == 0).then_some(sum)
}

#[cfg(test)]
mod tests;

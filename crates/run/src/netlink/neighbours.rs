//! Requests for one neighbour. There is none: nobody has been looked for on a link without a link layer.

use super::host::interfaces;
use super::refusal::Refusal;
use super::request::Request;
use sockeye_posix::Errno;
use sockeye_stack::Stack;

/// The length of `struct ndmsg`.
const HEADER: usize = 12;
/// `NTF_PROXY`: the neighbours that are answered for.
const PROXY: u8 = 8;
/// `NDA_DST`, the neighbour's address, and the last attribute there is.
const NDA_DST: u16 = 1;
const NDA_LAST: u16 = 16;

/// Why a request is refused, in the order in which Linux looks at what is wrong with it.
pub(super) fn refuse(stack: &Stack, request: &Request<'_>) -> Refusal {
    let invalid = |sentence| Refusal::says(Errno::EINVAL, sentence);
    let Some(&[family, pad, low, high, i0, i1, i2, i3, s0, s1, flags, kind]) =
        request.body.first_chunk::<HEADER>()
    else {
        return invalid("Invalid header for neighbor get request");
    };
    if [pad, low, high, s0, s1, kind] != [0; 6] {
        return invalid("Invalid values in header for neighbor get request");
    }
    if flags & !PROXY != 0 {
        return invalid("Invalid flags in header for neighbor get request");
    }
    let index = u32::from_ne_bytes([i0, i1, i2, i3]);
    if index == 0 && flags & PROXY == 0 {
        return invalid("No device specified");
    }
    let Some(destination) = request.attribute(HEADER, NDA_DST) else { return Refusal::lacks(NDA_DST) };
    let len = match i32::from(family) {
        libc::AF_INET => 4,
        libc::AF_INET6 => 16,
        _ => {
            let sentence = "Unsupported family in header for neighbor get request";
            return Refusal::says(Errno::EAFNOSUPPORT, sentence);
        }
    };
    if destination.len() != len {
        return invalid("Invalid network address in neighbor get request");
    }
    if (NDA_DST + 1..=NDA_LAST).any(|other| request.attribute(HEADER, other).is_some()) {
        return invalid("Unsupported attribute in neighbor get request");
    }
    if index != 0 && !interfaces(stack).iter().any(|interface| interface.index() == index) {
        return Refusal::says(Errno::ENODEV, "Unknown device ifindex");
    }
    let proxy = flags & PROXY != 0;
    let sentence = if proxy { "Proxy neighbour entry not found" } else { "Neighbour entry not found" };
    Refusal::says(Errno::ENOENT, sentence)
}

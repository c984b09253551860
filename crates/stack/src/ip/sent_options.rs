//! Options of IPv4 packets that are sent (RFC 791 §3.1, `IP_OPTIONS` in ip(7)): which a user may ask for, and how they
//! get into a header.
//!
//! Asked for can be what a host needs no clock and no router's part for: no operation, end of list, record route and
//! router alert. Routes that senders choose are refused as they are on the way in (RFC 7126 §4.3 and §4.4), timestamps
//! since whoever sends them must know the time (RFC 1122 §3.2.1.8), and all others as the kernel refuses them to who
//! has no rights.

use crate::error::{Error, Result};
use crate::ip::options::{END, NO_OPERATION, RECORD_ROUTE, ROUTER_ALERT, option_len};
use alloc::boxed::Box;
use core::net::Ipv4Addr;
use sockeye_packet::{Head, Packet};
use sockeye_wire::{Ipv4Header, Ipv4Options};

/// The flag of options that every fragment has (RFC 791 §3.1).
const COPIED: u8 = 0x80;

/// The options as they are sent: in whole words, with nothing behind their end. None when there are none.
pub(crate) fn compile(asked: &[u8]) -> Result<Option<Box<Ipv4Options>>> {
    let mut options = Box::new(Ipv4Options::from_slice(asked));
    let (mut at, mut routes) = (0, 0);
    while let Some(len) = option_len(asked, at).map_err(|_| Error::InvalidArgument)? {
        let fine = match &asked[at..at + len] {
            [NO_OPERATION] => true,
            [RECORD_ROUTE, _, pointer, ..] => {
                routes += 1;
                let pointer = usize::from(*pointer);
                // As the kernel: it is full, or there is room for an address.
                routes == 1 && pointer >= 4 && (pointer > len || pointer + 3 <= len)
            }
            [ROUTER_ALERT, ..] => len >= 4,
            _ => false,
        };
        if !fine {
            return Err(Error::InvalidArgument);
        }
        at += len;
    }
    options[at..].fill(END);
    while !options.len().is_multiple_of(4) {
        options.push(END);
    }
    Ok((!options.is_empty()).then_some(options))
}

/// Each option that has a length, by where it lies.
fn each(options: &mut Ipv4Options, mut act: impl FnMut(&mut [u8])) {
    let mut at = 0;
    while let Ok(Some(len)) = option_len(options, at) {
        act(&mut options[at..at + len]);
        at += len;
    }
}

/// Writes the sender's address where a route is recorded (RFC 1122 §3.2.1.8).
fn record(option: &mut [u8], src: Ipv4Addr) {
    if option[0] != RECORD_ROUTE {
        return;
    }
    let pointer = usize::from(option[2]);
    if let Some(slot) = option.get_mut(pointer - 1..pointer + 3) {
        slot.copy_from_slice(&src.octets());
        option[2] += 4;
    }
}

/// Puts `options` into the header of a packet that has none; into one of IPv6 nothing.
pub(crate) fn insert(packet: &mut Packet, options: &Ipv4Options) {
    let Ok((mut header, len)) = Ipv4Header::parse(&packet.head) else { return };
    header.options = *options;
    each(&mut header.options, |option| record(option, header.src));
    header.total_len += options.len() as u16;
    let mut head = Head::zeroed(packet.head.len() + options.len());
    let end = header.emit(&mut head);
    head[end..].copy_from_slice(&packet.head[len..]);
    packet.head = head;
}

/// Leaves what fragments behind the first one have: no operations stand for the rest, as in the kernel.
pub(crate) fn keep_copied(options: &mut Ipv4Options) {
    each(options, |option| {
        if option[0] & COPIED == 0 {
            option.fill(NO_OPERATION);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_may_be_sent_is_told_apart() {
        let good: [(&[u8], &[u8]); 7] = [
            (&[], &[]),
            (&[1], &[1, 0, 0, 0]),
            (&[1, 0, 7, 7], &[1, 0, 0, 0]),
            (&[7, 7, 4, 0, 0, 0, 0], &[7, 7, 4, 0, 0, 0, 0, 0]),
            (&[7, 7, 8, 1, 2, 3, 4, 1], &[7, 7, 8, 1, 2, 3, 4, 1]),
            (&[7, 3, 4], &[7, 3, 4, 0]),
            (&[148, 4, 0, 0], &[148, 4, 0, 0]),
        ];
        for (asked, expected) in good {
            let compiled = compile(asked).unwrap();
            assert_eq!(compiled.as_deref().map_or(&[][..], |options| options), expected, "{asked:?}");
        }
        let bad: [&[u8]; 11] = [
            &[7],
            &[7, 0],
            &[7, 2, 4],
            &[7, 7, 3, 0, 0, 0, 0],
            &[7, 7, 5, 0, 0, 0, 0],
            &[7, 7, 4, 0],
            &[7, 3, 4, 7, 3, 4],
            &[148, 3, 0],
            &[131, 7, 4, 10, 0, 0, 1],
            &[68, 8, 5, 0, 0, 0, 0, 0],
            &[130, 4, 0, 0],
        ];
        for asked in bad {
            assert_eq!(compile(asked), Err(Error::InvalidArgument), "{asked:?}");
        }
    }

    #[test]
    fn later_fragments_have_what_is_copied() {
        let mut options = Ipv4Options::from_slice(&[7, 3, 4, 148, 4, 0, 0, 0]);
        keep_copied(&mut options);
        assert_eq!(options[..], [1, 1, 1, 148, 4, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_options_are_survived(asked in proptest::collection::vec(any::<u8>(), 0..=40)) {
            if let Ok(Some(mut options)) = compile(&asked) {
                prop_assert!(options.len().is_multiple_of(4) && options.len() <= 40);
                each(&mut options, |option| record(option, Ipv4Addr::LOCALHOST));
                keep_copied(&mut options);
            }
        }

        #[test]
        fn any_bytes_are_walked_through(bytes in proptest::collection::vec(any::<u8>(), 0..=40)) {
            keep_copied(&mut Ipv4Options::from_slice(&bytes));
        }
    }
}

//! Options of IPv4 packets that come in (RFC 791 §3.1, RFC 1122 §3.2.1.8, RFC 7126): whether they are in order, and
//! what is done about those that are.
//!
//! Routes that senders choose are refused. All others are ignored by a host, once their lengths are right.

use crate::counters::Counter;
use crate::io::Io;
use crate::ip::complaint::Complaint;
use crate::ip::input::Ingress;
use sockeye_packet::{Instant, Packet};
use sockeye_wire::Ipv4Header;

pub(super) const END: u8 = 0;
pub(super) const NO_OPERATION: u8 = 1;
pub(super) const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_ROUTE: u8 = 131;
pub(super) const ROUTER_ALERT: u8 = 148;
const STRICT_ROUTE: u8 = 137;

/// Why a packet is dropped for its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The option at this place in the packet makes no sense.
    Malformed { pointer: u8 },
    /// It has a route of its own (RFC 7126 §4.3 and §4.4).
    Routed,
}

/// An option states a length that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLength;

/// The length of the option at `at`; none at the end of the list.
pub(super) fn option_len(options: &[u8], at: usize) -> Result<Option<usize>, BadLength> {
    match options.get(at..) {
        None | Some([] | [END, ..]) => Ok(None),
        Some([NO_OPERATION, ..]) => Ok(Some(1)),
        Some(rest @ [_, len, ..]) if (2..=rest.len()).contains(&usize::from(*len)) => Ok(Some((*len).into())),
        Some(_) => Err(BadLength),
    }
}

/// Looks at all options, which start behind the fixed part of a header.
fn check(options: &[u8]) -> Result<(), Fault> {
    let mut at = 0;
    loop {
        let malformed = Fault::Malformed { pointer: (Ipv4Header::MIN_LEN + at) as u8 };
        let Some(len) = option_len(options, at).map_err(|BadLength| malformed)? else { return Ok(()) };
        // The least length and the least pointer into the data.
        let (least, first) = match options[at] {
            RECORD_ROUTE => (3, 4),
            LOOSE_ROUTE | STRICT_ROUTE => return Err(Fault::Routed),
            TIMESTAMP => (4, 5),
            ROUTER_ALERT => (4, 0),
            _ => (0, 0),
        };
        if len < least || first > 0 && options[at + 2] < first {
            return Err(malformed);
        }
        at += len;
    }
}

impl Io {
    /// Whether an IPv4 packet with options may be processed; its sender is told if it makes no sense.
    pub(crate) fn options_are_fine(&mut self, now: Instant, ingress: &Ingress, packet: &Packet) -> bool {
        let options = packet.head.get(Ipv4Header::MIN_LEN..ingress.transport).unwrap_or_default();
        let Err(fault) = check(options) else { return true };
        self.counters.bump(Counter::IpInHdrErrors);
        if let Fault::Malformed { pointer } = fault {
            self.complain(now, ingress, packet, Complaint::Parameter { code: 0, pointer: pointer.into() });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_are_told_apart() {
        let at = |pointer| Err(Fault::Malformed { pointer });
        let cases: [(&[u8], Result<(), Fault>); 12] = [
            (&[], Ok(())),
            (&[1, 1, 1, 0], Ok(())),
            (&[0, 130, 0, 0], Ok(())),
            (&[148, 4, 0, 0], Ok(())),
            (&[7, 7, 4, 0, 0, 0, 0, 0], Ok(())),
            (&[1, 130, 0, 0], at(21)),
            (&[130, 1, 0, 0], at(20)),
            (&[130, 5, 0, 0], at(20)),
            (&[1, 1, 1, 130], at(23)),
            (&[7, 7, 3, 0, 0, 0, 0, 0], at(20)),
            (&[131, 7, 4, 10, 0, 0, 1, 0], Err(Fault::Routed)),
            (&[1, 137, 3, 4], Err(Fault::Routed)),
        ];
        for (options, expected) in cases {
            assert_eq!(check(options), expected, "{options:?}");
        }
    }

    proptest! {
        #[test]
        fn any_options_are_survived(options in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = check(&options);
        }
    }
}

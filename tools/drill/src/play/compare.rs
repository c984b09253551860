//! Whether a segment that was sent is the one that was expected.
//!
//! What a line names must be as it says; what it leaves out may be anything, except the control bits, the
//! urgent pointer and (unless it says `<...>`) the options, which are always compared.
//!
//! A stack hands contiguous segments to its link as one super-segment, and how many it puts together is not
//! on the wire. So lines and super-segments need not have the same bounds: what was sent at one moment with
//! the same header is taken together, and a longer super-segment is cut where the line ends, as long as that
//! is between two of its segments. PSH is the one thing that shows the bounds: a super-segment of several
//! segments sets it on the last, to hurry a receiver that merges. So it is compared where neither the line
//! nor what was sent ends more than one segment there, and anywhere else it may be or not.

use super::wire::Sent;
use crate::script::{EcnSpec, IpSpec, TcpOptionSpec, TcpSpec};
use core::time::Duration;
use sockeye_wire::TcpFlags;

/// How closely timestamps are compared: the time between two ticks, and how far off they may be.
pub(super) type TsCheck = Option<(Duration, Duration)>;

/// What differs between the segment that was expected and the one that came, both with the script's
/// numbers; none if nothing does.
pub(super) fn difference(expected: &TcpSpec, sent: &TcpSpec, ts: TsCheck) -> Option<String> {
    let field = |name: &str, differs: bool| differs.then(|| name.to_owned());
    field("sequence number", expected.seq != sent.seq)
        .or_else(|| field("length", expected.len != sent.len))
        .or_else(|| field("flags", flags(expected) != sent.flags))
        .or_else(|| field("acknowledgment number", expected.ack.unwrap_or(0) != sent.ack.unwrap_or(0)))
        .or_else(|| field("window", expected.window.is_some_and(|window| sent.window != Some(window))))
        .or_else(|| field("urgent pointer", expected.urgent.unwrap_or(0) != sent.urgent.unwrap_or(0)))
        .or_else(|| ip_difference(&expected.ip, &sent.ip))
        .or_else(|| options_difference(expected.options.as_deref()?, sent.options.as_deref()?, ts))
}

/// The control bits of a line, where it counts in ACE with the three bits of that.
fn flags(spec: &TcpSpec) -> TcpFlags {
    let ace = TcpFlags::AE | TcpFlags::CWR | TcpFlags::ECE;
    match spec.ace {
        None => spec.flags,
        Some(count) => spec.flags & !ace | TcpFlags::from_bits(u16::from(count) << 6),
    }
}

fn ip_difference(expected: &IpSpec, sent: &IpSpec) -> Option<String> {
    let ecn_differs = match (expected.ecn, sent.ecn) {
        (None, _) => false,
        (Some(EcnSpec::Ect01), sent) => !matches!(sent, Some(EcnSpec::Ect0 | EcnSpec::Ect1)),
        (expected, sent) => expected != sent,
    };
    let named = [
        ("ECN bits", ecn_differs),
        ("type of service", expected.tos.is_some() && expected.tos != sent.tos),
        ("time to live", expected.ttl.is_some() && expected.ttl != sent.ttl),
        ("flow label", expected.flow_label.is_some() && expected.flow_label != sent.flow_label),
    ];
    named.into_iter().find(|(_, differs)| *differs).map(|(name, _)| name.to_owned())
}

fn options_difference(expected: &[TcpOptionSpec], sent: &[TcpOptionSpec], ts: TsCheck) -> Option<String> {
    if expected.len() != sent.len() {
        return Some("options".to_owned());
    }
    expected.iter().zip(sent).find_map(|(expected, sent)| match (expected, sent) {
        (
            TcpOptionSpec::Timestamps { value, echo },
            TcpOptionSpec::Timestamps { value: sent_value, echo: sent_echo },
        ) => {
            let apart = sent_value.wrapping_sub(*value) as i32;
            let off = |(tick, tolerance): (Duration, Duration)| tick * apart.unsigned_abs() > tolerance;
            if echo != sent_echo {
                Some("timestamp echo".to_owned())
            } else if ts.is_some_and(off) {
                Some("timestamp value".to_owned())
            } else {
                None
            }
        }
        (expected, sent) if expected == sent => None,
        _ => Some("options".to_owned()),
    })
}

/// Takes from `first`, and from `next()` where the line goes beyond it, what is to be compared with
/// `expected`; the rest of a longer super-segment is the second answer.
///
/// `next` answers the segment sent after, if `joins` agrees.
pub(super) fn gather(
    expected: &TcpSpec,
    first: Sent,
    mut next: impl FnMut(&Sent) -> Option<Sent>,
) -> (Sent, Option<Sent>) {
    let mut sent = first;
    while sent.spec.len < expected.len
        && let Some(more) = next(&sent)
    {
        // The header of what was taken together is that of the last.
        let bounds = TcpFlags::PSH | TcpFlags::FIN;
        sent.spec.flags = sent.spec.flags & !bounds | more.spec.flags & bounds;
        sent.spec.len += more.spec.len;
        sent.several |= more.several;
    }
    let mut rest = None;
    if sent.spec.len > expected.len && expected.len > 0 && is_whole(expected.len, &sent) {
        let mut behind = sent.clone();
        behind.spec.seq = behind.spec.seq.wrapping_add(expected.len);
        behind.spec.len -= expected.len;
        rest = Some(behind);
        sent.spec.len = expected.len;
        sent.spec.flags = sent.spec.flags & !(TcpFlags::PSH | TcpFlags::FIN);
        sent.several = false;
    }
    if sent.several || sent.mss > 0 && expected.len > sent.mss {
        sent.spec.flags = sent.spec.flags & !TcpFlags::PSH | expected.flags & TcpFlags::PSH;
    }
    (sent, rest)
}

/// Whether so many bytes are whole segments.
fn is_whole(len: u32, sent: &Sent) -> bool {
    sent.mss > 0 && len.is_multiple_of(sent.mss)
}

/// Whether `next` continues `sent` so that both could have been one super-segment.
pub(super) fn joins(sent: &Sent, next: &Sent) -> bool {
    let (a, b) = (&sent.spec, &next.spec);
    let bounds = TcpFlags::PSH | TcpFlags::FIN;
    sent.at == next.at
        && (sent.src, sent.dst) == (next.src, next.dst)
        && a.seq.wrapping_add(a.len) == b.seq
        && b.len > 0
        && a.len > 0
        && is_whole(a.len, sent)
        && !a.flags.intersects(TcpFlags::FIN | TcpFlags::SYN | TcpFlags::URG)
        && a.flags & !bounds == b.flags & !bounds
        && (a.ack, a.window, &a.options, a.ip) == (b.ack, b.window, &b.options, b.ip)
}

#[cfg(test)]
mod tests;

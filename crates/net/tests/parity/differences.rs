//! Where Sockeye differs from the kernel by design. Everything else that differs is a bug.

/// A case that some implementations leave out.
pub(crate) struct Difference {
    /// `SUBJECT::CASE`.
    pub case: &'static str,
    /// The implementations.
    pub legs: &'static [&'static str],
    /// Why.
    #[expect(dead_code, reason = "for readers")]
    pub reason: &'static str,
}

/// All implementations that are Sockeye's.
const SOCKEYE: &[&str] =
    &["sockeye_blocking", "loopback_blocking", "sockeye_async", "loopback_async", "simulation"];

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "options::buffer_sizes_are_doubled",
        legs: SOCKEYE,
        reason: "Linux doubles what is asked for, to count its own overhead; here a size is the size of the data",
    },
    Difference {
        case: "udp::a_broadcast_is_received",
        legs: SOCKEYE,
        reason: "the wire between hosts knows unicast only; a broadcast is sent and reaches nobody",
    },
];

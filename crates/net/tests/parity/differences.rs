//! Where Sockeye differs from the kernel by design. Everything else that differs is a bug.

/// A case that only the kernel's sockets pass.
pub(crate) struct Difference {
    /// `SUBJECT::CASE`.
    pub case: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "options::buffer_sizes_are_doubled",
        reason: "the kernel doubles what is asked for, to count its own overhead; here a size is that of the data",
    },
    Difference {
        case: "udp::a_broadcast_is_received",
        reason: "the wire between hosts knows unicast only; a broadcast is sent and reaches nobody",
    },
];

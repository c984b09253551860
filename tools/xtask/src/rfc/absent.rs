//! Labels that Sockeye deliberately doesn't implement, and why.

const NO_SOURCE_ROUTES: &str = "source routes are long out of use, and a way round filters: packets that carry one \
    are ignored (RFC 7126 §4.3, §4.4), as the kernel does unless it is told otherwise";

/// The label, and the reason.
pub(super) const ABSENT: &[(&str, &str)] = &[
    ("MAY-15", "no program asks for PSH: the last segment of what is queued always has it (MUST-61)"),
    ("MAY-17", "sockets have no way to tell of PSH; what has come is readable at once"),
    ("SHLD-13", "addressed to applications"),
    (
        "MAY-4",
        "retransmissions are packets like others: they have identifications of their own, or none (RFC 6864)",
    ),
    (
        "SHLD-9",
        "as the kernel: a connection that is being retransmitted says nothing before R2, but `TCP_INFO` counts",
    ),
    (
        "MUST-23",
        "as the kernel: a SYN is sent again for 131 seconds, unless `TCP_SYNCNT` or the configuration says longer",
    ),
    (
        "SHLD-20",
        "soft errors fail no call: only who asks (`SO_ERROR`) is told, so there is nothing to switch off",
    ),
    ("MAY-6", "a probe without data is enough: all that would need the octet are extinct"),
    ("MAY-10", "the option is skipped (MUST-50): nobody asks for it"),
    ("MAY-11", "the option is skipped (MUST-50): nobody asks for it"),
    ("MUST-51", NO_SOURCE_ROUTES),
    ("MUST-52", NO_SOURCE_ROUTES),
    ("MUST-53", NO_SOURCE_ROUTES),
    ("SHLD-24", NO_SOURCE_ROUTES),
    ("SHLD-23", "addressed to applications"),
    ("MAY-14", "sockets have no such call"),
];

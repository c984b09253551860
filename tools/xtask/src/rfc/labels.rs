//! The labels of RFC 9293, by subject, in our own words.
//!
//! The RFC itself marks each of its requirements with one of these (its Appendix B lists them). The list here
//! is compared with `../shared/rfc9293.md` where that file is present.

/// One labelled requirement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    /// As the RFC writes it, `MUST-20`.
    pub(super) id: &'static str,
    /// What it asks for.
    pub(super) asks: &'static str,
}

/// What belongs together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) labels: &'static [Label],
}

const fn label(id: &'static str, asks: &'static str) -> Label {
    Label { id, asks }
}

/// All of them.
pub(super) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "Header, options, checksum, MSS",
        labels: &[
            label("MUST-1", "the window field is unsigned"),
            label("REC-1", "window and sequence variables have 32 bits"),
            label("MUST-2", "every segment sent has a checksum"),
            label("MUST-3", "a segment with a wrong checksum is dropped without a word"),
            label("MUST-4", "the options end-of-list, no-operation and MSS are supported"),
            label("MUST-5", "an option may come in any segment"),
            label("MUST-6", "unknown options are skipped by their length"),
            label("MUST-7", "illegal option lengths do no harm"),
            label("MUST-64", "options may start at any octet"),
            label("MUST-68", "options but the first two kinds carry a length"),
            label("MUST-69", "the header is filled up to 32 bits with zeros"),
            label("MUST-14", "the MSS option is sent and understood"),
            label("SHLD-5", "every SYN carries an MSS option unless the default is meant"),
            label("MAY-3", "the MSS option is always sent"),
            label("MUST-15", "without an MSS option the peer takes 536 (IPv4) or 1220 (IPv6)"),
            label("MUST-16", "segments fit the peer and the path, options counted"),
            label("MUST-65", "the MSS option is only in segments with SYN"),
            label("MUST-67", "the MSS we announce follows from what we can reassemble"),
            label("SHLD-6", "the MSS follows the interface's or path's MTU"),
        ],
    },
    Subject {
        name: "Initial sequence numbers",
        labels: &[
            label("MUST-8", "initial sequence numbers are driven by a clock"),
            label("SHLD-1", "they are the clock plus a keyed function of the four-tuple"),
            label("MUST-9", "that function cannot be computed from outside"),
        ],
    },
    Subject {
        name: "Opening",
        labels: &[
            label("MUST-10", "a simultaneous open works"),
            label("MUST-11", "SYN-RECEIVED knows whether the open was active or passive"),
            label("MUST-41", "listening disturbs no connection and no other listener"),
            label("MUST-42", "a port can be listened on while a connection on it is being opened"),
            label("MUST-43", "an open may name its local address"),
            label("MUST-44", "otherwise IP chooses the source address"),
            label("MUST-45", "all segments of a connection have the same local address"),
            label("MUST-46", "opening to an address that cannot be a peer is refused"),
            label("MUST-63", "a SYN from an address that cannot be a peer is ignored"),
            label("MUST-57", "a SYN to a broadcast or multicast address is dropped"),
        ],
    },
    Subject {
        name: "Closing, reset, TIME-WAIT",
        labels: &[
            label("SHLD-2", "a reset may carry data"),
            label("MUST-12", "the user learns whether the connection was closed or aborted"),
            label("MAY-1", "one direction can be closed alone"),
            label("SHLD-3", "data lost by a close is told to the peer by a reset"),
            label("MUST-13", "who closes first stays in TIME-WAIT for twice the MSL"),
            label("MAY-2", "a new SYN may end TIME-WAIT"),
            label("SHLD-4", "timestamps make that safe earlier"),
        ],
    },
    Subject {
        name: "Pushing and segment sizing",
        labels: &[
            label("MAY-15", "a send call may ask for PSH"),
            label("MUST-60", "without that, data is not held back for ever"),
            label("MUST-61", "without that, the last segment of what is queued has PSH"),
            label("MAY-16", "data without PSH may be collected"),
            label("SHLD-27", "sends in a row share segments and PSH"),
            label("MAY-17", "the receiver may be told of PSH"),
            label("SHLD-28", "segments are as large as possible"),
        ],
    },
    Subject {
        name: "Window handling and zero-window probing",
        labels: &[
            label("SHLD-14", "the window we offer does not shrink"),
            label("MUST-34", "the peer's window may shrink"),
            label("SHLD-15", "when it did, no new data is sent"),
            label("SHLD-16", "what is sent and in the window is retransmitted"),
            label("MAY-7", "what is sent and beyond the window may be retransmitted"),
            label("SHLD-17", "what is beyond the window does not time the connection out"),
            label("MUST-66", "with a closed window ACK, RST and URG still count"),
            label("MAY-8", "a window may stay closed for ever"),
            label("MUST-35", "closed windows are probed"),
            label("MUST-36", "that includes windows that were offered as zero"),
            label("SHLD-29", "the first probe comes after one retransmission timeout"),
            label("SHLD-30", "the time between probes doubles"),
            label("MUST-37", "while probes are acknowledged the connection stays"),
            label("MUST-38", "the sender avoids silly windows"),
            label("MUST-39", "the receiver avoids silly windows"),
            label("SHLD-7", "Nagle's algorithm"),
            label("MUST-17", "it can be switched off for a connection"),
        ],
    },
    Subject {
        name: "Urgent data",
        labels: &[
            label("MUST-30", "urgent data is supported"),
            label("MUST-62", "the urgent pointer points behind the urgent data"),
            label("MUST-31", "urgent data may be of any length"),
            label("MUST-32", "the user is told when urgent data comes"),
            label("MUST-33", "the user can ask where it ends"),
            label("SHLD-13", "new applications do not use it"),
        ],
    },
    Subject {
        name: "Retransmission and congestion control",
        labels: &[
            label("MUST-18", "the retransmission timeout is RFC 6298's, with Karn's rule"),
            label("MUST-19", "slow start, congestion avoidance, back-off"),
            label("MAY-18", "another congestion control that conforms"),
            label("MAY-4", "a retransmission may have the IP identification of the first copy"),
            label("SHLD-8", "explicit congestion notification"),
        ],
    },
    Subject {
        name: "Acknowledgements",
        labels: &[
            label("MUST-58", "acknowledgments of segments that came together are combined"),
            label("MUST-59", "what has come is processed before anything is acknowledged"),
            label("SHLD-31", "segments out of order are kept"),
            label("MAY-13", "a segment out of order is acknowledged at once"),
            label("SHLD-18", "acknowledgments are delayed"),
            label("MUST-40", "by less than half a second"),
            label("SHLD-19", "every second full segment is acknowledged"),
            label("MAY-12", "acknowledgments out of range are not believed"),
        ],
    },
    Subject {
        name: "Failure detection and keep-alive",
        labels: &[
            label("MUST-20", "two thresholds of retransmission, R1 and R2"),
            label("MUST-21", "the user can set R2 for a connection"),
            label("SHLD-9", "the user is told when R1 is reached"),
            label("SHLD-10", "R1 is at least 3 retransmissions"),
            label("SHLD-11", "R2 is at least 100 seconds"),
            label("MUST-22", "both hold for a SYN too"),
            label("MUST-23", "for a SYN R2 is at least 3 minutes"),
            label("MAY-5", "keep-alive probes"),
            label("MUST-24", "they can be switched on and off for a connection"),
            label("MUST-25", "they are off unless asked for"),
            label("MUST-26", "they are sent only on an idle connection"),
            label("MUST-27", "the idle time can be set"),
            label("MUST-28", "it is two hours unless it is set"),
            label("MUST-29", "one probe without an answer proves nothing"),
            label("SHLD-12", "probes carry no data"),
            label("MAY-6", "a probe may be made to carry one octet"),
        ],
    },
    Subject {
        name: "IP options, ICMP, TTL, DiffServ",
        labels: &[
            label("MUST-49", "the time to live of segments can be set"),
            label("MUST-50", "IP options that are not understood are ignored"),
            label("MAY-10", "the IP timestamp option"),
            label("MAY-11", "the IP record-route option"),
            label("MUST-51", "an active open may name a source route"),
            label("MUST-52", "it wins over one that came in a datagram"),
            label("MUST-53", "a passive open answers over the reversed route"),
            label("SHLD-24", "a later route replaces it"),
            label("MUST-54", "ICMP errors reach the connection that they quote"),
            label("SHLD-25", "soft ICMP errors are told to the user"),
            label("MUST-56", "soft ICMP errors do not end a connection"),
            label("SHLD-26", "hard ICMP errors end a connection"),
            label("MUST-55", "source quench is ignored"),
            label("MUST-47", "the user can learn of soft errors"),
            label("SHLD-20", "the user can switch that off"),
            label("MUST-48", "the user can set the DiffServ field"),
            label("SHLD-21", "also during a connection"),
            label("SHLD-22", "it is passed to IP as it is"),
            label("SHLD-23", "applications do not keep changing it"),
            label("MAY-9", "the DiffServ field of what comes is told to the user"),
            label("MAY-14", "a call that forgets what is queued"),
        ],
    },
];

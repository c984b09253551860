//! What the stack counts, by the names that Linux's /proc/net/snmp and /proc/net/netstat have.
//!
//! One table: a counter is a row of it. Both families count in the same ones. What has no name there is in
//! a group of its own.

use core::ops::Index;

macro_rules! counters {
    ($($prefix:ident $group:literal { $($(#[$doc:meta])* $counter:ident $name:literal,)* })*) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Counter {
            $($($(#[$doc])* $counter,)*)*
        }

        impl Counter {
            /// All of them, in the order in which they are shown.
            pub const ALL: &'static [Counter] = &[$($(Counter::$counter,)*)*];

            /// The group that it belongs to: `Ip`, `Icmp`, `Tcp` and `Udp` are in /proc/net/snmp, `TcpExt` and
            /// `IpExt` in /proc/net/netstat, and `Sockeye` is ours.
            pub const fn group(self) -> &'static str {
                match self {
                    $($(Counter::$counter)|* => $group,)*
                }
            }

            /// Its name within the group.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Counter::$counter => $name,)*)*
                }
            }
        }
    };
}

counters! {
    Ip "Ip" {
        /// Packets taken in, also those that were bad.
        IpInReceives "InReceives",
        /// Dropped: not an IP packet, or a header that can't be processed.
        IpInHdrErrors "InHdrErrors",
        /// Dropped: for another host.
        IpInAddrErrors "InAddrErrors",
        /// Packets for other hosts, passed on.
        IpForwDatagrams "ForwDatagrams",
        /// Dropped: a protocol that nobody speaks here.
        IpInUnknownProtos "InUnknownProtos",
        /// Packets handed to a protocol.
        IpInDelivers "InDelivers",
        /// Packets handed out, to links and to the loopback.
        IpOutRequests "OutRequests",
        /// Packets for other hosts to which there is no route.
        IpOutNoRoutes "OutNoRoutes",
        /// Reassemblies that took too long.
        IpReasmTimeout "ReasmTimeout",
        /// Fragments taken in.
        IpReasmReqds "ReasmReqds",
        /// Packets put together from fragments.
        IpReasmOks "ReasmOKs",
        /// Reassemblies given up: overlaps, too many, too late.
        IpReasmFails "ReasmFails",
        /// Packets for other hosts that were too long for their link and could not be cut.
        IpFragFails "FragFails",
    }
    Icmp "Icmp" {
        /// Messages taken in.
        IcmpInMsgs "InMsgs",
        /// Messages taken in that say nothing about any packet of ours.
        IcmpInErrors "InErrors",
        /// Dropped: a wrong checksum.
        IcmpInCsumErrors "InCsumErrors",
        /// Destinations unreachable and packets too big, taken in.
        IcmpInDestUnreachs "InDestUnreachs",
        /// Times exceeded, taken in.
        IcmpInTimeExcds "InTimeExcds",
        /// Parameter problems, taken in.
        IcmpInParmProbs "InParmProbs",
        /// Echo requests taken in.
        IcmpInEchos "InEchos",
        /// Echo replies taken in.
        IcmpInEchoReps "InEchoReps",
        /// Timestamp requests taken in.
        IcmpInTimestamps "InTimestamps",
        /// Messages sent.
        IcmpOutMsgs "OutMsgs",
        /// Errors not sent because of the limit on all of them.
        IcmpOutRateLimitGlobal "OutRateLimitGlobal",
        /// Errors not sent because of the limit on those to one destination.
        IcmpOutRateLimitHost "OutRateLimitHost",
        /// Destinations unreachable and packets too big, sent.
        IcmpOutDestUnreachs "OutDestUnreachs",
        /// Errors sent about packets whose time to live was over.
        IcmpOutTimeExcds "OutTimeExcds",
        /// Parameter problems sent.
        IcmpOutParmProbs "OutParmProbs",
        /// Echo replies sent.
        IcmpOutEchoReps "OutEchoReps",
        /// Timestamp replies sent.
        IcmpOutTimestampReps "OutTimestampReps",
    }
    Tcp "Tcp" {
        /// Connections opened from here.
        TcpActiveOpens "ActiveOpens",
        /// Connections accepted from a SYN.
        TcpPassiveOpens "PassiveOpens",
        /// Handshakes that failed.
        TcpAttemptFails "AttemptFails",
        /// Established connections that ended in a reset.
        TcpEstabResets "EstabResets",
        /// Segments taken in, also those that were bad.
        TcpInSegs "InSegs",
        /// Segments sent first; super-segments count all that they carry, and acknowledgments count.
        TcpOutSegs "OutSegs",
        /// Segments sent again.
        TcpRetransSegs "RetransSegs",
        /// Dropped: not a TCP segment.
        TcpInErrs "InErrs",
        /// Resets sent.
        TcpOutRsts "OutRsts",
        /// Dropped: a wrong checksum.
        TcpInCsumErrors "InCsumErrors",
    }
    Udp "Udp" {
        /// Datagrams given to sockets.
        UdpInDatagrams "InDatagrams",
        /// Datagrams for a port that nobody has.
        UdpNoPorts "NoPorts",
        /// Datagrams dropped for any other reason.
        UdpInErrors "InErrors",
        /// Datagrams sent.
        UdpOutDatagrams "OutDatagrams",
        /// Datagrams dropped because their socket was full.
        UdpRcvbufErrors "RcvbufErrors",
        /// Datagrams dropped: a wrong checksum.
        UdpInCsumErrors "InCsumErrors",
    }
    Ext "TcpExt" {
        /// SYN cookies sent.
        SyncookiesSent "SyncookiesSent",
        /// Connections from SYN cookies.
        SyncookiesRecv "SyncookiesRecv",
        /// Acknowledgments that looked like a SYN cookie's and weren't.
        SyncookiesFailed "SyncookiesFailed",
        /// Half-open connections reset by the peer.
        EmbryonicRsts "EmbryonicRsts",
        /// Connections that began TIME-WAIT.
        TimeWaits "TW",
        /// TIME-WAITs ended by a new connection of the same addresses.
        TimeWaitsRecycled "TWRecycled",
        /// Segments refused because their timestamp was older than what had arrived (RFC 7323).
        PawsEstab "PAWSEstab",
        /// Acknowledgments sent when their delay was over.
        DelayedAcks "DelayedACKs",
        /// Segments that arrived again: their acknowledgment was lost, or late.
        DelayedAckLost "DelayedACKLost",
        /// Connections refused because the listener's queue was full.
        ListenOverflows "ListenOverflows",
        /// SYNs and handshakes dropped by listeners for any reason.
        ListenDrops "ListenDrops",
        /// Acknowledgments without data taken in.
        TcpPureAcks "TCPPureAcks",
        /// Fast recoveries begun without SACK.
        TcpRenoRecovery "TCPRenoRecovery",
        /// Fast recoveries begun with SACK.
        TcpSackRecovery "TCPSackRecovery",
        /// Peers that dropped what they had reported by SACK.
        TcpSackReneging "TCPSACKReneging",
        /// Reordering found by SACK.
        TcpSackReorder "TCPSACKReorder",
        /// Reordering found without SACK.
        TcpRenoReorder "TCPRenoReorder",
        /// Reordering found by timestamps.
        TcpTsReorder "TCPTSReorder",
        /// Window reductions undone completely.
        TcpFullUndo "TCPFullUndo",
        /// Recoveries undone while they went on.
        TcpPartialUndo "TCPPartialUndo",
        /// Window reductions undone because of DSACKs.
        TcpDsackUndo "TCPDSACKUndo",
        /// Timeouts undone.
        TcpLossUndo "TCPLossUndo",
        /// Retransmissions lost.
        TcpLostRetransmit "TCPLostRetransmit",
        /// Timeouts in fast recovery without SACK.
        TcpRenoFailures "TCPRenoFailures",
        /// Timeouts in fast recovery with SACK.
        TcpSackFailures "TCPSackFailures",
        /// Timeouts in recovery from a timeout.
        TcpLossFailures "TCPLossFailures",
        /// Segments sent again in fast recovery.
        TcpFastRetrans "TCPFastRetrans",
        /// Segments sent again after a timeout.
        TcpSlowStartRetrans "TCPSlowStartRetrans",
        /// Retransmission timeouts, those of SYNs too.
        TcpTimeouts "TCPTimeouts",
        /// Tail loss probes sent (RFC 8985).
        TcpLossProbes "TCPLossProbes",
        /// Losses that a tail loss probe repaired.
        TcpLossProbeRecovery "TCPLossProbeRecovery",
        /// DSACKs sent for segments before RCV.NXT.
        TcpDsackOldSent "TCPDSACKOldSent",
        /// DSACKs sent for segments that had arrived out of order.
        TcpDsackOfoSent "TCPDSACKOfoSent",
        /// DSACKs received for what was acknowledged.
        TcpDsackRecv "TCPDSACKRecv",
        /// DSACKs received for what was reported out of order.
        TcpDsackOfoRecv "TCPDSACKOfoRecv",
        /// Connections reset because data came that nobody would read.
        TcpAbortOnData "TCPAbortOnData",
        /// Connections reset because they were closed with unread data.
        TcpAbortOnClose "TCPAbortOnClose",
        /// Connections reset because there were too many orphans.
        TcpAbortOnMemory "TCPAbortOnMemory",
        /// Connections given up because the peer was silent.
        TcpAbortOnTimeout "TCPAbortOnTimeout",
        /// Connections reset in FIN-WAIT-2 because their socket does not wait.
        TcpAbortOnLinger "TCPAbortOnLinger",
        /// Timeouts that F-RTO found to be spurious.
        TcpSpuriousRtos "TCPSpuriousRTOs",
        /// Handshakes held back because the listener waits for data.
        TcpDeferAcceptDrop "TCPDeferAcceptDrop",
        /// Connections without TIME-WAIT because there were too many.
        TcpTimeWaitOverflow "TCPTimeWaitOverflow",
        /// SYNs answered by a cookie because the listener had too many half-open connections.
        TcpReqQFullDoCookies "TCPReqQFullDoCookies",
        /// SYNs dropped for the same reason, without cookies.
        TcpReqQFullDrop "TCPReqQFullDrop",
        /// Segments queued out of order.
        TcpOfoQueue "TCPOFOQueue",
        /// Segments out of order dropped for lack of room.
        TcpOfoDrop "TCPOFODrop",
        /// Segments out of order that overlapped what was queued.
        TcpOfoMerge "TCPOFOMerge",
        /// Challenge ACKs sent (RFC 5961).
        TcpChallengeAck "TCPChallengeACK",
        /// Challenge ACKs for a SYN in the window.
        TcpSynChallenge "TCPSYNChallenge",
        /// SYNs and SYN-ACKs sent again.
        TcpSynRetrans "TCPSynRetrans",
        /// Segments of data sent first.
        TcpOrigDataSent "TCPOrigDataSent",
        /// Acknowledgments not sent because of their limit, for segments with an old timestamp.
        TcpAckSkippedPaws "TCPACKSkippedPAWS",
        /// The same, for segments outside the window.
        TcpAckSkippedSeq "TCPACKSkippedSeq",
        /// The same, for challenge ACKs.
        TcpAckSkippedChallenge "TCPACKSkippedChallenge",
        /// Probes of a closed window sent.
        TcpWinProbe "TCPWinProbe",
        /// Keep-alive probes sent.
        TcpKeepAlive "TCPKeepAlive",
        /// Segments delivered to peers.
        TcpDelivered "TCPDelivered",
        /// Segments delivered to peers with a mark of congestion.
        TcpDeliveredCe "TCPDeliveredCE",
        /// Segments in order dropped for lack of memory.
        TcpRcvQDrop "TCPRcvQDrop",
        /// Segments that lay beyond our window.
        TcpBeyondWindow "TCPBeyondWindow",
    }
    IpExt "IpExt" {
        /// Packets dropped: a wrong checksum in another protocol.
        IpInCsumErrors "InCsumErrors",
        /// Packets taken in without ECN.
        IpInNoEctPkts "InNoECTPkts",
        /// Packets taken in with ECT(1).
        IpInEct1Pkts "InECT1Pkts",
        /// Packets taken in with ECT(0).
        IpInEct0Pkts "InECT0Pkts",
        /// Packets taken in with a mark of congestion.
        IpInCePkts "InCEPkts",
        /// Fragments that overlapped.
        IpReasmOverlaps "ReasmOverlaps",
    }
    Own "Sockeye" {
        /// Dropped: addresses that can't be on the wire there.
        Martians "Martians",
        /// Segments and echo replies for nobody.
        NoSocket "NoSocket",
        /// Dropped: a packet of a flow, while too many were held or too much was queued.
        FlowsFull "FlowsFull",
        /// Dropped: an answer, because too many waited to be sent.
        QueueFull "QueueFull",
        /// Handshakes dropped because there were too many sockets.
        SocketsFull "SocketsFull",
        /// Loopback packets that a capture missed because nobody fetched those before them.
        CaptureMissed "CaptureMissed",
    }
}

/// How often each [`Counter`] was counted since the stack was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters([u64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Counters {
        Counters([0; Counter::ALL.len()])
    }
}

impl Counters {
    /// Counts one.
    #[inline]
    pub(crate) fn bump(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts several.
    #[inline]
    pub(crate) fn add(&mut self, counter: Counter, count: u64) {
        self.0[counter as usize] += count;
    }

    /// The sum of several counters.
    pub fn sum(&self, counters: &[Counter]) -> u64 {
        counters.iter().map(|counter| self[*counter]).sum()
    }
}

impl Index<Counter> for Counters {
    type Output = u64;

    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn names_are_unique_within_their_group_and_groups_are_contiguous() {
        let names: BTreeSet<_> =
            Counter::ALL.iter().map(|counter| (counter.group(), counter.name())).collect();
        assert_eq!(names.len(), Counter::ALL.len());
        let changes = Counter::ALL.windows(2).filter(|pair| pair[0].group() != pair[1].group()).count();
        let groups: BTreeSet<_> = Counter::ALL.iter().map(|counter| counter.group()).collect();
        assert_eq!(changes + 1, groups.len());
    }

    #[test]
    fn each_is_counted_in_its_own_place() {
        let mut counters = Counters::default();
        for (at, counter) in (1..).zip(Counter::ALL) {
            counters.add(*counter, at);
        }
        assert!((1..).zip(Counter::ALL).all(|(at, counter)| counters[*counter] == at));
    }
}

//! Explicit congestion notification (RFC 3168): what is asked for and agreed on in the SYNs, what arrives
//! marked, and what is said about it.
//!
//! A receiver of a marked packet says so in each acknowledgment (ECE) until the sender has answered that it
//! reduced its window (CWR). New data carries ECT(0); nothing else does: pure acknowledgments, what is sent
//! again and probes of a closed window are not to be marked (§6.1.4, §6.1.5, §6.1.6).

use super::ack::Acks;
use crate::config;
use sockeye_wire::TcpFlags;

/// The codepoints of the IP header's ECN field (RFC 3168 §5).
pub(crate) const NOT_ECT: u8 = 0b00;
pub(crate) const ECT_0: u8 = 0b10;
pub(crate) const CE: u8 = 0b11;

const SETUP: TcpFlags = TcpFlags::ECE.union(TcpFlags::CWR);

/// ECN of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ecn {
    /// Before the handshake is complete: our SYN asks for it. Afterwards: both ends use it.
    on: bool,
    /// The peer has sent a packet that can be marked.
    seen: bool,
    /// A marked packet arrived, and the peer has not answered CWR since.
    echo: bool,
    /// The window was reduced, and the peer does not know it yet.
    reduced: bool,
}

impl Ecn {
    /// An active open.
    pub(super) fn ask(setting: config::Ecn) -> Ecn {
        Ecn { on: setting == config::Ecn::Request, ..Ecn::default() }
    }

    /// A passive open that has agreed to it, or not.
    pub(super) fn agreed(on: bool) -> Ecn {
        Ecn { on, ..Ecn::default() }
    }

    pub(super) fn is_on(self) -> bool {
        self.on
    }

    pub(super) fn is_seen(self) -> bool {
        self.seen
    }

    /// The SYN was lost, perhaps because it asked: some networks drop what they don't know (§6.1.1.1).
    pub(super) fn on_syn_timeout(&mut self, fallback: bool) {
        self.on &= !fallback;
    }

    /// The flags of our SYN (§6.1.1), or SYN-ACK in a simultaneous open.
    pub(super) fn syn_flags(self, answers: bool) -> TcpFlags {
        match (self.on, answers) {
            (false, _) => TcpFlags::NONE,
            (true, false) => SETUP,
            (true, true) => TcpFlags::ECE,
        }
    }

    /// The peer's SYN or SYN-ACK has arrived in SYN-SENT.
    pub(super) fn agree(&mut self, flags: TcpFlags) {
        let expected = if flags.ack() { TcpFlags::ECE } else { SETUP };
        self.on &= flags & SETUP == expected;
    }

    /// The flags that an acknowledgment carries.
    #[inline]
    pub(super) fn ack_flags(self) -> TcpFlags {
        if self.on && self.echo { TcpFlags::ECE } else { TcpFlags::NONE }
    }

    /// A new segment, perhaps with `data`: its ECN bits and flags. If it has some it can be marked, and is the one to
    /// say that the window was reduced.
    #[inline]
    pub(super) fn mark_new(&mut self, data: bool) -> (u8, TcpFlags) {
        if !self.on || !data {
            return (0, TcpFlags::NONE);
        }
        let reduced = core::mem::take(&mut self.reduced);
        (ECT_0, if reduced { TcpFlags::CWR } else { TcpFlags::NONE })
    }

    /// The window was reduced, for whatever reason (§6.1.2).
    pub(super) fn on_reduction(&mut self) {
        self.reduced |= self.on;
    }

    /// Whether an acknowledgment with these flags reports a mark.
    pub(super) fn is_echo(self, flags: TcpFlags) -> bool {
        self.on && flags & (TcpFlags::ECE | TcpFlags::SYN) == TcpFlags::ECE
    }

    /// Data has arrived, some of it new or not, in a packet with this codepoint.
    #[inline]
    pub(super) fn on_data(&mut self, flags: TcpFlags, codepoint: u8, new: bool, acks: &mut Acks) {
        if !self.on {
            return;
        }
        if flags.contains(TcpFlags::CWR) {
            self.echo = false;
            // As the kernel: the peer's window may be down to one segment, so it waits for this.
            acks.now = true;
        }
        if !new {
            return;
        }
        match codepoint {
            CE => {
                if !core::mem::replace(&mut self.echo, true) {
                    acks.hurry();
                }
                self.seen = true;
            }
            // As the kernel: from a peer that uses it, that is something sent again.
            NOT_ECT if self.seen => acks.hurry(),
            NOT_ECT => {}
            _ => self.seen = true,
        }
    }
}

/// Whether a passive open agrees: the SYN asks (§6.1.1), and its packet was not marked as one that can be,
/// which SYNs are not (§6.1.1; RFC 3168's SYN is none of a later scheme's).
pub(crate) fn accepts(setting: config::Ecn, syn: TcpFlags, codepoint: u8) -> bool {
    setting != config::Ecn::Off && syn & SETUP == SETUP && codepoint == NOT_ECT
}

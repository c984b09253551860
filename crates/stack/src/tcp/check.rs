//! What always holds of a connection, for the fuzzer and the tests: each call may be followed by
//! [`Connection::check_invariants`], and when nothing more is to be sent by [`Connection::check_settled`].

use super::connection::Connection;
use super::state::State;
use super::timers::Timer;
use crate::tcp::SeqNumber;
use sockeye_packet::Instant;

/// What an adversary who knows everything knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) iss: SeqNumber,
    pub(crate) irs: SeqNumber,
    pub(crate) snd_una: SeqNumber,
    pub(crate) snd_nxt: SeqNumber,
    pub(crate) snd_wnd: u32,
    pub(crate) snd_mss: u16,
    pub(crate) rcv_nxt: SeqNumber,
    pub(crate) rcv_wnd: u32,
    /// The sequence number of the next byte that the user reads.
    pub(crate) read_seq: SeqNumber,
    /// The peer's last timestamp, with timestamps in use.
    pub(crate) ts_recent: Option<u32>,
    /// What our clock shows now.
    pub(crate) ts_now: Option<u32>,
    pub(crate) rcv_wscale: u8,
    /// SND.WL1: windows of segments before it are not believed.
    pub(crate) snd_wl1: SeqNumber,
    /// Bytes that the user has sent and that were never sent.
    pub(crate) unsent: u32,
    /// Whether the peer's FIN is counted in RCV.NXT.
    pub(crate) fin_received: bool,
    /// Where the peer's urgent data ends, until it is read.
    pub(crate) urgent: Option<SeqNumber>,
}

impl Connection {
    pub(crate) fn view(&self, now: Instant) -> View {
        View {
            state: self.state,
            iss: self.iss,
            irs: self.irs,
            snd_una: self.snd_una,
            snd_nxt: self.snd_nxt,
            snd_wnd: self.snd_wnd,
            snd_mss: self.snd_mss,
            rcv_nxt: self.rcv_nxt,
            rcv_wnd: self.rcv_wnd(),
            read_seq: self.read_seq(),
            ts_recent: self.options.ts_recent(),
            ts_now: self.options.timestamp(now).map(|stamps| stamps.value),
            snd_wl1: self.snd_wl1,
            rcv_wscale: self.options.rcv_wscale,
            unsent: self.unsent(),
            fin_received: self.flags.fin_received,
            urgent: self.urgent.mark(),
        }
    }

    /// The sequence number of the next byte that the user hands over.
    pub(crate) fn next_seq(&self) -> u32 {
        self.send_end().0
    }

    /// What the budget was charged for it.
    pub(crate) fn charged(&self) -> usize {
        self.charged
    }

    /// Panics when something is not as it must be between any two calls.
    pub(crate) fn check_invariants(&self) {
        assert!(!self.snd_una.after(self.snd_nxt), "SND.UNA {:?} > SND.NXT {:?}", self.snd_una, self.snd_nxt);
        assert!(self.snd_wnd <= self.max_snd_wnd, "the window {} > the largest ever", self.snd_wnd);
        self.recv.check_invariants();
        let held = self.send.charged() + self.recv.charged();
        assert!(self.charged <= held, "charged {} for {held}", self.charged);
        if self.state == State::Closed {
            // What was in flight is forgotten.
            assert!(self.sent.is_empty() && self.send.is_empty(), "a closed connection sends");
            assert_eq!(self.timers.next(), None, "a closed connection waits");
            return;
        }
        self.sent.check_invariants(self.snd_una, self.snd_nxt, self.options.sack);
        self.scoreboard.check_invariants(self.snd_una, self.snd_nxt);
        let fin = u32::from(self.fin_unacked());
        assert!(
            !self.snd_nxt.after(self.send_end() + fin),
            "sent {:?} of {:?}",
            self.snd_nxt,
            self.send_end()
        );
        let behind = self.rcv_fin.is_some_and(|fin| fin.before(self.rcv_nxt));
        assert!(!self.flags.fin_received || behind, "a FIN that was not seen");
    }

    /// Panics when nothing would ever happen although something is to: to be called when
    /// [`poll_transmit`](Connection::poll_transmit) has nothing.
    pub(crate) fn check_settled(&self) {
        if self.state == State::Closed {
            return;
        }
        let forward = Timer::ALL
            .into_iter()
            .filter(|timer| !matches!(timer, Timer::DelayedAck | Timer::KeepAlive | Timer::Close))
            .any(|timer| self.timers.is_set(timer));
        let outstanding = !self.sent.is_empty() || self.is_waiting();
        assert!(forward || !outstanding, "no timer for what is outstanding: {self:?}");
        let ends = self.state == State::TimeWait || (self.state == State::FinWait2 && self.flags.orphaned);
        assert!(!ends || self.timers.is_set(Timer::Close), "nothing ends {:?}", self.state);
    }

    /// A number for what kind of situation the connection is in: equal numbers are nothing new.
    pub(crate) fn signature(&self) -> u64 {
        let bits = [
            self.sent.sacked_out() > 0,
            self.sent.lost_out() > 0,
            self.sent.retrans_out() > 0,
            self.recovery.frto,
            self.recovery.undo_marker.is_some(),
            self.recovery.tlp_high_seq.is_some(),
            self.unsent() > 0,
            self.options.sack,
            self.snd_wnd == 0,
            self.rcv_wnd() == 0,
            self.recv.out_of_order_len() > 0,
            self.urgent.mark().is_some(),
            self.flags.orphaned,
            self.timers.is_set(Timer::Persist),
        ];
        let number = bits.into_iter().fold(self.state as u64, |number, set| number << 1 | u64::from(set));
        (number << 3 | self.recovery.state as u64) << 3 | self.recovery.owed as u64
    }
}

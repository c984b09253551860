//! TIME-WAIT without a connection: the few numbers that answer a late FIN and judge a new SYN
//! (RFC 9293 §3.10.7.4, RFC 6191).

use crate::demux::{Binding, Hold, Target, Tuple};
use crate::io::{Io, Token};
use crate::slab::Key;
use crate::tcp::isn::ts_clock;
use crate::tcp::segment::seq_len;
use crate::tcp::{SeqNumber, TimeWaitSeed};
use crate::wheel::TimerId;
use sockeye_packet::{Instant, NicId};
use sockeye_wire::{TcpFlags, TcpHeader, TcpOptions, TcpTimestamps};

/// A connection that both sides have closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeWait {
    pub(crate) tuple: Tuple,
    pub(crate) bound: Option<(Binding, Hold)>,
    pub(crate) nic: NicId,
    pub(crate) seed: TimeWaitSeed,
    pub(crate) timer: Option<TimerId>,
}

/// What a segment means in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A new connection may take the four-tuple; its sequence numbers have to start beyond this.
    Reopen(SeqNumber),
    /// It is acknowledged once more; `restart` says that the wait begins anew.
    Acknowledge { restart: bool },
    /// Nothing is done.
    Ignore,
}

/// Judges a segment (RFC 9293 §3.10.7.4, RFC 6191 §2, RFC 1337).
pub(crate) fn judge(seed: &TimeWaitSeed, header: &TcpHeader, payload_len: usize) -> Verdict {
    let TimeWaitSeed { snd_nxt, rcv_nxt, rcv_wnd, ts_recent, .. } = *seed;
    let flags = header.flags;
    if flags.rst() {
        return Verdict::Ignore; // RFC 1337 §3: a reset must not end TIME-WAIT.
    }
    let newer = match (ts_recent, header.options.timestamps) {
        (Some(recent), Some(timestamps)) => timestamps.value.wrapping_sub(recent) as i32 > 0,
        _ => false,
    };
    let seq = SeqNumber(header.seq);
    if flags.syn() && !flags.ack() && (newer || seq.after(rcv_nxt)) {
        // MAY-2: a SYN that can't be an old duplicate reopens the connection.
        return Verdict::Reopen(snd_nxt);
    }
    if flags.fin() {
        return Verdict::Acknowledge { restart: true };
    }
    let expected = seq.in_window(rcv_nxt, rcv_wnd.max(1)) && seq_len(header, payload_len) == 0;
    if expected { Verdict::Ignore } else { Verdict::Acknowledge { restart: false } }
}

impl TimeWait {
    /// The acknowledgment that is all that TIME-WAIT ever sends.
    pub(crate) fn ack(&self, now: Instant) -> TcpHeader {
        let TimeWaitSeed { snd_nxt, rcv_nxt, window, ts_recent, ts_offset, .. } = self.seed;
        let timestamps = ts_recent.map(|echo| TcpTimestamps { value: ts_clock(now, ts_offset), echo });
        TcpHeader {
            seq: snd_nxt.0,
            ack: rcv_nxt.0,
            flags: TcpFlags::ACK,
            window,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
            ..TcpHeader::default()
        }
    }
}

impl Io {
    /// Keeps a connection in TIME-WAIT, whose four-tuple belongs to `from` so far. When there are too
    /// many already it is forgotten at once, as the kernel does.
    pub(crate) fn add_time_wait(&mut self, now: Instant, record: TimeWait, from: Target) {
        if self.time_wait.len() >= self.config.tcp.max_time_wait {
            self.demux.remove(&record.tuple, from);
            if let Some((binding, hold)) = record.bound {
                self.demux.release(&binding, hold);
            }
            return;
        }
        let key = self.time_wait.insert(record);
        self.demux.replace(&record.tuple, from, Target::TimeWait(key));
        let timer = self.wheel.set(now + self.config.tcp.time_wait, Token::TimeWait(key));
        if let Some(record) = self.time_wait.get_mut(key) {
            record.timer = Some(timer);
        }
    }

    /// Forgets a connection in TIME-WAIT; its four-tuple and port are free.
    pub(crate) fn take_time_wait(&mut self, key: Key) -> Option<TimeWait> {
        let record = self.time_wait.remove(key)?;
        if let Some(timer) = record.timer {
            self.wheel.cancel(timer);
        }
        self.demux.remove(&record.tuple, Target::TimeWait(key));
        if let Some((binding, hold)) = record.bound {
            self.demux.release(&binding, hold);
        }
        Some(record)
    }
}

//! TIME-WAIT without a connection: the few numbers that answer a late FIN and judge a new SYN
//! (RFC 9293 §3.10.7.4, RFC 6191).

use crate::counters::Counter;
use crate::demux::{Binding, Hold, Target, Tuple};
use crate::io::{Io, Token};
use crate::ip::input::Ingress;
use crate::slab::Key;
use crate::tcp::isn::ts_clock;
use crate::tcp::segment::seq_len;
use crate::tcp::validate::AnswerLimit;
use crate::tcp::{Connection, Resources, Segment, SeqNumber, TimeWaitSeed};
use crate::wheel::TimerId;
use crate::{Stack, TimeWaitReuse};
use core::time::Duration;
use sockeye_packet::{Instant, NicId};
use sockeye_wire::{TcpFlags, TcpHeader, TcpOptions, TcpTimestamps};

/// How long a four-tuple rests before it is picked for another connection.
const REUSE_DELAY: Duration = Duration::from_secs(1);

/// A connection that both sides have closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeWait {
    pub(crate) tuple: Tuple,
    pub(crate) bound: Option<(Binding, Hold)>,
    pub(crate) nic: NicId,
    pub(crate) seed: TimeWaitSeed,
    pub(crate) answer_limit: AnswerLimit,
    /// When both sides had closed.
    pub(crate) since: Instant,
    pub(crate) timer: Option<TimerId>,
}

/// What a segment means in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A new connection may take the four-tuple; its sequence numbers have to start beyond this.
    Reopen(SeqNumber),
    /// It is acknowledged once more. `restart` says that the wait begins anew, `limited` that only so many
    /// are answered: two ends could go on answering each other.
    Acknowledge { restart: bool, limited: bool },
    /// It is what the peer sends last: the wait begins anew.
    Restart,
    /// A reset where one may be: without RFC 1337's protection the wait is over.
    Reset,
    /// Nothing is done.
    Ignore,
}

/// Judges a segment (RFC 9293 §3.10.7.4, RFC 6191 §2, RFC 1337), as the kernel does.
pub(crate) fn judge(seed: &TimeWaitSeed, header: &TcpHeader, payload_len: usize) -> Verdict {
    let TimeWaitSeed { snd_nxt, rcv_nxt, ts_recent, .. } = *seed;
    let (flags, seq, len) = (header.flags, SeqNumber(header.seq), seq_len(header, payload_len));
    let newer_by = match (ts_recent, header.options.timestamps) {
        (Some(recent), Some(timestamps)) => timestamps.value.wrapping_sub(recent) as i32,
        _ => 0,
    };
    let old = newer_by < 0 && !flags.rst();
    if !old && seq == rcv_nxt && flags.rst() {
        return Verdict::Reset;
    }
    if !old && seq == rcv_nxt && len == 0 {
        return Verdict::Restart;
    }
    if flags.rst() {
        return Verdict::Ignore;
    }
    if flags.syn() && !flags.ack() && (newer_by > 0 || (!old && seq.after(rcv_nxt))) {
        // MAY-2: a SYN that can't be an old duplicate reopens the connection.
        return Verdict::Reopen(snd_nxt);
    }
    // A SYN without ACK may be a new one with smaller sequence numbers: it must not wait longer for our end.
    Verdict::Acknowledge { restart: old || flags.ack(), limited: len == 0 || flags.syn() }
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
    /// Whether one more record may be kept.
    pub(crate) fn has_room_in_time_wait(&self) -> bool {
        self.time_wait.len() < self.config.tcp.max_time_wait
    }

    /// Keeps a connection in TIME-WAIT, whose four-tuple belongs to `from` so far. When there are too
    /// many already it is forgotten at once, as the kernel does.
    pub(crate) fn add_time_wait(&mut self, now: Instant, record: TimeWait, from: Target) {
        self.counters.bump(Counter::TimeWaits);
        if !self.has_room_in_time_wait() {
            self.counters.bump(Counter::TcpTimeWaitOverflow);
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

    /// Whether an outgoing connection may take a four-tuple in TIME-WAIT (RFC 6191): timestamps keep old
    /// segments out of it. `bound` says that its socket asked for the port.
    pub(crate) fn may_reuse(&self, now: Instant, key: Key, bound: bool) -> bool {
        let Some(record) = self.time_wait.get(key) else { return true };
        let allowed = match self.config.tcp.tw_reuse {
            TimeWaitReuse::Never => false,
            TimeWaitReuse::Loopback => record.nic == NicId::LOOPBACK,
            TimeWaitReuse::Always => true,
        };
        let rested = now.saturating_since(record.since) >= REUSE_DELAY;
        record.seed.ts_recent.is_some() && (bound || (allowed && rested))
    }

    /// The wait begins anew.
    fn restart_time_wait(&mut self, now: Instant, key: Key) {
        if let Some(timer) = self.time_wait.get(key).and_then(|record| record.timer) {
            self.wheel.reset(timer, now + self.config.tcp.time_wait);
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

impl Stack {
    /// A segment for a connection in TIME-WAIT.
    pub(crate) fn time_wait_segment(&mut self, now: Instant, ingress: &Ingress, key: Key, segment: Segment) {
        let opens = |io: &Io, tuple: &Tuple| io.opens_passively(ingress, tuple);
        let io = &mut self.io;
        let Some(record) = io.time_wait.get(key).copied() else { return };
        let header = &segment.header;
        let mut verdict = judge(&record.seed, header, segment.payload.len());
        if matches!(verdict, Verdict::Reopen(_)) && !opens(io, &record.tuple) {
            // As the kernel: where nobody listens the old connection answers.
            verdict = Verdict::Acknowledge { restart: false, limited: true };
        }
        match verdict {
            Verdict::Ignore => {}
            Verdict::Reset => {
                if !io.config.tcp.rfc1337 {
                    io.take_time_wait(key);
                }
            }
            Verdict::Restart => {
                io.restart_time_wait(now, key);
                if let Some(stamps) = header.options.timestamps
                    && let Some(record) = io.time_wait.get_mut(key)
                {
                    record.seed.ts_recent = record.seed.ts_recent.map(|_| stamps.value);
                }
            }
            Verdict::Acknowledge { restart, limited } => {
                if restart {
                    io.restart_time_wait(now, key);
                }
                let interval = io.config.tcp.invalid_ratelimit;
                let Some(record) = io.time_wait.get_mut(key) else { return };
                if !limited || record.answer_limit.take(now, interval) {
                    let copy = *record;
                    io.send_control(copy.nic, &copy.tuple, copy.ack(now), 0);
                }
            }
            Verdict::Reopen(floor) => {
                io.counters.bump(Counter::TimeWaitsRecycled);
                io.take_time_wait(key);
                self.listener_segment(now, ingress, record.tuple, segment, Some(floor));
            }
        }
    }

    /// TIME-WAIT is over.
    pub(crate) fn time_wait_timeout(&mut self, key: Key) {
        if let Some(record) = self.io.time_wait.get_mut(key) {
            record.timer = None;
            self.io.take_time_wait(key);
        }
    }
}

impl Connection {
    /// A segment in TIME-WAIT, as long as the connection itself is there.
    pub(super) fn input_time_wait(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload_len: usize,
        resources: &mut Resources<'_>,
    ) {
        let Some(seed) = self.time_wait() else { return };
        match judge(&seed, header, payload_len) {
            Verdict::Ignore => {}
            Verdict::Reset => {
                if !resources.config.rfc1337 {
                    self.end(resources.budget);
                }
            }
            Verdict::Restart => self.enter_time_wait(now, resources),
            Verdict::Reopen(_) => self.challenge(now, resources),
            Verdict::Acknowledge { restart, limited } => {
                if restart {
                    self.enter_time_wait(now, resources);
                }
                if limited {
                    self.challenge(now, resources);
                } else {
                    self.owe_duplicate_ack(None);
                }
            }
        }
    }
}

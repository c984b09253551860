//! What to do when time has passed: retransmit, probe, acknowledge, give up (RFC 9293 §3.8, RFC 6298).
//!
//! A peer is given up after R2 retransmissions of the same data or unanswered probes, or after the user's
//! timeout (RFC 9293 §3.8.3, MUST-20, MUST-21). A closed window alone never ends a connection (MUST-37).

use super::connection::{Connection, Resources};
use super::recovery::XmitTimer;
use super::state::State;
use super::timers::Timer;
use crate::Error;
use crate::counters::Counter;
use crate::socket::options::TcpSettings;
use core::time::Duration;
use sockeye_packet::Instant;
use sockeye_wire::TcpHeader;

/// What an orphan may hold when memory is short (`SOCK_MIN_SNDBUF`).
const ORPHAN_MEMORY: usize = 4608;

impl Connection {
    /// Does what is due. What is answered is a reset to be sent at once; its ports are not filled.
    pub(crate) fn on_timeout(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<TcpHeader> {
        let mut answer = None;
        for timer in Timer::ALL {
            if !self.timers.take_due(timer, now) {
                continue;
            }
            match timer {
                Timer::Retransmit => self.on_retransmit_timeout(now, resources),
                Timer::DelayedAck => {
                    resources.counters.bump(Counter::DelayedAcks);
                    self.on_ack_timeout();
                }
                // What was held back is sent by the next `poll_transmit`.
                Timer::Pacing => {}
                Timer::Persist => self.on_persist_timeout(now, resources),
                Timer::KeepAlive => answer = self.on_keep_alive_timeout(now, resources),
                Timer::Close => self.end(resources.budget),
            }
        }
        answer
    }

    fn on_retransmit_timeout(&mut self, now: Instant, resources: &mut Resources<'_>) {
        match self.flags.xmit_timer {
            XmitTimer::Rto => self.on_rto(now, resources),
            XmitTimer::Probe => self.on_probe_timeout(now),
            XmitTimer::Reorder => self.on_reorder_timeout(now, resources.config),
        }
        self.count_events(resources.counters);
    }

    /// The retransmission timeout (RFC 6298 §5.4–5.7).
    fn on_rto(&mut self, now: Instant, resources: &mut Resources<'_>) {
        // A closed window is probed instead.
        if self.sent.is_empty() || (self.snd_wnd == 0 && self.state.is_synchronized()) {
            return;
        }
        if self.is_silent(now, resources) {
            self.give_up(resources);
            return;
        }
        let mut backs_off = true;
        self.totals.rtos = self.totals.rtos.saturating_add(1);
        resources.counters.bump(Counter::TcpTimeouts);
        if self.state.is_synchronized() {
            self.recovery.wake(resources.spares);
            if self.retransmits == 0 {
                self.count_failure(resources.counters);
            }
            self.flags.path_doubted |= self.is_path_doubtful(now, resources);
            self.enter_loss(now, resources.config);
            self.retransmits = self.retransmits.saturating_add(1);
        } else {
            self.retransmits = self.retransmits.saturating_add(1);
            self.flags.syn_timed_out = true;
            self.ecn.on_syn_timeout(resources.config.ecn_fallback);
            resources.counters.bump(Counter::TcpSynRetrans);
            // As the kernel: a few SYNs a second apart come first.
            backs_off =
                self.state != State::SynSent || self.retransmits > resources.config.syn_linear_timeouts;
            self.retransmit_all();
        }
        if backs_off {
            self.rtt.back_off();
        }
        let mut wait = self.rtt.rto();
        let user_timeout = resources.settings.user_timeout;
        if !user_timeout.is_zero() {
            let left = user_timeout.saturating_sub(now.saturating_since(self.silent_since(now)));
            wait = wait.min(left.max(Duration::from_millis(1)));
        }
        self.flags.xmit_timer = XmitTimer::Rto;
        self.timers.set(Timer::Retransmit, now + wait);
    }

    /// When what is not answered was sent again for the first time; a SYN: when it was sent. Every progress
    /// since then shows that the peer is there.
    fn silent_since(&self, now: Instant) -> Instant {
        if self.state.is_synchronized() {
            self.recovery.retrans_stamp.unwrap_or(now).max(self.stalled_since)
        } else {
            self.stalled_since
        }
    }

    /// Whether R2 is reached (MUST-20), or the user's own limit (MUST-21). A SYN has its own (MUST-22).
    /// As the kernel: R2 is the time that so many retransmissions take where the round trip is short.
    fn is_silent(&self, now: Instant, resources: &Resources<'_>) -> bool {
        let (config, settings) = (resources.config, resources.settings);
        let opening = !self.state.is_synchronized();
        let (limit, base) = if opening {
            (settings.syn_retries.unwrap_or(config.syn_retries), config.initial_rto)
        } else if self.flags.orphaned {
            (config.orphan_retries, config.min_rto)
        } else {
            (config.retries2, config.min_rto)
        };
        let linear = if self.state == State::SynSent { config.syn_linear_timeouts } else { 0 };
        if opening && self.retransmits >= limit.saturating_add(linear) {
            return true;
        }
        if self.retransmits == 0 {
            return false;
        }
        let patience = if settings.user_timeout.is_zero() {
            time_of(limit, base, settings.max_rto.unwrap_or(config.max_rto))
        } else {
            settings.user_timeout
        };
        now.saturating_since(self.silent_since(now)) >= patience
    }

    fn on_persist_timeout(&mut self, now: Instant, resources: &mut Resources<'_>) {
        if self.snd_wnd > 0 {
            self.flags.send_small = self.is_waiting();
            self.flags.small_is_probe = true;
            return;
        }
        // Who has no user any more is not kept for ever by a peer that answers with a closed window.
        let forsaken = self.flags.orphaned && self.window_backoff >= resources.config.retries2;
        if forsaken || self.is_hopeless(now, self.window_probes, resources) {
            self.give_up(resources);
            return;
        }
        self.window_probes = self.window_probes.saturating_add(1);
        self.window_backoff = self.window_backoff.saturating_add(1);
        self.flags.window_probe_owed = true;
        resources.counters.bump(Counter::TcpWinProbe);
    }

    /// A silent peer (RFC 9293 §3.8.4; MUST-26: only when nothing was heard for the interval).
    fn on_keep_alive_timeout(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<TcpHeader> {
        let settings = resources.settings;
        if !settings.keep_alive || !self.state.is_synchronized() || self.state == State::TimeWait {
            return None;
        }
        let silence = now.saturating_since(self.last_received_at);
        if !self.sent.is_empty() || self.is_waiting() || silence < settings.keep_idle {
            // Retransmissions show as well whether the peer is there.
            self.keep_probes = 0;
            let busy = silence >= settings.keep_idle;
            let from = if busy { now } else { self.last_received_at };
            self.timers.set(Timer::KeepAlive, from + settings.keep_idle);
            return None;
        }
        let user_timeout = settings.user_timeout;
        let over = if user_timeout.is_zero() {
            u32::from(self.keep_probes) >= settings.keep_count
        } else {
            silence >= user_timeout && self.keep_probes > 0
        };
        if over {
            // MUST-29: several unanswered probes, not one, are taken for the end.
            let reset = self.reset_header();
            self.give_up(resources);
            return Some(reset);
        }
        self.keep_probes = self.keep_probes.saturating_add(1);
        self.flags.keep_probe_owed = true;
        resources.counters.bump(Counter::TcpKeepAlive);
        self.timers.set(Timer::KeepAlive, now + settings.keep_interval);
        None
    }

    /// Begins to watch for a silent peer, if the user asks for that (MUST-24, MUST-25).
    pub(super) fn start_keep_alive(&mut self, now: Instant, settings: &TcpSettings) {
        if settings.keep_alive && self.state.is_synchronized() {
            self.timers.set(Timer::KeepAlive, (self.last_received_at + settings.keep_idle).max(now));
        } else {
            self.timers.stop(Timer::KeepAlive);
        }
    }

    /// Whether a connection without a socket, one of `orphans`, is to be given up although its peer may still
    /// answer: it is about to send again what was not acknowledged, or to probe a closed window, and there are too
    /// many like it, or memory is short and it holds much. As the kernel: who was silent for long, or of whom ICMP
    /// has said something bad, counts twice for each (`tcp_out_of_resources`).
    pub(crate) fn is_orphan_unaffordable(
        &self,
        now: Instant,
        orphans: usize,
        resources: &Resources<'_>,
    ) -> bool {
        let config = resources.config;
        let resends =
            self.poll_timeout().is_some_and(|(_, timer)| matches!(timer, Timer::Retransmit | Timer::Persist));
        if !resends || config.max_orphans == usize::MAX {
            return false;
        }
        let long_silent = now.saturating_since(self.last_sent_at) > 2 * config.max_rto;
        let weight = 1_usize << (u32::from(long_silent) + u32::from(self.soft_error.is_some()));
        let too_many = orphans.saturating_mul(weight) > config.max_orphans;
        let memory_is_short = resources.budget.available() < resources.budget.used() / 16;
        too_many || memory_is_short && self.send.charged() > ORPHAN_MEMORY
    }

    /// Whether R2 is reached (MUST-20), or the user's own limit (MUST-21). A SYN has its own (MUST-22).
    fn is_hopeless(&self, now: Instant, tries: u8, resources: &Resources<'_>) -> bool {
        let user_timeout = resources.settings.user_timeout;
        if !user_timeout.is_zero() {
            return now.saturating_since(self.stalled_since) >= user_timeout;
        }
        let limit =
            if self.flags.orphaned { resources.config.orphan_retries } else { resources.config.retries2 };
        tries >= limit
    }

    /// Whether R1 is reached (MUST-20): IP is to look for another way (RFC 1122 §4.2.3.5). As the kernel, R1 too is
    /// the time that so many retransmissions take.
    fn is_path_doubtful(&self, now: Instant, resources: &Resources<'_>) -> bool {
        let (config, settings) = (resources.config, resources.settings);
        let patience = time_of(config.retries1, config.min_rto, settings.max_rto.unwrap_or(config.max_rto));
        self.retransmits > 0 && now.saturating_since(self.silent_since(now)) >= patience
    }

    /// Ends the connection with what ICMP said last, or a timeout (RFC 9293 §3.10.8).
    fn give_up(&mut self, resources: &mut Resources<'_>) {
        resources.counters.bump(Counter::TcpAbortOnTimeout);
        let error = self.soft_error.take().unwrap_or(Error::TimedOut);
        self.fail(error, resources.budget);
    }
}

/// How long `retries` retransmissions and the wait for an answer to the last take, when the first timeout
/// is `base` and each doubles the next up to `longest`.
fn time_of(retries: u8, base: Duration, longest: Duration) -> Duration {
    let (mut sum, mut next) = (Duration::ZERO, base);
    for _ in 0..=retries {
        sum += next.min(longest);
        next = next.saturating_mul(2);
    }
    sum
}

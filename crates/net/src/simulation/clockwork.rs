//! How the clock of a simulation and tokio's go together.
//!
//! The network's time is in nanoseconds, tokio's in milliseconds. When no task is ready, tokio is about to
//! park its thread and calls [`Clockwork::on_idle`]. There the network is turned at its present time; when
//! that wakes nobody, its time goes on to its next deadline, as long as that lies before tokio's next tick.
//! When it doesn't, an alarm is set at the tick before the deadline, and tokio's paused clock jumps to
//! whichever timer is first: the alarm, or a program's own sleep. So:
//!
//! - tokio's clock is less than a millisecond behind the network's, and never ahead of it;
//! - a program's timer fires after everything that happened in the network before it.
//!
//! tokio doesn't say whether there are timers at all. So, when the network has nothing to do ever again,
//! the alarm is set a year ahead; when it fires and no task ran since, nothing would ever have happened, and
//! the network's clock, which nobody has looked at, is set back.

use crate::driver::Core;
use sockeye_packet::Instant;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::time::Sleep;

/// tokio's tick.
const TICK: Duration = Duration::from_millis(1);
/// How far ahead an alarm is set at most: tokio's timers reach about two years.
const YEAR: Duration = Duration::from_hours(24 * 365);

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Something was done, and everybody waits again.
    Stepped,
    /// Time has come to the limit.
    Limit,
    /// Nothing will ever happen again.
    Stalled,
    /// A program has failed.
    Failed,
}

/// What turns the network while a runtime runs.
#[derive(Debug)]
pub(super) struct Clockwork {
    core: Arc<Core>,
    /// When a task of ours was last polled, in nanoseconds.
    polled_at: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// tokio's clock at its start, and the network's time then.
    origin: Option<(tokio::time::Instant, Instant)>,
    run: Option<Run>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// The network's time at the alarm.
    alarm_at: Instant,
    /// Since when the network has nothing to do ever again.
    idle_since: Option<Instant>,
    /// Wakes who waits for the verdict.
    waker: Option<Waker>,
}

/// What a run is to do.
#[derive(Debug)]
struct Run {
    limit: Instant,
    /// It ends when something was done.
    is_step: bool,
    /// Something was done.
    moved: bool,
    verdict: Option<Verdict>,
}

impl Clockwork {
    pub(super) fn new(core: Arc<Core>) -> Clockwork {
        Clockwork { core, polled_at: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Begins a run; called within the runtime.
    pub(super) fn begin(&self, limit: Instant, is_step: bool) {
        let mut state = self.lock();
        let now = self.core.clock.now();
        state.origin.get_or_insert((tokio::time::Instant::now(), now));
        state.run = Some(Run { limit, is_step, moved: false, verdict: None });
    }

    /// Ends a run.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.run = None;
        state.waker = None;
    }

    /// How the run ended; if it goes on, `waker` is woken when it has.
    pub(super) fn verdict(&self, waker: &Waker) -> Option<Verdict> {
        let mut state = self.lock();
        let verdict = state.run.as_ref().and_then(|run| run.verdict);
        if verdict.is_none() && !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        verdict
    }

    /// Ends the run because a program has failed.
    pub(super) fn fail(&self) {
        self.lock().decide(Verdict::Failed);
    }

    /// Notes that a task is being polled.
    pub(super) fn note_poll(&self) {
        self.polled_at.store(self.core.clock.now().as_nanos(), Ordering::Relaxed);
    }

    /// The alarm knows the runtime, which knows this: whoever drops the runtime ends that.
    pub(super) fn stop(&self) {
        *self.lock() = State::default();
    }

    /// tokio's thread runs again, perhaps because a timer fired: before a task runs, the network's clock
    /// is where tokio's is.
    pub(super) fn on_unpark(&self) {
        let mut state = self.lock();
        let Some(tick) = state.tick() else { return };
        let before = self.core.clock.now();
        let moved = self.core.clock.advance(tick) > before && state.idle_since.is_none();
        if let Some(run) = &mut state.run {
            run.moved |= moved;
        }
    }

    /// No task is ready: does what the network has to do, and sees to it that tokio's clock goes no further
    /// than it may.
    pub(super) fn on_idle(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(tick) = state.tick() else { return };
        let Some(run) = &mut state.run else { return };
        let polled_at = Instant::from_nanos(self.polled_at.load(Ordering::Relaxed));
        run.moved |= state.idle_since.is_some_and(|since| polled_at > since);
        let (limit, horizon) = (run.limit, state.tick_after(tick));
        loop {
            let now = self.core.clock.now();
            let turn = self.core.turn_once(now);
            let Some(run) = &mut state.run else { return };
            run.moved |= turn.did_something;
            if turn.woken > 0 {
                // Perhaps no task: then this is called again at once.
                state.idle_since = None;
                return state.wake();
            }
            if turn.next.is_some_and(|at| at <= now) {
                continue;
            }
            if run.is_step && run.moved {
                return state.decide(Verdict::Stepped);
            }
            let next = turn.next.unwrap_or(Instant::FAR_FUTURE);
            if next < horizon.min(limit) {
                run.moved = true;
                self.core.clock.advance(next);
            } else if limit >= horizon {
                return self.set_alarm(state, tick, next.min(limit), polled_at);
            } else if now < limit {
                self.core.clock.advance(limit);
            } else {
                return state.decide(Verdict::Limit);
            }
        }
    }

    /// Has tokio's clock stop at the last tick that isn't after `target`.
    fn set_alarm(&self, state: &mut State, tick: Instant, target: Instant, polled_at: Instant) {
        let now = self.core.clock.now();
        if target < Instant::FAR_FUTURE {
            state.idle_since = None;
        } else if let Some(since) = state.idle_since {
            if tick < state.alarm_at {
                // Who is woken by tokio's timers on the way, or nobody: the alarm stands.
                return;
            }
            state.idle_since = None;
            let until = since.max(polled_at);
            // Whole ticks, or the network's and tokio's would lie apart from now on.
            let ahead = now.saturating_since(state.tick_of(until));
            self.core.clock.set_back(until);
            if let Some((origin, _)) = &mut state.origin {
                *origin += ahead;
            }
            // The alarm has fired, although the time that it was set for is to come again.
            state.alarm_at = Instant::ZERO;
            return state.decide(Verdict::Stalled);
        } else {
            state.idle_since = Some(now);
        }
        let Some((origin, base)) = state.origin else { return };
        let at = state.tick_of(target.min(tick + YEAR));
        if state.alarm.is_some() && state.alarm_at == at && at > tick {
            return;
        }
        state.alarm_at = at;
        let deadline = origin + at.saturating_since(base);
        match &mut state.alarm {
            Some(alarm) => alarm.as_mut().reset(deadline),
            None => state.alarm = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
        if let Some(alarm) = &mut state.alarm {
            // Nobody is to be woken: tokio's clock has to stop there, that is all. Polled, it counts.
            let _ = alarm.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// tokio's time, as the network counts it.
    fn tick(&self) -> Option<Instant> {
        let (origin, base) = self.origin?;
        Some(base + tokio::time::Instant::now().saturating_duration_since(origin))
    }

    /// The latest of tokio's ticks that isn't after `at`.
    fn tick_of(&self, at: Instant) -> Instant {
        let Some((_, base)) = self.origin else { return at };
        let since = at.saturating_since(base);
        base + since.saturating_sub(Duration::from_nanos((since.as_nanos() % TICK.as_nanos()) as u64))
    }

    fn tick_after(&self, at: Instant) -> Instant {
        self.tick_of(at) + TICK
    }

    fn decide(&mut self, verdict: Verdict) {
        if let Some(run) = &mut self.run {
            run.verdict.get_or_insert(verdict);
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

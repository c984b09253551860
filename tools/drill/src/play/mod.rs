//! Plays a script against a [`Stack`] under virtual time.
//!
//! What happens when is packetdrill's: an event that is not a packet of the stack waits for its time, and a
//! packet of the stack is waited for; relative times count from the moment the event before was done. What
//! the stack sends waits in a queue until a line expects it: only then is it looked at, so what was sent too
//! much fails the next line that expects something, and what no line looks at fails nobody. Packets that
//! are not the connection's under test are passed over.

mod calls;
mod clock;
mod code;
mod compare;
mod flow;
mod notation;
mod options;
mod packets;
mod settings;
mod sysctl;
mod trace;
mod wire;

pub use settings::IpVersion;
pub use trace::Failure;

use crate::eval::Env;
use crate::script::{Action, Event, EventTime, Script};
use calls::{Blocked, Program};
use core::net::IpAddr;
use core::time::Duration;
use flow::Flow;
use settings::Settings;
use sockeye_packet::{Instant, NicId};
use sockeye_stack::{NicConfig, Route, Stack};
use std::collections::VecDeque;
use trace::{Trace, Wrong, seconds};
use wire::Outbound;

/// How to play a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayOptions {
    /// The IP version, unless the script says its own.
    pub ip_version: IpVersion,
}

/// Plays a script from its first event to its last.
pub fn play(script: &Script, options: &PlayOptions) -> Result<(), Failure> {
    let whole = |wrong: Wrong| Failure {
        line: 0,
        text: "the script's options and first commands".into(),
        at: Duration::ZERO,
        expected: wrong.expected,
        came: wrong.came,
        trace: Vec::new(),
    };
    let mut player = Player::new(script, *options).map_err(whole)?;
    for event in &script.events {
        let played = player.event(event);
        played.map_err(|wrong| player.failure(event, wrong))?;
    }
    match script.events.last() {
        Some(last) => player.finish().map_err(|wrong| player.failure(last, wrong)),
        None => Ok(()),
    }
}

/// The stack, the program that uses it, and the script's point of view.
struct Player {
    settings: Settings,
    stack: Stack,
    nic: NicId,
    /// The stack's time, and its time when the script began.
    now: Instant,
    start: Instant,
    /// When the event before was to happen, and the one that is being played: both since the start.
    last: Duration,
    current: Duration,
    /// The connection under test.
    flow: Option<Flow>,
    /// Others, which lines with ports name.
    others: Vec<Flow>,
    /// The port of the next connection from outside.
    next_port: u16,
    /// What the stack sent and no line has looked at.
    sent: VecDeque<Outbound>,
    program: Program,
    /// The system call that blocks.
    blocked: Option<Blocked>,
    /// The variables of `%{ }%` blocks.
    variables: Env,
    trace: Trace,
}

/// Where the stack's clock stands when a script begins: long enough after its start that nothing is zero.
const START: Instant = Instant::from_millis(1_000_000);
/// The first port that connections from outside come from.
const FIRST_PORT: u16 = 50_000;

impl Player {
    fn new(script: &Script, options: PlayOptions) -> Result<Player, Wrong> {
        let settings = Settings::new(&script.options, options.ip_version)?;
        let mut config = sysctl::kernel();
        for command in &script.init {
            sysctl::run(&command.text, &mut config)
                .map_err(|error| format!("line {}: {error}", command.line))?;
        }
        let mut stack = Stack::new(config, [7; 32]);
        let nic = NicConfig { max_segment: NicConfig::LARGEST_STATED_SEGMENT, ..link(settings.mtu) };
        let refused = |error| format!("the stack refuses the link: {error}");
        let nic = stack.add_nic(nic).map_err(refused)?;
        let (any, prefix): (IpAddr, u8) =
            if settings.local.is_ipv4() { ([0; 4].into(), 16) } else { ([0; 16].into(), 64) };
        stack.add_address(nic, settings.local, prefix).map_err(refused)?;
        let route = Route { dest: any, prefix: 0, gateway: None, nic, metric: 0 };
        stack.add_route(route).map_err(refused)?;
        Ok(Player {
            settings,
            stack,
            nic,
            now: START,
            start: START,
            last: Duration::ZERO,
            current: Duration::ZERO,
            flow: None,
            others: Vec::new(),
            next_port: FIRST_PORT,
            sent: VecDeque::new(),
            program: Program::default(),
            blocked: None,
            variables: Env::new(),
            trace: Trace::default(),
        })
    }

    /// The time since the start of the script.
    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn failure(&mut self, event: &Event, wrong: Wrong) -> Failure {
        // A call that blocked until now fails in its own name.
        let (line, text) = match &mut self.blocked {
            Some(Blocked { failed: true, event, .. }) => (event.line, event.text.clone()),
            _ => (event.line, event.text.clone()),
        };
        let Wrong { expected, came } = wrong;
        Failure { line, text, at: self.elapsed(), expected, came, trace: self.trace.take() }
    }

    fn event(&mut self, event: &Event) -> Result<(), Wrong> {
        let (from, to) = self.resolve(event.time);
        self.current = from;
        match &event.action {
            Action::Packet(crate::script::Direction::Outbound, packet) => {
                self.expect(packet, event.time, from, to)?;
            }
            action => {
                if event.time != EventTime::Any {
                    self.advance(self.start + from)?;
                    self.check_time(event.time, from, to, self.elapsed(), "the event")?;
                }
                match action {
                    Action::Packet(_, packet) => self.inject(packet)?,
                    Action::Call(call) => self.call(call, event)?,
                    Action::Command(command) => self.command(&command.text)?,
                    Action::Code(code) => self.code(code)?,
                }
            }
        }
        self.last = self.current;
        Ok(())
    }

    /// Plays on until the call that still blocks has ended.
    fn finish(&mut self) -> Result<(), Wrong> {
        self.await_blocked()?;
        self.close_all();
        self.settle()?;
        Ok(())
    }

    /// A shell command in the middle of a script.
    fn command(&mut self, text: &str) -> Result<(), Wrong> {
        let mut config = self.stack.config().clone();
        sysctl::run(text, &mut config)?;
        self.stack.set_config(config);
        self.trace.note(self.elapsed(), format_args!("`{text}`"));
        Ok(())
    }

    /// From when to when an event is to happen, since the start.
    fn resolve(&self, time: EventTime) -> (Duration, Duration) {
        let now = self.elapsed();
        match time {
            EventTime::Absolute(at) => (at, at),
            EventTime::AbsoluteRange(from, to) => (from, to),
            EventTime::Relative(after) => (now + after, now + after),
            EventTime::RelativeRange(from, to) => (now + from, now + to),
            EventTime::Any => (now, now),
        }
    }

    /// Whether something happened in time.
    fn check_time(
        &self,
        time: EventTime,
        from: Duration,
        to: Duration,
        at: Duration,
        what: &str,
    ) -> Result<(), Wrong> {
        let tolerance = self.settings.tolerance_after(from.saturating_sub(self.last));
        if time == EventTime::Any || (from.saturating_sub(tolerance)..=to + tolerance).contains(&at) {
            return Ok(());
        }
        let range = if from == to {
            format!("at {}", seconds(from))
        } else {
            format!("from {} to {}", seconds(from), seconds(to))
        };
        let tolerance = seconds(tolerance);
        Err(Wrong::new(
            format!("{what} {range} (tolerance {tolerance})"),
            format!("{what} at {}", seconds(at)),
        ))
    }
}

fn link(mtu: u32) -> NicConfig {
    NicConfig { checksums: true, ..NicConfig::memory("tun0", mtu) }
}

#[cfg(test)]
mod tests;

//! The program under test: its descriptors and its system calls.
//!
//! A call that can block is [`Work`] that is tried again whenever something happened, until it has an
//! answer. One call may block at a time, as in packetdrill: the next one that may block waits for it. A call
//! without a range of time must have its answer at once.

mod args;
mod control;
mod data;
mod descriptors;
mod message;
mod names;
mod sockets;
mod sockopt;
mod wait;

pub(super) use descriptors::Program;

use super::Player;
use super::clock::PATIENCE;
use super::trace::{Wrong, seconds};
use crate::script::{Call, Event, EventTime, Expr};
use args::Args;
use core::time::Duration;
use descriptors::Descriptor;
use sockeye_packet::Instant;
use sockeye_posix::Errno;

/// What a call answers.
#[derive(Debug)]
enum Answer {
    Number(i64),
    /// A new descriptor, which gets the number that the script expects.
    New(Descriptor),
    Error(Errno),
}

/// A call's answer, or what is to be tried again until there is one.
enum Begun {
    Done(Answer),
    Work(Work),
}

impl From<Answer> for Begun {
    fn from(answer: Answer) -> Begun {
        Begun::Done(answer)
    }
}

/// An error of the stack, or success, as a call answers it.
fn answer(result: sockeye_stack::Result<()>) -> Answer {
    match result {
        Ok(()) => Answer::Number(0),
        Err(error) => Answer::Error(error.into()),
    }
}

/// A call that may block.
#[derive(Debug)]
enum Work {
    Accept(sockets::Accept),
    Connect(sockets::Connect),
    Close(sockets::Close),
    Send(data::Send),
    Recv(data::Recv),
    Splice(data::Splice),
    Poll(wait::Poll),
    EpollWait(wait::EpollWait),
}

/// The call that blocks.
pub(super) struct Blocked {
    pub(super) event: Event,
    call: Call,
    work: Work,
    /// When it is to end, since the start, and how far off that may be.
    until: Duration,
    tolerance: Duration,
    /// It ended otherwise than expected.
    pub(super) failed: bool,
}

impl Blocked {
    /// When it gives up by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.work {
            Work::Accept(work) => work.deadline,
            Work::Connect(work) => work.deadline,
            Work::Close(work) => Some(work.deadline),
            Work::Send(work) => work.deadline,
            Work::Recv(work) => work.deadline,
            Work::Splice(_) => None,
            Work::Poll(work) => work.deadline,
            Work::EpollWait(work) => work.deadline,
        }
    }
}

impl Player {
    /// Plays a call: what it answers is compared, at once or when it ends.
    pub(super) fn call(&mut self, call: &Call, event: &Event) -> Result<(), Wrong> {
        let until = call.blocks_until.map(|until| match event.time {
            EventTime::Relative(after) => self.current.saturating_sub(after) + until,
            _ => until,
        });
        if until.is_some() {
            self.await_blocked()?;
        }
        let begun = self.begin(call)?;
        let mut work = match begun {
            Begun::Done(answer) => {
                self.check_answer(call, answer, "")?;
                return self.settle();
            }
            Begun::Work(work) => work,
        };
        if let Some(answer) = self.attempt(&mut work)? {
            self.check_answer(call, answer, "")?;
            if let Some(until) = until {
                self.check_end(until, self.settings.tolerance_after(Duration::ZERO))?;
            }
            return self.settle();
        }
        let Some(until) = until else {
            return Err(Wrong::new(expected(call), "it blocks"));
        };
        self.trace.note(self.elapsed(), format_args!("{} blocks", spelled(call)));
        let tolerance = self.settings.tolerance_after(until.saturating_sub(self.elapsed()));
        let (event, call) = (event.clone(), call.clone());
        self.blocked = Some(Blocked { event, call, work, until, tolerance, failed: false });
        self.settle()
    }

    /// Tries the call that blocks again; whether it has ended.
    pub(super) fn retry_blocked(&mut self) -> Result<bool, Wrong> {
        let Some(mut blocked) = self.blocked.take_if(|blocked| !blocked.failed) else { return Ok(false) };
        let played = match self.attempt(&mut blocked.work) {
            Ok(None) => {
                let over = self.elapsed() > blocked.until + blocked.tolerance;
                if over { Err(Wrong::new(expected(&blocked.call), "it still blocks")) } else { Ok(false) }
            }
            Ok(Some(answer)) => {
                let (until, tolerance) = (blocked.until, blocked.tolerance);
                let checked = self.check_answer(&blocked.call, answer, " (it blocked)");
                checked.and_then(|()| self.check_end(until, tolerance)).map(|()| true)
            }
            Err(wrong) => Err(wrong),
        };
        blocked.failed = played.is_err();
        if !matches!(played, Ok(true)) {
            self.blocked = Some(blocked);
        }
        played
    }

    fn check_end(&self, until: Duration, tolerance: Duration) -> Result<(), Wrong> {
        let at = self.elapsed();
        if (until.saturating_sub(tolerance)..=until + tolerance).contains(&at) {
            return Ok(());
        }
        let tolerance = seconds(tolerance);
        let expected = format!("the call ends at {} (tolerance {tolerance})", seconds(until));
        Err(Wrong::new(expected, format!("it ended at {}", seconds(at))))
    }

    /// Lets time pass until no call blocks.
    pub(super) fn await_blocked(&mut self) -> Result<(), Wrong> {
        let Some(blocked) = &self.blocked else { return Ok(()) };
        let limit =
            (blocked.until + blocked.tolerance + Duration::from_micros(1)).min(self.elapsed() + PATIENCE);
        self.advance_until(self.start + limit, |player| player.blocked.is_none())?;
        self.settle()
    }

    /// Compares an answer with what the script expects, and keeps a new descriptor.
    fn check_answer(&mut self, call: &Call, answer: Answer, note: &str) -> Result<(), Wrong> {
        let args = Args::new(call, &self.settings);
        let wanted = match &call.result {
            Expr::Ellipsis => None,
            result => Some(args.eval(result)?),
        };
        let came = match &answer {
            Answer::Number(number) => number.to_string(),
            Answer::New(_) => wanted.filter(|wanted| *wanted >= 0).unwrap_or(0).to_string(),
            Answer::Error(errno) => format!("-1 {errno}"),
        };
        let right = match (&answer, wanted) {
            (_, None) => true,
            (Answer::Number(number), Some(wanted)) => *number == wanted,
            (Answer::New(_), Some(wanted)) => wanted >= 0,
            (Answer::Error(errno), Some(wanted)) => {
                let v6 = false;
                let number = call.errno.as_deref().and_then(|name| names::value(name, v6));
                wanted == -1 && (call.errno.is_none() || number == Some(errno.0.into()))
            }
        };
        self.trace.note(self.now - self.start, format_args!("{} = {came}{note}", spelled(call)));
        if !right {
            return Err(Wrong::new(expected(call), came));
        }
        if let (Answer::New(descriptor), Some(wanted)) = (answer, wanted) {
            self.program.insert(wanted as i32, descriptor);
        }
        Ok(())
    }

    /// Begins a call.
    fn begin(&mut self, call: &Call) -> Result<Begun, Wrong> {
        let settings = self.settings.clone();
        let args = Args::new(call, &settings);
        match call.name.as_str() {
            "socket" => self.socket(args),
            "bind" => self.bind(args),
            "listen" => self.listen(args),
            "connect" => self.connect(args),
            "accept" => self.accept(args, 0),
            "accept4" => self.accept(args, args.i32(3)?),
            "shutdown" => self.shutdown(args),
            "close" => self.close(args),
            "read" | "recv" | "recvfrom" | "readv" | "recvmsg" => self.receive(args, &call.name),
            "write" | "send" | "sendto" | "writev" | "sendmsg" => self.send(args, &call.name),
            "sendfile" => self.sendfile(args),
            "splice" => self.splice(args),
            "open" => Ok(Answer::New(Descriptor::file()).into()),
            "pipe" => self.pipe(args),
            "fcntl" => self.fcntl(args),
            "ioctl" => self.ioctl(args),
            "setsockopt" => self.setsockopt(args),
            "getsockopt" => self.getsockopt(args),
            "poll" => self.poll(args),
            "epoll_create" | "epoll_create1" => Ok(Answer::New(Descriptor::epoll()).into()),
            "epoll_ctl" => self.epoll_ctl(args),
            "epoll_wait" => self.epoll_wait(args),
            name => Err(Wrong::from(format!("{name}() is not known"))),
        }
    }

    /// Tries a call that may block; none if it does.
    fn attempt(&mut self, work: &mut Work) -> Result<Option<Answer>, Wrong> {
        match work {
            Work::Accept(work) => Ok(self.try_accept(work)),
            Work::Connect(work) => Ok(self.try_connect(work)),
            Work::Close(work) => Ok(self.try_close(work)),
            Work::Send(work) => Ok(self.try_send(work)),
            Work::Recv(work) => self.try_receive(work),
            Work::Splice(work) => Ok(self.try_splice(work)),
            Work::Poll(work) => self.try_poll(work),
            Work::EpollWait(work) => self.try_epoll_wait(work),
        }
    }
}

/// The call as the script writes it, up to its answer.
fn spelled(call: &Call) -> String {
    let args: Vec<String> = call.args.iter().map(words).collect();
    format!("{}({})", call.name, args.join(", "))
}

/// An expression, as short as can be.
fn words(expr: &Expr) -> String {
    match expr {
        Expr::Int(value) => value.to_string(),
        Expr::Name(name) => name.clone(),
        Expr::Binary(left, op, right) => {
            let sign = match op {
                crate::script::BinaryOp::Or => "|",
                crate::script::BinaryOp::And => "&",
                crate::script::BinaryOp::Add => "+",
                crate::script::BinaryOp::Sub => "-",
                crate::script::BinaryOp::Mul => "*",
                crate::script::BinaryOp::Shl => "<<",
            };
            format!("{}{sign}{}", words(left), words(right))
        }
        Expr::List(items) => format!("[{}]", items.iter().map(words).collect::<Vec<_>>().join(", ")),
        Expr::Struct(_) => "{...}".to_owned(),
        _ => "...".to_owned(),
    }
}

/// What a call is to answer.
fn expected(call: &Call) -> String {
    let errno = call.errno.as_deref().map_or_else(String::new, |errno| format!(" {errno}"));
    format!("{} = {}{errno}", spelled(call), words(&call.result))
}

#[cfg(test)]
mod tests;

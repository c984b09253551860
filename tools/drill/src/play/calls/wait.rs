//! poll and epoll.

use super::args::{Args, field, timeout};
use super::descriptors::{Descriptor, Object};
use super::{Answer, Begun, Work};
use crate::play::Player;
use crate::play::trace::Wrong;
use crate::script::Expr;
use sockeye_packet::Instant;
use sockeye_posix::Errno;
use sockeye_posix::berkeley::poll_bits;

/// poll.
#[derive(Debug)]
pub(super) struct Poll {
    entries: Vec<Entry>,
    pub(super) deadline: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    number: i32,
    events: i64,
    /// What the script expects to come; none where it leaves it open.
    expected: Option<i64>,
}

/// `epoll_wait`.
#[derive(Debug)]
pub(super) struct EpollWait {
    number: i32,
    max: usize,
    /// The events that the script expects, each with its data where that is said.
    expected: Vec<(Option<i64>, Option<i64>)>,
    pub(super) deadline: Option<Instant>,
}

/// What an epoll descriptor watches.
#[derive(Debug, Default)]
pub(super) struct EpollSet {
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    number: i32,
    events: i64,
    data: i64,
    /// Something happened that was not reported yet. Only edge-triggered items ask.
    signalled: bool,
    /// A one-shot item that has shot.
    spent: bool,
}

impl EpollSet {
    /// The socket of this number gained something.
    pub(super) fn signal(&mut self, number: i32) {
        self.items.iter_mut().filter(|item| item.number == number).for_each(|item| item.signalled = true);
    }
}

/// What is reported whether it is asked for or not.
const ALWAYS: i64 = (libc::POLLERR | libc::POLLHUP) as i64;
const EPOLLET: i64 = 0x8000_0000;
const EPOLLONESHOT: i64 = 0x4000_0000;

/// The names of bits.
fn spelled(bits: i64) -> String {
    const NAMES: [(i16, &str); 10] = [
        (libc::POLLIN, "POLLIN"),
        (libc::POLLPRI, "POLLPRI"),
        (libc::POLLOUT, "POLLOUT"),
        (libc::POLLERR, "POLLERR"),
        (libc::POLLHUP, "POLLHUP"),
        (libc::POLLNVAL, "POLLNVAL"),
        (libc::POLLRDNORM, "POLLRDNORM"),
        (libc::POLLRDBAND, "POLLRDBAND"),
        (libc::POLLWRNORM, "POLLWRNORM"),
        (libc::POLLRDHUP, "POLLRDHUP"),
    ];
    let names = NAMES.iter().filter(|(bit, _)| bits & i64::from(*bit) != 0).map(|(_, name)| *name);
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}

impl Player {
    pub(super) fn poll(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let Expr::List(items) = args.get(0)? else {
            return Err(Wrong::from("poll() takes a list".to_owned()));
        };
        let entry = |item| {
            let value = |name| field(item, name).filter(|value| **value != Expr::Ellipsis);
            let of = |name| value(name).map_or(Ok(0), |value| args.eval(value));
            let expected = value("revents").map(|value| args.eval(value)).transpose()?;
            Ok::<_, Wrong>(Entry { number: of("fd")? as i32, events: of("events")?, expected })
        };
        let entries = items.iter().map(entry).collect::<Result<_, _>>()?;
        let deadline = timeout(args.int(2)?).map(|timeout| self.now + timeout);
        Ok(Begun::Work(Work::Poll(Poll { entries, deadline })))
    }

    pub(super) fn try_poll(&mut self, work: &Poll) -> Result<Option<Answer>, Wrong> {
        let came: Vec<i64> = work
            .entries
            .iter()
            .map(|entry| self.ready_bits(entry.number) & (entry.events | ALWAYS | NVAL))
            .collect();
        let count = came.iter().filter(|bits| **bits != 0).count();
        if count == 0 && !self.is_over(work.deadline) {
            return Ok(None);
        }
        for (entry, came) in work.entries.iter().zip(came) {
            if let Some(expected) = entry.expected
                && expected != came
            {
                let say = |bits| format!("{{fd={}, revents={}}}", entry.number, spelled(bits));
                return Err(Wrong::new(say(expected), say(came)));
            }
        }
        Ok(Some(Answer::Number(count as i64)))
    }

    fn ready_bits(&self, number: i32) -> i64 {
        match self.program.get(number).map(|descriptor| &descriptor.object) {
            Some(Object::Socket(socket)) => poll_bits(self.stack.readiness(socket.id)).into(),
            Some(Object::Pipe(held)) if held.get() == 0 => libc::POLLOUT.into(),
            Some(Object::Pipe(_) | Object::File) => (libc::POLLIN | libc::POLLOUT).into(),
            Some(Object::Epoll(_)) => 0,
            None => NVAL,
        }
    }

    fn epoll_set(&mut self, number: i32) -> Option<&mut EpollSet> {
        match self.program.get_mut(number) {
            Some(Descriptor { object: Object::Epoll(set), .. }) => Some(set),
            _ => None,
        }
    }

    pub(super) fn epoll_ctl(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let (operation, number) = (args.i32(1)?, args.i32(2)?);
        let event = args.call_arg(3);
        let of = |name| event.and_then(|event| field(event, name)).map_or(Ok(0), |value| args.eval(value));
        let events = of("events")?;
        let data = [of("ptr")?, of("fd")?, of("u32")?, of("u64")?].into_iter().find(|data| *data != 0);
        let item = Item { number, events, data: data.unwrap_or(0), signalled: true, spent: false };
        let exists = self.program.get(number).is_some();
        let Some(set) = self.epoll_set(args.i32(0)?).filter(|_| exists) else {
            return Ok(Answer::Error(Errno::EBADF).into());
        };
        let at = set.items.iter().position(|item| item.number == number);
        let answer = match (operation, at) {
            (libc::EPOLL_CTL_ADD, None) => {
                set.items.push(item);
                Answer::Number(0)
            }
            (libc::EPOLL_CTL_MOD, Some(at)) => {
                set.items[at] = item;
                Answer::Number(0)
            }
            (libc::EPOLL_CTL_DEL, Some(at)) => {
                set.items.remove(at);
                Answer::Number(0)
            }
            (libc::EPOLL_CTL_ADD, Some(_)) => Answer::Error(Errno(libc::EEXIST)),
            _ => Answer::Error(Errno(libc::ENOENT)),
        };
        Ok(answer.into())
    }

    pub(super) fn epoll_wait(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let number = args.i32(0)?;
        if self.epoll_set(number).is_none() {
            return Ok(Answer::Error(Errno::EBADF).into());
        }
        let events: &[Expr] = match args.get(1)? {
            Expr::List(items) => items,
            Expr::Ellipsis => &[],
            one => core::slice::from_ref(one),
        };
        let wanted = |event| {
            let of = |name| field(event, name).filter(|value| **value != Expr::Ellipsis);
            let data = ["ptr", "fd", "u32", "u64"].iter().find_map(|name| of(name));
            let eval = |value: Option<&Expr>| value.map(|value| args.eval(value)).transpose();
            Ok::<_, Wrong>((eval(of("events"))?, eval(data)?))
        };
        let expected = events.iter().map(wanted).collect::<Result<_, _>>()?;
        let deadline = timeout(args.int(3)?).map(|timeout| self.now + timeout);
        let max = args.len(2)?;
        Ok(Begun::Work(Work::EpollWait(EpollWait { number, max, expected, deadline })))
    }

    pub(super) fn try_epoll_wait(&mut self, work: &EpollWait) -> Result<Option<Answer>, Wrong> {
        self.watch();
        let numbers: Vec<i32> = self
            .epoll_set(work.number)
            .map_or(Vec::new(), |set| set.items.iter().map(|item| item.number).collect());
        let ready: Vec<i64> = numbers.iter().map(|number| self.ready_bits(*number)).collect();
        let Some(set) = self.epoll_set(work.number) else { return Ok(Some(Answer::Error(Errno::EBADF))) };
        let mut came = Vec::new();
        for (item, ready) in set.items.iter_mut().zip(ready) {
            let bits = ready & (item.events | ALWAYS);
            let edge = item.events & EPOLLET != 0;
            if bits == 0
                || ready & NVAL != 0
                || item.spent
                || edge && !item.signalled
                || came.len() == work.max
            {
                continue;
            }
            item.signalled = false;
            item.spent = item.events & EPOLLONESHOT != 0;
            came.push((bits, item.data));
        }
        if came.is_empty() && !self.is_over(work.deadline) {
            return Ok(None);
        }
        for ((bits, data), (wanted_bits, wanted_data)) in came.iter().zip(&work.expected) {
            let same = |wanted: &Option<i64>, came: &i64| wanted.is_none_or(|wanted| wanted == *came);
            if !same(wanted_bits, bits) || !same(wanted_data, data) {
                let say = |bits, data| format!("{{events={}, ptr={data}}}", spelled(bits));
                let wanted = say(wanted_bits.unwrap_or(*bits), wanted_data.unwrap_or(*data));
                return Err(Wrong::new(wanted, say(*bits, *data)));
            }
        }
        Ok(Some(Answer::Number(came.len() as i64)))
    }
}

/// poll's word for a number that stands for nothing.
const NVAL: i64 = libc::POLLNVAL as i64;

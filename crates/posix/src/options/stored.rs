//! The options that a socket remembers and the stack does not act on.

use core::time::Duration;

/// Reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `SO_RCVTIMEO`.
    Receive,
    /// `SO_SNDTIMEO`.
    Send,
}

/// What the program set, by level and name. A socket on which nothing was set owns no memory; the table
/// of options bounds how much one can hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    values: Vec<(i32, i32, i32)>,
    receive_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
}

impl Stored {
    /// The value set for an option.
    pub fn get(&self, level: i32, name: i32) -> Option<i32> {
        self.values.iter().find(|(l, n, _)| (*l, *n) == (level, name)).map(|(.., value)| *value)
    }

    /// Whether the option was set to anything but 0.
    pub fn is_on(&self, level: i32, name: i32) -> bool {
        self.get(level, name).is_some_and(|value| value != 0)
    }

    /// Remembers a value.
    pub fn set(&mut self, level: i32, name: i32, value: i32) {
        match self.values.iter_mut().find(|(l, n, _)| (*l, *n) == (level, name)) {
            Some(entry) => entry.2 = value,
            None => self.values.push((level, name, value)),
        }
    }

    /// How long a call may block; `None` is for ever.
    pub fn timeout(&self, direction: Direction) -> Option<Duration> {
        match direction {
            Direction::Receive => self.receive_timeout,
            Direction::Send => self.send_timeout,
        }
    }

    pub(super) fn set_timeout(&mut self, direction: Direction, timeout: Option<Duration>) {
        match direction {
            Direction::Receive => self.receive_timeout = timeout,
            Direction::Send => self.send_timeout = timeout,
        }
    }
}

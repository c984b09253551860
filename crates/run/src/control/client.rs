//! The other end of the control socket: joining a network, and asking it things.

use super::place::Place;
use super::{Channel, FromNetwork, GREETING, Join, Status, ToNetwork, Welcome};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a network may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one that was started may take to be there before it is started again.
const COMING: Duration = Duration::from_millis(500);
/// How soon a network that is about to end, or to begin, is looked for again.
const AGAIN: Duration = Duration::from_millis(5);

/// Why a network could not be spoken to.
#[derive(Debug)]
#[non_exhaustive]
pub enum ControlError {
    /// It said no: why.
    Refused(String),
    /// What the user wrote is wrong: why.
    Misused(String),
    /// It didn't answer in time.
    Silent(String),
    /// The connection failed.
    System(io::Error),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Refused(why) | ControlError::Misused(why) => f.write_str(why),
            ControlError::Silent(name) => write!(
                f,
                "network {name} doesn't answer within {} s: sockeye ps shows its process",
                PATIENCE.as_secs()
            ),
            ControlError::System(error) => write!(f, "can't speak to the network: {error}"),
        }
    }
}

impl std::error::Error for ControlError {}

impl From<io::Error> for ControlError {
    fn from(error: io::Error) -> ControlError {
        ControlError::System(error)
    }
}

/// A conversation with a network.
#[derive(Debug)]
pub struct Control {
    channel: Channel,
    name: String,
}

impl Control {
    /// Speaks to the network of a place; none when there is none.
    pub fn connect(place: &Place) -> Result<Option<Control>, ControlError> {
        let Some(socket) = place.connect()? else { return Ok(None) };
        let mut control = Control { channel: Channel::new(socket)?, name: place.name().to_owned() };
        // A refusal may come before the greeting is read, and close the socket.
        control.channel.send_bytes(GREETING.to_vec(), None).ok();
        Ok(Some(control))
    }

    /// What is there.
    pub fn status(&mut self) -> Result<Status, ControlError> {
        match self.ask(&ToNetwork::Status, None)? {
            FromNetwork::Status(status) => Ok(status),
            _ => Err(ControlError::System(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Ends the network, and its programs; returns when it has ended.
    pub fn down(mut self) -> Result<(), ControlError> {
        self.ask(&ToNetwork::Down, None)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline) {
                Ok(_) => {}
                Err(ControlError::System(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Has ports of the machine lead to a host, or lead there no more: all of them, or none. Answers what the
    /// user should know.
    pub fn publish(
        &mut self,
        host: Option<&str>,
        ports: &[String],
        on: bool,
    ) -> Result<String, ControlError> {
        let (host, ports) = (host.map(str::to_owned), ports.to_vec());
        let message =
            if on { ToNetwork::Publish { host, ports } } else { ToNetwork::Unpublish { host, ports } };
        match self.ask(&message, None)? {
            FromNetwork::Done(text) => Ok(text),
            _ => Err(ControlError::System(io::ErrorKind::InvalidData.into())),
        }
    }

    fn ask(&mut self, question: &ToNetwork, fd: Option<OwnedFd>) -> Result<FromNetwork, ControlError> {
        // A refusal may have closed the socket for sending; it can still be read.
        let sent = self.channel.send(question, fd);
        match self.next(Instant::now() + PATIENCE) {
            Ok(FromNetwork::Refused(why)) => Err(ControlError::Refused(why)),
            Ok(FromNetwork::Misused(why)) => Err(ControlError::Misused(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(sent.err().map_or(error, ControlError::System)),
        }
    }

    fn next(&mut self, deadline: Instant) -> Result<FromNetwork, ControlError> {
        loop {
            self.channel.flush().ok();
            if let Some((message, _)) = self.channel.receive()? {
                return Ok(message);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ControlError::Silent(self.name.clone()));
            }
            let room = if self.channel.is_blocked() { PollFlags::OUT } else { PollFlags::empty() };
            let mut ready = [PollFd::new(&self.channel, PollFlags::IN | room)];
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            poll(&mut ready, Some(&left)).ok();
        }
    }
}

/// A supervisor's place in a network, before it supervises.
#[derive(Debug)]
pub struct Membership {
    pub(crate) channel: Channel,
    /// Where it has landed.
    pub welcome: Welcome,
}

impl Membership {
    /// Joins the network of a place, which `start` starts when it isn't there. It may have just ended, or be
    /// started by somebody else meanwhile: this tries for a few seconds.
    pub fn join(
        place: &Place,
        join: &Join,
        capture: Option<&OwnedFd>,
        mut start: impl FnMut() -> Result<(), String>,
    ) -> Result<Membership, ControlError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut found = Control::connect(place)?;
            if found.is_none() {
                start().map_err(ControlError::Refused)?;
                found = wait_for(place)?;
            }
            let Some(mut control) = found else {
                if Instant::now() < deadline {
                    // It was killed while it started.
                    continue;
                }
                return Err(ControlError::Silent(place.name().to_owned()));
            };
            let question = ToNetwork::Join { join: join.clone(), keeps_ends: !crate::agent::can_duplicate() };
            let file = capture.map(OwnedFd::try_clone).transpose()?;
            match control.ask(&question, file) {
                Ok(FromNetwork::Joined(welcome)) => {
                    return Ok(Membership { channel: control.channel, welcome });
                }
                Ok(_) => return Err(ControlError::System(io::ErrorKind::InvalidData.into())),
                // It ended between the two.
                Err(ControlError::System(_)) if Instant::now() < deadline => std::thread::sleep(AGAIN),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Speaks to a network as soon as it is there; none when it doesn't come.
fn wait_for(place: &Place) -> Result<Option<Control>, ControlError> {
    let deadline = Instant::now() + COMING;
    loop {
        match Control::connect(place)? {
            None if Instant::now() < deadline => std::thread::sleep(AGAIN),
            control => return Ok(control),
        }
    }
}

//! What the network says becomes of a call: bytes into the program's memory, descriptors, its answer.

use super::gather::{Landing, MessageLanding};
use super::{Agent, Call};
use crate::proto::{Outcome, Received, Reply};
use crate::sys::{self, Response};
use sockeye_posix::Errno;
use sockeye_posix::interface::{InterfaceList, InterfaceRequest};
use sockeye_posix::message::{MMSG_MAX, MessageHeader};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

impl Agent {
    /// Does with a call what the network said.
    pub(super) fn land(&mut self, call: &Call, landing: &Landing, reply: Reply) {
        let Reply { outcome, ticket, fd } = reply;
        if let Landing::OneOf { index, message } = landing {
            return self.land_one_of(call, *index, message.as_ref(), outcome);
        }
        let signal = outcome == Outcome::BrokenPipe { signal: true };
        let response = match outcome {
            Outcome::Value(value) => Response::Value(value),
            Outcome::Error(errno) => Response::Error(errno),
            Outcome::BrokenPipe { .. } => Response::Error(libc::EPIPE),
            Outcome::Continue => Response::Continue,
            Outcome::Bytes(bytes) => match self.put_bytes(call, landing, &bytes) {
                Ok(()) => Response::Value(0),
                Err(errno) => Response::Error(errno.0),
            },
            Outcome::Received(received) => match self.put_received(call, landing, &received) {
                Ok(()) => Response::Value(received.result.into()),
                Err(errno) => Response::Error(errno.0),
            },
            Outcome::Descriptor { class, close_on_exec, address } => {
                let fresh = fd.as_ref().filter(|_| self.attachment.remembers());
                let identity = fresh.and_then(|fd| self.processes.identity_of(fd));
                let given = self.give(call, landing, fd, close_on_exec, &address);
                if let Some(identity) = identity {
                    self.attachment.learn(identity, class);
                }
                let value = given.as_ref().ok().copied();
                if let Err(errno) = given {
                    self.answer(call, Response::Error(errno.0));
                }
                return self.tell_seen(call, ticket, value);
            }
            Outcome::Replace => match self.replace(call, landing, fd.as_ref()) {
                Ok(()) => {
                    self.tell_seen(call, ticket, Some(0));
                    self.awake.push_back((*call, 0));
                    return;
                }
                Err(errno) => {
                    self.answer(call, Response::Error(errno.0));
                    return self.tell_seen(call, ticket, None);
                }
            },
            Outcome::Wait { key, limit, expired } => {
                let deadline = limit.map(|limit| self.now + limit);
                return self.park(call, key, deadline, expired);
            }
        };
        let seen = self.answer(call, response);
        // Not before the answer: the signal would interrupt the wait for it.
        if signal {
            sys::send_signal(call.tid, libc::SIGPIPE);
        }
        self.tell_seen(call, ticket, seen.then_some(0));
    }

    /// One message of many: the next one's turn, or the end.
    fn land_one_of(&mut self, call: &Call, index: usize, message: Option<&MessageLanding>, outcome: Outcome) {
        let moved = match (outcome, message) {
            (Outcome::Value(sent), None) => Ok(sent as u32),
            (Outcome::Received(received), Some(message)) => {
                self.put_message(call, message, &received).map(|()| received.result)
            }
            // The vector is at its end.
            (_, _) if index > 0 => {
                self.answer(call, Response::Value(index as i64));
                return;
            }
            (outcome, _) => return self.land(call, &Landing::Nothing, outcome.into()),
        };
        let at = call.word(1).wrapping_add((index * MessageHeader::MULTIPLE_SIZE) as u64);
        let at = at.wrapping_add(MessageHeader::MESSAGE_LEN_OFFSET as u64);
        let count = (call.word(2) as u32 as usize).min(MMSG_MAX);
        let response = match moved.and_then(|moved| self.write(call, &[(at, 4)], &moved.to_ne_bytes())) {
            // Not from here: a vector may be long.
            Ok(()) if index + 1 < count => return self.awake.push_back((*call, index + 1)),
            Ok(()) => Response::Value(index as i64 + 1),
            Err(errno) if index == 0 => Response::Error(errno.0),
            Err(_) => Response::Value(index as i64),
        };
        self.answer(call, response);
    }

    fn put_bytes(&self, call: &Call, landing: &Landing, bytes: &[u8]) -> Result<(), Errno> {
        match *landing {
            Landing::Name { address, len } => self.put_address(call, address, len, bytes),
            Landing::Option { address, len } => {
                let both = [bytes, &(bytes.len() as i32).to_ne_bytes()].concat();
                self.write(call, &[(address, bytes.len()), (len, 4)], &both)
            }
            Landing::Value { address } => self.write(call, &[(address, bytes.len())], bytes),
            Landing::Interfaces { at, list } => self.put_interfaces(call, at, list, bytes),
            _ => Err(Errno::EFAULT),
        }
    }

    /// An address where getsockname and its kin want it: cut to the room given, its true length told.
    fn put_address(&self, call: &Call, address: u64, len: u64, bytes: &[u8]) -> Result<(), Errno> {
        let room = usize::try_from(call.read_int(len)?).map_err(|_| Errno::EINVAL)?;
        let cut = &bytes[..bytes.len().min(room)];
        let both = [cut, &(bytes.len() as i32).to_ne_bytes()].concat();
        self.write(call, &[(address, cut.len()), (len, 4)], &both)
    }

    /// The entries that fit, and how many bytes they are; without a buffer how many all would be.
    fn put_interfaces(&self, call: &Call, at: u64, list: InterfaceList, bytes: &[u8]) -> Result<(), Errno> {
        let fitting = if list.buffer == 0 {
            bytes.len()
        } else {
            let room = list.room - list.room % InterfaceRequest::SIZE;
            let fitting = &bytes[..bytes.len().min(room)];
            self.write(call, &[(list.buffer, fitting.len())], fitting)?;
            fitting.len()
        };
        self.write(call, &[(at, 4)], &(fitting as i32).to_ne_bytes())
    }

    fn put_received(&self, call: &Call, landing: &Landing, received: &Received) -> Result<(), Errno> {
        match landing {
            Landing::Buffer { data, address, len } => {
                self.write(call, &[(*data, received.data.len())], &received.data)?;
                match &received.name {
                    Some(name) => self.put_address(call, *address, *len, name),
                    None => self.write(call, &[(*len, 4)], &0_i32.to_ne_bytes()),
                }
            }
            Landing::Message(message) => self.put_message(call, message, received),
            _ => Err(Errno::EFAULT),
        }
    }

    /// A datagram into the buffers of a `struct msghdr`, with address, control messages and flags.
    fn put_message(&self, call: &Call, message: &MessageLanding, received: &Received) -> Result<(), Errno> {
        let MessageLanding { at, header, ranges } = message;
        let Received { data, name, control, flags, result: _ } = received;
        self.write(call, ranges, data)?;
        // All the rest at once: each write is a system call that looks for the process anew.
        let place = |offset: usize| at.wrapping_add(offset as u64);
        let name = name.as_deref().unwrap_or_default();
        let cut = &name[..name.len().min(header.name_len)];
        let name_len = (name.len() as i32).to_ne_bytes();
        let control_len = (control.len() as u64).to_ne_bytes();
        let flags = flags.to_ne_bytes();
        let mut parts = vec![
            (header.control, &control[..]),
            (place(MessageHeader::CONTROL_LEN_OFFSET), &control_len[..]),
            (place(MessageHeader::FLAGS_OFFSET), &flags[..]),
        ];
        if header.name != 0 {
            parts.extend([(header.name, cut), (place(MessageHeader::NAME_LEN_OFFSET), &name_len[..])]);
        }
        let ranges: Vec<_> = parts.iter().map(|&(address, bytes)| (address, bytes.len())).collect();
        let bytes: Vec<u8> = parts.iter().flat_map(|&(_, bytes)| bytes.iter().copied()).collect();
        self.write(call, &ranges, &bytes)
    }

    /// Gives the calling process a descriptor, which the call returns; answers its number there. EMFILE
    /// and the like are the program's errors.
    fn give(
        &self,
        call: &Call,
        landing: &Landing,
        fd: Option<OwnedFd>,
        close_on_exec: bool,
        peer: &[u8],
    ) -> Result<i32, Errno> {
        // Without it this process had no room for it.
        let fd = fd.ok_or(Errno::ENFILE)?;
        if let Landing::Name { address, len } = *landing
            && address != 0
        {
            self.put_address(call, address, len, peer)?;
        }
        let add = sys::AddFd { fd: fd.as_fd(), replace: None, close_on_exec, answer: true };
        self.add_fd(call, &add).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno))
    }

    pub(super) fn add_fd(&self, call: &Call, add: &sys::AddFd<'_>) -> io::Result<i32> {
        let tree = self.tree(call.tree).ok_or(io::ErrorKind::NotFound)?;
        sys::add_fd(tree.listener.as_fd(), call.id, add)
    }
}

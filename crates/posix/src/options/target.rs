//! Options of a socket in a stack, from the program's bytes to the stack and back.

use super::{Fact, FilterCall, Get, OptionValue, Set, Stored, answer, get, set};
use crate::Errno;
use crate::SocketKind;
use crate::address::AddressBytes;
use sockeye_packet::{Instant, NicId};
use sockeye_stack::bpf::{Filter, Instruction};
use sockeye_stack::{OptionName, SocketId, SocketOption, Stack, TcpState};

const TCP_FASTOPEN_NO_COOKIE: i32 = 34;

/// A socket of a stack whose options are set and read.
#[derive(Debug)]
pub struct Target<'a> {
    /// The stack.
    pub stack: &'a mut Stack,
    /// The present.
    pub now: Instant,
    /// The socket.
    pub id: SocketId,
    /// What it is.
    pub kind: SocketKind,
    /// What it remembers.
    pub stored: &'a mut Stored,
}

impl Target<'_> {
    /// `setsockopt`, with the errors of [`set`] and of the stack.
    pub fn set(&mut self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        self.check_state(level, name, value)?;
        let option = match set(self.kind, self.stored, level, name, value)? {
            Set::Done => return Ok(()),
            Set::Stack(option) => option,
            Set::Filter(call, value) => return self.set_filter(call, value),
            Set::Groups(change) => return Ok(change.apply(self.stack, self.now, self.id)?),
            Set::Device([]) => SocketOption::BindToNic(None),
            Set::Device(device) => SocketOption::BindToNic(Some(self.nic_of(device)?)),
        };
        Ok(self.stack.set_option(self.now, self.id, option)?)
    }

    /// Attaches, detaches or locks a filter.
    fn set_filter(&mut self, call: FilterCall, value: &[u8]) -> Result<(), Errno> {
        let Target { stack, id, .. } = self;
        match call {
            FilterCall::Attach => {
                let steps = value.chunks_exact(8).map(|step| Instruction {
                    code: u16::from_ne_bytes([step[0], step[1]]),
                    jump_true: step[2],
                    jump_false: step[3],
                    k: u32::from_ne_bytes([step[4], step[5], step[6], step[7]]),
                });
                Ok(stack.attach_filter(*id, Filter::new(&steps.collect::<Vec<_>>())?)?)
            }
            FilterCall::Detach if stack.detach_filter(*id)? => Ok(()),
            FilterCall::Detach => Err(Errno::ENOENT),
            FilterCall::Lock if value.first_chunk() != Some(&[0; 4]) => Ok(stack.lock_filter(*id)?),
            FilterCall::Lock if stack.filter(*id)?.1 => Err(Errno::EPERM),
            FilterCall::Lock => Ok(()),
        }
    }

    /// EINVAL for what can only be said before a connection is there.
    fn check_state(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if level != libc::IPPROTO_TCP {
            return Ok(());
        }
        let listens = self.stack.get_option(self.id, OptionName::AcceptsConnections)
            == Ok(SocketOption::AcceptsConnections(true));
        let is_open = self.stack.tcp_state(self.id).is_some_and(|state| state != TcpState::Closed);
        let too_late = match name {
            libc::TCP_FASTOPEN | TCP_FASTOPEN_NO_COOKIE => is_open,
            libc::TCP_FASTOPEN_CONNECT => is_open || listens,
            libc::TCP_WINDOW_CLAMP => (is_open || listens) && value.get(..4) == Some(&[0; 4]),
            _ => false,
        };
        if too_late { Err(Errno::EINVAL) } else { Ok(()) }
    }

    fn nic_of(&self, device: &[u8]) -> Result<NicId, Errno> {
        let named = |nic: &NicId| self.stack.nic(*nic).is_some_and(|config| config.name.as_bytes() == device);
        let nics = (0..=u16::MAX).map(NicId).take_while(|nic| self.stack.nic(*nic).is_some());
        nics.into_iter().find(named).ok_or(Errno::ENODEV)
    }

    /// `getsockopt`, with the errors of [`get`] and of the stack; what is read fits in
    /// [`cut_to`](OptionValue::cut_to) the program's room.
    pub fn get(&mut self, level: i32, name: i32) -> Result<OptionValue, Errno> {
        match get(self.kind, self.stored, level, name)? {
            Get::Ready(value) => Ok(value),
            Get::Stack(option) => Ok(answer(level, self.stack.get_option(self.id, option)?)),
            Get::Fact(fact) => self.fact(level, fact),
            Get::Device => {
                let bound = self.stack.get_option(self.id, OptionName::BindToNic)?;
                let SocketOption::BindToNic(Some(nic)) = bound else { return Ok(OptionValue::device("")) };
                Ok(OptionValue::device(self.stack.nic(nic).map_or("", |config| config.name.as_str())))
            }
        }
    }

    fn fact(&mut self, level: i32, fact: Fact) -> Result<OptionValue, Errno> {
        let Target { stack, now, id, .. } = self;
        let (now, id) = (*now, *id);
        Ok(match fact {
            Fact::Error => OptionValue::int(stack.take_error(id).map_or(0, |error| Errno::from(error).0)),
            Fact::TcpInfo => match stack.tcp_info(now, id) {
                Ok(info) => OptionValue::tcp_info(&info),
                Err(_) => OptionValue::tcp_info_idle(),
            },
            Fact::PathMtu => OptionValue::int_at(level, stack.path_mtu(id)? as i32),
            Fact::PathMtuInfo => OptionValue::path_mtu_info(stack.path_mtu(id)?),
            Fact::Number => OptionValue::int_at(level, stack.local_addr(id)?.port.into()),
            Fact::Cookie => OptionValue::cookie(id.as_u64() + 1),
            Fact::NetnsCookie => OptionValue::netns_cookie(1),
            Fact::PeerCredentials => OptionValue::no_credentials(),
            Fact::Filter if stack.filter(id)?.0.is_none() => OptionValue::default(),
            // As where a filter isn't one that the program attached.
            Fact::Filter => return Err(Errno::EACCES),
            Fact::FilterLocked => OptionValue::int(stack.filter(id)?.1.into()),
            Fact::PeerName => {
                OptionValue::peer_name(AddressBytes::new(stack.peer_addr(id)?, self.kind.domain).as_slice())
            }
            Fact::MemoryInfo => {
                let size = |option| match stack.get_option(id, option) {
                    Ok(SocketOption::RecvBuffer(size) | SocketOption::SendBuffer(size)) => size as u32,
                    _ => 0,
                };
                let [recv, send] = [OptionName::RecvBuffer, OptionName::SendBuffer].map(size);
                let (received, sent) = (stack.recv_queued(id) as u32, stack.send_queued(id) as u32);
                OptionValue::memory_info([received, recv, sent, send, 0])
            }
        })
    }
}

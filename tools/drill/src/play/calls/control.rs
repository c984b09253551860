//! fcntl and ioctl.

use super::args::Args;
use super::{Answer, Begun};
use crate::play::Player;
use crate::play::trace::Wrong;
use crate::script::Expr;
use sockeye_posix::Errno;
use sockeye_stack::{SocketId, SocketType, TcpState};

/// `SIOCOUTQ`, `SIOCOUTQNSD`, `SIOCINQ`, `SIOCATMARK`, `FIONBIO`.
const SIOCOUTQ: i64 = 0x5411;
const SIOCOUTQNSD: i64 = 0x894b;
const SIOCINQ: i64 = 0x541b;
const SIOCATMARK: i64 = 0x8905;
const FIONBIO: i64 = 0x5421;

impl Player {
    pub(super) fn fcntl(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let command = args.i32(1)?;
        let flags = if command == libc::F_SETFL { args.i32(2)? } else { 0 };
        let Some(descriptor) = self.program.get_mut(args.i32(0)?) else {
            return Ok(Answer::Error(Errno::EBADF).into());
        };
        let answer = match command {
            libc::F_GETFL => {
                let nonblocking = if descriptor.nonblocking { libc::O_NONBLOCK } else { 0 };
                Answer::Number((libc::O_RDWR | nonblocking).into())
            }
            libc::F_SETFL => {
                descriptor.nonblocking = flags & libc::O_NONBLOCK != 0;
                Answer::Number(0)
            }
            libc::F_GETFD | libc::F_SETFD => Answer::Number(0),
            _ => Answer::Error(Errno::EINVAL),
        };
        Ok(answer.into())
    }

    pub(super) fn ioctl(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let (number, request) = (args.i32(0)?, args.int(1)?);
        if request == FIONBIO {
            let on = args.int(2)? != 0;
            let Some(descriptor) = self.program.get_mut(number) else {
                return Ok(Answer::Error(Errno::EBADF).into());
            };
            descriptor.nonblocking = on;
            return Ok(Answer::Number(0).into());
        }
        let socket = match self.socket_of(number) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let is_listener = socket.kind.kind == SocketType::Stream && self.is_listener(socket.id);
        let value = match request {
            _ if is_listener && request != SIOCATMARK => return Ok(Answer::Error(Errno::EINVAL).into()),
            SIOCINQ => self.stack.recv_queued(socket.id) as i64,
            SIOCOUTQ => self.queued_to_send(socket.id) as i64,
            SIOCOUTQNSD => {
                self.stack.tcp_info(self.now, socket.id).map_or(0, |info| info.notsent_bytes.into())
            }
            SIOCATMARK => self.stack.at_mark(socket.id).into(),
            other => return Err(Wrong::from(format!("ioctl {other:#x}"))),
        };
        match args.get(2)? {
            Expr::Ellipsis => {}
            wanted => {
                let wanted = args.eval(wanted)?;
                if wanted != value {
                    return Err(Wrong::new(format!("the value {wanted}"), format!("the value {value}")));
                }
            }
        }
        Ok(Answer::Number(0).into())
    }

    /// What `SIOCOUTQ` counts: as the kernel, nothing before a connection is open.
    fn queued_to_send(&self, id: SocketId) -> usize {
        match self.stack.tcp_state(id) {
            Some(TcpState::SynSent | TcpState::SynReceived) => 0,
            _ => self.stack.send_queued(id),
        }
    }
}

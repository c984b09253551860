//! setsockopt and getsockopt, through the tables of crate `posix`.

use super::args::{Args, field};
use super::descriptors::{Object, SocketOf};
use super::{Answer, Begun, answer};
use crate::play::Player;
use crate::play::trace::Wrong;
use crate::script::Expr;
use sockeye_posix::Errno;
use sockeye_posix::options::{OptionValue, Target};
use sockeye_stack::{OptionName, SocketId, SocketOption};

impl Player {
    pub(super) fn setsockopt(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let (number, level, name) = (args.i32(0)?, args.i32(1)?, args.i32(2)?);
        let mut socket = match self.socket_of(number) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let Some(mut value) = Self::option_bytes(args, 3)? else {
            return Ok(Answer::Error(Errno::EFAULT).into());
        };
        value.truncate(usize::try_from(args.int(4)?).unwrap_or(0));
        if let Some(option) = privileged(level, name, &value) {
            return Ok(answer(self.stack.set_option(self.now, socket.id, option)).into());
        }
        let mut target = Target {
            stack: &mut self.stack,
            now: self.now,
            id: socket.id,
            kind: socket.kind,
            stored: &mut socket.stored,
        };
        let result = match target.set(level, name, &value) {
            Ok(()) => Answer::Number(0),
            Err(errno) => Answer::Error(errno),
        };
        if let Some(Object::Socket(kept)) = self.program.get_mut(number).map(|kept| &mut kept.object) {
            kept.stored = socket.stored;
        }
        Ok(result.into())
    }

    /// The bytes of an option's value; none for a null pointer.
    fn option_bytes(args: Args<'_>, at: usize) -> Result<Option<Vec<u8>>, Wrong> {
        let int = |value: i64| (value as i32).to_ne_bytes().to_vec();
        Ok(Some(match args.get(at)? {
            Expr::Name(name) if name == "NULL" => return Ok(None),
            Expr::Text(text) => [text.as_slice(), &[0]].concat(),
            Expr::List(items) => {
                let mut bytes = Vec::new();
                for item in items {
                    match item {
                        Expr::Text(text) => bytes.extend([text.as_slice(), &[0]].concat()),
                        Expr::Struct(_) => bytes.extend(struct_bytes(item, args)?),
                        item => bytes.extend(int(args.eval(item)?)),
                    }
                }
                bytes
            }
            fields @ Expr::Struct(_) => struct_bytes(fields, args)?,
            Expr::Ellipsis => vec![0; 4],
            value => int(args.eval(value)?),
        }))
    }

    pub(super) fn getsockopt(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let (level, name) = (args.i32(1)?, args.i32(2)?);
        let socket = match self.socket_of(args.i32(0)?) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let value = match self.option_value(&socket, level, name) {
            Ok(value) => value,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let room = match args.get(4)? {
            Expr::Ellipsis => usize::MAX,
            len => args.eval(len)? as usize,
        };
        let came = match value.cut_to(room) {
            Ok(came) => came,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let wanted = match args.get(3)? {
            Expr::Ellipsis => return Ok(Answer::Number(0).into()),
            Expr::Text(text) => text.clone(),
            Expr::List(items) if matches!(items.as_slice(), [Expr::Ellipsis]) => {
                return Ok(Answer::Number(0).into());
            }
            _ => Self::option_bytes(args, 3)?.unwrap_or_default(),
        };
        let same = match args.get(3)? {
            // Text stands in a longer field.
            Expr::Text(text) => came.split(|byte| *byte == 0).next() == Some(text.as_slice()),
            _ => came == &wanted[..wanted.len().min(room)],
        };
        if same {
            return Ok(Answer::Number(0).into());
        }
        let is_error = (level, name) == (libc::SOL_SOCKET, libc::SO_ERROR);
        let say = |value: &[u8]| format!("the value {}", spelled(value, is_error));
        Err(Wrong::new(say(&wanted), say(came)))
    }

    fn option_value(&mut self, socket: &SocketOf, level: i32, name: i32) -> Result<OptionValue, Errno> {
        let stored = &mut socket.stored.clone();
        let (stack, now) = (&mut self.stack, self.now);
        Target { stack, now, id: socket.id, kind: socket.kind, stored }.get(level, name)
    }

    /// `TCP_INFO` of a socket, as bytes.
    pub(in crate::play) fn tcp_info(&self, id: SocketId) -> OptionValue {
        match self.stack.tcp_info(self.now, id) {
            Ok(info) => OptionValue::tcp_info(&info),
            Err(_) => OptionValue::tcp_info_idle(),
        }
    }

    pub(super) fn is_listener(&self, id: SocketId) -> bool {
        let accepts = self.stack.get_option(id, OptionName::AcceptsConnections);
        accepts == Ok(SocketOption::AcceptsConnections(true))
    }
}

/// Options that the scripts' programs may set because they run as root: sizes of buffers without limit.
fn privileged(level: i32, name: i32, value: &[u8]) -> Option<SocketOption> {
    let size = i32::from_ne_bytes(*value.first_chunk()?).max(0) as usize * 2;
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE) => Some(SocketOption::SendBuffer(size)),
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE) => Some(SocketOption::RecvBuffer(size)),
        _ => None,
    }
}

/// `struct linger` and `struct timeval`.
fn struct_bytes(expr: &Expr, args: Args<'_>) -> Result<Vec<u8>, Wrong> {
    let value = |name| field(expr, name).map(|value| args.eval(value)).transpose();
    if let (Some(on), Some(linger)) =
        (value("onoff")?.or(value("l_onoff")?), value("linger")?.or(value("l_linger")?))
    {
        return Ok([on, linger].map(|value| (value as i32).to_ne_bytes()).concat());
    }
    if let (Some(seconds), Some(micros)) = (value("tv_sec")?, value("tv_usec")?) {
        return Ok([seconds, micros].map(i64::to_ne_bytes).concat());
    }
    Err(Wrong::from("a structure that is not known".to_owned()))
}

/// An option's value: a number, with the error's name where it is one, or bytes.
fn spelled(value: &[u8], is_error: bool) -> String {
    match <[u8; 4]>::try_from(value) {
        Ok(bytes) => {
            let number = i32::from_ne_bytes(bytes);
            let error = Errno(number).name().filter(|_| is_error);
            error.map_or_else(|| number.to_string(), |name| format!("{number} ({name})"))
        }
        Err(_) => format!("{value:?}"),
    }
}

//! What recvmsg hands over beside the data: control messages and flags.

use super::args::{Args, field};
use super::data::Recv;
use crate::play::Player;
use crate::play::trace::Wrong;
use crate::script::Expr;
use sockeye_posix::cmsg;
use sockeye_posix::flags::MessageFlags;

/// A control message: level, type, and the number in it where the script says one.
type Control = (i32, i32, Option<i64>);

/// What a script expects around the data.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The flags, where it says them.
    flags: Option<i32>,
    /// The control messages, where it says them.
    controls: Option<Vec<Control>>,
}

impl Expected {
    pub(super) fn new(message: &Expr, args: Args<'_>) -> Result<Expected, Wrong> {
        let flags = match field(message, "msg_flags") {
            None | Some(Expr::Ellipsis) => None,
            Some(flags) => Some(args.eval(flags)? as i32),
        };
        let controls = match field(message, "msg_control") {
            Some(Expr::List(items)) => {
                let controls: Result<_, Wrong> = items.iter().map(|item| control(item, args)).collect();
                Some(controls?)
            }
            _ => None,
        };
        Ok(Expected { flags, controls })
    }
}

fn control(item: &Expr, args: Args<'_>) -> Result<Control, Wrong> {
    let number = |name| {
        let missing = || Wrong::from(format!("a control message without {name}"));
        field(item, name).ok_or_else(missing).and_then(|value| Ok(args.eval(value)? as i32))
    };
    let data = match field(item, "cmsg_data") {
        None | Some(Expr::Ellipsis | Expr::Struct(_)) => None,
        Some(value) => Some(args.eval(value)?),
    };
    Ok((number("cmsg_level")?, number("cmsg_type")?, data))
}

/// Room for control messages, as programs give it.
const ROOM: usize = 512;

impl Player {
    /// Compares what comes with the data that was received.
    pub(super) fn check_message(&self, work: &Recv) -> Result<(), Wrong> {
        let Some(expected) = &work.expected else { return Ok(()) };
        let mut out = cmsg::ControlWriter::new(ROOM);
        cmsg::write_timestamp(&mut out, &work.socket.stored, self.elapsed());
        if work.socket.stored.is_on(libc::IPPROTO_TCP, libc::TCP_INQ) {
            out.put_int(libc::IPPROTO_TCP, libc::TCP_INQ, self.stack.recv_hint(work.socket.id) as i32);
        }
        let mut flags = MessageFlags::default();
        let bytes = out.finish(&mut flags);
        if let Some(wanted) = expected.flags
            && wanted != flags.bits()
        {
            return Err(Wrong::new(format!("msg_flags={wanted}"), format!("msg_flags={}", flags.bits())));
        }
        let Some(wanted) = &expected.controls else { return Ok(()) };
        let came: Vec<Control> = cmsg::parse(&bytes)
            .filter_map(Result::ok)
            .map(|control| {
                let int = control.data.first_chunk().map(|data| i32::from_ne_bytes(*data).into());
                (control.level, control.kind, int)
            })
            .collect();
        let same = |(wanted, came): (&Control, &Control)| {
            (wanted.0, wanted.1) == (came.0, came.1) && (wanted.2.is_none() || wanted.2 == came.2)
        };
        if wanted.len() == came.len() && wanted.iter().zip(&came).all(same) {
            return Ok(());
        }
        Err(Wrong::new(format!("msg_control={}", spelled(wanted)), format!("msg_control={}", spelled(&came))))
    }
}

/// Control messages as level, type and number.
fn spelled(controls: &[Control]) -> String {
    let one = |(level, kind, data): &Control| {
        let data = data.map_or_else(|| "...".to_owned(), |data| data.to_string());
        format!("{{cmsg_level={level}, cmsg_type={kind}, cmsg_data={data}}}")
    };
    format!("[{}]", controls.iter().map(one).collect::<Vec<_>>().join(", "))
}

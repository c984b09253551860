//! The arguments of a call: numbers, buffers, addresses, structures.

use super::names;
use crate::play::settings::{IpVersion, Settings};
use crate::play::trace::Wrong;
use crate::script::{BinaryOp, Call, Expr};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use sockeye_stack::SockAddr;

/// The arguments of one call.
#[derive(Clone, Copy)]
pub(super) struct Args<'a> {
    call: &'a Call,
    settings: &'a Settings,
}

impl<'a> Args<'a> {
    pub(super) fn new(call: &'a Call, settings: &'a Settings) -> Args<'a> {
        Args { call, settings }
    }

    /// The argument at a place; an error says that there is none.
    pub(super) fn get(&self, at: usize) -> Result<&'a Expr, Wrong> {
        let missing = || Wrong::from(format!("{} has no argument {}", self.call.name, at + 1));
        self.call.args.get(at).ok_or_else(missing)
    }

    /// The argument at a place, if there is one.
    pub(super) fn call_arg(&self, at: usize) -> Option<&'a Expr> {
        self.call.args.get(at)
    }

    pub(super) fn int(&self, at: usize) -> Result<i64, Wrong> {
        Ok(self.eval(self.get(at)?)?)
    }

    pub(super) fn i32(&self, at: usize) -> Result<i32, Wrong> {
        Ok(self.int(at)? as i32)
    }

    /// A number of bytes.
    pub(super) fn len(&self, at: usize) -> Result<usize, Wrong> {
        let len = self.int(at)?;
        usize::try_from(len).map_err(|_| Wrong::from(format!("a length of {len}")))
    }

    /// The value of a number or a name.
    pub(super) fn eval(&self, expr: &Expr) -> Result<i64, String> {
        let of = |expr| self.eval(expr);
        Ok(match expr {
            Expr::Int(value) => *value,
            Expr::Name(name) => {
                let v6 = self.settings.ip_version == IpVersion::V6;
                names::value(name, v6).ok_or_else(|| format!("{name} is not known"))?
            }
            Expr::Not(inner) => !of(inner)?,
            Expr::Binary(left, op, right) => {
                let (left, right) = (of(left)?, of(right)?);
                match op {
                    BinaryOp::Or => left | right,
                    BinaryOp::And => left & right,
                    BinaryOp::Add => left.wrapping_add(right),
                    BinaryOp::Sub => left.wrapping_sub(right),
                    BinaryOp::Mul => left.wrapping_mul(right),
                    BinaryOp::Shl => left.wrapping_shl(right as u32),
                }
            }
            Expr::Apply(name, args) => match (name.as_str(), args.as_slice()) {
                ("htons" | "ntohs" | "htonl" | "ntohl", [value]) => of(value)?,
                ("inet_addr", [Expr::Text(text)]) => {
                    let ip = String::from_utf8_lossy(text).parse::<core::net::Ipv4Addr>();
                    ip.map(|ip| u32::from(ip).into()).map_err(|_| "inet_addr of no address".to_owned())?
                }
                _ => return Err(format!("{name}() is not known")),
            },
            // The only element of a list: what a pointer points to.
            Expr::List(items) if items.len() == 1 => of(&items[0])?,
            other => return Err(format!("{other:?} is no number")),
        })
    }

    /// Whether the argument is a null pointer.
    pub(super) fn is_null(&self, at: usize) -> bool {
        matches!(self.call.args.get(at), Some(Expr::Name(name)) if name == "NULL")
            || matches!(self.call.args.get(at), Some(Expr::Int(0)))
    }

    /// The address of a `struct sockaddr`, `usual` where the script leaves it open; none for `AF_UNSPEC`.
    pub(super) fn address(&self, at: usize, usual: SockAddr) -> Result<Option<SockAddr>, Wrong> {
        let Expr::Struct(fields) = self.get(at)? else { return Ok(Some(usual)) };
        let field = |names: &[&str]| fields.iter().find(|(name, _)| names.contains(&name.as_str()));
        if let Some((_, family)) = field(&["sa_family", "sin_family", "sin6_family"])
            && self.eval(family)? == i64::from(libc::AF_UNSPEC)
        {
            return Ok(None);
        }
        let port = match field(&["sin_port", "sin6_port"]) {
            Some((_, port)) => self.eval(port)? as u16,
            None => usual.port,
        };
        let ip = match field(&["sin_addr", "sin6_addr"]) {
            Some((_, Expr::Apply(_, args))) => args.iter().rev().find_map(|arg| match arg {
                Expr::Text(text) => String::from_utf8_lossy(text).parse::<IpAddr>().ok(),
                _ => None,
            }),
            _ => None,
        };
        Ok(Some(SockAddr::from(SocketAddr::new(ip.unwrap_or(usual.ip_addr()), port))))
    }

    /// The sizes of the buffers in `msg_iov=[{..., 1000}, {..., 500}]`, or of such a list itself.
    pub(super) fn buffers(&self, expr: &Expr) -> Result<Vec<usize>, Wrong> {
        let Expr::List(items) = expr else { return Err(Wrong::from("buffers are a list".to_owned())) };
        let size = |item: &Expr| match item {
            Expr::Struct(fields) => match fields.as_slice() {
                [_, (_, len)] => Ok(self.eval(len)? as usize),
                _ => Err(Wrong::from("a buffer is {address, length}".to_owned())),
            },
            other => Err(Wrong::from(format!("{other:?} is no buffer"))),
        };
        items.iter().map(size).collect()
    }
}

/// A field of a structure.
pub(super) fn field<'a>(expr: &'a Expr, name: &str) -> Option<&'a Expr> {
    match expr {
        Expr::Struct(fields) => fields.iter().find(|(given, _)| given == name).map(|(_, value)| value),
        _ => None,
    }
}

/// The time of a timeout in milliseconds; none for a negative one, which is for ever.
pub(super) fn timeout(millis: i64) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

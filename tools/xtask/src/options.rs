//! `cargo xtask options`: docs/options.md, from the table of options in crate `posix`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use sockeye_packet::Instant;
use sockeye_posix::options::{On, Reads, Row, TABLE, Target, Treatment, Type, find};
use sockeye_posix::{SocketKind, Stored};
use sockeye_stack::{Config, Domain, OptionName, Owner, SocketType, Stack};

/// Where the table is written to.
const FILE: &str = "docs/options.md";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail when the file is not what would be written
    #[arg(long)]
    check: bool,
}

/// Writes the file, or says whether it is up to date.
pub(crate) fn run(root: &Path, args: &Args) -> Result<bool, Box<dyn Error>> {
    let file = root.join(FILE);
    if !args.check {
        std::fs::write(&file, document())?;
        return Ok(true);
    }
    let is_fresh = std::fs::read_to_string(&file).is_ok_and(|text| text == document());
    if !is_fresh {
        eprintln!("options: {FILE} is stale: run `cargo xtask options`");
    }
    Ok(is_fresh)
}

const HEAD: &str = "\
# Socket options

<!-- Written by `cargo xtask options` from crates/posix/src/options/rows.rs: change that, and run it. -->

What `setsockopt` and `getsockopt` know, for programs under `sockeye run` and for C programs. Each option is

- **honoured**: something acts on it: the stack, or what carries messages between stack and program;
- **stored**: it reads back as it was set, and nothing else comes of it;
- **read only**: setting it is ENOPROTOOPT;
- **refused**: setting it fails with the errno that stands there; where it says *if on*, 0 succeeds.

An option that isn't here is ENOPROTOOPT, as are options of `IPPROTO_IPV6` on sockets of IPv4. Values that are too short
or out of range are EINVAL. Rights are an ordinary user's, whoever runs the program. Numbers are `int`; at `IPPROTO_IP`
one byte will do. Defaults are those of a new socket. An accepted socket has the options of its listener.

`crates/posix/tests/kernel` sets and reads every number of these levels on sockets of the running kernel and compares;
what differs is listed there with its reason.
";

fn document() -> String {
    let mut text = String::from(HEAD);
    let mut level = None;
    for row in TABLE {
        if level != Some(row.level) {
            level = Some(row.level);
            write!(text, "\n## `{}`\n\n", level_name(row.level)).expect("a string takes everything");
            text += "| option | number | sockets | value | default | treatment | |\n|---|---|---|---|---|---|---|\n";
        }
        let cells = [
            format!("`{}`", row.label),
            row.name.to_string(),
            sockets(row.on),
            value(row),
            default(row),
            treatment(row.treatment),
            row.note.to_owned(),
        ];
        writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes everything");
    }
    text
}

fn level_name(level: i32) -> String {
    const NAMES: [(i32, &str); 9] = [
        (1, "SOL_SOCKET"),
        (0, "IPPROTO_IP"),
        (6, "IPPROTO_TCP"),
        (17, "IPPROTO_UDP"),
        (41, "IPPROTO_IPV6"),
        (58, "IPPROTO_ICMPV6"),
        (136, "IPPROTO_UDPLITE"),
        (255, "SOL_RAW"),
        (263, "SOL_PACKET"),
    ];
    NAMES
        .iter()
        .find(|(number, _)| *number == level)
        .map_or_else(|| level.to_string(), |(_, name)| (*name).to_owned())
}

fn sockets(on: On) -> String {
    match on {
        On::All => "all".to_owned(),
        On::Stream => "TCP".to_owned(),
        On::NotStream => "all but TCP".to_owned(),
        On::Datagram => "UDP, UDP-Lite, ping".to_owned(),
        On::Raw => "raw".to_owned(),
        On::Udp => "UDP".to_owned(),
        On::UdpLite => "UDP-Lite".to_owned(),
    }
}

fn value(row: &Row) -> String {
    match (row.treatment, row.value) {
        (_, Type::Flag) => "flag".to_owned(),
        (_, Type::Int(i32::MIN, i32::MAX)) => "int".to_owned(),
        (_, Type::Int(0, i32::MAX)) => "int, at least 0".to_owned(),
        (_, Type::Int(min, max)) if min == max => format!("{min}"),
        (_, Type::Int(min, max)) => format!("{min} to {max}"),
        (_, Type::OrDefault(min, max)) => format!("{min} to {max}, or -1 for the default"),
        (_, Type::Field) => "structure".to_owned(),
    }
}

/// What a new socket answers that has the option.
fn default(row: &Row) -> String {
    let kinds = [SocketType::Stream, SocketType::Datagram, SocketType::DatagramLite, SocketType::Ping];
    let domain = if row.level == 41 { Domain::Inet6 } else { Domain::Inet };
    let Some(kind) = kinds.into_iter().find(|kind| row.on.includes(*kind)) else { return String::new() };
    let mut stack = Stack::new(Config::default(), [1; 32]);
    let Ok(id) = stack.socket(domain, kind, Owner::default()) else { return String::new() };
    let kind = SocketKind { domain, kind };
    if find(kind, row.level, row.name) != Some(row) || is_of_the_socket(row.treatment) {
        return String::new();
    }
    let stored = &mut Stored::default();
    let read = Target { stack: &mut stack, now: Instant::ZERO, id, kind, stored }.get(row.level, row.name);
    match read.map(|value| value.cut_to(16).map(<[u8]>::to_vec)) {
        Err(errno) if !matches!(row.treatment, Treatment::Refused(..)) => errno.to_string(),
        Err(_) | Ok(Err(_)) => String::new(),
        Ok(Ok(bytes)) => match (bytes.len(), bytes.first_chunk()) {
            (0, _) => "empty".to_owned(),
            (4, Some(number)) => i32::from_ne_bytes(*number).to_string(),
            _ if bytes.iter().all(|byte| *byte == 0) => "zeros".to_owned(),
            _ if bytes.iter().all(|byte| *byte == 255) => "no limit".to_owned(),
            _ => {
                let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                String::from_utf8(text.to_vec()).ok().filter(|text| text.is_ascii()).unwrap_or_default()
            }
        },
    }
}

/// Whether there is no default: each socket has its own value.
fn is_of_the_socket(treatment: Treatment) -> bool {
    matches!(treatment, Treatment::OfKind(_) | Treatment::Fact(_) | Treatment::Groups(..))
}

fn treatment(treatment: Treatment) -> String {
    match treatment {
        Treatment::Honoured(OptionName::AcceptsConnections)
        | Treatment::ReadOnly(_)
        | Treatment::OfKind(_)
        | Treatment::Fact(_) => "read only".to_owned(),
        Treatment::Honoured(_)
        | Treatment::Asks
        | Treatment::Timeout(_)
        | Treatment::Timestamp
        | Treatment::Timestamping
        | Treatment::Device
        | Treatment::Mtu
        | Treatment::Groups(..)
        | Treatment::Filter(_)
        | Treatment::StickyPacketInfo => "honoured".to_owned(),
        Treatment::Stored { .. }
        | Treatment::Rate
        | Treatment::Linger
        | Treatment::LowWater
        | Treatment::Backlog
        | Treatment::AddressPreferences
        | Treatment::Priority
        | Treatment::TransmitTime => "stored".to_owned(),
        Treatment::Ignored(Reads::Int(value)) => format!("ignored: reads {value}"),
        Treatment::Ignored(_) => "ignored".to_owned(),
        Treatment::OnlyNone(errno) => format!("refused unless empty: {errno}"),
        Treatment::Forbidden(errno, _) => format!("refused if on: {errno}"),
        Treatment::Refused(errno, _) => format!("refused: {errno}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_the_table_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
        assert!(text == document(), "{FILE} is stale: run `cargo xtask options`");
    }
}

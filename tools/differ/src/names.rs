//! Numbers by the names that C has for them.

use sockeye_posix::options::TABLE;

pub(crate) fn family(family: i32) -> String {
    match family {
        libc::AF_UNSPEC => "AF_UNSPEC".into(),
        libc::AF_INET => "AF_INET".into(),
        libc::AF_INET6 => "AF_INET6".into(),
        other => format!("family {other}"),
    }
}

pub(crate) fn kind(kind: i32) -> String {
    match kind {
        libc::SOCK_STREAM => "SOCK_STREAM".into(),
        libc::SOCK_DGRAM => "SOCK_DGRAM".into(),
        libc::SOCK_RAW => "SOCK_RAW".into(),
        other => format!("type {other}"),
    }
}

pub(crate) fn option((level, name): (i32, i32)) -> String {
    let row = TABLE.iter().find(|row| (row.level, row.name) == (level, name));
    row.map_or_else(|| format!("level {level} name {name}"), |row| row.label.to_owned())
}

pub(crate) fn flags(flags: i32) -> String {
    const NAMES: [(i32, &str); 6] = [
        (libc::MSG_PEEK, "PEEK"),
        (libc::MSG_OOB, "OOB"),
        (libc::MSG_TRUNC, "TRUNC"),
        (libc::MSG_MORE, "MORE"),
        (libc::MSG_WAITALL, "WAITALL"),
        (libc::MSG_EOR, "EOR"),
    ];
    spelled(flags, &NAMES)
}

pub(crate) fn bits(mask: i16) -> String {
    const NAMES: [(i32, &str); 6] = [
        (libc::POLLIN as i32, "IN"),
        (libc::POLLPRI as i32, "PRI"),
        (libc::POLLOUT as i32, "OUT"),
        (libc::POLLERR as i32, "ERR"),
        (libc::POLLHUP as i32, "HUP"),
        (libc::POLLRDHUP as i32, "RDHUP"),
    ];
    spelled(mask.into(), &NAMES)
}

fn spelled(bits: i32, names: &[(i32, &str)]) -> String {
    let set: Vec<&str> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "0".into() } else { set.join("|") }
}

//! What is read rather than tried: the kernel's version and settings, limits, addresses, files.

use super::Finding;
use crate::control::place::Folder;
use crate::dns::ResolvConf;
use crate::reach;
use rustix::fs::{Access, access};
use rustix::process::{Resource, getegid, geteuid, getgroups, getrlimit};
use rustix::thread::CapabilitySet;
use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The first kernel that answers a call and hands over a descriptor in one step.
const KERNEL: (u32, u32) = (5, 14);

pub(super) fn kernel() -> Finding {
    kernel_of(fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim())
}

pub(super) fn kernel_of(release: &str) -> Finding {
    const WHAT: &str = "kernel";
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let found = format!("Linux {}", if release.is_empty() { "of unknown version" } else { release });
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < KERNEL => Finding::missing(
            WHAT,
            found,
            "accepted connections can't be handed to programs; use Linux 5.14 or later",
        ),
        _ => Finding::ok(WHAT, found),
    }
}

/// Descriptors that sockeye itself needs, about.
const OWN_DESCRIPTORS: u64 = 64;
/// Descriptors of a connection between two programs: the supervisor's end of either's plug.
const PER_CONNECTION: u64 = 2;
/// Room for fewer connections than this is little.
const CONNECTIONS: u64 = 2000;

pub(super) fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    open_files_of(limit.current, limit.maximum)
}

pub(super) fn open_files_of(soft: Option<u64>, hard: Option<u64>) -> Finding {
    const WHAT: &str = "open files";
    let word = |limit: Option<u64>| limit.map_or("no limit".to_owned(), |limit| limit.to_string());
    let limits = format!("soft {}, hard {}", word(soft), word(hard));
    // The supervisor raises its soft limit to the hard one.
    let Some(room) = hard.map(|hard| hard.saturating_sub(OWN_DESCRIPTORS) / PER_CONNECTION) else {
        return Finding::ok(WHAT, limits);
    };
    let found = format!("{limits}: about {room} connections at once");
    if room >= CONNECTIONS {
        Finding::ok(WHAT, found)
    } else {
        let advice =
            "a connection takes two of them; raise the hard limit (ulimit -Hn, limits.conf, LimitNOFILE=)";
        Finding::limited(WHAT, found, advice)
    }
}

pub(super) fn ping() -> Finding {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
    let mut groups: Vec<_> =
        getgroups().unwrap_or_default().into_iter().map(rustix::fs::Gid::as_raw).collect();
    groups.push(getegid().as_raw());
    ping_of(&range, &groups, reach::has_capability(CapabilitySet::NET_RAW))
}

pub(super) fn ping_of(range: &str, groups: &[u32], raw: bool) -> Finding {
    const WHAT: &str = "ping";
    let bounds: Vec<u32> = range.split_whitespace().filter_map(|bound| bound.parse().ok()).collect();
    let ours = |&group: &u32| matches!(bounds[..], [first, last] if (first..=last).contains(&group));
    if groups.iter().any(ours) {
        Finding::ok(WHAT, "our group may open ping sockets")
    } else if raw {
        Finding::ok(WHAT, "raw sockets are allowed")
    } else {
        Finding::limited(
            WHAT,
            "no group of ours is in net.ipv4.ping_group_range",
            "hosts outside the network can't be pinged; sysctl net.ipv4.ping_group_range=\"0 2147483647\"",
        )
    }
}

pub(super) fn ipv6() -> Finding {
    ipv6_of(fs::read_to_string("/proc/net/if_inet6").ok().as_deref())
}

/// From the kernel's table: address, interface's number, prefix length, scope, flags and interface's name.
pub(super) fn ipv6_of(table: Option<&str>) -> Finding {
    const WHAT: &str = "IPv6 of the machine";
    const ADVICE: &str = "hosts outside are reached by IPv4 only; inside the network IPv6 works all the same";
    let Some(table) = table else { return Finding::limited(WHAT, "switched off", ADVICE) };
    let addresses = table.lines().filter_map(|line| {
        let digits = line.split_whitespace().next()?;
        Some(Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?))
    });
    let beyond = |address: &Ipv6Addr| !address.is_loopback() && !address.is_unicast_link_local();
    match addresses.filter(beyond).count() {
        0 => Finding::limited(WHAT, "no address beyond this link", ADVICE),
        1 => Finding::ok(WHAT, "an address"),
        count => Finding::ok(WHAT, format!("{count} addresses")),
    }
}

pub(super) fn resolvers() -> Finding {
    const WHAT: &str = "name servers";
    const FILE: &str = "/etc/resolv.conf";
    if let Err(error) = fs::metadata(FILE) {
        let found = format!("{FILE}: {}", crate::launch::plain(&error));
        return Finding::limited(
            WHAT,
            found,
            "names of hosts outside can't be looked up; name a server there",
        );
    }
    let servers: Vec<_> = ResolvConf::of_this_machine().servers.iter().map(ToString::to_string).collect();
    Finding::ok(WHAT, servers.join(", "))
}

pub(super) fn control_files() -> Finding {
    control_files_in(&Folder::path_of_this_user(), geteuid().as_raw())
}

pub(super) fn control_files_in(folder: &Path, user: u32) -> Finding {
    const WHAT: &str = "control files";
    const ADVICE: &str = "networks can't be given names";
    let shown = folder.display();
    match fs::symlink_metadata(folder) {
        Ok(found) if !found.is_dir() => {
            Finding::limited(WHAT, format!("{shown} is no folder"), format!("{ADVICE}; remove it"))
        }
        Ok(found) if found.uid() != user => Finding::limited(
            WHAT,
            format!("{shown} belongs to user {}", found.uid()),
            format!("{ADVICE}; set XDG_RUNTIME_DIR to a folder of yours"),
        ),
        Ok(found) if found.mode() & 0o777 != 0o700 => Finding::limited(
            WHAT,
            format!("{shown} has mode {:o}", found.mode() & 0o777),
            format!("{ADVICE}, as others might use them; chmod 700 {shown}"),
        ),
        Ok(_) => Finding::ok(WHAT, format!("in {shown}")),
        Err(error) => {
            let parent = folder.parent().unwrap_or(Path::new("/"));
            let error = match error.kind() {
                io::ErrorKind::NotFound => {
                    access(parent, Access::WRITE_OK | Access::EXEC_OK).err().map(io::Error::from)
                }
                _ => Some(error),
            };
            let Some(error) = error else {
                return Finding::ok(WHAT, format!("in {shown}, made when needed"));
            };
            Finding::limited(
                WHAT,
                format!("{shown} can't be made: {}", crate::launch::plain(&error)),
                format!("{ADVICE}; set XDG_RUNTIME_DIR to a folder of yours"),
            )
        }
    }
}

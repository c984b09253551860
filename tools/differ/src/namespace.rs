//! A network namespace of our own, without names: it is gone with the process.

use std::error::Error;

use rustix::thread::{CapabilitySet, UnshareFlags};
use sockeye_posix::Errno;

use crate::answer::PICKED;
use crate::sys;

/// What the kernel's host is set to, beside its defaults.
const SETTINGS: [(&str, &str); 4] = [
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv6/icmp/ratelimit", "0"),
    ("ipv6/conf/lo/disable_ipv6", "0"),
    ("ipv4/tcp_syncookies", "1"),
];

/// Moves this process, which has one thread, into a new namespace, for root or for whoever may have a user
/// namespace.
pub(crate) fn enter() -> Result<(), Box<dyn Error>> {
    if !rustix::process::geteuid().is_root() {
        let group = rustix::process::getegid().as_raw();
        unshare(UnshareFlags::NEWUSER).map_err(|error| format!("no user namespace: {error}"))?;
        // Ping sockets are for groups that have numbers there.
        std::fs::write("/proc/self/setgroups", "deny").map_err(|error| format!("setgroups: {error}"))?;
        std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
            .map_err(|error| format!("gid_map: {error}"))?;
    }
    renew()
}

/// A fresh namespace: nothing waits in it for its end.
pub(crate) fn renew() -> Result<(), Box<dyn Error>> {
    privileged(true)?;
    unshare(UnshareFlags::NEWNET).map_err(|error| format!("no network namespace: {error}"))?;
    sys::raise_loopback().map_err(|error| format!("no loopback interface: {error}"))?;
    let range = format!("{PICKED} 60999");
    let group = rustix::process::getegid().as_raw();
    let groups = format!("{group} {group}");
    let ranges = [("ipv4/ip_local_port_range", range.as_str()), ("ipv4/ping_group_range", groups.as_str())];
    for (name, value) in SETTINGS.into_iter().chain(ranges) {
        std::fs::write(format!("/proc/sys/net/{name}"), value)
            .map_err(|error| format!("/proc/sys/net/{name}: {error}"))?;
    }
    privileged(false)
}

/// Makes a call with the rights that sockets of packets need.
pub(crate) fn with_rights<T>(call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    privileged(true).map_err(|_| Errno::EPERM)?;
    let result = call();
    privileged(false).map_err(|_| Errno::EPERM)?;
    result
}

/// Takes up the rights that namespaces need, or lays them down: Sockeye's programs are ordinary users.
fn privileged(on: bool) -> Result<(), Box<dyn Error>> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective = if on { sets.permitted } else { CapabilitySet::empty() };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

fn unshare(what: UnshareFlags) -> rustix::io::Result<()> {
    #[expect(deprecated, reason = "unsafe only with CLONE_FILES; namespaces are no matter of memory")]
    rustix::thread::unshare(what)
}

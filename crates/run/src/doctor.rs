//! What this machine offers for running programs: each thing is tried, not looked up by the kernel's version,
//! since containers and security modules refuse what the kernel has.

mod surroundings;

use crate::launch::Child;
use crate::mirror;
use crate::reach;
use crate::sys::{self, Confinement};
use crate::{filter, launch};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, geteuid, getpid, pidfd_getfd, pidfd_open};
use rustix::thread::CapabilitySet;
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

/// How well something serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// All works.
    Ok,
    /// Programs run, but something works less well.
    Limited,
    /// No program can be run.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How well it serves.
    pub mark: Mark,
    /// What it is.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What works less without it, and what to do about that; empty when it is all right.
    pub advice: String,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Finding {
        Finding { mark: Mark::Ok, what, found: found.into(), advice: String::new() }
    }

    fn limited(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { mark: Mark::Limited, what, found: found.into(), advice: advice.into() }
    }

    fn missing(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { mark: Mark::Missing, what, found: found.into(), advice: advice.into() }
    }
}

/// Looks at this machine, as this user and in this container. Starts a thread and a child for that, and ends them.
pub fn examine() -> Vec<Finding> {
    let listener = listener();
    let mut findings = vec![
        surroundings::kernel(),
        notification(&listener),
        supervised(&listener),
        memory(&child_is_readable(), reach::ptrace_scope()),
        other_users(geteuid().is_root(), reach::has_capability(CapabilitySet::SYS_PTRACE)),
    ];
    if let Ok(listener) = &listener {
        findings.push(wake_up(&sys::set_sync_wake_up(listener.as_fd())));
    }
    findings.extend([
        descriptors(&own_descriptor_is_fetched()),
        threads(sys::threads_have_descriptors()),
        landlock(sys::landlock_abi().ok()),
        privileges(
            reach::has_capability(CapabilitySet::SYS_ADMIN)
                && !rustix::thread::no_new_privs().unwrap_or(false),
        ),
        surroundings::open_files(),
        surroundings::ping(),
        packet_sockets(&mirror::try_out()),
        surroundings::ipv6(),
        surroundings::resolvers(),
        surroundings::control_files(),
    ]);
    findings
}

/// A listener as a program's filter has one; the thread that made it has ended.
fn listener() -> io::Result<OwnedFd> {
    let confinement = Confinement {
        filter: &filter::allow_all(),
        no_new_privs: !reach::has_capability(CapabilitySet::SYS_ADMIN),
        landlock: None,
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || sys::confine_this_thread(&confinement))?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread failed")))
    })
}

fn is_supervised(listener: &io::Result<OwnedFd>) -> bool {
    listener.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
}

fn notification(listener: &io::Result<OwnedFd>) -> Finding {
    const WHAT: &str = "seccomp notification";
    match listener {
        Ok(_) => Finding::ok(WHAT, "works"),
        Err(_) if is_supervised(listener) => Finding::ok(WHAT, "works"),
        Err(error) => Finding::missing(
            WHAT,
            format!("seccomp: {}", launch::plain(error)),
            "no program can be run: nobody would tell sockeye of its calls; use a kernel with \
             CONFIG_SECCOMP_FILTER, or a container that allows seccomp",
        ),
    }
}

fn supervised(listener: &io::Result<OwnedFd>) -> Finding {
    const WHAT: &str = "no other supervisor";
    if is_supervised(listener) {
        Finding::missing(
            WHAT,
            "this process is supervised already",
            "no program can be run: one supervisor can't hold another; start sockeye outside of `sockeye run` \
             and of containers whose manager supervises them",
        )
    } else {
        Finding::ok(WHAT, "this process is not supervised")
    }
}

fn child_is_readable() -> io::Result<()> {
    let pid = Pid::from_raw(sys::spawn_idle_child()?).ok_or_else(|| io::Error::other("no process"))?;
    let child = Child::new(pid);
    reach::read_child(child.pid())
}

fn memory(read: &io::Result<()>, ptrace_scope: Option<u8>) -> Finding {
    const WHAT: &str = "programs' memory";
    let mut found = match read {
        Ok(()) => "can be read".to_owned(),
        Err(error) => format!("can't be read ({})", launch::plain(error)),
    };
    if let Some(scope) = ptrace_scope {
        // Writing to a String can't fail.
        write!(found, "; kernel.yama.ptrace_scope is {scope}").ok();
    }
    if read.is_ok() {
        Finding::ok(WHAT, found)
    } else {
        Finding::missing(WHAT, found, format!("no program can be run: {}", reach::why_not(ptrace_scope)))
    }
}

fn other_users(root: bool, debugs_all: bool) -> Finding {
    const WHAT: &str = "programs' users";
    match (root, debugs_all) {
        (_, true) => Finding::ok(WHAT, "programs of any user can be answered"),
        (true, false) => Finding::limited(
            WHAT,
            "root without CAP_SYS_PTRACE",
            "programs that change their user, as many servers do, get EPERM from their socket calls; run sockeye \
             with that capability (docker run --cap-add SYS_PTRACE)",
        ),
        (false, false) => Finding::ok(WHAT, "programs are this user's"),
    }
}

fn wake_up(set: &io::Result<()>) -> Finding {
    const WHAT: &str = "waking on one CPU";
    match set {
        Ok(()) => Finding::ok(WHAT, "works"),
        Err(error) => Finding::limited(
            WHAT,
            format!("SYNC_WAKE_UP: {}", launch::plain(error)),
            "each socket call takes some 50 µs instead of 10 to 17; Linux 6.6 has it",
        ),
    }
}

fn own_descriptor_is_fetched() -> io::Result<()> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    // The descriptor itself: one that is open for certain.
    let number = std::os::fd::AsRawFd::as_raw_fd(&own);
    Ok(pidfd_getfd(&own, number, PidfdGetfdFlags::empty()).map(drop)?)
}

fn descriptors(fetched: &io::Result<()>) -> Finding {
    const WHAT: &str = "programs' descriptors";
    match fetched {
        Ok(()) => Finding::ok(WHAT, "can be fetched"),
        Err(error) => Finding::limited(
            WHAT,
            format!("pidfd_getfd: {}", launch::plain(error)),
            "sockets are told apart by their inodes instead: closed sockets are noticed up to a second late; resets \
             after a half-close look like ends; allow pidfd_getfd (docker run --cap-add SYS_PTRACE)",
        ),
    }
}

fn threads(have_descriptors: bool) -> Finding {
    const WHAT: &str = "threads by descriptor";
    if have_descriptors {
        Finding::ok(WHAT, "works")
    } else {
        Finding::limited(
            WHAT,
            "PIDFD_THREAD is not known",
            "a thread that doesn't share its process's descriptors (unshare) is answered wrongly; Linux 6.9 has it",
        )
    }
}

/// The Landlock version that has scopes (Linux 6.12).
const LANDLOCK_SCOPED: u32 = 6;

fn landlock(abi: Option<u32>) -> Finding {
    const WHAT: &str = "Landlock";
    match abi {
        Some(abi) if abi >= LANDLOCK_SCOPED => Finding::ok(WHAT, format!("version {abi}, with scopes")),
        older => Finding::limited(
            WHAT,
            older.map_or("none".to_owned(), |abi| format!("version {abi}, without scopes")),
            "programs are less confined: they can signal this user's processes outside the network; \
             Linux 6.12 with Landlock enabled has the scopes",
        ),
    }
}

fn packet_sockets(mirrored: &io::Result<()>) -> Finding {
    const WHAT: &str = "packet sockets";
    match mirrored {
        Ok(()) => Finding::ok(WHAT, "work, in namespaces of this user"),
        Err(error) => Finding::limited(
            WHAT,
            format!("no namespaces: {}", launch::plain(error)),
            "tcpdump, hping3, nmap's SYN scan and their like get EPERM; allow this user namespaces (sysctl \
             user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0; in a container \
             docker run --security-opt seccomp=unconfined), with the kernel's module veth",
        ),
    }
}

fn privileges(gained: bool) -> Finding {
    const WHAT: &str = "setuid programs";
    if gained {
        Finding::ok(WHAT, "gain their rights")
    } else {
        Finding::limited(
            WHAT,
            "gain no rights (no_new_privs)",
            "sudo, su and the like fail under `sockeye run`; run sockeye as root for programs that need them",
        )
    }
}

#[cfg(test)]
mod tests;

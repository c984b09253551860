//! Whether the supervisor may reach into a program: read its memory, fetch its descriptors. The kernel asks for
//! the rights of a debugger, which an ancestor has unless somebody took them away.

use crate::sys;
use rustix::process::Pid;
use rustix::thread::{CapabilitySet, capabilities};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// Where Yama, a security module, says who may debug whom.
const PTRACE_SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

/// What is read to find out: it has the same address in the child of a fork.
static LANDMARK: u8 = 42;

/// Reads a byte of a child that has forked and not executed anything yet.
pub(crate) fn read_child(pid: Pid) -> io::Result<()> {
    let mut byte = [0];
    let address = std::ptr::from_ref(&LANDMARK).addr() as u64;
    sys::read_memory(pid.as_raw_nonzero().get().cast_unsigned(), &[(address, 1)], &mut byte)?;
    if byte[0] == LANDMARK { Ok(()) } else { Err(io::Error::other("another process was read")) }
}

/// Yama's setting; none on a kernel without Yama.
pub(crate) fn ptrace_scope() -> Option<u8> {
    std::fs::read_to_string(PTRACE_SCOPE).ok()?.trim().parse().ok()
}

/// Why a child's memory can't be read under this setting of Yama's, and what to do about it.
pub(crate) fn why_not(ptrace_scope: Option<u8>) -> &'static str {
    match ptrace_scope {
        Some(2) => {
            "kernel.yama.ptrace_scope is 2, which leaves that to root; \
             set it to 1 (sysctl kernel.yama.ptrace_scope=1), or run sockeye as root"
        }
        Some(3) => {
            "kernel.yama.ptrace_scope is 3, which forbids it to everybody until the next boot; \
             set it to 1 in /etc/sysctl.d and boot again"
        }
        _ => {
            "a container's filter or a security module forbids process_vm_readv; \
             allow it (docker run --cap-add SYS_PTRACE)"
        }
    }
}

/// Whether this thread has a capability. Root in a container often lacks some, so its name says little.
pub(crate) fn has_capability(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// How many seccomp filters a process has (Linux 5.9): a supervised program has one more than its supervisor.
pub(crate) fn filters_of(process: &str) -> io::Result<u32> {
    Ok(status_of(process, "Seccomp_filters:")?.unwrap_or_default())
}

/// The user that a process acts as.
pub(crate) fn user_of(process: &str) -> io::Result<u32> {
    status_of(process, "Uid:")?.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The first number of a line in a process's status, which anybody may read.
fn status_of(process: &str, title: &str) -> io::Result<Option<u32>> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(title));
    Ok(line.and_then(|line| line.split_whitespace().next()?.parse().ok()))
}

/// The socket that a link in `/proc/PID/fd` names.
pub(crate) fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The programs of which was said that they can't be reached, by name.
#[derive(Debug, Default)]
pub(crate) struct Unreached(BTreeSet<String>);

impl Unreached {
    /// Of how many programs this is said: they choose their names, so one could say it without end.
    const TOLD_MAX: usize = 32;

    /// Says on standard error, once for a program, that the calls of this thread's program fail.
    pub(crate) fn tell(&mut self, tid: u32) {
        let name = std::fs::read(format!("/proc/{tid}/comm")).unwrap_or_default();
        if let Some(line) = self.line(&name) {
            eprintln!("{line}");
        }
    }

    fn line(&mut self, name: &[u8]) -> Option<String> {
        let name = name.trim_ascii_end().escape_ascii().to_string();
        (self.0.len() < Self::TOLD_MAX && self.0.insert(name.clone())).then(|| {
            format!(
                "sockeye: may not reach into {name}, so its socket calls fail (EPERM): it runs as another user, its \
                 executable can't be read, or a container forbids it; CAP_SYS_PTRACE helps"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_a_remedy() {
        for (scope, word) in
            [(Some(2), "root"), (Some(3), "boot"), (Some(1), "container"), (None, "container")]
        {
            assert!(why_not(scope).contains(word), "{scope:?}");
        }
    }

    #[test]
    fn a_process_reads_itself() {
        read_child(rustix::process::getpid()).unwrap();
    }

    #[test]
    fn a_program_is_told_of_once_and_its_name_is_only_text() {
        let mut unreached = Unreached::default();
        let line = unreached.line(b"evil\x1b[2J\n").unwrap();
        assert!(line.contains(r"into evil\x1b[2J, so"), "{line}");
        assert_eq!(unreached.line(b"evil\x1b[2J\n"), None);
        let told = (0..1000).filter(|n| unreached.line(format!("p{n}").as_bytes()).is_some()).count();
        assert_eq!(told, Unreached::TOLD_MAX - 1);
    }
}

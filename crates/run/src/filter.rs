//! The seccomp program: which system calls of a program are intercepted.
//!
//! It looks at the arguments in registers, so that what a plug does natively costs nothing: `read`, `write`,
//! `send`, `recv`, `poll` and `epoll` are never taken, local sockets are made by the kernel. The numbers of
//! both architectures stand in one table. Invariant: a call of another architecture never runs, since its
//! numbers mean other calls.

use libc::sock_filter;
use sockeye_posix::interface;

/// An intercepted system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syscall {
    Socket,
    Bind,
    Listen,
    Accept,
    Accept4,
    Connect,
    Shutdown,
    GetSockName,
    GetPeerName,
    SetSockOpt,
    GetSockOpt,
    SendTo,
    RecvFrom,
    SendMsg,
    RecvMsg,
    SendMMsg,
    RecvMMsg,
    Ioctl,
    OpenAt,
    IoUringSetup,
    Prctl,
}

/// When a call is intercepted.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Always.
    Always,
    /// By the family, the first argument.
    Family,
    /// When this argument is no null pointer.
    Pointer(u32),
    /// By the address, or when it may be a request of a route socket.
    Send,
    /// Unless (level, name), the second and third argument, is one of these.
    ExceptOptions(&'static [u32]),
    /// When the request, the second argument, is one of ours; never when it would reach the machine's interfaces.
    Request,
    /// When a file is opened by its whole path for reading, with no other flag, as `fopen` does it.
    PlainRead,
    /// Never: it fails with this errno.
    Refused(i32),
    /// Never, but `PR_SET_DUMPABLE` with zero is not done and said to be done.
    StaysDumpable,
}

/// Options of `SOL_SOCKET` that work on a plug as they are: the timeouts of reading and writing.
const NATIVE_OPTIONS: &[u32] = &[20, 21, 66, 67];
/// The length of musl's requests for all links or addresses, which it sends by `send` without flags and whose
/// answer it reads at once, without waiting: so it has to be there when `send` returns. Other programs pay for
/// that with an interception of their sends of just this length.
const ROUTE_REQUEST_LEN: u32 = 20;

/// Call, number on x86-64, number on aarch64, rule.
const CALLS: [(Syscall, i32, i32, Rule); 21] = [
    (Syscall::RecvMsg, 47, 212, Rule::Always),
    (Syscall::SendMsg, 46, 211, Rule::Always),
    (Syscall::RecvFrom, 45, 207, Rule::Pointer(4)),
    (Syscall::SendTo, 44, 206, Rule::Send),
    (Syscall::Accept4, 288, 242, Rule::Always),
    (Syscall::Accept, 43, 202, Rule::Always),
    (Syscall::Connect, 42, 203, Rule::Always),
    (Syscall::Socket, 41, 198, Rule::Family),
    (Syscall::SetSockOpt, 54, 208, Rule::ExceptOptions(NATIVE_OPTIONS)),
    (Syscall::GetSockOpt, 55, 209, Rule::ExceptOptions(NATIVE_OPTIONS)),
    (Syscall::GetSockName, 51, 204, Rule::Always),
    (Syscall::GetPeerName, 52, 205, Rule::Always),
    (Syscall::Shutdown, 48, 210, Rule::Always),
    (Syscall::Bind, 49, 200, Rule::Always),
    (Syscall::Listen, 50, 201, Rule::Always),
    (Syscall::SendMMsg, 307, 269, Rule::Always),
    (Syscall::RecvMMsg, 299, 243, Rule::Always),
    (Syscall::Ioctl, 16, 29, Rule::Request),
    // Tables of the machine's network. Most other files are opened with a flag, as close-on-exec; C's `fopen`, the
    // shell's `<` and `cat` use none.
    (Syscall::OpenAt, 257, 56, Rule::PlainRead),
    // A ring would make calls that nobody can intercept; programs fall back to epoll.
    (Syscall::IoUringSetup, 425, 425, Rule::Refused(libc::ENOSYS)),
    (Syscall::Prctl, 157, 167, Rule::StaysDumpable),
];

/// The machine a filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// The one this program was built for.
    pub(crate) const CURRENT: Machine =
        if cfg!(target_arch = "aarch64") { Machine::Aarch64 } else { Machine::X86_64 };

    /// `AUDIT_ARCH_…`: ELF machine, 64-bit, little-endian.
    const fn audit_arch(self) -> u32 {
        match self {
            Machine::X86_64 => 0xc000_003e,
            Machine::Aarch64 => 0xc000_00b7,
        }
    }
}

/// Bit of a call's number that marks the x32 way of calling, on x86-64.
const X32_BIT: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// The low half of an argument (both machines are little-endian).
const fn low(argument: u32) -> u32 {
    16 + 8 * argument
}

impl Syscall {
    /// The call of this number here.
    pub(crate) fn from_number(number: i32) -> Option<Syscall> {
        let ours = |&&(_, x86_64, aarch64, _): &&(Syscall, i32, i32, Rule)| match Machine::CURRENT {
            Machine::X86_64 => number == x86_64,
            Machine::Aarch64 => number == aarch64,
        };
        CALLS.iter().find(ours).map(|&(call, ..)| call)
    }
}

/// Whether a supervisor can reach into programs that have asked not to be debugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It has `CAP_SYS_PTRACE`.
    Everything,
    /// It can't. ssh-agent and its like make that wish to keep their secrets from the user's other processes,
    /// and could not be answered any more: so they are told that it was granted, and it isn't.
    Dumpable,
}

/// The program for a machine.
pub(crate) fn build(machine: Machine, reach: Reach) -> Vec<sock_filter> {
    let mut program = vec![
        load(ARCHITECTURE),
        // Calls of i386 on x86-64, or of any foreign machine: no such call.
        jump_equal(machine.audit_arch(), 1, 0),
        give(errno(libc::ENOSYS)),
        load(NUMBER),
    ];
    if machine == Machine::X86_64 {
        program.extend([jump_at_least(X32_BIT, 0, 1), give(errno(libc::ENOSYS))]);
    }
    for (_, x86_64, aarch64, rule) in CALLS {
        if matches!(rule, Rule::StaysDumpable) && reach == Reach::Everything {
            continue;
        }
        let number = if machine == Machine::X86_64 { x86_64 } else { aarch64 };
        let block = block(rule);
        program.push(jump_equal(number as u32, 0, block.len() as u8));
        program.extend(block);
    }
    program.push(give(libc::SECCOMP_RET_ALLOW));
    program
}

/// A program that takes no call.
pub(crate) fn allow_all() -> [sock_filter; 1] {
    [give(libc::SECCOMP_RET_ALLOW)]
}

/// What follows the comparison with a call's number. Always ends in a return.
fn block(rule: Rule) -> Vec<sock_filter> {
    let notify = give(libc::SECCOMP_RET_USER_NOTIF);
    let allow = give(libc::SECCOMP_RET_ALLOW);
    match rule {
        Rule::Always => vec![notify],
        Rule::Refused(error) => vec![give(errno(error))],
        Rule::Family => vec![
            load(low(0)),
            jump_equal(libc::AF_INET as u32, 5, 0),
            jump_equal(libc::AF_INET6 as u32, 4, 0),
            jump_equal(libc::AF_NETLINK as u32, 3, 0),
            jump_equal(libc::AF_PACKET as u32, 2, 0),
            jump_equal(libc::AF_UNIX as u32, 2, 0),
            // glibc, musl and Go take this for a kernel without the family, and go on without it.
            give(errno(libc::EAFNOSUPPORT)),
            notify,
            allow,
        ],
        Rule::Pointer(argument) => vec![
            load(low(argument)),
            jump_equal(0, 0, 2),
            load(low(argument) + 4),
            jump_equal(0, 1, 0),
            notify,
            allow,
        ],
        Rule::Send => vec![
            load(low(4)),
            jump_equal(0, 0, 6),
            load(low(4) + 4),
            jump_equal(0, 0, 4),
            load(low(2)),
            jump_equal(ROUTE_REQUEST_LEN, 0, 3),
            load(low(3)),
            jump_equal(0, 0, 1),
            notify,
            allow,
        ],
        Rule::ExceptOptions(names) => {
            let mut block = vec![load(low(1)), jump_equal(libc::SOL_SOCKET as u32, 0, 1 + names.len() as u8)];
            block.push(load(low(2)));
            for (index, &name) in names.iter().enumerate() {
                block.push(jump_equal(name, (names.len() - index) as u8, 0));
            }
            block.extend([notify, allow]);
            block
        }
        Rule::StaysDumpable => vec![
            load(low(0)),
            jump_equal(libc::PR_SET_DUMPABLE as u32, 0, 5),
            load(low(1)),
            jump_equal(0, 0, 3),
            load(low(1) + 4),
            jump_equal(0, 0, 1),
            give(errno(0)),
            allow,
        ],
        Rule::PlainRead => vec![
            load(low(0)),
            jump_equal(libc::AT_FDCWD as u32, 0, 3),
            load(low(2)),
            jump_equal(libc::O_RDONLY as u32, 0, 1),
            notify,
            allow,
        ],
        Rule::Request => requests(),
    }
}

/// What becomes of an `ioctl`, by its request.
fn requests() -> Vec<sock_filter> {
    let notify = give(libc::SECCOMP_RET_USER_NOTIF);
    let refused = give(errno(libc::EPERM));
    let [stamp, stamp_ns] = interface::STAMP_REQUESTS;
    let verdicts = [
        (libc::TIOCOUTQ as u32..=libc::TIOCOUTQ as u32, notify),
        (stamp..=stamp_ns, notify),
        (interface::ROUTE_REQUESTS, refused),
        (interface::REQUESTS, notify),
        (interface::DEVICE_REQUESTS, refused),
        (interface::PRIVATE_REQUESTS, refused),
        (interface::WIRELESS_REQUESTS, give(errno(libc::EOPNOTSUPP))),
    ];
    let mut block = vec![load(low(1))];
    for (range, verdict) in verdicts {
        block.extend([jump_at_least(*range.start(), 0, 2), jump_at_least(*range.end() + 1, 1, 0), verdict]);
    }
    block.push(give(libc::SECCOMP_RET_ALLOW));
    block
}

const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

const fn load(offset: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

const fn give(action: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: action }
}

const fn jump_equal(value: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: then,
        jf: otherwise,
        k: value,
    }
}

const fn jump_at_least(value: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16,
        jt: then,
        jf: otherwise,
        k: value,
    }
}

#[cfg(test)]
mod tests;

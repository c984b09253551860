use super::*;

const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

/// Runs a filter as the kernel would.
fn run(program: &[sock_filter], arch: u32, number: i32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend((number as u32).to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    for arg in args {
        data.extend(arg.to_le_bytes());
    }
    let (mut pc, mut accumulator) = (0, 0);
    loop {
        let insn = program[pc];
        pc += 1;
        let jump = |condition| usize::from(if condition { insn.jt } else { insn.jf });
        match u32::from(insn.code) {
            0x20 => {
                let at = insn.k as usize;
                accumulator = u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
            }
            0x15 => pc += jump(accumulator == insn.k),
            0x35 => pc += jump(accumulator >= insn.k),
            0x06 => return insn.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn on_x86_64(number: i64, args: [u64; 6]) -> u32 {
    run(&build(Machine::X86_64, Reach::Dumpable), Machine::X86_64.audit_arch(), number as i32, args)
}

#[test]
fn the_table_has_this_machines_numbers() {
    let known = [
        (libc::SYS_socket, Syscall::Socket),
        (libc::SYS_bind, Syscall::Bind),
        (libc::SYS_listen, Syscall::Listen),
        (libc::SYS_accept, Syscall::Accept),
        (libc::SYS_accept4, Syscall::Accept4),
        (libc::SYS_connect, Syscall::Connect),
        (libc::SYS_shutdown, Syscall::Shutdown),
        (libc::SYS_getsockname, Syscall::GetSockName),
        (libc::SYS_getpeername, Syscall::GetPeerName),
        (libc::SYS_setsockopt, Syscall::SetSockOpt),
        (libc::SYS_getsockopt, Syscall::GetSockOpt),
        (libc::SYS_sendto, Syscall::SendTo),
        (libc::SYS_recvfrom, Syscall::RecvFrom),
        (libc::SYS_sendmsg, Syscall::SendMsg),
        (libc::SYS_recvmsg, Syscall::RecvMsg),
        (libc::SYS_sendmmsg, Syscall::SendMMsg),
        (libc::SYS_recvmmsg, Syscall::RecvMMsg),
        (libc::SYS_ioctl, Syscall::Ioctl),
        (libc::SYS_openat, Syscall::OpenAt),
        (libc::SYS_io_uring_setup, Syscall::IoUringSetup),
        (libc::SYS_prctl, Syscall::Prctl),
    ];
    assert_eq!(known.len(), CALLS.len());
    for (number, call) in known {
        assert_eq!(Syscall::from_number(number as i32), Some(call));
    }
    assert_eq!(Syscall::from_number(libc::SYS_read as i32), None);
}

#[test]
fn reading_and_writing_are_never_taken() {
    for machine in [Machine::X86_64, Machine::Aarch64] {
        let program = build(machine, Reach::Dumpable);
        assert!(program.len() < 4096);
        // read, write, readv, writev, close, poll or ppoll, epoll_wait or epoll_pwait.
        let numbers: &[i32] = if machine == Machine::X86_64 {
            &[0, 1, 19, 20, 3, 7, 232]
        } else {
            &[63, 64, 65, 66, 57, 73, 22]
        };
        for &number in numbers {
            assert_eq!(
                run(&program, machine.audit_arch(), number, [u64::MAX; 6]),
                ALLOW,
                "{machine:?} {number}"
            );
        }
    }
}

#[test]
fn other_ways_of_calling_are_refused() {
    let refused = errno(libc::ENOSYS);
    assert_eq!(run(&build(Machine::X86_64, Reach::Dumpable), 0x4000_0003, 102, [0; 6]), refused, "i386");
    assert_eq!(on_x86_64(0x4000_0000 + 41, [0; 6]), refused, "x32");
    assert_eq!(run(&build(Machine::Aarch64, Reach::Dumpable), 0x4000_0028, 281, [0; 6]), refused, "arm");
    assert_eq!(on_x86_64(425, [0; 6]), refused, "io_uring_setup");
}

#[test]
fn a_socket_is_taken_by_its_family() {
    let socket = |family: i32| on_x86_64(41, [family as u64, 1, 0, 0, 0, 0]);
    assert_eq!(socket(libc::AF_INET), NOTIFY);
    assert_eq!(socket(libc::AF_INET6), NOTIFY);
    assert_eq!(socket(libc::AF_UNIX), ALLOW);
    assert_eq!(socket(libc::AF_NETLINK), NOTIFY);
    assert_eq!(socket(libc::AF_PACKET), NOTIFY);
    for family in [libc::AF_BLUETOOTH, libc::AF_KEY, 0, -1] {
        assert_eq!(socket(family), errno(libc::EAFNOSUPPORT), "family {family}");
    }
    // Only the low half of a register is an int: garbage above it is not looked at.
    assert_eq!(on_x86_64(41, [0xdead_0000_0000_0000 | libc::AF_INET as u64, 1, 0, 0, 0, 0]), NOTIFY);
}

#[test]
fn files_are_taken_only_when_they_are_opened_with_no_flag_by_their_whole_path() {
    let here = libc::AT_FDCWD as u64;
    let open = |folder, flags: i32| on_x86_64(257, [folder, 4096, flags as u64, 0, 0, 0]);
    assert_eq!(open(here, libc::O_RDONLY), NOTIFY);
    assert_eq!(open(here & 0xffff_ffff, libc::O_RDONLY), NOTIFY, "an int");
    for flags in [libc::O_CLOEXEC, libc::O_WRONLY, libc::O_RDWR, libc::O_DIRECTORY, libc::O_NONBLOCK] {
        assert_eq!(open(here, flags), ALLOW);
    }
    assert_eq!(open(3, libc::O_RDONLY), ALLOW);
}

#[test]
fn transfers_are_taken_only_with_an_address() {
    for number in [44, 45] {
        assert_eq!(on_x86_64(number, [3, 4096, 10, 0, 0, 0]), ALLOW);
        assert_eq!(on_x86_64(number, [3, 4096, 10, 0, 0x1000, 16]), NOTIFY);
        assert_eq!(on_x86_64(number, [3, 4096, 10, 0, 0x1_0000_0000, 16]), NOTIFY, "high half only");
    }
}

#[test]
fn a_send_that_may_be_a_route_request_is_taken() {
    let send = |number, len, flags| on_x86_64(number, [3, 4096, len, flags, 0, 0]);
    assert_eq!(send(44, 20, 0), NOTIFY);
    for (len, flags) in [(19, 0), (21, 0), (20, 0x4000), (0, 0)] {
        assert_eq!(send(44, len, flags), ALLOW, "{len} {flags:#x}");
    }
    assert_eq!(send(45, 20, 0), ALLOW, "a receive");
}

#[test]
fn timeouts_are_set_natively_and_other_options_are_taken() {
    let socket = libc::SOL_SOCKET as u64;
    for number in [54, 55] {
        for name in [20, 21, 66, 67] {
            assert_eq!(on_x86_64(number, [3, socket, name, 0, 0, 0]), ALLOW, "option {name}");
            assert_eq!(on_x86_64(number, [3, 6, name, 0, 0, 0]), NOTIFY, "TCP option {name}");
        }
        assert_eq!(on_x86_64(number, [3, socket, 4, 0, 0, 0]), NOTIFY, "SO_ERROR");
    }
}

#[test]
fn only_requests_about_sockets_are_taken() {
    let request = |request: u64| on_x86_64(16, [3, request, 0, 0, 0, 0]);
    for taken in [0x5411, 0x8906, 0x8907, 0x8910, 0x8912, 0x8933, 0x8946, 0x8954, 0x8955] {
        assert_eq!(request(taken), NOTIFY, "{taken:#x}");
    }
    for native in [0x5401, 0x541b, 0x5421, 0x8905, 0x8908, 0x890a, 0x890f, 0x89e0, 0x89ef, 0x8a00, 0x8c00] {
        assert_eq!(request(native), ALLOW, "{native:#x}");
    }
}

#[test]
fn no_request_reaches_the_machines_interfaces() {
    let request = |request: u64| on_x86_64(16, [3, request, 0, 0, 0, 0]);
    // Routes, VLANs, bonds, bridges, hardware time stamps, a driver's own.
    for changing in [0x890b, 0x890c, 0x8956, 0x8983, 0x8990, 0x89a0, 0x89a2, 0x89b0, 0x89df, 0x89f0, 0x89ff] {
        assert_eq!(request(changing), errno(libc::EPERM), "{changing:#x}");
    }
    for wireless in [0x8b00, 0x8b01, 0x8bff] {
        assert_eq!(request(wireless), errno(libc::EOPNOTSUPP), "{wireless:#x}");
    }
}

#[test]
fn programs_stay_dumpable_where_the_supervisor_needs_it() {
    let done = libc::SECCOMP_RET_ERRNO;
    for (machine, number) in [(Machine::X86_64, 157), (Machine::Aarch64, 167)] {
        let prctl = |reach, option: i32, value: u64| {
            run(&build(machine, reach), machine.audit_arch(), number, [option as u64, value, 0, 0, 0, 0])
        };
        assert_eq!(prctl(Reach::Dumpable, libc::PR_SET_DUMPABLE, 0), done, "{machine:?}");
        assert_eq!(prctl(Reach::Everything, libc::PR_SET_DUMPABLE, 0), ALLOW, "{machine:?}");
        // One, and values that the kernel refuses, are the kernel's; so are other options.
        for value in [1, 2, 0x1_0000_0000] {
            assert_eq!(prctl(Reach::Dumpable, libc::PR_SET_DUMPABLE, value), ALLOW, "{machine:?} {value:#x}");
        }
        for option in [libc::PR_GET_DUMPABLE, libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS] {
            assert_eq!(prctl(Reach::Dumpable, option, 0), ALLOW, "{machine:?} {option}");
        }
    }
}

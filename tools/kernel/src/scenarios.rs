//! What a transfer doesn't show, with the kernel at the other end, in both families.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, sockopt};
use sockeye_link::NetemConfig;
use sockeye_packet::Chunk;
use sockeye_stack::{
    Ecn, Error, Readiness, RecvFlags as OurRecvFlags, SendFlags as OurSendFlags, Shutdown, SocketOption,
    TcpState,
};
use sockeye_wire::TcpFlags;

use crate::duo::{Duo, PORT, Passed, Result, Setup, address, finished};
use crate::kernel_end::KernelEnd;
use crate::program::{End, Pattern, Plan, Program, Socket};
use crate::run::Side;
use crate::sys;

type Scenario = fn(bool) -> Result<()>;

const ALL: [(&str, Scenario); 14] = [
    ("super-segments", super_segments),
    ("urgent", urgent),
    ("simultaneous-close", simultaneous_close),
    ("zero-window", zero_window),
    ("keep-alive", keep_alive),
    ("keep-alive-unanswered", keep_alive_unanswered),
    ("without-options", without_options),
    ("ecn", ecn),
    ("kernels-syn-cookies", kernels_syn_cookies),
    ("our-syn-cookies", our_syn_cookies),
    ("refused", refused),
    ("time-wait-reuse", time_wait_reuse),
    ("kernels-time-wait-reuse", kernels_time_wait_reuse),
    ("path-mtu", path_mtu),
];

/// Longest time of a transfer here.
const LIMIT: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

/// How many are under way at once: they wait most of the time.
const PARALLEL: usize = 6;

/// Runs those whose name has `filter` in it; how many passed and failed.
pub(crate) fn run(filter: &str) -> (usize, usize) {
    let chosen: Vec<(&str, Scenario, bool)> = ALL
        .into_iter()
        .filter(|(name, _)| name.contains(filter))
        .flat_map(|(name, scenario)| [false, true].map(|is_v6| (name, scenario, is_v6)))
        .collect();
    let (next, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some(&(name, scenario, is_v6)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let family = if is_v6 { "v6" } else { "v4" };
                    let start = Instant::now();
                    match scenario(is_v6) {
                        Ok(()) => {
                            passed.fetch_add(1, Ordering::Relaxed);
                            println!("PASS {name} {family} ({:.1} s)", start.elapsed().as_secs_f64());
                        }
                        Err(error) => println!("FAIL {name} {family}: {error}"),
                    }
                }
            });
        }
    });
    let passed = passed.into_inner();
    (passed, chosen.len() - passed)
}

/// So many bytes each way.
fn both_ways(len: u64) -> [Plan; 2] {
    let [left, right] = [1, 2].map(Pattern::new);
    let plan = |data: &_, expected: &_| Plan {
        send: len,
        data: std::sync::Arc::clone(data),
        expected: std::sync::Arc::clone(expected),
        ends_last: false,
        reset_after: None,
    };
    [plan(&left, &right), plan(&right, &left)]
}

/// An error unless it is so.
fn check(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(format!("it isn't so that {what}").into()) }
}

fn super_segments(is_v6: bool) -> Result<()> {
    for client in Side::BOTH {
        let mut duo = Duo::connected(Setup { offload: true, ..Setup::new(is_v6, client) })?;
        duo.transfer(both_ways(16 * MIB), LIMIT)?;
        for side in Side::BOTH {
            let longest = duo.sent_by(side).map(|passed| passed.len).max().unwrap_or(0);
            check(
                longest > 10_000,
                &format!("{side:?} sent super-segments: the longest had {longest} bytes"),
            )?;
        }
        check(duo.passed.iter().all(|passed| passed.ecn == 0), "nobody marks packets for ECN unasked")?;
    }
    Ok(())
}

fn urgent(is_v6: bool) -> Result<()> {
    let mut duo = Duo::connected(Setup::new(is_v6, Side::Left))?;
    let (ours, second) = (duo.ours.socket, Duration::from_secs(2));
    let fd = duo.theirs.socket.take().ok_or("no socket")?;
    rustix::net::send(&fd, b"abc", SendFlags::OOB)?;
    duo.until("we hear of urgent data", second, |duo| {
        Ok(duo.ours.stack.readiness(ours).contains(Readiness::PRIORITY)
            && duo.ours.stack.recv_queued(ours) >= 2)
    })?;
    let now = duo.now();
    let before = duo.ours.stack.recv(now, ours, 10, OurRecvFlags::default())?.to_vec();
    check(before == b"ab" && duo.ours.stack.at_mark(ours), "a read stops at the mark")?;
    let oob = OurRecvFlags { oob: true, ..OurRecvFlags::default() };
    check(duo.ours.stack.recv(now, ours, 1, oob)?.to_vec() == b"c", "the urgent byte is read apart")?;
    let mut chunks = [Chunk::from_static(b"xyz")].into();
    let flags = OurSendFlags { oob: true, ..OurSendFlags::default() };
    duo.ours.stack.send(now, ours, &mut chunks, flags)?;
    let mut byte = [0];
    duo.until("the kernel has the urgent byte", second, |_| {
        Ok(rustix::net::recv(&fd, &mut byte, RecvFlags::OOB).is_ok())
    })?;
    check(byte == *b"z", "the kernel's urgent byte is the last one")?;
    let mut rest = [0; 10];
    let (len, _) = rustix::net::recv(&fd, &mut rest, RecvFlags::empty())?;
    check(rest[..len] == *b"xy", "the kernel's other bytes are the others")
}

fn simultaneous_close(is_v6: bool) -> Result<()> {
    let mut duo = Duo::connected(Setup::new(is_v6, Side::Right))?;
    let (now, ours) = (duo.now(), duo.ours.socket);
    duo.ours.stack.shutdown(now, ours, Shutdown::Write)?;
    duo.theirs.shutdown_write(now)?;
    duo.until("we are closing", LIMIT, |duo| Ok(duo.ours.stack.tcp_state(ours) == Some(TcpState::Closing)))?;
    let [mut left, mut right] = both_ways(0).map(Program::new);
    duo.until("both read the end", LIMIT, |duo| {
        let (now, mut buffer) = (duo.now(), [0; 8]);
        let ends = [duo.ours.read(now, &mut buffer).ok(), duo.theirs.read(now, &mut buffer).ok()];
        Ok(ends == [Some(0); 2])
    })?;
    duo.until("our connection waits out old duplicates", LIMIT, |duo| {
        Ok(matches!(duo.ours.stack.tcp_state(ours), None | Some(TcpState::TimeWait | TcpState::Closed)))
    })?;
    left.step(duo.now(), &mut duo.ours, &mut [0; 8]);
    right.step(duo.now(), &mut duo.theirs, &mut [0; 8]);
    check(duo.passed.iter().all(|passed| !passed.tcp.flags.contains(TcpFlags::RST)), "nobody resets")
}

fn zero_window(is_v6: bool) -> Result<()> {
    for reader in Side::BOTH {
        let mut duo = Duo::connected(Setup::new(is_v6, reader))?;
        let [mut left, mut right] = both_ways(8 * MIB).map(Program::new);
        let (reads, writes) =
            if reader == Side::Left { (&mut left, &mut right) } else { (&mut right, &mut left) };
        (reads.plan.send, reads.plan.ends_last) = (0, true);
        let end = duo.now() + Duration::from_millis(1_500);
        let mut buffer = vec![0; 1 << 16];
        // Only the writer does something.
        duo.until("time passes", LIMIT, |duo| {
            let now = duo.now();
            match reader {
                Side::Left => writes.step(now, &mut duo.theirs, &mut buffer),
                Side::Right => writes.step(now, &mut duo.ours, &mut buffer),
            }
            Ok(now > end)
        })?;
        check(duo.sent_by(reader).any(|passed| passed.tcp.window == 0), "the window closes")?;
        duo.programs(LIMIT, [Some(&mut left), Some(&mut right)])?;
        finished(&left, &right)?;
    }
    Ok(())
}

fn keep_alive(is_v6: bool) -> Result<()> {
    let mut duo = Duo::connected(Setup::new(is_v6, Side::Left))?;
    let (now, ours, second) = (duo.now(), duo.ours.socket, Duration::from_secs(1));
    for option in
        [SocketOption::KeepIdle(second), SocketOption::KeepInterval(second), SocketOption::KeepAlive(true)]
    {
        duo.ours.stack.set_option(now, ours, option)?;
    }
    let opened = duo.passed.len();
    duo.pass(Duration::from_millis(2_500))?;
    let probed = |passed: &[Passed], by: Side| {
        let [probes, answers] =
            [by, by.other()].map(|side| passed.iter().filter(|p| p.from == side && p.payload <= 1).count());
        check(
            probes >= 2 && answers >= 2,
            &format!("{by:?} probed twice and was answered: {probes}, {answers}"),
        )
    };
    probed(&duo.passed[opened..], Side::Left)?;
    duo.ours.stack.set_option(now, ours, SocketOption::KeepAlive(false))?;
    let socket = duo.theirs.socket.as_ref().ok_or("no socket")?;
    sockopt::set_tcp_keepidle(socket, second)?;
    sockopt::set_tcp_keepintvl(socket, second)?;
    sockopt::set_socket_keepalive(socket, true)?;
    let quiet = duo.passed.len();
    duo.pass(Duration::from_millis(2_500))?;
    probed(&duo.passed[quiet..], Side::Right)?;
    duo.transfer(both_ways(1000), LIMIT)
}

fn keep_alive_unanswered(is_v6: bool) -> Result<()> {
    let mut duo = Duo::connected(Setup::new(is_v6, Side::Right))?;
    let (now, ours, second) = (duo.now(), duo.ours.socket, Duration::from_secs(1));
    for option in [
        SocketOption::KeepIdle(second),
        SocketOption::KeepInterval(second),
        SocketOption::KeepCount(2),
        SocketOption::KeepAlive(true),
    ] {
        duo.ours.stack.set_option(now, ours, option)?;
    }
    let lossy = NetemConfig { loss: 100.0, ..duo.setup.link };
    duo.netems.iter_mut().for_each(|netem| netem.set_config(lossy));
    duo.until("the connection is given up", Duration::from_secs(5), |duo| {
        Ok(duo.ours.stack.readiness(ours).contains(Readiness::ERROR))
    })?;
    check(duo.ours.stack.take_error(ours) == Some(Error::TimedOut), "the error is that it timed out")
}

fn without_options(is_v6: bool) -> Result<()> {
    let options = ["ipv4/tcp_sack", "ipv4/tcp_timestamps", "ipv4/tcp_window_scaling"];
    let link = NetemConfig { loss: 1.0, delay: Duration::from_millis(2), ..NetemConfig::default() };
    for (option, client) in options.into_iter().zip([Side::Left, Side::Right].into_iter().cycle()) {
        let settings = vec![(option, "0")];
        let mut duo = Duo::connected(Setup { settings, link, ..Setup::new(is_v6, client) })?;
        duo.transfer(both_ways(MIB), LIMIT).map_err(|error| format!("without {option}: {error}"))?;
    }
    Ok(())
}

fn ecn(is_v6: bool) -> Result<()> {
    for client in Side::BOTH {
        let mut setup = Setup { settings: vec![("ipv4/tcp_ecn", "1")], ..Setup::new(is_v6, client) };
        setup.config.tcp.ecn = Ecn::Request;
        for marked in Side::BOTH {
            let mut duo = Duo::start(setup.clone())?;
            duo.mark = Some(marked);
            duo.until("the connection is open", LIMIT, |duo| {
                duo.theirs.accept()?;
                Ok(duo.ours.is_open()? && duo.theirs.is_open()?)
            })?;
            duo.transfer(both_ways(MIB / 4), LIMIT)?;
            let with = |side: Side, flag: TcpFlags| {
                let mut sent = duo.sent_by(side).filter(|passed| !passed.tcp.flags.contains(TcpFlags::SYN));
                sent.any(|passed| passed.tcp.flags.contains(flag))
            };
            for side in Side::BOTH {
                let capable = duo.sent_by(side).any(|passed| passed.payload > 0 && passed.ecn >= 2);
                check(capable, &format!("{side:?} sends ECN-capable data when {client:?} connects"))?;
            }
            check(
                with(marked.other(), TcpFlags::ECE),
                &format!("marks of {marked:?}'s segments are echoed"),
            )?;
            check(with(marked, TcpFlags::CWR), &format!("{marked:?} reduces its window and says so"))?;
        }
    }
    Ok(())
}

fn kernels_syn_cookies(is_v6: bool) -> Result<()> {
    let settings = vec![("ipv4/tcp_syncookies", "2")];
    let mut duo = Duo::connected(Setup { settings, ..Setup::new(is_v6, Side::Left) })?;
    let info = duo.ours.stack.tcp_info(duo.now(), duo.ours.socket)?;
    check(info.sack && info.timestamps && info.snd_wscale > 0, "all options hold")?;
    duo.transfer(both_ways(MIB), LIMIT)
}

/// `TCPI_OPT_TIMESTAMPS`, `TCPI_OPT_SACK` and `TCPI_OPT_WSCALE`.
const ALL_OPTIONS: u8 = 1 | 2 | 4;

fn our_syn_cookies(is_v6: bool) -> Result<()> {
    let mut setup = Setup::new(is_v6, Side::Right);
    setup.config.tcp.max_half_open = 0;
    let mut duo = Duo::connected(setup)?;
    let socket = duo.theirs.socket.as_ref().ok_or("no socket")?;
    let options = sys::tcp_info(socket)?.tcpi_options;
    check(options & ALL_OPTIONS == ALL_OPTIONS, "all options hold at the kernel's end")?;
    let info = duo.ours.stack.tcp_info(duo.now(), duo.ours.socket)?;
    check(info.sack && info.timestamps && info.snd_wscale > 0, "all options hold at ours")?;
    duo.transfer(both_ways(MIB), LIMIT)
}

fn refused(is_v6: bool) -> Result<()> {
    for client in Side::BOTH {
        let mut duo = Duo::start(Setup::new(is_v6, client))?;
        // Before the SYN is there nobody listens any more.
        match client {
            Side::Left => duo.theirs.socket = None,
            Side::Right => duo.ours.close(duo.now()),
        }
        let mut program = Program::new(both_ways(1)[0].clone());
        let [left, right] =
            if client == Side::Left { [Some(&mut program), None] } else { [None, Some(&mut program)] };
        duo.programs(LIMIT, [left, right])?;
        let end = program.end;
        check(
            end == Some(End::Failed(std::io::ErrorKind::ConnectionRefused)),
            &format!("{client:?} is refused: {end:?}"),
        )?;
    }
    Ok(())
}

fn time_wait_reuse(is_v6: bool) -> Result<()> {
    let mut duo = Duo::connected(Setup::new(is_v6, Side::Right))?;
    let peer = duo.ours.stack.peer_addr(duo.ours.socket)?;
    // We end first and so wait out old duplicates.
    let [mut left, mut right] = both_ways(1000).map(Program::new);
    right.plan.ends_last = true;
    duo.programs(LIMIT, [Some(&mut left), Some(&mut right)])?;
    finished(&left, &right)?;
    duo.pass(Duration::from_millis(50))?;
    let (now, server) = (duo.now(), address(Side::Left, is_v6, PORT));
    let domain = if is_v6 { sockeye_stack::Domain::Inet6 } else { sockeye_stack::Domain::Inet };
    let stack = &mut duo.ours.stack;
    let listener =
        stack.socket(domain, sockeye_stack::SocketType::Stream, sockeye_stack::Owner::default())?;
    stack.set_option(now, listener, SocketOption::ReuseAddr(true))?;
    stack.bind(listener, server.into())?;
    stack.listen(now, listener, 1)?;
    duo.theirs = KernelEnd::connect_from(&duo.kernel, Some(peer.into()), server)?;
    duo.until("the same port connects again", Duration::from_millis(800), |duo| {
        if let Ok((socket, _)) = duo.ours.stack.accept(now, listener) {
            duo.ours.socket = socket;
            return Ok(true);
        }
        Ok(false)
    })?;
    duo.transfer(both_ways(MIB), LIMIT)
}

fn kernels_time_wait_reuse(is_v6: bool) -> Result<()> {
    let mut duo = Duo::connected(Setup::new(is_v6, Side::Left))?;
    let local = duo.ours.stack.local_addr(duo.ours.socket)?;
    let [mut left, mut right] = both_ways(1000).map(Program::new);
    left.plan.ends_last = true;
    duo.programs(LIMIT, [Some(&mut left), Some(&mut right)])?;
    finished(&left, &right)?;
    duo.pass(Duration::from_millis(50))?;
    let (now, server) = (duo.now(), address(Side::Right, is_v6, PORT));
    duo.theirs = KernelEnd::listen(&duo.kernel, server)?;
    let domain = if is_v6 { sockeye_stack::Domain::Inet6 } else { sockeye_stack::Domain::Inet };
    let stack = &mut duo.ours.stack;
    let socket = stack.socket(domain, sockeye_stack::SocketType::Stream, sockeye_stack::Owner::default())?;
    stack.bind(socket, local)?;
    duo.ours.socket = socket;
    check(duo.ours.stack.connect(now, socket, server.into()) == Err(Error::InProgress), "we may connect")?;
    duo.until("the same port connects again", Duration::from_millis(800), |duo| {
        duo.theirs.accept()?;
        Ok(duo.ours.is_open()? && duo.theirs.is_open()?)
    })?;
    duo.transfer(both_ways(MIB), LIMIT)
}

fn path_mtu(is_v6: bool) -> Result<()> {
    for client in Side::BOTH {
        let mut duo = Duo::connected(Setup { path_mtu: Some(1300), ..Setup::new(is_v6, client) })?;
        duo.transfer(both_ways(MIB), LIMIT)?;
    }
    Ok(())
}

//! A host over a TUN device with offloads, the kernel at its other end, beside two kernels' hosts with a veth between them.
//!
//! All in network namespaces of their own, which end with their sockets. Needs root.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use rustix::thread::{UnshareFlags, gettid};
use sockeye::link::{Tun, TunConfig};
use sockeye::{Host, HostConfig, LinkInterface};

use crate::row::{Figure, Row};
use crate::streams::{End, gigabits_per_second};

const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PORT: u16 = 80;
/// Bytes of a write.
const WRITE: usize = 64 << 10;

pub(super) fn rows() -> Vec<Row> {
    let row = |name, measure: fn(Ends) -> Figure| Row {
        name,
        unit: "Gbit/s",
        peer: "kernel, veth with TSO",
        goal: 0.7,
        smaller: false,
        ours: Box::new(move || measure(over_tun()?)),
        theirs: Box::new(move || measure(over_veth()?)),
    };
    vec![
        row("TUN with offloads, to the kernel", |Ends { near, far, host: _host }| {
            gigabits_per_second((near, far), WRITE)
        }),
        row("TUN with offloads, from the kernel", |Ends { near, far, host: _host }| {
            gigabits_per_second((far, near), WRITE)
        }),
    ]
}

/// A connection, whose near end is ours where there is one.
struct Ends {
    near: End,
    far: End,
    /// What must live as long.
    host: Option<Host>,
}

/// Does something in a new namespace, in a thread of its own.
fn in_a_namespace<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            #[expect(
                deprecated,
                reason = "unsafe only with CLONE_FILES; a new network namespace is no matter of memory"
            )]
            let unshared = rustix::thread::unshare(UnshareFlags::NEWNET);
            unshared.map_err(|error| format!("no network namespace: {error}"))?;
            // As everywhere in the table; where it can't be had, the machine's own.
            let _ = std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "cubic");
            work()
        });
        working.join().unwrap_or_else(|_| Err("the set-up of a network namespace failed".to_string()))
    })
}

fn over_tun() -> Result<Ends, String> {
    let (host, listener, far) = in_a_namespace(|| {
        let tun = Tun::open(TunConfig { name: "tun0".into(), mtu: 1500, offload: true })
            .map_err(|error| format!("no TUN device: {error}"))?;
        ip(&format!("addr add {FAR}/24 dev tun0"))?;
        ip("link set tun0 mtu 1500 txqueuelen 10000 up")?;
        let interface = LinkInterface::new("eth0").address(IpAddr::V4(NEAR), 24);
        let host =
            Host::over("near", tun, &interface, HostConfig::default()).map_err(|error| error.to_string())?;
        let listener = host.tcp_listen((NEAR, PORT)).map_err(|error| error.to_string())?;
        let far = TcpStream::connect((NEAR, PORT)).map_err(|error| error.to_string())?;
        Ok((host, listener, far))
    })?;
    let ends = || {
        let near = listener.accept()?.0;
        let near = End { from: Box::new(near.try_clone()?), to: Box::new(near) };
        Ok((near, kernel_end(far)?))
    };
    let (near, far) = ends().map_err(|error: io::Error| error.to_string())?;
    Ok(Ends { near, far, host: Some(host) })
}

fn over_veth() -> Result<Ends, String> {
    let (near, far) = in_a_namespace(|| {
        let (told, hears) = std::sync::mpsc::channel();
        let (says, is_told) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let far = scope.spawn(move || {
                in_a_namespace(move || {
                    told.send(gettid()).map_err(|error| error.to_string())?;
                    is_told.recv().map_err(|_| "there is no veth".to_string())?;
                    ip(&format!("addr add {FAR}/24 dev veth1"))?;
                    ip("link set veth1 up")?;
                    let listener = TcpListener::bind((FAR, PORT)).map_err(|error| error.to_string())?;
                    told.send(gettid()).map_err(|error| error.to_string())?;
                    let accepted = listener.accept().map_err(|error| error.to_string())?;
                    Ok(accepted.0)
                })
            });
            let near = (|| {
                let there = hears.recv().map_err(|_| "there is no other namespace".to_string())?;
                let there = there.as_raw_nonzero();
                ip(&format!("link add veth0 type veth peer name veth1 netns {there}"))?;
                ip(&format!("addr add {NEAR}/24 dev veth0"))?;
                ip("link set veth0 up")?;
                says.send(()).map_err(|error| error.to_string())?;
                hears.recv().map_err(|_| "nobody listens".to_string())?;
                TcpStream::connect((FAR, PORT)).map_err(|error| error.to_string())
            })();
            drop(says);
            let far = far.join().unwrap_or_else(|_| Err("the far end failed".to_string()));
            Ok((near?, far?))
        })
    })?;
    let ends = || Ok(Ends { near: kernel_end(near)?, far: kernel_end(far)?, host: None });
    ends().map_err(|error: io::Error| error.to_string())
}

fn kernel_end(stream: TcpStream) -> io::Result<End> {
    Ok(End { from: Box::new(stream.try_clone()?), to: Box::new(stream) })
}

/// Runs `ip` with these words.
fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output();
    let output = output.map_err(|error| format!("`ip` of iproute2: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {words}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

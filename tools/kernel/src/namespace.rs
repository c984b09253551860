//! Network namespaces without names: one lives as long as this process holds it, and is gone with it however
//! the process ends.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use sockeye_link::{Tun, TunConfig};

/// The MTU of all interfaces.
pub(crate) const MTU: u32 = 1500;

/// What the kernel's hosts are set to: the defaults of Linux, whatever this machine's are, and nothing
/// remembered from one connection to the next.
const SETTINGS: [(&str, &str); 9] = [
    ("ipv4/tcp_congestion_control", "cubic"),
    ("ipv4/tcp_no_metrics_save", "1"),
    ("ipv4/tcp_rmem", "4096 131072 6291456"),
    ("ipv4/tcp_wmem", "4096 16384 4194304"),
    ("ipv4/tcp_sack", "1"),
    ("ipv4/tcp_timestamps", "1"),
    ("ipv4/tcp_window_scaling", "1"),
    ("ipv4/tcp_ecn", "2"),
    ("ipv6/conf/tun0/disable_ipv6", "0"),
];

/// A network namespace with one TUN device in it: a host whose stack is the kernel's.
#[derive(Debug)]
pub(crate) struct KernelHost {
    handle: File,
    pub(crate) tun: Tun,
}

impl KernelHost {
    /// A host with these addresses, each on a link with all addresses of its network. With `offload` it may send
    /// and take super-segments.
    pub(crate) fn new(addresses: &[IpAddr], offload: bool) -> Result<KernelHost, Box<dyn Error>> {
        let outcome = std::thread::scope(|scope| {
            let made = scope.spawn(|| make(addresses, offload).map_err(|error| error.to_string()));
            made.join().map_err(|_| "the set-up of a network namespace panicked".to_string())
        });
        Ok(outcome??)
    }

    /// Does `work` in the namespace, in a thread of its own: sockets made there belong to this host.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let handle = &self.handle;
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))?;
                work()
            });
            worker.join().unwrap_or_else(|_| Err(io::Error::other("work in a namespace panicked")))
        })
    }

    /// Sets a value below `/proc/sys/net`.
    pub(crate) fn set(&self, name: &str, value: &str) -> io::Result<()> {
        self.within(|| set(name, value))
    }
}

/// What this machine lacks for a [`KernelHost`], if anything: in a container also root may have no right to
/// a namespace, a TUN device or the settings.
pub(crate) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces and TUN devices need root".to_owned());
    }
    let probe = || {
        let (_handle, _tun) = furnish(false)?;
        Ok::<_, Box<dyn Error>>(())
    };
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| probe().map_err(|error| error.to_string())).join().unwrap_or(Ok(()))
    });
    outcome.err()
}

/// Moves the calling thread, which must end soon, into a new namespace with a TUN device and our settings.
fn furnish(offload: bool) -> Result<(File, Tun), Box<dyn Error>> {
    #[expect(
        deprecated,
        reason = "unsafe only with CLONE_FILES; a new network namespace is no matter of memory"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET)
        .map_err(|error| format!("no network namespace: {error}"))?;
    let handle = File::open("/proc/thread-self/ns/net")?;
    let tun = Tun::open(TunConfig { name: "tun0".into(), mtu: MTU, offload })
        .map_err(|error| format!("no TUN device: {error}"))?;
    for (name, value) in SETTINGS {
        set(name, value).map_err(|error| format!("/proc/sys/net/{name}: {error}"))?;
    }
    Ok((handle, tun))
}

/// A host in a new namespace, which the calling thread, which must end soon, is moved into.
fn make(addresses: &[IpAddr], offload: bool) -> Result<KernelHost, Box<dyn Error>> {
    let (handle, tun) = furnish(offload)?;
    // A queue that drops nothing: what is lost is netem's choice.
    let mut commands =
        format!("link set lo up\nlink set tun0 mtu {MTU} txqueuelen 10000 addrgenmode none up\n");
    for address in addresses {
        let rest = if address.is_ipv4() { "/24 dev tun0" } else { "/64 dev tun0 nodad" };
        commands.extend(["addr add ", &address.to_string(), rest, "\n"]);
    }
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("`ip` of iproute2: {error}"))?;
    ip.stdin.take().ok_or("no way to tell `ip`")?.write_all(commands.as_bytes())?;
    if !ip.wait()?.success() {
        return Err(format!("`ip` failed at one of these:\n{commands}").into());
    }
    Ok(KernelHost { handle, tun })
}

fn set(name: &str, value: &str) -> io::Result<()> {
    std::fs::write(format!("/proc/sys/net/{name}"), value)
}

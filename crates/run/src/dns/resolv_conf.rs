//! The machine's resolv.conf: which name servers it asks, and which domains it appends to short names.

use super::PORT;
use rustix::net::{AddressFamily, SocketType};
use sockeye_packet::Instant;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where it is.
const PATH: &str = "/etc/resolv.conf";

/// What the C library reads from /etc/resolv.conf, as far as it concerns us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// The name servers, in order.
    pub(crate) servers: Vec<IpAddr>,
    /// The domains appended to short names.
    pub(crate) search: Vec<String>,
    /// The interfaces that servers with a link-local address are on.
    interfaces: BTreeMap<Ipv6Addr, String>,
}

impl ResolvConf {
    /// How much of the file is looked at, and how many entries of a kind are kept.
    const BYTES_MAX: u64 = 64 * 1024;
    const ENTRIES_MAX: usize = 16;

    /// The machine's.
    pub(crate) fn of_this_machine() -> ResolvConf {
        ResolvConf::read(Path::new(PATH))
    }

    /// A file's; one that can't be read counts as empty, as for the C library.
    fn read(path: &Path) -> ResolvConf {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(Self::BYTES_MAX).read_to_end(&mut text));
        if read.is_err() {
            text.clear();
        }
        ResolvConf::parse(&text)
    }

    /// Reads the file's text. Lines that mean nothing are read over; without a server it is this machine.
    pub(crate) fn parse(text: &[u8]) -> ResolvConf {
        let text = String::from_utf8_lossy(text);
        let mut parsed = ResolvConf::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let Some(word) = words.next().filter(|_| parsed.servers.len() < Self::ENTRIES_MAX) else {
                        continue;
                    };
                    // A link-local server is written with its interface: fe80::1%eth0.
                    let (address, interface) = word.split_once('%').unwrap_or((word, ""));
                    let Ok(address) = address.parse() else { continue };
                    if parsed.servers.contains(&address) {
                        continue;
                    }
                    parsed.servers.push(address);
                    if let (IpAddr::V6(v6), false) = (address, interface.is_empty()) {
                        parsed.interfaces.insert(v6, interface.to_owned());
                    }
                }
                // The last of these lines counts.
                Some("search" | "domain") => {
                    parsed.search = words.take(Self::ENTRIES_MAX).map(str::to_owned).collect();
                }
                _ => {}
            }
        }
        if parsed.servers.is_empty() {
            parsed.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        parsed
    }
    /// Where the servers are reached.
    pub(crate) fn sockets(&self) -> Vec<SocketAddr> {
        let socket = |&address| match address {
            IpAddr::V4(v4) => SocketAddr::from((v4, PORT)),
            IpAddr::V6(v6) => {
                let scope = self.interfaces.get(&v6).and_then(|name| interface_number(name));
                SocketAddrV6::new(v6, PORT, 0, scope.unwrap_or(0)).into()
            }
        };
        self.servers.iter().map(socket).collect()
    }
}

/// The number of an interface, which may be written as that.
fn interface_number(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None).ok()?;
    rustix::net::netdevice::name_to_index(socket, name).ok()
}

/// A resolv.conf that may change.
#[derive(Debug)]
pub(crate) struct ResolvFile {
    path: PathBuf,
    stamp: Option<Stamp>,
    looked: Instant,
}

/// What changes with the file: device, number, length, and time in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

impl ResolvFile {
    /// How often the file is looked at, at most.
    const PAUSE: Duration = Duration::from_secs(1);

    /// The machine's, and what it says now.
    pub(crate) fn of_this_machine(now: Instant) -> (ResolvFile, ResolvConf) {
        ResolvFile::open(Path::new(PATH), now)
    }

    /// This file, and what it says now.
    pub(crate) fn open(path: &Path, now: Instant) -> (ResolvFile, ResolvConf) {
        let stamp = stamp(path);
        (ResolvFile { path: path.to_owned(), stamp, looked: now }, ResolvConf::read(path))
    }

    /// What it says, if that has changed since it was looked at.
    pub(crate) fn changed(&mut self, now: Instant) -> Option<ResolvConf> {
        if now.saturating_since(self.looked) < Self::PAUSE {
            return None;
        }
        self.looked = now;
        // Before the file is read: what changes meanwhile is seen the next time.
        let stamp = stamp(&self.path);
        (stamp != std::mem::replace(&mut self.stamp, stamp)).then(|| ResolvConf::read(&self.path))
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn resolv_conf_is_read_as_the_c_library_does() {
        let text = b"# nameserver 1.1.1.1\n\nsearch a b\nnameserver 127.0.0.53\noptions edns0\n\
            nameserver fe80::1%eth0\nnameserver nonsense\nnameserver 127.0.0.53\nsearch corp example\n\xff\xfe\n";
        let parsed = ResolvConf::parse(text);
        assert_eq!(parsed.servers, [ip("127.0.0.53"), ip("fe80::1")]);
        assert_eq!(parsed.search, ["corp", "example"]);
        assert_eq!(parsed.interfaces, BTreeMap::from([("fe80::1".parse().unwrap(), "eth0".to_owned())]));
        assert_eq!(ResolvConf::parse(b"").servers, [ip("127.0.0.1")]);
    }

    #[test]
    fn a_link_local_server_is_reached_through_its_interface() {
        let sockets =
            ResolvConf::parse(b"nameserver fe80::1%lo\nnameserver fe80::2%7\nnameserver 10.0.0.1").sockets();
        let scopes: Vec<u32> = sockets
            .iter()
            .filter_map(|addr| if let SocketAddr::V6(v6) = addr { Some(v6.scope_id()) } else { None })
            .collect();
        assert_eq!(scopes, [1, 7]);
        assert_eq!(sockets[2], "10.0.0.1:53".parse().unwrap());
    }

    #[test]
    fn a_change_is_seen_when_it_is_looked_for_again() {
        let path = std::env::temp_dir().join(format!("sockeye-resolv-{}", std::process::id()));
        std::fs::write(&path, "nameserver 10.0.0.1").unwrap();
        let at = Instant::from_millis;
        let (mut file, first) = ResolvFile::open(&path, at(500));
        assert_eq!(first.servers, [ip("10.0.0.1")]);
        assert_eq!(file.changed(at(2000)), None);
        std::fs::write(&path, "nameserver 10.0.0.22\nsearch new").unwrap();
        assert_eq!(file.changed(at(2999)), None, "it was looked at less than a second ago");
        let second = file.changed(at(3000)).unwrap();
        assert_eq!((second.servers, second.search), (vec![ip("10.0.0.22")], vec!["new".to_owned()]));
        assert_eq!(file.changed(at(9000)), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.changed(at(10_000)).unwrap().servers, [ip("127.0.0.1")]);
    }

    proptest! {
        #[test]
        fn any_file_is_read_within_bounds(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let parsed = ResolvConf::parse(&text);
            prop_assert!((1..=ResolvConf::ENTRIES_MAX).contains(&parsed.servers.len()));
        }
    }
}

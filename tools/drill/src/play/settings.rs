//! The `--name=value` lines of a script: addresses, ports, sizes and tolerances.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use core::time::Duration;

/// Which protocol is spoken on the wire, and by which sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// IPv4 from `AF_INET` sockets.
    V4,
    /// IPv6 from `AF_INET6` sockets.
    V6,
    /// IPv4 from `AF_INET6` sockets, by v4-mapped addresses.
    V4MappedV6,
}

impl IpVersion {
    /// All three.
    pub const ALL: [IpVersion; 3] = [IpVersion::V4, IpVersion::V6, IpVersion::V4MappedV6];

    /// As `--ip_version=` names it.
    pub const fn name(self) -> &'static str {
        match self {
            IpVersion::V4 => "ipv4",
            IpVersion::V6 => "ipv6",
            IpVersion::V4MappedV6 => "ipv4-mapped-ipv6",
        }
    }
}

/// Where a script plays.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) ip_version: IpVersion,
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    /// The port that `bind(3, ..., ...)` takes.
    pub(super) bind_port: u16,
    /// The port that `connect(3, ..., ...)` goes to.
    pub(super) connect_port: u16,
    pub(super) mtu: u32,
    /// Payload of one segment of an injected packet that is longer: it came in several and the link has
    /// merged them. None for packets as they are written.
    pub(super) mss: Option<u16>,
    /// How far off a time may be.
    pub(super) tolerance: Duration,
    /// How far off a time may be besides, in parts of the time since the last event.
    pub(super) tolerance_share: f64,
    /// Time between two ticks of the stack's timestamps; none where their values don't matter.
    pub(super) ts_tick: Option<Duration>,
}

/// The MTU of the test link, and that for IPv6 where the script leaves the version open: its longer
/// header then leaves the same room for TCP.
const MTU: u32 = 1500;
const MTU_V6: u32 = 1520;

impl Settings {
    /// What the script's options say, where they leave it open as `ip_version` has it.
    pub(super) fn new(options: &[(String, String)], ip_version: IpVersion) -> Result<Settings, String> {
        let given = options.iter().rev().find(|(name, _)| name == "ip_version");
        let version = match given.map(|(_, value)| value.as_str()) {
            None => ip_version,
            Some("ipv4") => IpVersion::V4,
            Some("ipv6") => IpVersion::V6,
            Some("ipv4-mapped-ipv6") => IpVersion::V4MappedV6,
            Some(other) => return Err(format!("--ip_version={other}: no such version")),
        };
        let is_v6 = version == IpVersion::V6;
        let mut settings = Settings {
            ip_version: version,
            local: if is_v6 { LOCAL_V6.into() } else { LOCAL_V4.into() },
            remote: if is_v6 { REMOTE_V6.into() } else { REMOTE_V4.into() },
            bind_port: 8080,
            connect_port: 8080,
            mtu: if is_v6 && given.is_none() { MTU_V6 } else { MTU },
            mss: None,
            tolerance: Duration::from_millis(4),
            tolerance_share: 0.01,
            ts_tick: None,
        };
        for (name, value) in options {
            settings.set(name, value).map_err(|error| format!("--{name}={value}: {error}"))?;
        }
        if settings.local.is_ipv6() != is_v6 || settings.remote.is_ipv6() != is_v6 {
            return Err(format!("{} to {} is not what --ip_version says", settings.local, settings.remote));
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "local_ip" => self.local = parse(value)?,
            "remote_ip" => self.remote = parse(value)?,
            "bind_port" => self.bind_port = parse(value)?,
            "connect_port" => self.connect_port = parse(value)?,
            "mtu" => self.mtu = parse(value)?,
            "mss" => self.mss = Some(parse(value)?),
            "tolerance_usecs" => self.tolerance = Duration::from_micros(parse(value)?),
            "tolerance_percent" => self.tolerance_share = parse::<f64>(value)? / 100.0,
            "tcp_ts_tick_usecs" => {
                self.ts_tick = Some(Duration::from_micros(parse(value)?)).filter(|tick| !tick.is_zero());
            }
            // Of the link and the tool themselves: nothing that a stack sees.
            "ip_version" | "gateway_ip" | "netmask_ip" | "speed" | "init_scripts" | "code_command"
            | "code_format" | "code_sockopt" | "verbose" | "dry_run" | "non_fatal" | "debug"
            | "udp_encaps" | "send_omit_free" | "no_cleanup" | "timeout_secs" => {}
            _ => return Err("no such option".into()),
        }
        Ok(())
    }

    /// How far from an event's expected time it may be, when the event before was `since` earlier.
    pub(super) fn tolerance_after(&self, since: Duration) -> Duration {
        self.tolerance + since.mul_f64(self.tolerance_share)
    }
}

const LOCAL_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
const REMOTE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0xfd3d, 0x0a0b, 0x17d6, 0, 0, 0, 0, 1);
const REMOTE_V6: Ipv6Addr = Ipv6Addr::new(0xfd3d, 0xfa7b, 0xd17d, 0, 0, 0, 0, 1);

fn parse<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| "can't be read".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &[(&str, &str)], version: IpVersion) -> Result<Settings, String> {
        let options: Vec<_> = options.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Settings::new(&options, version)
    }

    #[test]
    fn the_version_decides_addresses_and_mtu() {
        let v4 = settings(&[], IpVersion::V4).unwrap();
        assert_eq!((v4.local, v4.remote, v4.mtu), (LOCAL_V4.into(), REMOTE_V4.into(), 1500));
        let v6 = settings(&[], IpVersion::V6).unwrap();
        assert_eq!((v6.local, v6.remote, v6.mtu), (LOCAL_V6.into(), REMOTE_V6.into(), 1520));
        let v6 = settings(&[("ip_version", "ipv6")], IpVersion::V4).unwrap();
        assert_eq!((v6.local, v6.mtu), (LOCAL_V6.into(), 1500));
    }

    #[test]
    fn options_set_what_they_name() {
        let options = [
            ("tolerance_usecs", "20000"),
            ("mss", "1000"),
            ("tcp_ts_tick_usecs", "1000"),
            ("local_ip", "10.0.0.1"),
            ("mtu", "72"),
        ];
        let set = settings(&options, IpVersion::V4).unwrap();
        assert_eq!((set.mss, set.mtu, set.ts_tick), (Some(1000), 72, Some(Duration::from_millis(1))));
        assert_eq!(set.local, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(set.tolerance_after(Duration::from_secs(1)), Duration::from_millis(30));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(settings(&[("mtu", "x")], IpVersion::V4).unwrap_err(), "--mtu=x: can't be read");
        assert_eq!(settings(&[("bogus", "1")], IpVersion::V4).unwrap_err(), "--bogus=1: no such option");
        let error = settings(&[("local_ip", "10.0.0.1")], IpVersion::V6).unwrap_err();
        assert_eq!(error, "10.0.0.1 to fd3d:fa7b:d17d::1 is not what --ip_version says");
    }
}

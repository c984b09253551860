//! From names to addresses: what the socket calls take, and where a host looks names up.
//!
//! Everything is known here already, so nothing waits: names are those of the network's hosts, `localhost`,
//! and those that [`Network::add_name`] gives.

use crate::{Error, Host, Network};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The domain that all hosts are in: `web.sockeye` is the host `web`.
const DOMAIN: &str = "sockeye";

/// What a socket call takes for an address, as [`std::net::ToSocketAddrs`]; names are looked up by the host
/// that makes the call.
///
/// It is implemented for addresses with a port (`SocketAddr`, `(IpAddr, u16)`, …), for slices and lists of
/// them, for names with a port (`("web", 80)`), for text of both (`"web:80"`, `"10.77.0.2:80"`,
/// `"[fd77::2]:80"`), and for hosts (`(&web, 80)`).
///
/// A name has the IPv4 addresses first: they rank above the unique local addresses of IPv6 that hosts have
/// (RFC 6724 §2.1, policy table). Calls that open something try one address after the other and report the
/// last one's error; those on a socket that is there already take the first of the socket's family.
///
/// ```
/// use sockeye::{HostConfig, Network, ToSocketAddrs};
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
/// let listener = web.tcp_listen("0.0.0.0:80")?;
/// assert_eq!(me.tcp_connect("web:80")?.peer_addr()?.ip(), web.ipv4());
/// assert_eq!(me.tcp_connect(("web.sockeye", 80))?.peer_addr()?.ip(), web.ipv4());
/// assert_eq!(me.tcp_connect((&web, 80))?.peer_addr()?.ip(), web.ipv4());
/// assert_eq!("web:80".to_socket_addrs(&me)?, web.addresses().map(|ip| (ip, 80).into()));
/// let nobody = me.tcp_connect("wep:80").unwrap_err();
/// assert_eq!(nobody.kind(), std::io::ErrorKind::NotFound);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddrs {
    /// The addresses, in the order in which to try them.
    ///
    /// Fails with [`io::ErrorKind::NotFound`] when nobody has the name, and with
    /// [`io::ErrorKind::InvalidInput`] for text without a name or a port.
    fn to_socket_addrs(&self, host: &Host) -> io::Result<Vec<SocketAddr>>;

    /// The first of them. What is an address already needs no list for that.
    fn to_socket_addr(&self, host: &Host) -> io::Result<SocketAddr> {
        self.to_socket_addrs(host)?.first().copied().ok_or_else(no_address)
    }
}

/// Addresses of which one after the other is tried; what the last one failed with counts.
pub(crate) struct Candidates {
    left: std::vec::IntoIter<SocketAddr>,
    failed: Option<io::Error>,
}

impl Candidates {
    pub(crate) fn new(host: &Host, addrs: &impl ToSocketAddrs) -> io::Result<Candidates> {
        Ok(Candidates { left: addrs.to_socket_addrs(host)?.into_iter(), failed: None })
    }

    /// The next to try; when there is none, why the last one failed.
    pub(crate) fn next(&mut self) -> io::Result<SocketAddr> {
        self.left.next().ok_or_else(|| self.failed.take().unwrap_or_else(no_address))
    }

    /// The latest one failed.
    pub(crate) fn failed(&mut self, error: io::Error) {
        self.failed = Some(error);
    }
}

/// Tries one address after the other, in a way that doesn't suspend.
pub(crate) fn try_each<R>(
    host: &Host,
    addrs: impl ToSocketAddrs,
    mut call: impl FnMut(SocketAddr) -> io::Result<R>,
) -> io::Result<R> {
    let mut candidates = Candidates::new(host, &addrs)?;
    loop {
        match call(candidates.next()?) {
            Ok(done) => return Ok(done),
            Err(error) => candidates.failed(error),
        }
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "there is no address to use: the list is empty")
}

/// What is an address as it stands.
macro_rules! addresses {
    ($($kind:ty),*) => {$(
        impl ToSocketAddrs for $kind {
            fn to_socket_addrs(&self, host: &Host) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![self.to_socket_addr(host)?])
            }

            fn to_socket_addr(&self, _: &Host) -> io::Result<SocketAddr> {
                Ok(SocketAddr::from(*self))
            }
        }
    )*};
}

addresses!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for [SocketAddr] {
    fn to_socket_addrs(&self, _: &Host) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }

    fn to_socket_addr(&self, _: &Host) -> io::Result<SocketAddr> {
        self.first().copied().ok_or_else(no_address)
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {
    fn to_socket_addrs(&self, host: &Host) -> io::Result<Vec<SocketAddr>> {
        self.as_slice().to_socket_addrs(host)
    }
}

impl ToSocketAddrs for Vec<SocketAddr> {
    fn to_socket_addrs(&self, host: &Host) -> io::Result<Vec<SocketAddr>> {
        self.as_slice().to_socket_addrs(host)
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_socket_addrs(&self, host: &Host) -> io::Result<Vec<SocketAddr>> {
        (**self).to_socket_addrs(host)
    }

    fn to_socket_addr(&self, host: &Host) -> io::Result<SocketAddr> {
        (**self).to_socket_addr(host)
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addrs(&self, host: &Host) -> io::Result<Vec<SocketAddr>> {
        let (name, port) = *self;
        Ok(with_port(host.resolve(name)?, port))
    }
}

impl ToSocketAddrs for (String, u16) {
    fn to_socket_addrs(&self, host: &Host) -> io::Result<Vec<SocketAddr>> {
        (self.0.as_str(), self.1).to_socket_addrs(host)
    }
}

impl ToSocketAddrs for (&Host, u16) {
    fn to_socket_addrs(&self, _: &Host) -> io::Result<Vec<SocketAddr>> {
        Ok(with_port(v4_first(self.0.addresses()), self.1))
    }
}

impl ToSocketAddrs for str {
    fn to_socket_addrs(&self, host: &Host) -> io::Result<Vec<SocketAddr>> {
        let invalid = |reason: &str| {
            let message =
                format!("{self:?} {reason}; write it as \"web:80\", \"10.77.0.2:80\" or \"[fd77::2]:80\"");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        if let Ok(addr) = self.parse() {
            return Ok(vec![addr]);
        }
        let (name, port) = self.rsplit_once(':').ok_or_else(|| invalid("has no port"))?;
        let port = port.parse().map_err(|_| invalid("has a port that is none"))?;
        (name, port).to_socket_addrs(host)
    }
}

impl ToSocketAddrs for String {
    fn to_socket_addrs(&self, host: &Host) -> io::Result<Vec<SocketAddr>> {
        self.as_str().to_socket_addrs(host)
    }
}

fn with_port(addresses: Vec<IpAddr>, port: u16) -> Vec<SocketAddr> {
    addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()
}

fn v4_first(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = addresses.into_iter().collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}

impl Host {
    /// The addresses of a name, as the socket calls of this host look it up: IPv4 first, at least one. Case
    /// doesn't count, nor does a dot at the end.
    ///
    /// Known are the network's hosts (`web`, or `web.sockeye`) and its `gateway`, what
    /// [`Network::add_name`] gave, `localhost` and everything below it, and numbers (`10.77.0.2`, `fd77::2`).
    /// Fails with [`io::ErrorKind::NotFound`] for anything else. Nothing is asked on the network.
    ///
    /// ```
    /// use sockeye::{HostConfig, Network};
    ///
    /// let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// let web = network.host("web")?;
    /// assert_eq!(web.resolve("WEB.sockeye")?, web.addresses());
    /// assert!(web.resolve("localhost")?.iter().all(|ip| ip.is_loopback()));
    /// let unknown = web.resolve("db").unwrap_err();
    /// assert_eq!(unknown.kind(), std::io::ErrorKind::NotFound);
    /// assert!(unknown.to_string().contains("\"db\""));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let wanted = canonical(name);
        // RFC 6761 §6.3: localhost and all names below it are this host.
        if wanted == "localhost" || wanted.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let network = Network { shared: self.shared.clone() };
        if let Some(addresses) = network.added_name(&wanted) {
            return Ok(addresses);
        }
        let is_gateway = wanted == crate::NetworkBuilder::GATEWAY;
        let found = if is_gateway { Ok(network.gateway()) } else { network.host(&wanted) };
        // The name as it was given is what the caller knows.
        let found = found.map_err(|_| Error::UnknownHost { name: name.to_owned() })?;
        Ok(v4_first(found.addresses()))
    }
}

impl Network {
    /// Gives a name to addresses, on all hosts, in place of those that it gave before; none take the name
    /// away. Names of hosts are refused, and so is everything that isn't a domain name (RFC 1123 §2.1).
    ///
    /// It serves several names for one host, a name for several hosts, and names of the world outside.
    ///
    /// ```
    /// use sockeye::{HostConfig, Network};
    ///
    /// let network = Network::builder()
    ///     .host("web-1", HostConfig::default())
    ///     .host("web-2", HostConfig::default())
    ///     .build()?;
    /// let (one, two) = (network.host("web-1")?, network.host("web-2")?);
    /// network.add_name("www.example.com", &[one.ipv4().into(), two.ipv4().into()])?;
    /// // Only the second serves: it is tried when the first refuses.
    /// let listener = two.tcp_listen("0.0.0.0:80")?;
    /// let stream = one.tcp_connect("www.example.com:80")?;
    /// assert_eq!(stream.peer_addr()?.ip(), two.ipv4());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn add_name(&self, name: &str, addresses: &[IpAddr]) -> Result<(), Error> {
        let name = canonical(name);
        check_domain(&name)?;
        self.set_added_name(name, v4_first(addresses.iter().copied()))
    }
}

/// A name in lower case, without a dot at the end and without the domain of all hosts.
fn canonical(name: &str) -> String {
    let mut name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if let Some(alone) = name.strip_suffix(DOMAIN).and_then(|alone| alone.strip_suffix('.')) {
        name.truncate(alone.len());
    }
    name
}

/// Checks that a canonical name is a domain name of letters, digits, hyphens and underscores.
fn check_domain(name: &str) -> Result<(), Error> {
    let bad = |reason| Err(Error::BadName { name: name.to_owned(), reason });
    if name.len() > 253 {
        return bad("it is longer than 253 characters");
    }
    if name.parse::<IpAddr>().is_ok() {
        return bad("it is an address");
    }
    if name == "localhost" || name.ends_with(".localhost") || name == crate::NetworkBuilder::GATEWAY {
        return bad("it is taken by the network itself");
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return bad("one of its labels is empty or longer than 63 characters");
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return bad("it has other characters than letters, digits, hyphens and dots");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostConfig;

    fn network() -> (Network, Host, Host) {
        let network = Network::builder()
            .host("web", HostConfig::default())
            .host("me", HostConfig::default())
            .build_manual()
            .unwrap();
        let (web, me) = (network.host("web").unwrap(), network.host("me").unwrap());
        (network, web, me)
    }

    #[test]
    fn candidates_come_in_order_and_the_last_failure_counts() {
        let network = Network::builder().host("me", HostConfig::default()).build_manual().unwrap();
        let (me, addrs) =
            (network.host("me").unwrap(), [7, 8].map(|port| SocketAddr::from(([192, 0, 2, 1], port))));
        let mut candidates = Candidates::new(&me, &addrs).unwrap();
        for (addr, why) in addrs.into_iter().zip(["no socket is left", "refused"]) {
            assert_eq!(candidates.next().unwrap(), addr);
            candidates.failed(io::Error::other(why));
        }
        assert_eq!(candidates.next().unwrap_err().to_string(), "refused");
        let none: [SocketAddr; 0] = [];
        let nothing = Candidates::new(&me, &none).unwrap().next().unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn everything_that_std_takes_is_taken() {
        let (_network, web, me) = network();
        let both: Vec<SocketAddr> = web.addresses().into_iter().map(|ip| (ip, 80).into()).collect();
        let [v4, v6] = [both[0], both[1]];
        let one = |addrs: &dyn ToSocketAddrs| {
            let list = addrs.to_socket_addrs(&me).unwrap();
            assert_eq!(addrs.to_socket_addr(&me).unwrap(), list[0]);
            list
        };
        assert_eq!(one(&v4), [v4]);
        assert_eq!(one(&(web.ipv4(), 80)), [v4]);
        assert_eq!(one(&(web.ipv6(), 80)), [v6]);
        assert_eq!(one(&(IpAddr::from(web.ipv6()), 80)), [v6]);
        assert_eq!(one(&SocketAddrV4::new(web.ipv4(), 80)), [v4]);
        assert_eq!(one(&SocketAddrV6::new(web.ipv6(), 80, 0, 0)), [v6]);
        assert_eq!(one(&[v6, v4]), [v6, v4]);
        assert_eq!(one(&[v6, v4].as_slice()), [v6, v4]);
        assert_eq!(one(&both), both);
        assert_eq!(one(&"web:80"), both);
        assert_eq!(one(&String::from("web:80")), both);
        assert_eq!(one(&("web", 80)), both);
        assert_eq!(one(&(String::from("web"), 80)), both);
        assert_eq!(one(&(&web, 80)), both);
        assert_eq!(one(&format!("{v6}")), [v6]);
        assert_eq!(one(&("10.77.0.9", 80)), ["10.77.0.9:80".parse().unwrap()]);
    }

    #[test]
    fn what_is_no_address_says_why() {
        let (_network, _web, me) = network();
        for (text, kind, says) in [
            ("web", io::ErrorKind::InvalidInput, "no port"),
            ("", io::ErrorKind::InvalidInput, "no port"),
            ("web:http", io::ErrorKind::InvalidInput, "a port that is none"),
            ("web:65536", io::ErrorKind::InvalidInput, "a port that is none"),
            ("wep:80", io::ErrorKind::NotFound, "\"wep\""),
            (":80", io::ErrorKind::NotFound, "\"\""),
        ] {
            let error = text.to_socket_addrs(&me).unwrap_err();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(error.to_string().contains(says), "{text}: {error}");
        }
        let nothing: &[SocketAddr] = &[];
        assert_eq!(nothing.to_socket_addr(&me).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(me.tcp_connect(nothing).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn names_come_in_many_spellings() {
        let (network, web, me) = network();
        for name in ["web", "WEB", "web.", "web.sockeye", "Web.Sockeye."] {
            assert_eq!(me.resolve(name).unwrap(), web.addresses(), "{name}");
        }
        assert_eq!(me.resolve("me").unwrap(), me.addresses());
        assert_eq!(me.resolve("gateway").unwrap(), network.gateway().addresses());
        for name in ["localhost", "db.localhost", "LOCALHOST."] {
            assert_eq!(me.resolve(name).unwrap()[0], Ipv4Addr::LOCALHOST, "{name}");
        }
        for name in ["web.example", "sockeye", ".sockeye", "web..", ".web"] {
            assert_eq!(me.resolve(name).unwrap_err().kind(), io::ErrorKind::NotFound, "{name}");
        }
    }

    #[test]
    fn names_can_be_added_and_taken_away() {
        let (network, web, me) = network();
        let [v4, v6] = web.addresses();
        network.add_name("WWW.Example.com", &[v6, v4]).unwrap();
        assert_eq!(me.resolve("www.example.COM.").unwrap(), [v4, v6], "IPv4 first");
        network.add_name("www.example.com", &[v6]).unwrap();
        assert_eq!(me.resolve("www.example.com").unwrap(), [v6]);
        network.add_name("www.example.com", &[]).unwrap();
        assert_eq!(me.resolve("www.example.com").unwrap_err().kind(), io::ErrorKind::NotFound);
        for taken in ["Web", "web.sockeye."] {
            assert!(matches!(network.add_name(taken, &[v4]), Err(Error::DuplicateName { .. })), "{taken}");
        }
        network.add_name("db", &[v4]).unwrap();
        assert!(matches!(network.add_host("db", HostConfig::default()), Err(Error::DuplicateName { .. })));
        for bad in ["", "a..b", "a b", "10.77.0.1", "localhost", "x.localhost", "gateway", &"a".repeat(64)] {
            assert!(matches!(network.add_name(bad, &[v4]), Err(Error::BadName { .. })), "{bad}");
        }
    }
}

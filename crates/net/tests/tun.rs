//! Hosts over a TUN device, with the kernel as the other end, in a network namespace of the test's own. Needs
//! root; without, it says so and checks nothing.

#![cfg(target_os = "linux")]

use sockeye::link::{Tun, TunConfig};
use sockeye::{Host, HostConfig, LinkInterface, Network};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(1);
const MACHINE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Runs a test in a thread in a new namespace, where the device's other end has the address [`MACHINE`].
fn in_a_namespace(offload: bool, test: impl FnOnce(Tun) + Send) {
    let prepare = || -> Result<Tun, String> {
        #[expect(
            deprecated,
            reason = "unsafe only with CLONE_FILES; a new network namespace is no matter of memory"
        )]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)
            .map_err(|error| format!("no network namespace: {error}"))?;
        let tun = Tun::open(TunConfig { name: "tun0".into(), mtu: 1500, offload })
            .map_err(|error| format!("no TUN device: {error}"))?;
        for words in [
            "link set lo up",
            "link set tun0 mtu 1500 up",
            "addr add 192.0.2.1/24 dev tun0",
            "route add 10.77.0.0/16 dev tun0",
        ] {
            let done = Command::new("ip").args(words.split(' ')).status();
            if !done.as_ref().is_ok_and(std::process::ExitStatus::success) {
                return Err(format!("`ip {words}`: {done:?}"));
            }
        }
        Ok(tun)
    };
    let body = || match prepare() {
        Ok(tun) => test(tun),
        Err(why) => eprintln!("skipped: {why}"),
    };
    std::thread::scope(|scope| scope.spawn(body).join()).unwrap();
}

fn data() -> Vec<u8> {
    (0..2_000_000_u32).map(|n| (n % 251) as u8).collect()
}

/// Sends data to who sends it back.
fn check_echo(mut stream: impl Read, mut writer: impl Write + Send, shut: impl FnOnce() + Send) {
    let data = data();
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&data).unwrap();
            shut();
        });
        stream.read_to_end(&mut back).unwrap();
    });
    assert!(back == data, "{} bytes", back.len());
}

/// A client of the kernel's.
fn kernel_client(to: Ipv4Addr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&(to, 80).into(), LIMIT).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn echo_once(listener: sockeye::TcpListener) {
    std::thread::spawn(move || {
        let (stream, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), MACHINE);
        std::io::copy(&mut &stream, &mut &stream).unwrap();
    });
}

#[test]
fn the_kernel_talks_to_a_host_over_a_tun() {
    for offload in [false, true] {
        in_a_namespace(offload, |tun| {
            let interface = LinkInterface::new("tun0").address("192.0.2.2".parse().unwrap(), 24);
            let host = Host::over("tunnelled", tun, &interface, HostConfig::default()).unwrap();
            echo_once(host.tcp_listen((host.ipv4(), 80)).unwrap());
            let client = kernel_client(host.ipv4());
            check_echo(&client, &client, || client.shutdown(Shutdown::Write).unwrap());
            // And the other way round.
            let listener = TcpListener::bind((MACHINE, 80)).unwrap();
            let server = std::thread::spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                std::io::copy(&mut &stream, &mut &stream).unwrap();
            });
            let client = host.tcp_connect((MACHINE, 80)).unwrap();
            check_echo(&client, &client, || client.shutdown(Shutdown::Write).unwrap());
            server.join().unwrap();
        });
    }
}

#[test]
fn the_kernel_reaches_the_hosts_of_a_network_by_its_uplink() {
    for offload in [false, true] {
        in_a_namespace(offload, |tun| {
            let interface = LinkInterface::new("tun0").address("192.0.2.2".parse().unwrap(), 24);
            let network = Network::builder()
                .host(
                    "web",
                    HostConfig { link: "delay 1ms loss 0.1%".parse().unwrap(), ..HostConfig::default() },
                )
                .uplink(tun, interface)
                .build()
                .unwrap();
            let web = network.host("web").unwrap();
            echo_once(web.tcp_listen((web.ipv4(), 80)).unwrap());
            let client = kernel_client(web.ipv4());
            check_echo(&client, &client, || client.shutdown(Shutdown::Write).unwrap());
        });
    }
}

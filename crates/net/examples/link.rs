//! A link of your own: IP packets in the datagrams of an ordinary UDP socket, as tunnels carry them. Two hosts,
//! which could be in two processes or on two machines, talk over it.
//!
//! `cargo run -p sockeye --example link`

use sockeye::link::{Capabilities, Link, Medium};
use sockeye::packet::{Batch, Chunk, Instant, Meta, Packet};
use sockeye::{Host, HostConfig, LinkInterface};
use std::io::{self, Read, Write};
use std::net::UdpSocket;

/// One end of the tunnel: a socket of the system, connected to the other end's.
struct Tunnel(UdpSocket);

impl Link for Tunnel {
    fn capabilities(&self) -> Capabilities {
        // What fits into an Ethernet frame behind the tunnel's own headers; nothing longer, and bytes leave memory.
        Capabilities { medium: Medium::Ip, mtu: 1472, max_packet: 1472, in_memory: false }
    }

    fn send(&mut self, _now: Instant, batch: &mut Batch) -> io::Result<()> {
        while let Some(packet) = batch.front() {
            match self.0.send(&packet.to_vec()) {
                // What is left in the batch is offered again once the socket is writable.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Lost, as on any link: the other end isn't there (yet).
                Ok(_) | Err(_) => drop(batch.pop()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, now: Instant, batch: &mut Batch) -> io::Result<()> {
        let mut buffer = [0; 2048];
        while !batch.is_full() {
            match self.0.recv(&mut buffer) {
                Ok(len) => {
                    let meta = Meta { received_at: now, ..Meta::default() };
                    batch.push(Packet::from_bytes(&Chunk::copy_from(&buffer[..len]), meta));
                }
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        // The host's thread sleeps on it; without a descriptor, a link wakes the waker of `set_waker`.
        Some(std::os::fd::AsFd::as_fd(&self.0))
    }
}

fn main() -> io::Result<()> {
    let (left, right) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    left.connect(right.local_addr()?)?;
    right.connect(left.local_addr()?)?;
    let host = |name, socket: UdpSocket, address: &str| {
        socket.set_nonblocking(true)?;
        let interface = LinkInterface::new("tunnel0").address(address.parse().map_err(io::Error::other)?, 24);
        Ok::<_, io::Error>(Host::over(name, Tunnel(socket), &interface, HostConfig::default())?)
    };
    let server = host("server", left, "192.0.2.1")?;
    let client = host("client", right, "192.0.2.2")?;

    let listener = server.tcp_listen((server.ipv4(), 80))?;
    // A host ends with its last handle, whatever it has still to send: this one must outlive the thread below.
    let kept = client.clone();
    let sender = std::thread::spawn(move || {
        let mut stream = client.tcp_connect((server.ipv4(), 80))?;
        stream.write_all(&vec![b'.'; 10_000_000])?;
        io::Result::Ok(())
    });
    let mut received = Vec::new();
    let (mut stream, peer) = listener.accept()?;
    stream.read_to_end(&mut received)?;
    sender.join().expect("the sender doesn't panic")?;
    drop(kept);
    println!("{} bytes came from {peer} through the tunnel", received.len());
    Ok(())
}

//! Sends a file over a link of 40 Mbit/s that loses packets, with a progress bar.
//!
//! `cargo run --example file_transfer [FILE]`; without a file, 4 MiB of numbers are sent.

use indicatif::{ProgressBar, ProgressStyle};
use sockeye::{Host, HostConfig, NetemConfig, Network, TcpListener};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread;

/// Sends the length, then the bytes, to the one who asks.
fn send(listener: &TcpListener, bytes: &[u8]) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.write_all(&(bytes.len() as u64).to_be_bytes())?;
    stream.write_all(bytes)
}

/// Receives all of it.
fn receive(host: &Host, server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = host.tcp_connect(server)?;
    let mut len = [0; 8];
    stream.read_exact(&mut len)?;
    let len = u64::from_be_bytes(len);
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left")
        .map_err(io::Error::other)?;
    let bar = ProgressBar::new(len).with_style(style);
    let mut bytes = Vec::new();
    bar.wrap_read(stream.take(len)).read_to_end(&mut bytes)?;
    bar.finish();
    if (bytes.len() as u64) < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => (0..1_u32 << 20).flat_map(u32::to_be_bytes).collect(),
    };
    let link: NetemConfig = "rate 40mbit delay 10ms loss 0.1%".parse()?;
    let network = Network::builder()
        .host("server", HostConfig { link: link.into(), ..HostConfig::default() })
        .host("client", HostConfig::default())
        .build()?;
    let listener = network.host("server")?.tcp_listen("server:9000")?;
    let address = listener.local_addr()?;
    let sent = bytes.clone();
    let sending = thread::spawn(move || send(&listener, &sent));
    let received = receive(&network.host("client")?, address)?;
    sending.join().expect("the sender doesn't panic")?;
    assert!(received == bytes, "the bytes came as they were sent");
    println!("{} bytes came as they were sent", received.len());
    Ok(())
}

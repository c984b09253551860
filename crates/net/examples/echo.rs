//! An echo server and a client on two hosts, over a link that loses a tenth of all packets.
//!
//! `cargo run --example echo`

use sockeye::{HostConfig, NetemConfig, Network};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let link: NetemConfig = "delay 2ms loss 10%".parse()?;
    let network = Network::builder()
        .host("server", HostConfig::default())
        .host("client", HostConfig { link: link.into(), ..HostConfig::default() })
        .build()?;
    let (server, client) = (network.host("server")?, network.host("client")?);

    let listener = server.tcp_listen((server.ipv4(), 7))?;
    let echo = thread::spawn(move || -> std::io::Result<u64> {
        let (mut stream, peer) = listener.accept()?;
        println!("server: {peer} is here");
        let mut from = stream.try_clone()?;
        std::io::copy(&mut from, &mut stream)
    });

    let mut stream = client.tcp_connect((server.ipv4(), 7))?;
    let text = "bottles of water on the wall\n".repeat(1000);
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert_eq!(answer, text);

    let echoed = echo.join().expect("the server doesn't panic")?;
    let lost = network.link(&client, sockeye::Direction::Up).1.lost
        + network.link(&client, sockeye::Direction::Down).1.lost;
    println!("client: {echoed} bytes came back as they were sent, though the link lost {lost} segments");
    Ok(())
}

//! The connectionless sequence of calls. The server: socket, bind, receive from, work, send to. The client:
//! socket, bind, send to, receive from. Nobody connects.
//!
//! `cargo run --example connectionless`

use sockeye::{Host, HostConfig, Network, UdpSocket};
use std::io;
use std::net::SocketAddr;
use std::thread;

/// Receives from anybody, works, and sends the answer to whom it is for.
fn serve(socket: &UdpSocket, requests: usize) -> io::Result<()> {
    let mut letter = [0; 1500];
    for _ in 0..requests {
        let (len, sender) = socket.recv_from(&mut letter)?;
        let answer = String::from_utf8_lossy(&letter[..len]).to_uppercase();
        socket.send_to(answer.as_bytes(), sender)?;
    }
    Ok(())
}

fn ask(host: &Host, server: SocketAddr, question: &str) -> io::Result<String> {
    let socket = host.udp_bind((host.ipv4(), 0))?;
    socket.send_to(question.as_bytes(), server)?;
    let mut letter = [0; 1500];
    let (len, sender) = socket.recv_from(&mut letter)?;
    assert_eq!(sender, server);
    Ok(String::from_utf8_lossy(&letter[..len]).into_owned())
}

fn main() -> io::Result<()> {
    let network = Network::builder()
        .host("server", HostConfig::default())
        .host("client", HostConfig::default())
        .build()?;
    let (server, client) = (network.host("server")?, network.host("client")?);

    // It has its name before anybody writes: a letter to nobody would be refused.
    let socket = server.udp_bind((server.ipv4(), 7000))?;
    let address = socket.local_addr()?;
    let questions = ["is anybody there?", "who?"];
    let serving = thread::spawn(move || serve(&socket, questions.len()));
    for question in questions {
        println!("{question} {}", ask(&client, address, question)?);
    }
    serving.join().expect("the server doesn't panic")
}

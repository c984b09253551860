//! The connection-oriented sequence of calls. The server: socket, bind, listen, and for each client accept, receive,
//! send, close, while the socket that has the name goes on waiting. The client: socket, connect, send, receive, close.
//!
//! `cargo run --example connection_oriented`

use sockeye::{Host, HostConfig, Network, TcpListener, TcpStream};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 16;

fn name(host: &Host) -> io::Result<TcpListener> {
    let socket = host.tcp_socket_v4()?;
    socket.bind((host.ipv4(), 7000))?;
    socket.listen(BACKLOG)
}

/// Accepts clients, each of whom gets a socket and a thread of its own.
fn serve(listener: &TcpListener, clients: usize) -> io::Result<()> {
    thread::scope(|scope| {
        for _ in 0..clients {
            let (stream, peer) = listener.accept()?;
            println!("server: {peer} has a socket of its own");
            scope.spawn(move || answer(stream));
        }
        Ok(())
    })
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut question = String::new();
    stream.read_to_string(&mut question)?;
    stream.write_all(question.to_uppercase().as_bytes())
    // Dropped, and thereby closed.
}

fn ask(host: &Host, server: SocketAddr, question: &str) -> io::Result<String> {
    let mut stream = host.tcp_socket_v4()?.connect(server)?;
    stream.write_all(question.as_bytes())?;
    // The question ends here; the answer may still come.
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> io::Result<()> {
    let network = Network::builder()
        .host("server", HostConfig::default())
        .host("client", HostConfig::default())
        .build()?;
    let (server, client) = (network.host("server")?, network.host("client")?);

    let listener = name(&server)?;
    let address = listener.local_addr()?;
    let questions = ["is anybody there?", "who?"];
    let serving = thread::spawn(move || serve(&listener, questions.len()));
    let asking = questions.map(|question| {
        let client = client.clone();
        thread::spawn(move || ask(&client, address, question))
    });
    for (question, asked) in questions.iter().zip(asking) {
        println!("client: {question} {}", asked.join().expect("a client doesn't panic")?);
    }
    serving.join().expect("the server doesn't panic")
}

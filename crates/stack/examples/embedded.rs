//! The stack alone: the cable between two hosts, their programs and their clock are one loop.
//!
//! `cargo run -p sockeye-stack --example embedded`

use sockeye_packet::{Batch, Chunk, Instant, NicId};
use sockeye_stack::{
    Config, Domain, Error, Event, NicConfig, Owner, RecvFlags, Result, SendFlags, SockAddr, SocketType, Stack,
};
use std::collections::VecDeque;

fn host(address: [u8; 4], seed: u8) -> Result<(Stack, NicId)> {
    let mut stack = Stack::new(Config::default(), [seed; 32]);
    let nic = stack.add_nic(NicConfig::memory("eth0", 1500))?;
    stack.add_address(nic, address.into(), 24)?;
    Ok((stack, nic))
}

fn main() -> Result<()> {
    let ((mut server, at_server), (mut client, at_client)) =
        (host([10, 0, 0, 1], 1)?, host([10, 0, 0, 2], 2)?);
    let (mut now, mut batch, echo) = (Instant::ZERO, Batch::new(), SockAddr::new([10, 0, 0, 1].into(), 7));
    let listener = server.socket(Domain::Inet, SocketType::Stream, Owner::default())?;
    server.bind(listener, echo)?;
    server.listen(now, listener, 16)?;
    let caller = client.socket(Domain::Inet, SocketType::Stream, Owner::default())?;
    // Nothing ever blocks: the connection is begun here, and the socket becomes writable when it is open.
    assert_eq!(client.connect(now, caller, echo), Err(Error::InProgress));
    loop {
        client.poll_transmit(now, at_client, &mut batch);
        server.handle_packets(now, at_server, &mut batch);
        while let Some(event) = server.poll_event() {
            if event == Event::Ready(listener) {
                let (peer, address) = server.accept(now, listener)?;
                println!("server: {} is here", std::net::SocketAddr::from(address));
                let mut greeting = VecDeque::from([Chunk::copy_from(b"hello")]);
                server.send(now, peer, &mut greeting, SendFlags::default())?;
                server.close(now, peer)?;
            }
        }
        server.poll_transmit(now, at_server, &mut batch);
        client.handle_packets(now, at_client, &mut batch);
        let mut is_ready = client.poll_event() == Some(Event::Ready(caller));
        while is_ready {
            match client.recv(now, caller, 1000, RecvFlags::default()) {
                Ok(data) if data.is_empty() => return client.close(now, caller),
                Ok(data) => println!("client: {}", String::from_utf8_lossy(&data.to_vec())),
                // A socket is named once: then it is read until it would block.
                Err(Error::WouldBlock) => is_ready = false,
                Err(error) => return Err(error),
            }
        }
        if !client.wants_transmit(at_client) && !server.wants_transmit(at_server) {
            // Nothing moves: time goes on to what is due next. A real loop sleeps till then, or till packets come.
            let due = [client.poll_timeout(), server.poll_timeout()].into_iter().flatten();
            now = due.map(|wake| wake.at).min().expect("a connection has timers").max(now);
            client.handle_timeout(now);
            server.handle_timeout(now);
        }
    }
}

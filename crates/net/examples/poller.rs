//! One thread serves all clients of an echo server, and watches a pipe of the machine's in the same loop:
//! the poller's descriptor goes to poll(2) with the pipe's.

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("This example uses poll(2).");
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::event::{PollFd, PollFlags, poll};
    use sockeye::poller::{Events, Interest, Mode, Poller};
    use sockeye::{Host, HostConfig, Network, TcpListener, TcpStream};
    use std::collections::HashMap;
    use std::io::{self, ErrorKind, PipeReader, Read, Write};
    use std::net::SocketAddr;
    use std::thread;
    use std::time::Duration;

    /// The listener's key; the clients' count up from here.
    const LISTENER: usize = 0;
    const CLIENTS: usize = 20;

    pub(super) fn main() -> io::Result<()> {
        let network = Network::builder()
            .host("server", HostConfig::default())
            .host("client", HostConfig::default())
            .build()?;
        let (server, client) = (network.host("server")?, network.host("client")?);
        let listener = server.tcp_listen((server.ipv4(), 7))?;
        let addr = listener.local_addr()?;
        let (stop, mut stopper) = io::pipe()?;
        let serving = thread::spawn(move || serve(&listener, &stop));

        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = client.clone();
                thread::spawn(move || talk(&client, addr, number))
            })
            .collect();
        for client in clients {
            client.join().expect("a client panicked")?;
        }
        stopper.write_all(b"!")?;
        let echoed = serving.join().expect("the server panicked")?;
        println!("One thread echoed {echoed} bytes to {CLIENTS} clients.");
        Ok(())
    }

    /// Echoes until there is something in the pipe; returns how many bytes.
    fn serve(listener: &TcpListener, stop: &PipeReader) -> io::Result<usize> {
        listener.set_nonblocking(true)?;
        let (poller, mut events) = (Poller::new(), Events::new());
        poller.add(listener, LISTENER, Interest::READABLE, Mode::Level)?;
        let mut clients = HashMap::new();
        let (mut next_key, mut echoed) = (LISTENER, 0);
        loop {
            let ours = poller.as_fd()?;
            let mut fds = [PollFd::new(&ours, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            poll(&mut fds, None)?;
            if !fds[1].revents().is_empty() {
                return Ok(echoed);
            }
            poller.wait(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                if event.key == LISTENER {
                    let (stream, peer) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    next_key += 1;
                    poller.add(&stream, next_key, Interest::READABLE, Mode::Level)?;
                    println!("{peer} is number {next_key}");
                    clients.insert(next_key, stream);
                } else if let Some(stream) = clients.get(&event.key) {
                    match echo(stream) {
                        Ok(0) => drop(clients.remove(&event.key)),
                        Ok(count) => echoed += count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Sends back what has come: these clients never let so much wait that there would be no room.
    fn echo(mut stream: &TcpStream) -> io::Result<usize> {
        let mut data = [0; 1024];
        let count = stream.read(&mut data)?;
        stream.write_all(&data[..count])?;
        Ok(count)
    }

    fn talk(host: &Host, addr: SocketAddr, number: usize) -> io::Result<()> {
        let mut stream = host.tcp_connect(addr)?;
        for line in 0..3 {
            let said = format!("client {number}, line {line}\n");
            stream.write_all(said.as_bytes())?;
            let mut heard = vec![0; said.len()];
            stream.read_exact(&mut heard)?;
            assert_eq!(heard, said.as_bytes());
        }
        Ok(())
    }
}

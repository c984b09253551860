//! A chat: what one says all hear, over links that are slow and lose packets.
//!
//! `cargo run --example chat`

use sockeye::{Host, HostConfig, NetemConfig, Network, TcpListener, TcpStream};
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];

/// The members' streams, to write to.
#[derive(Default)]
struct Room(Mutex<Vec<TcpStream>>);

impl Room {
    fn members(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all members; who can't be told any more is one no longer.
    fn say(members: &mut Vec<TcpStream>, line: &str) {
        members.retain_mut(|member| writeln!(member, "{line}").is_ok());
    }

    /// Takes a member in, and passes on what it says, until it leaves.
    fn host(&self, stream: TcpStream) -> io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let Some(name) = lines.next().transpose()? else { return Ok(()) };
        // Who doesn't listen must not keep the others waiting.
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        {
            let mut members = self.members();
            members.push(stream);
            let count = members.len();
            Room::say(&mut members, &format!("* {name} comes, that makes {count}"));
        }
        while let Some(line) = lines.next().transpose()? {
            Room::say(&mut self.members(), &format!("<{name}> {line}"));
        }
        Ok(())
    }
}

fn serve(listener: &TcpListener, people: usize) -> io::Result<()> {
    let room = Arc::new(Room::default());
    for stream in listener.incoming().take(people) {
        let (stream, room) = (stream?, Arc::clone(&room));
        thread::spawn(move || room.host(stream));
    }
    Ok(())
}

/// Waits for a line that ends like this, and prints all that is heard till then.
fn hear(name: &str, lines: &mut Lines<BufReader<TcpStream>>, end: &str) -> io::Result<()> {
    loop {
        let line = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        println!("{name} hears {line}");
        if line.ends_with(end) {
            return Ok(());
        }
    }
}

fn talk(host: &Host, server: SocketAddr) -> io::Result<()> {
    let name = host.name();
    let mut stream = host.tcp_connect(server)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    writeln!(stream, "{name}")?;
    hear(name, &mut lines, &format!("that makes {}", PEOPLE.len()))?;
    writeln!(stream, "hello, I am {name}")?;
    writeln!(stream, "bye")?;
    PEOPLE.iter().try_for_each(|_| hear(name, &mut lines, "bye"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let link: NetemConfig = "delay 30ms loss 5%".parse()?;
    let mut network = Network::builder().host("server", HostConfig::default());
    for name in PEOPLE {
        network = network.host(name, HostConfig { link: link.into(), ..HostConfig::default() });
    }
    let network = network.build()?;

    let listener = network.host("server")?.tcp_listen("server:6667")?;
    let address = listener.local_addr()?;
    let serving = thread::spawn(move || serve(&listener, PEOPLE.len()));
    let mut talking = Vec::new();
    for name in PEOPLE {
        let host = network.host(name)?;
        talking.push(thread::spawn(move || talk(&host, address)));
    }
    for one in talking {
        one.join().expect("nobody panics")?;
    }
    Ok(serving.join().expect("the server doesn't panic")?)
}

//! A thousand hosts in one simulation: each keeps connections to ten others open and sends 100 bytes over each of
//! them every 10 seconds, for an hour of virtual time.
//!
//!     cargo run --release -p sockeye --example thousand --features simulation
//!
//! Ends with an error when a message is missing or the hour takes longer than a minute. An argument is the links'
//! conditions.

use sockeye::simulation::{current_host, spawn};
use sockeye::tokio::{TcpListener, TcpStream};
use sockeye::{HostConfig, NetemConfig, Network};
use std::cell::Cell;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{interval_at, sleep};

const HOSTS: usize = 1000;
const PEERS: usize = 10;
const MESSAGE: usize = 100;
const EVERY: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_hours(1);
const PORT: u16 = 4000;
/// The time that it may take.
const LIMIT: Duration = Duration::from_mins(1);

fn main() -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let link: NetemConfig = std::env::args().nth(1).unwrap_or_default().parse()?;
    let mut sim = Network::builder().seed(1).simulate()?;
    let received = Rc::new(Cell::new(0));
    let config = || HostConfig { link: link.into(), ..HostConfig::default() };
    let hosts = (0..HOSTS)
        .map(|number| sim.add_host(&format!("host-{number}"), config()))
        .collect::<Result<Vec<_>, _>>()?;
    let addresses: Rc<[Ipv4Addr]> = hosts.iter().map(sockeye::Host::ipv4).collect();
    for (number, host) in hosts.iter().enumerate() {
        let (received, addresses) = (Rc::clone(&received), Rc::clone(&addresses));
        sim.program(host, move || {
            spawn(listen(Rc::clone(&received)));
            talk(number, Rc::clone(&addresses))
        });
    }
    println!("{HOSTS} hosts after {:.2?}", started.elapsed());
    // What is sent last has a second to arrive.
    sim.run_for(HOUR + Duration::from_secs(1));

    let took = started.elapsed();
    let expected = HOSTS * PEERS * (HOUR.as_secs() / EVERY.as_secs()) as usize;
    let each = took.as_secs_f64() * 1e6 / expected as f64;
    println!("{} of {expected} messages in {took:.2?}: {each:.2} µs each", received.get());
    if received.get() != expected {
        return Err("messages are missing".into());
    }
    if took > LIMIT {
        return Err(format!("it took longer than {LIMIT:?}").into());
    }
    Ok(())
}

/// Takes connections and reads what comes.
async fn listen(received: Rc<Cell<usize>>) -> std::io::Result<()> {
    let host = current_host()?;
    let listener = TcpListener::bind(&host, (IpAddr::from(host.ipv4()), PORT)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let received = Rc::clone(&received);
        spawn(async move {
            let mut message = [0; MESSAGE];
            while stream.read_exact(&mut message).await.is_ok() {
                received.set(received.get() + 1);
            }
        });
    }
}

/// Connects to ten others and writes to all of them, again and again.
async fn talk(number: usize, addresses: Rc<[Ipv4Addr]>) -> std::io::Result<()> {
    let host = current_host()?;
    // Nobody starts at the same moment as another.
    sleep(Duration::from_millis(1 + number as u64 * 9)).await;
    let mut streams = Vec::with_capacity(PEERS);
    for step in 1..=PEERS {
        let peer = addresses[(number + step * step) % addresses.len()];
        streams.push(TcpStream::connect(&host, (peer, PORT)).await?);
    }
    let message = [number as u8; MESSAGE];
    let mut ticks = interval_at(tokio::time::Instant::now(), EVERY);
    for _ in 0..HOUR.as_secs() / EVERY.as_secs() {
        ticks.tick().await;
        for stream in &mut streams {
            stream.write_all(&message).await?;
        }
    }
    std::future::pending().await
}

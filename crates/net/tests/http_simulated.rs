//! An axum server and hyper clients in a simulation: ten thousand requests over a bad network, none lost.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use sockeye::simulation::{current_host, spawn};
use sockeye::tokio::{TcpListener, TcpStream};
use sockeye::{HostConfig, NetemConfig, Network};
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const CLIENTS: u64 = 20;
const REQUESTS: u64 = 500;

/// A listener of ours, as axum wants it.
struct Door(TcpListener);

impl axum::serve::Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn serve(address: SocketAddr) -> std::io::Result<()> {
    let host = current_host()?;
    let listener = TcpListener::bind(&host, address).await?;
    let square = |Path(number): Path<u64>| async move { (number * number).to_string() };
    axum::serve(Door(listener), Router::new().route("/square/{number}", get(square))).await
}

/// Makes requests one after the other over one connection; how many were answered rightly.
async fn ask(server: SocketAddr, first: u64) -> Result<u64, Box<dyn Error>> {
    let host = current_host()?;
    let stream = TcpStream::connect(&host, server).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    spawn(connection);
    let mut answered = 0;
    for number in first..first + REQUESTS {
        let request = Request::get(format!("/square/{number}"))
            .header("host", server.to_string())
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await?.to_bytes();
        assert_eq!(body, (number * number).to_string().as_bytes());
        answered += 1;
    }
    Ok(answered)
}

#[test]
fn ten_thousand_requests_over_a_bad_network_are_answered() {
    let started = Instant::now();
    let mut sim = Network::builder().seed(1).simulate().unwrap();
    let web = sim.add_host("web", HostConfig::default()).unwrap();
    let address = (web.ipv4(), 80).into();
    sim.program(&web, move || serve(address));
    let link: NetemConfig = "delay 40ms loss 2%".parse().unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let config = HostConfig { link: link.into(), ..HostConfig::default() };
            let host = sim.add_host(&format!("client-{number}"), config).unwrap();
            sim.spawn(&host, ask(address, number * REQUESTS))
        })
        .collect();
    let mut answered = 0;
    for client in clients {
        answered += sim.block_on(client).unwrap().unwrap().unwrap();
    }
    assert_eq!(answered, CLIENTS * REQUESTS);
    let took = started.elapsed();
    println!("{answered} requests, {} s of virtual time, in {took:.2?}", sim.now());
    assert!(took < Duration::from_secs(10), "it took {took:.2?}");
}

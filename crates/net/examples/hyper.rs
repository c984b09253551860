//! An HTTP server and a client of hyper on two hosts, over a slow link that loses packets.
//!
//! `cargo run --example hyper --features tokio`
//!
//! A pool of connections is `sockeye::tokio::HttpConnector` (feature `hyper-util`), which works in the same way.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::TokioIo;
use sockeye::tokio::{TcpListener, TcpStream};
use sockeye::{HostConfig, NetemConfig, Network};
use std::error::Error;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let link: NetemConfig = "delay 20ms loss 2%".parse()?;
    let network = Network::builder()
        .host("server", HostConfig::default())
        .host("client", HostConfig { link: link.into(), ..HostConfig::default() })
        .build()?;
    let (server, client) = (network.host("server")?, network.host("client")?);

    let listener = TcpListener::bind(&server, "server:80").await?;
    tokio::spawn(serve(listener));

    // One connection, kept alive for all requests: a task drives it, the sender is for who asks.
    let stream = TcpStream::connect(&client, "server:80").await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    for path in ["/", "/upstream", "/spawning-grounds"] {
        let started = Instant::now();
        let request = Request::get(path).header("host", server.name()).body(Full::<Bytes>::default())?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("client: {path} {status} in {:?}: {}", started.elapsed(), String::from_utf8_lossy(&body));
    }
    drop(sender);
    Ok(connection.await??)
}

/// Serves one connection after the other, each in a task of its own.
async fn serve(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        println!("server: {peer} is here");
        tokio::spawn(async move {
            let connection = server::conn::http1::Builder::new();
            let served = connection.serve_connection(TokioIo::new(stream), service_fn(answer));
            if let Err(error) = served.await {
                println!("server: {peer}: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let text = format!("no salmon at {} today", request.uri().path());
    Ok(Response::new(Full::from(text)))
}

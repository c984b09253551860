//! An axum server on one host, and a client of hyper on another, over a link with loss and delay.
//!
//! `cargo run --example axum --features axum`

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sockeye::tokio::{TcpListener, TcpStream};
use sockeye::{Direction, HostConfig, NetemConfig, Network};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many salmon have been counted.
type Count = Arc<AtomicU64>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let link: NetemConfig = "delay 20ms loss 5%".parse()?;
    let network = Network::builder()
        .host("server", HostConfig::default())
        .host("client", HostConfig { link: link.into(), ..HostConfig::default() })
        .build()?;
    let (server, client) = (network.host("server")?, network.host("client")?);

    let app = Router::new()
        .route("/salmon", get(async |State(count): State<Count>| count.load(Ordering::Relaxed).to_string()))
        .route("/salmon/{more}", post(add))
        .with_state(Count::default());
    let listener = TcpListener::bind(&server, "server:80").await?;
    println!("server: listens at {}", listener.local_addr()?);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async {
        let stopped = async { drop(stopped.await) };
        axum::serve(listener, app).with_graceful_shutdown(stopped).await
    });

    // Five clients at once, each with a connection of its own.
    let clients = (1..=5).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let stream = TcpStream::connect(&client, "server:80").await?;
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            for more in 1..=10 {
                let answer = ask(&mut sender, "POST", &format!("/salmon/{more}")).await?;
                println!("client {number}: {more} more, {answer}");
            }
            Result::Ok(sender)
        })
    });
    let mut senders = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        senders.push(client.await??);
    }
    let salmon = ask(&mut senders[0], "GET", "/salmon").await?;
    assert_eq!(salmon, "275");

    drop(senders);
    drop(stop);
    serving.await??;
    let lost = [Direction::Up, Direction::Down].map(|way| network.link(&client, way).1.lost);
    println!("{salmon} salmon were counted, though the link lost {} packets", lost[0] + lost[1]);
    Ok(())
}

async fn add(State(count): State<Count>, Path(more): Path<u64>) -> String {
    let before = count.fetch_add(more, Ordering::Relaxed);
    format!("{} in all", before + more)
}

/// Makes a request and returns its answer's text.
async fn ask(sender: &mut SendRequest<Body>, method: &str, path: &str) -> Result<String> {
    let request = Request::builder().method(method).uri(path).header("host", "server").body(Body::empty())?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    assert_eq!(response.status(), 200, "{method} {path}");
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?)
}

//! Web servers and clients that were written for the system's sockets, over a bad link.

use axum::extract::{ConnectInfo, Path, State};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sockeye::tokio::{TcpListener, TcpStream};
use sockeye::{Direction, Host, HostConfig, NetemConfig, Network};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const CONNECTIONS: u64 = 250;
const REQUESTS: u64 = 40;
/// Far more than it takes: who waits for ever is to be named, not to hang.
const LIMIT: Duration = Duration::from_mins(2);

/// A request's answer must be that request's: its text says whose it is, and is longer than a segment.
fn text(number: u64) -> String {
    format!("salmon {number}\n").repeat(200)
}

async fn answer(State(served): State<Arc<AtomicU64>>, Path(number): Path<u64>) -> String {
    served.fetch_add(1, Ordering::Relaxed);
    text(number)
}

/// Makes all requests of one connection.
async fn ask(client: Host, server: SocketAddr, first: u64) {
    let stream = TcpStream::connect(&client, server).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for number in first..first + REQUESTS {
        assert_eq!(get_one(&mut sender, number).await, text(number), "request {number}");
    }
    drop(sender);
    connection.await.unwrap().unwrap();
}

async fn get_one(sender: &mut SendRequest<Body>, number: u64) -> String {
    let request = Request::get(format!("/{number}")).header("host", "web").body(Body::empty()).unwrap();
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200, "request {number}");
    let body = response.into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// As the documentation of `sockeye::tokio` has it: axum has it for `tap_io`'s listener, not for a foreign one.
#[tokio::test]
async fn a_server_knows_its_clients_addresses() {
    let network = Network::builder()
        .host("web", HostConfig::default())
        .host("client", HostConfig::default())
        .build()
        .unwrap();
    let (web, client) = (network.host("web").unwrap(), network.host("client").unwrap());
    let who = async |ConnectInfo(peer): ConnectInfo<SocketAddr>, Path(_): Path<u64>| peer.to_string();
    let router = Router::new().route("/{number}", get(who));
    let listener = TcpListener::bind(&web, "web:80").await.unwrap();
    let serving = tokio::spawn(async {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener.tap_io(|_| ()), service).await
    });
    let stream = TcpStream::connect(&client, "web:80").await.unwrap();
    let address = stream.local_addr().unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(get_one(&mut sender, 1).await, address.to_string());
    serving.abort();
}

#[cfg(feature = "hyper-util")]
#[tokio::test]
async fn a_pool_opens_a_connection_and_keeps_it() {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use sockeye::tokio::HttpConnector;

    let hosts = ["web", "client"];
    let builder = hosts.iter().fold(Network::builder(), |all, name| all.host(*name, HostConfig::default()));
    let network = builder.build().unwrap();
    let (web, client) = (network.host("web").unwrap(), network.host("client").unwrap());
    let app = Router::new().route("/{number}", get(answer)).with_state(Arc::default());
    let (mut accepted, opened) = (0, Arc::new(AtomicU64::new(0)));
    let (listener, count) = (TcpListener::bind(&web, "web:80").await.unwrap(), Arc::clone(&opened));
    let serving = tokio::spawn(async move {
        let listener = listener.tap_io(move |_| {
            accepted += 1;
            count.store(accepted, Ordering::Relaxed);
        });
        axum::serve(listener, app).await
    });
    let pool: Client<_, Body> = Client::builder(TokioExecutor::new()).build(HttpConnector::new(&client));
    for number in 0..3 {
        let response = pool.get(format!("http://web/{number}").parse().unwrap()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), text(number));
    }
    assert_eq!(opened.load(Ordering::Relaxed), 1);
    for nowhere in ["http://db/", "http://web:81/", "https://web/"] {
        assert!(pool.get(nowhere.parse().unwrap()).await.unwrap_err().is_connect(), "{nowhere}");
    }
    serving.abort();
}

/// Ten thousand requests to a server of axum's, over a link that delays by 40 ms and loses 2 % each way.
async fn all_requests_are_answered() {
    let link: NetemConfig = "delay 40ms loss 2%".parse().unwrap();
    let network = Network::builder()
        .host("web", HostConfig::default())
        .host("client", HostConfig { link: link.into(), ..HostConfig::default() })
        .build()
        .unwrap();
    let (web, client) = (network.host("web").unwrap(), network.host("client").unwrap());
    let served = Arc::new(AtomicU64::new(0));
    let app = Router::new().route("/{number}", get(answer)).with_state(Arc::clone(&served));
    let listener = TcpListener::bind(&web, (web.ipv4(), 80)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async { axum::serve(listener, app).await });

    let mut clients: JoinSet<()> =
        (0..CONNECTIONS).map(|number| ask(client.clone(), address, number * REQUESTS)).collect();
    let all = async {
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    };
    let in_time = tokio::time::timeout(LIMIT, all).await;
    let served = served.load(Ordering::Relaxed);
    assert!(in_time.is_ok(), "{served} of {} requests served", CONNECTIONS * REQUESTS);
    assert_eq!(served, CONNECTIONS * REQUESTS, "each request once");
    let lost = [Direction::Up, Direction::Down].map(|way| network.link(&client, way).1.lost);
    assert!(lost.iter().all(|&lost| lost > 100), "the link was good: it lost {lost:?}");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_over_a_bad_link_with_threads() {
    all_requests_are_answered().await;
}

#[tokio::test(flavor = "current_thread")]
async fn ten_thousand_requests_over_a_bad_link_in_one_thread() {
    all_requests_are_answered().await;
}

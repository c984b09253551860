//! hyper-util's pooled HTTP client over the connections of a host (feature `hyper-util`).

use super::TcpStream;
use crate::Host;
use ::hyper_util::client::legacy::connect::{Connected, Connection};
use ::hyper_util::rt::TokioIo;
use http::Uri;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// For `hyper_util::client::legacy::Client`: opens the connections of its pool from one host, as hyper-util's type of
/// this name does from the machine. Names are those of the network; `https` is
/// [`Unsupported`](io::ErrorKind::Unsupported).
///
/// ```
/// use http_body_util::{BodyExt, Empty};
/// use hyper::body::Bytes;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use sockeye::tokio::HttpConnector;
/// # use hyper::{Response, server::conn::http1, service::service_fn};
/// # use hyper_util::rt::TokioIo;
/// # use sockeye::{HostConfig, Network};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// # let listener = sockeye::tokio::TcpListener::bind(&web, "web:80").await?;
/// # tokio::spawn(async move {
/// #     let (stream, _) = listener.accept().await.unwrap();
/// #     let hello = service_fn(async |_| std::io::Result::Ok(Response::new("hello".to_owned())));
/// #     http1::Builder::new().serve_connection(TokioIo::new(stream), hello).await
/// # });
/// let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(HttpConnector::new(&me));
/// for path in ["http://web/", "http://web/again"] {
///     let response = client.get(path.parse()?).await?;
///     assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HttpConnector {
    host: Host,
}

impl HttpConnector {
    /// Connections from `host`.
    pub fn new(host: &Host) -> HttpConnector {
        HttpConnector { host: host.clone() }
    }
}

/// A connection being opened.
type Opening = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

impl Service<Uri> for HttpConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Opening;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Opening {
        let host = self.host.clone();
        Box::pin(async move {
            let (name, port) = server_of(&uri)?;
            TcpStream::connect(&host, (name, port)).await.map(TokioIo::new)
        })
    }
}

/// Where a URI's server is.
fn server_of(uri: &Uri) -> io::Result<(&str, u16)> {
    let bad = |kind, reason| io::Error::new(kind, format!("can't connect to {uri}: {reason}"));
    if uri.scheme_str() != Some("http") {
        return Err(bad(io::ErrorKind::Unsupported, "only http is spoken here, as in \"http://web:8080/\""));
    }
    let name = uri.host().ok_or_else(|| bad(io::ErrorKind::InvalidInput, "it has no host"))?;
    // RFC 3986 §3.2.2: IPv6 addresses stand in brackets.
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    Ok((name, uri.port_u16().unwrap_or(80)))
}

/// For connectors of one's own: nothing is known of a connection but that it is one.
impl Connection for TcpStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_as_in_uris() {
        let servers = [
            ("http://web/", ("web", 80)),
            ("http://web:8080/x?y", ("web", 8080)),
            ("http://10.77.0.2", ("10.77.0.2", 80)),
            ("http://[fd77::2]:81/", ("fd77::2", 81)),
        ];
        for (uri, server) in servers {
            assert_eq!(server_of(&uri.parse().unwrap()).unwrap(), server);
        }
        for uri in ["https://web/", "/relative", "web:80"] {
            let error = server_of(&uri.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
        }
    }
}

//! What programs hold may be used from any thread.

use sockeye::{Host, Network, TapId, TcpListener, TcpStream, UdpSocket};

fn for_any_thread<T: Send + Sync + 'static>() {}

#[test]
fn handles_are_for_any_thread() {
    for_any_thread::<Network>();
    for_any_thread::<Host>();
    for_any_thread::<TcpListener>();
    for_any_thread::<TcpStream>();
    for_any_thread::<UdpSocket>();
    for_any_thread::<TapId>();
    for_any_thread::<sockeye::TcpSocket>();
    for_any_thread::<sockeye::Poller>();
    for_any_thread::<sockeye::Error>();
    for_any_thread::<sockeye::HostConfig>();
    for_any_thread::<sockeye::LinkInterface>();
}

#[cfg(feature = "tokio")]
#[test]
fn asynchronous_handles_are_for_any_thread() {
    for_any_thread::<sockeye::tokio::TcpListener>();
    for_any_thread::<sockeye::tokio::TcpStream>();
    for_any_thread::<sockeye::tokio::UdpSocket>();
}

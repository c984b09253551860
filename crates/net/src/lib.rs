#![doc = include_str!("guide.md")]
#![forbid(unsafe_code)]

mod blocking;
mod builder;
mod capture;
mod clock;
#[cfg(unix)]
mod descriptors;
mod driver;
mod error;
mod faults;
mod host;
mod lane;
mod membership;
mod multicast;
mod network;
mod nic;
mod options;
mod over;
pub mod poller;
mod registry;
mod resolve;
mod routing;
pub mod simulation;
mod socket;
mod stack_socket;
mod subnet;
mod sync;
mod tap;
mod tcp_socket;
#[cfg(feature = "tokio")]
pub mod tokio;
mod waiters;
mod wire;

pub use blocking::listener::{Incoming, IntoIncoming, TcpListener};
pub use blocking::stream::TcpStream;
pub use blocking::udp::UdpSocket;
pub use builder::{HostConfig, InterfaceConfig, LinkConfig, NetworkBuilder, SubnetConfig};
pub use error::Error;
pub use host::{Host, HostId};
pub use network::Network;
pub use nic::Interface;
pub use options::TcpKeepalive;
pub use over::LinkInterface;
pub use poller::Poller;
pub use resolve::ToSocketAddrs;
pub use simulation::{Simulation, simulate};
pub use stack_socket::StackSocket;
pub use subnet::Subnet;
pub use tap::{TapId, Verdict};
pub use tcp_socket::TcpSocket;

pub use bytes::Bytes;
pub use sockeye_link as link;
pub use sockeye_link::fabric::Direction;
pub use sockeye_link::netem::NetemConfig;
#[cfg(all(feature = "local", target_os = "linux"))]
pub use sockeye_local as local;
pub use sockeye_packet as packet;
pub use sockeye_packet::Instant;
pub use sockeye_stack as stack;
pub use sockeye_stack::{CongestionControl, TcpInfo, TcpState, congestion};
pub use sockeye_wire as wire_format;

#[cfg(sockeye_model)]
pub use sync::let_time_pass;

/// The README's example is a test too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

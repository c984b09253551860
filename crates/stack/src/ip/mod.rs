//! The internet layer of one host: interfaces, addresses, routes, input, output, fragments and ICMP.

pub(crate) mod address;
pub(crate) mod complaint;
pub(crate) mod error_limit;
mod express;
pub(crate) mod forward;
pub(crate) mod fragment;
pub(crate) mod icmp;
pub(crate) mod igmp;
pub(crate) mod input;
pub(crate) mod mld;
pub(crate) mod multicast;
pub(crate) mod options;
pub(crate) mod output;
pub(crate) mod pmtu;
pub(crate) mod reassembly;
pub(crate) mod route;
pub(crate) mod sent_options;
pub(crate) mod train;

//! The internet layer of one host: interfaces, addresses, routes, input, output, ICMP.

pub mod route;

//! The cases, by subject.

pub(crate) mod cancellation;
pub(crate) mod clones;
pub(crate) mod connect;
pub(crate) mod errors;
pub(crate) mod ipv6;
pub(crate) mod linger;
pub(crate) mod names;
pub(crate) mod nonblocking;
pub(crate) mod options;
pub(crate) mod peek;
pub(crate) mod readiness;
pub(crate) mod shutdown;
pub(crate) mod sockets;
pub(crate) mod split;
pub(crate) mod stream;
pub(crate) mod timeouts;
pub(crate) mod transfers;
pub(crate) mod udp;
pub(crate) mod vectored;

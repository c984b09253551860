//! Congestion control that the embedder brings.

use super::Controller;
use alloc::boxed::Box;
use core::fmt;
use core::hash::{Hash, Hasher};

/// An algorithm of the embedder's own: its name, and how each connection gets its [`Controller`].
///
/// Set it as [`TcpConfig::congestion`](crate::TcpConfig::congestion) for a host, or with
/// [`SocketOption::Congestion`](crate::SocketOption::Congestion) for a socket, open or not.
///
/// ```
/// use sockeye_packet::Instant;
/// use sockeye_stack::congestion::{AckEvent, Controller, CustomControl};
/// use sockeye_stack::{Config, CongestionControl};
/// use std::time::Duration;
///
/// /// The same window, whatever happens.
/// #[derive(Debug)]
/// struct Fixed(usize);
///
/// impl Controller for Fixed {
///     fn cwnd(&self) -> usize { self.0 }
///     fn ssthresh(&self) -> usize { self.0 }
///     fn on_ack(&mut self, _: &AckEvent) {}
///     fn on_congestion(&mut self, _: Instant, _in_flight: usize) {}
///     fn on_timeout(&mut self, _: Instant, _in_flight: usize) {}
///     fn on_idle(&mut self, _idle: Duration, _rto: Duration, _restart: bool) {}
///     fn undo(&mut self) {}
///     fn set_cwnd(&mut self, _: usize) {}
///     fn set_ssthresh(&mut self, _: usize) {}
///     fn set_mss(&mut self, _: usize) {}
///     fn name(&self) -> &'static str { "fixed" }
/// }
///
/// let fixed = CustomControl::new("fixed", |mss, _initial_window| Box::new(Fixed(4 * mss)));
/// let mut config = Config::default();
/// config.tcp.congestion = CongestionControl::Custom(fixed);
/// ```
///
/// Two are the same when their names are.
#[derive(Clone, Copy)]
pub struct CustomControl {
    name: &'static str,
    controller: NewController,
}

/// Makes a controller for segments of so many bytes, and a window of so many to begin with (RFC 6928).
type NewController = fn(mss: usize, initial_window: usize) -> Box<dyn Controller>;

impl CustomControl {
    /// The algorithm of this name, that of its controllers too; `controller` makes one for a connection, of its segment
    /// size and the initial window (RFC 6928), both in bytes.
    pub const fn new(
        name: &'static str,
        controller: fn(mss: usize, initial_window: usize) -> Box<dyn Controller>,
    ) -> CustomControl {
        CustomControl { name, controller }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// A controller for one connection.
    pub(super) fn controller(&self, mss: usize, initial_window: usize) -> Box<dyn Controller> {
        (self.controller)(mss, initial_window)
    }
}

impl PartialEq for CustomControl {
    fn eq(&self, other: &CustomControl) -> bool {
        self.name == other.name
    }
}

impl Eq for CustomControl {}

impl Hash for CustomControl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for CustomControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomControl").field(&self.name).finish()
    }
}

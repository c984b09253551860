//! The kernel's congestion control while it is the peer: cubic, as ours, or the nearest there is.

use std::fs;

const CHOSEN: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Puts the machine's own choice back when dropped.
#[derive(Debug)]
pub(crate) struct CongestionControl {
    before: String,
}

impl CongestionControl {
    /// Chooses cubic, else reno, for the kernel's new sockets; needs root, and leaves things as they are without.
    pub(crate) fn comparable() -> CongestionControl {
        let before = fs::read_to_string(CHOSEN).unwrap_or_default();
        let _ = ["cubic", "reno"].iter().any(|name| fs::write(CHOSEN, name).is_ok());
        CongestionControl { before }
    }

    /// The name of what is in force.
    pub(crate) fn name() -> String {
        fs::read_to_string(CHOSEN).map_or_else(|_| "unknown".to_string(), |name| name.trim().to_string())
    }
}

impl Drop for CongestionControl {
    fn drop(&mut self) {
        let _ = fs::write(CHOSEN, &self.before);
    }
}

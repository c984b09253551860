//! How long threads have stood in line for a processor, which nobody can be blamed for.

use std::time::Duration;

/// What this thread is called by the others.
pub(crate) fn own_thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// How long a thread has waited for a processor so far.
pub(crate) fn queued(thread: i32) -> Duration {
    let times = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    Duration::from_nanos(times.split(' ').nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

//! Time as this process has had the processor: on a busy machine the clock on the wall says little of an input.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The processor time that this process has used.
pub fn spent() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

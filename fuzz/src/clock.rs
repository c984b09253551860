//! Time as this process has had the processor: on a busy machine the clock on the wall says little of an input.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A moment of this process's processor time.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Duration);

impl Moment {
    /// What this process has used so far.
    pub fn now() -> Moment {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Moment(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
    }

    /// What it has used since.
    pub fn elapsed(self) -> Duration {
        Moment::now().0.saturating_sub(self.0)
    }
}

//! On which processors the threads of a row run.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How many processors two threads have.
#[derive(Clone, Copy)]
pub(crate) enum Cores {
    Two,
    One,
}

/// The processors that this program may use, of which a thread takes one.
pub(crate) struct Processors {
    all: CpuSet,
    pub(crate) first: usize,
    pub(crate) second: usize,
}

impl Processors {
    pub(crate) fn find(cores: Cores) -> Result<Processors, String> {
        let all = sched_getaffinity(None).map_err(|error| error.to_string())?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu));
        let first = usable.next().ok_or("no processor")?;
        let second = match cores {
            Cores::One => first,
            Cores::Two => usable.next().ok_or("there is only one processor")?,
        };
        Ok(Processors { all, first, second })
    }

    /// Keeps this thread on one.
    pub(crate) fn take(cpu: usize) {
        let mut set = CpuSet::new();
        set.set(cpu);
        // Where it is refused, the figure is that of threads that the kernel places.
        let _ = sched_setaffinity(None, &set);
    }
}

/// This thread may run anywhere again.
impl Drop for Processors {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.all);
    }
}

//! Whether another process may have what this one has.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How often this process has forked since it was first asked, and the ones that it was forked from before that: what was
/// made at another count may be another process's too.
pub(crate) fn forks() -> u32 {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler does what is allowed in one, and stays. Where there is no memory to note it, ends are closed
        // as without forks.
        unsafe { libc::pthread_atfork(Some(count), None, None) };
    });
    FORKS.load(Ordering::Relaxed)
}

/// Called before each fork (not by programs that are started: they have nothing of ours).
extern "C" fn count() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

//! What a call says in C: a value, or -1 (null) and `errno`.

use crate::sys::set_errno;
use sockeye_posix::Errno;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static LAST_ERROR: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// What a function returns when it fails.
pub(crate) trait Failed {
    const FAILED: Self;
}

impl Failed for c_int {
    const FAILED: c_int = -1;
}

impl Failed for isize {
    const FAILED: isize = -1;
}

impl<T> Failed for *mut T {
    const FAILED: *mut T = std::ptr::null_mut();
}

/// Makes a call. A panic is EIO: it is a mistake of this library's, and must not unwind into C.
pub(crate) fn answer<R: Failed>(call: impl FnOnce() -> Result<R, Errno>) -> R {
    let errno = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return value,
        Ok(Err(errno)) => errno,
        Err(payload) => {
            remember(&format!("a mistake in libsockeye: {}", what(&*payload)));
            // What it holds may panic in its turn.
            std::mem::forget(payload);
            Errno::EIO
        }
    };
    set_errno(errno);
    R::FAILED
}

/// A failure that has more to say than a number.
pub(crate) struct Explained {
    errno: Errno,
    message: String,
}

impl Explained {
    pub(crate) fn new(errno: Errno, message: impl Into<String>) -> Explained {
        Explained { errno, message: message.into() }
    }
}

impl From<Errno> for Explained {
    fn from(errno: Errno) -> Explained {
        let message = if errno == Errno::EFAULT { "a pointer is null".into() } else { errno.to_string() };
        Explained { errno, message }
    }
}

impl From<sockeye::Error> for Explained {
    fn from(error: sockeye::Error) -> Explained {
        use sockeye::Error as E;
        let errno = match &error {
            E::DuplicateName { .. } | E::DuplicateAddress { .. } => Errno::EEXIST,
            E::SubnetFull { .. } => Errno::EADDRNOTAVAIL,
            E::CapturedAlready { .. } => Errno::EBUSY,
            E::Capture { error, .. } | E::Thread { error } => error.raw_os_error().map_or(Errno::EIO, Errno),
            _ => Errno::EINVAL,
        };
        Explained { errno, message: error.to_string() }
    }
}

/// As [`answer`], and [`sockeye_last_error`] then says what was wrong.
pub(crate) fn explain<R: Failed>(call: impl FnOnce() -> Result<R, Explained>) -> R {
    answer(|| {
        call().map_err(|Explained { errno, message }| {
            remember(&message);
            errno
        })
    })
}

fn remember(message: &str) {
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // The thread's own memory may be gone already: then nobody asks any more.
    let _ = LAST_ERROR.try_with(|last| last.replace(Some(message)));
}

fn what(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// What was wrong with the calling thread's latest `sockeye_network_*` or `sockeye_host_*` call that failed, in one line
/// of English that says what to do about it. An empty string when none has failed. It stays until the thread's next
/// such failure; it must not be freed.
///
/// The socket calls say what went wrong by `errno` alone.
#[unsafe(no_mangle)]
pub extern "C" fn sockeye_last_error() -> *const c_char {
    let last = LAST_ERROR.try_with(|last| last.borrow().as_ref().map(|message| message.as_ptr()));
    last.ok().flatten().unwrap_or(c"".as_ptr())
}

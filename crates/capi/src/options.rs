//! Options: setsockopt, getsockopt, fcntl, ioctl.

use crate::answer::answer;
use crate::host::Host;
use crate::sys::{self, Place, SizedRoom};
use sockeye_posix::Errno;
use std::ffi::{c_int, c_ulong, c_void};

/// Sets an option, as setsockopt(2). Which there are, and what each does here, is listed in docs/options.md.
///
/// # Safety
///
/// `host` is null, or was not given back; `value` is null, or has `len` bytes (and what they point to, if they are a
/// `struct sock_fprog`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_setsockopt(
    host: *const Host,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: libc::socklen_t,
) -> c_int {
    // SAFETY: passed on.
    let (host, value) = unsafe { (sys::handle(host), sys::option_value(value, len)) };
    answer(|| {
        let entry = host?.entry(fd)?;
        let mut value = value?;
        if (level, name) == (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER) {
            // SAFETY: passed on.
            value = unsafe { sys::filter(value) }?;
        }
        entry.call(|socket, stack, now| socket.set_option(stack, now, (level, name), value)).map(|()| 0)
    })
}

/// Reads an option, as getsockopt(2).
///
/// # Safety
///
/// `host` is null, or was not given back; `value` is null, or has as many bytes as the number says that `len` points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_getsockopt(
    host: *const Host,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut libc::socklen_t,
) -> c_int {
    // SAFETY: passed on.
    let (host, room) = unsafe { (sys::handle(host), SizedRoom::new(value, len)) };
    answer(|| {
        let entry = host?.entry(fd)?;
        let room = room?;
        let value = entry.call(|socket, stack, now| socket.option(stack, now, (level, name)))?;
        room.write(value.cut_to(room.len())?);
        Ok(0)
    })
}

/// Reads or sets what a descriptor is like, as fcntl(2): F_GETFL and F_SETFL, of which O_NONBLOCK counts; F_GETFD and F_SETFD, which mean
/// nothing here. EINVAL for other commands. `arg` is an int, 0 where there is none.
///
/// # Safety
///
/// `host` is null, or was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_fcntl(host: *const Host, fd: c_int, command: c_int, arg: c_int) -> c_int {
    // SAFETY: passed on.
    let host = unsafe { sys::handle(host) };
    answer(|| {
        let entry = host?.entry(fd)?;
        match command {
            libc::F_GETFL if entry.is_nonblocking() => Ok(libc::O_RDWR | libc::O_NONBLOCK),
            libc::F_GETFL => Ok(libc::O_RDWR),
            libc::F_SETFL => {
                entry.set_nonblocking(arg & libc::O_NONBLOCK != 0);
                Ok(0)
            }
            // No other program ever has it.
            libc::F_GETFD => Ok(libc::FD_CLOEXEC),
            libc::F_SETFD => Ok(0),
            _ => Err(Errno::EINVAL),
        }
    })
}

/// Asks a socket for a number, or sets one, as ioctl(2): FIONREAD (SIOCINQ), TIOCOUTQ (SIOCOUTQ), SIOCATMARK, FIONBIO. ENOTTY for other
/// requests. `arg` points to an int.
///
/// # Safety
///
/// `host` is null, or was not given back; `arg` is null, or points to an int.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_ioctl(
    host: *const Host,
    fd: c_int,
    request: c_ulong,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: passed on.
    let (host, place) = unsafe { (sys::handle(host), Place::<c_int>::new(arg.cast())) };
    answer(|| {
        let entry = host?.entry(fd)?;
        if request == libc::FIONBIO {
            entry.set_nonblocking(place?.read() != 0);
            return Ok(0);
        }
        let request = u32::try_from(request).map_err(|_| Errno::ENOTTY)?;
        let value = entry.call(|socket, stack, _| socket.ioctl(stack, request))?;
        place?.write(value);
        Ok(0)
    })
}

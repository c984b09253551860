//! Pointers and lengths that are none.

use super::*;
use crate::data::*;
use crate::host::*;
use crate::messages::{sockeye_recvmsg, sockeye_sendmsg};
use crate::names::*;
use crate::network::*;
use crate::options::*;
use crate::poll::*;
use std::mem::zeroed;

#[test]
fn a_null_host_is_no_host() {
    // SAFETY: null is looked for.
    unsafe {
        let calls = [
            sockeye_socket(null(), libc::AF_INET, libc::SOCK_STREAM, 0),
            sockeye_close(null(), 3),
            sockeye_poll(null(), null_mut(), 0, -1),
            sockeye_listen(null(), 3, 1),
            sockeye_host_remove(null()),
            sockeye_network_sleep(null(), 1),
            sockeye_host_capture(null(), null()),
        ];
        assert_eq!((calls, errno()), ([-1; 7], Errno::EFAULT));
        assert!(sockeye_host_new(null(), c"x".as_ptr(), null(), null()).is_null());
        assert_eq!((errno(), last_error()), (Errno::EFAULT, "`network` is null".into()));
        assert_eq!(sockeye_network_now(null()), 0);
        sockeye_host_free(null_mut());
        sockeye_network_free(null_mut());
    }
}

#[test]
fn lengths_without_memory_are_faults() {
    let lab = Lab::new("", "");
    let (near, _far) = lab.connected();
    let (host, mut len, mut number) = (lab.me, 16, 0);
    let room: *mut libc::sockaddr = (&raw mut number).cast();
    // SAFETY: null is looked for, before anything is written.
    unsafe {
        assert_eq!(result(sockeye_send(host, near, null(), 1, 0)), Err(Errno::EFAULT));
        assert_eq!(result(sockeye_send(host, near, null(), 0, 0)), Ok(0));
        assert_eq!(result(sockeye_recv(host, near, null_mut(), 1, 0)), Err(Errno::EFAULT));
        assert_eq!(result(sockeye_bind(host, near, null(), 16)), Err(Errno::EFAULT));
        assert_eq!(result(sockeye_bind(host, near, room, 1000)), Err(Errno::EINVAL));
        assert_eq!(result(sockeye_connect(host, near, null(), 0)), Err(Errno::EINVAL));
        assert_eq!(result(sockeye_getsockname(host, near, null_mut(), &raw mut len)), Err(Errno::EFAULT));
        assert_eq!(result(sockeye_getsockname(host, near, room, null_mut())), Err(Errno::EFAULT));
        len = -1_i32 as u32;
        assert_eq!(result(sockeye_getsockname(host, near, room, &raw mut len)), Err(Errno::EINVAL));
        assert_eq!(result(sockeye_accept(host, near, room, &raw mut len)), Err(Errno::EINVAL));
        let option = (libc::SOL_SOCKET, libc::SO_KEEPALIVE);
        let set = |value, len| result(sockeye_setsockopt(host, near, option.0, option.1, value, len));
        assert_eq!((set(null(), 4), set(room.cast(), len)), (Err(Errno::EFAULT), Err(Errno::EINVAL)));
        assert_eq!(result(sockeye_ioctl(host, near, libc::FIONREAD, null_mut())), Err(Errno::EFAULT));
        assert_eq!(result(sockeye_readv(host, near, null(), 1)), Err(Errno::EFAULT));
        assert_eq!(result(sockeye_readv(host, near, null(), -1)), Err(Errno::EINVAL));
        assert_eq!(result(sockeye_writev(host, near, null(), 1025)), Err(Errno::EINVAL));
        assert_eq!(result(sockeye_poll(host, null_mut(), 1, 0)), Err(Errno::EFAULT));
        assert_eq!(result(sockeye_poll(host, null_mut(), u64::MAX, 0)), Err(Errno::EINVAL));
        assert_eq!(sockeye_getaddrinfo(host, null(), c"7".as_ptr(), null(), null_mut()), libc::EAI_SYSTEM);
        assert_eq!(errno(), Errno::EFAULT);
    }
    assert_eq!(number, 0, "nothing was written");
}

#[test]
fn messages_are_checked_as_the_kernel_checks_them() {
    let lab = Lab::new("", "");
    let (near, _far) = lab.connected();
    let byte = 7_u8;
    // SAFETY: null is looked for, and lengths are bounded before anything is read.
    unsafe {
        let sent = |message: *const libc::msghdr| result(sockeye_sendmsg(lab.me, near, message, 0));
        let received = |message: *mut libc::msghdr| result(sockeye_recvmsg(lab.me, near, message, 0));
        assert_eq!((sent(null()), received(null_mut())), (Err(Errno::EFAULT), Err(Errno::EFAULT)));
        let mut message: libc::msghdr = zeroed();
        message.msg_iovlen = 1;
        assert_eq!(
            (sent(&raw const message), received(&raw mut message)),
            (Err(Errno::EFAULT), Err(Errno::EFAULT))
        );
        message.msg_iovlen = 1025;
        assert_eq!(sent(&raw const message), Err(Errno::EMSGSIZE));
        message.msg_iovlen = 0;
        message.msg_control = (&raw const byte).cast_mut().cast();
        message.msg_controllen = usize::MAX;
        assert_eq!(sent(&raw const message), Err(Errno::ENOBUFS));
        message.msg_controllen = 200_000;
        assert_eq!(sent(&raw const message), Err(Errno::ENOBUFS));
    }
}

#[test]
fn a_panic_stays_inside() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let failed: c_int = crate::answer::answer(|| panic!("no such thing"));
    std::panic::set_hook(hook);
    assert_eq!((failed, errno()), (-1, Errno::EIO));
    assert!(last_error().contains("no such thing"));
}

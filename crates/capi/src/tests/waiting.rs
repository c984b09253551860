//! Calls that wait, in both kinds of time, and those that don't.

use super::*;
use crate::host::*;
use crate::network::*;
use crate::options::*;
use crate::poll::*;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

/// A network of virtual time, with so much delay each way.
fn slow() -> Lab {
    Lab::new("virtual seed 1", "delay 20ms")
}

fn millis(lab: &Lab) -> u64 {
    // SAFETY: the network is there.
    unsafe { sockeye_network_now(lab.network) / 1_000_000 }
}

#[test]
fn virtual_time_passes_while_a_call_waits() {
    let lab = slow();
    let (near, far) = lab.connected();
    assert_eq!(millis(&lab), 60, "until the handshake is over for both");
    assert_eq!(send(lab.web, far, b"hello", 0), Ok(5));
    assert_eq!(recv(lab.me, near, 5, 0).unwrap(), b"hello");
    assert_eq!(millis(&lab), 80);
    // SAFETY: the network is there.
    assert_eq!(unsafe { sockeye_network_sleep(lab.network, 3_600_000_000_000) }, 0);
    assert_eq!(millis(&lab), 3_600_080);
}

#[test]
fn timeouts_are_told_when_they_are_over() {
    let lab = slow();
    let (near, far) = lab.connected();
    set_timeout(lab.me, near, libc::SO_RCVTIMEO, 1500);
    let before = millis(&lab);
    assert_eq!(recv(lab.me, near, 1, 0), Err(Errno::EAGAIN));
    assert_eq!(millis(&lab) - before, 1500);
    assert_eq!(poll(lab.me, near, libc::POLLIN, 250), (0, 0));
    assert_eq!(millis(&lab) - before, 1750);
    // What fits is sent before the time is over.
    set_timeout(lab.web, far, libc::SO_SNDTIMEO, 1000);
    let sent = send(lab.web, far, &vec![1; 100_000_000], 0).unwrap();
    assert!((100_000..50_000_000).contains(&sent), "{sent}");
    assert_eq!(send(lab.web, far, b"x", 0), Err(Errno::EAGAIN));
}

#[test]
fn what_never_comes_is_a_deadlock_where_time_is_virtual() {
    let lab = slow();
    let (listener, _) = listen(lab.web);
    // SAFETY: null is no address.
    let none = unsafe { sockeye_accept(lab.web, listener, null_mut(), null_mut()) };
    assert_eq!(result(none), Err(Errno(libc::EDEADLK)));
}

#[test]
fn who_does_not_wait_polls() {
    let lab = slow();
    let (listener, to) = listen(lab.web);
    // SAFETY: the hosts are there.
    let near = unsafe {
        assert_eq!(sockeye_fcntl(lab.web, listener, libc::F_SETFL, libc::O_NONBLOCK), 0);
        assert_eq!(result(sockeye_accept(lab.web, listener, null_mut(), null_mut())), Err(Errno::EAGAIN));
        ok(sockeye_socket(lab.me, libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0))
    };
    assert_eq!(connect(lab.me, near, &to), Err(Errno::EINPROGRESS));
    assert_eq!(connect(lab.me, near, &to), Err(Errno::EALREADY));
    assert_eq!(poll(lab.me, near, libc::POLLOUT, 39), (0, 0));
    assert_eq!(poll(lab.me, near, libc::POLLOUT, 1), (1, libc::POLLOUT));
    assert_eq!(connect(lab.me, near, &to), Ok(0));
    assert_eq!(poll(lab.web, listener, libc::POLLIN, -1), (1, libc::POLLIN));
    // SAFETY: null is no address.
    let far = ok(unsafe {
        sockeye_accept4(lab.web, listener, null_mut(), null_mut(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
    });
    assert_eq!(recv(lab.web, far, 1, 0), Err(Errno::EAGAIN));
    let mut off: c_int = 0;
    // SAFETY: the host is there, and the place is an int.
    unsafe {
        assert_eq!(sockeye_fcntl(lab.web, far, libc::F_GETFL, 0), libc::O_RDWR | libc::O_NONBLOCK);
        assert_eq!(sockeye_ioctl(lab.web, far, libc::FIONBIO, (&raw mut off).cast()), 0);
        assert_eq!(sockeye_fcntl(lab.web, far, libc::F_GETFL, 0), libc::O_RDWR);
    }
    assert_eq!(send(lab.me, near, b"late", 0), Ok(4));
    assert_eq!(recv(lab.web, far, 4, 0).unwrap(), b"late");
}

#[test]
fn a_connection_that_is_refused_or_late_says_so() {
    let lab = slow();
    let refused = socket(lab.me, libc::SOCK_STREAM);
    assert_eq!(connect(lab.me, refused, &address(lab.web, 81)), Err(Errno::ECONNREFUSED));
    let late = socket(lab.me, libc::SOCK_STREAM);
    let (_, to) = listen(lab.web);
    set_timeout(lab.me, late, libc::SO_SNDTIMEO, 30);
    assert_eq!(connect(lab.me, late, &to), Err(Errno::EINPROGRESS));
    assert_eq!(connect(lab.me, late, &to), Ok(0));
    assert_eq!(connect(lab.me, late, &to), Err(Errno::EISCONN));
}

#[test]
fn a_connect_that_has_waited_leaves_nothing_to_tell() {
    for lab in [slow(), Lab::new("", "")] {
        let (_, to) = listen(lab.web);
        let id = socket(lab.me, libc::SOCK_STREAM);
        for _ in 0..3 {
            assert_eq!(connect(lab.me, id, &address(lab.web, 81)), Err(Errno::ECONNREFUSED));
        }
        // SAFETY: lengths are looked at before what is there.
        let short = unsafe { sockeye_connect(lab.me, id, (&raw const to).cast(), 3) };
        assert_eq!(result(short), Err(Errno::EINVAL));
        assert_eq!(connect(lab.me, id, &to), Ok(0));
        assert_eq!(connect(lab.me, id, &to), Err(Errno::EISCONN));
    }
}

#[test]
fn threads_wait_in_real_time_and_a_close_wakes_them() {
    let lab = Lab::new("", "");
    let (near, far) = lab.connected();
    let idle = socket(lab.me, libc::SOCK_DGRAM);
    bind(lab.me, idle, &address(lab.me, 9)).unwrap();
    let (listener, _) = listen(lab.web);
    std::thread::scope(|scope| {
        let lab = &lab;
        let received = scope.spawn(|| recv(lab.me, near, 5, libc::MSG_WAITALL));
        let waiting = [
            scope.spawn(|| recv(lab.me, idle, 1, 0).map(|_| 0)),
            // SAFETY: null is no address.
            scope.spawn(|| result(unsafe { sockeye_accept(lab.web, listener, null_mut(), null_mut()) })),
            scope.spawn(|| Ok(i32::from(poll(lab.me, idle, libc::POLLIN, -1).1))),
        ];
        assert_eq!(send(lab.web, far, b"he", 0), Ok(2));
        // Give them the time to wait; it holds as well if some come later.
        assert_eq!(poll(lab.web, listener, libc::POLLIN, 20), (0, 0));
        assert_eq!(send(lab.web, far, b"llo", 0), Ok(3));
        assert_eq!(received.join().unwrap().unwrap(), b"hello");
        // SAFETY: the hosts are there.
        unsafe {
            assert_eq!(sockeye_close(lab.me, idle), 0);
            assert_eq!(sockeye_close(lab.web, listener), 0);
        }
        let ended = waiting.map(|thread| thread.join().unwrap());
        assert_eq!(ended, [Err(Errno::EBADF), Err(Errno::EBADF), Ok(i32::from(libc::POLLNVAL))]);
    });
}

#[test]
fn a_poll_of_many_says_which() {
    let lab = Lab::new("", "");
    let client = socket(lab.me, libc::SOCK_DGRAM);
    let mut asked: Vec<libc::pollfd> = (0..50)
        .map(|port| {
            let fd = socket(lab.web, libc::SOCK_DGRAM);
            bind(lab.web, fd, &address(lab.web, 1000 + port)).unwrap();
            libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
        })
        .collect();
    for round in [7_usize, 49, 0] {
        connect(lab.me, client, &address(lab.web, 1000 + round as u16)).unwrap();
        std::thread::scope(|scope| {
            let lab = &lab;
            scope.spawn(move || send(lab.me, client, b"x", 0).unwrap());
            // SAFETY: there are fifty.
            assert_eq!(unsafe { sockeye_poll(lab.web, asked.as_mut_ptr(), 50, -1) }, 1);
        });
        assert_eq!(asked.iter().position(|fd| fd.revents == libc::POLLIN), Some(round));
        assert_eq!(recv(lab.web, asked[round].fd, 9, 0).unwrap(), b"x");
    }
    // SAFETY: none is looked at.
    assert_eq!(unsafe { sockeye_poll(lab.web, null_mut(), 0, 1) }, 0);
}

#[test]
fn sockets_and_descriptors_of_the_kernel_are_waited_for_together() {
    let lab = &Lab::new("", "");
    let (server, client) = (socket(lab.web, libc::SOCK_DGRAM), socket(lab.me, libc::SOCK_DGRAM));
    bind(lab.web, server, &address(lab.web, 9)).unwrap();
    connect(lab.me, client, &address(lab.web, 9)).unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let polled = |timeout| {
        let of = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: -1 };
        let mut asked = [of(server), of(reader.as_raw_fd()), of(-1)];
        // SAFETY: there are three.
        let ready = unsafe { sockeye_poll(lab.web, asked.as_mut_ptr(), 3, timeout) };
        (ready, asked.map(|asked| asked.revents))
    };
    assert_eq!(polled(0), (0, [0; 3]));
    assert_eq!(polled(2), (0, [0; 3]));
    std::thread::scope(|scope| {
        scope.spawn(move || send(lab.me, client, b"x", 0).unwrap());
        assert_eq!(polled(-1), (1, [libc::POLLIN, 0, 0]));
    });
    writer.write_all(b"y").unwrap();
    assert_eq!(polled(-1), (2, [libc::POLLIN, libc::POLLIN, 0]));
    assert_eq!(recv(lab.web, server, 1, 0).unwrap(), b"x");
    assert_eq!(polled(-1), (1, [0, libc::POLLIN, 0]));
    (&reader).read_exact(&mut [0]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(b"z").unwrap());
        assert_eq!(polled(-1), (1, [0, libc::POLLIN, 0]));
    });
    (&reader).read_exact(&mut [0]).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| polled(-1));
        // SAFETY: the host is there.
        assert_eq!(unsafe { sockeye_close(lab.web, server) }, 0);
        assert_eq!(waiting.join().unwrap(), (1, [libc::POLLNVAL, 0, 0]));
    });
    let slow = slow();
    assert_eq!(poll(slow.web, reader.as_raw_fd(), libc::POLLIN, 0), (1, libc::POLLNVAL), "no clock for both");
}

#[test]
fn handles_may_be_given_back_while_others_wait() {
    let lab = Lab::new("", "");
    let (near, _far) = lab.connected();
    // SAFETY: they are given back once, and the call that waits has begun with a handle of its own, or fails.
    unsafe {
        let host = sockeye_host_new(lab.network, c"third".as_ptr(), null(), null());
        let fd = socket(host, libc::SOCK_DGRAM);
        bind(host, fd, &address(host, 9)).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let handle = host as usize;
        let waiting = std::thread::spawn(move || {
            let host = handle as *mut Host;
            let held = crate::sys::handle(host).unwrap();
            sender.send(()).unwrap();
            recv(std::sync::Arc::as_ptr(&held).cast_mut(), fd, 1, 0)
        });
        receiver.recv().unwrap();
        sockeye_host_free(host);
        assert_eq!(waiting.join().unwrap(), Err(Errno::EBADF));
    }
    assert_eq!(send(lab.me, near, b"goes on", 0), Ok(7));
}

use crate::play::tests::{accepted, fails, passes};

#[test]
fn options_are_set_and_read_in_their_types() {
    passes(
        r#"0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
        +0 getsockopt(3, SOL_SOCKET, SO_TYPE, [SOCK_STREAM], [4]) = 0
        +0 setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0
        +0 getsockopt(3, SOL_TCP, TCP_NODELAY, [1], [4]) = 0
        +0 setsockopt(3, SOL_SOCKET, SO_LINGER, {onoff=1, linger=3}, 8) = 0
        +0 getsockopt(3, SOL_SOCKET, SO_LINGER, {onoff=1, linger=3}, [8]) = 0
        +0 setsockopt(3, SOL_TCP, TCP_CONGESTION, "reno", 4) = 0
        +0 getsockopt(3, SOL_TCP, TCP_CONGESTION, "reno", [16]) = 0
        +0 setsockopt(3, SOL_SOCKET, SO_SNDBUF, [10000], 4) = 0
        +0 getsockopt(3, SOL_SOCKET, SO_SNDBUF, [20000], [4]) = 0
        +0 setsockopt(3, SOL_SOCKET, SO_SNDBUFFORCE, [10000], 4) = 0
        +0 setsockopt(3, SOL_TCP, TCP_NODELAY, NULL, 4) = -1 EFAULT (Bad address)
        +0 setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 2) = -1 EINVAL (Invalid argument)
        +0 getsockopt(3, SOL_TCP, 9999, [0], [4]) = -1 ENOPROTOOPT (Protocol not available)
        +0 getsockopt(9, SOL_TCP, TCP_NODELAY, [0], [4]) = -1 EBADF (Bad file descriptor)"#,
    );
    let failure = fails(
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
         +0 getsockopt(3, SOL_TCP, TCP_NODELAY, [1], [4]) = 0",
    );
    assert_eq!((failure.expected.as_str(), failure.came.as_str()), ("the value 1", "the value 0"));
}

#[test]
fn flags_and_queues_can_be_asked_for() {
    passes(&accepted(
        "+0 fcntl(4, F_GETFL) = 0x2 (flags O_RDWR)
         +0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0
         +0 fcntl(4, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)
         +0 read(4, ..., 10) = -1 EAGAIN (Resource temporarily unavailable)
         +0 < P. 1:11(10) ack 1 win 257
         +0 ioctl(4, SIOCINQ, [10]) = 0
         +0 write(4, ..., 700) = 700
         +0 ioctl(4, SIOCOUTQ, [700]) = 0
         +0 ioctl(4, SIOCOUTQNSD, [0]) = 0
         +0 ioctl(3, SIOCINQ, [0]) = -1 EINVAL (Invalid argument)
         +0 fcntl(17, F_GETFL) = -1 EBADF (Bad file descriptor)",
    ));
    let failure = fails(&accepted("+0 ioctl(4, SIOCINQ, [5]) = 0"));
    assert_eq!((failure.expected.as_str(), failure.came.as_str()), ("the value 5", "the value 0"));
}

#[test]
fn null_buffers_are_found_when_there_is_data_to_move() {
    passes(&accepted(
        "+0 write(4, NULL, 1000) = -1 EFAULT (Bad address)
         +0 sendto(4, NULL, 1000, 0, ..., ...) = -1 EFAULT (Bad address)
         +0 recv(4, NULL, 1000, MSG_DONTWAIT) = -1 EAGAIN (Resource temporarily unavailable)
         +0 < P. 1:11(10) ack 1 win 257
         +0 read(4, NULL, 1000) = -1 EFAULT (Bad address)
         +0 read(4, ..., 1000) = 10",
    ));
}

#[test]
fn vectors_and_messages_add_up() {
    passes(&accepted(
        "+0 writev(4, [{..., 300}, {..., 200}], 2) = 500
         +0 > P. 1:501(500) ack 1
         +.01 < P. 1:101(100) ack 501 win 257
         +0 > . 501:501(0) ack 101
         +0 recvmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 20}, {..., 30}], msg_flags=0}, MSG_PEEK) = 50
         +0 readv(4, [{..., 10}, {..., 1000}], 2) = 100
         +0 sendmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 400}], msg_flags=0}, 0) = 400
         +0 > P. 501:901(400) ack 101",
    ));
    let failure = fails(&accepted(
        "+0 < P. 1:101(100) ack 1 win 257
         +0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 20}], msg_flags=MSG_TRUNC}, 0) = 20",
    ));
    assert_eq!((failure.expected.as_str(), failure.came.as_str()), ("msg_flags=32", "msg_flags=0"));
}

#[test]
fn readers_are_told_how_much_is_left() {
    passes(&accepted(
        "+0 setsockopt(4, SOL_TCP, TCP_INQ, [2], 4) = -1 EINVAL (Invalid argument)
         +0 setsockopt(4, SOL_TCP, TCP_INQ, [1], 4) = 0
         +0 < P. 1:101(100) ack 1 win 257
         +0 > . 1:1(0) ack 101
         +0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 20}], msg_flags=0,
                 msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data=80}]}, 0) = 20
         +0 < F. 101:101(0) ack 1 win 257
         * > . 1:1(0) ack 102
         +0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 80}], msg_flags=0,
                 msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data=1}]}, 0) = 80",
    ));
    let failure = fails(&accepted(
        "+0 < P. 1:101(100) ack 1 win 257
         +0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 20}], msg_flags=0,
                 msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data=80}]}, 0) = 20",
    ));
    assert_eq!(failure.expected, "msg_control=[{cmsg_level=6, cmsg_type=36, cmsg_data=80}]");
    assert_eq!(failure.came, "msg_control=[]");
}

#[test]
fn files_and_pipes_feed_sockets() {
    passes(&accepted(
        "+0 open(\"file\", O_RDONLY) = 5
         +0 sendfile(4, 5, [0], 500) = 500
         +0 > P. 1:501(500) ack 1
         +0 pipe([6, 7]) = 0
         +.01 < P. 1:101(100) ack 501 win 257
         +0 > . 501:501(0) ack 101
         +0 splice(4, NULL, 7, NULL, 1000, 0) = 100
         +0 splice(6, NULL, 4, NULL, 1000, 0) = 100
         +0 > P. 501:601(100) ack 101
         +0 close(5) = 0
         +0 write(7, ..., 30) = 30
         +0 read(6, ..., 100) = 30",
    ));
}

#[test]
fn blocking_calls_end_when_they_can() {
    passes(
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
         +0 bind(3, ..., ...) = 0
         +0 listen(3, 1) = 0
         +0...0.2 accept(3, ..., ...) = 4
         +.1 < S 0:0(0) win 32792 <mss 1000>
         +0 > S. 0:0(0) ack 1 <mss 1460>
         +.1 < . 1:1(0) ack 1 win 65535
         +0...0.1 recv(4, ..., 100, MSG_WAITALL) = 100
         +.05 < P. 1:51(50) ack 1 win 65535
         +.05 < P. 51:101(50) ack 1 win 65535
         +0 setsockopt(4, SOL_SOCKET, SO_RCVTIMEO, {tv_sec=0, tv_usec=50000}, 16) = 0
         +0...0.05 read(4, ..., 10) = -1 EAGAIN (Resource temporarily unavailable)",
    );
    passes(
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
         +.1...0.2 connect(3, ..., ...) = 0
         +0 > S 0:0(0) <...>
         +.1 < S. 0:0(0) ack 1 win 5792 <mss 1460>
         +0 > . 1:1(0) ack 1",
    );
    passes(&accepted(
        "+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=5}, 8) = 0
         +0 write(4, ..., 100) = 100
         +0 > P. 1:101(100) ack 1
         +0...0.1 close(4) = 0
         +0 > F. 101:101(0) ack 1
         +.1 < . 1:1(0) ack 102 win 257",
    ));
}

#[test]
fn a_call_that_may_block_waits_for_the_one_before() {
    passes(&accepted(
        "+0...0.1 read(4, ..., 10) = 10
         +.1 < P. 1:11(10) ack 1 win 257
         +0...0.1 read(4, ..., 10) = 10
         +.1 < P. 11:21(10) ack 1 win 257
         +0 getsockopt(4, SOL_SOCKET, SO_ERROR, [0], [4]) = 0",
    ));
}

#[test]
fn sockets_take_addresses_that_are_written_out() {
    passes(
        "--ip_version=ipv4
         0 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3
         +0 bind(3, {sa_family = AF_INET, sin_port = htons(9000), sin_addr = inet_addr(\"192.168.0.1\")}, ...) = 0
         +0 listen(3, 1) = 0
         +0 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 4
         +0 bind(4, {sa_family = AF_INET, sin_port = htons(9000), sin_addr = inet_addr(\"192.168.0.1\")}, ...) = -1 EADDRINUSE (Address already in use)
         +0 connect(3, {sa_family = AF_UNSPEC}, ...) = 0
         +0 accept(3, ..., ...) = -1 EINVAL (Invalid argument)",
    );
    passes("0 socket(17, SOCK_STREAM, 0) = -1 EAFNOSUPPORT (Address family not supported by protocol)");
}

#[test]
fn datagrams_go_both_ways() {
    passes(
        "0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
         +0 bind(3, ..., ...) = 0
         +0 connect(3, ..., ...) = 0
         +0 write(3, ..., 100) = 100
         +0 > udp (100)
         +.1 < udp (200)
         +0 read(3, ..., 1000) = 200",
    );
}

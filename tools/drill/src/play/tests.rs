use super::*;
use crate::script::parse;

/// Plays a script in all three ways.
fn play_text(text: &str) -> Result<(), Failure> {
    let script = parse("test", text).unwrap_or_else(|error| panic!("{error}"));
    [IpVersion::V4, IpVersion::V6, IpVersion::V4MappedV6]
        .into_iter()
        .try_for_each(|ip_version| play(&script, &PlayOptions { ip_version }))
}

pub(super) fn passes(text: &str) {
    play_text(text).unwrap_or_else(|failure| panic!("{failure}"));
}

pub(super) fn fails(text: &str) -> Failure {
    play_text(text).expect_err("the script should fail")
}

/// A connection from outside on descriptor 4, without timestamps.
const ACCEPTED: &str = "
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>
+0 > S. 0:0(0) ack 1 <mss 1460,nop,nop,sackOK,nop,wscale 7>
+.1 < . 1:1(0) ack 1 win 257
+0 accept(3, ..., ...) = 4
";

pub(super) fn accepted(text: &str) -> String {
    format!("{ACCEPTED}{text}")
}

#[test]
fn a_server_answers_and_closes() {
    passes(&accepted(
        "+0 < P. 1:11(10) ack 1 win 257
         +0 > . 1:1(0) ack 11
         +0 read(4, ..., 100) = 10
         +0 write(4, ..., 500) = 500
         +0 > P. 1:501(500) ack 11
         +.01 < . 11:11(0) ack 501 win 257
         +0 close(4) = 0
         +0 > F. 501:501(0) ack 11
         +.01 < F. 11:11(0) ack 502 win 257
         +0 > . 502:502(0) ack 12",
    ));
}

#[test]
fn a_client_connects_without_blocking() {
    passes(
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
         +0 fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)
         +0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
         +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
         +0 > S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>
         +.1 < S. 0:0(0) ack 1 win 5792 <mss 1460,sackOK,TS val 700 ecr 100,nop,wscale 7>
         +0 > . 1:1(0) ack 1 <nop,nop,TS val 200 ecr 700>
         +0 getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
         +0 write(3, ..., 10) = 10
         +0 > P. 1:11(10) ack 1 <nop,nop,TS val 201 ecr 700>",
    );
}

/// A line with the window of a packet of the stack left open.
fn without_window(line: &str) -> String {
    match line.split_once(" win ") {
        Some((before, after)) if line.contains("> P.") || line.contains("> S.") => {
            let rest = after.split_once(' ').map_or("", |(_, rest)| rest);
            format!("{before} win N {rest}")
        }
        _ => line.to_owned(),
    }
}

#[test]
fn a_wrong_flag_is_told_with_what_came_and_the_trace() {
    let failure = fails(&accepted("+0 write(4, ..., 500) = 500\n+0 > . 1:501(500) ack 1"));
    let text = "line 10: +0 > . 1:501(500) ack 1
  at       0.100000
  expected > . 1:501(500) ack 1
  came     > P. 1:501(500) ack 1 win N at 0.100000: flags
  so far
    0.000000 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
    0.000000 bind(3, ..., ...) = 0
    0.000000 listen(3, 1) = 0
    0.000000 < S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>
    0.000000 > S. 0:0(0) ack 1 win N <mss 1460,nop,nop,sackOK,nop,wscale 7>
    0.100000 < . 1:1(0) ack 1 win 257
    0.100000 accept(3, ..., ...) = 4
    0.100000 write(4, ..., 500) = 500";
    // How large a window the stack offers here is not the player's business.
    let told: Vec<String> = failure.to_string().lines().map(without_window).collect();
    assert_eq!(told.join("\n"), text);
}

#[test]
fn a_wrong_time_is_told_with_what_would_have_come() {
    let failure = fails(&accepted("+0 write(4, ..., 500) = 500\n+.5 > P. 1:501(500) ack 1"));
    assert_eq!(failure.expected, "the packet at 0.600000 (tolerance 0.009000)");
    assert_eq!(failure.came, "the packet at 0.100000");
    let failure =
        fails(&accepted("+0 < P. 1:11(10) ack 1 win 257\n+0 > . 1:1(0) ack 11\n+0 > P. 1:501(500) ack 1"));
    assert_eq!(failure.expected, "> P. 1:501(500) ack 1 until 0.104000");
    assert_eq!(failure.came, "nothing");
}

#[test]
fn a_packet_that_is_not_expected_fails_the_next_line_that_expects_one() {
    let failure = fails(&accepted(
        "+0 < P. 1:11(10) ack 1 win 257
         +0 write(4, ..., 500) = 500
         +0 > P. 1:501(500) ack 11",
    ));
    assert!(failure.came.starts_with("> . 1:1(0) ack 11 win "), "{failure}");
    // An injected packet looks at nothing, and neither does the end.
    passes(&accepted("+0 < P. 1:11(10) ack 1 win 257\n+.1 < P. 11:21(10) ack 1 win 257"));
}

#[test]
fn lines_and_super_segments_need_not_have_the_same_bounds() {
    passes(&accepted("+0 write(4, ..., 5000) = 5000\n+0 > P. 1:5001(5000) ack 1"));
    passes(&accepted(
        "+0 write(4, ..., 5000) = 5000
         +0 > . 1:1001(1000) ack 1
         +0 > P. 1001:3001(2000) ack 1
         +0 > P. 3001:5001(2000) ack 1",
    ));
    let failure = fails(&accepted("+0 write(4, ..., 5000) = 5000\n+0 > P. 1:1501(1500) ack 1"));
    assert!(failure.came.contains(": length"), "{failure}");
}

#[test]
fn a_call_that_blocks_needs_a_range_of_time() {
    let failure = fails(&accepted("+0 read(4, ..., 100) = 10"));
    assert_eq!((failure.expected.as_str(), failure.came.as_str()), ("read(4, ..., 100) = 10", "it blocks"));
    passes(&accepted("+0...0.2 read(4, ..., 100) = 10\n+.2 < P. 1:11(10) ack 1 win 257"));
    let failure = fails(&accepted("+0...0.2 read(4, ..., 100) = 10\n+.1 < P. 1:11(10) ack 1 win 257"));
    assert_eq!(failure.line, 9);
    assert_eq!(failure.came, "it ended at 0.200000");
    let failure = fails(&accepted("+0...0.2 read(4, ..., 100) = 10"));
    assert_eq!(failure.came, "it still blocks");
}

#[test]
fn ranges_and_any_time_are_as_wide_as_they_say() {
    let data = "+0 < P. 1:11(10) ack 1 win 257\n+0 > . 1:1(0) ack 11\n+0 write(4, ..., 5) = 5\n";
    let lost = "+0 > P. 1:6(5) ack 11\n";
    passes(&accepted(&format!("{data}{lost}+.2~+.4 > P. 1:6(5) ack 11")));
    passes(&accepted(&format!("{data}{lost}* > P. 1:6(5) ack 11")));
    passes(&accepted(&format!("{data}{lost}0.2~0.6 > P. 1:6(5) ack 11")));
    let failure = fails(&accepted(&format!("{data}{lost}+.5~+.6 > P. 1:6(5) ack 11")));
    assert!(failure.came.starts_with("the packet at 0."), "{failure}");
}

#[test]
fn errors_of_calls_are_compared_by_name() {
    passes(
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 read(3, ..., 1) = -1 ENOTCONN (Transport endpoint)",
    );
    let failure =
        fails("0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 read(3, ..., 1) = -1 EPIPE (Broken pipe)");
    assert_eq!(
        (failure.expected.as_str(), failure.came.as_str()),
        ("read(3, ..., 1) = -1 EPIPE", "-1 ENOTCONN")
    );
    passes("0 close(17) = -1 EBADF (Bad file descriptor)");
}

#[test]
fn icmp_errors_quote_what_was_sent() {
    let script = |word: &str, errno: &str| {
        format!(
            "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
             +0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
             +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
             +0 > S 0:0(0) <...>
             +.1 < icmp unreachable {word} [0:0(0)]
             +0 getsockopt(3, SOL_SOCKET, SO_ERROR, [{errno}], [4]) = 0"
        )
    };
    passes(&script("port_unreachable", "ECONNREFUSED"));
    let failure = fails(&script("port_unreachable", "0"));
    assert_eq!(
        (failure.expected.as_str(), failure.came.as_str()),
        ("the value 0", "the value 111 (ECONNREFUSED)")
    );
    assert_eq!(fails(&script("bogus", "0")).came, "icmp unreachable bogus: no such error");
}

#[test]
fn code_sees_the_connection() {
    passes(&accepted(
        "+0 %{ assert tcpi_state == TCP_ESTABLISHED; mss = tcpi_snd_mss }%\n+0 %{ assert mss == 1000 }%",
    ));
    let failure = fails(&accepted("+0 %{ assert tcpi_snd_mss == 17, tcpi_snd_mss }%"));
    assert_eq!(failure.came, "assert tcpi_snd_mss == 17 does not hold: tcpi_snd_mss is 1000");
}

#[test]
fn code_sees_the_counters() {
    passes(&accepted("+0 %{ assert netstat_TCPTimeouts == 0; assert netstat_PassiveOpens == 1 }%"));
    let failure = fails(&accepted("+0 %{ assert netstat_Bogus == 0 }%"));
    assert!(failure.came.contains("netstat_Bogus"), "{failure}");
}

#[test]
fn lines_that_name_ports_tell_connections_apart() {
    passes(
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
         +0 bind(3, ..., ...) = 0
         +0 listen(3, 5) = 0
         +0 < 1111 > 8080 S 0:0(0) win 32792 <mss 1000>
         +0 < 2222 > 8080 S 70:70(0) win 32792 <mss 1000>
         +0 > 8080 > 2222 S. 0:0(0) ack 71 <mss 1460>
         +0 > 8080 > 1111 S. 0:0(0) ack 1 <mss 1460>
         +.1 < 2222 > 8080 . 71:71(0) ack 1 win 257
         +0 < . 71:81(10) ack 1 win 257
         +0 > . 1:1(0) ack 81
         +0 accept(3, ..., ...) = 4
         +0 read(4, ..., 100) = 10",
    );
}

#[test]
fn a_script_that_makes_no_sense_says_why() {
    let failure = fails("--mtu=huge\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3");
    assert_eq!(failure.line, 0);
    assert_eq!(failure.came, "--mtu=huge: can't be read");
    let failure = fails("`sysctl -q net.bogus=1`\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3");
    assert_eq!(failure.came, "line 1: sysctl net.bogus is not known");
    let failure = fails("0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fly(3) = 0");
    assert_eq!(failure.came, "fly() is not known");
    assert!(fails("0 > . 1:1(0) ack 1").came.starts_with("nothing"));
}

#[test]
fn poll_and_epoll_wait_for_what_they_are_asked() {
    passes(&accepted(
        "+0...0.1 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 1000) = 1
         +.1 < P. 1:11(10) ack 1 win 257
         +0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN|POLLOUT}], 1, 0) = 1
         +0 epoll_create(1) = 5
         +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, fd=4}) = 0
         +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
         +0 epoll_wait(5, {}, 1, 0) = 0
         +.1 < P. 11:21(10) ack 1 win 257
         +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
         +0 read(4, ..., 100) = 20
         +0 epoll_ctl(5, EPOLL_CTL_MOD, 4, {events=EPOLLIN, fd=4}) = 0
         +0...0.05 epoll_wait(5, {}, 1, 50) = 0",
    ));
    let failure = fails(&accepted("+0 poll([{fd=4, events=POLLOUT, revents=POLLIN}], 1, 0) = 1"));
    assert_eq!(
        (failure.expected.as_str(), failure.came.as_str()),
        ("{fd=4, revents=POLLIN}", "{fd=4, revents=POLLOUT}")
    );
}

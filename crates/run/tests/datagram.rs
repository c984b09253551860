//! Datagram sockets and names of unmodified programs, as Python, netcat and the C library use them.

mod common;

use common::{Lab, has};

/// Sends every datagram back to where it came from, IPv4 and IPv6.
const ECHO: &str = "
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(('::', 7))
print('ready')
while True:
    d, peer = s.recvfrom(70000)
    s.sendto(d, peer)
";

/// Runs an echo server on `a` and a script on `b`; returns what the script printed.
fn against_echo(script: &str) -> String {
    let mut lab = Lab::new();
    let server = lab.python("a", ECHO);
    lab.until_printed(server, "ready");
    let client = lab.python("b", script);
    lab.output(client)
}

#[test]
fn datagrams_of_any_length_go_there_and_back() {
    let output = against_echo(
        "
import socket
for host, family in [('10.77.0.2', socket.AF_INET), ('fd77::2', socket.AF_INET6)]:
    c = socket.socket(family, socket.SOCK_DGRAM)
    c.connect((host, 7)); c.settimeout(5)
    for n in [0, 1, 1472, 1473, 9000, 65000]:
        c.send(bytes(n)); assert len(c.recv(70000)) == n, n
    u = socket.socket(family, socket.SOCK_DGRAM); u.settimeout(5)
    u.sendto(b'addressed', (host, 7))
    d, peer = u.recvfrom(4)
    print(d, peer[:2], c.getsockname()[0])
",
    );
    assert_eq!(output, "b'addr' ('10.77.0.2', 7) 10.77.0.3\nb'addr' ('fd77::2', 7) fd77::3\n");
}

#[test]
fn corked_datagrams_are_joined() {
    let output = against_echo(
        "
import socket
UDP_CORK = 1
for host, family in [('10.77.0.2', socket.AF_INET), ('fd77::2', socket.AF_INET6)]:
    c = socket.socket(family, socket.SOCK_DGRAM)
    c.connect((host, 7)); c.settimeout(5)
    c.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 1)
    assert c.getsockopt(socket.IPPROTO_UDP, UDP_CORK) == 1
    for n in range(200):
        c.send(b'%d,' % n)
    c.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 0)
    assert c.recv(9999) == b''.join(b'%d,' % n for n in range(200))
    c.sendmsg([b'one ', b'two '], [], socket.MSG_MORE)
    c.sendto(b'three ', socket.MSG_MORE, (host, 9))
    c.send(b'four')
    print(c.recv(99))
",
    );
    assert_eq!(output, "b'one two three four'\n".repeat(2));
}

#[test]
fn a_negative_number_is_no_descriptor() {
    let mut lab = Lab::new();
    let script = "
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(64)
for fd in [-1, -2, -100, -2**31]:
    for call in [lambda: libc.bind(fd, room, 16), lambda: libc.connect(fd, room, 16), lambda: libc.listen(fd, 1),
                 lambda: libc.setsockopt(fd, 1, 2, room, 4), lambda: libc.sendto(fd, room, 1, 0, room, 16),
                 lambda: libc.recvfrom(fd, room, 1, 0, room, room), lambda: libc.shutdown(fd, 2)]:
        assert call() == -1 and ctypes.get_errno() == errno.EBADF, fd
print('none')
";
    let program = lab.python("a", script);
    assert_eq!(lab.output(program), "none\n");
}

#[test]
fn udp_lite_goes_there_and_back_apart_from_udp() {
    let mut lab = Lab::new();
    let script = "
import errno, socket
LITE, SEND, RECV = 136, 10, 11
for family, host in [(socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')]:
    a, b = [socket.socket(family, socket.SOCK_DGRAM, LITE) for _ in range(2)]
    udp = socket.socket(family, socket.SOCK_DGRAM); udp.setblocking(False)
    b.bind((host, 0)); udp.bind((host, b.getsockname()[1]))
    assert a.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == LITE
    assert a.getsockopt(LITE, SEND) == 0
    for name, value, kept in [(SEND, 3, 8), (SEND, 12, 12), (RECV, -1, 8), (RECV, 70000, 65535)]:
        a.setsockopt(LITE, name, value); assert a.getsockopt(LITE, name) == kept, (name, value)
    b.settimeout(5)
    a.sendto(b'hello', b.getsockname()); d, peer = b.recvfrom(9)
    b.sendto(d.upper(), peer); a.settimeout(5); print(a.recv(9))
    try: udp.recv(9)
    except BlockingIOError: pass
    try: udp.setsockopt(LITE, SEND, 8)
    except OSError as e: assert e.errno == errno.ENOPROTOOPT, e
";
    let program = lab.python("a", script);
    assert_eq!(lab.output(program), "b'HELLO'\nb'HELLO'\n");
}

#[test]
fn sources_stay_right_when_plain_reads_come_between() {
    let output = against_echo(
        "
import select, socket
mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); mine.bind(('0.0.0.0', 0)); mine.settimeout(5)
port = mine.getsockname()[1]
others = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
for n in range(60):
    others[n % 3].sendto(b'x' * n, ('127.0.0.1', port))
ports = [o.getsockname()[1] for o in others]
for n in range(60):
    if n % 7 < 3:
        assert len(mine.recv(100)) == n
    elif n % 7 == 3:
        d, _, flags, peer = mine.recvmsg(100); assert (len(d), peer[1]) == (n, ports[n % 3]), (n, peer)
    else:
        d, peer = mine.recvfrom(100); assert (len(d), peer[1]) == (n, ports[n % 3]), (n, peer)
print(select.select([mine], [], [], 0)[0])
",
    );
    assert_eq!(output, "[]\n");
}

#[test]
fn errors_and_truncation_are_the_kernels() {
    let output = against_echo(
        "
import errno, socket
def told(call):
    try: return call()
    except OSError as e: return errno.errorcode.get(e.errno, repr(e))
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.settimeout(5)
c.connect(('10.77.0.2', 99)); c.send(b'?')
print(told(lambda: c.recvfrom(10)))
c.send(b'?')
print(told(lambda: c.recv(10)), c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED)
print(told(lambda: c.sendto(bytes(65508), ('10.77.0.2', 7))))
print(told(lambda: c.sendto(b'x', ('10.77.255.255', 7))))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5)
print(told(lambda: u.sendmsg([b'x'])), told(lambda: u.getpeername()))
u.sendto(b'123456', ('10.77.0.2', 7))
d, _, flags, _ = u.recvmsg(3); print(d, flags == socket.MSG_TRUNC)
u.settimeout(0.05); print(told(lambda: u.recvfrom(1)))
u.setblocking(False); print(told(lambda: u.recvfrom(1)))
",
    );
    assert_eq!(
        output,
        "ECONNREFUSED\nb'' True\nEMSGSIZE\nEACCES\nEDESTADDRREQ ENOTCONN\nb'123' True\nTimeoutError('timed out')\nEAGAIN\n"
    );
}

#[test]
fn control_messages_tell_what_was_asked_for() {
    let output = against_echo(
        "
import socket, struct
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.settimeout(5)
c.setsockopt(socket.IPPROTO_IP, 8, 1)    # IP_PKTINFO
c.setsockopt(socket.IPPROTO_IP, 12, 1)   # IP_RECVTTL
c.sendmsg([b'a', b'bc'], [(socket.IPPROTO_IP, socket.IP_TTL, struct.pack('i', 9))], 0, ('10.77.0.2', 7))
d, control, flags, peer = c.recvmsg(10, 200)
print(d, peer, flags, [(level, kind, len(data)) for level, kind, data in control])
print(socket.inet_ntoa(control[0][2][8:]), c.getsockopt(socket.IPPROTO_IP, socket.IP_TTL))
c.sendto(b'x', ('10.77.0.2', 7))
print(c.recvmsg(10, 20)[2] == socket.MSG_CTRUNC)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def source(ip): return [(socket.IPPROTO_IP, 8, bytes(4) + socket.inet_aton(ip) + bytes(4))]
s.sendmsg([b'y'], source('127.0.0.9'), 0, ('127.0.0.1', c.getsockname()[1]))
print(c.recvfrom(10)[1][0])
try: s.sendmsg([b'y'], source('10.77.0.2'), 0, ('127.0.0.1', 9))
except OSError as e: print(e.errno)
",
    );
    assert_eq!(
        output,
        "b'abc' ('10.77.0.2', 7) 0 [(0, 8, 12), (0, 2, 4)]\n10.77.0.3 64\nTrue\n127.0.0.9\n22\n"
    );
}

/// A sender faster than its reader: blocking sends wait, nothing hangs, and what arrives is whole.
#[test]
fn a_flood_ends_and_what_arrives_is_whole() {
    let mut lab = Lab::new();
    let server = lab.python(
        "a",
        "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 7)); s.settimeout(5)
print('ready')
n = 0
while (d := s.recv(2000)) != b'end':
    assert len(d) == 1000 and d == d[:1] * 1000; n += 1
print('some' if 100 < n <= 20000 else n)
",
    );
    lab.until_printed(server, "ready");
    let client = lab.python(
        "b",
        "
import socket, time
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.connect(('10.77.0.2', 7))
for n in range(20000): c.send(bytes([n % 250]) * 1000)
for _ in range(20): time.sleep(0.02); c.send(b'end')
",
    );
    lab.finish(client);
    assert_eq!(lab.output(server), "ready\nsome\n");
}

#[test]
fn names_of_hosts_are_found_by_the_c_library() {
    let output = against_echo(
        "
import socket
print(socket.gethostbyname('a'), socket.gethostbyname('B'))
print(sorted({i[4][0] for i in socket.getaddrinfo('a', 7)}))
print(socket.gethostbyaddr('10.77.0.2')[0], socket.gethostbyaddr('fd77::3')[0])
try: socket.getaddrinfo('nobody', 7)
except socket.gaierror as e: print(e.errno == socket.EAI_NONAME)
c = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); c.settimeout(5)
c.sendto(b'by name', socket.getaddrinfo('a', 7, socket.AF_INET6)[0][4]); print(c.recv(10))
",
    );
    assert_eq!(output, "10.77.0.2 10.77.0.3\n['10.77.0.2', 'fd77::2']\na b\nTrue\nb'by name'\n");
}

#[test]
fn queries_over_tcp_and_to_the_gateway_are_answered() {
    let output = against_echo(
        "
import socket, struct
query = b'\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0\\x01a\\0\\0\\x01\\0\\x01'
c = socket.create_connection(('10.77.0.1', 53)); c.settimeout(5)
c.sendall(struct.pack('>H', len(query)) + query)
print(c.recv(500)[-4:] == bytes([10, 77, 0, 2]))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5)
u.sendto(query, ('10.77.0.1', 53)); d, peer = u.recvfrom(500)
print(d[-4:] == bytes([10, 77, 0, 2]), peer)
",
    );
    assert_eq!(output, "True\nTrue ('10.77.0.1', 53)\n");
}

#[test]
fn netcat_talks_by_datagrams() {
    if !has("/usr/bin/nc") {
        return;
    }
    let mut lab = Lab::new();
    let server = lab.python("a", ECHO);
    lab.until_printed(server, "ready");
    let script = "(echo hello; sleep 0.3) | nc -u -w 1 a 7";
    let client = lab.start("b", &["/bin/sh", "-c", script]);
    assert_eq!(lab.output(client), "hello\n");
    lab.until("the end of the client's sockets", |lab| lab.supervisor.socket_count() == 1);
}

//! Stream sockets of unmodified programs, as Python's `socket` module uses them.

mod common;

use common::Lab;

/// Accepts one connection, reads it to its end and answers with the number of bytes.
const COUNTER: &str = "
import socket
s = socket.create_server(('', 7))
c, peer = s.accept()
n = 0
while d := c.recv(65536): n += len(d)
c.sendall(b'%d from %s' % (n, peer[0].encode()))
c.close()
print(peer == c.getpeername() if False else 'done', n)
";

#[test]
fn a_connection_carries_bytes_both_ways_and_closes_by_halves() {
    let mut lab = Lab::new();
    let server = lab.python("a", COUNTER);
    lab.until_listening("a", 7);
    let client = lab.python(
        "b",
        "
import socket
c = socket.create_connection(('10.77.0.2', 7))
print(c.getpeername(), c.getsockname()[0])
c.sendall(bytes(3_000_000))
c.shutdown(socket.SHUT_WR)
print(c.recv(100).decode(), c.recv(100))
",
    );
    assert_eq!(lab.output(client), "('10.77.0.2', 7) 10.77.0.3\n3000000 from 10.77.0.3 b''\n");
    assert_eq!(lab.output(server), "done 3000000\n");
    lab.until("the end of all sockets", |lab| lab.supervisor.socket_count() == 0);
}

#[test]
fn ipv6_and_mapped_addresses() {
    let mut lab = Lab::new();
    let server = lab.python(
        "a",
        "
import socket
s = socket.create_server(('::', 7), family=socket.AF_INET6, dualstack_ipv6=True)
for _ in range(2):
    c, peer = s.accept()
    print(peer[0], c.getsockname()[0])
    c.close()
",
    );
    lab.until_listening("a", 7);
    let client = lab.python(
        "b",
        "
import socket
for a in ['10.77.0.2', 'fd77::2']:
    c = socket.create_connection((a, 7)); print(c.recv(1), c.getpeername()[0])
",
    );
    assert_eq!(lab.output(client), "b'' 10.77.0.2\nb'' fd77::2\n");
    assert_eq!(lab.output(server), "::ffff:10.77.0.3 ::ffff:10.77.0.2\nfd77::3 fd77::2\n");
}

#[test]
fn errors_are_the_kernels() {
    let mut lab = Lab::new();
    let client = lab.python(
        "b",
        "
import socket, errno, select
def name(f):
    try: return f()
    except OSError as e: return errno.errorcode[e.errno]
s = socket.socket()
print(name(lambda: s.connect(('10.77.0.2', 9))))
print(name(lambda: s.connect(('10.77.0.2', 9))), 'again on the same socket')
print(name(s.getpeername), s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
s = socket.socket(); s.setblocking(False)
print(errno.errorcode[s.connect_ex(('10.77.0.2', 9))])
p = select.poll(); p.register(s, select.POLLIN | select.POLLOUT)
print(p.poll(5000)[0][1] == select.POLLIN | select.POLLOUT | select.POLLERR | select.POLLHUP)
print(errno.errorcode[s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)], s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
print(errno.errorcode[s.connect_ex(('10.77.0.2', 9))], errno.errorcode[s.connect_ex(('10.77.0.2', 9))], 'retried')
print(name(lambda: socket.create_connection(('10.77.0.99', 9))))
print(name(lambda: socket.create_connection(('192.0.2.1', 9))))
s = socket.socket(); s.bind(('', 80)); print(s.getsockname())
t = socket.socket(); print(name(lambda: (t.bind(('', 80)), t.listen())))
print(name(lambda: t.bind(('192.0.2.1', 80))))
print(name(t.accept), name(t.getpeername), name(lambda: t.shutdown(2)))
t = socket.socket(); t.bind(('', 81)); t.listen()
import ctypes
print(errno.errorcode[ctypes.get_errno()] if ctypes.CDLL(None, use_errno=True).connect(t.fileno(), bytes([10]) + bytes(27), 28) and ctypes.get_errno() else 0)
",
    );
    let output = lab.output(client);
    let expected = [
        "ECONNREFUSED",
        "ECONNREFUSED again on the same socket",
        "ENOTCONN 0",
        "EINPROGRESS",
        "True",
        "ECONNREFUSED 0",
        "ECONNABORTED EINPROGRESS retried",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "('0.0.0.0', 80)",
        "EADDRINUSE",
        "EADDRNOTAVAIL",
        "EINVAL ENOTCONN ENOTCONN",
        "EISCONN",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_socket_outlives_a_connect_that_failed() {
    let mut lab = Lab::new();
    let client = lab.python(
        "b",
        "
import socket, errno, select
def name(f):
    try: return f()
    except OSError as e: return errno.errorcode[e.errno]
def failed(*address):
    s = socket.socket(); s.setblocking(False)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if address: s.bind(address)
    again(s)
    return s
def again(s):
    print(name(lambda: s.connect(('10.77.0.2', 9))), end=' ')
    p = select.poll(); p.register(s, select.POLLOUT); p.poll(5000)
s = failed('', 5555)
print(name(s.listen), name(lambda: s.bind(('', 5556))), s.getsockname()[1], s.getsockopt(1, 4), s.getsockopt(1, 4))
again(s); again(s)
print(name(lambda: s.connect(('10.77.0.2', 9))), s.getsockname(), s.getsockopt(1, 9))
print(name(s.listen), s.getsockname(), s.getsockopt(1, 9), s.getsockopt(1, 30))
s = failed()
print(name(lambda: s.bind(('', 5556))), s.getsockname()[1], name(s.getpeername), name(lambda: s.shutdown(2)))
again(s); again(s); print()
s = failed('', 5557); s.close()
s = socket.socket(); print(name(lambda: s.bind(('', 5557))))
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1); s.bind(('', 5558))
print(name(lambda: s.connect(('10.77.0.2', 9))), s.getsockname()[1], s.getsockopt(1, 9), name(lambda: s.bind(('', 1))))
",
    );
    // As on Linux 6.18, with other addresses.
    let expected = [
        "EINPROGRESS EINVAL EINVAL 5555 111 0",
        "ECONNABORTED EINPROGRESS ECONNREFUSED ('0.0.0.0', 5555) 1",
        "None ('0.0.0.0', 5555) 1 1",
        "EINPROGRESS None 5556 ENOTCONN ENOTCONN",
        "EINVAL EINVAL ",
        "EINPROGRESS None",
        "ECONNREFUSED 5558 1 EINVAL",
    ];
    let output = lab.output(client);
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_reset_is_seen_after_what_came_before_it() {
    let mut lab = Lab::new();
    let server = lab.python(
        "a",
        "
import socket, struct
s = socket.create_server(('', 7))
for how in range(2):
    c, _ = s.accept()
    c.sendall(b'hello')
    c.recv(2)
    if how == 0: c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    else: c.recv(1)
    c.close()
",
    );
    lab.until_listening("a", 7);
    let client = lab.python(
        "b",
        "
import socket
for _ in range(2):
    c = socket.create_connection(('10.77.0.2', 7))
    print(c.recv(5))
    c.sendall(b'ab')
    try: c.sendall(b'unread' * 100)
    except (ConnectionResetError, BrokenPipeError): pass
    try:
        while True: c.recv(1) or print('end')
    except ConnectionResetError: print('reset')
",
    );
    assert_eq!(lab.output(client), "b'hello'\nreset\nb'hello'\nreset\n");
    lab.output(server);
}

#[test]
fn a_killed_program_leaves_nothing() {
    let mut lab = Lab::new();
    let server = lab.python(
        "a",
        "
import socket
s = socket.create_server(('', 7))
c, _ = s.accept(); print('accepted'); c.recv(1)
",
    );
    lab.until_listening("a", 7);
    let client = lab.python(
        "b",
        "
import socket
c = socket.create_connection(('10.77.0.2', 7)); print(c.recv(1))
# The kernel closes a killed process's descriptors one by one, the listener not always first.
for _ in range(1000):
    try: socket.create_connection(('10.77.0.2', 7)).close()
    except ConnectionRefusedError: print('refused'); break
",
    );
    lab.until_printed(server, "accepted");
    lab.supervisor.kill(server, libc::SIGKILL);
    assert_eq!(lab.output(client), "b''\nrefused\n");
    lab.until("the end of all sockets", |lab| lab.supervisor.socket_count() == 0);
}

#[test]
fn processes_and_threads_share_a_listener() {
    let mut lab = Lab::new();
    let server = lab.python(
        "a",
        "
import socket, os, select, threading
s = socket.create_server(('', 7), backlog=100)
def serve(wait):
    while True:
        if wait:
            e = select.epoll(); e.register(s, select.EPOLLIN); e.poll()
        try: c, _ = s.accept()
        except BlockingIOError: continue
        c.sendall(c.recv(100)); c.close()
for wait in [False, False, True, True]:
    if os.fork() == 0:
        if wait: s.setblocking(True)
        threading.Thread(target=serve, args=(wait,)).start(); serve(wait)
os.wait()
",
    );
    lab.until_listening("a", 7);
    let client = lab.python(
        "b",
        "
import socket, threading
def ask(i, got):
    for j in range(20):
        c = socket.create_connection(('10.77.0.2', 7)); c.sendall(b'%d-%d' % (i, j)); got.append(c.recv(100) == b'%d-%d' % (i, j) and c.recv(1) == b''); c.close()
got = []
threads = [threading.Thread(target=ask, args=(i, got)) for i in range(10)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(got), all(got))
",
    );
    assert_eq!(lab.output(client), "200 True\n");
    lab.supervisor.kill(server, libc::SIGKILL);
    lab.until("the end of all sockets", |lab| lab.supervisor.socket_count() == 0);
}

#[test]
fn signals_interrupt_and_restart_waiting_calls() {
    let mut lab = Lab::new();
    let server = lab.python(
        "a",
        "
import socket, signal
signal.signal(signal.SIGALRM, lambda *a: print('signal'))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
s = socket.create_server(('', 7))
c, _ = s.accept()
signal.setitimer(signal.ITIMER_REAL, 0)
print(c.recv(10))
s.settimeout(0.05)
try: s.accept()
except TimeoutError: print('timeout')
import struct
s.setblocking(True)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 0, 50000))
try: s.accept()
except BlockingIOError: print('again')
",
    );
    lab.until_printed(server, "signal\nsignal\n");
    let client = lab.python("b", "import socket; socket.create_connection(('10.77.0.2', 7)).sendall(b'x')");
    lab.output(client);
    let output = lab.output(server);
    assert!(output.ends_with("b'x'\ntimeout\nagain\n"), "{output}");
}

#[test]
fn the_loopback_is_the_hosts_own() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "
import socket
s = socket.create_server(('127.0.0.1', 0))
c = socket.create_connection(s.getsockname())
d, peer = s.accept()
print(peer == c.getsockname(), d.getsockname() == c.getpeername())
c.sendall(b'hello'); print(d.recv(10))
d.close(); print(c.recv(1))
",
    );
    assert_eq!(lab.output(program), "True True\nb'hello'\nb''\n");
}

#[test]
fn who_polls_by_edges_hears_of_a_connection_that_is_open_at_once() {
    let mut lab = Lab::new();
    let server = lab.python("a", COUNTER);
    lab.until_listening("a", 7);
    let client = lab.python(
        "b",
        "
import select, socket
s = socket.create_server(('', 8))
for where in [('127.0.0.1', 8), ('127.0.0.1', 9), ('10.77.0.2', 7)]:
    c = socket.socket(); c.setblocking(False)
    e = select.epoll(); e.register(c, select.EPOLLOUT | select.EPOLLET)
    e.poll(0)
    print(c.connect_ex(where), [events for _, events in e.poll(20)], c.getsockopt(1, socket.SO_ERROR))
c.sendall(b'edge')
",
    );
    // EINPROGRESS; EPOLLOUT, with the error and hang-up of who is refused.
    assert_eq!(lab.output(client), "115 [4] 0\n115 [28] 111\n115 [4] 0\n");
    assert_eq!(lab.output(server), "done 4\n");
}

#[test]
fn who_has_filled_a_fresh_socket_connects_all_the_same() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "
import os, select, socket
l = socket.create_server(('127.0.0.1', 7))
s = socket.socket(); s.setblocking(False)
try:
    while True: os.write(s.fileno(), bytes(4096))
except BlockingIOError: pass
print(s.connect_ex(('127.0.0.1', 7)), select.select([], [s], [], 20)[1] == [s], s.connect_ex(('127.0.0.1', 7)))
c, _ = l.accept()
s.setblocking(True); s.sendall(b'hello'); print(c.recv(100))
",
    );
    assert_eq!(lab.output(program), "115 True 0\nb'hello'\n");
}

#[test]
fn a_bad_link_loses_no_byte() {
    let mut lab = Lab::with_link("delay 2ms loss 3%");
    let server = lab.python("a", COUNTER);
    lab.until_listening("a", 7);
    let client = lab.python(
        "b",
        "
import socket
c = socket.create_connection(('10.77.0.2', 7)); c.sendall(bytes(500_000)); c.shutdown(1); print(c.recv(100).decode())
",
    );
    assert_eq!(lab.output(client), "500000 from 10.77.0.3\n");
    lab.output(server);
}

#[test]
fn large_writes_and_sendfile_go_on_after_the_plug_was_full() {
    let mut lab = Lab::new();
    let file = std::env::temp_dir().join(format!("sockeye-sendfile-{}", std::process::id()));
    std::fs::write(&file, vec![7_u8; 3 << 20]).unwrap();
    let server = lab.python(
        "a",
        &format!(
            "
import socket, os, select
s = socket.create_server(('', 7))
for how in range(3):
    c, _ = s.accept()
    c.setblocking(how == 0)
    e = select.epoll(); e.register(c, select.EPOLLOUT | select.EPOLLET)
    f = os.open('{}', os.O_RDONLY); data = bytes(3 << 20); n = 0
    while n < 3 << 20:
        try: n += os.sendfile(c.fileno(), f, n, 3 << 20) if how < 2 else c.send(data[n:])
        except BlockingIOError: e.poll()
    e.close(); c.close()
",
            file.display()
        ),
    );
    lab.until_listening("a", 7);
    let client = lab.python(
        "b",
        "
import socket
for _ in range(3):
    c = socket.create_connection(('10.77.0.2', 7)); n = 0
    while d := c.recv(65536): n += len(d)
    print(n)
",
    );
    assert_eq!(lab.output(client), "3145728\n".repeat(3));
    lab.output(server);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_reset_is_seen_after_a_long_burst_and_after_a_half_close() {
    let mut lab = Lab::new();
    let server = lab.python(
        "a",
        "
import socket, struct
s = socket.create_server(('', 7))
for _ in range(2):
    c, _ = s.accept(); n = 0
    while n < 200_000: n += len(c.recv(65536))
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()
",
    );
    lab.until_listening("a", 7);
    let client = lab.python(
        "b",
        "
import socket
for half in range(2):
    c = socket.create_connection(('10.77.0.2', 7)); c.sendall(bytes(200_000))
    try: half and c.shutdown(socket.SHUT_WR)
    except OSError: pass
    try: print(c.recv(1))
    except ConnectionResetError: print('reset')
",
    );
    assert_eq!(lab.output(client), "reset\nreset\n");
    lab.output(server);
}

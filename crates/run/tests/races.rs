//! What programs do at the same time as, or right before, what the supervisor does.

mod common;

use common::Lab;
use std::time::{Duration, Instant};

#[test]
fn a_datagram_socket_that_sends_no_more_keeps_nobody_busy() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "
import socket, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('', 7)); u.connect(('10.77.0.3', 7))
u.shutdown(socket.SHUT_WR)
print('shut', end='', flush=True); print(u.recv(10))
",
    );
    lab.until_printed(program, "shut");
    let limit = Duration::from_millis(50);
    let rested = (0..100).any(|_| {
        let start = Instant::now();
        lab.supervisor.turn(Some(limit)).unwrap();
        start.elapsed() >= limit
    });
    assert!(rested, "a turn has nothing to do");
    let peer = lab.python(
        "b",
        "
import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('', 7)); u.sendto(b'end', ('10.77.0.2', 7))
",
    );
    lab.output(peer);
    assert_eq!(lab.output(program), "shutb'end'\n");
}

#[test]
fn an_interrupted_connect_that_fails_leaves_later_calls_alone() {
    let mut lab = Lab::with_link("delay 100ms");
    let program = lab.python(
        "b",
        "
import socket, signal, select, threading
class Interrupt(Exception): pass
def interrupt(*_): raise Interrupt
signal.signal(signal.SIGALRM, interrupt)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 7))
s = socket.socket()
signal.setitimer(signal.ITIMER_REAL, 0.05)
try: s.connect(('10.77.0.2', 9))
except Interrupt: print('interrupted')
def until_refused():
    p = select.poll(); p.register(s, select.POLLIN); p.poll(5000)
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'datagram', ('127.0.0.1', 7))
threading.Thread(target=until_refused).start()
print(u.recvfrom(10)[0], s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
",
    );
    assert_eq!(lab.output(program), "interrupted\nb'datagram' 111\n");
}

#[test]
fn a_waiting_connect_never_takes_another_socket_of_the_same_number() {
    let mut lab = Lab::with_link("delay 100ms");
    let program = lab.python(
        "b",
        "
import socket, threading, os, time
s = socket.socket()
def connect():
    try: s.connect(('10.77.0.2', 9))
    except OSError as e: errors.append(e.errno)
errors = []
t = threading.Thread(target=connect); t.start()
time.sleep(0.05)
os.close(s.fileno())
n = socket.socket(); same = n.fileno() == s.fileno()
t.join()
n.bind(('127.0.0.1', 77))
print(same, errors, n.getsockname())
os._exit(0)
",
    );
    assert_eq!(lab.output(program), "True [9] ('127.0.0.1', 77)\n");
}

#[test]
fn what_is_written_before_the_connection_never_mixes_with_it() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "
import socket, signal, os, errno
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
l = socket.create_server(('127.0.0.1', 7))
s = socket.socket(); os.write(s.fileno(), b'early bytes')
def name(f):
    try: return f()
    except OSError as e: return errno.errorcode[e.errno]
print(name(lambda: s.sendto(b'x', ('127.0.0.1', 7))), name(lambda: s.sendmsg([b'x'])), name(lambda: s.recvmsg(9)))
s.connect(('127.0.0.1', 7)); c, _ = l.accept()
s.sendall(b'hello'); print(c.recv(100))
",
    );
    assert_eq!(lab.output(program), "EPIPE EPIPE ENOTCONN\nb'hello'\n");
}

#[test]
fn a_blocking_send_with_an_address_waits_for_room() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "
import socket, threading
l = socket.create_server(('127.0.0.1', 7))
s = socket.create_connection(('127.0.0.1', 7)); c, _ = l.accept()
counts = []
def read():
    n = 0
    while d := c.recv(65536): n += len(d)
    counts.append(n)
t = threading.Timer(0.1, read); t.start()
sent = 0
while sent < 20_000_000: sent += s.sendto(bytes(60_000), ('192.0.2.1', 5))
s.close(); t.join()
print(counts == [sent])
",
    );
    assert_eq!(lab.output(program), "True\n");
}

#[test]
fn options_of_a_connection_that_was_reset() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "
import socket, struct
l = socket.create_server(('127.0.0.1', 7))
s = socket.create_connection(('127.0.0.1', 7)); c, _ = l.accept()
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()
try: s.recv(1)
except ConnectionResetError: print('reset')
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 0)
",
    );
    assert_eq!(lab.output(program), "reset\nTrue\n");
}

#[test]
fn an_end_is_told_though_a_descendant_prints_for_ever() {
    let mut lab = Lab::new();
    let program = lab.start("a", &["sh", "-c", "yes & exit 3"]);
    assert_eq!(lab.finish(program).status.unwrap().code(), Some(3));
}

#[test]
fn an_answer_before_a_close_with_bytes_unread_arrives_before_the_reset() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "
import socket, select
l = socket.create_server(('127.0.0.1', 7))
s = socket.create_connection(('127.0.0.1', 7)); c, _ = l.accept()
s.sendall(b'a long request'); select.select([c], [], [])
c.sendall(b'refused'); c.close()
print(s.recv(100))
try: s.recv(100)
except ConnectionResetError: print('reset')
",
    );
    assert_eq!(lab.output(program), "b'refused'\nreset\n");
}

#[test]
fn shutdown_wakes_a_reader_of_datagrams_and_keeps_the_port() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "
import socket, threading, errno
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 7))
read = []
t = threading.Thread(target=lambda: read.append(u.recvfrom(10)[0])); t.start()
try: u.shutdown(socket.SHUT_RDWR)
except OSError as e: print(errno.errorcode[e.errno])
t.join(); print(read, u.getsockname())
",
    );
    assert_eq!(lab.output(program), "ENOTCONN\n[b''] ('127.0.0.1', 7)\n");
}

/// A peer that has shut down sending and then resets: what the program writes fails, and its close is seen.
#[test]
fn a_reset_behind_an_end_of_file_ends_the_socket() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "import socket, time
for last in ('write', 'close'):
    listener = socket.create_server(('127.0.0.1', 0))
    peer = socket.create_connection(listener.getsockname())
    end, _ = listener.accept()
    peer.shutdown(socket.SHUT_WR)
    assert end.recv(1) == b''
    end.sendall(b'unread')
    time.sleep(0.05)
    peer.close()
    time.sleep(0.05)
    end.settimeout(5)
    if last == 'write':
        try:
            for _ in range(1000):
                end.send(b'x' * 10000)
        except (BrokenPipeError, ConnectionResetError):
            print('broken')
    end.close()
    listener.close()
for _ in range(100):
    listener = socket.create_server(('127.0.0.1', 0))
    peer = socket.create_connection(listener.getsockname())
    peer.close()
    end, _ = listener.accept()
    try:
        end.send(b'first')
        end.send(b'second')
    except (BrokenPipeError, ConnectionResetError):
        pass
    end.close()
    listener.close()
",
    );
    lab.until("the program", |lab| lab.outcomes[&program].status.is_some());
    let outcome = &lab.outcomes[&program];
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("broken\n", ""));
    lab.until("the end of its sockets", |lab| lab.supervisor.socket_count() == 0);
}

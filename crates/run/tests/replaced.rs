//! Sockets that get another plug in the place of the one they had: duplicates and epoll sets go along.

mod common;

use common::Lab;

fn printed(script: &str) -> String {
    let mut lab = Lab::new();
    let server = lab.python(
        "a",
        "
import socket
s = socket.create_server(('10.77.0.2', 7)); print('here', flush=True)
c, _ = s.accept(); c.sendall(c.recv(100).upper()); c.recv(1)
",
    );
    lab.until("the server", |lab| lab.outcomes[&server].stdout.contains("here"));
    let client = lab.python("b", script);
    let output = lab.output(client);
    lab.until("the end of the sockets", |lab| lab.supervisor.socket_count() == 0);
    output
}

#[test]
fn a_stream_that_connects_again_keeps_duplicates_and_epoll_sets() {
    let output = printed(
        "
import errno, os, select, socket
s = socket.socket(); s.setblocking(False); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes([7]) + bytes(15)); d = s.dup(); high = os.dup2(s.fileno(), 700)
sets = [select.epoll() for _ in range(3)]
sets[0].register(s, select.EPOLLOUT | select.EPOLLET)
sets[1].register(d, select.EPOLLIN); sets[1].register(high, select.EPOLLOUT)
sets[2].register(s, select.EPOLLOUT | select.EPOLLONESHOT)
names = {s.fileno(): 's', d.fileno(): 'd', high: 'high'}
def events(set, wait=0): return sorted((names[fd], mask) for fd, mask in set.poll(wait))
def connect(port): return errno.errorcode[s.connect_ex(('10.77.0.2', port))]
print(connect(9), [fd for fd, _ in events(sets[0], 5)])
# The attempt's error, then a socket that can try anew.
print(connect(7), connect(7))
print(events(sets[0], 5), events(sets[2], 5), events(sets[2]))
print(events(sets[1], 5)); d.sendall(b'hello')
while ('d', select.EPOLLIN) not in events(sets[1], 5): pass
print(os.read(high, 100), events(sets[1]), d.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)[0])
sets[0].modify(s, select.EPOLLIN); sets[1].unregister(d); print(events(sets[0]), events(sets[1]))
",
    );
    let (out, high) = (4, "('high', 4)");
    assert_eq!(
        output,
        format!(
            "EINPROGRESS ['s']\nECONNREFUSED EINPROGRESS\n[('s', {out})] [('s', {out})] []\n[{high}]\nb'HELLO' [{high}] 7\n[] [{high}]\n"
        )
    );
}

#[test]
fn a_datagram_socket_that_asks_for_errors_late_keeps_duplicates_and_epoll_sets() {
    let output = printed(
        "
import select, socket
def until(wanted, get):
    while sorted(get()) != wanted: pass
socket.create_connection(('10.77.0.2', 7)).close()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d = s.dup(); d.settimeout(5)
e = select.epoll(); e.register(s, 0); e.register(d, select.EPOLLIN)
names = {s.fileno(): 's', d.fileno(): 'd'}
s.setsockopt(socket.IPPROTO_IP, 11, 1)
d.sendto(b'ping', ('10.77.0.2', 9))
until([('d', select.EPOLLERR), ('s', select.EPOLLERR)], lambda: [(names[fd], mask & select.EPOLLERR) for fd, mask in e.poll(5)])
print(d.recvmsg(100, 500, socket.MSG_ERRQUEUE)[0], any(mask & select.EPOLLERR for _, mask in e.poll(0)))
e.modify(s, select.EPOLLOUT); e.unregister(d); print([(names[fd], mask & select.EPOLLOUT) for fd, mask in e.poll(0)])
",
    );
    assert_eq!(output, "b'ping' False\n[('s', 4)]\n");
}

/// What these scripts begin with: a socket with so many duplicates in an epoll set, and how to have it replaced.
const CROWD: &str = "
import ctypes, os, select, socket, threading, time
libc = ctypes.CDLL(None)
# Other threads run meanwhile, unlike by the socket's own method.
def ask_for_errors(fd): return libc.setsockopt(fd, socket.IPPROTO_IP, 11, ctypes.byref(ctypes.c_int(1)), 4)
def crowd(count):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); e = select.epoll()
    copies = [s] + [s.dup() for _ in range(count)]
    for copy in copies: e.register(copy, select.EPOLLOUT)
    return s, copies, e
socket.create_connection(('10.77.0.2', 7)).close()
";

#[test]
fn a_file_that_takes_a_duplicates_number_meanwhile_stays() {
    let script = "
def round(path):
    s, copies, e = crowd(40)
    file, last = os.open(path, os.O_RDONLY), copies[-1].fileno()
    def take(): time.sleep(0.015); os.dup2(file, last)
    thread = threading.Thread(target=take); thread.start()
    done = ask_for_errors(s.fileno()); thread.join()
    kept = os.path.samestat(os.fstat(last), os.fstat(file))
    os.close(file); return done, kept
print({round('/dev/null') for _ in range(8)})
";
    assert_eq!(printed(&format!("{CROWD}{script}")), "{(0, True)}\n");
}

#[test]
fn a_crowd_of_duplicates_and_epoll_sets_is_replaced_at_once() {
    let script = "
s, copies, e = crowd(30)
again = [os.dup(e.fileno()) for _ in range(100)]
start = time.monotonic(); done = ask_for_errors(s.fileno()); took = time.monotonic() - start
print(done, took < 1 or took, sorted(fd for fd, _ in e.poll(5)) == sorted(copy.fileno() for copy in copies))
for copy in copies: e.modify(copy, 0)
print(e.poll(0))
";
    assert_eq!(printed(&format!("{CROWD}{script}")), "0 True True\n[]\n");
}

//! The error queue of unmodified programs' sockets (`IP_RECVERR`), and who is woken by it.

mod common;

use common::Lab;

/// What the scripts start with: `said` reads a report, `refused` sends to a port that is closed.
const PRELUDE: &str = "
import errno, os, select, socket, struct, time
V4 = (socket.AF_INET, socket.IPPROTO_IP, 11, '10.77.0.2')
V6 = (socket.AF_INET6, socket.IPPROTO_IPV6, 25, 'fd77::2')
QUEUE = socket.MSG_ERRQUEUE
def told(call):
    try: return call()
    except OSError as e: return errno.errorcode.get(e.errno, repr(e))
def sock(v, *kind):
    s = socket.socket(v[0], socket.SOCK_DGRAM, *kind); s.setsockopt(v[1], v[2], 1); s.settimeout(5); return s
def queue(s):
    patience = s.gettimeout(); s.setblocking(False)
    try: return s.recvmsg(100, 500, QUEUE)
    finally: s.settimeout(patience)
def said(s):
    data, control, flags, to = queue(s)
    level, kind, c = control[-1]
    number, origin, typ, code, info = struct.unpack_from('IBBBxI', c)
    return errno.errorcode[number], origin, typ, code, info, data, to[:2], bool(flags & QUEUE)
def shown(s, patience=5):
    p = select.poll(); p.register(s, select.POLLIN); return [e for _, e in p.poll(patience * 1000)]
ERR = select.POLLERR
";

fn printed(script: &str) -> String {
    let mut lab = Lab::new();
    let id = lab.python("b", &format!("{PRELUDE}{script}"));
    let output = lab.output(id);
    lab.until("the end of the sockets", |lab| lab.supervisor.socket_count() == 0);
    output
}

#[test]
fn poll_shows_what_is_queued_until_it_is_read() {
    let output = printed(
        "
for v in V4, V6:
    s = sock(v); print(s.getsockopt(v[1], v[2]), shown(s, 0), told(lambda: queue(s)))
    s.sendto(b'ping', (v[3], 9))
    while not shown(s)[0] & ERR: pass
    print(told(lambda: s.recvfrom(10)), shown(s) == [ERR])
    print(said(s), shown(s, 0), told(lambda: queue(s)))
    # Two reports: each read leaves what is left.
    s.sendto(b'one', (v[3], 9)); told(lambda: s.recvfrom(10)); s.sendto(b'two', (v[3], 9)); told(lambda: s.recvfrom(10))
    print(said(s)[5], shown(s)[0] & ERR, said(s)[5], shown(s, 0))
",
    );
    let of = |host: &str, origin: u8, kind: u8, code: u8| {
        format!(
            "1 [] EAGAIN\nECONNREFUSED True\n('ECONNREFUSED', {origin}, {kind}, {code}, 0, b'ping', ('{host}', 9), True) [] EAGAIN\nb'one' 8 b'two' []\n"
        )
    };
    assert_eq!(output, of("10.77.0.2", 2, 3, 3) + &of("fd77::2", 3, 1, 4));
}

#[test]
fn datagrams_come_and_go_as_before() {
    let output = printed(
        "
a = sock(V4); b = sock(V4); a.bind(('', 7)); b.bind(('', 8)); me = a.getsockname()[0]
# Natively read ones in between: the sources stay right.
for n in range(700):
    b.sendto(b'%d' % n, ('127.0.0.1', 7))
    if n % 3 == 0: assert shown(a) == [1] and a.recv(10) == b'%d' % n
    elif n % 3 == 1: assert a.recvfrom(10, socket.MSG_PEEK) == a.recvfrom(10) == (b'%d' % n, ('127.0.0.1', 8))
    else: assert a.recvmsg(1, 0)[::2] == (b'%d' % n)[:1:] and 0 or True
a.sendto(b'', b.getsockname()[:1] and ('127.0.0.1', 8)); print(b.recvfrom(10))
b.connect(('127.0.0.1', 7)); b.send(b'natively'); print(a.recvfrom(10)); os.write(b.fileno(), b'again'); print(a.recv(10))
a.sendto(bytes(60000), ('127.0.0.1', 8)); print(len(b.recv(65536)), told(lambda: b.send(bytes(65508))))
a.setblocking(False); print(told(lambda: a.recv(1)), told(lambda: a.recvfrom(1)))
b.settimeout(None); b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 0, 10000)); print(told(lambda: b.recv(1)))
",
    );
    assert_eq!(
        output,
        "(b'', ('127.0.0.1', 7))\n(b'natively', ('127.0.0.1', 8))\nb'again'\n60000 EMSGSIZE\nEAGAIN EAGAIN\nEAGAIN\n"
    );
}

#[test]
fn what_was_queued_before_stays_and_a_port_is_free_at_once() {
    let output = printed(
        "
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 7)); s.settimeout(5)
t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); t.bind(('', 8))
for n in range(3): t.sendto(b'%d' % n, ('127.0.0.1', 7))
while len(shown(s)) < 1: pass
s.setsockopt(socket.IPPROTO_IP, 11, 1); t.sendto(b'3', ('127.0.0.1', 7))
print([s.recvfrom(10) == (b'%d' % n, ('127.0.0.1', 8)) for n in range(4)])
for _ in range(5):
    s.close(); s = sock(V4); s.bind(('', 7))
child = os.fork()
if child == 0:
    s.sendto(b'x', ('10.77.0.2', 9))
    while not shown(s)[0] & ERR: pass
    print(said(s)[0], flush=True); os._exit(0)
os.waitpid(child, 0); s.setsockopt(socket.IPPROTO_IP, 11, 0); print(told(lambda: queue(s)))
",
    );
    assert_eq!(output, "[True, True, True, True]\nECONNREFUSED\nEAGAIN\n");
}

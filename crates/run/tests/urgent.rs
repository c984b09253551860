//! Urgent data (`MSG_OOB`) of unmodified programs, as telnet and rlogin use it.

mod common;

use common::Lab;

/// Runs a server on `a` and a client on `b`, who have these names; returns what both printed.
fn printed(server: &str, client: &str) -> (String, String) {
    let prelude = "
import array, errno, fcntl, os, select, signal, socket, time
OOB = socket.MSG_OOB
def at_mark(s):
    mark = array.array('i', [0]); fcntl.ioctl(s, 0x8905, mark); return mark[0] == 1
def told(call):
    try: return call()
    except OSError as e: return errno.errorcode.get(e.errno, repr(e))
def urgent(s): return select.select([], [], [s], 5)[2] == [s]
def whole(s, n):
    data = b''
    while len(data) < n: data += s.recv(n - len(data))
    return data
";
    let mut lab = Lab::new();
    let listening = "l = socket.create_server(('', 7))\n";
    let server = lab.python("a", &format!("{prelude}{listening}{server}"));
    lab.until_listening("a", 7);
    let connected = "s = socket.create_connection(('10.77.0.2', 7)); s.settimeout(5)\n";
    let client = lab.python("b", &format!("{prelude}{connected}{client}"));
    (lab.output(server), lab.output(client))
}

#[test]
fn an_urgent_byte_is_told_and_keeps_its_place() {
    let (server, client) = printed(
        "
got = []
signal.signal(signal.SIGURG, lambda *_: got.append('SIGURG'))
s, _ = l.accept(); s.settimeout(5); fcntl.fcntl(s, fcntl.F_SETOWN, os.getpid()); s.send(b'go')
print(urgent(s), at_mark(s), s.recv(100), at_mark(s))
print(s.recv(1, OOB), told(lambda: s.recv(1, OOB)), whole(s, 3), at_mark(s), got)
s.send(b'xy'); s.send(b'z!', OOB); s.send(b'end')
",
        "
whole(s, 2)
s.send(b'abc'); time.sleep(0.02); s.send(b'!', OOB); s.send(b'def')
print(urgent(s), whole(s, 3), at_mark(s), s.recv(1, OOB), s.recv(100), s.recv(1))
",
    );
    assert_eq!(server, "True False b'abc' True\nb'!' EINVAL b'def' False ['SIGURG']\n");
    assert_eq!(client, "True b'xyz' True b'!' b'end' b''\n");
}

#[test]
fn it_stays_among_the_others_where_that_is_asked_for() {
    let (server, client) = printed(
        "
l.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
s, _ = l.accept(); s.settimeout(5); s.send(b'go')
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE), urgent(s), s.recv(100), at_mark(s))
print(told(lambda: s.recv(1, OOB)), whole(s, 4), at_mark(s))
",
        "
whole(s, 2); s.sendall(b'abc!', OOB); s.send(b'def'); print(s.recv(1))
",
    );
    assert_eq!((&*server, &*client), ("1 True b'abc' True\nEINVAL b'!def' False\n", "b''\n"));
}

#[test]
fn a_mark_is_found_however_much_lies_around_it() {
    let (server, client) = printed(
        "
s, _ = l.accept(); s.settimeout(5)
for n in 0, 1, 2, 1000, 16384, 16385, 65536, 300_000:
    for after in 0, 1, 100_000:
        # What comes before the byte is read to the mark, in as many reads as it takes.
        read = 0
        while read < n: read += len(s.recv(1 << 20))
        assert read == n and urgent(s) and at_mark(s), (n, after, read)
        byte = s.recv(1, OOB)
        rest = whole(s, after)
        assert byte == b'!' and rest == bytes(after), (n, after, byte, len(rest))
        s.send(b'?', OOB)
print('ok')
",
        "
for n in 0, 1, 2, 1000, 16384, 16385, 65536, 300_000:
    for after in 0, 1, 100_000:
        s.sendall(bytes(n)); s.send(b'!', OOB); s.sendall(bytes(after))
        assert urgent(s) and s.recv(1, OOB) == b'?', (n, after)
s.close(); print('ok')
",
    );
    assert_eq!((&*server, &*client), ("ok\n", "ok\n"));
}

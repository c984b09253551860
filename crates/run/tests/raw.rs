//! Raw sockets of unmodified programs, which need no rights on their own network.

mod common;

use common::Lab;

fn printed(script: &str) -> String {
    let prelude = "
import errno, os, select, socket, struct
def told(call):
    try: return call()
    except OSError as e: return errno.errorcode.get(e.errno, repr(e))
def ones(b):
    n = sum(struct.unpack('>%dH' % (len(b) // 2), b)); n = (n >> 16) + (n & 0xffff); return n + (n >> 16)
def echo(kind, seq):
    head = lambda c: struct.pack('>BBHHH', kind, 0, c, 7, seq) + b'data'
    return head(0xffff - ones(head(0)))
";
    let mut lab = Lab::new();
    // As somebody who has no rights.
    let script = format!("{prelude}os.setgroups([]); os.setgid(65534); os.setuid(65534)\n{script}");
    let id = lab.python("b", &script);
    let output = lab.output(id);
    lab.until("the end of the sockets", |lab| lab.supervisor.socket_count() == 0);
    output
}

#[test]
fn echoes_go_out_and_answers_come_with_their_header() {
    let output = printed(
        "
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); s.settimeout(5)
print(s.type == socket.SOCK_RAW, s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL), s.getsockname())
s.sendto(echo(8, 1), ('10.77.0.2', 0))
data, peer = s.recvfrom(100)
print(peer, data[0], data[9], socket.inet_ntoa(data[12:16]), data[20], data[24:28], data[28:])
s.connect(('10.77.0.2', 0)); s.send(echo(8, 2))
print(select.select([s], [], [], 5)[0] == [s], s.recv(100)[26:28], told(s.getpeername))
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6); s.settimeout(5)
s.sendto(echo(128, 3), ('fd77::2', 0))
data, control, flags, peer = s.recvmsg(100); print(peer[:2], data[0], data[4:8], data[8:])
print(told(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 0)))
",
    );
    assert_eq!(
        output,
        "True 1 ('0.0.0.0', 1)
('10.77.0.2', 0) 69 1 10.77.0.2 0 b'\\x00\\x07\\x00\\x01' b'data'
True b'\\x00\\x02' ENOTCONN
('fd77::2', 0) 129 b'\\x00\\x07\\x00\\x03' b'data'
EPROTONOSUPPORT
"
    );
}

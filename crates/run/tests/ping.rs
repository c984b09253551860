//! Ping sockets of unmodified programs, as Python and iputils' ping use them.

mod common;

use common::{Lab, has};

/// What the scripts start with: `ping` makes a request, `told` the name of an error.
const PRELUDE: &str = "
import errno, os, select, socket, struct
V4 = (socket.AF_INET, socket.IPPROTO_ICMP, 8, '10.77.0.2')
V6 = (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 'fd77::2')
def sock(v):
    s = socket.socket(v[0], socket.SOCK_DGRAM, v[1]); s.settimeout(5)
    return s
def ping(v, seq, data=b''): return struct.pack('>BBHHH', v[2], 0, 0, 0, seq) + data
def told(call):
    try: return call()
    except OSError as e: return errno.errorcode.get(e.errno, repr(e))
def ones(b): return sum(struct.unpack('>%dH' % (len(b) // 2), b)) % 0xffff
";

/// Runs a script on `b`, with host `a` beside it; returns what it printed.
fn printed(script: &str) -> String {
    let mut lab = Lab::new();
    let id = lab.python("b", &format!("{PRELUDE}{script}"));
    lab.output(id)
}

#[test]
fn echoes_come_back_by_every_call() {
    let output = printed(
        "
for v in V4, V6:
    s = sock(v); print(s.getsockname()[1])
    s.sendto(ping(v, 1, b'abcd'), (v[3], 0))
    d, peer = s.recvfrom(100); print(peer[:2], d[0], d[6:])
    ident = s.getsockname()[1]; assert d[4:6] == struct.pack('>H', ident) and ident
    if v is V4: assert ones(d) == 0
    s.connect((v[3], 0)); assert s.getpeername()[:2] == (v[3], 0)
    s.send(ping(v, 2)); print(select.select([s], [], [], 5)[0] == [s], s.recv(100)[6:])
    os.write(s.fileno(), ping(v, 3)); print(os.read(s.fileno(), 100)[6:] if select.select([s], [], [], 5)[0] else None)
    s.sendmsg([ping(v, 4), b'xy']); print(s.recvmsg(100)[0][6:])
    t = sock(v); t.bind((s.getsockname()[0], 7)); print(t.getsockname()[1])
    t.sendto(ping(v, 5), (t.getsockname()[0], 0)); s.setblocking(False)
    print(t.recv(100)[4:], told(lambda: s.recv(1)))
",
    );
    let of = |host: &str, kind: u8| {
        format!(
            "0\n('{host}', 0) {kind} b'\\x00\\x01abcd'\nTrue b'\\x00\\x02'\nb'\\x00\\x03'\nb'\\x00\\x04xy'\n7\nb'\\x00\\x07\\x00\\x05' EAGAIN\n"
        )
    };
    assert_eq!(output, of("10.77.0.2", 0) + &of("fd77::2", 129));
}

#[test]
fn errors_and_options_are_the_kernels() {
    let output = printed(
        "
for v in V4, V6:
    s = sock(v); s.setblocking(False)
    print(s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == v[1], s.type == socket.SOCK_DGRAM)
    to = (v[3], 0)
    print(told(lambda: s.sendto(ping(v, 1)[:7], to)), told(lambda: s.sendto(b'\\0' + ping(v, 1)[1:], to)))
    print(told(lambda: s.sendto(ping(v, 1, bytes(65535)), to)), told(lambda: s.sendmsg([ping(v, 1)])))
    print(told(lambda: s.recvmsg(100, 100, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)))
    print(told(lambda: s.setsockopt(255, 1, 0)), told(lambda: s.setsockopt(socket.IPPROTO_UDP, 1, 0)))
    s.setsockopt(*(socket.IPPROTO_IP, 11, 1) if v is V4 else (socket.IPPROTO_IPV6, 25, 1))
print(told(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)))
print(told(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)))
print(told(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 0)))
print(told(lambda: sock(V6).sendto(ping(V6, 1), ('::ffff:10.77.0.2', 0))))
",
    );
    let of_each = "True True\nEINVAL EINVAL\nEMSGSIZE EDESTADDRREQ\nEAGAIN\nENOPROTOOPT ENOPROTOOPT\n";
    assert_eq!(
        output,
        format!("{of_each}{of_each}EPROTONOSUPPORT\nEPROTONOSUPPORT\nEPROTONOSUPPORT\nEINVAL\n")
    );
}

#[test]
fn control_messages_tell_hop_limit_and_a_time_after_sending() {
    let output = printed(
        "
import time
for v, level, recv, kind in (V4, socket.IPPROTO_IP, 12, 2), (V6, socket.IPPROTO_IPV6, 51, 52):
    s = sock(v); s.setsockopt(level, recv, 1); s.setsockopt(socket.SOL_SOCKET, 29, 1)
    for seq in range(50):
        before = time.time(); s.sendto(ping(v, seq), (v[3], 0))
        data, control, flags, peer = s.recvmsg(100, 100)
        got = {(l, k): d for l, k, d in control}
        seconds, micros = struct.unpack('qq', got[socket.SOL_SOCKET, 29])
        at = seconds + micros / 1e6
        assert before - 1e-5 <= at <= time.time() + 1e-5, (before, at)
        assert struct.unpack('i', got[level, kind]) == (64,) and data[7] == seq and flags == 0
print('ok')
",
    );
    assert_eq!(output, "ok\n");
}

#[test]
fn ping_counts_replies_and_losses() {
    if !has("/usr/bin/ping") {
        return;
    }
    let mut lab = Lab::new();
    for version in ["-4", "-6"] {
        let id = lab.start("b", &["/usr/bin/ping", version, "-c", "3", "-i", "0.01", "-W", "5", "a"]);
        let outcome = lab.finish(id);
        assert!(outcome.status.unwrap().success(), "{outcome:?}");
        assert!(outcome.stdout.contains("3 received, 0% packet loss"), "{outcome:?}");
        assert!(outcome.stderr.is_empty(), "{outcome:?}");
    }
    for nobody in ["10.77.9.9", "fd77::99"] {
        let id = lab.start("b", &["/usr/bin/ping", "-c", "2", "-i", "0.01", "-W", "0.2", nobody]);
        let outcome = lab.finish(id);
        assert_eq!(outcome.status.unwrap().code(), Some(1), "{outcome:?}");
        assert!(outcome.stdout.contains("100% packet loss"), "{outcome:?}");
    }
    lab.until("the end of the sockets", |lab| lab.supervisor.socket_count() == 0);
}

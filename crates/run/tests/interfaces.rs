//! What unmodified programs learn of their host's interfaces, addresses and routes.

mod common;

use common::{Lab, has};

fn python(script: &str) -> String {
    let mut lab = Lab::new();
    let program = lab.python("a", script);
    lab.output(program)
}

/// A program's words on host `a`.
fn words(argv: &[&str]) -> String {
    let mut lab = Lab::new();
    let program = lab.start("a", argv);
    lab.output(program).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn interfaces_have_names_and_numbers() {
    let output = python(
        "
import socket
print(socket.if_nameindex(), socket.if_nametoindex('eth0'), socket.if_indextoname(1))
try: socket.if_nametoindex('eth9')
except OSError as e: print('no eth9')
",
    );
    assert_eq!(output, "[(1, 'lo'), (2, 'eth0')] 2 lo\nno eth9\n");
}

#[test]
fn ioctls_about_a_socket_tell_of_that_socket() {
    let output = python(
        "
import errno, fcntl, socket, struct, time
def told(s, request, size):
    try: return fcntl.ioctl(s, request, bytes(size))
    except OSError as e: return errno.errorcode[e.errno]
OUTQ, UNSENT, STAMP = 0x5411, 0x894b, 0x8906
listener = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(listener.getsockname())
print(told(client, OUTQ, 4), told(client, UNSENT, 4), told(listener, OUTQ, 4), told(client, STAMP, 16))
client.setblocking(False)
sent = 0
try:
    while True: sent += client.send(bytes(65536))
except BlockingIOError: pass
limit = time.monotonic() + 10
def held(): return [struct.unpack('i', told(client, request, 4))[0] for request in (OUTQ, UNSENT)]
# What both ends hold fills up in a moment.
while not 0 < held()[1] <= held()[0] <= sent and time.monotonic() < limit: time.sleep(0.01)
queued, unsent = held()
print(0 < unsent <= queued <= sent)
server, _ = listener.accept()
while sent: sent -= len(server.recv(65536))
while held() != [0, 0] and time.monotonic() < limit: time.sleep(0.01)
print(told(client, OUTQ, 4), told(client, UNSENT, 4))
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagram.bind(('127.0.0.1', 0))
print(told(datagram, UNSENT, 4), told(datagram, STAMP, 16))
datagram.sendto(b'?', datagram.getsockname())
datagram.recv(1)
print(abs(struct.unpack('qq', told(datagram, STAMP, 16))[0] - time.time()) < 60)
",
    );
    let none = "b'\\x00\\x00\\x00\\x00'";
    assert_eq!(output, format!("{none} {none} EINVAL ENOENT\nTrue\n{none} {none}\nENOTTY ENOENT\nTrue\n"));
}

#[test]
fn ioctls_are_answered_on_any_socket() {
    let output = python(
        "
import array, errno, fcntl, socket, struct
def told(s, request, name, value=b''):
    try: return fcntl.ioctl(s, request, struct.pack('16s24s', name.encode(), value))[16:]
    except OSError as e: return errno.errorcode[e.errno]
for family, kind in [(socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_INET6, socket.SOCK_STREAM),
                     (socket.AF_UNIX, socket.SOCK_STREAM), (socket.AF_NETLINK, socket.SOCK_RAW)]:
    s = socket.socket(family, kind)
    print(socket.inet_ntoa(told(s, 0x8915, 'eth0')[4:8]), socket.inet_ntoa(told(s, 0x891b, 'eth0')[4:8]),
          struct.unpack('i', told(s, 0x8921, 'lo')[:4])[0], told(s, 0x8927, 'eth0')[2:8].hex(':'),
          hex(struct.unpack('H', told(s, 0x8913, 'eth0')[:2])[0]), told(s, 0x8915, 'eth1'), told(s, 0x8914, 'eth0'))
    for room in [4096, 79, 40, 39]:
        names = array.array('B', bytes(room))
        conf = fcntl.ioctl(s, 0x8912, struct.pack('iP', room, names.buffer_info()[0]))
        used = struct.unpack('iP', conf)[0]
        print(used, [bytes(names[n:n + 16]).rstrip(bytes(1)).decode() for n in range(0, used, 40)], end=' ')
    print(struct.unpack('iP', fcntl.ioctl(s, 0x8912, struct.pack('iP', 0, 0)))[0])
",
    );
    let each = "10.77.0.2 255.255.0.0 65536 02:42:0a:4d:00:02 0x1043 ENODEV EPERM\n\
                80 ['lo', 'eth0'] 40 ['lo'] 40 ['lo'] 0 [] 80\n";
    assert_eq!(output, each.repeat(4));
}

#[test]
fn route_sockets_have_the_ways_of_linux() {
    let output = python(
        "
import errno, os, socket, struct
def told(call):
    try: return call()
    except OSError as e: return errno.errorcode[e.errno]
for kind, protocol in [(3, 9), (3, 16), (2, 31), (1, 0)]:
    print(told(lambda: socket.socket(16, kind, protocol)), end=' ')
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
print(s.getsockname(), s.getpeername(), s.proto, s.getsockopt(1, 39), s.getsockopt(1, 3), s.getsockopt(1, 38))
s.bind((0, 0x11)); t = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE)
print(s.getsockname() == (os.getpid(), 0x11), told(lambda: t.bind((os.getpid(), 0))), told(lambda: s.bind((1, 0))))
t.connect((0, 0)); print(t.getsockname()[0] not in (0, os.getpid()), told(lambda: t.connect((1, 0))))
print(told(lambda: t.sendto(b'x' * 20, (5, 0))), told(lambda: t.listen(1)), told(lambda: t.shutdown(2)))
print(s.getsockopt(270, 9, 64)[:4], told(lambda: s.setsockopt(270, 1, 5)), s.getsockopt(270, 9, 64)[:4],
      told(lambda: s.setsockopt(270, 1, 99)), s.setsockopt(270, 12, 1), s.getsockopt(270, 12), told(lambda: s.setsockopt(270, 77, 1)))
s.setsockopt(1, 8, 65536); print(s.getsockopt(1, 8), told(lambda: s.setsockopt(6, 1, 1)))
# By number, with the answer looked at first, as iproute2 does.
request = struct.pack('IHHIIBxHiII', 32, 18, 1, 9, 0, 0, 0, 2, 0, 0)
s.sendto(request, (0, 0))
data, _, flags, source = s.recvmsg(0, 0, socket.MSG_PEEK | socket.MSG_TRUNC); print(len(data), flags & socket.MSG_TRUNC != 0, source)
whole = s.recvfrom(8192, socket.MSG_PEEK | socket.MSG_TRUNC); data, source = s.recvfrom(8192)
print(whole == (data, source), source, struct.unpack_from('IHHII', data)[1:4:2], struct.unpack_from('I', data, 12)[0] == os.getpid())
print(told(lambda: s.recvfrom(100, socket.MSG_DONTWAIT)), told(lambda: s.recv(100, socket.MSG_DONTWAIT)))
limit = lambda us: s.setsockopt(1, 20, struct.pack('ll', 0, us))
limit(1000); print(told(lambda: s.recvfrom(100))); limit(0)
# What is written natively is answered as well.
os.write(s.fileno(), b''); os.write(s.fileno(), request); print(len(s.recv(8192)) == len(data))
os.write(s.fileno(), request); print(len(s.recvfrom(8192)[0]) == len(data))
# A reader that waits is woken by another thread's request.
import threading
threading.Thread(target=lambda: os.write(s.fileno(), request)).start(); print(s.recvfrom(8192)[1])
",
    );
    let expected = "EPROTONOSUPPORT EPROTONOSUPPORT EPROTONOSUPPORT ESOCKTNOSUPPORT \
                    (0, 0) (0, 0) 0 16 3 0\nTrue EADDRINUSE EINVAL\nTrue EPERM\nEPERM ENOTSUP ENOTSUP\n\
                    b'\\x11\\x00\\x00\\x00' None b'\\x11\\x00\\x00\\x00' EINVAL None 1 ENOPROTOOPT\n\
                    131072 ENOPROTOOPT\n0 True (0, 0)\nTrue (0, 0) (16, 9) True\nEAGAIN EAGAIN\nEAGAIN\n";
    assert!(output.starts_with(expected), "{output}");
    assert!(output.ends_with("True\nTrue\n(0, 0)\n"), "{output}");
}

#[test]
fn who_does_not_read_loses_answers_and_is_told() {
    let output = python(
        "
import errno, socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
for n in range(1000):
    s.sendto(struct.pack('IHHIIB3x', 20, 18, 0x301, n, 0, 0), (0, 0))
try: s.recvfrom(8192)
except OSError as e: print(errno.errorcode[e.errno])
print(struct.unpack_from('I', s.recvfrom(8192)[0], 8)[0])
",
    );
    assert_eq!(output, "ENOBUFS\n0\n");
}

#[test]
fn the_c_library_lists_addresses() {
    let output = python(
        "
import ctypes, socket
class A(ctypes.Structure): pass
A._fields_ = [('next', ctypes.POINTER(A)), ('name', ctypes.c_char_p), ('flags', ctypes.c_uint), ('addr', ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True); head = ctypes.POINTER(A)()
assert libc.getifaddrs(ctypes.byref(head)) == 0, ctypes.get_errno()
found = []
while head:
    a = head.contents; raw = ctypes.string_at(a.addr, 28); family = int.from_bytes(raw[:2], 'little')
    ip = {2: lambda: socket.inet_ntoa(raw[4:8]), 10: lambda: socket.inet_ntop(10, raw[8:24]), 17: lambda: 'link'}[family]()
    found.append((a.name.decode(), ip)); head = a.next
print(sorted(found))
",
    );
    assert_eq!(
        output,
        "[('eth0', '10.77.0.2'), ('eth0', 'fd77::2'), ('eth0', 'link'), ('lo', '127.0.0.1'), ('lo', '::1'), ('lo', 'link')]\n"
    );
}

/// A client that sends with `send` and reads at once without waiting, as musl's `getifaddrs`.
#[test]
fn a_request_by_plain_send_is_answered_before_it_returns() {
    let output = python(
        "
import socket, struct
for n in range(50):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    for kind in [18, 22]:
        s.send(struct.pack('IHHIIB3x', 20, kind, 0x301, 1, 0, 0))
        data = s.recv(8192, socket.MSG_DONTWAIT)
        assert struct.unpack_from('IH', data)[1] == kind - 2
    s.close()
print('answered')
",
    );
    assert_eq!(output, "answered\n");
}

#[test]
fn iproute2_shows_interfaces_addresses_and_routes() {
    if !has("/usr/sbin/ip") {
        return;
    }
    let ip = |args: &[&str]| words(&[&["/usr/sbin/ip"], args].concat());
    assert_eq!(ip(&["-br", "addr"]), "lo UNKNOWN 127.0.0.1/8 ::1/128 eth0 UP 10.77.0.2/16 fd77::2/64");
    let link = ip(&["link", "show", "dev", "eth0"]);
    let expected = "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT";
    assert!(link.starts_with(expected), "{link}");
    assert!(link.ends_with("link/ether 02:42:0a:4d:00:02 brd ff:ff:ff:ff:ff:ff"), "{link}");
    let addr = ip(&["-4", "addr", "show", "eth0"]);
    assert!(addr.contains("inet 10.77.0.2/16 brd 10.77.255.255 scope global eth0"), "{addr}");
    let routes = "default via 10.77.0.1 dev eth0 10.77.0.0/16 dev eth0 proto kernel scope link src 10.77.0.2";
    let mut told: Vec<_> = ip(&["route"]).split_whitespace().map(str::to_owned).collect();
    let mut expected: Vec<_> = routes.split_whitespace().map(str::to_owned).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    let v6 = ip(&["-6", "route"]);
    assert!(v6.contains("fd77::/64 dev eth0 proto kernel metric 256 pref medium"), "{v6}");
    let way = ip(&["route", "get", "192.0.2.1"]);
    assert!(way.starts_with("192.0.2.1 via 10.77.0.1 dev eth0 src 10.77.0.2"), "{way}");
    assert!(ip(&["route", "get", "127.0.0.1"]).starts_with("local 127.0.0.1 dev lo"));
    let rules = ip(&["rule"]);
    assert_eq!(rules, "0: from all lookup local 32766: from all lookup main 32767: from all lookup default");
    assert_eq!(ip(&["neigh"]), "");
    let mut lab = Lab::new();
    let change = lab.start("a", &["/usr/sbin/ip", "addr", "add", "10.9.9.9/24", "dev", "eth0"]);
    let change = lab.finish(change);
    assert!(change.stderr.contains("Operation not permitted"), "{change:?}");
}

#[test]
fn dnsmasq_answers_on_the_loopback() {
    if !has("/usr/sbin/dnsmasq") || !has("/usr/bin/dig") {
        return;
    }
    let server = ["/usr/sbin/dnsmasq", "-k", "-d", "-C", "/dev/null", "-p", "5353", "-R", "-h"];
    let record = "--address=/answer.test/192.0.2.7";
    for more in [
        &["-a", "127.0.0.1", "--bind-interfaces"][..],
        &["-a", "127.0.0.1"],
        &[],
        &["-i", "eth0", "--bind-dynamic"],
    ] {
        let mut lab = Lab::new();
        let host = lab.supervisor.network().unwrap().host("a").unwrap().id();
        lab.start("a", &[&server[..], &[record], more].concat());
        lab.until("listening", |lab| lab.supervisor.is_listening(host, 5353));
        let dig =
            ["/usr/bin/dig", "@127.0.0.1", "-p", "5353", "+short", "+tries=5", "+time=2", "answer.test"];
        let dig = lab.start("a", &dig);
        assert_eq!(lab.output(dig), "192.0.2.7\n", "{more:?}");
    }
}

/// Prints all interfaces with their addresses.
const GO: &str = r#"package main

import (
	"fmt"
	"net"
)

func main() {
	interfaces, err := net.Interfaces()
	if err != nil {
		panic(err)
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		fmt.Println(i.Index, i.Name, i.MTU, i.HardwareAddr, i.Flags, addresses, err)
	}
}
"#;

#[test]
fn a_static_go_program_lists_interfaces() {
    if !has("/usr/bin/go") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("main.go"), folder.path().join("interfaces"));
    std::fs::write(&source, GO).unwrap();
    let mut go = std::process::Command::new("/usr/bin/go");
    go.args(["build", "-o"]).arg(&program).arg(&source);
    go.env("CGO_ENABLED", "0").env("GO111MODULE", "off").env("GOCACHE", folder.path().join("cache"));
    assert!(go.status().unwrap().success());
    let expected = "1 lo 65536 up|loopback [127.0.0.1/8 ::1/128] <nil> \
                    2 eth0 1500 02:42:0a:4d:00:02 up|broadcast|multicast [10.77.0.2/16 fd77::2/64] <nil>";
    // Go 1.22 and later name one flag more.
    assert_eq!(words(&[program.to_str().unwrap()]).replace("|running", ""), expected);
}

#[test]
fn a_closed_route_socket_is_gone() {
    let mut lab = Lab::new();
    let script = "
import socket
for n in range(500):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    s.bind((0, 0)); s.getsockname()
    if n % 2: s.sendto(bytes([20, 0, 0, 0, 18, 0, 1, 3] + [0] * 12), (0, 0))
    s.close()
print('closed')
";
    let program = lab.python("a", script);
    assert_eq!(lab.output(program), "closed\n");
    lab.until("the last close", |lab| lab.supervisor.socket_count() == 0);
}

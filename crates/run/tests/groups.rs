//! Groups and broadcasts of unmodified programs, as Python uses them.

mod common;

use common::Lab;

/// Prints what it hears in groups of both families, and to everybody.
const HEARER: &str = "
import select, socket, struct
group = socket.inet_aton('239.1.2.3')
v4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
v4.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
v4.bind(('', 5000))
v4.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton('0.0.0.0'))
second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
second.bind(('239.1.2.3', 5000))
second.setsockopt(socket.IPPROTO_IP, 8, 1) # IP_PKTINFO
# struct group_source_req, by number of the interface.
def storage(ip): return struct.pack('=HH4s120x', socket.AF_INET, 0, socket.inet_aton(ip))
request = struct.pack('=I4x', 2) + storage('239.1.2.3') + storage('10.77.0.3')
second.setsockopt(socket.IPPROTO_IP, 46, request)
v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
v6.bind(('::', 5000))
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, 'ff05::7') + struct.pack('=I', 2))
try: v4.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton('10.77.0.2'))
except OSError as error: print(error.errno)
print('ready')
for s, count in [(v4, 2), (second, 1), (v6, 1)]:
    s.settimeout(10)
    for _ in range(count):
        data, control, _, peer = s.recvmsg(100, 100)
        print(data.decode(), peer[0], [(l, k, d[:4]) for l, k, d in control])
print('done')
";

const SENDER: &str = "
import socket, struct
v4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(v4.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL), v4.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP))
v4.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 3)
v4.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('10.77.0.3'))
print(v4.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL), socket.inet_ntoa(v4.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4)))
v4.sendto(b'group', ('239.1.2.3', 5000))
v4.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
v4.sendto(b'all', ('10.77.255.255', 5000))
v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, 2)
v6.sendto(b'six', ('ff05::7', 5000))
";

#[test]
fn programs_hear_groups_and_broadcasts() {
    let mut lab = Lab::new();
    let hearer = lab.python("a", HEARER);
    lab.until_printed(hearer, "ready");
    let sender = lab.python("b", SENDER);
    assert_eq!(lab.output(sender), "1 1\n3 10.77.0.3\n");
    let heard = lab.output(hearer);
    let info = "[(0, 8, b'\\x02\\x00\\x00\\x00')]";
    let expected = format!(
        "98\nready\ngroup 10.77.0.3 []\nall 10.77.0.3 []\ngroup 10.77.0.3 {info}\nsix fd77::3 []\ndone\n"
    );
    assert_eq!(heard, expected);
}

//! Packet sockets as anybody may open them: what passes the host's interfaces, and frames of the program's own.

mod common;

use common::{Lab, has};
use sockeye_run::doctor::{Mark, examine};
use std::sync::{PoisonError, RwLock};

/// Whoever counts what this process has is alone in it: the tests share it, and their labs' namespaces.
static ALONE: RwLock<()> = RwLock::new(());

/// What every script here begins with.
const PRELUDE: &str = r"
import socket, struct
PACKET = 17
def packets(kind=socket.SOCK_RAW, protocol=3):
    s = socket.socket(PACKET, kind, socket.htons(protocol)); s.settimeout(5); return s
def kind(s):
    frame, (name, protocol, kind, hardware, address) = s.recvfrom(70000)
    return frame, name, kind
";

/// A lab; none on a machine without namespaces.
fn lab() -> Option<Lab> {
    let works = examine().iter().any(|finding| finding.what == "packet sockets" && finding.mark == Mark::Ok);
    if !works {
        eprintln!("skipped: no namespaces for this user");
        return None;
    }
    Some(Lab::new())
}

/// Runs a script on `b`, which is 10.77.0.3.
fn run(script: &str) -> Option<String> {
    let _with_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let mut lab = lab()?;
    let id = lab.python("b", &format!("{PRELUDE}{script}"));
    Some(lab.output(id))
}

#[test]
fn what_passes_is_seen_with_its_direction_on_every_interface() {
    let script = r#"
s, cooked = packets(), packets(socket.SOCK_DGRAM, 0x800)
cooked.bind(("eth0", 0x800))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.sendto(b"out", ("10.77.0.2", 9))
for _ in range(2):
    frame, name, direction = kind(s); print(name, direction, frame[:14].hex(), frame[23])
print(cooked.recvfrom(100)[0][9], cooked.getsockname()[0])
u.sendto(b"self", ("10.77.0.3", u.getsockname()[1]))
for _ in range(2):
    frame, name, direction = kind(s); print(name, direction, frame[:14].hex(), frame[-4:].decode())
"#;
    let Some(said) = run(script) else { return };
    let lines = [
        "eth0 4 02420a4d000202420a4d00030800 17",
        "eth0 0 02420a4d000302420a4d00020800 1",
        "1 eth0",
        "lo 4 0000000000000000000000000800 self",
        "lo 0 0000000000000000000000000800 self",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn what_a_program_sends_leaves_its_host_and_is_seen_by_others_once() {
    let script = r#"
me, other = packets(), packets()
def sum16(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
echo = struct.pack("!BBHHH", 8, 0, 0, 77, 1); echo = echo[:2] + struct.pack("!H", sum16(echo)) + echo[4:]
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, 1, 0, bytes([10,77,0,3]), bytes([10,77,0,2]))
ip = ip[:10] + struct.pack("!H", sum16(ip)) + ip[12:]
link = bytes.fromhex("02420a4d000202420a4d00030800")
print(me.sendto(link + ip + echo, ("eth0", 0)))
for s in (other, me):
    while True:
        frame, name, direction = kind(s); print(name, direction, frame[34])
        if direction == 0: break
ask = bytes.fromhex("ffffffffffff02420a4d0003080600010800060400010242" "0a4d00030a4d0003" "0000000000000a4d0002")
me.sendto(ask, ("eth0", 0))
frame, name, direction = kind(me); print(name, direction, frame[:42].hex())
"#;
    let Some(said) = run(script) else { return };
    let answer = "02420a4d000302420a4d00020806000108000604000202420a4d00020a4d000202420a4d00030a4d0003";
    let lines = ["42", "eth0 4 8", "eth0 0 0", "eth0 0 0", &format!("eth0 0 {answer}")];
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn tcpdump_reads_what_passes_from_a_ring_and_super_segments_whole() {
    if !has("/usr/bin/tcpdump") {
        return;
    }
    let script = r#"
import subprocess, threading
dump = subprocess.Popen(["/usr/bin/tcpdump", "-n", "-l", "-i", "lo", "-B", "8192", "tcp", "and", "greater", "20000"],
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
while "listening on" not in dump.stderr.readline(): pass
server = socket.create_server(("127.0.0.1", 0))
def serve():
    connection = server.accept()[0]
    while connection.recv(1 << 20): pass
    connection.close()
thread = threading.Thread(target=serve); thread.start()
client = socket.create_connection(server.getsockname()); client.sendall(bytes(1 << 20)); client.close(); thread.join()
line = dump.stdout.readline(); dump.terminate()
print(int(line.split()[-1]) >= 20000, "Flags" in line)
"#;
    let Some(said) = run(script) else { return };
    assert_eq!(said, "True True\n");
}

/// How many descriptors of network namespaces this process has.
fn namespaces() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = links.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("net:[")).count()
}

#[test]
fn namespaces_are_given_back_when_the_last_packet_socket_is_closed() {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let Some(mut lab) = lab() else { return };
    let script = "
import time
s = packets(); copy = s.dup(); s.close(); print('open'); time.sleep(1); copy.close(); time.sleep(60)
";
    let id = lab.python("b", &format!("{PRELUDE}{script}"));
    lab.until_printed(id, "open");
    assert!(namespaces() >= 2);
    lab.until("giving them back", |_| namespaces() == 0);
    assert!(lab.outcomes[&id].status.is_none());
}

//! The control socket of a named network, and peers that say what no supervisor says. All the while the network
//! must serve a member, and its process must neither end nor grow.

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, send, sendmsg, socket_with,
};
use std::fs::{self, File};
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SOCKEYE: &str = env!("CARGO_BIN_EXE_sockeye");
/// Exchanges with itself without a pause, and says on demand how many.
const MEMBER: &str = "
import select, socket, sys
listener = socket.create_server(('127.0.0.1', 7000))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.settimeout(5); server.settimeout(5)
print('up', flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    client.sendall(b'ping'); assert server.recv(4) == b'ping'
    other = socket.create_connection(listener.getsockname(), timeout=5)
    listener.accept()[0].close()
    assert other.recv(1) == b''
    other.close()
print('served', flush=True)
";

/// A named network with a member that is served all the time.
struct Net {
    runtime: tempfile::TempDir,
    member: Child,
}

impl Net {
    fn new() -> Net {
        let runtime = tempfile::tempdir().unwrap();
        fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut member = Command::new(SOCKEYE)
            .args(["run", "--net", "n", "--host", "a", "--offline", "--", "/usr/bin/python3", "-c", MEMBER])
            .env("XDG_RUNTIME_DIR", runtime.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 3];
        member.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        assert_eq!(&up, b"up\n");
        Net { runtime, member }
    }

    fn path(&self) -> PathBuf {
        self.runtime.path().join("sockeye/n.sock")
    }

    fn connect(&self) -> OwnedFd {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(self.path()).unwrap()).unwrap();
        let limit = Some(Duration::from_secs(5));
        rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, limit)
            .unwrap();
        socket
    }

    fn greet(&self) -> OwnedFd {
        let socket = self.connect();
        say(&socket, sockeye_run::fuzz_greeting());
        socket
    }

    /// A supervisor's place in the network, without a supervisor.
    fn join(&self, random: &mut Random) -> OwnedFd {
        loop {
            let socket = self.greet();
            // The first kind of message is the wish to join; some of them are granted.
            let wish = loop {
                let message = sockeye_run::fuzz_example(&mut || random.next(), true);
                if message[0] == 0 {
                    break message;
                }
            };
            say(&socket, &wish);
            if hear(&socket).is_some_and(|answer| answer[0] == 1) {
                return socket;
            }
        }
    }

    fn sockeye(&self, args: &[&str]) -> Output {
        Command::new(SOCKEYE).args(args).env("XDG_RUNTIME_DIR", self.runtime.path()).output().unwrap()
    }

    /// The network's process, its descriptors and its memory in KiB.
    fn process(&self) -> (u32, usize, u64) {
        let lock = fs::metadata(self.runtime.path().join("sockeye/n.lock")).unwrap();
        let inode = format!(":{} ", lock.ino());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let line = locks.lines().find(|line| line.contains("FLOCK") && line.contains(&inode)).unwrap();
        let pid = line.split_whitespace().nth(4).unwrap().parse().unwrap();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        (pid, descriptors, memory.trim().trim_end_matches(" kB").parse().unwrap())
    }

    /// The member was served all the time, and another one can join.
    fn finish(mut self) {
        let next = self.sockeye(&["run", "--net", "n", "--host", "next", "--", "true"]);
        assert!(next.status.success(), "{next:?}");
        drop(self.member.stdin.take());
        let mut said = String::new();
        self.member.stdout.as_mut().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "served\n");
        assert!(self.member.wait().unwrap().success());
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(self.member.stdin.take());
        self.sockeye(&["down", "n"]);
        self.member.kill().ok();
        self.member.wait().ok();
    }
}

fn say(socket: &OwnedFd, message: &[u8]) {
    // Whoever was refused can't send any more.
    send(socket, message, SendFlags::NOSIGNAL).ok();
}

fn say_with(socket: &OwnedFd, message: &[u8], fds: &[&OwnedFd]) {
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL).ok();
}

/// The next message, or none at the end of the conversation, which must come soon.
fn hear(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 256 * 1024];
    match recv(socket, &mut buffer[..], RecvFlags::empty()) {
        Ok((0, _)) | Err(rustix::io::Errno::CONNRESET | rustix::io::Errno::PIPE) => None,
        Ok((len, _)) => Some(buffer[..len].to_vec()),
        Err(error) => panic!("neither an answer nor an end: {error}"),
    }
}

/// Hears refusals at most, then the end.
fn is_parted_with(socket: &OwnedFd) {
    for _ in 0..3 {
        match hear(socket) {
            None => return,
            Some(message) => assert_eq!(message[0], 0, "{message:?}"),
        }
    }
    panic!("no end comes");
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 17
    }
}

#[test]
fn wrong_greetings_and_messages_end_the_conversation() {
    let net = Net::new();
    let before = net.process();
    let long = vec![0; 100_000];
    for greeting in [&b"sockeye 0.0.0\n"[..], b"GET / HTTP/1.1\r\n\r\n", &long, &[b'x'; 300], b"\xff"] {
        let socket = net.connect();
        say(&socket, greeting);
        is_parted_with(&socket);
    }
    let (long, longer) = (vec![0x80; 60_000], vec![0xff; 150_000]);
    for message in [&[][..], &[0xff; 10], &[0; 1], &long, &[8, 8], &longer] {
        let socket = net.greet();
        say(&socket, message);
        if message.is_empty() {
            // No message at all is the end of the conversation.
            drop(socket);
            continue;
        }
        is_parted_with(&socket);
    }
    // Longer than any message may be.
    let socket = net.greet();
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, 400_000).unwrap();
    say(&socket, &vec![0; 213_500]);
    is_parted_with(&socket);
    let after = net.process();
    assert_eq!(before.0, after.0);
    assert!(after.1 <= before.1 + 4, "{before:?} {after:?}");
    net.finish();
}

#[test]
fn random_and_damaged_messages_do_no_harm() {
    let net = Net::new();
    let random = &mut Random(1);
    let before = net.process();
    let own = File::open("/dev/null").unwrap().into();
    for round in 0..600 {
        let socket = if round % 2 == 0 { net.join(random) } else { net.greet() };
        rustix::io::ioctl_fionbio(&socket, true).unwrap();
        for _ in 0..random.next() % 30 {
            let mut message = sockeye_run::fuzz_example(&mut || random.next(), true);
            if message[0] == 10 {
                // `Down`, which anybody of the user may say.
                continue;
            }
            if random.next().is_multiple_of(4) {
                let at = random.next() as usize % message.len();
                message[at] ^= 1 << (random.next() % 8);
            }
            if message[0] == 10 {
                continue;
            }
            if random.next().is_multiple_of(4) {
                say_with(&socket, &message, &[&own]);
            } else {
                say(&socket, &message);
            }
        }
    }
    let after = net.process();
    assert_eq!(before.0, after.0, "the network's process");
    net.finish();
}

#[test]
fn descriptors_where_none_belong_are_closed() {
    let net = Net::new();
    let random = &mut Random(2);
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let before = net.process();
    for count in [1, 2, 3, 200] {
        for _ in 0..20 {
            let socket = net.connect();
            say_with(&socket, sockeye_run::fuzz_greeting(), &vec![&theirs; count]);
            say_with(&socket, &[8], &vec![&theirs; count]);
            let member = net.join(random);
            say_with(&member, &[8], &vec![&theirs; count]);
            hear(&member);
        }
    }
    drop(theirs);
    rustix::net::sockopt::set_socket_timeout(
        &ours,
        rustix::net::sockopt::Timeout::Recv,
        Some(Duration::from_secs(5)),
    )
    .unwrap();
    assert_eq!(
        recv(&ours, &mut [0_u8; 1][..], RecvFlags::empty()).unwrap().0,
        0,
        "a descriptor is open still"
    );
    assert_eq!(before.0, net.process().0);
    net.finish();
}

#[test]
fn floods_of_silent_and_of_deaf_peers_are_bounded() {
    let net = Net::new();
    let before = net.process();
    let silent: Vec<_> = (0..700).map(|_| net.connect()).collect();
    let next = net.sockeye(&["run", "--net", "n", "--host", "amid", "--", "true"]);
    assert!(next.status.success(), "{next:?}");
    let amid = net.process();
    assert!(amid.1 < before.1 + 300, "{before:?} {amid:?}");
    drop(silent);
    // Deaf ones ask and ask, and read no answer.
    let deaf: Vec<_> = (0..8).map(|_| net.greet()).collect();
    for socket in &deaf {
        rustix::io::ioctl_fionbio(socket, true).unwrap();
    }
    let start = Instant::now();
    let mut asked = 0_u32;
    while start.elapsed() < Duration::from_secs(2) {
        for socket in &deaf {
            asked += u32::from(send(socket, &[8], SendFlags::NOSIGNAL).is_ok());
        }
    }
    let after = net.process();
    assert!(after.2 < before.2 + 64 * 1024, "{asked} questions: {before:?} {after:?}");
    assert_eq!(before.0, after.0);
    drop(deaf);
    net.finish();
}

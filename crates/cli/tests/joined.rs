//! Programs on a named network: their supervisor and the network are two processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const SOCKEYE: &str = env!("CARGO_BIN_EXE_sockeye");
/// Gets another plug each time, whose old one ends before the network hears that the program has the new one.
const ASKS_FOR_ERRORS: &str = "
import select, socket
for _ in range(20):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0)); s.settimeout(5)
    e = select.epoll(); e.register(s, select.EPOLLIN)
    s.setsockopt(socket.IPPROTO_IP, 11, 1); d = s.dup()
    s.sendto(b'hello', s.getsockname()); assert e.poll(5) and d.recvfrom(10) == (b'hello', s.getsockname())
    d.close(); s.close()
print('done')
";

#[test]
fn a_datagram_socket_that_gets_another_plug_goes_on() {
    let runtime = tempfile::tempdir().unwrap();
    fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let output = Command::new("timeout")
        .args(["20", SOCKEYE, "run", "--net", "n", "--host", "a", "--offline", "--"])
        .args(["/usr/bin/python3", "-c", ASKS_FOR_ERRORS])
        .env("XDG_RUNTIME_DIR", runtime.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert_eq!(stdout, "done\n", "{stderr}");
}

#[test]
fn a_program_that_cannot_be_started_costs_no_capture() {
    let runtime = tempfile::tempdir().unwrap();
    fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let capture = runtime.path().join("kept.pcapng");
    fs::write(&capture, "precious").unwrap();
    for net in [&["--offline"][..], &["--net", "n", "--offline"]] {
        for (program, exit) in [("no-such-program", 127), ("/etc/passwd", 126)] {
            let output = Command::new("timeout")
                .args(["20", SOCKEYE, "run"])
                .args(net)
                .arg("--pcap")
                .arg(&capture)
                .args(["--", program])
                .env("XDG_RUNTIME_DIR", runtime.path())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(exit), "{said}");
            assert!(said.contains(program) && said.lines().count() == 1, "{said}");
            assert_eq!(fs::read_to_string(&capture).unwrap(), "precious", "{net:?} {program}");
        }
    }
}

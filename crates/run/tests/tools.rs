//! Tools that ask who is there and which way leads to him, as anybody may run them.

mod common;

use common::{Lab, Outcome, has};

/// Runs a tool on `b`, which is 10.77.0.3 and `fd77::3`; `a` is 10.77.0.2 and `fd77::2`, nobody 10.77.9.9 and `fd77::99`.
fn run(lab: &mut Lab, argv: &[&str]) -> Outcome {
    let id = lab.start("b", argv);
    lab.finish(id)
}

#[test]
fn ping_is_told_who_said_that_nobody_is_there() {
    if !has("/usr/bin/ping") {
        return;
    }
    let mut lab = Lab::new();
    for (nobody, said) in [
        ("203.0.113.9", "From 10.77.0.1 icmp_seq=2 Destination Net Unreachable"),
        ("10.77.9.9", "From 10.77.0.1 icmp_seq=2 Destination Host Unreachable"),
    ] {
        let outcome = run(&mut lab, &["/usr/bin/ping", "-n", "-c", "2", "-i", "0.01", "-W", "1", nobody]);
        assert!(outcome.stdout.contains(said) && outcome.stdout.contains("+2 errors"), "{outcome:?}");
    }
    let whole = ["/usr/bin/ping", "-n", "-c", "1", "-M", "do", "-s", "5000", "10.77.0.2"];
    let outcome = run(&mut lab, &whole);
    assert!(outcome.stderr.contains("local error: message too long, mtu=1500"), "{outcome:?}");
}

#[test]
fn fping_tells_of_others_than_those_who_answer() {
    if !has("/usr/bin/fping") {
        return;
    }
    let mut lab = Lab::new();
    let outcome =
        run(&mut lab, &["/usr/bin/fping", "-c", "2", "-p", "20", "-t", "3000", "10.77.0.2", "10.77.9.9"]);
    let said = &outcome.stderr;
    assert!(said.contains("10.77.0.2 : xmt/rcv/%loss = 2/2/0%"), "{outcome:?}");
    assert!(
        said.contains("ICMP Host Unreachable from 10.77.0.1 for ICMP Echo sent to 10.77.9.9"),
        "{outcome:?}"
    );
    let outcome = run(&mut lab, &["/usr/bin/fping", "-6", "-c", "2", "-p", "20", "-t", "3000", "fd77::2"]);
    assert!(outcome.stderr.contains("fd77::2 : xmt/rcv/%loss = 2/2/0%"), "{outcome:?}");
}

#[test]
fn traceroute_finds_the_way_by_udp_echoes_and_syns() {
    if !has("/usr/sbin/traceroute") {
        return;
    }
    for how in [&["-U"][..], &["-I"], &["-T", "-p", "7"]] {
        for to in ["10.77.0.2", "fd77::2"] {
            let mut lab = Lab::new();
            let mut argv = vec!["/usr/sbin/traceroute", "-n", "-q", "1", "-w", "2", "-m", "3"];
            argv.extend(how);
            argv.push(to);
            let outcome = run(&mut lab, &argv);
            let hop = outcome.stdout.lines().nth(1).unwrap_or_default().trim_start();
            let found = hop.starts_with(&format!("1  {to}")) && hop.ends_with(" ms");
            assert!(found && outcome.stderr.is_empty(), "{argv:?} {outcome:?}");
        }
    }
}

#[test]
fn tracepath_finds_way_and_mtu() {
    if !has("/usr/bin/tracepath") {
        return;
    }
    for to in ["10.77.0.2", "fd77::2"] {
        let mut lab = Lab::new();
        let outcome = run(&mut lab, &["/usr/bin/tracepath", "-n", "-m", "3", to]);
        assert!(outcome.stdout.contains("Resume: pmtu 1500 hops 1 back 1"), "{outcome:?}");
    }
}

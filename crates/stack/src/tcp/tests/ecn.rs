//! Explicit congestion notification (RFC 3168).

use super::*;
use crate::Ecn;
use crate::tcp::ecn::{CE, ECT_0, NOT_ECT};

const SYN_ACK: &str = "SE. 0:0(0) ack 1 win 65535 <mss 1000,nop,nop,sackOK>";

/// What is sent now, with the ECN bits of its packets.
#[track_caller]
fn expect(script: &mut Script, lines: &[(u8, &str)]) {
    let mut sent = Vec::new();
    while let Some(segment) = script.call(Connection::poll_transmit) {
        sent.push((segment.ecn, TcpLine::new(&segment.header, segment.payload.len() as u32)));
    }
    let fit = sent.len() == lines.len()
        && sent
            .iter()
            .zip(lines)
            .all(|((ecn, sent), (bits, line))| ecn == bits && fits(sent, &parse(line), line.contains('<')));
    let sent: Vec<(u8, String)> = sent.into_iter().map(|(ecn, line)| (ecn, show(line))).collect();
    assert!(fit, "expected {lines:#?}, sent {sent:#?}");
}

/// A connection of which both ends use ECN.
fn agreed() -> Script {
    let mut script = Script::connect(|config| config.ecn = Ecn::Request);
    expect(&mut script, &[(NOT_ECT, "SEW 0:0(0)")]);
    script.advance(100);
    script.inject(SYN_ACK);
    expect(&mut script, &[(NOT_ECT, ". 1:1(0) ack 1")]);
    script
}

/// §6.1.1
#[test]
fn is_used_if_both_agree() {
    // SHLD-8
    let mut script = agreed();
    script.send(1000);
    expect(&mut script, &[(ECT_0, "P. 1:1001(1000) ack 1")]);
    // A SYN-ACK with both flags is of a peer that reflects what it doesn't know.
    for answer in [SYN_ACK.replacen("SE.", "SEW.", 1), SYN_ACK.replacen("SE.", "S.", 1)] {
        let mut script = Script::connect(|config| config.ecn = Ecn::Request);
        script.expect(&["SEW 0:0(0)"]);
        script.inject(&answer);
        script.expect(&[". 1:1(0) ack 1"]);
        script.send(1000);
        expect(&mut script, &[(NOT_ECT, "P. 1:1001(1000) ack 1")]);
    }
    // Who doesn't ask gets none.
    let mut script = Script::connect(|_| ());
    script.expect(&["S 0:0(0)"]);
    script.inject(SYN_ACK);
    script.expect(&[". 1:1(0) ack 1"]);
    script.send(1000);
    expect(&mut script, &[(NOT_ECT, "P. 1:1001(1000) ack 1")]);
}

/// §6.1.1.1
#[test]
fn a_lost_syn_is_sent_again_without_asking() {
    for (fallback, again) in [(true, "S 0:0(0)"), (false, "SEW 0:0(0)")] {
        let mut script = Script::connect(|config| {
            config.ecn = Ecn::Request;
            config.ecn_fallback = fallback;
        });
        script.expect(&["SEW 0:0(0)"]);
        script.advance(1000);
        script.expect(&[again]);
    }
}

/// §6.1.3
#[test]
fn a_mark_is_echoed_until_the_sender_has_reacted() {
    // SHLD-8
    let mut script = agreed();
    script.inject_marked(ECT_0, ". 1:1001(1000) ack 1 win 65535");
    script.inject_marked(ECT_0, ". 1001:2001(1000) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 2001"]);
    script.inject_marked(CE, ". 2001:3001(1000) ack 1 win 65535");
    // At once, for the window may be small.
    script.expect(&["E. 1:1(0) ack 3001"]);
    script.inject_marked(ECT_0, ". 3001:4001(1000) ack 1 win 65535");
    script.expect(&["E. 1:1(0) ack 4001"]);
    script.send(500);
    expect(&mut script, &[(ECT_0, "PE. 1:501(500) ack 4001")]);
    script.inject_marked(ECT_0, "W. 4001:5001(1000) ack 501 win 65535");
    script.expect(&[". 501:501(0) ack 5001"]);
    // Marked itself.
    script.inject_marked(CE, "W. 5001:6001(1000) ack 501 win 65535");
    script.expect(&["E. 501:501(0) ack 6001"]);
    // Out of order, too.
    script.inject_marked(CE, "W. 7001:8001(1000) ack 501 win 65535");
    script.expect(&["E. 501:501(0) ack 6001"]);
}

/// §6.1.2
#[test]
fn an_echo_reduces_the_window_once_per_round_trip() {
    // SHLD-8
    let mut script = agreed();
    script.send(10_000);
    script.transmit();
    script.advance(100);
    script.inject("E. 1:1(0) ack 2001 win 65535");
    script.transmit();
    assert_eq!(script.connection.info(script.now).snd_ssthresh, 7_000);
    script.inject("E. 1:1(0) ack 4001 win 65535");
    script.inject("E. 1:1(0) ack 10001 win 65535");
    assert_eq!(script.connection.info(script.now).snd_ssthresh, 7_000);
    script.send(3_000);
    // The first new data says so; the peer's echoes end, for good or until the next mark.
    expect(
        &mut script,
        &[
            (ECT_0, "W. 10001:11001(1000) ack 1"),
            (ECT_0, ". 11001:12001(1000) ack 1"),
            (ECT_0, "P. 12001:13001(1000) ack 1"),
        ],
    );
    script.advance(100);
    script.inject(". 1:1(0) ack 13001 win 65535");
    script.send(1_000);
    expect(&mut script, &[(ECT_0, "P. 13001:14001(1000) ack 1")]);
    script.advance(100);
    script.inject("E. 1:1(0) ack 14001 win 65535");
    assert!(script.connection.info(script.now).snd_ssthresh < 7_000);
}

/// §6.1.5: what is sent again can't be marked; the window was reduced, and new data says so.
#[test]
fn retransmissions_are_not_ecn_capable() {
    let mut script = agreed();
    script.send(1_000);
    expect(&mut script, &[(ECT_0, "P. 1:1001(1000) ack 1")]);
    script.advance(400);
    expect(&mut script, &[(NOT_ECT, "P. 1:1001(1000) ack 1")]);
    script.advance(100);
    script.inject(". 1:1(0) ack 1001 win 65535");
    script.send(500);
    expect(&mut script, &[(ECT_0, "PW. 1001:1501(500) ack 1")]);
    script.inject(". 1:1(0) ack 1501 win 65535");
    // A FIN without data is none that could be marked.
    script.shutdown();
    expect(&mut script, &[(NOT_ECT, "F. 1501:1501(0) ack 1")]);
}

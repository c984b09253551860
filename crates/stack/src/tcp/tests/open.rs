//! Opening, and what may come instead of an answer.

use super::*;

/// RFC 9293 §3.5: active open.
#[test]
fn a_handshake() {
    let mut script = Script::connect(|_| ());
    assert_eq!(script.state(), State::SynSent);
    script.expect(&["S 0:0(0) win 65000 <mss 1000,nop,nop,sackOK>"]);
    script.inject("S. 0:0(0) ack 1 win 65535 <mss 700>");
    script.expect(&[". 1:1(0) ack 1 <>"]);
    assert_eq!((script.state(), script.connection.max_segment()), (State::Established, 700));
}

/// MUST-15: without an MSS option 536 bytes are sent.
#[test]
fn a_peer_without_options_gets_the_default_segment_size() {
    let mut script = Script::established(100, "S. 0:0(0) ack 1 win 65535", |_| ());
    script.send(536 * 2);
    script.expect(&[". 1:537(536) ack 1", ". 537:1073(536) ack 1"]);
}

/// RFC 6298 §5.7 and the SYN's own retransmissions.
#[test]
fn a_lost_syn_is_sent_again_and_given_up() {
    let mut script = Script::connect(|config| (config.syn_retries, config.syn_linear_timeouts) = (2, 0));
    script.expect(&["S 0:0(0)"]);
    for timeout in [1000, 2000] {
        script.silent(timeout);
        script.expect(&["S 0:0(0)"]);
    }
    script.advance(4000);
    script.expect(&[]);
    assert_eq!(script.state(), State::Closed);
    assert_eq!(script.connection.take_error(), Some(Error::TimedOut));
}

#[test]
fn a_refusal() {
    let mut script = Script::connect(|_| ());
    script.expect(&["S 0:0(0)"]);
    // Not for our SYN: somebody else's.
    script.inject("R. 0:0(0) ack 7 win 0");
    assert_eq!(script.state(), State::SynSent);
    script.inject("R. 0:0(0) ack 1 win 0");
    assert_eq!(script.state(), State::Closed);
    assert_eq!(script.connection.take_error(), Some(Error::ConnectionRefused));
    assert_eq!(script.connection.take_error(), None);
}

/// RFC 9293 §3.10.7.3: an unacceptable acknowledgment is reset, and the open goes on.
#[test]
fn an_old_answer_is_reset() {
    let mut script = Script::connect(|_| ());
    script.expect(&["S 0:0(0)"]);
    script.inject("S. 500:500(0) ack 9 win 1000");
    script.expect(&["R 9:9(0)"]);
    script.inject("S. 0:0(0) ack 1 win 1000");
    script.expect(&[". 1:1(0) ack 1"]);
}

/// MUST-10: simultaneous open.
#[test]
fn both_sides_open() {
    let mut script = Script::connect(|_| ());
    script.expect(&["S 0:0(0)"]);
    script.inject("S 0:0(0) win 65535 <mss 1000>");
    assert_eq!(script.state(), State::SynReceived);
    script.expect(&["S. 0:0(0) ack 1"]);
    script.inject("S. 0:0(0) ack 1 win 65535 <mss 1000>");
    assert_eq!(script.state(), State::Established);
    script.send(10);
    script.expect(&[". 1:11(10) ack 1"]);
}

/// RFC 5961 §3 and §4: resets and SYNs that only guess are challenged.
#[test]
fn blind_attacks_are_challenged() {
    let mut script = Script::without_sack();
    script.inject("R 500:500(0) win 0");
    script.expect(&[". 1:1(0) ack 1"]);
    script.inject("R 99999:99999(0) win 0");
    script.expect(&[]);
    script.advance(500);
    script.inject("S 500:500(0) win 1000");
    script.expect(&[". 1:1(0) ack 1"]);
    // An acknowledgment of what was never sent.
    script.advance(500);
    script.inject(". 1:11(10) ack 5000 win 1000");
    script.expect(&[". 1:1(0) ack 1"]);
    assert_eq!((script.state(), script.connection.recv_queued()), (State::Established, 0));
    script.inject("R 1:1(0) win 0");
    assert_eq!(script.state(), State::Closed);
    assert_eq!(script.connection.take_error(), Some(Error::ConnectionReset));
}

use super::*;
use sockeye_packet::Instant;

fn sent(seq: u32, len: u32, mss: u32, flags: TcpFlags) -> Sent {
    let spec = TcpSpec { flags, seq, len, ack: Some(1), options: Some(Vec::new()), ..TcpSpec::default() };
    let end = "192.0.2.1:80".parse().unwrap();
    Sent { at: Instant::ZERO, src: end, dst: end, spec, mss, several: mss > 0 && len > mss }
}

const PUSH: TcpFlags = TcpFlags::from_bits(0x18);
const ACK: TcpFlags = TcpFlags::ACK;

fn line(seq: u32, len: u32, flags: TcpFlags) -> TcpSpec {
    sent(seq, len, 0, flags).spec
}

/// Gathers from a queue; answers what differs, and what is left.
fn compared(expected: &TcpSpec, mut queue: Vec<Sent>) -> (Option<String>, Vec<(u32, u32)>) {
    let first = queue.remove(0);
    let (gathered, rest) = gather(expected, first, |sent| {
        let joined = queue.first().is_some_and(|next| joins(sent, next));
        joined.then(|| queue.remove(0))
    });
    let left = rest.into_iter().chain(queue).map(|sent| (sent.spec.seq, sent.spec.len)).collect();
    (difference(expected, &gathered.spec, None), left)
}

#[test]
fn segments_are_put_together_up_to_the_end_of_the_line() {
    let queue = vec![sent(1, 1000, 1000, ACK), sent(1001, 1000, 1000, ACK), sent(2001, 500, 1000, PUSH)];
    assert_eq!(compared(&line(1, 2500, PUSH), queue.clone()), (None, vec![]));
    assert_eq!(compared(&line(1, 2000, PUSH), queue.clone()), (None, vec![(2001, 500)]));
    assert_eq!(compared(&line(1, 1000, ACK), queue.clone()), (None, vec![(1001, 1000), (2001, 500)]));
    assert_eq!(compared(&line(1, 1500, PUSH), queue).0.as_deref(), Some("length"));
}

#[test]
fn short_segments_are_segments_of_their_own() {
    let queue = vec![sent(1, 400, 1000, PUSH), sent(401, 400, 1000, PUSH)];
    assert_eq!(compared(&line(1, 800, PUSH), queue).0.as_deref(), Some("length"));
    // And where the segment size isn't known, every segment is.
    let queue = vec![sent(1, 400, 0, PUSH), sent(401, 400, 0, PUSH)];
    assert_eq!(compared(&line(1, 800, PUSH), queue).0.as_deref(), Some("length"));
}

#[test]
fn longer_super_segments_are_cut_between_segments() {
    let queue = vec![sent(1, 3000, 1000, PUSH)];
    assert_eq!(compared(&line(1, 1000, ACK), queue.clone()), (None, vec![(1001, 2000)]));
    assert_eq!(compared(&line(1, 2000, PUSH), queue.clone()), (None, vec![(2001, 1000)]));
    assert_eq!(compared(&line(1, 1000, PUSH), queue.clone()).0.as_deref(), Some("flags"));
    assert_eq!(compared(&line(1, 1500, ACK), queue).0.as_deref(), Some("length"));
}

#[test]
fn the_push_at_the_end_of_several_segments_may_be_or_not() {
    for flags in [ACK, PUSH] {
        assert_eq!(compared(&line(1, 3000, flags), vec![sent(1, 3000, 1000, PUSH)]).0, None);
        let queue = vec![sent(1, 1000, 1000, ACK), sent(1001, 1000, 1000, ACK)];
        assert_eq!(compared(&line(1, 2000, flags), queue).0, None);
        // What is left of a longer one ends several, too.
        let queue = vec![Sent { several: true, ..sent(2001, 1000, 1000, PUSH) }];
        assert_eq!(compared(&line(2001, 1000, flags), queue).0, None);
    }
    assert_eq!(compared(&line(1, 1000, ACK), vec![sent(1, 1000, 1000, PUSH)]).0.as_deref(), Some("flags"));
}

#[test]
fn only_what_could_be_one_segment_is_put_together() {
    let mut later = sent(1001, 1000, 1000, PUSH);
    later.at = Instant::from_millis(1);
    let mut other = sent(1001, 1000, 1000, PUSH);
    other.spec.ack = Some(2);
    for next in [later, other, sent(2001, 1000, 1000, PUSH)] {
        let queue = vec![sent(1, 1000, 1000, ACK), next];
        assert_eq!(compared(&line(1, 2000, PUSH), queue).0.as_deref(), Some("length"));
    }
}

#[test]
fn each_field_is_compared_as_the_line_names_it() {
    let came = TcpSpec {
        window: Some(5),
        ip: IpSpec { ecn: Some(EcnSpec::Ect0), tos: Some(2), ttl: Some(64), flow_label: Some(0) },
        options: Some(vec![TcpOptionSpec::Timestamps { value: 100, echo: 7 }]),
        ..line(1, 10, PUSH)
    };
    let mut expected = TcpSpec { options: None, ..line(1, 10, PUSH) };
    let differs = |expected: &TcpSpec, ts| difference(expected, &came, ts);
    assert_eq!(differs(&expected, None), None);
    expected.window = Some(6);
    assert_eq!(differs(&expected, None).as_deref(), Some("window"));
    expected.window = None;
    expected.ip.ecn = Some(EcnSpec::Ect01);
    assert_eq!(differs(&expected, None), None);
    expected.ip.ecn = Some(EcnSpec::None);
    assert_eq!(differs(&expected, None).as_deref(), Some("ECN bits"));
    expected.ip = IpSpec { ttl: Some(1), ..IpSpec::default() };
    assert_eq!(differs(&expected, None).as_deref(), Some("time to live"));
    expected.ip = IpSpec::default();
    expected.options = Some(Vec::new());
    assert_eq!(differs(&expected, None).as_deref(), Some("options"));
    expected.options = Some(vec![TcpOptionSpec::Timestamps { value: 90, echo: 7 }]);
    assert_eq!(differs(&expected, None), None);
    let (tick, tolerance) = (Duration::from_millis(1), Duration::from_millis(4));
    assert_eq!(differs(&expected, Some((tick, tolerance))).as_deref(), Some("timestamp value"));
    assert_eq!(differs(&expected, Some((tick, 3 * tolerance))), None);
    expected.options = Some(vec![TcpOptionSpec::Timestamps { value: 100, echo: 8 }]);
    assert_eq!(differs(&expected, None).as_deref(), Some("timestamp echo"));
    expected = TcpSpec { urgent: Some(1), ..came.clone() };
    assert_eq!(differs(&expected, None).as_deref(), Some("urgent pointer"));
    expected = TcpSpec { ack: None, ..came.clone() };
    assert_eq!(differs(&expected, None).as_deref(), Some("acknowledgment number"));
}

#[test]
fn the_ace_field_is_three_bits() {
    let expected = TcpSpec { ace: Some(5), ..line(1, 10, PUSH) };
    let came = TcpSpec { flags: PUSH | TcpFlags::AE | TcpFlags::ECE, ..line(1, 10, PUSH) };
    assert_eq!(difference(&expected, &came, None), None);
    assert_eq!(difference(&expected, &line(1, 10, PUSH), None).as_deref(), Some("flags"));
}

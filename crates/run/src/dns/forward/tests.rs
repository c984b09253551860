use super::*;
use crate::dns::response::tests::{answer_to, asked, query};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::BinDecodable;
use proptest::prelude::*;

const AT: fn(u64) -> Instant = Instant::from_millis;

/// Somebody who asks; the number tells them apart.
pub(in crate::dns) fn reply_to(port: u16) -> ReplyTo {
    static HOST: std::sync::LazyLock<HostId> =
        std::sync::LazyLock::new(|| sockeye::Network::builder().build_manual().unwrap().gateway().id());
    let peer = SockAddr::new(std::net::Ipv4Addr::new(10, 77, 0, 2).into(), port);
    ReplyTo { host: *HOST, socket: SocketId::from_u64(1), peer: Some(peer), source: peer.ip_addr() }
}

fn forwarder(servers: u8) -> Forwarder {
    let servers: Vec<SocketAddr> = (1..=servers).map(|last| ([192, 0, 2, last], 53).into()).collect();
    Forwarder::new(&servers, [7; 32])
}

/// The next step, which asks: flight, last number of the server, transport, query.
fn asks(forwarder: &mut Forwarder) -> (FlightId, u8, Transport, Vec<u8>) {
    match forwarder.poll_step() {
        Some(Step::Ask { flight, server: SocketAddr::V4(server), transport, query }) => {
            (flight, server.ip().octets()[3], transport, query)
        }
        other => panic!("{other:?}"),
    }
}

/// The answers that came out: to whom, with which code, and how many addresses.
fn answers(forwarder: &mut Forwarder) -> Vec<(u16, ResponseCode, usize)> {
    std::iter::from_fn(|| forwarder.poll_answer())
        .map(|(to, answer)| {
            let answer = Message::from_bytes(&answer).unwrap();
            (to.peer.unwrap().port, answer.metadata.response_code, answer.answers.len())
        })
        .collect()
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

#[test]
fn a_question_is_asked_once_and_known_then() {
    let mut f = forwarder(1);
    assert_eq!(f.ask(AT(0), reply_to(1), asked("Example.")), None);
    let (flight, server, transport, sent) = asks(&mut f);
    assert_eq!((server, transport), (1, Transport::Udp));
    assert_ne!(sent[..2], [0x12, 0x34], "a number of our own");
    // Others join, in their spelling; who asks again does not count twice.
    assert_eq!(f.ask(AT(1), reply_to(2), asked("eXAMPLE.")), None);
    assert_eq!(f.ask(AT(2), reply_to(1), asked("Example.")), None);
    assert_eq!(f.poll_step(), None);
    assert_eq!(f.poll_timeout(), Some(AT(2000)));
    f.on_datagram(AT(10), flight, &bytes(&answer_to(&sent, 2, 60)));
    assert_eq!(f.poll_step(), Some(Step::Close(flight)));
    assert_eq!(answers(&mut f), [(1, ResponseCode::NoError, 2), (2, ResponseCode::NoError, 2)]);
    assert_eq!((f.poll_timeout(), f.askers, f.by_key.len()), (None, 0, 0));
    let known = Message::from_bytes(&f.ask(AT(30_010), reply_to(3), asked("example.")).unwrap()).unwrap();
    assert_eq!((known.answers[0].ttl, known.answers.len()), (30, 2));
    assert_eq!(f.ask(AT(60_010), reply_to(3), asked("example.")), None, "no longer");
}

#[test]
fn other_wishes_are_other_questions() {
    let mut f = forwarder(1);
    let mut signed = query("example.");
    signed.edns = Some(hickory_proto::op::Edns::new());
    signed.edns.as_mut().unwrap().set_dnssec_ok(true);
    let mut unchecked = query("example.");
    unchecked.metadata.checking_disabled = true;
    let mut other_type = query("example.");
    // As a byte, this type is a capital letter.
    other_type.queries[0].set_query_type(RecordType::HTTPS);
    let mut another_type = query("example.");
    another_type.queries[0].set_query_type(RecordType::Unknown(97));
    for message in [query("example."), signed, unchecked, other_type, another_type] {
        let asked = Asked::from_message(&message, Transport::Udp).unwrap();
        assert_eq!(f.ask(AT(0), reply_to(1), asked), None);
        let sent = Message::from_bytes(&asks(&mut f).3).unwrap();
        assert_eq!(sent.queries, message.queries);
        assert_eq!(sent.metadata.checking_disabled, message.metadata.checking_disabled);
        assert_eq!(sent.edns.is_some(), message.edns.is_some());
    }
}

#[test]
fn what_does_not_answer_the_query_is_ignored() {
    let mut f = forwarder(1);
    f.ask(AT(0), reply_to(1), asked("Example."));
    let (flight, _, _, sent) = asks(&mut f);
    let mut other_id = sent.clone();
    other_id[1] ^= 1;
    let mut other_type = sent.clone();
    *other_type.iter_mut().nth_back(2).unwrap() ^= 0x20;
    let mut other_name = sent.clone();
    other_name[14] = b'y';
    for wrong in [&other_id, &other_type, &other_name] {
        f.on_datagram(AT(1), flight, &bytes(&answer_to(wrong, 1, 60)));
    }
    f.on_datagram(AT(1), flight, &sent);
    f.on_datagram(AT(1), FlightId(99), &bytes(&answer_to(&sent, 1, 60)));
    f.on_stream(AT(1), flight, &bytes(&answer_to(&sent, 1, 60)));
    assert_eq!((f.poll_step(), answers(&mut f)), (None, vec![]));
    f.on_datagram(AT(1), flight, &bytes(&answer_to(&sent, 1, 60)));
    assert_eq!(answers(&mut f).len(), 1);
}

#[test]
fn who_is_being_guessed_at_asks_by_a_stream() {
    let mut f = forwarder(1);
    f.ask(AT(0), reply_to(1), asked("example."));
    let (flight, _, _, sent) = asks(&mut f);
    for _ in 0..STRAYS_MAX {
        assert_eq!(f.poll_step(), None);
        f.on_datagram(AT(1), flight, b"guess");
    }
    let (_, _, transport, again) = asks(&mut f);
    assert_eq!(transport, Transport::Tcp);
    assert_ne!(again[..2], sent[..2]);
    f.on_datagram(AT(1), flight, &bytes(&answer_to(&again, 1, 60)));
    assert_eq!(answers(&mut f), [], "it is no longer expected there");
}

#[test]
fn servers_are_asked_in_order_twice_round() {
    let mut f = forwarder(5);
    f.ask(AT(0), reply_to(1), asked("example."));
    let mut ids = Vec::new();
    for (round, server) in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)] {
        let (_, asked, transport, sent) = asks(&mut f);
        assert_eq!((asked, transport), (server, Transport::Udp));
        ids.push(sent[..2].to_vec());
        let now = 2000 * (3 * round + u64::from(server));
        f.handle_timeout(AT(now - 1));
        assert_eq!((f.poll_step(), f.poll_timeout()), (None, Some(AT(now))));
        f.handle_timeout(AT(now));
    }
    assert_eq!(f.poll_step(), Some(Step::Close(FlightId(1))));
    assert_eq!(answers(&mut f), [(1, ResponseCode::ServFail, 0)]);
    assert_eq!((f.poll_timeout(), f.askers), (None, 0));
    ids.dedup();
    assert_eq!(ids.len(), 6, "a number for each try");
    assert_eq!(f.ask(AT(20_000), reply_to(1), asked("example.")), None, "a failure is not kept");
}

#[test]
fn a_server_that_is_not_there_is_left_at_once() {
    let mut f = forwarder(2);
    f.ask(AT(0), reply_to(1), asked("example."));
    let (flight, _, _, _) = asks(&mut f);
    f.on_failure(AT(5), flight);
    let (_, server, _, sent) = asks(&mut f);
    assert_eq!((server, f.poll_timeout()), (2, Some(AT(2005))));
    f.on_datagram(AT(6), flight, &bytes(&answer_to(&sent, 1, 60)));
    assert_eq!(answers(&mut f), [(1, ResponseCode::NoError, 1)]);
}

#[test]
fn a_server_that_cannot_help_is_asked_once() {
    let mut f = forwarder(2);
    f.ask(AT(0), reply_to(1), asked("example."));
    let (flight, _, _, sent) = asks(&mut f);
    let mut refused = answer_to(&sent, 0, 0);
    refused.metadata.response_code = ResponseCode::Refused;
    f.on_datagram(AT(1), flight, &bytes(&refused));
    let (_, server, _, sent) = asks(&mut f);
    assert_eq!(server, 2);
    // A header alone, as servers have it that can't read the query.
    f.on_datagram(AT(2), flight, &[sent[0], sent[1], 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(f.poll_step(), Some(Step::Close(flight)));
    assert_eq!(answers(&mut f), [(1, ResponseCode::Refused, 0)], "the best that was said");
}

#[test]
fn a_truncated_answer_is_asked_for_by_a_stream() {
    let mut f = forwarder(2);
    f.ask(AT(0), reply_to(1), asked("example."));
    let (flight, _, _, sent) = asks(&mut f);
    let truncated = |sent: &[u8]| bytes(&answer_to(sent, 0, 0).truncate());
    f.on_datagram(AT(1500), flight, &truncated(&sent));
    let (_, server, transport, sent) = asks(&mut f);
    assert_eq!((server, transport, f.poll_timeout()), (1, Transport::Tcp, Some(AT(3500))));
    f.on_stream(AT(1600), flight, &bytes(&answer_to(&sent, 200, 60)));
    let (_, answer) = f.poll_answer().unwrap();
    let answer = Message::from_bytes(&answer).unwrap();
    assert!(answer.metadata.truncation && answer.answers.is_empty(), "3,200 bytes are too much for it");
    // It comes back by a stream, and finds the answer here.
    let again = Asked::from_message(&query("example."), Transport::Tcp).unwrap();
    let whole = Message::from_bytes(&f.ask(AT(1700), reply_to(2), again).unwrap()).unwrap();
    assert_eq!(whole.answers.len(), 200);
}

#[test]
fn a_stream_that_brings_nothing_useful_is_a_failed_try() {
    let mut f = forwarder(2);
    f.ask(AT(0), reply_to(1), asked("example."));
    let (flight, _, _, sent) = asks(&mut f);
    f.on_datagram(AT(1), flight, &bytes(&answer_to(&sent, 0, 0).truncate()));
    let (_, _, _, sent) = asks(&mut f);
    f.on_stream(AT(2), flight, &bytes(&answer_to(&sent, 0, 0).truncate()));
    let (_, server, transport, _) = asks(&mut f);
    assert_eq!((server, transport), (2, Transport::Udp));
}

#[test]
fn streams_do_not_prolong_the_last_deadline() {
    let mut f = forwarder(1);
    f.ask(AT(0), reply_to(1), asked("example."));
    for now in [1999, 3998] {
        let (flight, _, _, sent) = asks(&mut f);
        f.on_datagram(AT(now), flight, &bytes(&answer_to(&sent, 0, 0).truncate()));
        assert_eq!(asks(&mut f).2, Transport::Tcp);
        f.on_failure(AT(now), flight);
    }
    assert_eq!(answers(&mut f), [(1, ResponseCode::ServFail, 0)]);
    assert_eq!(f.poll_step(), Some(Step::Close(FlightId(1))));
    f.ask(AT(10_000), reply_to(1), asked("example."));
    let (flight, _, _, sent) = asks(&mut f);
    f.on_datagram(AT(11_999), flight, &bytes(&answer_to(&sent, 0, 0).truncate()));
    asks(&mut f);
    assert_eq!(f.poll_timeout(), Some(AT(13_999)));
    f.handle_timeout(AT(13_999));
    asks(&mut f);
    assert_eq!(f.poll_timeout(), Some(AT(14_000)), "four seconds for all");
    f.handle_timeout(AT(14_000));
    assert_eq!(answers(&mut f), [(1, ResponseCode::ServFail, 0)]);
}

#[test]
fn askers_are_bounded() {
    let mut f = forwarder(1);
    let ask = |f: &mut Forwarder, number: usize, source: IpAddr| {
        let to = ReplyTo { source, ..reply_to(number as u16) };
        f.ask(AT(0), to, asked(&format!("n{}.example.", number / 2))).is_none()
    };
    let sources: [IpAddr; 2] = [[10, 77, 0, 2].into(), [10, 77, 0, 3].into()];
    let accepted = (0..ASKERS_MAX).take_while(|&number| ask(&mut f, number, sources[0])).count();
    assert_eq!(accepted, ASKERS_MAX / 4 * 3, "the rest is for who asks less");
    assert!((accepted..ASKERS_MAX).all(|number| ask(&mut f, number, sources[1])));
    let refused = |f: &mut Forwarder, name: &str| {
        f.ask(AT(0), reply_to(9999), asked(name))
            .map(|answer| Message::from_bytes(&answer).unwrap().metadata.response_code)
    };
    assert_eq!(refused(&mut f, "more.example."), Some(ResponseCode::ServFail));
    assert_eq!(refused(&mut f, "n0.example."), Some(ResponseCode::ServFail));
    for _ in 0..2 {
        while f.poll_step().is_some() {}
        f.handle_timeout(f.poll_timeout().unwrap());
    }
    assert_eq!(answers(&mut f).len(), ASKERS_MAX);
    assert_eq!(refused(&mut f, "more.example."), None);
}

#[test]
fn zone_transfers_are_refused_and_nobody_can_be_asked_without_servers() {
    let mut message = query("example.");
    message.queries[0].set_query_type(RecordType::AXFR);
    let asked_all = Asked::from_message(&message, Transport::Tcp).unwrap();
    let code =
        |answer: Option<Vec<u8>>| Message::from_bytes(&answer.unwrap()).unwrap().metadata.response_code;
    assert_eq!(code(forwarder(1).ask(AT(0), reply_to(1), asked_all)), ResponseCode::Refused);
    assert_eq!(code(forwarder(0).ask(AT(0), reply_to(1), asked("example."))), ResponseCode::ServFail);
}

#[test]
fn other_servers_know_other_things() {
    let mut f = forwarder(1);
    let learn = |f: &mut Forwarder, change: Option<SocketAddr>| {
        let unknown = f.ask(AT(0), reply_to(1), asked("example.")).is_none();
        if unknown {
            let (flight, _, _, sent) = asks(f);
            if let Some(server) = change {
                f.set_servers(&[server]);
            }
            f.on_datagram(AT(0), flight, &bytes(&answer_to(&sent, 1, 60)));
            assert_eq!(answers(f).len(), 1);
            f.poll_step();
        }
        unknown
    };
    assert_eq!((learn(&mut f, None), learn(&mut f, None)), (true, false));
    f.set_servers(&["192.0.2.1:53".parse().unwrap()]);
    assert!(!learn(&mut f, None), "the same ones");
    f.set_servers(&["192.0.2.2:53".parse().unwrap()]);
    assert!(learn(&mut f, Some("192.0.2.3:53".parse().unwrap())));
    assert!(learn(&mut f, None), "what a former server said after the change is not kept");
}

proptest! {
    /// Whatever a server sends, and by whatever way, nobody gets an answer to what he didn't ask.
    #[test]
    fn any_answers_reach_only_who_asked(
        inputs in proptest::collection::vec(
            (0_u64..6, any::<bool>(), any::<bool>(), proptest::collection::vec((0_usize..80, any::<u8>()), 0..4)),
            1..60,
        ),
        junk in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut f = forwarder(2);
        let mut sent = BTreeMap::new();
        let names = ["a.example.", "b.example.", "C.example."];
        for (now, (flight, stream, whole, changes)) in inputs.into_iter().enumerate() {
            let now = AT(100 * now as u64);
            let port = flight as u16 % 3;
            let at_once = f.ask(now, reply_to(port), asked(names[usize::from(port)]));
            while let Some(step) = f.poll_step() {
                if let Step::Ask { flight, query, .. } = step {
                    sent.insert(flight, query);
                }
            }
            let flight = FlightId(flight + 1);
            let mut message = sent.get(&flight).map_or_else(Vec::new, |q| bytes(&answer_to(q, 1, 1)));
            for (at, value) in changes {
                if let Some(byte) = message.get_mut(at) {
                    *byte = value;
                }
            }
            let message = if whole { &message } else { &junk };
            if stream { f.on_stream(now, flight, message) } else { f.on_datagram(now, flight, message) }
            f.handle_timeout(now);
            let later = std::iter::from_fn(|| f.poll_answer());
            for (to, answer) in at_once.map(|answer| (reply_to(port), answer)).into_iter().chain(later) {
                let own = asked(names[usize::from(to.peer.unwrap().port)]);
                prop_assert_eq!(&answer[..2], &own.id.to_be_bytes());
                prop_assert_eq!(&answer[12..12 + own.question.len()], &*own.question);
                prop_assert!(answer.len() <= own.limit);
            }
            prop_assert!(f.askers <= 3 && f.flights.len() <= 3 && f.deadlines.len() == f.flights.len());
        }
    }
}

#[test]
fn a_server_that_writes_names_small_is_understood() {
    let mut f = forwarder(1);
    f.ask(AT(0), reply_to(1), asked("Example."));
    let (flight, _, _, mut sent) = asks(&mut f);
    sent[13] = b'e';
    f.on_datagram(AT(1), flight, &bytes(&answer_to(&sent, 1, 60)));
    let (_, answer) = f.poll_answer().unwrap();
    assert_eq!(&answer[13..20], b"Example", "the asker's spelling");
}

#[test]
fn no_name_of_the_outside_leads_into_the_network() {
    use hickory_proto::rr::{
        Name, RData, Record,
        rdata::{A, AAAA},
    };
    let own = [("10.77.0.0", 16), ("fd77::", 64)];
    let cases = [
        ("10.77.255.254", false),
        ("::ffff:10.77.0.2", false),
        ("fd77::ffff", false),
        ("10.78.0.1", true),
        ("127.0.0.1", true),
        ("2001:db8::1", true),
    ];
    for (address, passes) in cases {
        let mut f = forwarder(1);
        f.set_own(own.map(|(first, prefix)| (first.parse().unwrap(), prefix)).into());
        f.ask(AT(0), reply_to(1), asked("example."));
        let (flight, _, _, sent) = asks(&mut f);
        let mut answer = answer_to(&sent, 1, 60);
        let data = match address.parse().unwrap() {
            IpAddr::V4(v4) => RData::A(A(v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
        };
        answer.add_answer(Record::from_rdata(Name::from_ascii("example.").unwrap(), 60, data));
        f.on_datagram(AT(1), flight, &bytes(&answer));
        let records = if passes { 2 } else { 0 };
        assert_eq!(answers(&mut f), [(1, ResponseCode::NoError, records)], "{address}");
    }
}

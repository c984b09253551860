use super::*;
use crate::dns::Transport;
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, NULL, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use proptest::prelude::*;

pub(in crate::dns) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A client's query.
pub(in crate::dns) fn query(text: &str) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), RecordType::A));
    message
}

pub(in crate::dns) fn asked(text: &str) -> Asked {
    Asked::from_message(&query(text), Transport::Udp).unwrap()
}

/// An answer to a message, with so many addresses.
pub(in crate::dns) fn answer_to(message: &[u8], addresses: u8, ttl: u32) -> Message {
    let query = Message::from_bytes(message).unwrap();
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.metadata.authoritative = true;
    let question = query.queries[0].clone();
    for last in 0..addresses {
        let data = RData::A(A([192, 0, 2, last].into()));
        answer.add_answer(Record::from_rdata(question.name().clone(), ttl, data));
    }
    answer.add_query(question);
    if query.edns.is_some() {
        answer.set_edns(Edns::new());
    }
    answer
}

pub(in crate::dns) fn soa(ttl: u32, minimum: u32) -> Record {
    let data = SOA::new(name("a.example."), name("b.example."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name("example."), ttl, RData::SOA(data))
}

fn parse(message: &Message) -> Response {
    Response::parse(&message.to_vec().unwrap()).unwrap()
}

fn seconds(message: &Message) -> u64 {
    parse(message).lifetime().as_secs()
}

#[test]
fn an_answer_is_handed_on_as_the_askers() {
    let asked = asked("WWW.example.");
    let response = parse(&answer_to(&super::tests::asked("www.EXAMPLE.").query(77), 2, 300));
    assert_eq!((response.id(), response.is_truncated(), response.is_failure()), (77, false, false));
    let answer = Message::from_bytes(&response.answer(&asked, Duration::from_secs(10))).unwrap();
    assert_eq!(answer.metadata.id, 0x1234);
    assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
    assert_eq!(answer.queries[0].name().to_ascii(), "WWW.example.");
    assert_eq!(answer.answers.len(), 2);
    assert_eq!(answer.answers[0].name.to_ascii(), "WWW.example.", "compressed, it is the question's");
    assert!(answer.answers.iter().all(|record| record.ttl == 290));
    assert!(answer.edns.is_none());
    let old = Message::from_bytes(&response.answer(&asked, Duration::from_secs(1000))).unwrap();
    assert_eq!(old.answers[0].ttl, 0);
}

#[test]
fn the_opt_record_is_ours() {
    let mut message = query("example.");
    let mut edns = Edns::new();
    edns.set_max_payload(4000).set_dnssec_ok(true);
    message.set_edns(edns);
    let asked = Asked::from_message(&message, Transport::Udp).unwrap();
    let sent = Message::from_bytes(&asked.query(5)).unwrap();
    let sent_edns = sent.edns.unwrap();
    assert_eq!((sent_edns.max_payload(), sent_edns.flags().dnssec_ok), (UDP_MAX, true));
    assert_eq!(asked.limit, UDP_MAX.into());
    let mut answer = answer_to(&asked.query(5), 1, 60);
    answer.metadata.response_code = ResponseCode::BADCOOKIE;
    answer.add_additional(Record::from_rdata(name("x."), 9, RData::A(A([1, 2, 3, 4].into()))));
    let handed = parse(&answer).answer(&asked, Duration::ZERO);
    let handed = Message::from_bytes(&handed).unwrap();
    let edns = handed.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (UDP_MAX, true));
    assert_eq!(handed.metadata.response_code, ResponseCode::BADCOOKIE, "with the bits of the OPT record");
    assert_eq!(handed.additionals.len(), 1);
    assert_eq!(parse(&answer).lifetime(), Duration::ZERO);
}

#[test]
fn long_answers_are_cut_to_what_the_asker_takes() {
    let asked = asked("example.");
    let long = answer_to(&asked.query(1), 100, 60);
    let bytes = parse(&long).answer(&asked, Duration::ZERO);
    let cut = Message::from_bytes(&bytes).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty() && bytes.len() <= 512);
    let over_tcp = Asked::from_message(&query("example."), Transport::Tcp).unwrap();
    let whole = Message::from_bytes(&parse(&long).answer(&over_tcp, Duration::ZERO)).unwrap();
    assert!(!whole.metadata.truncation && whole.answers.len() == 100);
}

#[test]
fn unknown_types_and_classes_pass() {
    let mut message = query("example.");
    message.queries[0].set_query_type(RecordType::Unknown(65_432)).set_query_class(DNSClass::Unknown(7));
    let asked = Asked::from_message(&message, Transport::Udp).unwrap();
    let mut answer = answer_to(&asked.query(1), 0, 0);
    let data = RData::Unknown { code: RecordType::Unknown(65_432), rdata: NULL::with(vec![0xc0, 0xff, 1]) };
    answer.add_answer(Record::from_rdata(name("example."), 60, data.clone()));
    let handed = Message::from_bytes(&parse(&answer).answer(&asked, Duration::ZERO)).unwrap();
    assert_eq!(handed.queries, message.queries);
    assert_eq!(handed.answers[0].data, data);
    assert_eq!(seconds(&answer), 60);
}

#[test]
fn how_long_answers_are_kept() {
    let query = asked("example.").query(1);
    let mut answer = answer_to(&query, 2, 300);
    assert_eq!(seconds(&answer), 300);
    answer.answers[1].ttl = 20;
    assert_eq!(seconds(&answer), 20, "the least");
    assert_eq!(seconds(&answer_to(&query, 1, 1_000_000)), 3600, "an hour at most");
    assert_eq!(seconds(&answer_to(&query, 1, u32::MAX)), 0, "RFC 2181 §8");
    let nothing = answer_to(&query, 0, 0);
    assert_eq!(seconds(&nothing), 0, "RFC 2308 §5: not without an SOA record");
    for code in [ResponseCode::NoError, ResponseCode::NXDomain] {
        let negative = |ttl, minimum| {
            let mut answer = nothing.clone();
            answer.metadata.response_code = code;
            answer.add_authority(soa(ttl, minimum));
            seconds(&answer)
        };
        assert_eq!((negative(600, 60), negative(60, 600), negative(9000, 9000)), (60, 60, 900));
    }
    let mut failure = answer_to(&query, 1, 300);
    failure.metadata.response_code = ResponseCode::ServFail;
    assert_eq!((seconds(&failure), parse(&failure).is_failure()), (0, true));
    failure.metadata.response_code = ResponseCode::NXDomain;
    assert_eq!(seconds(&failure), 0, "an alias that leads nowhere, without SOA record");
}

#[test]
fn what_is_no_answer_is_none() {
    let good = answer_to(&asked("example.").query(1), 2, 300).to_vec().unwrap();
    assert!(Response::parse(&good).is_some());
    for len in 0..good.len() {
        assert_eq!(Response::parse(&good[..len]), None, "cut to {len}");
    }
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Response::parse(&bytes)
    };
    assert_eq!(changed(2, 0), None, "a query");
    assert_eq!(changed(2, 0xa8), None, "another operation");
    assert_eq!(changed(5, 2), None, "two questions");
    assert_eq!(changed(12, 0xc0), None, "a pointer to the future");
    assert_eq!(changed(26, 0x1b), None, "a pointer to itself");
    let behind = [&good[..], b"junk"].concat();
    assert_eq!(Response::parse(&behind), Response::parse(&good), "what follows is dropped");
    let mut truncated = good[..40].to_vec();
    truncated[2] |= FLAG_TRUNCATED;
    assert!(Response::parse(&truncated).unwrap().is_truncated(), "may end anywhere");
}

#[test]
fn failures_are_answers_too() {
    let bytes = server_failure(&asked("Example."));
    let answer = Message::from_bytes(&bytes).unwrap();
    assert_eq!((answer.metadata.id, answer.metadata.response_code), (0x1234, ResponseCode::ServFail));
    assert_eq!(answer.queries[0].name().to_ascii(), "Example.");
    assert!(answer.metadata.recursion_desired && answer.metadata.recursion_available);
    let mut bare = bytes[..12].to_vec();
    bare[5] = 0;
    assert!(Response::is_bare_failure(&bare, 0x1234));
    assert!(!Response::is_bare_failure(&bare, 0x1235));
    assert!(!Response::is_bare_failure(&bytes, 0x1234));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Response::parse(&bytes);
    }

    /// A right answer with a few bytes changed reaches deeper; what is accepted can be handed on.
    #[test]
    fn a_damaged_answer_is_dropped_or_handed_on(
        changes in proptest::collection::vec((0_usize..400, any::<u8>()), 1..6),
        age in any::<u64>(),
    ) {
        let mut message = query("example.");
        message.set_edns(Edns::new());
        let asked = Asked::from_message(&message, Transport::Udp).unwrap();
        let mut answer = answer_to(&asked.query(0x1234), 9, 300);
        answer.add_authority(soa(5, 5));
        answer.add_additional(Record::from_rdata(name("x.example."), 7, RData::A(A([1, 2, 3, 4].into()))));
        let mut bytes = answer.to_vec().unwrap();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if let Some(response) = Response::parse(&bytes)
            && response.question().len() == asked.question.len()
        {
            let handed = response.answer(&asked, Duration::from_secs(age));
            prop_assert!(handed.len() <= asked.limit);
            prop_assert_eq!(&handed[..2], &[0x12, 0x34]);
            prop_assert_eq!(&handed[HEADER_LEN..HEADER_LEN + asked.question.len()], &*asked.question);
        }
    }
}

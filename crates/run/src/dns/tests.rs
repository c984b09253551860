use super::forward::tests::reply_to;
use super::*;
use proptest::prelude::*;

const NOW: Instant = Instant::ZERO;

/// The answer of a name server that asks nobody.
fn answer(query: &[u8], zone: &Zone, transport: Transport) -> Option<Vec<u8>> {
    match Names::new(zone.clone()).answer(NOW, query, transport, reply_to(1)) {
        Reply::Now(answer) => Some(answer),
        Reply::Later => panic!("nobody is there to be asked"),
        Reply::Nothing => None,
    }
}

fn zone() -> Zone {
    let mut zone = Zone::new(&["lan".into()]);
    zone.add("web", &["10.77.0.2".parse().unwrap(), "fd77::2".parse().unwrap()]);
    zone.add("old", &["10.77.0.3".parse().unwrap()]);
    let many: Vec<IpAddr> = (0..200_u8).map(|i| IpAddr::from([10, 78, 0, i])).collect();
    zone.add("many", &many);
    zone
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask(message: &Message, transport: Transport) -> Message {
    let bytes = answer(&message.to_vec().unwrap(), &zone(), transport).unwrap();
    let limit = message.edns.as_ref().map_or(512, |e| usize::from(e.max_payload()).max(512));
    assert!(transport == Transport::Tcp || bytes.len() <= limit);
    Message::from_bytes(&bytes).unwrap()
}

/// The response code and the data of the answers.
fn outcome(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
    let response = ask(&query(name, kind), Transport::Udp);
    assert_eq!(response.metadata.id, 0x1234);
    assert_eq!(response.metadata.message_type, MessageType::Response);
    assert!(response.metadata.recursion_desired && response.metadata.recursion_available);
    assert_eq!(response.queries, query(name, kind).queries);
    (response.metadata.response_code, response.answers.iter().map(|record| record.data.to_string()).collect())
}

#[test]
fn hosts_have_their_addresses() {
    use RecordType as T;
    let found = |data: &str| (ResponseCode::NoError, vec![data.to_owned()]);
    assert_eq!(outcome("web.", T::A), found("10.77.0.2"));
    assert_eq!(outcome("WeB.LAN.", T::A), found("10.77.0.2"));
    assert_eq!(outcome("web.", T::AAAA), found("fd77::2"));
    assert_eq!(outcome("web.", T::ANY).1.len(), 2);
    assert_eq!(outcome("2.0.77.10.in-addr.arpa.", T::PTR), found("web."));
    let v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa.";
    assert_eq!(outcome(v6, T::PTR), found("web."));
    assert_eq!(outcome("localhost.", T::AAAA), found("::1"));
}

#[test]
fn another_type_is_no_data_and_another_name_no_domain() {
    use RecordType as T;
    let no_data = (ResponseCode::NoError, vec![]);
    assert_eq!(outcome("old.", T::AAAA), no_data);
    assert_eq!(outcome("web.", T::MX), no_data);
    assert_eq!(outcome("2.0.77.10.in-addr.arpa.", T::A), no_data);
    let no_domain = (ResponseCode::NXDomain, vec![]);
    for name in ["example.org.", "www.web.", ".", "9.0.77.10.in-addr.arpa.", "77.10.in-addr.arpa."] {
        assert_eq!(outcome(name, T::A), no_domain, "{name}");
    }
}

#[test]
fn the_spelling_of_the_question_comes_back() {
    let response = ask(&query("wEb.", RecordType::A), Transport::Udp);
    assert_eq!(response.answers[0].name.to_string(), "wEb.");
}

#[test]
fn long_answers_over_udp_are_truncated_and_whole_over_tcp() {
    let mut asked = query("many.", RecordType::A);
    let cut = ask(&asked, Transport::Udp);
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let whole = ask(&asked, Transport::Tcp);
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 200);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    asked.set_edns(edns);
    let cut = ask(&asked, Transport::Udp);
    assert!(cut.metadata.truncation, "3,200 bytes are more than we send in one datagram");
    assert_eq!(cut.edns.map(|edns| edns.max_payload()), Some(UDP_MAX));
}

#[test]
fn what_is_not_a_plain_question_is_refused() {
    let zone = zone();
    let code = |message: &Message| ask(message, Transport::Udp).metadata.response_code;
    let mut two = query("web.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("old.").unwrap(), RecordType::A));
    assert_eq!(code(&two), ResponseCode::FormErr);
    let mut none = query("web.", RecordType::A);
    none.queries.clear();
    assert_eq!(code(&none), ResponseCode::FormErr);
    let mut status = query("web.", RecordType::A);
    status.metadata.op_code = OpCode::Status;
    assert_eq!(code(&status), ResponseCode::NotImp);
    let mut chaos = query("web.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos), ResponseCode::Refused);
    let mut future = query("web.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    future.set_edns(edns);
    assert_eq!(u16::from(code(&future)), 16, "BADVERS");
    let mut response = query("web.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    assert_eq!(answer(&response.to_vec().unwrap(), &zone, Transport::Udp), None);
    assert_eq!(answer(&[0; 11], &zone, Transport::Udp), None);
    let garbled = answer(&[7, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0xff], &zone, Transport::Udp).unwrap();
    assert_eq!((&garbled[..2], garbled[3] & 0xf), (&[7, 7][..], 1));
}

#[test]
fn what_is_asked_outside() {
    let mut zone = zone();
    zone.add_subnet(sockeye::Subnet::DEFAULT_V4);
    let mut names = Names::new(zone);
    // Nobody answers at this address, which is for documentation (RFC 5737); nothing waits for it.
    names.forward(NOW, Some(&["192.0.2.1:53".parse().unwrap()])).unwrap();
    let mut ask =
        |message: &Message| names.answer(NOW, &message.to_vec().unwrap(), Transport::Udp, reply_to(1));
    for name in ["web.", "web.sockeye.", "a.local.", "x.invalid.", "9.0.77.10.in-addr.arpa.", "localhost."] {
        assert!(matches!(ask(&query(name, RecordType::A)), Reply::Now(_)), "{name}");
    }
    let mut chaos = query("web.sockeye.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert!(matches!(ask(&chaos), Reply::Now(_)), "not a name of ours in another class either");
    let mut notify = query("example.org.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    assert!(matches!(ask(&notify), Reply::Now(_)));
}

#[test]
fn every_asker_gets_an_answer_from_a_machine_without_network() {
    let mut names = Names::new(zone());
    // A broadcast address can't be connected to: every try fails at once.
    names.forward(NOW, Some(&["255.255.255.255:53".parse().unwrap()])).unwrap();
    let asked = query("example.org.", RecordType::A).to_vec().unwrap();
    assert_eq!(names.answer(NOW, &asked, Transport::Tcp, reply_to(7)), Reply::Later);
    let (to, answer) = names.poll_answer().unwrap();
    let answer = Message::from_bytes(&answer).unwrap();
    assert_eq!((to, answer.metadata.response_code), (reply_to(7), ResponseCode::ServFail));
    assert_eq!(names.on_timeout(NOW), None);
}

#[test]
fn a_changed_resolv_conf_counts_from_the_next_query_on() {
    let path = std::env::temp_dir().join(format!("sockeye-names-{}", std::process::id()));
    std::fs::write(&path, "nameserver 192.0.2.1\nsearch lan\n").unwrap();
    let mut names = Names::new(zone());
    names.forward(NOW, Some(&["255.255.255.255:53".parse().unwrap()])).unwrap();
    names.file = Some(ResolvFile::open(&path, NOW).0);
    std::fs::write(&path, "nameserver 255.255.255.255\nsearch other.example\n").unwrap();
    let mut ask = |now, name| {
        let query = query(name, RecordType::A).to_vec().unwrap();
        let reply = names.answer(now, &query, Transport::Udp, reply_to(1));
        while names.poll_answer().is_some() {}
        matches!(reply, Reply::Now(_))
    };
    assert!(ask(Instant::from_millis(999), "web.lan."));
    assert!(ask(Instant::from_millis(1000), "web.other.example."));
    assert!(!ask(Instant::from_millis(1000), "web.lan."));
    std::fs::remove_file(&path).unwrap();
}

proptest! {
    #[test]
    fn any_bytes_are_answered_or_dropped_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(answer) = answer(&bytes, &zone(), Transport::Udp) {
            prop_assert!(answer.len() <= usize::from(UDP_MAX));
            prop_assert_eq!(&answer[..2], &bytes[..2]);
        }
    }

    /// A right query with a few bytes changed reaches deeper than random bytes.
    #[test]
    fn a_damaged_query_is_answered_or_dropped(changes in proptest::collection::vec((0_usize..40, any::<u8>()), 1..5)) {
        let mut asked = query("many.", RecordType::ANY);
        asked.set_edns(Edns::new());
        let mut bytes = asked.to_vec().unwrap();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        for transport in [Transport::Udp, Transport::Tcp] {
            let _ = answer(&bytes, &zone(), transport);
        }
    }
}

/// RFC 1035 §4.1.4: names whose pointers lead in a circle, forwards, or out of the message, in what is asked and in
/// what is answered. (Earlier stacks hung or read on there.)
#[test]
fn dns_compression_loops() {
    let header = |flags: u8, answers: u8| [0x12, 0x34, flags, 0, 0, 1, 0, answers, 0, 0, 0, 0];
    let type_and_class = [0, 1, 0, 1];
    // To itself, to each other, to a label before it that leads back, forwards, beyond the end.
    let names: [&[u8]; 5] =
        [&[0xc0, 12], &[0xc0, 14, 0xc0, 12], &[1, b'a', 0xc0, 12], &[0xc0, 16], &[0xff, 0xff]];
    for name in names {
        let asked = [&header(1, 0)[..], name, &type_and_class].concat();
        if let Some(answer) = answer(&asked, &zone(), Transport::Udp) {
            assert_eq!(answer[3] & 0xf, 1, "a format error for {name:?}");
        }
        let question = [&[3, b'w', b'e', b'b', 0][..], &type_and_class].concat();
        // The answer's name starts at 21.
        let looped: Vec<u8> = name.iter().map(|byte| if *byte == 12 { 21 } else { *byte }).collect();
        let record = [&looped[..], &type_and_class, &[0, 0, 0, 9, 0, 4, 10, 0, 0, 1]].concat();
        let answered = [&header(0x81, 1)[..], &question, &record].concat();
        if let Some(response) = response::Response::parse(&answered) {
            assert!(response.size() <= 2 * answered.len());
            let _ = response.leads_into(&[("10.0.0.0".parse().unwrap(), 8)]);
        }
    }
}

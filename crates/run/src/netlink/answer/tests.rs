use super::*;
use crate::netlink::host::tests::stack;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, neighbour::NeighbourMessage};
use proptest::prelude::*;

const REQUEST: u16 = netlink_packet_core::NLM_F_REQUEST;
const ASKER: Asker = Asker { port: 77, capped: false, explained: false, strict: false };
const STRICT: Asker = Asker { strict: true, ..ASKER };

fn bytes_of(message: Message, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    (header.sequence_number, header.flags) = (5, flags);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// What is put into the program's queue for these bytes.
fn queue(asker: Asker, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut queue = Vec::new();
    respond(&mut stack(), asker, bytes, &mut |message| {
        queue.push(message.to_vec());
        true
    });
    queue
}

/// The messages in answer to these bytes; every one is whole and belongs to the request.
fn ask_bytes(asker: Asker, bytes: &[u8]) -> Vec<NetlinkMessage<Message>> {
    let mut answers = Vec::new();
    for together in queue(asker, bytes) {
        let mut rest = &together[..];
        while !rest.is_empty() {
            let answer = NetlinkMessage::<Message>::deserialize(rest).unwrap();
            assert_eq!((answer.header.sequence_number, answer.header.port_number), (5, 77));
            rest = &rest[(answer.header.length as usize).next_multiple_of(4)..];
            answers.push(answer);
        }
    }
    answers
}

fn ask(asker: Asker, request: Message, flags: u16) -> Vec<NetlinkMessage<Message>> {
    ask_bytes(asker, &bytes_of(request, flags | REQUEST))
}

/// The messages of a dump, of which the end is the last.
fn dump(asker: Asker, request: Message) -> Vec<Message> {
    let mut answers = ask(asker, request, NLM_F_DUMP | NLM_F_ACK);
    let end = answers.pop().unwrap();
    assert!(matches!(end.payload, NetlinkPayload::Done(done) if done.code == 0));
    answers
        .into_iter()
        .map(|answer| {
            assert_ne!(answer.header.flags & NLM_F_MULTIPART, 0);
            let NetlinkPayload::InnerMessage(message) = answer.payload else { panic!("{answer:?}") };
            message
        })
        .collect()
}

/// The errno that a request fails with.
fn errno(answers: &[NetlinkMessage<Message>]) -> Errno {
    let [NetlinkMessage { payload: NetlinkPayload::Error(error), .. }] = answers else {
        panic!("{answers:?}")
    };
    Errno(-error.raw_code())
}

fn link_name(message: &Message) -> &str {
    let Message::NewLink(link) = message else { panic!("{message:?}") };
    link.attributes
        .iter()
        .find_map(|a| if let LinkAttribute::IfName(name) = a { Some(name) } else { None })
        .unwrap()
}

fn get_link(index: u32, name: Option<&str>) -> Message {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.extend(name.map(|name| LinkAttribute::IfName(name.to_owned())));
    Message::GetLink(message)
}

fn get_address(family: AddressFamily, index: u32) -> Message {
    let mut message = AddressMessage::default();
    (message.header.family, message.header.index) = (family, index);
    Message::GetAddress(message)
}

#[test]
fn links_are_listed_and_found() {
    let links = dump(ASKER, get_link(0, None));
    assert_eq!(links.iter().map(link_name).collect::<Vec<_>>(), ["lo", "eth0"]);
    let Message::NewLink(link) = &links[1] else { panic!() };
    assert_eq!(link.header.index, 2);
    let flags = LinkFlags::Up | LinkFlags::Broadcast | LinkFlags::Running | LinkFlags::Multicast;
    assert_eq!(link.header.flags, flags | LinkFlags::LowerUp);
    for expected in [LinkAttribute::Mtu(1500), LinkAttribute::Address(vec![0x02, 0x42, 10, 77, 0, 2])] {
        assert!(link.attributes.contains(&expected), "{expected:?}");
    }
    let one = |index, name| {
        let answers = ask(ASKER, get_link(index, name), 0);
        match &answers[..] {
            [NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }] => {
                Ok(link_name(message).to_owned())
            }
            answers => Err(errno(answers)),
        }
    };
    assert_eq!(one(1, None), Ok("lo".to_owned()));
    assert_eq!(one(0, Some("eth0")), Ok("eth0".to_owned()));
    assert_eq!(one(0, Some("eth9")), Err(Errno::ENODEV));
    assert_eq!(one(9, None), Err(Errno::ENODEV));
    assert_eq!(one(0, None), Err(Errno::EINVAL));
}

#[test]
fn a_request_of_one_byte_is_one() {
    // What musl and old versions of iproute2 send: the family and padding, no whole header.
    let mut bytes = vec![20, 0, 0, 0, 18, 0, 1, 3, 5, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([libc::AF_UNSPEC as u8, 0, 0, 0]);
    assert_eq!(ask_bytes(ASKER, &bytes).len(), 3, "two links and the end");
}

fn told_addresses(asker: Asker, family: AddressFamily, index: u32) -> Vec<String> {
    let tell = |message: &Message| {
        let Message::NewAddress(AddressMessage { header, attributes, .. }) = message else {
            panic!("{message:?}")
        };
        let words = attributes.iter().filter_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(format!("{ip}/{}", header.prefix_len)),
            AddressAttribute::Broadcast(ip) => Some(format!("brd {ip}")),
            AddressAttribute::Label(label) => Some(label.clone()),
            _ => None,
        });
        let words = [format!("{}:", header.index)].into_iter().chain(words);
        words.chain([header.scope.to_string()]).collect::<Vec<_>>().join(" ")
    };
    dump(asker, get_address(family, index)).iter().map(tell).collect()
}

#[test]
fn addresses_are_listed() {
    let v4 = ["1: 127.0.0.1/8 lo host", "2: 10.77.0.2/16 brd 10.77.255.255 eth0 universe"];
    let v6 = ["1: ::1/128 host", "2: fd77::2/64 universe"];
    assert_eq!(told_addresses(ASKER, AddressFamily::Inet, 0), v4);
    assert_eq!(told_addresses(ASKER, AddressFamily::Inet6, 0), v6);
    assert_eq!(told_addresses(ASKER, AddressFamily::Unspec, 0), [v4, v6].concat());
    assert_eq!(told_addresses(ASKER, AddressFamily::Inet, 2), v4, "only who is strict is taken at its word");
    assert_eq!(told_addresses(STRICT, AddressFamily::Inet, 2), v4[1..]);
    let unknown = ask(STRICT, get_address(AddressFamily::Inet, 7), NLM_F_DUMP);
    assert_eq!(errno(&unknown), Errno::ENODEV);
}

/// `table kind range via gateway dev index src address`.
fn told_route(message: &Message) -> String {
    let Message::NewRoute(RouteMessage { header, attributes, .. }) = message else { panic!("{message:?}") };
    let address = |wanted: fn(&RouteAttribute) -> Option<&netlink_packet_route::route::RouteAddress>| {
        attributes.iter().find_map(wanted).map(|address| match address {
            netlink_packet_route::route::RouteAddress::Inet(ip) => ip.to_string(),
            netlink_packet_route::route::RouteAddress::Inet6(ip) => ip.to_string(),
            other => panic!("{other:?}"),
        })
    };
    let dest = address(|a| if let RouteAttribute::Destination(ip) = a { Some(ip) } else { None });
    let gateway = address(|a| if let RouteAttribute::Gateway(ip) = a { Some(ip) } else { None });
    let source = address(|a| if let RouteAttribute::PrefSource(ip) = a { Some(ip) } else { None });
    let oif = attributes
        .iter()
        .find_map(|a| if let RouteAttribute::Oif(oif) = a { Some(oif) } else { None })
        .unwrap();
    let kind = match header.kind {
        RouteType::Unicast => "",
        RouteType::Local => "local ",
        RouteType::Broadcast => "broadcast ",
        RouteType::Multicast => "multicast ",
        other => panic!("{other:?}"),
    };
    let dest = dest.unwrap_or_else(|| "default".to_owned());
    let mut text = format!("{} {kind}{dest}/{} dev {oif}", header.table, header.destination_prefix_length);
    text += &gateway.map_or_else(String::new, |gateway| format!(" via {gateway}"));
    text + &source.map_or_else(String::new, |source| format!(" src {source}"))
}

fn get_routes(family: AddressFamily, table: u8) -> Message {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.table) = (family, table);
    Message::GetRoute(message)
}

#[test]
fn routes_are_listed_by_table() {
    let told = |asker, family, table| -> Vec<String> {
        dump(asker, get_routes(family, table)).iter().map(told_route).collect()
    };
    let main = ["254 default/0 dev 2 via 10.77.0.1", "254 10.77.0.0/16 dev 2 src 10.77.0.2"];
    let local = [
        "255 local 127.0.0.0/8 dev 1 src 127.0.0.1",
        "255 local 127.0.0.1/32 dev 1 src 127.0.0.1",
        "255 local 10.77.0.2/32 dev 2 src 10.77.0.2",
        "255 broadcast 10.77.255.255/32 dev 2 src 10.77.0.2",
    ];
    assert_eq!(told(ASKER, AddressFamily::Inet, 254), [&main[..], &local].concat());
    assert_eq!(told(STRICT, AddressFamily::Inet, 254), main);
    assert_eq!(told(STRICT, AddressFamily::Inet, 255), local);
    assert_eq!(told(STRICT, AddressFamily::Inet, 100), [""; 0]);
    let v6 = [
        "254 fd77::/64 dev 2",
        "254 default/0 dev 2 via fd77::1",
        "255 local ::1/128 dev 1",
        "255 local fd77::2/128 dev 2",
        "255 multicast ff00::/8 dev 2",
    ];
    assert_eq!(told(ASKER, AddressFamily::Inet6, 0), v6);
    assert_eq!(told(ASKER, AddressFamily::Unspec, 0).len(), 11);
}

#[test]
fn the_way_to_a_destination_is_told() {
    let lookup = |destination: &str| {
        let destination: std::net::IpAddr = destination.parse().unwrap();
        let mut message = RouteMessage::default();
        message.header.address_family =
            if destination.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.attributes.push(RouteAttribute::Destination(destination.into()));
        let answers = ask(ASKER, Message::GetRoute(message), 0);
        let [NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }] = &answers[..] else {
            panic!("{answers:?}");
        };
        told_route(message)
    };
    assert_eq!(lookup("192.0.2.1"), "254 192.0.2.1/32 dev 2 via 10.77.0.1 src 10.77.0.2");
    assert_eq!(lookup("10.77.0.9"), "254 10.77.0.9/32 dev 2 src 10.77.0.2");
    assert_eq!(lookup("127.0.0.1"), "254 local 127.0.0.1/32 dev 1 src 127.0.0.1");
    assert_eq!(lookup("fd77::9"), "254 fd77::9/128 dev 2 src fd77::2");
    assert_eq!(lookup("::1"), "255 local ::1/128 dev 1 src ::1");
}

#[test]
fn rules_and_neighbours() {
    let rules = |family| {
        let mut message = RuleMessage::default();
        message.header.family = family;
        let tables = dump(ASKER, Message::GetRule(message)).into_iter().map(|message| match message {
            Message::NewRule(rule) => rule.header.table,
            other => panic!("{other:?}"),
        });
        tables.collect::<Vec<_>>()
    };
    assert_eq!(rules(AddressFamily::Inet), [255, 254, 253]);
    assert_eq!(rules(AddressFamily::Inet6), [255, 254]);
    assert_eq!(rules(AddressFamily::Unspec).len(), 5);
    assert_eq!(dump(ASKER, Message::GetNeighbour(NeighbourMessage::default())), []);
}

#[test]
fn nothing_can_be_changed_and_errors_repeat_the_request() {
    let request = bytes_of(Message::NewAddress(AddressMessage::default()), REQUEST | NLM_F_ACK);
    let [answer] = &ask_bytes(ASKER, &request)[..] else { panic!() };
    let NetlinkPayload::Error(error) = &answer.payload else { panic!() };
    assert_eq!((error.raw_code(), &error.header), (-libc::EPERM, &request));
    let [answer] = &ask_bytes(Asker { capped: true, ..ASKER }, &request)[..] else { panic!() };
    let NetlinkPayload::Error(error) = &answer.payload else { panic!() };
    assert_eq!((&error.header[..], answer.header.flags), (&request[..16], NLM_F_CAPPED));
}

/// The errno that bytes are refused with, the flags of the answer, and what is behind its copy of the request.
fn refused(asker: Asker, kind: u16, flags: u16, body: &[u8]) -> (Errno, u16, Vec<u8>) {
    let mut request = (16 + body.len() as u32).to_ne_bytes().to_vec();
    request.extend([kind.to_ne_bytes(), (flags | REQUEST).to_ne_bytes()].concat());
    request.extend([5, 0, 0, 0, 0, 0, 0, 0]);
    request.extend(body);
    let [answer] = &ask_bytes(asker, &request)[..] else { panic!("{kind}") };
    let NetlinkPayload::Error(error) = &answer.payload else { panic!("{kind} {answer:?}") };
    let copied = if asker.capped { 16 } else { request.len().next_multiple_of(4) };
    let more = error.header.get(copied..).unwrap_or_default().to_vec();
    (Errno(-error.raw_code()), answer.header.flags, more)
}

#[test]
fn sets_of_every_kind_are_refused_and_rules_are_only_listed() {
    let explained = Asker { explained: true, ..ASKER };
    for kind in (16..=123).filter(|kind| kind % 4 != 2) {
        // Nothing is explained: that the right is missing is said before anything is looked at.
        assert_eq!(refused(explained, kind, 0, &[2; 12]), (Errno::EPERM, 0, vec![]), "{kind}");
    }
    for kind in 124..140 {
        assert_eq!(refused(explained, kind, 0, &[2; 12]).0, Errno::EOPNOTSUPP, "{kind}");
    }
    for family in [0, 2, 10] {
        assert_eq!(refused(explained, libc::RTM_GETRULE, NLM_F_ACK, &[family; 12]).0, Errno::EOPNOTSUPP);
    }
    // As a kernel of Linux 6.18 says of each.
    for (kind, families) in
        [(54, &[0, 2, 10][..]), (58, &[0]), (62, &[0, 2]), (70, &[0, 2, 10]), (74, &[0, 2])]
    {
        for &family in families {
            assert_eq!(refused(ASKER, kind, NLM_F_DUMP, &[family]).0, Errno::EOPNOTSUPP, "{kind} {family}");
        }
    }
    for (kind, family) in [(38, 0), (42, 0), (58, 2), (62, 10), (66, 0), (74, 10), (86, 7), (106, 0)] {
        let mut request = vec![17, 0, 0, 0, kind, 0, 1, 3, 5, 0, 0, 0, 0, 0, 0, 0, family];
        request[6..8].copy_from_slice(&(REQUEST | NLM_F_DUMP).to_ne_bytes());
        let [end] = &ask_bytes(ASKER, &request)[..] else { panic!("{kind}") };
        assert!(matches!(end.payload, NetlinkPayload::Done(_)), "{kind}");
    }
}

#[test]
fn who_wants_it_is_told_why_a_request_is_refused() {
    let explained = Asker { explained: true, ..ASKER };
    let header = |family: u8, index: u8, flags: u8| [family, 0, 0, 0, index, 0, 0, 0, 0, 0, flags, 0];
    let to = |header: [u8; 12]| [&header[..], &[8, 0, 1, 0, 10, 77, 0, 9]].concat();
    let get = |asker, body: &[u8]| refused(asker, libc::RTM_GETNEIGH, 0, body);
    let told = |body: &[u8]| {
        let (errno, flags, more) = get(explained, body);
        assert_eq!((flags, more.len() % 4, &more[2..4]), (NLM_F_ACK_TLVS, 0, &[1, 0][..]));
        let len = u16::from_ne_bytes([more[0], more[1]]);
        let text = more[4..usize::from(len)].strip_suffix(&[0]).unwrap();
        (errno, String::from_utf8(text.to_vec()).unwrap())
    };
    for (body, errno, sentence) in [
        (vec![2], Errno::EINVAL, "Invalid header for neighbor get request"),
        (header(2, 0, 0).to_vec(), Errno::EINVAL, "No device specified"),
        (to(header(2, 1, 2)), Errno::EINVAL, "Invalid flags in header for neighbor get request"),
        (to(header(9, 1, 0)), Errno::EAFNOSUPPORT, "Unsupported family in header for neighbor get request"),
        (to(header(10, 1, 0)), Errno::EINVAL, "Invalid network address in neighbor get request"),
        (to(header(2, 9, 0)), Errno::ENODEV, "Unknown device ifindex"),
        (to(header(2, 2, 0)), Errno::ENOENT, "Neighbour entry not found"),
        (to(header(2, 0, 8)), Errno::ENOENT, "Proxy neighbour entry not found"),
    ] {
        assert_eq!(told(&body), (errno, sentence.to_owned()));
        assert_eq!(get(ASKER, &body), (errno, 0, vec![]), "only who wants it");
    }
    let lacks = [&8_u16.to_ne_bytes()[..], &5_u16.to_ne_bytes(), &1_u32.to_ne_bytes()].concat();
    assert_eq!(get(explained, &header(2, 1, 0)), (Errno::EINVAL, NLM_F_ACK_TLVS, lacks.clone()));
    let capped = Asker { capped: true, ..explained };
    assert_eq!(get(capped, &header(2, 1, 0)), (Errno::EINVAL, NLM_F_ACK_TLVS | NLM_F_CAPPED, lacks));
}

#[test]
fn acknowledgments_come_when_they_are_wished() {
    let with_ack = ask(ASKER, get_link(1, None), NLM_F_ACK);
    assert_eq!(with_ack.len(), 2);
    assert_eq!(errno(&with_ack[1..]), Errno(0));
    // No request, and a message of the protocol's own.
    let no_request = bytes_of(get_link(1, None), NLM_F_ACK);
    assert_eq!(errno(&ask_bytes(ASKER, &no_request)), Errno(0));
    assert!(ask_bytes(ASKER, &bytes_of(get_link(1, None), 0)).is_empty());
    let unknown = [17, 0, 0, 0, 200, 0, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(errno(&ask_bytes(ASKER, &unknown)), Errno::EOPNOTSUPP);
}

#[test]
fn several_requests_are_answered_in_order_until_there_is_no_room() {
    let mut bytes = bytes_of(get_link(1, None), REQUEST);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(bytes_of(get_link(2, None), REQUEST));
    let answers = ask_bytes(ASKER, &bytes);
    let names: Vec<_> = answers
        .iter()
        .map(|answer| match &answer.payload {
            NetlinkPayload::InnerMessage(message) => link_name(message),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["lo", "eth0"]);
    let mut calls = 0;
    respond(&mut stack(), ASKER, &bytes, &mut |_| {
        calls += 1;
        false
    });
    assert_eq!(calls, 1);
}

#[test]
fn answers_fit_into_the_page_that_the_c_library_reads_into() {
    for request in
        [get_link(0, None), get_address(AddressFamily::Unspec, 0), get_routes(AddressFamily::Unspec, 0)]
    {
        for together in queue(ASKER, &bytes_of(request, REQUEST | NLM_F_DUMP)) {
            assert!(together.len() <= MESSAGE_LEN, "{}", together.len());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered_within_bounds(
        start in any::<u64>(),
        kind in 0_u16..130,
        flags in any::<u16>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        strict in any::<bool>(),
        cut in 0_usize..300,
    ) {
        // A header that is right more often than by chance, and what may follow.
        let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(start.to_ne_bytes());
        bytes.extend(&body);
        bytes.extend(start.to_ne_bytes());
        bytes.truncate(cut);
        for message in queue(Asker { strict, ..ASKER }, &bytes) {
            prop_assert!(message.len() <= MESSAGE_LEN.max(bytes.len() + 40));
        }
        let _ = queue(ASKER, &body);
    }
}

#[test]
fn the_longest_request_is_answered_with_few_messages_at_a_time() {
    // 3276 dumps in one request: what is not read is not made.
    let mut one = bytes_of(get_link(0, None), REQUEST | NLM_F_DUMP);
    one.truncate(20);
    one[..4].copy_from_slice(&20_u32.to_ne_bytes());
    let many = one.repeat(65_535 / 20);
    let mut put = 0;
    respond(&mut stack(), ASKER, &many, &mut |_| {
        put += 1;
        put < 10
    });
    assert_eq!(put, 10);
}

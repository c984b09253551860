use super::*;
use crate::netlink::host::tests::stack;
use crate::netlink::request::requests;
use sockeye_posix::sock_diag::{InetMessage, attribute};
use sockeye_stack::{Domain, Owner, Protocol, SockAddr, SocketType};

const REQUEST: u16 = netlink_packet_core::NLM_F_REQUEST;
const ALL_STATES: u32 = 0xfff;
const NOW: Instant = Instant::from_millis(5);

fn addr(text: &str) -> SockAddr {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

/// A host with a listener and a connection to it over the loopback, a datagram socket of each family, and others.
fn host() -> Stack {
    let mut stack = stack();
    let owner = Owner { uid: 1000, ..Owner::default() };
    let open = |stack: &mut Stack, domain, kind| stack.socket(domain, kind, owner).unwrap();
    let listener = open(&mut stack, Domain::Inet, SocketType::Stream);
    stack.bind(listener, addr("127.0.0.1:80")).unwrap();
    stack.listen(NOW, listener, 7).unwrap();
    let client = open(&mut stack, Domain::Inet, SocketType::Stream);
    stack.bind(client, addr("127.0.0.1:5000")).unwrap();
    stack.connect(NOW, client, addr("127.0.0.1:80")).unwrap_err();
    stack.accept(NOW, listener).unwrap();
    for (domain, at) in [(Domain::Inet, "10.77.0.2:53"), (Domain::Inet6, "[fd77::2]:53")] {
        let datagram = open(&mut stack, domain, SocketType::Datagram);
        stack.bind(datagram, addr(at)).unwrap();
    }
    // Of these only the last two are in a list.
    open(&mut stack, Domain::Inet, SocketType::Stream);
    open(&mut stack, Domain::Inet, SocketType::Datagram);
    open(&mut stack, Domain::Inet, SocketType::Ping);
    open(&mut stack, Domain::Inet, SocketType::Raw(Protocol::ICMP));
    open(&mut stack, Domain::Packet, SocketType::Packet { cooked: true, ethertype: SocketType::ALL });
    stack
}

fn asking(stack: &Stack, bytes: &[u8], most: usize) -> Result<Vec<Vec<u8>>, Errno> {
    let host = Host { stack, now: NOW, plugs: None };
    let request = requests(bytes).next().unwrap();
    let mut messages = Vec::new();
    match answer(&host, 77, &request, &mut Work::default())? {
        Answer::One(body) => messages.push(message([request.kind, 0], [request.sequence, 77], &body)),
        Answer::Dump(mut dump) => {
            let mut room = most;
            loop {
                let mut work = Work::default();
                let progress = dump.go_on(&host, &mut work, &mut |message| {
                    let fits = room > 0;
                    room = room.saturating_sub(1);
                    if fits {
                        messages.push(message.to_vec());
                    }
                    fits
                });
                assert!(work.done() <= Work::MOST, "{work:?}");
                match progress {
                    Progress::Ended => break,
                    Progress::Full => room = most,
                    Progress::More => {}
                }
            }
        }
    }
    // Apart from each other, each whole and an answer to the request.
    let mut apart = Vec::new();
    for together in messages {
        assert!(together.len() <= MESSAGE_LEN);
        let mut rest = &together[..];
        while !rest.is_empty() {
            let len = u32::from_ne_bytes(*rest.first_chunk().unwrap()) as usize;
            assert_eq!(rest[8..16], [5, 0, 0, 0, 77, 0, 0, 0]);
            apart.push(rest[..len].to_vec());
            rest = &rest[len.next_multiple_of(4)..];
        }
    }
    Ok(apart)
}

fn ask(kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    let bytes = message([kind, flags | REQUEST], [5, 0], body);
    asking(&host(), &bytes, 1)
}

fn inet(family: i32, protocol: i32, wanted: u8, states: u32) -> Vec<u8> {
    let mut body = vec![family as u8, protocol as u8, wanted, 0];
    body.extend(states.to_ne_bytes());
    body.extend([0; 40]);
    body.extend([0xff; 8]);
    body
}

/// State, ports and queues of each socket of a list, in short.
fn told(messages: &[Vec<u8>]) -> Vec<String> {
    let port = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    let one = |message: &Vec<u8>| {
        let body = &message[HEADER..];
        if message[4] == libc::NLMSG_DONE as u8 {
            return format!("end {}", i32::from_ne_bytes(*body.first_chunk().unwrap()));
        }
        format!("{} {} {} {}/{}", body[1], port(&body[4..]), port(&body[6..]), body[56], body[60])
    };
    messages.iter().map(one).collect()
}

fn list(family: i32, protocol: i32, states: u32) -> Vec<String> {
    told(&ask(BY_FAMILY, NLM_F_DUMP, &inet(family, protocol, 0, states)).unwrap())
}

/// The attributes of a message with a header of its own of this length.
fn attributes(message: &[u8], header: usize) -> Vec<(u16, Vec<u8>)> {
    let mut rest = &message[HEADER + header..];
    let mut all = Vec::new();
    while let [low, high, kind, _, ..] = *rest {
        let len = usize::from(u16::from_ne_bytes([low, high]));
        all.push((kind.into(), rest[4..len].to_vec()));
        rest = &rest[len.next_multiple_of(4).min(rest.len())..];
    }
    all
}

#[test]
fn lists_have_the_sockets_of_their_family_and_protocol() {
    let (inet, inet6) = (libc::AF_INET, libc::AF_INET6);
    let connections = ["10 80 0 0/7", "1 5000 80 0/0", "1 80 5000 0/0", "end 0"];
    assert_eq!(list(inet, libc::IPPROTO_TCP, ALL_STATES), connections);
    assert_eq!(list(inet, libc::IPPROTO_TCP, 1 << 1), connections[1..]);
    assert_eq!(list(inet, libc::IPPROTO_TCP, 1 << 10), ["10 80 0 0/7", "end 0"]);
    assert_eq!(list(inet, libc::IPPROTO_TCP, 0), ["end 0"]);
    assert_eq!(list(inet6, libc::IPPROTO_TCP, ALL_STATES), ["end 0"]);
    assert_eq!(list(inet, libc::IPPROTO_UDP, ALL_STATES), ["7 53 0 0/0", "end 0"]);
    assert_eq!(list(inet6, libc::IPPROTO_UDP, ALL_STATES), ["7 53 0 0/0", "end 0"]);
    assert_eq!(list(inet, libc::IPPROTO_RAW, ALL_STATES), ["7 1 0 0/0", "end 0"]);
    assert_eq!(list(inet, libc::IPPROTO_UDPLITE, ALL_STATES), ["end 0"]);
    assert_eq!(list(inet, libc::IPPROTO_SCTP, ALL_STATES), ["end -2"]);
}

#[test]
fn a_bound_socket_that_does_nothing_is_told_who_asks_for_it() {
    let mut stack = host();
    let bound = stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).unwrap();
    stack.bind(bound, addr("127.0.0.1:81")).unwrap();
    let all = |states| {
        let body = inet(libc::AF_INET, libc::IPPROTO_TCP, 0, states);
        told(&asking(&stack, &message([BY_FAMILY, REQUEST | NLM_F_DUMP], [5, 0], &body), 1).unwrap())
    };
    assert_eq!(all(1 << 13), ["7 81 0 0/0", "end 0"]);
    assert_eq!(all(ALL_STATES).len(), 4);
}

#[test]
fn filters_and_ports_choose() {
    let mut asked = inet(libc::AF_INET, libc::IPPROTO_TCP, 0, ALL_STATES);
    asked[8..10].copy_from_slice(&80_u16.to_be_bytes());
    let of_port = told(&ask(BY_FAMILY, NLM_F_DUMP, &asked).unwrap());
    assert_eq!(of_port, ["10 80 0 0/7", "1 80 5000 0/0", "end 0"]);
    // dport = 80, as ss writes it.
    let mut asked = inet(libc::AF_INET, libc::IPPROTO_TCP, 0, ALL_STATES);
    super::attribute(&mut asked, 1, &[12, 8, 12, 0, 0, 0, 80, 0]);
    assert_eq!(told(&ask(BY_FAMILY, NLM_F_DUMP, &asked).unwrap()), ["1 5000 80 0/0", "end 0"]);
    super::attribute(&mut asked, 1, &[14, 4, 8, 0]);
    assert_eq!(ask(BY_FAMILY, NLM_F_DUMP, &asked), Err(Errno::EINVAL));
}

#[test]
fn what_is_asked_for_is_added() {
    let kinds = |family, protocol, wanted| {
        let answers = ask(BY_FAMILY, NLM_F_DUMP, &inet(family, protocol, wanted, ALL_STATES)).unwrap();
        let kinds = |message: &Vec<u8>| {
            attributes(message, InetMessage::SIZE).into_iter().map(|(kind, _)| kind).collect()
        };
        answers[..answers.len() - 1].iter().map(kinds).collect::<Vec<Vec<u16>>>()
    };
    // Numbers and order of Linux 6.18, but for marks, cgroups and BBR's own.
    let all = vec![8, 5, 17, 22, 1, 7, 2, 4];
    assert_eq!(kinds(libc::AF_INET, libc::IPPROTO_TCP, 0xff), [all.clone(), all.clone(), all]);
    assert_eq!(kinds(libc::AF_INET, libc::IPPROTO_TCP, 0)[0], [8, 22]);
    assert_eq!(kinds(libc::AF_INET6, libc::IPPROTO_UDP, 0xff), [[8, 5, 6, 11, 17, 22, 1, 7]]);
    assert_eq!(kinds(libc::AF_INET, libc::IPPROTO_RAW, 0), [[8, 22, 10]]);
    let info = inet(libc::AF_INET, libc::IPPROTO_TCP, 0b10, 1 << 1);
    let answers = ask(BY_FAMILY, NLM_F_DUMP, &info).unwrap();
    let info = attributes(&answers[0][..], InetMessage::SIZE);
    assert!(info.iter().any(|(kind, value)| *kind == attribute::SHUTDOWN && value == &[0]));
    assert_eq!(answers[0].len(), HEADER + InetMessage::SIZE + 8 + 8 + 4 + 280);
    assert_eq!(answers[0][HEADER + 64..HEADER + 68], 1000_u32.to_ne_bytes(), "the user");
}

#[test]
fn one_socket_is_found_by_its_addresses() {
    let one = |protocol, [from, to]: [&str; 2], cookie| {
        let mut asked = inet(libc::AF_INET, protocol, 0, 0);
        for (at, addr) in [addr(from), addr(to)].into_iter().enumerate() {
            asked[8 + 2 * at..][..2].copy_from_slice(&addr.port.to_be_bytes());
            asked[12 + 16 * at..][..4].copy_from_slice(&addr.ip[12..]);
        }
        asked[48..56].copy_from_slice(&u64::to_ne_bytes(cookie));
        ask(BY_FAMILY, 0, &asked).map(|answers| told(&answers))
    };
    let (tcp, any) = (libc::IPPROTO_TCP, u64::MAX);
    let connection = ["127.0.0.1:5000", "127.0.0.1:80"];
    assert_eq!(one(tcp, connection, any), Ok(vec!["1 5000 80 0/0".to_owned()]));
    assert_eq!(one(tcp, connection, 7), Err(Errno::ENOENT));
    let listener = Ok(vec!["10 80 0 0/7".to_owned()]);
    assert_eq!(one(tcp, ["127.0.0.1:80", "0.0.0.0:0"], any), listener);
    assert_eq!(one(tcp, ["127.0.0.1:80", "10.0.0.1:9"], any), listener);
    assert_eq!(one(tcp, ["127.0.0.1:81", "0.0.0.0:0"], any), Err(Errno::ENOENT));
    // As the kernel: a datagram's way, not the socket's.
    let datagram = ["0.0.0.0:0", "10.77.0.2:53"];
    assert_eq!(one(libc::IPPROTO_UDP, datagram, any), Ok(vec!["7 53 0 0/0".to_owned()]));
    assert_eq!(one(libc::IPPROTO_UDP, ["10.77.0.2:53", "0.0.0.0:0"], any), Err(Errno::ENOENT));
}

#[test]
fn nobody_may_end_a_socket() {
    let mut asked = inet(libc::AF_INET, libc::IPPROTO_TCP, 0, 0);
    assert_eq!(ask(DESTROY, 0, &asked), Err(Errno::ENOENT));
    asked[8..10].copy_from_slice(&80_u16.to_be_bytes());
    asked[12..16].copy_from_slice(&[127, 0, 0, 1]);
    assert_eq!(ask(DESTROY, 0, &asked), Err(Errno::EPERM));
    let packets = [&[libc::AF_PACKET as u8][..], &[0; 19]].concat();
    assert_eq!(ask(DESTROY, 0, &packets), Err(Errno::EOPNOTSUPP));
}

#[test]
fn packet_sockets_have_a_list_of_their_own() {
    let asked = [&[libc::AF_PACKET as u8][..], &[0; 7], &[0x11], &[0; 11]].concat();
    let answers = ask(BY_FAMILY, NLM_F_DUMP, &asked).unwrap();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0][HEADER..HEADER + 4], [17, 2, 3, 0]);
    let kinds: Vec<_> =
        attributes(&answers[0], 16).into_iter().map(|(kind, value)| (kind, value.len())).collect();
    assert_eq!(kinds, [(0, 24), (5, 4), (6, 36)]);
}

#[test]
fn errors_are_those_of_linux() {
    let tcp = inet(libc::AF_INET, libc::IPPROTO_TCP, 0, ALL_STATES);
    let of_family = |family| ask(BY_FAMILY, NLM_F_DUMP, &[&[family][..], &tcp[1..]].concat());
    for (family, errno) in [(0, Errno::ENOENT), (1, Errno::ENOENT), (40, Errno::ENOENT), (46, Errno::EINVAL)]
    {
        assert_eq!(of_family(family), Err(errno), "{family}");
    }
    assert_eq!(of_family(17), Err(Errno::EINVAL), "packets of one protocol");
    for len in [0, 1, 10, 55] {
        assert_eq!(ask(BY_FAMILY, NLM_F_DUMP, &tcp[..len]), Err(Errno::EINVAL), "{len}");
    }
    for kind in [16, 17, 19, 22] {
        assert_eq!(ask(kind, NLM_F_DUMP, &tcp), Err(Errno::EINVAL), "{kind}");
    }
    let netlink = |protocol| [&[libc::AF_NETLINK as u8, protocol][..], &[0; 18]].concat();
    assert_eq!(told(&ask(BY_FAMILY, NLM_F_DUMP, &netlink(40)).unwrap()), ["end -2"]);
    assert_eq!(told(&ask(BY_FAMILY, NLM_F_DUMP, &netlink(255)).unwrap()), ["end 0"]);
    assert_eq!(ask(BY_FAMILY, 0, &netlink(255)), Err(Errno::EOPNOTSUPP));
}

#[test]
fn the_old_way_to_ask_is_known() {
    let mut asked = vec![libc::AF_INET as u8, 0, 0, 0];
    asked.extend([0; 40]);
    asked.extend([0xff; 8]);
    asked.extend(ALL_STATES.to_ne_bytes());
    asked.extend([0; 4]);
    let answers = ask(TCPDIAG_GETSOCK, NLM_F_DUMP, &asked).unwrap();
    assert_eq!(told(&answers), list(libc::AF_INET, libc::IPPROTO_TCP, ALL_STATES));
    assert_eq!(ask(TCPDIAG_GETSOCK, NLM_F_DUMP, &asked[..50]), Err(Errno::EINVAL));
}

#[test]
fn a_long_list_takes_one_message_of_memory() {
    let mut stack = stack();
    for _ in 0..5000 {
        let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
        stack.bind(id, addr("127.0.0.1:0")).unwrap();
    }
    let body = inet(libc::AF_INET, libc::IPPROTO_UDP, 0xff, ALL_STATES);
    let bytes = message([BY_FAMILY, REQUEST | NLM_F_DUMP], [5, 0], &body);
    assert_eq!(asking(&stack, &bytes, 3).unwrap().len(), 5001);
}

/// A host with so many datagram sockets.
fn crowd(count: usize) -> Stack {
    let mut stack = stack();
    for _ in 0..count {
        let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
        stack.bind(id, addr("127.0.0.1:0")).unwrap();
    }
    stack
}

#[test]
fn one_socket_is_not_looked_for_among_all() {
    let stack = crowd(3000);
    let mut body = inet(libc::AF_INET, libc::IPPROTO_UDP, 0, 0);
    body[10..12].copy_from_slice(&9_u16.to_be_bytes());
    let bytes = message([BY_FAMILY, REQUEST], [5, 0], &body);
    let mut work = Work::default();
    let host = Host { stack: &stack, now: NOW, plugs: None };
    assert!(answer(&host, 77, &requests(&bytes).next().unwrap(), &mut work).is_err());
    assert!(work.done() < 100, "{work:?}");
}

#[test]
fn a_long_filter_has_its_turns() {
    let program = [1, 4, 4, 0].repeat(15_000);
    let mut body = inet(libc::AF_INET, libc::IPPROTO_UDP, 0, ALL_STATES);
    super::attribute(&mut body, 1, &program);
    // Every turn is bounded, as `asking` says.
    let bytes = message([BY_FAMILY, REQUEST | NLM_F_DUMP], [5, 0], &body);
    assert_eq!(asking(&crowd(100), &bytes, 9).unwrap().len(), 101);
    // Who asks for one socket may have any filter: it isn't looked at.
    super::attribute(&mut body, 1, &[14, 4, 8, 0]);
    body[0] = 2;
    let bytes = message([BY_FAMILY, REQUEST], [5, 0], &body);
    assert_eq!(asking(&crowd(1), &bytes, 9), Err(Errno::ENOENT));
}

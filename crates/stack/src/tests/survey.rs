//! The list of all sockets and connections of a host.

use super::*;
use crate::{SocketReport, SurveyPosition, SurveyQuestion, SurveyTimerKind};

fn all(stack: &Stack, now: Instant) -> Vec<SocketReport> {
    let mut position = SurveyPosition::default();
    let list = core::iter::from_fn(|| stack.survey(now, &mut position)).collect();
    assert_eq!(stack.survey(now, &mut position), None, "the end is the end");
    list
}

fn told(stack: &Stack, now: Instant) -> Vec<std::string::String> {
    let told = |report: &SocketReport| {
        let state = if report.listening { "Listen".into() } else { std::format!("{:?}", report.state) };
        let peer = report.peer.map_or_else(|| "-".into(), |peer| std::string::ToString::to_string(&peer));
        let own = if report.socket.is_some() { "" } else { " orphan" };
        std::format!("{state} {} {peer}{own}", report.local)
    };
    all(stack, now).iter().map(told).collect()
}

#[test]
fn every_stage_of_a_connection_is_listed_once() {
    let mut pair = Pair::new();
    let at = "10.0.0.2:80";
    let (client, listener, server) = pair.connected(at);
    let port = pair.a.local_addr(client).unwrap().port;
    let open = std::format!("Established {at} 10.0.0.1:{port}");
    assert_eq!(told(&pair.b, pair.now), [std::format!("Listen {at} -"), open.clone()]);

    pair.a.close(pair.now, client).unwrap();
    pair.cable();
    assert_eq!(told(&pair.a, pair.now), [std::format!("FinWait2 10.0.0.1:{port} {at} orphan")]);
    pair.b.close(pair.now, server).unwrap();
    pair.b.close(pair.now, listener).unwrap();
    pair.cable();
    assert_eq!(told(&pair.a, pair.now), [std::format!("TimeWait 10.0.0.1:{port} {at} orphan")]);
    let timer = all(&pair.a, pair.now)[0].timer.unwrap();
    let wait = Config::default().tcp.time_wait;
    assert_eq!((timer.kind, timer.left, timer.tries), (SurveyTimerKind::TimeWait, wait, 0));
    assert!(told(&pair.b, pair.now).is_empty());
    pair.pass(wait);
    pair.pass(Duration::from_secs(1));
    assert!(told(&pair.a, pair.now).is_empty());
}

#[test]
fn half_open_connections_are_listed_with_what_they_wait_for() {
    let mut pair = Pair::new();
    pair.loses = |number, _| number == 2;
    pair.listener("[::]:80", 5);
    let to = addr("[fd77::2]:80");
    let client = stream(&mut pair.a, to);
    assert_eq!(pair.a.connect(pair.now, client, to), Err(Error::InProgress));
    pair.cable();
    let port = pair.a.local_addr(client).unwrap().port;
    assert_eq!(told(&pair.a, pair.now), [std::format!("SynSent [fd77::1]:{port} [fd77::2]:80")]);
    assert_eq!(
        told(&pair.b, pair.now)[1..],
        [std::format!("SynReceived [fd77::2]:80 [fd77::1]:{port} orphan")]
    );
    for report in [all(&pair.a, pair.now)[0], all(&pair.b, pair.now)[1]] {
        let timer = report.timer.unwrap();
        assert_eq!((timer.kind, timer.tries), (SurveyTimerKind::Retransmit, 0));
        assert!(timer.left > Duration::from_millis(500), "{:?}", timer.left);
    }
}

#[test]
fn queues_and_infos_are_those_of_the_socket() {
    let mut pair = Pair::new();
    let (client, listener, server) = pair.connected("10.0.0.2:80");
    send(&mut pair.a, pair.now, client, &[7; 1000]).unwrap();
    let report = all(&pair.a, pair.now)[0];
    assert_eq!((report.socket, report.send_queued, report.in_backlog), (Some(client), 1000, false));
    assert_eq!(pair.a.report_info(pair.now, &report), pair.a.tcp_info(pair.now, client).ok());
    pair.cable();
    let list = all(&pair.b, pair.now);
    assert_eq!([list[0].socket, list[1].socket], [Some(listener), Some(server)]);
    assert_eq!((list[0].recv_queued, list[0].send_queued, list[0].port_named), (0, 5, true));
    assert_eq!(list[1].recv_queued, 1000);
    assert!(pair.b.report_info(pair.now, &list[0]).unwrap().listening);

    // One more, that nobody has accepted yet; and an orphan's facts are still there.
    let second = stream(&mut pair.a, addr("10.0.0.2:80"));
    pair.a.connect(pair.now, second, addr("10.0.0.2:80")).unwrap_err();
    pair.cable();
    let list = all(&pair.b, pair.now);
    assert_eq!(list[0].recv_queued, 1);
    assert!(list[2].in_backlog);
    pair.a.close(pair.now, second).unwrap();
    let orphan = all(&pair.a, pair.now).into_iter().find(|report| report.socket.is_none()).unwrap();
    assert_eq!(pair.a.report_info(pair.now, &orphan).unwrap().state, TcpState::FinWait1);
}

#[test]
fn datagram_sockets_are_connected_or_not() {
    let mut stack = lonely();
    let now = Instant::from_millis(1);
    let plain = datagram(&mut stack, "127.0.0.1:53");
    let joined = datagram(&mut stack, "127.0.0.1:54");
    stack.connect(now, joined, addr("127.0.0.1:53")).unwrap();
    stack.socket(Domain::Inet6, SocketType::DatagramLite, Owner::default()).unwrap();
    stack.socket(Domain::Inet, SocketType::Ping, Owner::default()).unwrap();
    stack.socket(Domain::Inet, SocketType::Raw(crate::Protocol::ICMP), Owner::default()).unwrap();
    let packet = SocketType::Packet { cooked: true, ethertype: SocketType::ALL };
    stack.socket(Domain::Packet, packet, Owner::default()).unwrap();
    let kinds: Vec<_> = all(&stack, now).iter().map(|report| report.kind).collect();
    let [lite, ping, raw] =
        [SocketType::DatagramLite, SocketType::Ping, SocketType::Raw(crate::Protocol::ICMP)];
    assert_eq!(kinds, [SocketType::Datagram, SocketType::Datagram, lite, ping, raw, packet]);
    let list = all(&stack, now);
    assert_eq!([list[0].socket, list[1].socket], [Some(plain), Some(joined)]);
    assert_eq!([list[0].state, list[1].state], [TcpState::Closed, TcpState::Established]);
    assert_eq!(list[1].peer, Some(addr("127.0.0.1:53")));
}

fn one(
    stack: &Stack,
    now: Instant,
    kind: SocketType,
    [local, peer]: [&str; 2],
) -> Option<(Option<SocketId>, TcpState)> {
    let (local, peer) = (addr(local), addr(peer));
    let question = SurveyQuestion { kind, domain: Domain::Inet, local, peer, nic: None };
    let report = stack.survey_one(now, &question, &mut 0);
    report.map(|report| (report.socket, report.state))
}

#[test]
fn one_is_looked_up_as_for_a_packet() {
    let mut pair = Pair::new();
    let at = "10.0.0.2:80";
    let (client, listener, server) = pair.connected(at);
    let client_at = std::string::ToString::to_string(&pair.a.local_addr(client).unwrap());
    let tcp = |pair: &Pair, local, peer| one(&pair.b, pair.now, SocketType::Stream, [local, peer]);
    assert_eq!(tcp(&pair, at, &client_at), Some((Some(server), TcpState::Established)));
    assert_eq!(tcp(&pair, at, "10.0.0.1:9"), Some((Some(listener), TcpState::Closed)));
    assert_eq!(tcp(&pair, "10.0.0.2:81", &client_at), None);
    pair.b.close(pair.now, server).unwrap();
    pair.cable();
    assert_eq!(tcp(&pair, at, &client_at), Some((None, TcpState::FinWait2)));
    pair.a.close(pair.now, client).unwrap();
    pair.cable();
    assert_eq!(tcp(&pair, at, &client_at), Some((None, TcpState::TimeWait)));
}

#[test]
fn the_raw_socket_that_names_its_packets_most_closely_is_the_one() {
    let mut pair = Pair::new();
    let kind = SocketType::Raw(crate::Protocol::ICMP);
    let mut raw = || pair.a.socket(Domain::Inet, kind, Owner::default()).unwrap();
    let [open, bound] = [raw(), raw()];
    pair.a.bind(bound, addr("10.0.0.1:0")).unwrap();
    let found = |kind, local| one(&pair.a, pair.now, kind, [local, "10.0.0.2:0"]).and_then(|found| found.0);
    assert_eq!(found(kind, "10.0.0.1:0"), Some(bound));
    assert_eq!(found(kind, "10.0.0.9:0"), Some(open));
    assert_eq!(found(SocketType::Raw(crate::Protocol::IGMP), "10.0.0.1:0"), None);
}

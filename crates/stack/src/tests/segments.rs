//! Messages that are cut into datagrams, and datagrams that are read as one.

use super::*;
use crate::{Message, MtuDiscover, OptionName, SocketOption};
use alloc::vec;
use sockeye_packet::Payload;

const ENDS: [(&str, &str); 2] = [("10.0.0.1:1000", "10.0.0.2:2000"), ("[fd77::1]:1000", "[fd77::2]:2000")];

fn send_cut(pair: &mut Pair, id: SocketId, data: &[u8], to: &str, size: Option<u16>) -> Result<usize, Error> {
    let message = Message { to: Some(addr(to)), segment_size: size, ..Message::default() };
    pair.a.send_msg(pair.now, id, Payload::from(Chunk::copy_from(data)), &message)
}

fn lens(pair: &mut Pair, id: SocketId) -> Vec<usize> {
    core::iter::from_fn(|| pair.b.recv_from(pair.now, id, RecvFlags::default()).ok())
        .map(|datagram| datagram.payload.len())
        .collect()
}

#[test]
fn a_message_is_cut_into_datagrams_of_the_size_asked_for() {
    for (local, remote) in ENDS {
        for checksums in [false, true] {
            let mut pair =
                Pair::with(&Config::default(), &NicConfig { checksums, ..NicConfig::memory("eth0", 1500) });
            let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
            pair.a.set_option(pair.now, a, SocketOption::UdpSegment(1000)).unwrap();
            assert_eq!(pair.a.get_option(a, OptionName::UdpSegment), Ok(SocketOption::UdpSegment(1000)));
            let data: Vec<u8> = (0..3500_u32).map(|n| n as u8).collect();
            assert_eq!(send_cut(&mut pair, a, &data, remote, None), Ok(3500));
            assert_eq!(pair.a.counters()[Counter::UdpOutDatagrams], 4);
            pair.cable();
            assert_eq!(pair.crossed, 4);
            let mut got = Vec::new();
            while let Ok(part) = recv(&mut pair.b, pair.now, b) {
                assert!(part.len() == 1000 || part.len() == 500);
                got.extend(part);
            }
            assert_eq!(got, data);
            // A message may say otherwise.
            for (len, size, expected) in [
                (1000, 300, vec![300, 300, 300, 100]),
                (1400, 0, vec![1400]),
                (0, 9, vec![0]),
                (9, 9, vec![9]),
            ] {
                send_cut(&mut pair, a, &vec![1; len], remote, Some(size)).unwrap();
                pair.cable();
                assert_eq!(lens(&mut pair, b), expected);
            }
            assert_eq!((pair.a.memory_used(), pair.b.memory_used()), (0, 0));
        }
    }
}

/// As Linux has it.
#[test]
fn what_cannot_be_cut_is_refused() {
    for (local, remote) in ENDS {
        let mut pair = Pair::new();
        let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
        let most = if addr(local).is_v4() { 1472 } else { 1452 };
        for (len, size, expected) in [
            (3000, most, Ok(3000)),
            (3000, most + 1, Err(Error::MessageSize)),
            (100, 60_000, Ok(100)),
            (128 * 10, 10, Ok(1280)),
            (128 * 10 + 1, 10, Err(Error::InvalidArgument)),
            (65_600, 1000, Err(Error::MessageSize)),
        ] {
            assert_eq!(send_cut(&mut pair, a, &vec![1; len], remote, Some(size)), expected, "{len}, {size}");
        }
        // Segments fit, so that it doesn't matter that the message doesn't.
        super::datagrams::discover(&mut pair.a, a, MtuDiscover::Do);
        assert_eq!(send_cut(&mut pair, a, &[1; 5000], remote, Some(1000)), Ok(5000));
        let option =
            if addr(local).is_v4() { SocketOption::NoCheck(true) } else { SocketOption::NoCheck6Tx(true) };
        pair.a.set_option(pair.now, a, option).unwrap();
        assert_eq!(send_cut(&mut pair, a, &[1; 5000], remote, Some(1000)), Err(Error::InvalidArgument));
        pair.cable();
        assert_eq!(lens(&mut pair, b).iter().sum::<usize>(), 3000 + 100 + 1280 + 5000);
    }
    let mut pair = Pair::new();
    let ping = pair.a.socket(Domain::Inet, SocketType::Ping, Owner::default()).unwrap();
    let option = SocketOption::UdpSegment(9);
    assert_eq!(pair.a.set_option(pair.now, ping, option), Err(Error::ProtocolOption));
}

#[test]
fn all_of_a_message_is_sent_or_nothing() {
    let config = Config { memory: 40_000, ..Config::default() };
    let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
    let a = datagram(&mut pair.a, ENDS[0].0);
    assert_eq!(send_cut(&mut pair, a, &vec![1; 30_000], ENDS[0].1, Some(1000)), Err(Error::NoBufs));
    assert_eq!(pair.a.memory_used(), 0);
    assert!(!pair.a.wants_transmit(LINK));
    assert_eq!(send_cut(&mut pair, a, &[1; 9_000], ENDS[0].1, Some(1000)), Ok(9000));
}

/// What b reads: lengths and segment sizes.
fn reads(pair: &mut Pair, id: SocketId) -> Vec<(usize, u16)> {
    core::iter::from_fn(|| pair.b.recv_from(pair.now, id, RecvFlags::default()).ok())
        .map(|datagram| (datagram.payload.len(), datagram.segment_size))
        .collect()
}

#[test]
fn datagrams_in_a_row_are_read_as_one_by_who_asks_for_it() {
    for (local, remote) in ENDS {
        let mut pair = Pair::new();
        let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
        let data: Vec<u8> = (0..4500_u32).map(|n| n as u8).collect();
        send_cut(&mut pair, a, &data, remote, Some(1000)).unwrap();
        pair.cable();
        assert_eq!(reads(&mut pair, b), [(1000, 0), (1000, 0), (1000, 0), (1000, 0), (500, 0)]);
        pair.b.set_option(pair.now, b, SocketOption::UdpGro(true)).unwrap();
        send_cut(&mut pair, a, &data, remote, Some(1000)).unwrap();
        pair.cable();
        let got = pair.b.recv_from(pair.now, b, RecvFlags::default()).unwrap();
        assert_eq!((got.payload.to_vec(), got.segment_size), (data.clone(), 1000));
        assert_eq!(pair.b.memory_used(), 0);
        // A shorter one is the last, a longer one begins anew, and so do those that come later.
        for (size, later) in
            [(300, false), (300, false), (200, false), (200, false), (400, false), (400, true)]
        {
            pair.now += Duration::from_millis(u64::from(later));
            send_cut(&mut pair, a, &data[..size], remote, None).unwrap();
            if later {
                pair.now += Duration::from_millis(1);
            }
            pair.cable();
        }
        assert_eq!(reads(&mut pair, b), [(800, 300), (200, 0), (400, 0), (400, 0)]);
        // No more than 64, and never an empty one.
        send_cut(&mut pair, a, &data[..1000], remote, Some(10)).unwrap();
        pair.cable();
        assert_eq!(reads(&mut pair, b), [(640, 10), (360, 10)]);
        for _ in 0..2 {
            send_cut(&mut pair, a, &[], remote, None).unwrap();
        }
        pair.cable();
        assert_eq!(reads(&mut pair, b), [(0, 0), (0, 0)]);
    }
}

#[test]
fn a_full_socket_counts_what_it_drops() {
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, ENDS[0].0), datagram(&mut pair.b, ENDS[0].1));
    pair.b.set_option(pair.now, b, SocketOption::RecvBuffer(2304)).unwrap();
    let mut dropped = Vec::new();
    for _ in 0..2 {
        send_cut(&mut pair, a, &[1; 10_000], ENDS[0].1, Some(1000)).unwrap();
        pair.cable();
        while let Ok(datagram) = pair.b.recv_from(pair.now, b, RecvFlags::default()) {
            dropped.push(datagram.dropped);
        }
    }
    // As the kernel: what was lost before a datagram came is told with it.
    assert_eq!(dropped, [0, 0, 8, 8]);
    assert_eq!(pair.b.counters()[Counter::UdpRcvbufErrors], 16);
}

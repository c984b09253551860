//! Targets of the socket API as C spells it: control messages, socket addresses, options.

use sockeye_packet::NicId;
use sockeye_posix::address::{AddressBytes, Reader};
use sockeye_posix::cmsg::{self, ControlWriter, Received};
use sockeye_posix::flags::MessageFlags;
use sockeye_posix::options::{self, Get, Set, TABLE};
use sockeye_posix::{SocketKind, Stored};
use sockeye_stack::{Domain, SocketType};
use std::time::Duration;

/// The kinds of socket that programs make.
const KINDS: [SocketKind; 5] = [
    SocketKind { domain: Domain::Inet, kind: SocketType::Stream },
    SocketKind { domain: Domain::Inet6, kind: SocketType::Stream },
    SocketKind { domain: Domain::Inet, kind: SocketType::Datagram },
    SocketKind { domain: Domain::Inet6, kind: SocketType::Datagram },
    SocketKind { domain: Domain::Inet6, kind: SocketType::Ping },
];

/// The control messages of a sent datagram: what is read of them can be written, and reads the same.
pub fn cmsgs(bytes: &[u8]) {
    let [domain, bytes @ ..] = bytes else { return };
    let kind = KINDS[2 + usize::from(domain % 2)];
    let sound: Vec<_> = cmsg::parse(bytes).map_while(Result::ok).collect();
    let mut writer = ControlWriter::new(usize::MAX);
    for control in &sound {
        writer.put(control.level, control.kind, control.data);
    }
    let written = writer.finish(&mut MessageFlags::default());
    let again: Vec<_> = cmsg::parse(&written).map(|control| control.expect("it was written")).collect();
    assert_eq!(again, sound);
    let stored = &mut Stored::default();
    if let Ok(controls) = cmsg::parse_send(bytes, kind.domain, stored) {
        assert!(sound.len() == cmsg::parse(bytes).count(), "a message that isn't sound was read over");
        assert!(controls.ttl != Some(0) || kind.domain == Domain::Inet6);
    }
    cmsg::is_local(bytes);
    received(kind, stored, bytes);
}

/// What a receiver is told fits in its room, whatever it asked for.
fn received(kind: SocketKind, stored: &mut Stored, bytes: &[u8]) {
    let [room, from, ttl, tos, asked @ ..] = bytes else { return };
    for [row, value] in asked.as_chunks::<2>().0.iter().take(32) {
        let row = &TABLE[usize::from(*row) % TABLE.len()];
        options::set(kind, stored, row.level, row.name, &i32::from(*value).to_ne_bytes()).ok();
    }
    let v4 = kind.domain == Domain::Inet || from % 2 == 0;
    let ip = if v4 { [10, 0, 0, *from].into() } else { [0xfd77, 0, 0, 0, 0, 0, 0, 1].into() };
    let arrival = Received {
        to: address(ip),
        nic: NicId(1),
        ttl: *ttl,
        tos: *tos,
        at: Duration::from_secs(1),
        dropped: (*tos).into(),
        segment_size: (*ttl).into(),
    };
    let mut writer = ControlWriter::new(usize::from(*room));
    cmsg::write_received(&mut writer, stored, kind, &arrival);
    let mut flags = MessageFlags::default();
    let told = writer.finish(&mut flags);
    assert!(told.len() <= usize::from(*room));
    let sound = cmsg::parse(&told).all(|control| control.is_ok());
    assert!(sound || flags.control_truncated);
}

fn address(ip: std::net::IpAddr) -> sockeye_stack::SockAddr {
    sockeye_stack::SockAddr::new(ip, 7)
}

/// A socket address: what a call reads of one can be written, and reads the same.
pub fn sockaddrs(bytes: &[u8]) {
    let [which, bytes @ ..] = bytes else { return };
    for kind in KINDS {
        let reader = Reader {
            domain: kind.domain,
            kind: kind.kind,
            v6_only: which % 2 == 1,
            local_is_v4: which % 4 > 1,
            peer: (which % 8 > 3).then_some(address(std::net::Ipv4Addr::LOCALHOST.into())),
        };
        let bound = reader.bind(bytes).ok();
        let connected = reader.connect(bytes).ok().flatten();
        let destination = reader.destination(bytes, which % 16 > 7).ok().flatten();
        for read in [bound, connected, destination].into_iter().flatten() {
            let written = AddressBytes::new(read, kind.domain);
            let again = reader.bind(written.as_slice());
            assert!(again == Ok(read) || again.is_err(), "{read:?} reads as {again:?}");
        }
    }
}

/// Options: any value of any of them is taken or refused, and what is taken can be read.
pub fn sockopts(bytes: &[u8]) {
    let [kind, row, room, value @ ..] = bytes else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let row = &TABLE[(usize::from(*row) + 256 * usize::from(*room & 1)) % TABLE.len()];
    let stored = &mut Stored::default();
    let room = usize::from(*room);
    if let Ok(Set::Stack(option)) = options::set(kind, stored, row.level, row.name, value) {
        let read = options::answer(row.level, option);
        assert!(read.cut_to(room).is_ok_and(|read| read.len() <= room));
    }
    if let Ok(Get::Ready(read)) = options::get(kind, stored, row.level, row.name) {
        assert!(read.cut_to(room).map_or(true, |read| read.len() <= room));
    }
}

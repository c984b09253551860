use super::*;
use crate::address::map_v4;
use crate::slab::Slab;
use alloc::vec::Vec;
use core::cell::Cell;

const V4_ANY: [u8; 16] = map_v4([0; 4]);
const V6_ANY: [u8; 16] = [0; 16];
const A: [u8; 16] = map_v4([10, 0, 0, 1]);
const B: [u8; 16] = map_v4([10, 0, 0, 2]);

fn demux() -> (Demux, Rng) {
    let mut rng = Rng::from_u64(1);
    (Demux::new(&mut rng), rng)
}

fn binding(ip: [u8; 16], port: u16) -> Binding {
    let speaks = if ip == [1; 16] || ip == V6_ANY { Speaks::V6 } else { Speaks::V4 };
    Binding { proto: Proto::Tcp, ip, port, scope: 0, speaks }
}

fn ids(count: usize) -> Vec<SocketId> {
    let mut slab = Slab::default();
    (0..count).map(|_| SocketId(slab.insert(()))).collect()
}

const PLAIN: Hold = Hold {
    reuse_addr: false,
    reuse_port: false,
    listening: false,
    explicit: true,
    named: true,
    yields: false,
    uid: 1,
};
const REUSE: Hold = Hold { reuse_addr: true, ..PLAIN };
const SHARE: Hold = Hold { reuse_port: true, ..PLAIN };

fn tuple(remote_port: u16) -> Tuple {
    Tuple { local: A, remote: B, local_port: 80, remote_port, scope: 0, proto: Proto::Udp }
}

/// Who owns a four-tuple, where each of these sockets has one.
fn found(demux: &Demux, owners: &[(SocketId, Tuple)], tuple: &Tuple) -> Option<Target> {
    let at = |index| owners.iter().find(|(id, _)| id.0.index() == index);
    demux.find(tuple, |place| match place {
        Place::Datagram(index) => at(index).map(|(id, tuple)| (Target::Datagram(*id), tuple)),
        _ => None,
    })
}

#[test]
fn a_four_tuple_is_its_owners_until_it_changes_hands() {
    let (mut demux, _) = demux();
    let id = ids(2);
    let tuple = tuple(4000);
    let owners = [(id[0], tuple), (id[1], tuple)];
    demux.insert(&tuple, Target::Datagram(id[0]));
    demux.remove(&tuple, Target::Datagram(id[1]));
    assert_eq!(found(&demux, &owners, &tuple), Some(Target::Datagram(id[0])));
    demux.replace(&tuple, Target::Datagram(id[0]), Target::Datagram(id[1]));
    assert_eq!(found(&demux, &owners, &tuple), Some(Target::Datagram(id[1])));
    assert_eq!(found(&demux, &owners, &Tuple { proto: Proto::Tcp, ..tuple }), None);
    demux.remove(&tuple, Target::Datagram(id[1]));
    assert_eq!(found(&demux, &owners, &tuple), None);
}

#[test]
fn each_of_many_four_tuples_is_found_and_few_others_are_looked_at() {
    const COUNT: u16 = 20_000;
    let (mut demux, _) = demux();
    let id = ids(COUNT.into());
    let mut kept: Vec<Tuple> = (0..COUNT).map(tuple).collect();
    for (id, tuple) in id.iter().zip(&kept) {
        demux.insert(tuple, Target::Datagram(*id));
    }
    let looks = Cell::new(0);
    let find = |kept: &[Tuple], tuple: &Tuple| {
        demux.find(tuple, |place| {
            looks.set(looks.get() + 1);
            let Place::Datagram(index) = place else { return None };
            Some((Target::Datagram(id[usize::from(index as u16)]), &kept[usize::from(index as u16)]))
        })
    };
    for (id, tuple) in id.iter().zip(&kept) {
        assert_eq!(find(&kept, tuple), Some(Target::Datagram(*id)));
    }
    assert!((COUNT..COUNT + 100).contains(&looks.take()));
    assert!((0..COUNT).all(|port| find(&kept, &tuple(COUNT + port)).is_none()));
    assert!(looks.take() < 100);
    // The entry is of a four-tuple that its owner no longer has.
    let before = core::mem::replace(&mut kept[0], tuple(COUNT));
    assert_eq!(find(&kept, &before), None);
}

#[test]
fn consecutive_ports_of_a_host_lie_side_by_side() {
    let (demux, _) = demux();
    let id = ids(1)[0];
    let reversed = |port| {
        let Tuple { local: remote, remote: local, local_port: remote_port, .. } = tuple(port);
        Tuple { local, remote, local_port: port, remote_port, ..tuple(port) }
    };
    for flow in [tuple, reversed] {
        let hash = |port| Entry::new(Short::new(demux.key, &flow(port)), Target::Datagram(id)).hash();
        let (line, next): (Vec<u64>, Vec<u64>) =
            ((4000..4008).map(hash).collect(), (4008..4016).map(hash).collect());
        for (at, hash) in line.iter().enumerate() {
            assert_eq!(hash % (1 << 29), line[0] % (1 << 29) + at as u64);
            // What tells neighbours apart differs.
            assert!(line[..at].iter().all(|other| (other ^ hash) >> 57 != 0));
        }
        assert_ne!(line[0] >> 3 & 0xffff, next[0] >> 3 & 0xffff);
    }
}

#[test]
fn who_yields_is_in_the_way_of_the_same_address_only() {
    let (mut demux, _) = demux();
    let service = Hold { yields: true, listening: true, ..PLAIN };
    demux.hold(binding(A, 53), service);
    assert!(!demux.is_free(&binding(A, 53), PLAIN));
    assert!(demux.is_free(&binding(V4_ANY, 53), PLAIN));
    demux.hold(binding(V4_ANY, 53), PLAIN);
    assert!(!demux.is_free(&binding(V4_ANY, 53), PLAIN));
    demux.release(&binding(A, 53), service);
    assert!(!demux.is_free(&binding(A, 53), PLAIN));
}

#[test]
fn wildcards_overlap_by_family() {
    let dual = Binding { speaks: Speaks::Both, ..binding(V6_ANY, 80) };
    let connected = Binding { speaks: Speaks::Both, ..binding([1; 16], 80) };
    let mapped_any = Binding { speaks: Speaks::Both, ..binding(V4_ANY, 80) };
    let cases = [
        (binding(V4_ANY, 80), binding(A, 80), false),
        (binding(A, 80), binding(B, 80), true),
        (binding(V4_ANY, 80), binding(V6_ANY, 80), true),
        (binding(V4_ANY, 80), dual, false),
        (binding(A, 80), dual, false),
        (dual, binding([1; 16], 80), false),
        // Connected over IPv6, from a socket that speaks both.
        (connected, binding(V4_ANY, 80), false),
        (connected, mapped_any, true),
        (connected, binding(A, 80), true),
        (binding([1; 16], 80), binding(V4_ANY, 80), true),
        (binding(V4_ANY, 80), mapped_any, false),
        (mapped_any, dual, false),
        (mapped_any, binding(V6_ANY, 80), true),
        (binding(V4_ANY, 80), binding(V4_ANY, 81), true),
        (Binding { scope: 1, ..binding(V4_ANY, 80) }, Binding { scope: 2, ..binding(V4_ANY, 80) }, true),
        (Binding { scope: 1, ..binding(V4_ANY, 80) }, binding(V4_ANY, 80), false),
    ];
    for (first, second, free) in cases {
        let (mut demux, _) = demux();
        demux.hold(first, PLAIN);
        assert_eq!(demux.is_free(&second, PLAIN), free, "{first:?} then {second:?}");
    }
}

#[test]
fn sharing_needs_the_option_on_all_holders() {
    let listening = Hold { listening: true, ..REUSE };
    let other_user = Hold { uid: 2, ..SHARE };
    let cases = [
        (PLAIN, REUSE, false),
        (REUSE, PLAIN, false),
        (REUSE, REUSE, true),
        (listening, REUSE, false),
        (SHARE, SHARE, true),
        (SHARE, other_user, false),
        (SHARE, PLAIN, false),
    ];
    for (first, second, free) in cases {
        let (mut demux, _) = demux();
        demux.hold(binding(A, 80), first);
        assert_eq!(demux.is_free(&binding(A, 80), second), free, "{first:?} then {second:?}");
        demux.release(&binding(A, 80), first);
        assert!(demux.is_free(&binding(A, 80), PLAIN));
    }
}

#[test]
fn the_closest_binding_gets_the_packet() {
    let (mut demux, _) = demux();
    let id = ids(4);
    let dual = Binding { speaks: Speaks::Both, ..binding(V6_ANY, 80) };
    for (binding, id) in [dual, binding(V4_ANY, 80), binding(A, 80)].into_iter().zip(&id) {
        demux.hold(binding, REUSE);
        demux.join(binding, *id);
    }
    let to = |demux: &Demux, ip| demux.member(Proto::Tcp, &ip, 80, 1, || 0);
    assert_eq!(to(&demux, A), Some(id[2]));
    assert_eq!(to(&demux, B), Some(id[1]));
    assert_eq!(to(&demux, [1; 16]), Some(id[0]));
    demux.leave(&binding(A, 80), id[2]);
    assert_eq!(to(&demux, A), Some(id[1]));
    assert_eq!(demux.member(Proto::Udp, &A, 80, 1, || 0), None);
}

#[test]
fn shared_ports_spread_flows() {
    let (mut demux, _) = demux();
    let id = ids(4);
    for id in &id {
        demux.hold(binding(V4_ANY, 80), SHARE);
        demux.join(binding(V4_ANY, 80), *id);
    }
    let mut hits = [0; 4];
    for flow in 0..1000_u64 {
        let chosen = demux.member(Proto::Tcp, &A, 80, 1, || sip([1, 2], &flow.to_le_bytes())).unwrap();
        hits[id.iter().position(|id| *id == chosen).unwrap()] += 1;
    }
    assert!(hits.iter().all(|hits| (150..350).contains(hits)), "{hits:?}");
}

#[test]
fn picked_ports_are_free_and_run_out() {
    let (mut demux, mut rng) = demux();
    let mut ports = Vec::new();
    for _ in 0..16 {
        let port = demux.pick_port(&binding(A, 0), SHARE, &(100..=115), &mut rng).unwrap();
        demux.hold(binding(A, port), SHARE);
        ports.push(port);
    }
    let (first, mut sorted) = (ports.clone(), ports);
    sorted.sort_unstable();
    assert_eq!(sorted, (100..=115).collect::<Vec<_>>());
    assert_ne!(first, sorted, "ports are to be unpredictable");
    assert!(demux.pick_port(&binding(A, 0), SHARE, &(100..=115), &mut rng).is_err());
}

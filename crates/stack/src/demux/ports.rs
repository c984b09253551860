//! Local ports: who holds them, who may share them, which socket a packet without a connection is for.

use super::{Demux, Proto};
use crate::SocketId;
use crate::address::{is_unspecified, is_v4};
use crate::error::{Error, Result};
use crate::sip::sip;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use sockeye_packet::Rng;

/// The version of IP that a socket speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// One of `AF_INET`.
    #[default]
    V4,
    /// One of `AF_INET6` with `IPV6_V6ONLY`.
    V6,
    /// One of `AF_INET6`, as long as its address leaves it open.
    Both,
}

/// What a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) proto: Proto,
    /// Address, or unspecified.
    pub(crate) ip: [u8; 16],
    pub(crate) port: u16,
    /// Interface number plus one, or 0 for any: the address's scope or the bound device.
    pub(crate) scope: u16,
    pub(crate) speaks: Speaks,
}

impl Binding {
    /// Whether packets to `ip` that came in by interface `scope` are for this binding.
    fn accepts(&self, ip: &[u8; 16], scope: u16) -> bool {
        (self.scope == 0 || self.scope == scope)
            && (self.ip == *ip || is_unspecified(&self.ip) && self.takes(is_v4(ip)))
    }

    /// Whether packets of this version of IP are for a binding to all addresses.
    fn takes(&self, v4: bool) -> bool {
        is_v4(&self.ip) == v4 || self.is_dual()
    }

    /// `::` that takes IPv4, too.
    fn is_dual(&self) -> bool {
        self.speaks == Speaks::Both && self.ip == [0; 16]
    }

    /// Whether some packet could be for both, or the kernel thinks so; `new` is the one that would be bound beside.
    fn overlaps(&self, new: &Binding) -> bool {
        // As the kernel: an echo identifier is one for all addresses.
        if self.proto.is_echo() {
            return true;
        }
        if self.scope != 0 && new.scope != 0 && self.scope != new.scope {
            return false;
        }
        match (is_unspecified(&self.ip), is_unspecified(&new.ip)) {
            (false, false) => self.ip == new.ip,
            (true, false) => self.takes(is_v4(&new.ip)),
            // As the kernel: whoever got its IPv6 address from a connect could still speak IPv4.
            (false, true) => {
                new.takes(is_v4(&self.ip)) || new.speaks == Speaks::V4 && self.speaks == Speaks::Both
            }
            (true, true) => self.is_dual() || new.takes(is_v4(&self.ip)),
        }
    }

    /// How closely the binding names its packets: the closest one gets them.
    fn closeness(&self) -> u8 {
        u8::from(!is_unspecified(&self.ip)) * 4
            + u8::from(self.scope != 0) * 2
            + u8::from(self.speaks != Speaks::Both)
    }
}

/// How a holder holds its port: what bind's conflict rules look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) reuse_addr: bool,
    pub(crate) reuse_port: bool,
    pub(crate) listening: bool,
    /// Bound by a bind call, or accepted from such a socket; not picked by connect.
    pub(crate) explicit: bool,
    /// The port was named by its user, who keeps it beyond a connection.
    pub(crate) named: bool,
    /// In the way of the same address only.
    pub(crate) yields: bool,
    pub(crate) uid: u32,
}

/// All holders of one binding.
#[derive(Debug)]
struct Group {
    binding: Binding,
    holders: u32,
    not_reuse_addr: u32,
    not_reuse_port: u32,
    listening: u32,
    explicit: u32,
    not_yielding: u32,
    /// The user of the first holder: `SO_REUSEPORT` is for one user's sockets.
    uid: u32,
    /// Sockets that get packets without a connection, oldest first.
    members: Vec<SocketId>,
    /// Whether packets are spread over the members.
    spread: bool,
}

impl Group {
    fn count(&mut self, hold: Hold, add: bool) {
        let Hold { reuse_addr, reuse_port, listening, explicit, named: _, yields, uid } = hold;
        if self.holders == 0 {
            self.uid = uid;
            self.spread = reuse_port;
        }
        let adjust = |count: &mut u32, applies: bool| {
            if applies {
                *count = if add { *count + 1 } else { count.saturating_sub(1) };
            }
        };
        adjust(&mut self.holders, true);
        adjust(&mut self.not_reuse_addr, !reuse_addr);
        adjust(&mut self.not_reuse_port, !reuse_port);
        adjust(&mut self.listening, listening);
        adjust(&mut self.explicit, explicit);
        adjust(&mut self.not_yielding, !yields);
    }

    /// Whether a new holder `hold` of an overlapping `binding` is in the way of these.
    fn conflicts(&self, binding: &Binding, hold: Hold) -> bool {
        if self.not_yielding == 0 && self.binding.ip != binding.ip {
            return false;
        }
        let by_addr = hold.reuse_addr && self.not_reuse_addr == 0 && self.listening == 0;
        let by_port = hold.reuse_port && self.not_reuse_port == 0 && self.uid == hold.uid;
        !(by_addr || by_port)
    }
}

/// One port of one protocol.
#[derive(Debug)]
pub(super) struct Port {
    proto: Proto,
    number: u16,
    groups: Vec<Group>,
}

impl Demux {
    /// Whether `binding` may be held as `hold`.
    pub(crate) fn is_free(&self, binding: &Binding, hold: Hold) -> bool {
        self.port(binding.proto, binding.port).is_none_or(|port| {
            !port.groups.iter().any(|group| group.binding.overlaps(binding) && group.conflicts(binding, hold))
        })
    }

    /// Whether connect may pick the port: no bind call holds it for an overlapping address.
    pub(crate) fn may_pick(&self, binding: &Binding) -> bool {
        self.port(binding.proto, binding.port).is_none_or(|port| {
            !port.groups.iter().any(|group| group.explicit > 0 && group.binding.overlaps(binding))
        })
    }

    /// A random free port of `range` for a bind call that names none.
    pub(crate) fn pick_port(
        &self,
        binding: &Binding,
        hold: Hold,
        range: &RangeInclusive<u16>,
        rng: &mut Rng,
    ) -> Result<u16> {
        let (low, count) = port_range(range);
        let start = rng.below(count);
        // A port that another socket would have to share is not picked, whatever the options say.
        let alone = Hold { reuse_addr: false, reuse_port: false, ..hold };
        (0..count)
            .map(|step| low + ((start + step) % count) as u16)
            .find(|port| self.is_free(&Binding { port: *port, ..*binding }, alone))
            .ok_or(Error::AddrInUse)
    }

    /// Holds a binding. Conflicts are the caller's to check.
    pub(crate) fn hold(&mut self, binding: Binding, hold: Hold) {
        self.group(binding).count(hold, true);
    }

    /// Lets go of a binding, held as `hold` before.
    pub(crate) fn release(&mut self, binding: &Binding, hold: Hold) {
        let (hash, key) = (self.port_hash(binding.proto, binding.port), (binding.proto, binding.port));
        let Ok(mut entry) = self.ports.find_entry(hash, |port| (port.proto, port.number) == key) else {
            return;
        };
        let groups = &mut entry.get_mut().groups;
        if let Some(at) = groups.iter().position(|group| group.binding == *binding) {
            groups[at].count(hold, false);
            if groups[at].holders == 0 {
                groups.swap_remove(at);
            }
        }
        if groups.is_empty() {
            entry.remove();
        }
    }

    /// Changes how a binding is held.
    pub(crate) fn change(&mut self, binding: Binding, from: Hold, to: Hold) {
        let group = self.group(binding);
        group.count(to, true);
        group.count(from, false);
        group.spread = group.not_reuse_port == 0;
    }

    /// Lets a socket get the packets of its binding that belong to no connection.
    pub(crate) fn join(&mut self, binding: Binding, id: SocketId) {
        self.group(binding).members.push(id);
    }

    /// Ends what [`Demux::join`] began.
    pub(crate) fn leave(&mut self, binding: &Binding, id: SocketId) {
        let (hash, key) = (self.port_hash(binding.proto, binding.port), (binding.proto, binding.port));
        let Some(port) = self.ports.find_mut(hash, |port| (port.proto, port.number) == key) else { return };
        for group in port.groups.iter_mut().filter(|group| group.binding == *binding) {
            group.members.retain(|member| *member != id);
        }
    }

    /// The socket that a packet to `ip` and `port`, come in by interface `scope`, is for. `flow` decides
    /// among sockets that share.
    pub(crate) fn member(
        &self,
        proto: Proto,
        ip: &[u8; 16],
        port: u16,
        scope: u16,
        flow: impl FnOnce() -> u64,
    ) -> Option<SocketId> {
        let groups = &self.port(proto, port)?.groups;
        let suitable = |group: &&Group| !group.members.is_empty() && group.binding.accepts(ip, scope);
        let group = groups.iter().filter(suitable).max_by_key(|group| group.binding.closeness())?;
        match *group.members {
            [only] => Some(only),
            ref all if group.spread => Some(all[((u128::from(flow()) * all.len() as u128) >> 64) as usize]),
            // Without SO_REUSEPORT the latest gets all, as Linux does it.
            ref all => all.last().copied(),
        }
    }

    /// All sockets without a peer that a broadcast to `port` is for.
    pub(crate) fn members(
        &self,
        proto: Proto,
        ip: &[u8; 16],
        port: u16,
        scope: u16,
    ) -> impl Iterator<Item = SocketId> {
        let groups = self.port(proto, port).map_or(&[][..], |port| &port.groups);
        let ip = *ip;
        let suitable = groups.iter().filter(move |group| group.binding.accepts(&ip, scope));
        suitable.flat_map(|group| group.members.iter().copied())
    }

    /// How many bindings there are of a port.
    pub(crate) fn bindings(&self, proto: Proto, port: u16) -> usize {
        self.port(proto, port).map_or(0, |port| port.groups.len())
    }

    fn port(&self, proto: Proto, port: u16) -> Option<&Port> {
        self.ports.find(self.port_hash(proto, port), |entry| (entry.proto, entry.number) == (proto, port))
    }

    /// The group of a binding, which is made if it isn't there.
    fn group(&mut self, binding: Binding) -> &mut Group {
        let Binding { proto, port, .. } = binding;
        let (hash, sip_key) = (self.port_hash(proto, port), self.key);
        let rehash = |entry: &Port| hash_port(sip_key, entry.proto, entry.number);
        let entry = self.ports.entry(hash, |entry| (entry.proto, entry.number) == (proto, port), rehash);
        let groups =
            &mut entry.or_insert_with(|| Port { proto, number: port, groups: Vec::new() }).into_mut().groups;
        let at = groups.iter().position(|group| group.binding == binding).unwrap_or_else(|| {
            if groups.is_empty() {
                // Most ports are a connection's, which nobody shares.
                groups.reserve_exact(1);
            }
            groups.push(Group {
                binding,
                holders: 0,
                not_reuse_addr: 0,
                not_reuse_port: 0,
                listening: 0,
                explicit: 0,
                not_yielding: 0,
                uid: 0,
                members: Vec::new(),
                spread: false,
            });
            groups.len() - 1
        });
        &mut groups[at]
    }

    fn port_hash(&self, proto: Proto, port: u16) -> u64 {
        hash_port(self.key, proto, port)
    }
}

/// The lowest port of a range and how many there are.
pub(crate) fn port_range(range: &RangeInclusive<u16>) -> (u16, u64) {
    let (low, high) = (*range.start().min(range.end()), *range.end());
    (low, u64::from(high.saturating_sub(low)) + 1)
}

fn hash_port(key: [u64; 2], proto: Proto, port: u16) -> u64 {
    sip(key, &[proto as u8, port as u8, (port >> 8) as u8])
}

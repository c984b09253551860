//! Groups: which ones this host is in, by which interfaces, and whom it wants to hear in them (RFC 1112, RFC 3376
//! §2–5, RFC 3810 §4–6).
//!
//! Sockets join; what an interface hears is what its sockets together ask for. What changes, and what a router
//! asks for, is reported by [`report`], in IGMP ([`super::igmp`]) or MLD ([`super::mld`]). All of it is bounded:
//! groups of a host, groups and sources of a socket, sources that a router may ask about.

pub(crate) mod filter;
pub(crate) mod report;

use crate::SocketId;
use crate::address::{is_v4, map_v4};
use crate::error::{Error, Result};
use crate::io::{Io, Token};
use crate::wheel::TimerId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;
use filter::SourceFilter;
use sockeye_packet::{Instant, NicId};

/// Most groups that a host is in, counted by interface.
const MAX_GROUPS: usize = 4096;
/// Most groups that a socket is in: for IPv4 `igmp_max_memberships`, as Linux has it.
const MAX_MEMBERSHIPS_V4: usize = 20;
/// For IPv6 Linux has no limit but that of a socket's memory, which is about this.
const MAX_MEMBERSHIPS_V6: usize = 256;
/// RFC 3376 §8.1, RFC 3810 §9.1: how often a change is reported.
const ROBUSTNESS: u8 = 2;
/// RFC 3376 §8.11, RFC 3810 §9.11: a change is reported again within this time.
const UNSOLICITED_INTERVAL: Duration = Duration::from_secs(1);

/// All hosts of an IPv4 link: everybody is in it, and nobody reports it (RFC 1112 §4).
pub(crate) const ALL_HOSTS_V4: [u8; 16] = map_v4([224, 0, 0, 1]);
/// All nodes of an IPv6 link (RFC 4291 §2.7.1).
pub(crate) const ALL_NODES_V6: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// A group on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupKey {
    pub(crate) nic: NicId,
    pub(crate) group: [u8; 16],
}

impl GroupKey {
    fn link(&self) -> LinkKey {
        LinkKey { nic: self.nic, v4: is_v4(&self.group) }
    }

    /// Whether routers are told of it: RFC 3376 §5, RFC 3810 §6 except the groups that everybody is in, and those
    /// that don't leave a host.
    fn is_reported(&self) -> bool {
        let within_host = !is_v4(&self.group) && self.group[1] & 0xf <= 1;
        self.nic != NicId::LOOPBACK && !is_everybodys(&self.group) && !within_host
    }
}

/// One version of IP on one interface: what has a querier and report timers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkKey {
    pub(crate) nic: NicId,
    pub(crate) v4: bool,
}

/// What a router has asked about a group and not been told yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All there is to it.
    Whole,
    /// Which of these sources are heard, in order.
    Sources(BTreeSet<[u8; 16]>),
}

/// A group that some socket is in, or was in until its leave has been reported.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: BTreeMap<SocketId, SourceFilter>,
    /// How many of them hear every source.
    open: usize,
    /// What they hear together.
    heard: SourceFilter,
    /// How often it is still to be reported that the mode of `heard` has changed.
    mode_changed: u8,
    /// The same for sources, by source.
    sources_changed: BTreeMap<[u8; 16], u8>,
    asked: Option<Asked>,
}

impl Group {
    fn is_over(&self) -> bool {
        self.members.is_empty() && self.mode_changed == 0 && self.sources_changed.is_empty()
    }

    /// Looks again at what the members hear together, and notes what is to be reported.
    fn combine(&mut self) {
        let before = core::mem::take(&mut self.heard);
        self.heard = match self.open {
            0 => SourceFilter::together(&self.members.values()),
            _ => SourceFilter::any(),
        };
        if before.mode != self.heard.mode {
            // RFC 3376 §5.1: the whole filter is told, so changes of sources need no telling of their own.
            self.mode_changed = ROBUSTNESS;
            self.sources_changed.clear();
            return;
        }
        for source in before.differences(&self.heard) {
            self.sources_changed.insert(source, ROBUSTNESS);
        }
    }
}

/// When one version of IP reports on one interface, and how.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// The version that an older querier speaks, and until when it is believed to be there.
    older: Option<(u8, Instant)>,
    /// When a general query is answered.
    general: Option<Instant>,
    /// When questions about single groups are answered.
    answers: Option<Instant>,
    /// When changes are reported.
    changes: Option<Instant>,
}

impl Link {
    fn next(&self) -> Option<Instant> {
        [self.general, self.answers, self.changes].into_iter().flatten().min()
    }
}

/// All groups of a host.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    table: BTreeMap<GroupKey, Group>,
    links: BTreeMap<LinkKey, Link>,
    timer: Option<(TimerId, Instant)>,
}

impl Groups {
    /// Whether packets to a group are for this host when they come in by `nic`.
    pub(crate) fn hears(&self, nic: NicId, group: &[u8; 16]) -> bool {
        is_everybodys(group)
            || self.table.get(&GroupKey { nic, group: *group }).is_some_and(|found| !found.members.is_empty())
    }

    /// What a socket hears of a group, if it is in it.
    pub(crate) fn filter(&self, key: &GroupKey, id: SocketId) -> Option<&SourceFilter> {
        self.table.get(key)?.members.get(&id)
    }

    /// The interfaces by which the host is in groups, with the groups and how many sockets are in each.
    pub(crate) fn memberships(&self) -> impl Iterator<Item = (NicId, [u8; 16], usize)> {
        let groups = self.table.iter().filter(|(_, group)| !group.members.is_empty());
        groups.map(|(key, group)| (key.nic, key.group, group.members.len()))
    }

    /// Whether nothing is left, in memory or to be said.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn is_idle(&self) -> bool {
        self.table.is_empty() && self.timer.is_none()
    }

    /// The most groups that one socket can be in.
    pub(crate) fn most_memberships(v4: bool) -> usize {
        if v4 { MAX_MEMBERSHIPS_V4 } else { MAX_MEMBERSHIPS_V6 }
    }
}

impl Io {
    /// Changes what a socket hears of a group; none leaves it. What changes for the interface is reported.
    pub(crate) fn set_membership(
        &mut self,
        now: Instant,
        key: GroupKey,
        id: SocketId,
        filter: Option<SourceFilter>,
    ) -> Result<()> {
        let groups = &mut self.multicast.table;
        if groups.len() >= MAX_GROUPS && !groups.contains_key(&key) {
            return Err(Error::NoBufs);
        }
        let group = groups.entry(key).or_default();
        let is_open = filter.as_ref().is_some_and(SourceFilter::is_any);
        let before = match filter {
            Some(filter) => group.members.insert(id, filter),
            None => group.members.remove(&id),
        };
        group.open += usize::from(is_open);
        group.open -= usize::from(before.is_some_and(|before| before.is_any()));
        group.combine();
        if !key.is_reported() {
            group.mode_changed = 0;
            group.sources_changed.clear();
        }
        if group.mode_changed > 0 || !group.sources_changed.is_empty() {
            let link = self.multicast.links.entry(key.link()).or_default();
            link.changes = Some(now);
            self.report_groups(now);
        } else if group.is_over() {
            groups.remove(&key);
        }
        Ok(())
    }

    /// Says what is due, and sets the timer for the rest.
    pub(crate) fn report_groups(&mut self, now: Instant) {
        let due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        let links: Vec<LinkKey> = self.multicast.links.keys().copied().collect();
        for key in links {
            let Some(link) = self.multicast.links.get_mut(&key) else { continue };
            if link.older.is_some_and(|(_, until)| until <= now) {
                link.older = None;
            }
            let (general, answers, changes) =
                (due(&mut link.general), due(&mut link.answers), due(&mut link.changes));
            if general || answers {
                self.answer_queries(key, general);
            }
            if changes && self.report_changes(key) {
                let again =
                    now + Duration::from_nanos(self.rng.below(UNSOLICITED_INTERVAL.as_nanos() as u64));
                if let Some(link) = self.multicast.links.get_mut(&key) {
                    link.changes = Some(again);
                }
            }
        }
        self.multicast.table.retain(|_, group| !group.is_over());
        let idle = |link: &Link| link.older.is_none() && link.next().is_none();
        self.multicast.links.retain(|_, link| !idle(link));
        self.set_group_timer();
    }

    /// The timer fired.
    pub(crate) fn groups_timeout(&mut self, now: Instant) {
        self.multicast.timer = None;
        self.report_groups(now);
    }

    fn set_group_timer(&mut self) {
        let next = self.multicast.links.values().filter_map(Link::next).min();
        match (self.multicast.timer, next) {
            (Some((_, at)), Some(next)) if at == next => return,
            (Some((timer, _)), _) => self.wheel.cancel(timer),
            (None, _) => {}
        }
        self.multicast.timer = next.map(|at| (self.wheel.set(at, Token::Groups), at));
    }
}

/// Whether every host is in the group, on every interface.
pub(crate) fn is_everybodys(group: &[u8; 16]) -> bool {
    const ALL_NODES_OF_HOST: [u8; 16] = [0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    [ALL_HOSTS_V4, ALL_NODES_V6, ALL_NODES_OF_HOST].contains(group)
}

#[cfg(test)]
mod tests;

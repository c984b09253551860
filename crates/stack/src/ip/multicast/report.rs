//! What routers are told of groups: group records, which `IGMPv3` and `MLDv2` have in common, and when they are sent
//! (RFC 3376 §4.2 and §5, RFC 3810 §5.2 and §6).

use super::filter::FilterMode;
use super::{Asked, Group, GroupKey, LinkKey};
use crate::address::v4_bytes;
use crate::io::Io;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::Instant;

/// Most sources that a router can ask about until it is answered; more are the whole group.
const MAX_ASKED: usize = 64;
/// Least room for records in a message, whatever the MTU is said to be: a record with one source fits.
const LEAST_ROOM: usize = 64;

/// What a group record says (RFC 3376 §4.2.12, RFC 3810 §5.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    /// These are heard: the answer to a query.
    IsInclude = 1,
    /// All but these are heard: the answer to a query.
    IsExclude = 2,
    /// From now on only these are heard.
    ToInclude = 3,
    /// From now on all but these are heard.
    ToExclude = 4,
    /// These too, from now on.
    Allow = 5,
    /// These no more.
    Block = 6,
}

/// One group record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: RecordKind,
    pub(crate) group: [u8; 16],
    pub(crate) sources: Vec<[u8; 16]>,
}

impl Record {
    /// Appends it as it goes over the wire, with as many sources as it has.
    fn emit(&self, sources: &[[u8; 16]], out: &mut Vec<u8>) {
        out.extend([self.kind as u8, 0]);
        out.extend((sources.len() as u16).to_be_bytes());
        [&self.group].into_iter().chain(sources).for_each(|address| match v4_bytes(address) {
            Some(v4) => out.extend(v4),
            None => out.extend(address),
        });
    }
}

/// What a router asks, in either protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// The version of the protocol that the router speaks, of IGMP 1 to 3, of MLD 1 or 2.
    pub(crate) version: u8,
    /// The answer may take this long.
    pub(crate) max_response: Duration,
    /// Which group it asks about; none for all.
    pub(crate) group: Option<[u8; 16]>,
    /// Which sources of it; none for all.
    pub(crate) sources: Vec<[u8; 16]>,
}

/// Cuts records into the bodies of messages of at most `room` bytes, each with the number of its records.
///
/// RFC 3376 §4.2.16: a record that is too long is told in several, but what excludes is cut off, for all that is
/// not listed is heard.
pub(crate) fn bodies(records: &[Record], room: usize) -> Vec<(u16, Vec<u8>)> {
    let room = room.max(LEAST_ROOM);
    let mut bodies: Vec<(u16, Vec<u8>)> = Vec::new();
    for record in records {
        let width = if v4_bytes(&record.group).is_some() { 4 } else { 16 };
        let most = (room - 4 - width) / width;
        let excludes = matches!(record.kind, RecordKind::IsExclude | RecordKind::ToExclude);
        let mut rest = &record.sources[..];
        loop {
            let (piece, behind) = rest.split_at(rest.len().min(most));
            let len = 4 + width + piece.len() * width;
            if bodies.last().is_none_or(|(_, body)| body.len() + len > room) {
                bodies.push((0, Vec::with_capacity(room.min(4 * len))));
            }
            if let Some((count, body)) = bodies.last_mut() {
                record.emit(piece, body);
                *count += 1;
            }
            rest = behind;
            if rest.is_empty() || excludes {
                break;
            }
        }
    }
    bodies
}

impl Group {
    fn current(&self, group: [u8; 16]) -> Record {
        let kind = match self.heard.mode {
            FilterMode::Include => RecordKind::IsInclude,
            FilterMode::Exclude => RecordKind::IsExclude,
        };
        Record { kind, group, sources: self.heard.sources.iter().copied().collect() }
    }

    /// The answer to what was asked (RFC 3376 §5.2).
    fn answer(&self, group: [u8; 16], asked: &Asked) -> Option<Record> {
        match asked {
            _ if self.heard.is_none() => None,
            Asked::Whole => Some(self.current(group)),
            Asked::Sources(sources) => {
                let heard: Vec<_> =
                    sources.iter().filter(|source| self.heard.hears(source)).copied().collect();
                (!heard.is_empty()).then_some(Record { kind: RecordKind::IsInclude, group, sources: heard })
            }
        }
    }

    /// What has changed, counted as told once (RFC 3376 §5.1).
    fn changes(&mut self, group: [u8; 16], records: &mut Vec<Record>) {
        if self.mode_changed > 0 {
            self.mode_changed -= 1;
            let kind = match self.heard.mode {
                FilterMode::Include => RecordKind::ToInclude,
                FilterMode::Exclude => RecordKind::ToExclude,
            };
            records.push(Record { kind, group, sources: self.heard.sources.iter().copied().collect() });
            return;
        }
        let changed = self.sources_changed.keys().copied();
        let (allowed, blocked): (Vec<_>, Vec<_>) = changed.partition(|source| self.heard.hears(source));
        for (kind, sources) in [(RecordKind::Allow, allowed), (RecordKind::Block, blocked)] {
            if !sources.is_empty() {
                records.push(Record { kind, group, sources });
            }
        }
        self.sources_changed.retain(|_, left| {
            *left -= 1;
            *left > 0
        });
    }

    fn has_changed(&self) -> bool {
        self.mode_changed > 0 || !self.sources_changed.is_empty()
    }
}

impl Io {
    /// A router asks: the answer comes after a random time (RFC 3376 §5.2, RFC 3810 §6.2).
    pub(crate) fn query_input(&mut self, now: Instant, link: LinkKey, query: Query, older_for: Duration) {
        let newest = if link.v4 { 3 } else { 2 };
        let nanos = u64::try_from(query.max_response.as_nanos()).unwrap_or(u64::MAX);
        let at = now + Duration::from_nanos(self.rng.below(nanos.max(1)));
        let is_of_link = |key: &GroupKey| key.link() == link && key.is_reported();
        if query.version >= newest && !self.multicast.table.keys().any(is_of_link) {
            return;
        }
        let state = self.multicast.links.entry(link).or_default();
        if query.version < newest {
            state.older = Some((query.version, now + older_for));
        }
        let Some(group) = query.group else {
            state.general = Some(state.general.map_or(at, |general| general.min(at)));
            return self.report_groups(now);
        };
        let key = GroupKey { nic: link.nic, group };
        if let Some(group) = self.multicast.table.get_mut(&key).filter(|_| key.is_reported())
            && state.general.is_none_or(|general| general > at)
        {
            group.asked = Some(match group.asked.take() {
                Some(Asked::Sources(mut sources)) if !query.sources.is_empty() => {
                    sources.extend(query.sources);
                    few(sources)
                }
                None if !query.sources.is_empty() => few(query.sources.into_iter().collect()),
                _ => Asked::Whole,
            });
            state.answers = Some(state.answers.map_or(at, |answers| answers.min(at)));
        }
        self.report_groups(now);
    }

    /// Answers what was asked about groups of a link, or all there is to say.
    pub(super) fn answer_queries(&mut self, link: LinkKey, all: bool) {
        let mut records = Vec::new();
        let groups = self.multicast.table.iter_mut().filter(|(key, _)| key.link() == link);
        for (key, group) in groups.filter(|(key, _)| key.is_reported()) {
            let asked = group.asked.take();
            let asked = if all { Some(Asked::Whole) } else { asked };
            records.extend(asked.and_then(|asked| group.answer(key.group, &asked)));
        }
        self.send_records(link, &records);
    }

    /// Reports what has changed in groups of a link; whether it is to be said again.
    pub(super) fn report_changes(&mut self, link: LinkKey) -> bool {
        let mut records = Vec::new();
        let mut again = false;
        let groups = self.multicast.table.iter_mut().filter(|(key, _)| key.link() == link);
        for (key, group) in groups {
            if group.has_changed() {
                group.changes(key.group, &mut records);
            }
            again |= group.has_changed();
        }
        self.send_records(link, &records);
        again
    }

    /// What an older version, which knows no sources, has to say for a record: true that the host is in the group,
    /// false that it isn't any more (RFC 3376 §7.2.1, RFC 3810 §8.2.1).
    pub(crate) fn is_member_still(&self, link: LinkKey, record: &Record) -> Option<bool> {
        let member = self.multicast.hears(link.nic, &record.group);
        (!member || record.kind != RecordKind::Block).then_some(member)
    }

    fn send_records(&mut self, link: LinkKey, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        let older = self.multicast.links.get(&link).and_then(|state| state.older).map(|(version, _)| version);
        match (link.v4, older) {
            (true, None) => self.send_igmp_v3(link.nic, records),
            (true, Some(version)) => self.send_igmp_older(link.nic, version, records),
            (false, None) => self.send_mld_v2(link.nic, records),
            (false, Some(_)) => self.send_mld_v1(link.nic, records),
        }
    }
}

fn few(sources: BTreeSet<[u8; 16]>) -> Asked {
    if sources.len() > MAX_ASKED { Asked::Whole } else { Asked::Sources(sources) }
}

//! Which sources of a group are heard (RFC 3376 §2 and §3, RFC 3810 §4).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Most sources that an interface tells apart in one group; with more it hears all, and sockets alone choose.
const MAX_SOURCES: usize = 1024;

/// How a list of sources is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FilterMode {
    /// Only these are heard (`MCAST_INCLUDE`).
    #[default]
    Include,
    /// All but these are heard (`MCAST_EXCLUDE`).
    Exclude,
}

/// Whom a socket, or an interface, hears of a group. The default hears nobody, which is not to be in the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceFilter {
    pub(crate) mode: FilterMode,
    pub(crate) sources: BTreeSet<[u8; 16]>,
}

impl SourceFilter {
    /// Hears everybody.
    pub(crate) fn any() -> SourceFilter {
        SourceFilter { mode: FilterMode::Exclude, sources: BTreeSet::new() }
    }

    /// Whether it hears everybody.
    pub(crate) fn is_any(&self) -> bool {
        self.mode == FilterMode::Exclude && self.sources.is_empty()
    }

    /// Whether it hears nobody.
    pub(crate) fn is_none(&self) -> bool {
        self.mode == FilterMode::Include && self.sources.is_empty()
    }

    /// Whether it hears this source.
    pub(crate) fn hears(&self, source: &[u8; 16]) -> bool {
        self.sources.contains(source) == (self.mode == FilterMode::Include)
    }

    /// What some sockets hear together (RFC 3376 §3.2).
    pub(crate) fn together<'a>(filters: &(impl Iterator<Item = &'a SourceFilter> + Clone)) -> SourceFilter {
        let of_mode = |mode| filters.clone().filter(move |filter| filter.mode == mode);
        let included = of_mode(FilterMode::Include).flat_map(|filter| &filter.sources).copied();
        let mut excluding = of_mode(FilterMode::Exclude);
        let Some(first) = excluding.next() else {
            // One more than there may be is enough to know.
            let sources: BTreeSet<_> = included.take(MAX_SOURCES * 4).collect();
            let many = sources.len() > MAX_SOURCES;
            return if many {
                SourceFilter::any()
            } else {
                SourceFilter { mode: FilterMode::Include, sources }
            };
        };
        let mut sources = first.sources.clone();
        for other in excluding {
            sources.retain(|source| other.sources.contains(source));
        }
        included.for_each(|source| {
            sources.remove(&source);
        });
        SourceFilter { mode: FilterMode::Exclude, sources }
    }

    /// The sources that one of two filters of one mode lists and the other doesn't.
    pub(crate) fn differences(&self, other: &SourceFilter) -> Vec<[u8; 16]> {
        self.sources.symmetric_difference(&other.sources).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FilterMode::{Exclude, Include};

    fn filter(mode: FilterMode, sources: &[u8]) -> SourceFilter {
        SourceFilter { mode, sources: sources.iter().map(|number| [*number; 16]).collect() }
    }

    /// The examples of RFC 3376 §3.2, and what follows from its rules.
    #[test]
    fn filters_are_put_together() {
        let cases: [(&[SourceFilter], SourceFilter); 6] = [
            (&[], filter(Include, &[])),
            (&[filter(Include, &[1, 2]), filter(Include, &[2, 3])], filter(Include, &[1, 2, 3])),
            (&[filter(Exclude, &[1, 2, 3, 4]), filter(Exclude, &[2, 3, 4, 5])], filter(Exclude, &[2, 3, 4])),
            (
                &[
                    filter(Exclude, &[1, 2, 3, 4]),
                    filter(Exclude, &[2, 3, 4, 5]),
                    filter(Include, &[4, 5, 6]),
                ],
                filter(Exclude, &[2, 3]),
            ),
            (&[filter(Exclude, &[1]), filter(Exclude, &[])], filter(Exclude, &[])),
            (&[filter(Exclude, &[1]), filter(Include, &[1])], filter(Exclude, &[])),
        ];
        for (filters, expected) in cases {
            assert_eq!(SourceFilter::together(&filters.iter()), expected, "{filters:?}");
        }
        let many: Vec<SourceFilter> = (0..=MAX_SOURCES as u128)
            .map(|n| SourceFilter { mode: Include, sources: [n.to_be_bytes()].into() })
            .collect();
        assert!(SourceFilter::together(&many.iter()).is_any());
    }

    #[test]
    fn modes_say_who_is_heard() {
        assert!(filter(Include, &[1]).hears(&[1; 16]) && !filter(Include, &[1]).hears(&[2; 16]));
        assert!(!filter(Exclude, &[1]).hears(&[1; 16]) && filter(Exclude, &[1]).hears(&[2; 16]));
        assert!(filter(Exclude, &[]).is_any() && filter(Include, &[]).is_none());
    }
}

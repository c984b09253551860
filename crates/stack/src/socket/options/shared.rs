//! Settings that several sockets have: a program sets the same options on all its connections, so those that are set
//! alike are kept once, and are at hand when the next connection is looked at.

use super::TcpSettings;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How many of the settings that were set last are compared with new ones.
const KEPT: usize = 16;

/// Settings that were set lately, the latest first.
#[derive(Debug, Default)]
pub(crate) struct SharedSettings(Vec<Arc<TcpSettings>>);

impl SharedSettings {
    /// Settings to be kept by one more socket.
    pub(super) fn share(&mut self, settings: TcpSettings) -> Arc<TcpSettings> {
        let Self(latest) = self;
        if let Some(at) = latest.iter().position(|other| **other == settings) {
            latest[..=at].rotate_right(1);
        } else {
            latest.truncate(KEPT - 1);
            latest.insert(0, Arc::new(settings));
        }
        latest[0].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TcpConfig;

    #[test]
    fn what_is_set_alike_is_kept_once_and_little_that_is_not_used() {
        let mut shared = SharedSettings::default();
        let settings = |keep_count| TcpSettings { keep_count, ..TcpSettings::new(&TcpConfig::default()) };
        let first = shared.share(settings(0));
        let kept: Vec<_> = (1..=KEPT as u32).map(|count| shared.share(settings(count))).collect();
        for (settings, count) in kept.iter().zip(1..) {
            assert_eq!(settings.keep_count, count);
            assert!(Arc::ptr_eq(settings, &shared.share(TcpSettings::clone(settings))));
        }
        assert_eq!(Arc::strong_count(&first), 1, "{KEPT} others were set since");
        assert!(!Arc::ptr_eq(&first, &shared.share(TcpSettings::clone(&first))));
    }
}

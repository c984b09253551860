//! Whether a host is one of a network's: handles of removed hosts, and of other networks' hosts, go around too.

use crate::{Error, Host, Network};
use std::sync::Arc;

impl Network {
    /// The number of a host; of another network's host one that nobody has, for which nothing is done.
    pub(crate) fn number(&self, host: &Host) -> u32 {
        if self.is_of(host) { host.core.index } else { u32::MAX }
    }

    /// Whether it has this very host, which is not so when that was removed.
    pub(crate) fn has(&self, host: &Host) -> bool {
        self.is_of(host) && self.shared.core.host(host.core.index).is_some()
    }

    pub(crate) fn is_of(&self, host: &Host) -> bool {
        Arc::ptr_eq(&host.shared, &self.shared)
    }

    pub(crate) fn check_is_of(&self, host: &Host) -> Result<(), Error> {
        if self.is_of(host) { Ok(()) } else { Err(Error::UnknownHost { name: host.name().to_owned() }) }
    }
}

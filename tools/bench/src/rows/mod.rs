//! The rows of the table.

use std::path::Path;

use crate::row::{Row, Size};

pub(crate) use connections::hold_idle;
#[cfg(target_os = "linux")]
pub(crate) use local::hold_clients;

mod bulk;
mod connections;
mod doubling;
mod gateway;
#[cfg(target_os = "linux")]
mod goodput;
#[cfg(target_os = "linux")]
mod library;
#[cfg(target_os = "linux")]
mod local;
mod nginx;
mod round_trip;
mod run;
#[cfg(target_os = "linux")]
mod tun;

/// Every row, in the order of the table; `sockeye` is the command that the rows about `run` use.
pub(crate) fn all(sockeye: &Path, size: Size) -> Vec<Row> {
    let mut rows = bulk::rows(size);
    rows.extend(round_trip::rows());
    rows.extend(connections::rows(size));
    #[cfg(target_os = "linux")]
    rows.extend(library::rows());
    #[cfg(target_os = "linux")]
    rows.extend(local::rows(size));
    #[cfg(target_os = "linux")]
    rows.extend(tun::rows());
    // Its transfers take their time.
    #[cfg(target_os = "linux")]
    if size == Size::Full {
        rows.extend(goodput::rows());
    }
    rows.extend(run::rows(sockeye));
    rows.extend(gateway::rows(sockeye));
    rows.extend(doubling::rows());
    rows
}

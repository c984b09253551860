//! The rows of the table.

use std::path::Path;

use crate::row::Row;

mod bulk;
mod gateway;
#[cfg(target_os = "linux")]
mod library;
#[cfg(target_os = "linux")]
mod local;
mod nginx;
mod round_trip;
mod run;

/// Every row, in the order of the table; `sockeye` is the command that the rows about `run` use.
pub(crate) fn all(sockeye: &Path) -> Vec<Row> {
    let mut rows = bulk::rows();
    rows.extend(round_trip::rows());
    #[cfg(target_os = "linux")]
    rows.extend(library::rows());
    #[cfg(target_os = "linux")]
    rows.extend(local::rows());
    rows.extend(run::rows(sockeye));
    rows.extend(gateway::rows(sockeye));
    rows
}

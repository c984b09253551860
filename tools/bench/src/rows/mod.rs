//! The rows of the table.

use std::path::Path;

use crate::row::Row;

mod bulk;
mod gateway;
mod nginx;
mod round_trip;
mod run;

/// Every row, in the order of the table; `sockeye` is the command that the rows about `run` use.
pub(crate) fn all(sockeye: &Path) -> Vec<Row> {
    let mut rows = bulk::rows();
    rows.extend(round_trip::rows());
    rows.extend(run::rows(sockeye));
    rows.extend(gateway::rows(sockeye));
    rows
}

//! Transfers in both directions at once over links of every sort, under virtual time: byte-exact, and as
//! fast as the snapshot says.

mod common;

use common::{exchange, random_bytes};
use sockeye::packet::Chunk;
use sockeye::{NetemConfig, Network};
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LOSS: [f64; 5] = [0.0, 0.1, 1.0, 5.0, 20.0];
const DELAY_MS: [u64; 3] = [0, 10, 100];
const REORDER: [f64; 2] = [0.0, 5.0];
/// The line that all cells share, so that the time of each is finite.
const RATE: u64 = 100_000_000;
const MIB: usize = 1 << 20;
/// Longest virtual time of a cell.
const LIMIT: Duration = Duration::from_hours(1);

/// One row of the table.
#[derive(Clone, Copy)]
struct Cell {
    loss: f64,
    delay_ms: u64,
    reorder: f64,
}

impl Cell {
    fn all() -> Vec<Cell> {
        let mut cells = Vec::new();
        for loss in LOSS {
            for delay_ms in DELAY_MS {
                cells.extend(REORDER.map(|reorder| Cell { loss, delay_ms, reorder }));
            }
        }
        cells
    }

    fn len(self) -> usize {
        if self.loss >= 20.0 { MIB } else { 10 * MIB }
    }

    /// The row of the table.
    fn run(self) -> String {
        let Cell { loss, delay_ms, reorder } = self;
        let link = NetemConfig {
            loss,
            delay: Duration::from_millis(delay_ms),
            reorder,
            rate: RATE,
            limit: 10_000,
            ..NetemConfig::default()
        };
        let len = self.len();
        let data = [1, 2].map(|seed| Chunk::from(random_bytes(seed, len)));
        let outcome = exchange(Network::builder().seed(1), link, [&data[0], &data[1]], LIMIT)
            .map_err(|error| format!("loss {loss} % delay {delay_ms} ms reorder {reorder} %: {error}"));
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return error + "\n",
        };
        let [down, up] = outcome.times.map(|time| len as f64 * 8.0 / 1e6 / time.as_secs_f64());
        let took = outcome.times.into_iter().max().unwrap_or_default().as_secs_f64();
        format!(
            "{loss:>6} % {delay_ms:>5} ms {reorder:>5} % {:>5} MiB {up:>8.2} {down:>8.2} {took:>9.3}\n",
            len / MIB
        )
    }
}

#[test]
fn transfers_over_every_link_are_exact_and_as_fast_as_before() {
    let cells = Cell::all();
    let rows = Mutex::new(vec![String::new(); cells.len()]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // The slow cells come last in the list: start with them.
                while let Some(index) = cells.len().checked_sub(1 + next.fetch_add(1, Ordering::Relaxed)) {
                    let row = cells[index].run();
                    rows.lock().unwrap()[index] = row;
                }
            });
        }
    });
    let mut table = String::new();
    writeln!(table, "# Both directions at once over 100 Mbit/s: goodput in Mbit/s to the server and to the")
        .unwrap();
    writeln!(table, "# client, seconds of virtual time until the last byte.").unwrap();
    writeln!(table, "#   loss    delay  reorder   each way  up      down      seconds").unwrap();
    rows.lock().unwrap().iter().for_each(|row| table.push_str(row));
    println!("{table}");
    compare(&table, "transfers.txt");
}

/// Compares with the snapshot, or writes it when asked to.
fn compare(table: &str, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("SOCKEYE_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, table).unwrap();
        return;
    }
    let snapshot = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        snapshot == table,
        "{name} was\n{snapshot}\nand is\n{table}\nIf that is as it should be: SOCKEYE_UPDATE_SNAPSHOTS=1 cargo test -p sockeye --test transfers"
    );
}

//! Two threads with a stream between them: how fast bytes go one way, and how long one takes there and back.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cores::{Cores, Processors};
use crate::row::{Figure, median};

/// How long a transfer runs before it counts: windows and buffers grow meanwhile.
pub(crate) const WARM_UP: Duration = Duration::from_millis(50);
/// How long it counts.
pub(crate) const SPAN: Duration = Duration::from_millis(200);

const ROUNDS: u32 = 5_000;
/// Rounds of a burst that wakes both threads, of which as many single rounds follow.
const BURST: u32 = 200;
const PARKED_ROUNDS: u32 = 500;
/// What a thread does between two parked rounds: so long that the other one sleeps.
const THINKING: Duration = Duration::from_micros(100);

/// What every byte is: a reader looks at it.
const BYTE: u8 = 0x55;

/// One end of a connection.
pub(crate) struct End {
    pub(crate) from: Box<dyn Read + Send>,
    pub(crate) to: Box<dyn Write + Send>,
}

/// Gigabits per second from one thread, in writes of `size` bytes, to another, in reads of as many.
pub(crate) fn gigabits_per_second((near, far): (End, End), size: usize) -> Figure {
    let processors = Processors::find(Cores::Two)?;
    let is_over = AtomicBool::new(false);
    let (End { mut to, from: idle }, End { mut from, to: _idle_too }) = (near, far);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            Processors::take(processors.second);
            let figure = read_for(&mut from, size, &is_over);
            is_over.store(true, Ordering::Relaxed);
            figure
        });
        Processors::take(processors.first);
        let bytes = vec![BYTE; size];
        let mut written = 0;
        while !is_over.load(Ordering::Relaxed) {
            to.write_all(&bytes).map_err(|error| error.to_string())?;
            written += size as u64;
        }
        drop((to, idle));
        let (figure, read) =
            reading.join().map_err(|_| "the reader failed")?.map_err(|error| error.to_string())?;
        if read == written { Ok(figure) } else { Err(format!("{written} bytes were written, {read} read")) }
    })
}

/// The gigabits per second that were read after the warm-up, and all bytes that were.
fn read_for(from: &mut impl Read, size: usize, is_over: &AtomicBool) -> io::Result<(f64, u64)> {
    let mut buffer = vec![0; size];
    let mut read = || {
        let count = from.read(&mut buffer)?;
        let (first, last) = (buffer[0], buffer[count.max(1) - 1]);
        if count > 0 && (first, last) != (BYTE, BYTE) {
            return Err(io::Error::other("other bytes were read than were written"));
        }
        Ok(count as u64)
    };
    let started = Instant::now();
    let mut before = 0;
    while started.elapsed() < WARM_UP {
        before += read()?;
    }
    let counted = Instant::now();
    let mut total = 0;
    while counted.elapsed() < SPAN {
        total += read()?;
    }
    let figure = total as f64 * 8.0 / counted.elapsed().as_secs_f64() / 1e9;
    is_over.store(true, Ordering::Relaxed);
    // What the writer is still at.
    total += before;
    loop {
        match read()? {
            0 => return Ok((figure, total)),
            count => total += count,
        }
    }
}

/// What the asking thread does between two rounds.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Thinking {
    /// Nothing; and now and then it asks much at once, so that both threads are awake.
    Not,
    /// It sleeps, for so long that the other does too.
    Long,
}

/// The median time in microseconds of one byte's way to a thread that answers and back.
pub(crate) fn round_trip((near, far): (End, End), thinking: Thinking) -> Figure {
    let processors = Processors::find(Cores::Two)?;
    let (End { mut from, mut to }, End { from: mut there, to: mut back }) = (near, far);
    thread::scope(|scope| {
        scope.spawn(|| {
            Processors::take(processors.second);
            let mut byte = [0];
            while there.read(&mut byte).is_ok_and(|count| count == 1) && back.write_all(&byte).is_ok() {}
            // Whoever asks is to see that there is no answer any more.
            drop((there, back));
        });
        Processors::take(processors.first);
        let mut ask = |count: usize| {
            let asked = (0..count).try_for_each(|_| to.write_all(&[BYTE]));
            asked.and_then(|()| from.read_exact(&mut vec![0; count])).map_err(|error| error.to_string())
        };
        let rounds = if thinking == Thinking::Long { PARKED_ROUNDS } else { ROUNDS };
        let mut times = Vec::with_capacity(rounds as usize);
        for round in 0..rounds {
            match thinking {
                Thinking::Long => thread::sleep(THINKING),
                Thinking::Not if round.is_multiple_of(BURST) => ask(BURST as usize)?,
                Thinking::Not => {}
            }
            let asked = Instant::now();
            ask(1)?;
            times.push(asked.elapsed().as_secs_f64() * 1e6);
        }
        drop((to, from));
        Ok(median(&times))
    })
}

//! Captures: where their packets go, and under which interfaces.

use crate::Error;
use sockeye_link::pcapng::{InterfaceId, PacketDirection, PcapngConfig, PcapngWriter};
use sockeye_packet::{Batch, Instant, Packet};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a capture goes.
pub(crate) type Sink = Box<dyn Write + Send>;

/// What a capture is to be written to.
pub(crate) enum Target {
    File(PathBuf),
    Writer(Sink),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::File(path) => write!(f, "File({})", path.display()),
            Target::Writer(_) => f.write_str("Writer"),
        }
    }
}

impl Target {
    /// Opens the file, if it is to be one, for itself alone.
    pub(crate) fn open(self, wall_offset: Duration) -> Result<(Sink, PcapngConfig), Error> {
        let sink: Sink = match self {
            Target::Writer(sink) => sink,
            Target::File(path) => match open_alone(&path) {
                Ok(file) => Box::new(file),
                Err(error) => return Err(Error::Capture { path: Some(path), error }),
            },
        };
        Ok((sink, PcapngConfig { gso: false, wall_offset }))
    }
}

/// Opens a file to write it anew, unless another capture is being written to it: then nothing is lost. Pipes and
/// terminals are written to as they are.
fn open_alone(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.is_file() {
        // Where a file system has no locks, nothing is known of others.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let why = "another capture is being written to it; choose another file";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
        }
        file.set_len(0)?;
    }
    Ok(file)
}

/// What one of a host's interfaces is in captures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interfaces {
    /// In the network's; that of a loopback is there once something passed it.
    pub(crate) of_network: Option<InterfaceId>,
    /// In the host's own.
    pub(crate) of_host: Option<InterfaceId>,
}

/// One capture file.
pub(crate) struct Capture(PcapngWriter<Sink>);

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capture")
    }
}

/// A user's writer, whose panics are errors of the capture: they must not unwind through the thread that happens to
/// move a packet, which may be the driver's.
struct Guarded(Sink);

impl Guarded {
    fn call<R>(&mut self, call: impl FnOnce(&mut Sink) -> io::Result<R>) -> io::Result<R> {
        let panicked = |_| Err(io::Error::other("the capture's writer panicked"));
        catch_unwind(AssertUnwindSafe(|| call(&mut self.0))).unwrap_or_else(panicked)
    }
}

impl Write for Guarded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.call(|sink| sink.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.call(Write::flush)
    }
}

impl Capture {
    pub(crate) fn new(sink: Sink, config: PcapngConfig) -> Capture {
        Capture(PcapngWriter::new(Box::new(Guarded(sink)), config))
    }

    /// Adds an interface.
    pub(crate) fn add(&mut self, name: &str) -> InterfaceId {
        self.0.add_interface(name)
    }

    pub(crate) fn write(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        way: PacketDirection,
        packet: &Packet,
    ) {
        self.0.write(now, interface, way, packet);
    }

    /// Records the packets of a batch behind the first `from`.
    pub(crate) fn record(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        way: PacketDirection,
        batch: &Batch,
        from: usize,
    ) {
        batch.iter().skip(from).for_each(|packet| self.write(now, interface, way, packet));
    }

    /// Writes out what is held back; the first error that it met.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.0.flush();
        self.0.take_error().map_or(Ok(()), Err)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }
}

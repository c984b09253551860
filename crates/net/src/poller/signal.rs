//! A descriptor that the kernel's own pollers understand.

use super::{Poller, Queue};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

/// A pipe with one byte in it while there is something to tell.
#[derive(Debug, Default)]
pub(super) struct Signal(OnceLock<(PipeReader, PipeWriter)>);

impl Signal {
    /// Has the descriptor say what the queue says. The queue's lock is held, so nobody comes between.
    pub(super) fn follow(&self, queue: &mut Queue) {
        let Some((reader, writer)) = self.0.get() else { return };
        let has_news = queue.has_news();
        // Neither blocks: the pipe is empty before a write, and has its byte before a read.
        let done = match (queue.is_signalled, has_news) {
            (false, true) => (&mut &*writer).write_all(&[1]),
            (true, false) => (&mut &*reader).read_exact(&mut [0]),
            _ => return,
        };
        if done.is_ok() {
            queue.is_signalled = has_news;
        }
    }
}

impl Poller {
    /// A descriptor that is readable while [`Poller::wait`] has something to tell, for a kernel poller that
    /// watches the machine's own descriptors too. It is made when it is first asked for, and stays the
    /// poller's: it is to be polled, not to be read. A wait with a timeout of zero that returns no event may
    /// follow, as when another thread was faster. Of local sockets, which have descriptors of their own, it says
    /// nothing.
    pub fn as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        let mut queue = self.shared.lock();
        let Signal(pipe) = &self.shared.signal;
        let (reader, _) = if let Some(pipe) = pipe.get() {
            pipe
        } else {
            let new = io::pipe()?;
            pipe.get_or_init(|| new)
        };
        self.shared.signal.follow(&mut queue);
        Ok(reader.as_fd())
    }
}

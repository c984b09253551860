//! The user's calls (RFC 9293 §3.10.1–3.10.6) and how the buffers grow.

use super::chrono::Limit;
use super::connection::{Connection, Resources};
use super::state::{State, Transition};
use super::timers::Timer;
use crate::SocketOption;
use crate::config::TcpConfig;
use crate::counters::Counter;
use crate::socket::options::TcpSettings;
use crate::{Error, Readiness, RecvFlags, Result, SendFlags, Shutdown};
use alloc::collections::VecDeque;
use core::time::Duration;
use sockeye_packet::{Budget, Chunk, Instant, Payload};
use sockeye_wire::TcpHeader;

impl Connection {
    /// Takes from the front of `chunks` what there is room for.
    #[inline]
    pub(crate) fn send(
        &mut self,
        now: Instant,
        chunks: &mut VecDeque<Chunk>,
        flags: SendFlags,
        resources: &mut Resources<'_>,
    ) -> Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match self.state {
            State::SynSent | State::SynReceived if !self.flags.close_pending => {
                return Err(Error::WouldBlock);
            }
            state if state.can_send() && !self.flags.write_shut => {}
            _ => return Err(Error::BrokenPipe),
        }
        let SendFlags { more, oob, eor, dont_route: _ } = flags;
        let wanted = match chunks.front() {
            Some(only) if chunks.len() == 1 => only.len(),
            _ => chunks.iter().map(Chunk::len).sum(),
        };
        let room = self.room(wanted, resources.settings, resources.config);
        let space = room.bytes.min(resources.budget.available());
        self.flags.no_space |= space < wanted;
        if wanted == 0 {
            return Ok(0);
        }
        if space == 0 {
            let starved = self.send.is_empty() && room.bytes > 0;
            return Err(if starved { Error::NoBufs } else { Error::WouldBlock });
        }
        self.check_app_limited();
        self.send.wake(resources.spares);
        let limit = self.send.len() + space;
        let taken = self.send.push(chunks, limit);
        self.send.set_last_segment(room.last_segment);
        // As the kernel: a message that was taken in part ends nothing yet.
        if eor && taken > 0 && chunks.is_empty() {
            self.send.end_record();
        }
        self.settle_charge(resources.budget);
        self.flags.more = more;
        if oob && taken > 0 {
            self.urgent.set_snd_up(self.send_end());
        }
        if taken > 0 {
            self.chrono.start(now, Limit::Busy);
            if self.sent.is_empty() {
                self.stalled_since = now;
            }
        }
        Ok(taken)
    }

    /// Up to `max` bytes that came in; empty at the end of the stream.
    #[inline]
    pub(crate) fn recv(
        &mut self,
        now: Instant,
        max: usize,
        flags: RecvFlags,
        resources: &mut Resources<'_>,
    ) -> Result<Payload> {
        let RecvFlags { peek, oob } = flags;
        if oob {
            return self.recv_urgent(peek, resources);
        }
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        // What came with the SYN waits until the handshake is complete.
        let some = !opening && !self.recv.is_empty();
        let payload = if some { self.take_in_order(max, peek, resources) } else { Payload::EMPTY };
        if !payload.is_empty() || (max == 0 && some) {
            if !peek {
                self.on_read(now, payload.len(), resources);
            }
            return Ok(payload);
        }
        // An urgent byte may have been passed over.
        self.settle_charge(resources.budget);
        if self.flags.fin_received {
            // As the kernel: the peer has said everything, what came later doesn't matter to who reads.
            return Ok(Payload::EMPTY);
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.flags.read_shut || !(opening || self.state.can_receive()) {
            return Ok(Payload::EMPTY);
        }
        Err(Error::WouldBlock)
    }

    /// Bytes were read: the window may open, and grow when the reader keeps up with the path.
    #[inline]
    fn on_read(&mut self, now: Instant, bytes: usize, resources: &mut Resources<'_>) {
        self.settle_charge(resources.budget);
        self.adjust_recv_space(now, resources);
        self.feed(resources.budget);
        self.acks.now |= self.is_ack_worth_it(bytes > 0);
    }

    /// The socket was shut down before it was connected: nothing of it is told to the peer.
    pub(crate) fn begin_shut(&mut self, read: bool, write: bool) {
        self.flags.read_shut = read;
        self.flags.write_shut = write;
    }

    /// Ends one direction or both.
    pub(crate) fn shutdown(&mut self, how: Shutdown, resources: &mut Resources<'_>) {
        if how.read() {
            self.flags.read_shut = true;
        }
        if how.write() {
            self.close_sending(resources.budget);
        } else if self.state == State::SynSent {
            self.end(resources.budget);
        }
    }

    /// CLOSE of RFC 9293 §3.10.4: a FIN is queued behind the data.
    fn close_sending(&mut self, budget: &mut Budget) {
        match self.state {
            State::SynSent => self.end(budget),
            // "Queue for processing after entering ESTABLISHED state."
            State::SynReceived => self.flags.close_pending = true,
            _ => self.state = self.state.next(Transition::Close),
        }
    }

    /// The socket is gone: closes in good order, or resets when data was not read (SHLD-3) or the linger
    /// time is zero. What is answered is the reset to be sent; the state is then [`State::Closed`].
    pub(crate) fn close(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<TcpHeader> {
        if !self.recv.is_empty() || resources.settings.linger == Some(Duration::ZERO) {
            resources.counters.add(Counter::TcpAbortOnClose, (!self.recv.is_empty()).into());
            return self.abort(resources.budget);
        }
        self.flags.orphaned = true;
        self.window_backoff = 0;
        self.close_sending(resources.budget);
        if self.state == State::FinWait2 {
            let Some(wait) = self.fin_timeout(resources) else {
                resources.counters.bump(Counter::TcpAbortOnLinger);
                return self.abort(resources.budget);
            };
            self.timers.set(Timer::Close, now + wait);
        }
        None
    }

    /// How long an orphan waits for the peer's FIN: as the kernel, at least as long as it takes to send
    /// something twice. None: it doesn't wait.
    pub(super) fn fin_timeout(&self, resources: &Resources<'_>) -> Option<Duration> {
        resources.settings.fin_timeout.map(|wait| wait.max(self.rtt.rto() * 7 / 2))
    }

    /// Ends the connection at once; answers the reset to be sent, if the peer expects more
    /// (RFC 9293 §3.10.5).
    pub(crate) fn abort(&mut self, budget: &mut Budget) -> Option<TcpHeader> {
        let reset = matches!(
            self.state,
            State::SynReceived | State::Established | State::FinWait1 | State::FinWait2 | State::CloseWait
        );
        let header = reset.then(|| self.reset_header());
        self.end(budget);
        header
    }

    /// The socket's options have changed.
    pub(crate) fn apply_settings(&mut self, now: Instant, resources: &mut Resources<'_>) {
        let settings = resources.settings;
        let offered = self.window_offered();
        self.recv_window.apply(settings, offered);
        self.recv_window
            .make_room(settings.recv_low_water.min(resources.config.recv_buffer.max as u32 / 2), settings);
        if let Some(bytes) = settings.send_buffer {
            self.send_limit = bytes;
        }
        if let Some(max_rto) = settings.max_rto {
            self.rtt.set_max_rto(max_rto);
        }
        self.update_mss(settings);
        self.congestion.switch(settings.congestion, self.snd_mss, resources.config.slow_start_exit);
        self.start_keep_alive(now, settings);
    }

    /// An option was set that means more than what is read of it.
    pub(crate) fn on_option(&mut self, option: SocketOption) {
        match option {
            SocketOption::QuickAck(quick) => self.set_quick(quick),
            // What waits is pushed out now, whatever held it back.
            SocketOption::NoDelay(true) => self.flags.send_small = self.unsent() > 0,
            _ => {}
        }
    }

    /// Takes the pending error (`SO_ERROR`). As the kernel: or what ICMP said last, which ends nothing.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.error.take().or_else(|| self.soft_error.take())
    }

    /// The pending error, which stays so.
    pub(crate) fn pending_error(&self) -> Option<Error> {
        self.error
    }

    /// What its socket is ready for.
    #[inline]
    pub(crate) fn readiness(&self, settings: &TcpSettings, config: &TcpConfig) -> Readiness {
        // Most calls are about an open connection on which nothing odd is going on.
        let shut = self.flags.read_shut || self.flags.write_shut;
        if self.state != State::Established || shut || self.error.is_some() || !self.urgent.is_none() {
            return self.readiness_if_odd(settings, config);
        }
        let mut ready = Readiness::EMPTY;
        ready.insert_if(Readiness::READABLE, self.has_enough(settings));
        ready.insert_if(Readiness::WRITABLE, self.is_writable(settings, config));
        ready
    }

    /// Whether there is as much to read as `SO_RCVLOWAT` asks for.
    #[inline]
    fn has_enough(&self, settings: &TcpSettings) -> bool {
        let queued = self.recv.len();
        let most = (self.recv_window.buffer as usize / 2).max(1);
        // As the kernel: an urgent byte that is not in line is nothing to read.
        let aside = || usize::from(self.at_mark() && !settings.oob_inline);
        queued > 0 && queued >= (settings.recv_low_water as usize).clamp(1, most) + aside()
    }

    fn readiness_if_odd(&self, settings: &TcpSettings, config: &TcpConfig) -> Readiness {
        let mut ready = Readiness::EMPTY;
        if matches!(self.state, State::SynSent | State::SynReceived) {
            ready.insert_if(Readiness::READABLE | Readiness::READ_CLOSED, self.flags.read_shut);
            ready.insert_if(Readiness::WRITE_CLOSED, self.flags.read_shut && self.flags.write_shut);
            return ready;
        }
        let ended = self.state == State::Closed;
        let read_closed = self.flags.read_shut || !self.state.can_receive();
        let write_closed = self.flags.write_shut || !self.state.can_send();
        ready.insert_if(Readiness::READABLE, read_closed || self.has_enough(settings));
        ready.insert_if(Readiness::READ_CLOSED, read_closed);
        ready.insert_if(Readiness::WRITE_CLOSED, write_closed);
        let writable = write_closed || self.is_writable(settings, config);
        ready.insert_if(Readiness::WRITABLE, ended || writable);
        ready.insert_if(Readiness::ERROR, self.error.is_some());
        ready.insert_if(Readiness::PRIORITY, self.urgent.has_byte());
        ready
    }
}

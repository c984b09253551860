//! The user's calls (RFC 9293 §3.10.1–3.10.6) and how the buffers grow.

use super::congestion::Controller as _;
use super::connection::{Connection, Resources, clamp_window};
use super::state::{State, Transition};
use super::timers::Timer;
use crate::{Error, RecvFlags, Result, SendFlags, Shutdown};
use alloc::collections::VecDeque;
use core::time::Duration;
use sockeye_packet::{Budget, Chunk, Instant, Payload};
use sockeye_wire::TcpHeader;

impl Connection {
    /// Takes from the front of `chunks` what there is room for.
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
            state if state.can_send() => {}
            _ => return Err(Error::BrokenPipe),
        }
        let SendFlags { more, oob, dont_route: _ } = flags;
        let space = self.send_space().min(resources.budget.available());
        if space == 0 {
            let starved = self.send.is_empty() && self.send_space() > 0;
            return Err(if starved { Error::NoBufs } else { Error::WouldBlock });
        }
        let taken = self.send.push(chunks, self.send.len() + space);
        self.settle_charge(resources.budget);
        self.flags.more = more;
        if oob && taken > 0 {
            // MUST-62, RFC 6093: the pointer is the octet behind the urgent one.
            self.snd_up = Some(self.send_end());
        }
        if self.sent.is_empty() && taken > 0 {
            self.stalled_since = now;
        }
        Ok(taken)
    }

    /// Up to `max` bytes that came in; empty at the end of the stream.
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
        if matches!(self.state, State::SynSent | State::SynReceived) {
            return Err(Error::WouldBlock);
        }
        let payload = self.take_in_order(max, peek, resources);
        if !payload.is_empty() || max == 0 {
            if !peek {
                self.on_read(now, payload.len(), resources);
            }
            return Ok(payload);
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.state == State::Closed && !self.flags.was_open {
            return Err(Error::NotConnected);
        }
        if self.flags.read_shut || !self.state.can_receive() {
            return Ok(Payload::EMPTY);
        }
        Err(Error::WouldBlock)
    }

    /// In-order bytes up to the urgent mark, which a read doesn't cross (RFC 6093 §2, MUST-33). An urgent
    /// byte that is not in line is left out.
    fn take_in_order(&mut self, max: usize, peek: bool, resources: &Resources<'_>) -> Payload {
        let inline = resources.settings.oob_inline;
        let mut max = max;
        let mut skip = 0;
        if let Some(urgent) = self.urgent {
            let distance = urgent.mark - self.read_seq();
            if distance > 0 {
                max = max.min(distance as usize);
            } else if !inline && distance == 0 && !self.recv.is_empty() && max > 0 {
                skip = 1;
            }
        }
        if peek {
            let payload = self.recv.peek(max.saturating_add(skip));
            let skip = skip.min(payload.len());
            return payload.slice(skip, payload.len());
        }
        self.recv.read(skip);
        let payload = self.recv.read(max);
        let read_seq = self.read_seq();
        self.urgent = self.urgent.filter(|urgent| !urgent.mark.before(read_seq));
        payload
    }

    /// The urgent byte, out of band.
    fn recv_urgent(&mut self, peek: bool, resources: &Resources<'_>) -> Result<Payload> {
        let Some(urgent) = self.urgent.as_mut().filter(|urgent| !urgent.taken) else {
            return Err(Error::InvalidArgument);
        };
        if resources.settings.oob_inline {
            return Err(Error::InvalidArgument);
        }
        let Some(byte) = urgent.byte else { return Err(Error::WouldBlock) };
        if !peek {
            urgent.byte = None;
            urgent.taken = true;
        }
        Ok(Payload::from(Chunk::copy_from(&[byte])))
    }

    /// Bytes were read: the window may open, and grow when the reader keeps up with the path.
    fn on_read(&mut self, now: Instant, bytes: usize, resources: &mut Resources<'_>) {
        self.settle_charge(resources.budget);
        self.grow_recv_buffer(now, bytes, resources);
        if !self.state.can_receive() {
            return;
        }
        // A window update is worth a packet when it lets the peer send two segments and it may be waiting
        // for that, or a good part of the buffer has become free.
        let limit = self.recv_limit;
        let wnd = self.rcv_wnd();
        let gain = limit.saturating_sub(self.recv.len() as u32).saturating_sub(wnd);
        let worth = gain >= 2 * u32::from(self.rcv_mss)
            && (gain >= limit / 4 || wnd <= limit / 8 || limit <= 8 * u32::from(self.rcv_mss));
        self.acks.now |= worth || (gain >= limit / 2 && gain > 0);
    }

    /// Doubles the receive buffer when within one round trip more than half of it was read: then the
    /// window may be what limits the peer.
    fn grow_recv_buffer(&mut self, now: Instant, bytes: usize, resources: &Resources<'_>) {
        self.read_bytes = self.read_bytes.saturating_add(bytes as u32);
        let elapsed = now.saturating_since(self.read_since);
        if elapsed < self.rtt.srtt().unwrap_or(Duration::from_millis(1)) {
            return;
        }
        let keeps_up = self.read_bytes > self.recv_limit / 2;
        self.read_bytes = 0;
        self.read_since = now;
        if keeps_up && resources.settings.recv_buffer.is_none() && !resources.budget.is_under_pressure() {
            let largest = resources.config.recv_buffer.max.min(1 << 30) as u32;
            let grown = self.recv_limit.saturating_mul(2).min(largest).max(self.recv_limit);
            self.recv_limit = clamp_window(grown, resources.settings);
        }
    }

    /// Two congestion windows: one in flight and one to follow it.
    pub(super) fn grow_send_buffer(&mut self, resources: &Resources<'_>) {
        if resources.settings.send_buffer.is_some() || resources.budget.is_under_pressure() {
            return;
        }
        let target = self.congestion.cwnd().saturating_mul(2).min(resources.config.send_buffer.max);
        self.send_limit = self.send_limit.max(target.min(1 << 30) as u32);
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
            return self.abort(resources.budget);
        }
        self.flags.orphaned = true;
        self.window_backoff = 0;
        self.close_sending(resources.budget);
        if self.state == State::FinWait2 {
            match resources.settings.fin_timeout {
                Some(wait) => self.timers.set(Timer::Close, now + wait),
                None => return self.abort(resources.budget),
            }
        }
        None
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
        if let Some(bytes) = settings.recv_buffer {
            self.recv_limit = clamp_window(bytes, settings);
        }
        if let Some(bytes) = settings.send_buffer {
            self.send_limit = bytes;
        }
        self.acks.set_quick(settings.quick_ack);
        self.update_mss(settings);
        self.start_keep_alive(now, settings);
    }

    /// Takes the pending error (`SO_ERROR`).
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }
}

//! Passive open: listeners, their queues, and what segments without a connection are answered with
//! (RFC 9293 §3.10.7.1, §3.10.7.2; listen(2), tcp(7) and the kernel's limits).
//!
//! A SYN makes a half-open record, or a SYN cookie when the listener has too many. The ACK that completes
//! it makes a connection with a socket, which waits in the accept queue. When that queue is full the ACK
//! is dropped and the SYN-ACK repeated, so the peer tries again.

use crate::Error;
use crate::Stack;
use crate::SynCookies;
use crate::config::TcpConfig;
use crate::counters::Counter;
use crate::demux::{Proto, Target, Tuple, scope_number};
use crate::event::Readiness;
use crate::io::Io;
use crate::ip::address::Cast;
use crate::ip::icmp::Unreachable;
use crate::ip::input::{Ingress, ecn_counter};
use crate::ip::train::couple;
use crate::slab::Key;
use crate::socket::options::TcpSettings;
use crate::socket::stage::Stage;
use crate::socket::tcb::Sizes;
use crate::socket::{Kind, Shutdown, Socket, SocketId, scoped, tuple_scope};
use crate::tcp::half_open::{HalfOpen, Opener, Syn};
use crate::tcp::isn::ts_clock;
use crate::tcp::recv_window::InitialWindow;
use crate::tcp::segment::seq_len;
use crate::tcp::validate::AnswerLimit;
use crate::tcp::{DUP_THRESH, Segment, SeqNumber, TcpInfo, cookie, reset_for};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;
use sockeye_packet::{Batch, Instant, Packet};
use sockeye_wire::TcpTimestamps;

/// What a listening socket has beside what every socket has.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) settings: Arc<TcpSettings>,
    pub(crate) backlog: usize,
    /// Sockets whose handshake is complete, oldest first.
    pub(crate) queue: VecDeque<SocketId>,
    /// Half-open records of this listener, and how many of them wait for their first SYN-ACK still.
    pub(crate) half_open: usize,
    pub(crate) young: usize,
    /// Until when an ACK may be the answer to a SYN cookie.
    pub(crate) cookies_until: Instant,
}

impl Listener {
    pub(crate) fn new(settings: Arc<TcpSettings>, backlog: usize) -> Listener {
        let cookies_until = Instant::ZERO;
        Listener { settings, backlog, queue: VecDeque::new(), half_open: 0, young: 0, cookies_until }
    }

    pub(crate) fn readiness(&self) -> Readiness {
        if self.queue.is_empty() { Readiness::EMPTY } else { Readiness::ACCEPT }
    }

    /// `TCP_INFO` of a listener, as the kernel has it.
    pub(crate) fn info(&self, config: &TcpConfig) -> TcpInfo {
        TcpInfo {
            listening: true,
            unacked: self.queue.len() as u32,
            sacked: u32::try_from(self.backlog).unwrap_or(u32::MAX),
            snd_mss: 1,
            snd_cwnd: config.initial_window as usize,
            snd_ssthresh: usize::MAX,
            reordering: DUP_THRESH,
            pacing_rate: u64::MAX,
            max_pacing_rate: u64::MAX,
            ..TcpInfo::default()
        }
    }

    /// As the kernel: a backlog of N lets N + 1 wait.
    fn is_full(&self) -> bool {
        self.queue.len() > self.backlog
    }

    /// How often a SYN-ACK is sent again. As the kernel: when the listener is half full, those that were
    /// repeated already give way, the sooner the more they are, so that half the room is for the young.
    fn synack_retries(&self, config: &TcpConfig) -> u8 {
        let mut retries = self.settings.syn_retries.unwrap_or(config.synack_retries);
        if 2 * self.half_open > self.backlog.max(8) {
            let mut young = 2 * self.young;
            while retries > 2 && self.half_open >= young {
                retries -= 1;
                young *= 2;
            }
        }
        retries
    }

    /// `TCP_DEFER_ACCEPT` in timeouts of the SYN-ACK.
    fn deferred(&self, config: &TcpConfig) -> u8 {
        let (mut count, mut timeout, mut period) = (0, config.initial_rto, Duration::ZERO);
        while period < self.settings.defer_accept && count < u8::MAX {
            period += timeout;
            timeout = (timeout * 2).min(config.max_rto);
            count += 1;
        }
        count
    }

    /// Whether a half-open connection is given up, and if not, whether its SYN-ACK is sent again, when its
    /// timer has expired.
    fn on_syn_ack_timeout(&self, record: &HalfOpen, config: &TcpConfig) -> (bool, bool) {
        let (retries, deferred) = (self.synack_retries(config), self.deferred(config));
        let over = record.retries >= retries;
        if deferred == 0 {
            return (over, true);
        }
        // Who has acknowledged only needs to say something. Shortly before the time is over it is reminded.
        let expired = over && (!record.acked || record.retries >= deferred);
        (expired, !record.acked || record.retries.saturating_add(1) >= deferred)
    }
}

impl Io {
    /// The listener for a segment that belongs to no connection.
    pub(crate) fn listener(&self, ingress: &Ingress, tuple: &Tuple) -> Option<SocketId> {
        if ingress.cast != Cast::Unicast {
            return None; // Who listens at all addresses listens at all of this host's.
        }
        let scope = scope_number(Some(ingress.nic));
        let flow = || self.demux.flow_hash(tuple);
        self.demux.member(Proto::Tcp, &tuple.local, tuple.local_port, scope, flow)
    }

    /// Whether a SYN for the four-tuple would open a connection: somebody listens, or flows are held.
    pub(crate) fn opens_passively(&self, ingress: &Ingress, tuple: &Tuple) -> bool {
        let held = ingress.cast == Cast::Other && self.flows.config().is_some();
        held || self.listener(ingress, tuple).is_some()
    }
}

impl Stack {
    /// Takes in a TCP segment whose checksum is right.
    pub(crate) fn tcp_input(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        packet: &mut Packet,
        batch: &mut Batch,
    ) {
        self.io.counters.bump(Counter::TcpInSegs);
        let mut segment = Segment::default();
        if segment.header.read(&packet.head[ingress.transport..]).is_err() {
            self.io.counters.bump(Counter::TcpInErrs);
            return;
        }
        if !matches!(ingress.cast, Cast::Unicast | Cast::Other) {
            return; // MUST-57
        }
        let tuple = Tuple {
            local: ingress.dst,
            remote: ingress.src,
            local_port: segment.header.dst_port,
            remote_port: segment.header.src_port,
            scope: tuple_scope(&ingress.dst, &ingress.src, ingress.nic),
            proto: Proto::Tcp,
        };
        let Packet { head, payload, meta } = packet;
        segment.payload = core::mem::take(payload);
        (segment.ecn, segment.gso_size) = (ingress.tos_ecn & 3, meta.gso_size);
        match self.target_again(&tuple) {
            Some(Target::Connection(key)) => {
                let tcb = self.connections.get(key);
                // RFC 5082: who isn't as near as they must be is not heard.
                if tcb.is_some_and(|tcb| ingress.ttl < tcb.min_ttl) {
                    return;
                }
                let connection = tcb.map(|tcb| &tcb.connection);
                if connection.is_some_and(|connection| connection.is_in_sequence(segment.seq())) {
                    let sum_words = self.io.config.sum_words;
                    let coupled = couple(&mut segment, head, ingress.transport, sum_words, batch.iter_mut());
                    batch.drop_front(coupled);
                    let coupled = coupled as u64;
                    self.io.counters.add(Counter::IpInReceives, coupled);
                    self.io.counters.add(ecn_counter(ingress.tos_ecn), coupled);
                    self.io.counters.add(Counter::IpInDelivers, coupled);
                    self.io.counters.add(Counter::TcpInSegs, coupled);
                }
                self.connection_segment(now, ingress, key, &tuple, &mut segment);
            }
            Some(Target::HalfOpen(key)) => self.half_open_segment(now, ingress, key, segment),
            Some(Target::TimeWait(key)) => self.time_wait_segment(now, ingress, key, segment),
            Some(Target::Flow(key)) => self.flow_segment(now, ingress, key, &segment),
            _ => self.listener_segment(now, ingress, tuple, segment, None),
        }
    }

    /// A segment for no connection: a listener's, or answered with a reset. A new connection's sequence
    /// numbers start beyond `floor`.
    pub(crate) fn listener_segment(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        tuple: Tuple,
        segment: Segment,
        floor: Option<SeqNumber>,
    ) {
        if ingress.cast == Cast::Other {
            return self.foreign_segment(now, ingress, tuple, &segment, floor);
        }
        let listener = self.io.listener(ingress, &tuple);
        let socket = listener.and_then(|id| self.sockets.get(id.0));
        if socket.is_some_and(|socket| ingress.ttl < socket.settings.of(ingress.v4).min_ttl) {
            return; // RFC 5082
        }
        let flags = segment.header.flags;
        match listener {
            // RFC 9293 §3.10.7.2: first RST, then ACK, then SYN.
            Some(_) if flags.rst() => {}
            Some(id) if flags.ack() && !flags.syn() => self.cookie_segment(now, ingress, id, tuple, segment),
            // As the kernel: no connection begins with its end.
            Some(_) if flags.syn() && flags.fin() && !flags.ack() => {}
            Some(id) if flags.syn() && !flags.ack() => {
                self.syn(now, ingress, id, &Syn { tuple, header: &segment.header, floor, ecn: segment.ecn });
            }
            Some(_) if !flags.ack() => {}
            _ => {
                if listener.is_none() {
                    self.io.counters.bump(Counter::NoSocket);
                }
                self.refuse(ingress, &tuple, &segment);
            }
        }
    }

    /// RFC 9293 §3.10.7.1: what nobody expects is reset.
    pub(crate) fn refuse(&mut self, ingress: &Ingress, tuple: &Tuple, segment: &Segment) {
        if let Some(reset) = reset_for(&segment.header, segment.payload.len()) {
            self.io.send_control(ingress.nic, tuple, reset, 0);
        }
    }

    /// A SYN for a listener.
    fn syn(&mut self, now: Instant, ingress: &Ingress, id: SocketId, syn: &Syn<'_>) {
        let Stack { sockets, io, .. } = self;
        let Some(socket) = sockets.get_mut(id.0) else { return };
        let tos = socket.settings.of(ingress.v4).tos;
        let Kind::Listener(listener) = &mut socket.kind else { return };
        let Ok(path) = io.path(&syn.tuple.remote, Some(syn.tuple.local), socket.settings.nic) else { return };
        if listener.is_full() {
            io.counters.bump(Counter::ListenOverflows);
            io.counters.bump(Counter::ListenDrops);
            return;
        }
        let config = &io.config.tcp;
        let out_of_room = listener.half_open > listener.backlog.min(config.max_half_open);
        let cookies = config.syn_cookies;
        let sizes = Sizes::new(ingress.v4, &path, &io.nic(path.nic).config, &listener.settings);
        let Syn { tuple, header, .. } = *syn;
        let mut record = io.half_open_of(now, syn, &path, &listener.settings, Opener::Listener(id), tos);
        if !out_of_room && cookies != SynCookies::Always {
            // Each takes one off when it ends.
            io.add_half_open(now, record);
            listener.half_open += 1;
            listener.young += 1;
        } else if cookies == SynCookies::Never {
            io.counters.bump(Counter::TcpReqQFullDrop);
            io.counters.bump(Counter::ListenDrops);
        } else {
            let mss = header.options.mss.unwrap_or(sizes.default).min(sizes.path);
            record.iss = cookie::make(io.secrets.cookies, now, &tuple, record.irs, mss);
            if record.ts_recent.is_none() {
                (record.peer_window_scale, record.sack, record.ecn) = (None, false, false);
            }
            let mut syn_ack = record.syn_ack(now);
            if let Some(stamps) = &mut syn_ack.options.timestamps {
                let hidden = cookie::Options {
                    window_scale: record.peer_window_scale,
                    sack: record.sack,
                    ecn: record.ecn,
                };
                stamps.value = hidden.hide(ts_clock(now, 0)).wrapping_add(record.ts_offset);
            }
            listener.cookies_until = now + cookie::LIFETIME;
            io.counters.bump(Counter::SyncookiesSent);
            io.counters.bump(Counter::TcpReqQFullDoCookies);
            io.send_control(path.nic, &tuple, syn_ack, tos);
        }
    }

    /// An ACK for a listener: the answer to a SYN cookie, or nobody's.
    fn cookie_segment(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        id: SocketId,
        tuple: Tuple,
        segment: Segment,
    ) {
        let Stack { sockets, io, .. } = self;
        let Some(socket) = sockets.get_mut(id.0) else { return };
        let tos = socket.settings.of(ingress.v4).tos;
        let Kind::Listener(listener) = &mut socket.kind else { return };
        let (irs, iss) = (segment.seq() - 1, SeqNumber(segment.header.ack) - 1);
        let config = &io.config.tcp;
        let expected = now < listener.cookies_until && config.syn_cookies != SynCookies::Never;
        if expected && listener.is_full() {
            // Also what doesn't match: of a connection whose first ACK was dropped here, a later segment.
            io.counters.bump(Counter::ListenOverflows);
            io.counters.bump(Counter::ListenDrops);
            return;
        }
        let mss = expected.then(|| cookie::check(io.secrets.cookies, now, &tuple, irs, iss)).flatten();
        let Some(mss) = mss else {
            io.counters.add(Counter::SyncookiesFailed, expected.into());
            return self.refuse(ingress, &tuple, &segment);
        };
        io.counters.bump(Counter::SyncookiesRecv);
        let Ok(path) = io.path(&tuple.remote, Some(tuple.local), socket.settings.nic) else { return };
        let ts_offset = io.secrets.ts_offset(&tuple);
        let stamps = segment.header.options.timestamps.filter(|_| config.timestamps);
        let hidden = stamps.map(|stamps| cookie::Options::found(stamps.echo.wrapping_sub(ts_offset)));
        let hidden = hidden.unwrap_or_default();
        let sizes = Sizes::new(ingress.v4, &path, &io.nic(path.nic).config, &listener.settings);
        let stamps_len = if stamps.is_some() { 12 } else { 0 };
        let initial = InitialWindow::new(config, &listener.settings, sizes.local.saturating_sub(stamps_len));
        let record = HalfOpen {
            tuple,
            opener: Opener::Listener(id),
            nic: path.nic,
            irs,
            iss,
            peer_mss: Some(mss),
            peer_window_scale: hidden.window_scale.filter(|_| config.window_scaling),
            our_window_scale: initial.shift,
            our_window: initial.window,
            local_mss: 0,
            ecn: hidden.ecn && config.ecn != crate::Ecn::Off,
            sack: hidden.sack && config.sack,
            ts_recent: stamps.map(|stamps| stamps.value),
            ts_offset,
            tos,
            sent_at: now,
            retries: 0,
            // The round trip was not timed.
            resent: true,
            acked: true,
            answer_limit: AnswerLimit::default(),
            max_rto: None,
            timer: None,
        };
        self.complete(now, ingress, id, &record, segment);
    }

    /// A segment for a half-open connection: SYN-RECEIVED of RFC 9293 §3.10.7.4, in the kernel's order.
    fn half_open_segment(&mut self, now: Instant, ingress: &Ingress, key: Key, segment: Segment) {
        let io = &mut self.io;
        let Some(record) = io.half_open.get_mut(key) else { return };
        let (header, rcv_nxt) = (&segment.header, record.irs + 1);
        let (flags, seq) = (header.flags, segment.seq());
        let stamps = header.options.timestamps.filter(|_| record.ts_recent.is_some());
        let older = |stamps: &TcpTimestamps| {
            record.ts_recent.is_some_and(|recent| (stamps.value.wrapping_sub(recent) as i32) < 0)
        };
        let old = stamps.as_ref().is_some_and(older);
        let interval = io.config.tcp.invalid_ratelimit;
        if flags.syn() && !flags.ack() && !flags.rst() && seq == record.irs && !old {
            // The SYN again: our SYN-ACK was lost.
            if record.answer_limit.take(now, interval) {
                io.repeat_syn_ack(now, key);
            }
            return;
        }
        if flags.ack() && SeqNumber(header.ack) != record.iss + 1 {
            let tuple = record.tuple;
            return self.refuse(ingress, &tuple, &segment);
        }
        let len = seq_len(header, segment.payload.len());
        let window = record.our_window;
        let in_window = seq == rcv_nxt
            || ((seq + len).after(rcv_nxt) && seq.before(rcv_nxt + window))
            || (seq == rcv_nxt + window && len == 0);
        let foreign = flags.ack() && stamps.is_some_and(|stamps| !record.may_echo(now, stamps));
        if flags.rst() {
            // RFC 5961 §3.2: only the exact number is believed.
            if seq == rcv_nxt && !old {
                io.counters.bump(Counter::EmbryonicRsts);
                io.counters.bump(Counter::TcpAttemptFails);
                self.forget_half_open(key);
            }
            return;
        }
        if old || foreign || !in_window || flags.syn() {
            let limited = len == 0 || flags.syn();
            if !limited || record.answer_limit.take(now, interval) {
                let copy = *record;
                io.send_control(copy.nic, &copy.tuple, copy.challenge(now), copy.tos);
            }
            return;
        }
        if !flags.ack() {
            return;
        }
        if let Some(stamps) = stamps.filter(|_| !seq.after(rcv_nxt)) {
            record.ts_recent = Some(stamps.value);
        }
        self.half_open_acked(now, ingress, key, len, segment);
    }

    /// The SYN-ACK is acknowledged.
    fn half_open_acked(&mut self, now: Instant, ingress: &Ingress, key: Key, len: u32, segment: Segment) {
        let Stack { sockets, io, .. } = self;
        let Some(record) = io.half_open.get_mut(key) else { return };
        let copy = *record;
        let parent = match copy.opener {
            Opener::Flow(flow) => {
                io.take_half_open(key);
                return self.complete_flow(now, ingress, flow, &copy, segment);
            }
            Opener::Listener(id) => id,
        };
        let Some(Kind::Listener(listener)) = sockets.get(parent.0).map(|socket| &socket.kind) else {
            self.forget_half_open(key);
            return self.refuse(ingress, &copy.tuple, &segment);
        };
        // TCP_DEFER_ACCEPT: the listener wants to hear more than an acknowledgment.
        let bare = segment.seq() + len == copy.irs + 1;
        if bare && copy.retries < listener.deferred(&io.config.tcp) {
            record.acked = true;
            io.counters.bump(Counter::TcpDeferAcceptDrop);
            return;
        }
        if listener.is_full() {
            // The SYN-ACK's timer goes on, so the peer says it again.
            record.acked = true;
            io.counters.bump(Counter::ListenOverflows);
            io.counters.bump(Counter::ListenDrops);
            return;
        }
        self.forget_half_open(key);
        self.complete(now, ingress, parent, &copy, segment);
    }

    /// Makes a connection of a handshake and puts it in its listener's queue.
    fn complete(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        parent: SocketId,
        record: &HalfOpen,
        mut segment: Segment,
    ) {
        if self.sockets.len() >= self.io.config.max_sockets {
            self.io.counters.bump(Counter::SocketsFull);
            return;
        }
        let HalfOpen { tuple, nic, .. } = *record;
        let Some(listening) = self.sockets.get(parent.0) else { return };
        let Kind::Listener(listener) = &listening.kind else { return };
        let mut settings = listener.settings.clone();
        // As the kernel: options of IP are not inherited.
        if settings.ip_options.is_some() {
            Arc::make_mut(&mut settings).ip_options = None;
        }
        let mut socket = Socket::new(listening.domain, listening.owner, Kind::Idle(settings.clone()));
        socket.settings = listening.settings;
        socket.stage = Stage::CONNECTED;
        socket.named_ip = listening.named_ip;
        socket.local = scoped(tuple.local, tuple.local_port, nic);
        socket.peer = Some(scoped(tuple.remote, tuple.remote_port, nic));
        socket.parent = Some(parent);
        let bound = (
            listening.binding_at(socket.local),
            crate::demux::Hold { listening: false, ..listening.hold(true) },
        );
        let Stage { read_shut, write_shut, .. } = listening.stage;
        let id = SocketId(self.sockets.insert(socket));
        let Some(key) = self.open_passive(now, id, record, settings, Some(bound)) else {
            self.sockets.remove(id.0);
            return;
        };
        if let Some(socket) = self.sockets.get_mut(id.0) {
            socket.kind = Kind::Connection(key);
        }
        if let Some(Kind::Listener(listener)) = self.sockets.get_mut(parent.0).map(|socket| &mut socket.kind)
        {
            listener.queue.push_back(id);
        }
        if let Some(tcb) = self.connections.get_mut(key) {
            tcb.connection.begin_shut(read_shut, write_shut);
        }
        self.connection_segment(now, ingress, key, &tuple, &mut segment);
        if write_shut {
            // As the kernel: a listener that was shut down before it listened accepts connections that are so.
            self.shutdown_connection(key, Shutdown::Write);
        }
        self.touch(parent, Readiness::ACCEPT);
    }

    /// An ICMP error that quotes a SYN-ACK. As the kernel: what says that the peer can't be reached ends the
    /// half-open connection, silently, for nobody waits for this one.
    pub(crate) fn half_open_unreachable(&mut self, key: Key, seq: u32, told: Unreachable) {
        let Some(record) = self.io.half_open.get(key) else { return };
        let ends = match told.error {
            Error::HostUnreachable | Error::NetworkUnreachable => !told.hard,
            error => error == Error::Protocol,
        };
        // RFC 5927 §4.1: who doesn't know our sequence number is not believed.
        if record.iss.0 == seq && ends {
            self.forget_half_open(key);
        }
    }

    /// Gives a half-open connection up.
    pub(crate) fn forget_half_open(&mut self, key: Key) {
        let Some(record) = self.io.take_half_open(key) else { return };
        let parent = match record.opener {
            Opener::Flow(flow) => return self.io.lose_flow(flow),
            Opener::Listener(id) => id,
        };
        if let Some(Kind::Listener(listener)) = self.sockets.get_mut(parent.0).map(|s| &mut s.kind) {
            listener.half_open = listener.half_open.saturating_sub(1);
            listener.young = listener.young.saturating_sub(usize::from(record.retries == 0));
        }
    }

    /// A SYN-ACK was not acknowledged in time.
    pub(crate) fn half_open_timeout(&mut self, now: Instant, key: Key) {
        let Stack { sockets, io, .. } = self;
        let Some(record) = io.half_open.get_mut(key) else { return };
        record.timer = None;
        let config = &io.config.tcp;
        let (expired, again) = match record.opener {
            Opener::Flow(_) => (record.retries >= config.synack_retries, true),
            Opener::Listener(id) => match sockets.get_mut(id.0).map(|socket| &mut socket.kind) {
                Some(Kind::Listener(listener)) => {
                    let decided = listener.on_syn_ack_timeout(record, config);
                    if !decided.0 && record.retries == 0 {
                        listener.young = listener.young.saturating_sub(1);
                    }
                    decided
                }
                _ => (true, false),
            },
        };
        if expired {
            io.counters.bump(Counter::TcpAttemptFails);
            return self.forget_half_open(key);
        }
        io.counters.bump(Counter::TcpTimeouts);
        record.retries = record.retries.saturating_add(1);
        if again {
            io.repeat_syn_ack(now, key);
        } else {
            io.set_syn_ack_timer(now, key);
        }
    }
}

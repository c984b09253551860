//! How much the peer may send: the receive buffer, the window that it allows for, and how both grow.
//!
//! As the kernel: `SO_RCVBUF` counts memory, the window counts bytes, and `ratio` of the former is the
//! latter, half at first and then as the segments show that arrive. `ssthresh` holds the window back while
//! small segments arrive; the buffer itself follows what the program reads in one round trip, which is
//! measured here at the receiver's side (dynamic right-sizing). All that a peer can see is chosen as there.

use super::connection::{Connection, Resources};
use super::seq::SeqNumber;
use crate::config::TcpConfig;
use crate::socket::options::TcpSettings;
use sockeye_packet::{Budget, Instant};
use sockeye_wire::TcpHeader;

/// RFC 7323 §2.3: the largest shift.
const MAX_WINDOW_SHIFT: u32 = 14;
/// The part of a buffer that is window before any segment was seen, of 256.
const HALF: u8 = 128;
/// No buffer is smaller (the kernel's `SOCK_MIN_RCVBUF`).
const LEAST_BUFFER: u32 = 2304;
/// Segments that the first window is thought to be filled with.
const INITIAL_SEGMENTS: u32 = 10;

/// What the memory of a segment counts in the kernel: its two descriptions and its bytes, in one piece, or
/// beyond that in pages.
fn true_size(payload: usize) -> u32 {
    const DESCRIPTIONS: u32 = 576;
    const LINEAR: u32 = 3600;
    const PAGE: u32 = 4096;
    let payload = payload as u32;
    if payload <= LINEAR {
        (payload + 128).next_multiple_of(64) + DESCRIPTIONS
    } else {
        PAGE + 256 + (payload - LINEAR).next_multiple_of(PAGE)
    }
}

/// The window of a new connection, the limit of every later one, and the shift that can announce it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InitialWindow {
    pub(crate) window: u32,
    pub(crate) clamp: u32,
    pub(crate) shift: u8,
}

impl InitialWindow {
    /// For segments of `mss` bytes.
    pub(crate) fn new(config: &TcpConfig, settings: &TcpSettings, mss: u16) -> InitialWindow {
        let full = share(buffer_size(config, settings), HALF);
        let largest = u32::from(u16::MAX) << MAX_WINDOW_SHIFT;
        let mut clamp = if settings.window_clamp == 0 { largest } else { settings.window_clamp };
        if settings.recv_buffer.is_some() {
            clamp = clamp.min(full);
        }
        let mss = u32::from(mss).max(1);
        let space = full.min(clamp);
        let window = if space > mss { space / mss * mss } else { space };
        let most = u32::try_from(config.recv_buffer.max).unwrap_or(u32::MAX).max(full).min(clamp);
        let shift = most.max(1).ilog2().saturating_sub(15).min(MAX_WINDOW_SHIFT) as u8;
        InitialWindow { window, clamp, shift }
    }
}

/// The memory that the receive buffer of a new connection may take.
fn buffer_size(config: &TcpConfig, settings: &TcpSettings) -> u32 {
    let default = u32::try_from(config.recv_buffer.default).unwrap_or(u32::MAX);
    settings.recv_buffer.unwrap_or(default).clamp(LEAST_BUFFER, 1 << 30)
}

fn share(memory: u32, ratio: u8) -> u32 {
    ((u64::from(memory) * u64::from(ratio)) >> 8) as u32
}

/// The receive buffer's size and window.
#[derive(Clone, Debug)]
pub(super) struct RecvWindow {
    /// The memory that the buffer may take (`SO_RCVBUF`).
    pub(super) buffer: u32,
    /// No window is larger (`TCP_WINDOW_CLAMP`).
    clamp: u32,
    /// What is offered at most for now.
    pub(super) ssthresh: u32,
    /// What the program read in the last round trip that was a record.
    pub(super) space: u32,
    /// Where the reader was at `space_since`.
    space_seq: SeqNumber,
    space_since: Instant,
    /// The round-trip time in eighths of microseconds; 0: not measured.
    rtt: u32,
    /// Without timestamps: a window's worth arrives from `rtt_since` until this is received.
    rtt_seq: SeqNumber,
    rtt_since: Instant,
    /// The last timestamp that the peer echoed.
    last_echo: u32,
    /// The part of the buffer's memory that is window, of 256.
    ratio: u8,
}

impl RecvWindow {
    pub(super) fn new(now: Instant, config: &TcpConfig, settings: &TcpSettings, mss: u16) -> RecvWindow {
        let initial = InitialWindow::new(config, settings, mss);
        RecvWindow {
            buffer: buffer_size(config, settings),
            clamp: initial.clamp,
            ssthresh: initial.window,
            space: 0,
            space_seq: SeqNumber(0),
            space_since: now,
            rtt: 0,
            rtt_seq: SeqNumber(0),
            rtt_since: Instant::FAR_FUTURE,
            last_echo: 0,
            ratio: HALF,
        }
    }

    /// The limit of the window.
    pub(super) fn clamp(&self) -> u32 {
        self.clamp
    }

    /// The window that an empty buffer allows for.
    #[inline]
    fn full(&self) -> u32 {
        share(self.buffer, self.ratio)
    }

    /// The memory that a window takes.
    fn memory_for(&self, window: u64) -> u64 {
        (window << 8) / u64::from(self.ratio)
    }

    /// The receiver's round-trip time in microseconds; 0: not measured.
    pub(super) fn rtt_micros(&self) -> u32 {
        self.rtt >> 3
    }

    /// A new limit of the window.
    fn set_clamp(&mut self, clamp: u32, offered: u32) {
        if clamp < self.clamp {
            self.ssthresh = self.ssthresh.min(clamp);
        } else {
            self.ssthresh = self.ssthresh.max(offered.min(clamp));
        }
        self.clamp = clamp;
    }

    /// The handshake is complete; `offered` is the window that was announced in it.
    pub(super) fn establish(&mut self, now: Instant, seq: SeqNumber, mss: u16, scaled: bool, offered: u32) {
        let mss = u32::from(mss);
        if !scaled {
            self.clamp = self.clamp.min(u16::MAX.into());
        }
        let full = self.full();
        if self.clamp >= full {
            self.clamp = full;
        }
        // One segment is kept in reserve.
        if self.clamp > 2 * mss && self.clamp + mss > full {
            self.clamp = (2 * mss).max(full.saturating_sub(mss));
        }
        self.ssthresh = self.ssthresh.min(self.clamp);
        self.space = self.ssthresh.min(offered).min(INITIAL_SEGMENTS * mss);
        self.space_seq = seq;
        self.space_since = now;
    }

    /// One more measurement of the round-trip time. What a window's worth took is a bound only.
    fn measure(&mut self, micros: u32, bound: bool) {
        let sample = micros.clamp(1, u32::MAX >> 3);
        self.rtt = match self.rtt {
            0 => sample << 3,
            old if bound => old.min(sample << 3),
            old => old - (old >> 3) + sample,
        };
    }

    /// A segment of `payload` bytes shows how much of its memory is data.
    pub(super) fn learn_ratio(&mut self, payload: usize, offered: u32) {
        let ratio = ((payload as u64) << 8) / u64::from(true_size(payload));
        let ratio = ratio.clamp(1, 255) as u8;
        if ratio != self.ratio {
            self.ratio = ratio;
            self.set_clamp(self.full(), offered);
            self.space = self.space.min(self.clamp);
        }
    }

    /// Data arrived, `queued` bytes of it wait already: the window opens as long as the buffer has room for
    /// segments like it. Whether it did.
    pub(super) fn grow(&mut self, payload: usize, queued: u32, mss: u16, rcv_mss: u16, largest: u32) -> bool {
        let room = self.clamp.min(self.full().saturating_sub(queued)).saturating_sub(self.ssthresh);
        if room == 0 {
            return false;
        }
        let true_size = true_size(payload);
        let mss = u32::from(mss);
        let step = if share(true_size, self.ratio) <= payload as u32 {
            2 * mss
        } else {
            self.step_for_small(true_size, payload as u32, 2 * u32::from(rcv_mss), largest)
        };
        if step == 0 {
            return false;
        }
        self.ssthresh += room.min(step.max(2 * payload as u32));
        true
    }

    /// Segments that are mostly overhead open the window only while that would fit into the largest buffer.
    fn step_for_small(&self, true_size: u32, payload: u32, step: u32, largest: u32) -> u32 {
        let (mut true_size, mut window) =
            (share(true_size, self.ratio) >> 1, share(largest, self.ratio) >> 1);
        while self.ssthresh <= window {
            if true_size <= payload {
                return step;
            }
            true_size >>= 1;
            window >>= 1;
        }
        0
    }

    /// `TCP_WINDOW_CLAMP` and `SO_RCVBUF` have changed.
    pub(super) fn apply(&mut self, settings: &TcpSettings, offered: u32) {
        if let Some(buffer) = settings.recv_buffer {
            self.buffer = buffer.clamp(LEAST_BUFFER, 1 << 30);
        }
        if settings.window_clamp != 0 && settings.window_clamp != self.clamp {
            self.set_clamp(settings.window_clamp, offered);
        }
    }

    /// `SO_RCVLOWAT`: so many bytes are to fit.
    pub(super) fn make_room(&mut self, bytes: u32, settings: &TcpSettings) {
        let memory = self.memory_for(bytes.into()).min(1 << 30) as u32;
        if settings.recv_buffer.is_none() && memory > self.buffer {
            self.buffer = memory;
            self.clamp = self.clamp.max(bytes);
        }
    }
}

impl Connection {
    /// Bytes that wait to be read, or behind a hole.
    pub(super) fn recv_queued_all(&self) -> u32 {
        (self.recv.len() + self.recv.out_of_order_len()) as u32
    }

    /// The window as it was last announced.
    #[inline]
    pub(super) fn window_offered(&self) -> u32 {
        (self.rcv_adv - self.acks.last_sent).max(0) as u32
    }

    /// The window that the buffer allows for now: in whole segments, or in units of the shift, and nothing
    /// rather than less than a segment (receiver's silly window avoidance, MUST-39).
    #[inline]
    pub(super) fn select_window(&mut self) -> u32 {
        let all = self.recv_window.full();
        let full = self.recv_window.clamp.min(all);
        let mut free = all.saturating_sub(self.recv_queued_all());
        // Where the window is bound below a segment, so much is as good as one: it must open again.
        let most = full.min(self.recv_window.ssthresh);
        let mss = u32::from(self.rcv_mss).min(most);
        if mss == 0 {
            return 0;
        }
        let unit = 1 << self.options.rcv_wscale;
        if free < full / 2 {
            self.acks.forgo_quick();
            free = free / unit * unit;
            // Before the memory runs out, a window too small for a segment is closed.
            if free < all >> 4 || free < mss {
                return 0;
            }
        }
        free = free.min(self.recv_window.ssthresh);
        if self.options.rcv_wscale > 0 {
            return free.next_multiple_of(unit);
        }
        let window = self.window_offered();
        if window.saturating_add(mss) <= free || window > free {
            free / mss * mss
        } else if mss == most && free > window.saturating_add(most / 2) {
            free
        } else {
            window
        }
    }

    /// The window field to send; what it offers is remembered. The right edge never moves back (SHLD-14), for
    /// which a field that the shift would round down is rounded up (RFC 7323 §2.4) as long as that is less than
    /// one unit beyond the buffer. That of a SYN is not scaled.
    #[inline]
    pub(super) fn advertise(&mut self, syn: bool) -> u16 {
        if syn {
            return self.recv_window.ssthresh.min(u16::MAX.into()) as u16;
        }
        if self.flags.starved {
            // As the kernel, against SHLD-14: what there is no memory for is taken back for a while, or the peer
            // would send it ever more slowly. What is on its way is taken if memory has become free meanwhile.
            return 0;
        }
        let shift = self.options.rcv_wscale;
        let current = self.rcv_wnd();
        let mut window = self.select_window();
        if window < current {
            let unit = 1 << shift;
            let free = self.recv_window.full().saturating_sub(self.recv_queued_all());
            let up = current.next_multiple_of(unit);
            window = if up < free.saturating_add(unit) { up } else { current / unit * unit };
        }
        let window = window.min(u32::from(u16::MAX) << shift);
        self.rcv_adv = self.rcv_adv.max(self.rcv_nxt + window);
        (window >> shift) as u16
    }

    /// Whether data was refused for want of memory.
    #[inline]
    pub(crate) fn is_starved(&self) -> bool {
        self.flags.starved
    }

    /// Memory may be free again: the window opens if there is some for a segment or two, and the peer is told. Whether
    /// nothing is wanted any more.
    pub(crate) fn feed(&mut self, budget: &Budget) -> bool {
        if self.flags.starved && (self.recv.is_empty() || budget.available() > 2 * usize::from(self.rcv_mss))
        {
            self.flags.starved = false;
            self.acks.now |= self.state.can_receive();
        }
        !self.flags.starved
    }

    /// Before data is taken in: what its segment tells of the path.
    #[inline]
    pub(super) fn measure_receive(&mut self, now: Instant, header: &TcpHeader, payload: usize) {
        let window = &mut self.recv_window;
        if let Some(stamps) = header.options.timestamps.filter(|_| self.options.timestamps) {
            // One segment for each echo: later ones waited for the sender.
            if stamps.echo != window.last_echo {
                window.last_echo = stamps.echo;
                let rtt = self.options.echoed_rtt(now, stamps);
                if let Some(rtt) = rtt.filter(|_| payload >= usize::from(self.rcv_mss)) {
                    window.measure(rtt.as_micros() as u32, false);
                }
            }
            return;
        }
        let started = window.rtt_since != Instant::FAR_FUTURE;
        if started && self.rcv_nxt.before(window.rtt_seq) {
            return;
        }
        if started {
            window.measure((now.nanos_since(window.rtt_since) / 1000) as u32, true);
        }
        self.recv_window.rtt_seq = self.rcv_nxt + self.window_offered();
        self.recv_window.rtt_since = now;
    }

    /// Data arrived: the window may open further.
    pub(super) fn grow_window(&mut self, payload: usize, queued: u32, config: &TcpConfig) {
        let largest = config.recv_buffer.max.min(1 << 30) as u32;
        let (mss, rcv_mss) = (self.local_mss, self.rcv_mss);
        if !self.flags.orphaned && self.recv_window.grow(payload, queued, mss, rcv_mss, largest) {
            self.acks.keep_quick();
        }
    }

    /// Bytes were read. What the program reads in a round trip, the peer could send in one: twice that is
    /// what the buffer is to hold, and more while the rate grows.
    #[inline]
    pub(super) fn adjust_recv_space(&mut self, now: Instant, resources: &Resources<'_>) {
        let read_seq = self.read_seq();
        let window = &mut self.recv_window;
        let elapsed = now.nanos_since(window.space_since) / 1000;
        if window.rtt == 0 || elapsed < u64::from(window.rtt >> 3) {
            return;
        }
        // Data of a SYN lies before the beginning of the measurement.
        let read = (read_seq - window.space_seq).max(0) as u32;
        (window.space_seq, window.space_since) = (read_seq, now);
        if read <= window.space {
            return;
        }
        let before = core::mem::replace(&mut window.space, read).max(1);
        if resources.settings.recv_buffer.is_some() || resources.budget.is_under_pressure() {
            return;
        }
        let mut wanted = 2 * u64::from(read);
        wanted += 2 * (wanted * u64::from(read - before.min(read)) / u64::from(before));
        wanted += self.recv.out_of_order_len() as u64;
        let most = resources.config.recv_buffer.max.min(1 << 30) as u64;
        let memory = window.memory_for(wanted).min(most) as u32;
        if memory > window.buffer {
            window.buffer = memory;
            window.clamp = window.full();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn initial(mut change: impl FnMut(&mut TcpConfig, &mut TcpSettings)) -> InitialWindow {
        let mut config = TcpConfig::default();
        let mut settings = TcpSettings::new(&config);
        change(&mut config, &mut settings);
        InitialWindow::new(&config, &settings, 1460)
    }

    #[test]
    fn the_first_window_is_half_the_buffer_in_whole_segments() {
        assert_eq!(initial(|_, _| {}), InitialWindow { window: 64_240, clamp: 65_535 << 14, shift: 7 });
        let set = initial(|_, settings| settings.recv_buffer = Some(40_000));
        assert_eq!(set, InitialWindow { window: 18_980, clamp: 20_000, shift: 0 });
        let clamped = initial(|_, settings| settings.window_clamp = 40_000);
        assert_eq!(clamped, InitialWindow { window: 39_420, clamp: 40_000, shift: 0 });
    }

    #[test]
    fn the_shift_fits_the_largest_buffer() {
        let shift = |max| initial(|config, _| config.recv_buffer.max = max).shift;
        assert_eq!((shift(65_536), shift(131_072), shift(6 << 20)), (1, 2, 7));
        assert_eq!((shift(15 << 20), shift(32 << 20), shift(usize::MAX)), (8, 10, 14));
    }

    #[test]
    fn large_segments_open_the_window_and_small_ones_do_not() {
        let config = TcpConfig::default();
        let settings = TcpSettings::new(&config);
        let mut window = RecvWindow::new(Instant::ZERO, &config, &settings, 1460);
        window.establish(Instant::ZERO, SeqNumber(0), 1460, true, 64_240);
        assert_eq!(window.ssthresh, 64_076);
        window.learn_ratio(9000, 64_240);
        assert!(window.grow(9000, 0, 1460, 1000, 6 << 20));
        assert_eq!(window.ssthresh, 64_240 + 18_000);
        // One byte of data in hundreds of memory: there is no room for a window of those.
        window.ssthresh = 80_000;
        assert!(!window.grow(1, 0, 1460, 536, 131_072));
    }

    #[test]
    fn a_window_in_a_round_trip_is_a_bound_and_timestamps_are_an_average() {
        let config = TcpConfig::default();
        let settings = TcpSettings::new(&config);
        let mut window = RecvWindow::new(Instant::ZERO, &config, &settings, 1460);
        window.measure(8000, true);
        window.measure(9000, true);
        assert_eq!(window.rtt_micros(), 8000);
        window.measure(16_000, false);
        assert_eq!(window.rtt_micros(), 9000);
    }
}

//! How much a program may write: the limits of the send buffer, and how they grow.
//!
//! All as the kernel does it, for scripts see where a write ends. What is written is gathered into segments
//! of up to half of the peer's largest window; the limits (`SO_SNDBUF`, `TCP_NOTSENT_LOWAT`) are looked at
//! only where a new one begins, and what may leave has left by then. Every segment counts for more than its
//! bytes. (The memory that is really held is charged to the budget besides.)

use super::congestion::Controller as _;
use super::connection::{Connection, Resources};
use crate::config::TcpConfig;
use crate::socket::options::TcpSettings;

/// What a segment counts besides its bytes (`SO_MEMINFO` of Linux 6.18 shows it).
const SEGMENT_COST: usize = 832;
/// The most that is gathered in one (`sk_gso_max_size`).
const GATHERED_MAX: u32 = 65_536 - 257;
/// No limit is less (`SOCK_MIN_SNDBUF`).
const LEAST_LIMIT: u32 = 4608;
/// What a full segment takes besides its payload, when the kernel works out how large the buffer may grow:
/// room for headers before the payload is rounded up to a power of two, and its own record.
const HEADERS: usize = 640;
const RECORD: usize = 256;
/// The buffer is never for fewer segments.
const LEAST_SEGMENTS: usize = 10;
/// No call writes more.
const LONGEST_WRITE: usize = 1 << 30;

/// What there is room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) bytes: usize,
    /// Where in the send buffer the last segment begins when they are written.
    pub(super) last_segment: usize,
}

impl Connection {
    /// Bytes that [`send`](Connection::send) would take now.
    #[inline]
    pub(crate) fn send_space(&self, settings: &TcpSettings, config: &TcpConfig) -> usize {
        if self.state.can_send() { self.room(LONGEST_WRITE, settings, config).bytes } else { 0 }
    }

    /// How many of `wanted` bytes there is room for: what the last segment can take, and then one segment
    /// after the other while no limit is reached.
    #[inline]
    pub(super) fn room(&self, wanted: usize, settings: &TcpSettings, config: &TcpConfig) -> Room {
        let (held, unsent) = (self.send.len(), self.unsent());
        let low_water = not_sent_low_water(settings, config);
        // What fits in a segment or a super-segment, with nothing waiting before it: most calls are like this.
        if unsent == 0 && (wanted <= usize::from(self.snd_mss) || wanted <= self.gathered()) {
            let fits = held + self.sent.count() * SEGMENT_COST < self.send_limit() && low_water > 0;
            return Room { bytes: if fits { wanted } else { 0 }, last_segment: held };
        }
        let gathering = Gathering {
            sent: held - unsent as usize,
            may_leave: self.may_leave(),
            mss: self.snd_mss.into(),
            full: self.gathered(),
            limit: self.send_limit(),
            low_water,
            segments: self.segments_held(unsent),
        };
        let wanted = wanted.min(LONGEST_WRITE);
        if unsent == 0 && low_water >= gathering.limit {
            return gathering.room_beside_nothing(wanted);
        }
        gathering.room(held, self.send.last_segment(), held + wanted)
    }

    /// Whether there is room for a good deal, so that writers work in large pieces: a third of the limit,
    /// and half of what may wait unsent.
    #[inline]
    pub(super) fn is_writable(&self, settings: &TcpSettings, config: &TcpConfig) -> bool {
        let unsent = self.unsent();
        self.has_room_beside(unsent)
            && (unsent as usize).saturating_mul(2) < not_sent_low_water(settings, config)
    }

    /// Whether no more than two thirds of the limit are used.
    #[inline]
    pub(crate) fn has_send_room(&self) -> bool {
        self.has_room_beside(self.unsent())
    }

    #[inline]
    fn has_room_beside(&self, unsent: u32) -> bool {
        if unsent == 0 {
            return self.has_room_for(self.sent.count());
        }
        // Most of the time there is room for more segments than there can be: all that are gathered but the last are
        // full.
        let most = self.sent.count() + unsent as usize / usize::from(self.snd_mss).max(1) + 1;
        (self.has_room_for(most) && !self.send.has_records()) || self.has_room_for(self.segments_held(unsent))
    }

    #[inline]
    fn has_room_for(&self, segments: usize) -> bool {
        let counted = self.send.len() + segments * SEGMENT_COST;
        counted + counted / 2 <= self.send_limit()
    }

    /// `SO_SNDBUF` and `SO_RCVBUF` as they are now, grown or set.
    pub(crate) fn buffer_sizes(&self) -> (u32, u32) {
        (self.send_limit, self.recv_window.buffer)
    }

    /// What may be counted at most.
    fn send_limit(&self) -> usize {
        self.send_limit.max(LEAST_LIMIT) as usize
    }

    /// An acknowledgment came: the buffer may grow, unless memory is short.
    #[inline]
    pub(super) fn grow_send_buffer(&mut self, resources: &Resources<'_>) {
        if !resources.budget.is_under_pressure() {
            self.expand_send_buffer(resources.settings, resources.config);
        }
    }

    /// The buffer is for two congestion windows, one in flight and one to follow it (`tcp_sndbuf_expand`), unless
    /// the program has set its size.
    #[inline]
    pub(super) fn expand_send_buffer(&mut self, settings: &TcpSettings, config: &TcpConfig) {
        if settings.send_buffer.is_some() {
            return;
        }
        let mss = usize::from(self.peer_mss.max(self.snd_mss));
        let segment = (mss + HEADERS).next_power_of_two() + RECORD;
        let cwnd = self.congestion.cwnd() / usize::from(self.snd_mss).max(1);
        let segments = cwnd.max(usize::from(self.recovery.reordering) + 1).max(LEAST_SEGMENTS);
        let target = (2 * segments).saturating_mul(segment).min(config.send_buffer.max);
        self.send_limit = self.send_limit.max(target.min(LONGEST_WRITE) as u32);
    }

    /// What was sent of the bytes in the send buffer.
    fn sent_len(&self) -> usize {
        self.send.len() - self.unsent() as usize
    }

    /// How many unsent bytes both windows let go now.
    #[inline]
    fn may_leave(&self) -> usize {
        let mss = u32::from(self.snd_mss);
        let usable = ((self.snd_una + self.snd_wnd) - self.snd_nxt).max(0) as u32;
        let room = (self.congestion.cwnd() as u32).saturating_sub(self.in_flight());
        (usable.min(room) / mss * mss) as usize
    }

    /// What a segment gathers at most.
    #[inline]
    fn gathered(&self) -> usize {
        let mss = u32::from(self.snd_mss);
        (GATHERED_MAX.min(self.window_share()) / mss * mss).max(mss) as usize
    }

    /// Where the segment begins that can still be added to; the end of the buffer, if there is none.
    fn last_segment(&self) -> usize {
        self.send.last_segment().max(self.sent_len())
    }

    /// Segments in flight and gathered.
    #[inline]
    fn segments_held(&self, unsent: u32) -> usize {
        let in_flight = self.sent.count();
        if unsent == 0 { in_flight } else { in_flight + self.segments_gathered() }
    }

    #[inline]
    fn segments_gathered(&self) -> usize {
        let (sent, last) = (self.sent_len(), self.last_segment());
        let records = self.send.records_from(sent);
        let full = (last - sent) / self.gathered();
        records + full + usize::from(self.send.len() > last)
    }
}

/// How what is written is gathered into segments. Positions are in the send buffer.
#[derive(Debug)]
struct Gathering {
    /// Where what was never sent begins.
    sent: usize,
    /// How much of that leaves at once.
    may_leave: usize,
    mss: usize,
    /// Length of a segment that nothing can be added to: a multiple of `mss`.
    full: usize,
    limit: usize,
    low_water: usize,
    /// Segments that are held already.
    segments: usize,
}

impl Gathering {
    /// What there is room for behind `held`, up to `most`, where the last segment begins at `last` or where the last
    /// that has left ends.
    #[inline]
    fn room(mut self, held: usize, last: usize, most: usize) -> Room {
        let (mut end, mut last) = (held, last.max(self.sent));
        while end < most {
            let left = self.sent + self.leaves(end - self.sent);
            last = last.max(left);
            if last == end || end - last >= self.full {
                let is_full = end + self.segments * SEGMENT_COST >= self.limit;
                if is_full || end - left >= self.low_water {
                    break;
                }
                self.segments += 1;
                last = end;
            }
            end = most.min(last + self.full);
            let row = self.row(end, last, most);
            if row > 0 {
                self.segments += row;
                last = end + (row - 1) * self.full;
                end = most.min(last + self.full);
            }
        }
        Room { bytes: end - held, last_segment: last }
    }

    /// The same for `wanted` bytes where nothing waits and any number may: segments that leave at once begin one behind
    /// the other, those that stay where the last that has left ends.
    #[inline]
    fn room_beside_nothing(&self, wanted: usize) -> Room {
        let &Gathering { sent, may_leave, full, limit, segments, .. } = self;
        let (used, cost) = (sent + segments * SEGMENT_COST, full + SEGMENT_COST);
        if used >= limit {
            return Room { bytes: 0, last_segment: sent };
        }
        let leaving = may_leave.div_ceil(full);
        let (bytes, last) = if used + leaving.saturating_sub(1) * cost >= limit {
            let bytes = (limit - used).div_ceil(cost) * full;
            (bytes, bytes)
        } else {
            // What stays of the last one is filled up.
            let filled = if leaving * full > may_leave { full } else { 0 };
            let before = may_leave + filled;
            let staying = limit.saturating_sub(used + before + leaving * SEGMENT_COST).div_ceil(cost);
            let bytes = before + staying * full;
            (bytes, if staying == 0 { may_leave } else { bytes - full })
        };
        if wanted > bytes {
            return Room { bytes, last_segment: sent + last };
        }
        let first = if wanted <= leaving * full { 0 } else { may_leave };
        let last = first + (wanted - first).saturating_sub(1) / full * full;
        Room { bytes: wanted, last_segment: sent + last }
    }

    /// How many of the bytes that were never sent leave: whole segments.
    #[inline]
    fn leaves(&self, unsent: usize) -> usize {
        if unsent < self.may_leave { unsent / self.mss * self.mss } else { self.may_leave }
    }

    /// How many segments begin in a row from `end` on, each of them full but the one that reaches `most`: there are
    /// dozens in a large buffer.
    #[inline]
    fn row(&self, end: usize, last: usize, most: usize) -> usize {
        let (unsent, full) = (end - self.sent, self.full);
        let used = end + self.segments * SEGMENT_COST;
        if end - last < full || used >= self.limit || self.low_water < self.limit {
            return 0;
        }
        let row = if unsent >= self.may_leave {
            // Nothing more leaves.
            if last >= self.sent + self.may_leave { usize::MAX } else { 0 }
        } else if unsent.is_multiple_of(self.mss) {
            // All of it leaves.
            (self.may_leave - unsent).div_ceil(full)
        } else {
            0
        };
        row.min((self.limit - used).div_ceil(full + SEGMENT_COST)).min((most - end).div_ceil(full))
    }
}

fn not_sent_low_water(settings: &TcpSettings, config: &TcpConfig) -> usize {
    let own = settings.not_sent_low_water;
    (if own == 0 { config.not_sent_low_water } else { own }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, one segment after the other.
    fn by_steps(gathering: &Gathering, held: usize, last: usize, most: usize) -> (usize, usize) {
        let &Gathering { sent, full, limit, low_water, mut segments, .. } = gathering;
        let (mut end, mut last) = (held, last.max(sent));
        while end < most {
            let left = sent + gathering.leaves(end - sent);
            last = last.max(left);
            if last == end || end - last >= full {
                if end + segments * SEGMENT_COST >= limit || end - left >= low_water {
                    break;
                }
                segments += 1;
                last = end;
            }
            end = most.min(last + full);
        }
        (end - held, last)
    }

    proptest! {
        #[test]
        fn rows_of_segments_are_what_their_steps_are(
            (mss, per_segment) in (1_usize..2000, 1_usize..46), sent in 0_usize..100_000,
            (segments_leave, unsent, unsent_segments) in (0_usize..60, 0_usize..3000, 0_usize..90),
            (last, limit, segments) in (0_usize..200_000, 0_usize..400_000, 0_usize..50),
            low_water in prop_oneof![Just(usize::MAX), 0_usize..400_000],
            wanted in prop_oneof![Just(LONGEST_WRITE), 0_usize..400_000],
            aligned: bool,
        ) {
            let (may_leave, full) = (segments_leave * mss, per_segment * mss);
            let held = sent + unsent_segments * mss + if aligned { 0 } else { unsent };
            let gathering = Gathering { sent, may_leave, mss, full, limit, low_water, segments };
            let (last, most) = (last.min(held), held + wanted);
            let steps = by_steps(&gathering, held, last, most);
            let room = gathering.room(held, last, most);
            prop_assert_eq!((room.bytes, room.last_segment), steps);
        }

        #[test]
        fn what_fits_beside_nothing_is_what_its_steps_are(
            (mss, per_segment) in (1_usize..2000, 1_usize..46), sent in 0_usize..100_000,
            segments_leave in prop_oneof![0_usize..60, (0_usize..8).prop_map(|full| full * 8)],
            (limit, segments) in (0_usize..400_000, 0_usize..50),
            wanted in prop_oneof![Just(LONGEST_WRITE), 0_usize..400_000],
            aligned: bool,
        ) {
            let (per_segment, wanted) = if aligned { (8, wanted / mss * mss) } else { (per_segment, wanted) };
            let (may_leave, full) = (segments_leave * mss, per_segment * mss);
            let gathering = Gathering { sent, may_leave, mss, full, limit, low_water: limit, segments };
            let steps = by_steps(&gathering, sent, sent, sent + wanted);
            let room = gathering.room_beside_nothing(wanted);
            prop_assert_eq!((room.bytes, room.last_segment), steps);
        }
    }
}

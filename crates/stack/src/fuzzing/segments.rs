//! Segments of an adversary who knows everything about a connection: mostly near what would be right.

use super::bytes_from;
use super::source::Source;
use crate::tcp::check::View;
use alloc::vec::Vec;
use sockeye_packet::Payload;
use sockeye_wire::{SackBlock, SackBlocks, TcpFlags, TcpHeader, TcpOptions, TcpTimestamps};

/// A segment to the connection that `view` shows; without ports.
pub(super) fn segment(source: &mut Source<'_>, view: &View) -> (TcpHeader, Payload) {
    let flags = flags(source);
    let len = length(source, view);
    let seq = sequence(source, view, len);
    let header = TcpHeader {
        seq,
        ack: if flags.ack() { acknowledgment(source, view) } else { source.word() },
        flags,
        window: window(source, view),
        urgent: if flags.contains(TcpFlags::URG) {
            source.pick(&[1, 0, 2, len as u16, len as u16 + 1, 65_535])
        } else {
            0
        },
        options: options(source, view, flags.syn()),
        ..TcpHeader::default()
    };
    let first = seq.wrapping_add(u32::from(flags.syn()));
    (header, bytes_from(first, len).into())
}

/// The next segment of a peer that has nothing bad in mind: `len` bytes of data, everything acknowledged.
pub(super) fn honest(view: &View, ack: u32, len: usize) -> (TcpHeader, Payload) {
    let timestamps = view
        .ts_recent
        .map(|recent| TcpTimestamps { value: recent.wrapping_add(1), echo: view.ts_now.unwrap_or(0) });
    let header = TcpHeader {
        seq: view.rcv_nxt.0,
        ack,
        flags: TcpFlags::ACK,
        window: u16::MAX,
        options: TcpOptions { timestamps, ..TcpOptions::default() },
        ..TcpHeader::default()
    };
    (header, bytes_from(view.rcv_nxt.0, len).into())
}

fn flags(source: &mut Source<'_>) -> TcpFlags {
    match source.byte() {
        0..=199 => TcpFlags::ACK,
        200..=209 => TcpFlags::ACK | TcpFlags::PSH,
        210..=219 => TcpFlags::ACK | TcpFlags::FIN,
        220..=225 => TcpFlags::ACK | TcpFlags::URG,
        226..=230 => TcpFlags::SYN | TcpFlags::ACK,
        231..=234 => TcpFlags::SYN,
        235..=238 => TcpFlags::RST,
        239..=241 => TcpFlags::RST | TcpFlags::ACK,
        _ => TcpFlags::from_bits(u16::from(source.byte()) | u16::from(source.byte() & 1) << 8),
    }
}

fn length(source: &mut Source<'_>, view: &View) -> usize {
    let mss = usize::from(view.snd_mss);
    let some = source.below(256);
    let wnd = view.rcv_wnd.min(60_000) as usize;
    source
        .pick(&[0, 0, 0, 0, some, some, mss, mss, mss - 1, mss + 1, 1, 2 * mss, 8 * mss, wnd, wnd + 1])
        .min(60_000)
}

fn sequence(source: &mut Source<'_>, view: &View, len: usize) -> u32 {
    let (mss, len, wnd) = (u32::from(view.snd_mss), len as u32, view.rcv_wnd);
    let offset = match source.byte() {
        0..=127 => 0,
        128..=167 => mss.wrapping_mul(source.below(12) as u32),
        168..=179 => source.below(4000) as u32,
        180..=189 => (source.below(4000) as u32).wrapping_neg(),
        190..=199 => len.wrapping_neg(),
        200..=209 => 1_u32.wrapping_sub(len),
        210..=214 => wnd,
        215..=219 => wnd.wrapping_sub(len),
        220..=224 => wnd.wrapping_add(1),
        225..=229 => wnd.wrapping_sub(1),
        230..=234 => 1_u32.wrapping_neg(),
        235..=238 => view.irs.0.wrapping_sub(view.rcv_nxt.0),
        239..=241 => 1 << 31,
        242..=244 => source.word(),
        _ => 1,
    };
    view.rcv_nxt.0.wrapping_add(offset)
}

fn acknowledgment(source: &mut Source<'_>, view: &View) -> u32 {
    let (una, nxt, mss) = (view.snd_una.0, view.snd_nxt.0, u32::from(view.snd_mss));
    let flight = nxt.wrapping_sub(una);
    match source.byte() {
        0..=59 => una,
        60..=119 => nxt,
        120..=189 => una.wrapping_add(mss.wrapping_mul(source.below(10) as u32).min(flight)),
        190..=209 => una.wrapping_add(source.below(flight.min(60_000) as usize + 1) as u32),
        210..=214 => una.wrapping_sub(1),
        215..=219 => nxt.wrapping_add(1),
        220..=224 => una.wrapping_add(1).min(nxt),
        225..=229 => nxt.wrapping_sub(1),
        230..=234 => una.wrapping_sub(view.snd_wnd),
        235..=239 => una.wrapping_sub(view.snd_wnd).wrapping_sub(source.below(3) as u32),
        240..=243 => view.iss.0.wrapping_add(source.below(2) as u32),
        244..=246 => una.wrapping_add(1 << 31),
        _ => source.word(),
    }
}

fn window(source: &mut Source<'_>, view: &View) -> u16 {
    let mss = view.snd_mss;
    match source.byte() {
        0..=129 => u16::MAX,
        130..=159 => 0,
        160..=169 => 1,
        170..=189 => mss,
        190..=199 => mss / 2 + 1,
        200..=219 => 8192,
        220..=229 => (view.snd_nxt.since(view.snd_una) / 2).min(65_535) as u16,
        _ => source.word() as u16,
    }
}

fn options(source: &mut Source<'_>, view: &View, syn: bool) -> TcpOptions {
    let mut options = TcpOptions { sack: sack(source, view), ..TcpOptions::default() };
    let recent = view.ts_recent.unwrap_or_else(|| source.word());
    let clock = view.ts_now.unwrap_or(0);
    if view.ts_recent.is_some() || syn {
        options.timestamps = match source.byte() {
            0..=159 => Some(TcpTimestamps { value: recent, echo: clock }),
            160..=209 => Some(TcpTimestamps { value: recent.wrapping_add(1), echo: clock }),
            210..=219 => Some(TcpTimestamps {
                value: recent.wrapping_add(1),
                echo: clock.wrapping_sub(source.below(3000) as u32),
            }),
            220..=229 => Some(TcpTimestamps { value: recent.wrapping_sub(1), echo: clock }),
            230..=234 => Some(TcpTimestamps { value: recent.wrapping_add(1 << 31), echo: clock }),
            235..=239 => Some(TcpTimestamps { value: source.word(), echo: source.word() }),
            240..=244 => Some(TcpTimestamps { value: recent, echo: 0 }),
            _ => None,
        };
    } else if source.chance(8) {
        options.timestamps = Some(TcpTimestamps { value: recent, echo: clock });
    }
    if syn || source.chance(4) {
        options.mss =
            source.pick(&[Some(1460), Some(1000), Some(536), None, Some(0), Some(1), Some(48), Some(65_535)]);
        options.window_scale = source.pick(&[Some(7), None, Some(0), Some(14), Some(15), Some(255)]);
        options.sack_permitted = !source.chance(64);
    }
    options
}

/// Blocks of what is in flight, of what was received long ago (DSACK), and of what can't be.
fn sack(source: &mut Source<'_>, view: &View) -> SackBlocks {
    let count = match source.byte() {
        0..=159 => 0,
        160..=219 => 1,
        220..=239 => 2,
        _ => source.below(5),
    };
    let (una, mss) = (view.snd_una.0, u32::from(view.snd_mss));
    let blocks: Vec<SackBlock> = (0..count)
        .map(|_| {
            let first = source.below(16) as u32;
            let left = match source.byte() {
                0..=199 => una.wrapping_add(first.wrapping_mul(mss)),
                200..=219 => una.wrapping_add(source.below(20_000) as u32),
                220..=239 => una.wrapping_sub(first.wrapping_mul(mss)),
                _ => source.word(),
            };
            let len = match source.byte() {
                0..=179 => mss.wrapping_mul(1 + source.below(8) as u32),
                180..=209 => 1 + source.below(4000) as u32,
                210..=229 => view.snd_nxt.0.wrapping_sub(left),
                230..=239 => 1,
                _ => source.word(),
            };
            SackBlock { left, right: left.wrapping_add(len) }
        })
        .collect();
    blocks.into_iter().collect()
}

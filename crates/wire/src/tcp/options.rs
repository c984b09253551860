//! TCP options: maximum segment size (RFC 9293 §3.2), window scale and timestamps (RFC 7323), selective
//! acknowledgment (RFC 2018).
//!
//! Parsing never fails: an option that isn't known is skipped by its length, and an illegal length ends
//! the list. Emitting pads so that 32-bit fields lie on 4-byte boundaries, as receivers' fast paths expect.

use crate::Bounded;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// The first 4 bytes of a segment's options when they are two NOPs and timestamps.
const NOP_NOP_TIMESTAMPS: [u8; 4] = [NOP, NOP, TIMESTAMPS, 10];

/// The timestamps option (RFC 7323 §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpTimestamps {
    /// The sender's clock (`TSval`).
    pub value: u32,
    /// The last timestamp from the other side (`TSecr`).
    pub echo: u32,
}

/// A block of received data that the acknowledgment number doesn't cover (RFC 2018 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlock {
    /// First sequence number of the block.
    pub left: u32,
    /// First sequence number behind the block.
    pub right: u32,
}

/// The blocks of a SACK option.
pub type SackBlocks = Bounded<SackBlock, { TcpOptions::MAX_SACK_BLOCKS }>;

/// The options of a TCP header that are known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale shift, as it came: the receiver limits it to 14 (RFC 7323 §2.3).
    pub window_scale: Option<u8>,
    /// SACK may be used.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<TcpTimestamps>,
    /// Selective acknowledgments, in the order of the option.
    pub sack: SackBlocks,
}

impl TcpOptions {
    /// The most bytes that options take in a header.
    pub const MAX_LEN: usize = 40;
    /// The most SACK blocks that fit; beside timestamps it is one less.
    pub const MAX_SACK_BLOCKS: usize = 4;

    /// Reads the option bytes of a header. What comes twice counts as it came last.
    #[inline]
    pub fn parse(bytes: &[u8]) -> TcpOptions {
        let mut options = TcpOptions::default();
        options.read(bytes);
        options
    }

    /// Forgets all options. SACK blocks keep their bytes and only lose their count.
    #[inline]
    pub(crate) fn clear(&mut self) {
        let TcpOptions { mss, window_scale, sack_permitted, timestamps, sack } = self;
        (*mss, *window_scale, *sack_permitted, *timestamps) = (None, None, false, None);
        sack.truncate(0);
    }

    /// Takes in the option bytes of a header, in place: moving what was just written costs more than parsing.
    #[inline]
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Ok(bytes) = <&[u8; 12]>::try_from(bytes)
            && bytes.starts_with(&NOP_NOP_TIMESTAMPS)
        {
            self.timestamps = Some(TcpTimestamps { value: u32_at(bytes, 4), echo: u32_at(bytes, 8) });
            return;
        }
        self.read_any(bytes);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the options take when emitted: a multiple of 4, at most [`TcpOptions::MAX_LEN`].
    #[inline]
    pub fn len(&self) -> usize {
        if self.are_of_data() {
            return if self.timestamps.is_some() { 12 } else { 0 };
        }
        let blocks = self.emitted_sack().len();
        self.len_before_sack() + if blocks == 0 { 0 } else { 4 + 8 * blocks }
    }

    /// Writes the options to the start of `buffer`; answers how many bytes they take.
    /// SACK blocks for which no room is left are left out. Panics when `buffer` is shorter than
    /// [`TcpOptions::len`].
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        if self.are_of_data() {
            let Some(timestamps) = self.timestamps else { return 0 };
            buffer[..4].copy_from_slice(&NOP_NOP_TIMESTAMPS);
            emit_timestamps(timestamps, &mut buffer[4..12]);
            return 12;
        }
        self.emit_any(buffer)
    }

    /// Whether they are what most segments have: timestamps or nothing.
    #[inline]
    fn are_of_data(&self) -> bool {
        let TcpOptions { mss, window_scale, sack_permitted, timestamps: _, sack } = self;
        mss.is_none() && window_scale.is_none() && !sack_permitted && sack.is_empty()
    }

    /// Every list but the two of the fast path in [`TcpOptions::emit`].
    fn emit_any(&self, buffer: &mut [u8]) -> usize {
        let mut writer = Writer { buffer, at: 0 };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            writer.put(&[MSS, 4, high, low]);
        }
        if self.sack_permitted || self.timestamps.is_some() {
            let permitted = if self.sack_permitted { [SACK_PERMITTED, 2] } else { [NOP, NOP] };
            match self.timestamps {
                Some(timestamps) => {
                    writer.put(&permitted);
                    writer.put(&[TIMESTAMPS, 10]);
                    let mut fields = [0; 8];
                    emit_timestamps(timestamps, &mut fields);
                    writer.put(&fields);
                }
                None => writer.put(&[NOP, NOP, SACK_PERMITTED, 2]),
            }
        }
        if let Some(shift) = self.window_scale {
            writer.put(&[NOP, WINDOW_SCALE, 3, shift]);
        }
        let sack = self.emitted_sack();
        if !sack.is_empty() {
            writer.put(&[NOP, NOP, SACK, 2 + 8 * sack.len() as u8]);
            for block in sack {
                writer.put(&block.left.to_be_bytes());
                writer.put(&block.right.to_be_bytes());
            }
        }
        // RFC 9293 §3.1, MUST-69: nothing is left to pad, as every part above is a multiple of 4 bytes.
        writer.at
    }

    fn len_before_sack(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let timestamps = match (self.timestamps.is_some(), self.sack_permitted) {
            (true, _) => 12,
            (false, true) => 4,
            (false, false) => 0,
        };
        mss + timestamps + if self.window_scale.is_some() { 4 } else { 0 }
    }

    /// The SACK blocks for which there is room.
    pub(crate) fn emitted_sack(&self) -> &[SackBlock] {
        let room = (Self::MAX_LEN - self.len_before_sack() - 4) / 8;
        &self.sack[..self.sack.len().min(room)]
    }
}

impl TcpOptions {
    /// Takes in any list of options.
    ///
    /// RFC 9293 §3.1: every option may come in any segment (MUST-5), one that isn't known is skipped by its
    /// length (MUST-6, MUST-68), and an illegal length is survived (MUST-7): what came before it counts.
    fn read_any(&mut self, mut bytes: &[u8]) {
        loop {
            bytes = match *bytes {
                [] | [END, ..] => return,
                // MUST-64: options need not begin on a word boundary.
                [NOP, ref rest @ ..] => rest,
                [kind, len, ref rest @ ..] if len >= 2 && usize::from(len) - 2 <= rest.len() => {
                    let (data, rest) = rest.split_at(usize::from(len) - 2);
                    self.take(kind, data);
                    rest
                }
                _ => return,
            };
        }
    }

    /// Takes in one option. One whose length isn't the one its kind has is ignored.
    fn take(&mut self, kind: u8, data: &[u8]) {
        match (kind, data.len()) {
            (MSS, 2) => self.mss = Some(u16::from_be_bytes([data[0], data[1]])),
            (WINDOW_SCALE, 1) => self.window_scale = Some(data[0]),
            (SACK_PERMITTED, 0) => self.sack_permitted = true,
            (TIMESTAMPS, 8) => {
                self.timestamps = Some(TcpTimestamps { value: u32_at(data, 0), echo: u32_at(data, 4) });
            }
            (SACK, 8 | 16 | 24 | 32) => {
                self.sack = data
                    .chunks_exact(8)
                    .map(|block| SackBlock { left: u32_at(block, 0), right: u32_at(block, 4) })
                    .collect();
            }
            _ => {}
        }
    }
}

fn emit_timestamps(timestamps: TcpTimestamps, buffer: &mut [u8]) {
    buffer[..4].copy_from_slice(&timestamps.value.to_be_bytes());
    buffer[4..8].copy_from_slice(&timestamps.echo.to_be_bytes());
}

/// Writes one part behind the other.
struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.buffer[self.at..][..bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

/// The 32-bit field at `at`. Panics when `bytes` is too short for it: callers have checked.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
pub(crate) mod tests;

//! Captures in pcapng, which Wireshark and its kin read.
//!
//! The format is draft-ietf-opsawg-pcapng: a section header, a description of each interface, and an enhanced
//! packet block for each packet, with its time in nanoseconds and its direction. They are shown as they would cross a
//! wire: super-segments cut, checksums filled.
//!
//! In front of a packet's IP header stands that of Linux's cooked captures (`LINKTYPE_LINUX_SLL`), as in captures of
//! Linux's interface `any`: with `LINKTYPE_RAW`, which is another number inside libpcap than in files, libpcap refuses
//! a second interface (`pcapng`'s "type different from the type of the first interface"), and tcpdump with it.
//!
//! The output only ever gets whole blocks: what a killed process leaves behind is a readable capture.

use crate::segmentation::{self, Segments};
use sockeye_packet::{Instant, Packet};
use std::io::{self, Write};
use std::time::Duration;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// The section's length isn't stated: it ends with the file.
const UNKNOWN_LENGTH: u64 = u64::MAX;
const LINKTYPE_LINUX_SLL: u16 = 113;
/// Who a packet of a cooked capture was for.
const PACKET_HOST: u16 = 0;
const PACKET_OUTGOING: u16 = 4;
/// `ARPHRD_NONE`: links here have no hardware addresses.
const HARDWARE_NONE: u16 = 0xfffe;
/// Length of a cooked capture's header.
const COOKED_LEN: usize = 16;

const OPTION_END: u16 = 0;
const OPTION_APPLICATION: u16 = 4;
const OPTION_INTERFACE_NAME: u16 = 2;
const OPTION_TIMESTAMP_RESOLUTION: u16 = 9;
const OPTION_PACKET_FLAGS: u16 = 2;
/// Timestamps count units of 10⁻⁹ s.
const NANOSECONDS: u8 = 9;

/// How many bytes are collected before they are written.
const BUFFER_LEN: usize = 64 * 1024;

/// How long bytes are collected before they are written.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// How a capture is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PcapngConfig {
    /// Keep super-segments whole, up to the 65,535 bytes that an IP header can state.
    pub gso: bool,
    /// The wall clock's time, since 1970, at [`Instant::ZERO`].
    pub wall_offset: Duration,
}

/// Names an interface of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(u32);

/// Which way a packet passed an interface, seen from its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketDirection {
    /// The host received it.
    Inbound,
    /// The host sent it.
    Outbound,
}

/// Writes a capture.
///
/// Writing a packet never fails. The first error of the output ends the capture and is kept for
/// [`PcapngWriter::take_error`]. Bytes are collected for at most a tenth of a second, given that
/// [`PcapngWriter::handle_timeout`] is called when [`PcapngWriter::poll_timeout`] says so.
#[derive(Debug)]
pub struct PcapngWriter<W: Write> {
    out: W,
    config: PcapngConfig,
    /// Whole blocks that are not written yet.
    buffer: Vec<u8>,
    interfaces: u32,
    flush_at: Option<Instant>,
    state: State,
}

#[derive(Debug)]
enum State {
    Open,
    /// The output failed, and nobody was told yet.
    Failed(io::Error),
    /// The output failed, and somebody was told.
    Reported,
}

impl<W: Write> PcapngWriter<W> {
    /// A capture into `out`, which needs no buffer of its own. Its header is written at once.
    pub fn new(out: W, config: PcapngConfig) -> PcapngWriter<W> {
        let buffer = Vec::with_capacity(BUFFER_LEN);
        let mut writer =
            PcapngWriter { out, config, buffer, interfaces: 0, flush_at: None, state: State::Open };
        writer.section_header();
        writer.flush();
        writer
    }

    /// Adds an interface, under the name that the capture shows.
    pub fn add_interface(&mut self, name: &str) -> InterfaceId {
        let id = InterfaceId(self.interfaces);
        self.interfaces += 1;
        let block = Block::start(&mut self.buffer, INTERFACE_DESCRIPTION);
        block.buffer.extend_from_slice(&LINKTYPE_LINUX_SLL.to_le_bytes());
        block.buffer.extend_from_slice(&[0; 2]);
        // No limit to a packet's captured length.
        block.buffer.extend_from_slice(&0_u32.to_le_bytes());
        option(block.buffer, OPTION_INTERFACE_NAME, name.as_bytes());
        option(block.buffer, OPTION_TIMESTAMP_RESOLUTION, &[NANOSECONDS]);
        option(block.buffer, OPTION_END, &[]);
        block.finish();
        self.flush();
        id
    }

    /// Records a packet that passed an interface at `now`.
    pub fn write(&mut self, now: Instant, interface: InterfaceId, way: PacketDirection, packet: &Packet) {
        if !matches!(self.state, State::Open) {
            return;
        }
        // Readers are told of a packet's length by its header, too.
        let most = if self.config.gso { Packet::LONGEST_STATED } else { 0 };
        Segments::of(packet).runs(most).for_each(|part| self.packet(now, interface, way, part));
        let flush_at = *self.flush_at.get_or_insert(now + FLUSH_INTERVAL);
        if self.buffer.len() >= BUFFER_LEN || flush_at <= now {
            self.flush();
        }
    }

    /// When collected bytes want to be written.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Writes collected bytes if it is time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush();
        }
    }

    /// Writes all that was collected.
    pub fn flush(&mut self) {
        self.flush_at = None;
        if matches!(self.state, State::Open)
            && let Err(error) = self.out.write_all(&self.buffer).and_then(|()| self.out.flush())
        {
            self.state = State::Failed(error);
        }
        self.buffer.clear();
    }

    /// The error that ended the capture, the first time it is asked for.
    pub fn take_error(&mut self) -> Option<io::Error> {
        match std::mem::replace(&mut self.state, State::Reported) {
            State::Failed(error) => Some(error),
            State::Reported => None,
            State::Open => {
                self.state = State::Open;
                None
            }
        }
    }

    fn section_header(&mut self) {
        let block = Block::start(&mut self.buffer, SECTION_HEADER);
        block.buffer.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        // Version 1.0 of the format.
        block.buffer.extend_from_slice(&1_u16.to_le_bytes());
        block.buffer.extend_from_slice(&0_u16.to_le_bytes());
        block.buffer.extend_from_slice(&UNKNOWN_LENGTH.to_le_bytes());
        option(block.buffer, OPTION_APPLICATION, concat!("sockeye ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(block.buffer, OPTION_END, &[]);
        block.finish();
    }

    fn packet(&mut self, now: Instant, interface: InterfaceId, way: PacketDirection, mut packet: Packet) {
        segmentation::fill_checksums(&mut packet);
        let since_1970 = self.config.wall_offset.as_nanos() + u128::from(now.as_nanos());
        let timestamp = u64::try_from(since_1970).unwrap_or(u64::MAX);
        let captured = COOKED_LEN + packet.len();
        let len = (captured as u32).to_le_bytes();
        let block = Block::start(&mut self.buffer, ENHANCED_PACKET);
        block.buffer.extend_from_slice(&interface.0.to_le_bytes());
        block.buffer.extend_from_slice(&((timestamp >> 32) as u32).to_le_bytes());
        block.buffer.extend_from_slice(&(timestamp as u32).to_le_bytes());
        block.buffer.extend_from_slice(&len);
        block.buffer.extend_from_slice(&len);
        block.buffer.extend_from_slice(&cooked(way, &packet));
        block.buffer.extend_from_slice(&packet.head);
        packet.payload.chunks().for_each(|chunk| block.buffer.extend_from_slice(chunk));
        pad(block.buffer, captured);
        let flags: u32 = match way {
            PacketDirection::Inbound => 1,
            PacketDirection::Outbound => 2,
        };
        option(block.buffer, OPTION_PACKET_FLAGS, &flags.to_le_bytes());
        option(block.buffer, OPTION_END, &[]);
        block.finish();
    }
}

impl<W: Write> Drop for PcapngWriter<W> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The header in front of a packet: way, kind of hardware, no address of it, protocol, all in network order.
fn cooked(way: PacketDirection, packet: &Packet) -> [u8; COOKED_LEN] {
    let kind = match way {
        PacketDirection::Inbound => PACKET_HOST,
        PacketDirection::Outbound => PACKET_OUTGOING,
    };
    let is_v6 = packet.head.first().is_some_and(|first| first >> 4 == 6);
    let protocol: u16 = if is_v6 { 0x86dd } else { 0x0800 };
    let mut header = [0; COOKED_LEN];
    header[..2].copy_from_slice(&kind.to_be_bytes());
    header[2..4].copy_from_slice(&HARDWARE_NONE.to_be_bytes());
    header[14..].copy_from_slice(&protocol.to_be_bytes());
    header
}

/// A block being written: its length stands in front and behind, and is known when it is finished.
struct Block<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Block<'a> {
    fn start(buffer: &'a mut Vec<u8>, kind: u32) -> Block<'a> {
        let start = buffer.len();
        buffer.extend_from_slice(&kind.to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
        Block { buffer, start }
    }

    fn finish(self) {
        let len = ((self.buffer.len() + 4 - self.start) as u32).to_le_bytes();
        self.buffer[self.start + 4..self.start + 8].copy_from_slice(&len);
        self.buffer.extend_from_slice(&len);
    }
}

fn option(buffer: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    buffer.extend_from_slice(&code.to_le_bytes());
    buffer.extend_from_slice(&(value.len() as u16).to_le_bytes());
    buffer.extend_from_slice(value);
    pad(buffer, value.len());
}

/// Fills up what is `len` bytes long to a multiple of 4.
fn pad(buffer: &mut Vec<u8>, len: usize) {
    buffer.extend_from_slice(&[0; 3][..len.next_multiple_of(4) - len]);
}

#[cfg(test)]
mod tests;

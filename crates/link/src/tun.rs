//! A TUN device: a network interface of the Linux kernel whose packets a process reads and writes.
//!
//! One packet a call, from its IP header on. With [`TunConfig::offload`] a `virtio_net_hdr` stands in front,
//! which carries what [`Meta`] says of super-segments and checksums: see `tun/vnet.rs`.

use crate::segmentation::{self, Segments};
use crate::{Capabilities, Link, Medium, sys};
use rustix::fs::{Mode, OFlags};
use sockeye_packet::{Batch, Chunk, Instant, Meta, Packet};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use vnet::VnetHeader;

mod vnet;

/// How a [`Tun`] is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunConfig {
    /// The interface's name, at most 15 bytes; one with `%d` in it lets the kernel choose a number.
    pub name: String,
    /// The interface's MTU in bytes, as whoever sets it up has chosen it.
    pub mtu: u32,
    /// Whether TCP super-segments and packets without checksums cross the device as they are.
    pub offload: bool,
}

impl Default for TunConfig {
    fn default() -> TunConfig {
        TunConfig { name: "sockeye%d".into(), mtu: 1500, offload: false }
    }
}

/// What a [`Tun`] didn't carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunCounters {
    /// Packets that the kernel refused as malformed.
    pub refused: u64,
    /// What the kernel handed over and was no packet.
    pub malformed: u64,
}

/// One end of a TUN device; the other is an interface of the network namespace it was opened in.
///
/// The interface is gone when this is dropped, unless it was made to persist. It has to be set up and given
/// addresses by other means (`ip link set NAME up`); until then sending fails with EIO.
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
    name: String,
    config: TunConfig,
    /// What was cut or found no room, to be sent before anything else.
    pending: VecDeque<Packet>,
    buffer: Box<[u8]>,
    counters: TunCounters,
}

impl Tun {
    /// Opens the interface, which is made if there is none of the name. Needs `CAP_NET_ADMIN` in the network
    /// namespace of the calling thread. Reads and writes never block.
    pub fn open(config: TunConfig) -> io::Result<Tun> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
        let name = sys::attach(fd.as_fd(), &config.name, config.offload)?;
        if config.offload {
            sys::set_offload(fd.as_fd())?;
        }
        let longest = VnetHeader::LEN + Capabilities::LONGEST_PACKET as usize;
        let buffer = vec![0; longest].into_boxed_slice();
        let (pending, counters) = (VecDeque::new(), TunCounters::default());
        Ok(Tun { fd, name, config, pending, buffer, counters })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it didn't carry so far.
    pub fn counters(&self) -> TunCounters {
        self.counters
    }

    /// Puts into `pending` what `packet` is on this device.
    fn prepare(&mut self, packet: Packet) {
        let whole = self.config.offload && vnet::carries(&packet);
        let most = if whole { Capabilities::LONGEST_PACKET as usize } else { 0 };
        if packet.len() > most {
            self.pending.extend(Segments::of(&packet).runs(most));
        } else {
            self.pending.push_back(packet);
        }
    }

    /// Writes the oldest pending packet; says whether it is gone.
    fn write_pending(&mut self) -> io::Result<bool> {
        let Some(packet) = self.pending.front_mut() else { return Ok(false) };
        let written = if self.config.offload {
            let header = VnetHeader::prepare(packet).to_bytes();
            write(&self.fd, Some(&header), packet)
        } else {
            segmentation::fill_checksums(packet);
            write(&self.fd, None, packet)
        };
        match written {
            Ok(()) => {}
            Err(error) if is_momentary(&error) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.counters.refused += 1,
            Err(error) => return Err(error),
        }
        self.pending.pop_front();
        Ok(true)
    }

    /// Makes a packet of the first `len` bytes of the buffer.
    fn parse(&self, len: usize, received_at: Instant) -> Option<Packet> {
        let mut meta = Meta { received_at, ..Meta::default() };
        let mut bytes = self.buffer.get(..len)?;
        if self.config.offload {
            let (header, packet) = bytes.split_first_chunk()?;
            VnetHeader::from_bytes(header).apply(&mut meta);
            bytes = packet;
        }
        (!bytes.is_empty()).then(|| Packet::from_bytes(&Chunk::copy_from(bytes), meta))
    }
}

impl Link for Tun {
    fn capabilities(&self) -> Capabilities {
        let TunConfig { name: _, mtu, offload } = self.config;
        let max_packet = if offload { Capabilities::LONGEST_PACKET } else { mtu };
        Capabilities { medium: Medium::Ip, mtu, max_packet, in_memory: false }
    }

    fn send(&mut self, _now: Instant, batch: &mut Batch) -> io::Result<()> {
        loop {
            while self.write_pending()? {}
            if !self.pending.is_empty() {
                return Ok(());
            }
            let Some(packet) = batch.pop() else { return Ok(()) };
            self.prepare(packet);
        }
    }

    fn receive(&mut self, now: Instant, batch: &mut Batch) -> io::Result<()> {
        while !batch.is_full() {
            match rustix::io::read(&self.fd, &mut *self.buffer) {
                Ok(len) => match self.parse(len, now) {
                    Some(packet) => batch.push(packet),
                    None => self.counters.malformed += 1,
                },
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// Most pieces of one packet that a single write takes; more are joined first.
const PIECES: usize = 16;

/// Writes one packet, which the device takes whole or not at all.
fn write(fd: &OwnedFd, header: Option<&[u8]>, packet: &Packet) -> io::Result<()> {
    let mut pieces = [IoSlice::new(&[]); PIECES];
    let parts =
        header.into_iter().chain([&*packet.head]).chain(packet.payload.chunks().map(|chunk| &**chunk));
    let mut count = 0;
    for part in parts {
        let Some(piece) = pieces.get_mut(count) else {
            let whole = packet.to_vec();
            let joined = [header.unwrap_or_default(), &whole].map(IoSlice::new);
            return Ok(rustix::io::writev(fd, &joined).map(drop)?);
        };
        *piece = IoSlice::new(part);
        count += 1;
    }
    Ok(rustix::io::writev(fd, &pieces[..count]).map(drop)?)
}

/// Whether the device takes the same packet later.
fn is_momentary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

//! What passed on the path of one run: a text with one line for each packet, and a capture.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use sockeye_link::pcapng::{InterfaceId, PacketDirection, PcapngConfig, PcapngWriter};
use sockeye_packet::{Instant, Packet};
use sockeye_wire::PacketLine;

use crate::program::Facts;
use crate::run::Side;

/// The record of one run. The capture is the left host's, the text tells of both.
#[derive(Debug)]
pub(crate) struct Record {
    started: Instant,
    text: String,
    capture: PcapngWriter<File>,
    interface: InterfaceId,
}

impl Record {
    /// Opens `NAME.pcapng` in `folder`.
    pub(crate) fn new(folder: &Path, name: &str, now: Instant) -> io::Result<Record> {
        fs::create_dir_all(folder)?;
        let file = File::create(folder.join(format!("{name}.pcapng")))?;
        let mut capture = PcapngWriter::new(file, PcapngConfig::default());
        let interface = capture.add_interface("left");
        Ok(Record { started: now, text: String::new(), capture, interface })
    }

    /// A side sends a packet.
    pub(crate) fn sent(&mut self, now: Instant, from: Side, packet: &Packet) {
        self.line(now, if from == Side::Left { "L>      " } else { "      <R" }, packet);
        if from == Side::Left {
            self.capture.write(now, self.interface, PacketDirection::Outbound, packet);
        }
    }

    /// So many segments of the packet that was just sent were lost.
    pub(crate) fn lost(&mut self, segments: u64) {
        if segments > 0 {
            let _ = write!(self.text, "  LOST {segments}");
        }
    }

    /// How the sender's end is doing after the packet.
    pub(crate) fn facts(&mut self, facts: &Facts) {
        let Facts { rto, srtt, cwnd, ssthresh, unacked, sacked, lost, retransmitted } = facts;
        // The kernel's number for no threshold, or Sockeye's.
        let ssthresh = if *ssthresh < 1 << 20 { *ssthresh } else { 0 };
        let _ = write!(
            self.text,
            "  [cwnd {cwnd} ssthresh {ssthresh} unacked {unacked} sacked {sacked} lost {lost} retrans {retransmitted} \
             rto {rto:.0?} srtt {srtt:.0?}]",
        );
    }

    /// A packet reaches a side.
    pub(crate) fn arrived(&mut self, now: Instant, to: Side, packet: &Packet) {
        self.line(now, if to == Side::Left { "L<      " } else { "      >R" }, packet);
        if to == Side::Left {
            self.capture.write(now, self.interface, PacketDirection::Inbound, packet);
        }
    }

    fn line(&mut self, now: Instant, way: &str, packet: &Packet) {
        let seconds = (now - self.started).as_secs_f64();
        let _ = write!(self.text, "\n{seconds:.6} {way} ");
        let _ = match PacketLine::from_head(&packet.head, packet.payload.len()) {
            Ok(line) => write!(self.text, "{}", line.without_endpoints()),
            Err(error) => write!(self.text, "{error}"),
        };
    }

    /// Writes `NAME.txt` into `folder` and ends the capture.
    pub(crate) fn finish(mut self, folder: &Path, name: &str, verdict: &str) -> io::Result<()> {
        self.capture.flush();
        fs::write(folder.join(format!("{name}.txt")), format!("{name}: {verdict}{}\n", self.text))
    }
}

use super::*;
use crate::testing::{echo, ip, packet, tcp, udp};
use sockeye_wire::{Protocol, SackBlock, TcpFlags, TcpHeader, TcpOptions};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

const V4: (&str, &str) = ("10.77.0.2", "10.77.0.3");
const V6: (&str, &str) = ("fd77::2", "fd77::3");

/// An output that can be looked at, and made to fail.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<(Vec<u8>, bool)>>);

impl Output {
    fn len(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap();
        if inner.1 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        inner.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Types and bodies of the blocks in a capture, whose lengths must agree.
fn blocks(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let word = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let (mut all, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let len = word(at + 4) as usize;
        assert_eq!((len % 4, word(at + len - 4) as usize), (0, len));
        all.push((word(at), bytes[at + 8..at + len - 4].to_vec()));
        at += len;
    }
    all
}

#[test]
fn blocks_are_whole_and_in_order() {
    let mut out = Vec::new();
    {
        let config = PcapngConfig { wall_offset: Duration::from_secs(1 << 32), ..PcapngConfig::default() };
        let mut writer = PcapngWriter::new(&mut out, config);
        let web = writer.add_interface("web");
        let now = Instant::from_nanos(5);
        writer.write(now, web, PacketDirection::Outbound, &tcp(V4.0, V4.1, &[1; 3001], 1460));
        assert!(writer.take_error().is_none());
    }
    let blocks = blocks(&out);
    assert_eq!(blocks.iter().map(|block| block.0).collect::<Vec<_>>(), [SECTION_HEADER, 1, 6, 6, 6]);
    assert!(blocks[1].1.windows(3).any(|name| name == b"web"));
    let timestamp = (1_u64 << 32) * 1_000_000_000 + 5;
    let packet = &blocks[4].1;
    assert_eq!(packet[4..8], ((timestamp >> 32) as u32).to_le_bytes());
    assert_eq!(packet[8..12], (timestamp as u32).to_le_bytes());
    assert_eq!(packet[12..16], (16 + 40_u32 + 81).to_le_bytes());
    assert_eq!(packet[20..36], [0, 4, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
    assert_eq!(packet[packet.len() - 12..], [2, 0, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn super_segments_stay_whole_on_request_as_far_as_their_header_can_state() {
    let mut long = tcp(V4.0, V4.1, &vec![1; 120_000], 1460);
    long.head.state_len(long.len());
    for (packet, parts) in [(tcp(V4.0, V4.1, &vec![1; 60_000], 1460), 1), (long, 2)] {
        let mut out = Vec::new();
        {
            let config = PcapngConfig { gso: true, ..PcapngConfig::default() };
            let mut writer = PcapngWriter::new(&mut out, config);
            let interface = writer.add_interface("a");
            writer.write(Instant::ZERO, interface, PacketDirection::Inbound, &packet);
        }
        assert_eq!(blocks(&out).iter().filter(|block| block.0 == ENHANCED_PACKET).count(), parts);
    }
}

#[test]
fn bytes_reach_the_output_in_time() {
    let output = Output::default();
    let mut writer = PcapngWriter::new(output.clone(), PcapngConfig::default());
    let interface = writer.add_interface("a");
    let header_len = output.len();
    assert!(header_len > 0 && writer.poll_timeout().is_none());
    let now = Instant::from_millis(10);
    let write = |writer: &mut PcapngWriter<_>, now, len| {
        writer.write(now, interface, PacketDirection::Inbound, &udp(V4.0, V4.1, &vec![0; len]));
    };
    write(&mut writer, now, 10);
    assert_eq!((output.len(), writer.poll_timeout()), (header_len, Some(now + FLUSH_INTERVAL)));
    writer.handle_timeout(now);
    assert_eq!(output.len(), header_len);
    writer.handle_timeout(now + FLUSH_INTERVAL);
    let after_timeout = output.len();
    assert!(after_timeout > header_len && writer.poll_timeout().is_none());
    write(&mut writer, now, 40_000);
    write(&mut writer, now, 40_000);
    assert!(output.len() > after_timeout + 80_000, "a full buffer is written at once");
    write(&mut writer, now, 10);
    drop(writer);
    assert_eq!(blocks(&output.0.lock().unwrap().0).len(), 6);
}

#[test]
fn an_error_ends_the_capture_and_is_told_once() {
    let output = Output::default();
    let mut writer = PcapngWriter::new(output.clone(), PcapngConfig::default());
    let interface = writer.add_interface("a");
    let header_len = output.len();
    output.0.lock().unwrap().1 = true;
    for _ in 0..10 {
        writer.write(Instant::ZERO, interface, PacketDirection::Inbound, &udp(V4.0, V4.1, &vec![0; 60_000]));
    }
    assert_eq!(writer.take_error().map(|error| error.kind()), Some(io::ErrorKind::StorageFull));
    assert!(writer.take_error().is_none());
    output.0.lock().unwrap().1 = false;
    writer.write(Instant::ZERO, interface, PacketDirection::Inbound, &udp(V4.0, V4.1, &vec![0; 60_000]));
    writer.flush();
    assert_eq!(output.len(), header_len, "a capture with a hole would mislead");
    assert!(writer.buffer.is_empty() && writer.take_error().is_none());
}

/// A TCP packet with the options that tshark should understand.
fn tcp_with_options((src, dst): (&str, &str), flags: TcpFlags, options: TcpOptions) -> Packet {
    let header =
        TcpHeader { src_port: 40_000, dst_port: 80, seq: 99, flags, options, ..TcpHeader::default() };
    packet((ip(src), ip(dst)), 1, Protocol::TCP, b"", |buffer| header.emit(buffer))
}

/// Runs tshark on the capture, with checksums checked, and returns one line for each packet that passes `filter`.
fn tshark(capture: &PathBuf, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-n", "-Y", filter, "-T", "fields"]);
    for preference in ["tcp", "ip", "udp"] {
        command.args(["-o", &format!("{preference}.check_checksum:TRUE")]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn tshark_finds_nothing_wrong() {
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: tshark is not installed");
        return;
    }
    let capture = std::env::temp_dir().join(format!("sockeye-pcapng-{}.pcapng", std::process::id()));
    let mut writer = PcapngWriter::new(std::fs::File::create(&capture).unwrap(), PcapngConfig::default());
    let interfaces = [writer.add_interface("web"), writer.add_interface("client")];
    let mut now = Instant::ZERO;
    let sack =
        TcpOptions { sack: [SackBlock { left: 5, right: 9 }].into_iter().collect(), ..TcpOptions::default() };
    for pair in [V4, V6] {
        let syn = TcpOptions { mss: Some(1460), window_scale: Some(7), ..TcpOptions::default() };
        let packets = [
            tcp_with_options(pair, TcpFlags::SYN, syn),
            tcp(pair.0, pair.1, &[7; 10_001], 1440),
            tcp_with_options(pair, TcpFlags::ACK, sack),
            udp(pair.0, pair.1, b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03web\x07sockeye\0\0\x01\0\x01"),
            echo(pair.0, pair.1),
        ];
        for packet in &packets {
            now += Duration::from_micros(1);
            writer.write(now, interfaces[0], PacketDirection::Outbound, packet);
            writer.write(now, interfaces[1], PacketDirection::Inbound, packet);
        }
    }
    drop(writer);

    let count = |filter: &str| tshark(&capture, filter, &["frame.number"]).len();
    let wrong = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 \
        || icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || _ws.expert.severity == error";
    assert_eq!(tshark(&capture, wrong, &["frame.number", "_ws.col.info"]), Vec::<String>::new());
    // Two interfaces, two families; a super-segment of 10,001 bytes is seven packets.
    assert_eq!(count("tcp.checksum.status == 1"), 2 * 2 * (1 + 7 + 1));
    assert_eq!(count("udp.checksum.status == 1"), 2 * 2);
    assert_eq!(count("icmp.checksum.status == 1 || icmpv6.checksum.status == 1"), 2 * 2);
    assert_eq!(count("ip.checksum.status == 1"), 2 * (1 + 7 + 1 + 1 + 1));
    assert_eq!(count("frame.interface_name == \"web\" && frame.packet_flags_direction == 2"), 22);
    assert_eq!(count("frame.interface_name == \"client\" && frame.packet_flags_direction == 1"), 22);
    assert_eq!(count("tcp.options.sack.count == 1"), 4);
    let first = tshark(&capture, "frame.number == 1", &["frame.time_epoch"]);
    assert!(first[0].contains("00.000001000") || first[0].contains("0.000001000"), "{first:?}");
    std::fs::remove_file(&capture).unwrap();
}

#[test]
fn tcpdump_reads_all_interfaces() {
    if Command::new("tcpdump").arg("--version").output().is_err() {
        eprintln!("skipped: tcpdump is not installed");
        return;
    }
    let capture = std::env::temp_dir().join(format!("sockeye-tcpdump-{}.pcapng", std::process::id()));
    let mut writer = PcapngWriter::new(std::fs::File::create(&capture).unwrap(), PcapngConfig::default());
    let interfaces =
        [writer.add_interface("web"), writer.add_interface("client"), writer.add_interface("web:lo")];
    for (interface, way) in interfaces.into_iter().zip([
        PacketDirection::Outbound,
        PacketDirection::Inbound,
        PacketDirection::Inbound,
    ]) {
        writer.write(Instant::ZERO, interface, way, &udp(V4.0, V4.1, b"x"));
        writer.write(Instant::ZERO, interface, way, &udp(V6.0, V6.1, b"x"));
    }
    drop(writer);
    for (filter, lines) in [("udp", 6), ("ip6 and udp", 3), ("host 10.77.0.3", 3), ("outbound", 2)] {
        let output = Command::new("tcpdump").args(["-n", "-r"]).arg(&capture).arg(filter).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tcpdump: {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), lines, "{filter}: {said}");
    }
    std::fs::remove_file(&capture).unwrap();
}

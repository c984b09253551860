//! What the adversary puts on the link.

use super::World;
use crate::fuzzing::segments::{honest, segment};
use crate::fuzzing::source::Source;
use crate::fuzzing::{bytes_from, frames};
use crate::tcp::check::View;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::{SeqNumber, State};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use sockeye_packet::Payload;
use sockeye_wire::{
    Icmpv4, Icmpv6, IpLayout, Protocol, TcpFlags, TcpHeader, TcpOptions, TcpTimestamps, UdpHeader,
};

impl World {
    pub(super) fn attack(&mut self, source: &mut Source<'_>) {
        match source.byte() {
            0..=109 => self.attack_connection(source),
            110..=149 => self.handshake(source),
            150..=169 => self.syn(source),
            170..=179 => {
                for _ in 0..source.below(40) {
                    self.syn(source);
                }
            }
            180..=199 => self.attack_record(source),
            200..=214 => self.icmp(source),
            215..=229 => self.fragmented(source),
            230..=239 => self.datagram(source),
            240..=247 => self.damaged(source),
            _ => {
                let raw = source.take(60).to_vec();
                self.take_in(frames::received(raw));
            }
        }
    }

    fn attack_connection(&mut self, source: &mut Source<'_>) {
        let Some((view, ends, ports)) = self.target(source) else { return self.syn(source) };
        let ecn = source.pick(&[0, 0, 0, 1, 2, 3]);
        let made = if view.state == State::SynSent && !source.chance(100) {
            syn_ack(source, &view)
        } else if source.chance(60) {
            let len = source.pick(&[0, 0, 100, 1000]).min(view.rcv_wnd as usize);
            honest(&view, view.snd_nxt.0, len)
        } else {
            segment(source, &view)
        };
        self.send_tcp(ends, ports, made, ecn);
    }

    /// Completes what is half open, or nearly.
    fn handshake(&mut self, source: &mut Source<'_>) {
        let count = self.stack.io.half_open.len();
        let Some(record) =
            self.stack.io.half_open.iter().nth(source.below(count.max(1))).map(|(_, record)| *record)
        else {
            return self.cookie(source);
        };
        let view = view_of(&record);
        let made = if source.chance(60) {
            segment(source, &view)
        } else {
            honest(&view, view.snd_nxt.0, source.pick(&[0, 0, 10, 1000]))
        };
        let ends = [record.tuple.remote, record.tuple.local].map(crate::address::ip_from_bytes);
        self.send_tcp(ends, [record.tuple.remote_port, record.tuple.local_port], made, 0);
    }

    /// Answers a SYN-ACK that nobody remembers any more, maybe.
    fn cookie(&mut self, source: &mut Source<'_>) {
        let last = self.sent.iter().find_map(|packet| {
            let layout = IpLayout::parse(&packet.head).ok()?;
            let (header, _) = TcpHeader::parse(packet.head.get(layout.transport..)?).ok()?;
            let syn_ack = layout.protocol == Protocol::TCP && header.flags.syn() && header.flags.ack();
            syn_ack.then_some((layout, header))
        });
        let Some((layout, header)) = last else { return self.syn(source) };
        let timestamps = header
            .options
            .timestamps
            .map(|stamps| TcpTimestamps { value: stamps.echo.wrapping_add(1), echo: stamps.value });
        let answer = TcpHeader {
            seq: header.ack,
            ack: header.seq.wrapping_add(source.pick(&[1, 1, 1, 0, 2])),
            flags: TcpFlags::ACK,
            window: 8192,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
            ..TcpHeader::default()
        };
        let payload: Payload = bytes_from(answer.seq, source.pick(&[0, 0, 10])).into();
        self.send_tcp([layout.dst, layout.src], [header.dst_port, header.src_port], (answer, payload), 0);
    }

    fn syn(&mut self, source: &mut Source<'_>) {
        let view = nobody();
        let (header, _) = segment(source, &view);
        let options = header.options;
        let timestamps = source.pick(&[Some(TcpTimestamps { value: 5, echo: 0 }), None]);
        let syn = TcpHeader {
            seq: source.pick(&[100, u32::MAX - 100, 1 << 31]),
            ack: 0,
            flags: source.pick(&[TcpFlags::SYN, TcpFlags::SYN, TcpFlags::SYN, TcpFlags::SYN | TcpFlags::FIN]),
            window: header.window,
            options: TcpOptions {
                mss: source.pick(&[Some(1460), Some(536), None, Some(1)]),
                window_scale: source.pick(&[Some(7), None, Some(14)]),
                sack_permitted: !source.chance(64),
                timestamps,
                sack: options.sack,
            },
            ..TcpHeader::default()
        };
        let payload: Payload = bytes_from(syn.seq.wrapping_add(1), source.pick(&[0, 0, 0, 20])).into();
        let port = 2000 + source.below(12) as u16;
        let host = source.below(3) as u8;
        let to = self.destination(source);
        let ends = [self.foreign(host), to];
        self.send_tcp(ends, [port, source.pick(&[80, 80, 81, 9])], (syn, payload), 0);
    }

    fn destination(&mut self, source: &mut Source<'_>) -> IpAddr {
        if !source.chance(20) {
            return self.own();
        }
        // Somebody else: flows, if they are intercepted.
        if self.v6 { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 9].into() } else { [192, 0, 2, 9].into() }
    }

    /// To what is left of a connection.
    fn attack_record(&mut self, source: &mut Source<'_>) {
        let count = self.stack.io.time_wait.len();
        let Some(record) =
            self.stack.io.time_wait.iter().nth(source.below(count.max(1))).map(|(_, record)| *record)
        else {
            return self.attack_connection(source);
        };
        let seed = record.seed;
        let mut view = nobody();
        (view.snd_una, view.snd_nxt) = (seed.snd_nxt, seed.snd_nxt);
        (view.rcv_nxt, view.ts_recent) = (seed.rcv_nxt, seed.ts_recent);
        let mut made = segment(source, &view);
        if source.chance(100) {
            made.0.flags = TcpFlags::SYN;
        }
        let ends = [record.tuple.remote, record.tuple.local].map(crate::address::ip_from_bytes);
        self.send_tcp(ends, [record.tuple.remote_port, record.tuple.local_port], made, 0);
    }

    /// An error that quotes what was sent, or what could have been.
    fn icmp(&mut self, source: &mut Source<'_>) {
        let quoted = if source.chance(128) {
            let count = self.sent.len();
            self.sent.get(source.below(count.max(1))).map(frames::bytes)
        } else {
            self.target(source).map(|(view, [remote, local], [remote_port, local_port])| {
                let seq = source.pick(&[view.snd_una.0, view.snd_nxt.0, view.snd_una.0.wrapping_sub(1), 77]);
                let header =
                    TcpHeader { seq, src_port: local_port, dst_port: remote_port, ..TcpHeader::default() };
                frames::bytes(&frames::tcp([local, remote], &header, Payload::EMPTY, 0))
            })
        };
        let Some(mut quoted) = quoted else { return };
        quoted.truncate(source.pick(&[200, 28, 48, 40, 60, 10]));
        let mtu = source.pick(&[1400, 1280, 576, 68, 0, 65_535, 1500, 296]);
        let mut buffer = [0; 16];
        let (protocol, len) = if quoted.first().is_some_and(|first| first >> 4 == 4) {
            let code = source.below(16) as u8;
            let message = match source.byte() {
                0..=99 => Icmpv4::Unreachable { code: 4, mtu },
                100..=199 => Icmpv4::Unreachable { code, mtu },
                200..=219 => Icmpv4::TimeExceeded { code: 0 },
                220..=239 => Icmpv4::ParameterProblem { code: 0, pointer: 4 },
                _ => Icmpv4::Other { kind: 4, code: 0, rest: [0; 4] },
            };
            (Protocol::ICMP, message.emit(&mut buffer))
        } else {
            let code = source.below(8) as u8;
            let message = match source.byte() {
                0..=99 => Icmpv6::PacketTooBig { mtu: u32::from(mtu) },
                100..=199 => Icmpv6::Unreachable { code },
                200..=229 => Icmpv6::TimeExceeded { code: 0 },
                _ => Icmpv6::ParameterProblem { code, pointer: 6 },
            };
            (Protocol::ICMPV6, message.emit(&mut buffer))
        };
        let v4 = protocol == Protocol::ICMP;
        let router: IpAddr = if v4 { [10, 0, 0, 99].into() } else { [0xfd77, 0, 0, 0, 0, 0, 0, 0x99].into() };
        let own: IpAddr = if v4 { [10, 0, 0, 1].into() } else { [0xfd77, 0, 0, 0, 0, 0, 0, 1].into() };
        let packet = frames::packet(
            [router, own],
            protocol,
            &buffer[..len],
            sockeye_packet::Chunk::from(quoted).into(),
            0,
        );
        self.take_in(packet);
    }

    /// A good packet in pieces that come in any order, some of them twice or not at all, maybe overlapping.
    fn fragmented(&mut self, source: &mut Source<'_>) {
        let whole = match self.target(source) {
            Some((view, ends, [src_port, dst_port])) if source.chance(200) => {
                let (header, payload) = segment(source, &view);
                let payload = payload.slice(0, payload.len().min(4000));
                frames::tcp(ends, &TcpHeader { src_port, dst_port, ..header }, payload, 0)
            }
            _ => self.udp(source),
        };
        let size = source.pick(&[512, 8, 64, 1400, 4000]);
        let id = source.below(4) as u32;
        let mut parts = frames::fragments(&frames::bytes(&whole), size, id);
        if source.chance(40) {
            parts.extend(frames::fragments(&frames::bytes(&whole), size + 8, id));
        }
        let mut budget = 200;
        while !parts.is_empty() && budget > 0 {
            budget -= 1;
            let at = if source.chance(60) { source.below(parts.len()) } else { 0 };
            let part = if source.chance(10) { parts[at].clone() } else { parts.remove(at) };
            if !source.chance(10) {
                self.take_in(frames::received(part));
            }
        }
    }

    fn udp(&self, source: &mut Source<'_>) -> sockeye_packet::Packet {
        let len = source.pick(&[10, 0, 1000, 3000]);
        let header = UdpHeader {
            src_port: 2000 + source.below(4) as u16,
            dst_port: source.pick(&[53, 54, 2000]),
            len: 8 + len as u16,
        };
        let mut transport = [0; 8];
        header.emit(&mut transport);
        let ends = [self.foreign(source.below(3) as u8), self.own()];
        frames::packet(ends, Protocol::UDP, &transport, bytes_from(0, len).into(), 0)
    }

    fn datagram(&mut self, source: &mut Source<'_>) {
        let packet = if source.chance(128) {
            let mut buffer = [0; 8];
            let (protocol, len) = if self.v6 {
                (Protocol::ICMPV6, Icmpv6::EchoRequest { id: 1, seq: 2 }.emit(&mut buffer))
            } else {
                (Protocol::ICMP, Icmpv4::EchoRequest { id: 1, seq: 2 }.emit(&mut buffer))
            };
            let to = self.destination(source);
            frames::packet([self.foreign(0), to], protocol, &buffer[..len], bytes_from(0, 40).into(), 0)
        } else {
            self.udp(source)
        };
        self.take_in(packet);
    }

    /// A good segment with some bytes changed, its checksums left or filled again.
    fn damaged(&mut self, source: &mut Source<'_>) {
        let Some((view, ends, [src_port, dst_port])) = self.target(source) else { return };
        let (header, _) = segment(source, &view);
        let packet = frames::tcp(ends, &TcpHeader { src_port, dst_port, ..header }, Payload::EMPTY, 0);
        let mut bytes: Vec<u8> = packet.to_vec();
        for _ in 0..=source.below(4) {
            let at = source.below(bytes.len().min(200));
            bytes[at] = source.byte();
        }
        if source.chance(200) {
            own_up_to_data(&mut bytes);
            sockeye_wire::fill_checksums(&mut bytes, vec![].into_iter());
        }
        self.take_in(frames::received(bytes));
    }
}

/// What a changed data offset has made of options is data now: its bytes become those of its place, as all
/// data's are.
fn own_up_to_data(packet: &mut [u8]) {
    let Ok(layout) = IpLayout::parse(packet) else { return };
    if layout.protocol != Protocol::TCP {
        return;
    }
    let Ok((header, len)) = TcpHeader::parse(&packet[layout.transport..]) else { return };
    let first = header.seq.wrapping_add(u32::from(header.flags.syn()));
    let Some(data) = packet.get_mut(layout.transport + len..layout.total_len) else { return };
    data.copy_from_slice(&bytes_from(first, data.len()));
}

fn syn_ack(source: &mut Source<'_>, view: &View) -> (TcpHeader, Payload) {
    let header = TcpHeader {
        seq: 900,
        ack: view.snd_nxt.0.wrapping_add(source.pick(&[0, 0, 0, 1])),
        flags: source.pick(&[
            TcpFlags::SYN | TcpFlags::ACK,
            TcpFlags::SYN | TcpFlags::ACK,
            TcpFlags::SYN,
            TcpFlags::RST | TcpFlags::ACK,
        ]),
        window: source.pick(&[65_535, 0, 1000]),
        options: TcpOptions {
            mss: source.pick(&[Some(1460), None, Some(0)]),
            window_scale: source.pick(&[Some(7), None]),
            sack_permitted: !source.chance(64),
            timestamps: source
                .pick(&[Some(TcpTimestamps { value: 5, echo: view.ts_now.unwrap_or(0) }), None]),
            ..TcpOptions::default()
        },
        ..TcpHeader::default()
    };
    (header, bytes_from(901, source.pick(&[0, 0, 0, 100])).into())
}

/// A half-open connection seen as one that is open.
fn view_of(record: &HalfOpen) -> View {
    View {
        state: State::SynReceived,
        iss: record.iss,
        irs: record.irs,
        snd_una: record.iss,
        snd_nxt: record.iss + 1,
        rcv_nxt: record.irs + 1,
        rcv_wnd: record.our_window,
        read_seq: record.irs + 1,
        ts_recent: record.ts_recent,
        ts_now: Some(0),
        ..nobody()
    }
}

/// What may be known of a connection that there isn't.
fn nobody() -> View {
    View {
        state: State::Closed,
        iss: SeqNumber(100),
        irs: SeqNumber(100),
        snd_una: SeqNumber(100),
        snd_nxt: SeqNumber(101),
        snd_wnd: 65_535,
        snd_mss: 1000,
        rcv_nxt: SeqNumber(101),
        rcv_wnd: 65_535,
        read_seq: SeqNumber(101),
        ts_recent: None,
        ts_now: None,
        rcv_wscale: 0,
        snd_wl1: SeqNumber(100),
        unsent: 0,
        fin_received: false,
        urgent: None,
    }
}

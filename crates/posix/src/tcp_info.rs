//! `struct tcp_info` in Linux's layout.
//!
//! [`FIELDS`] says where each field lies, as `linux/tcp.h` does since Linux 6.18; the structure only ever grows
//! at its end. Windows and queues are counted in segments where Linux does so, times are microseconds or
//! milliseconds as there.

use crate::sock_diag::{LISTEN, state_number};
use core::time::Duration;
use sockeye_stack::{CaState, TcpInfo, TcpState};

/// Size of the structure in Linux 6.18.
const LEN: usize = 280;

/// What Linux reports as the threshold before the first loss (`TCP_INFINITE_SSTHRESH`).
const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

/// A field of the structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in C.
    pub name: &'static str,
    /// Where its bytes begin.
    pub offset: usize,
    /// How many bytes they are.
    pub len: usize,
    /// The bits of them that it takes: the lowest, and how many.
    pub bits: (u32, u32),
}

impl Field {
    /// Its value in a structure's bytes; `None` if those end before it.
    pub fn read(&self, info: &[u8]) -> Option<u64> {
        let bytes = info.get(self.offset..self.offset + self.len)?;
        let whole = match *bytes {
            [byte] => byte.into(),
            [a, b] => u16::from_ne_bytes([a, b]).into(),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
            _ => u64::from_ne_bytes(bytes.try_into().ok()?),
        };
        let (lowest, count) = self.bits;
        Some(whole >> lowest & (u64::MAX >> (64 - count)))
    }
}

/// The field of this name, with or without the prefix `tcpi_`.
pub fn field(name: &str) -> Option<&'static Field> {
    let name = name.strip_prefix("tcpi_").unwrap_or(name);
    FIELDS.iter().find(|field| field.name.strip_prefix("tcpi_") == Some(name))
}

macro_rules! fields {
    ($($name:ident: $len:literal at $offset:literal $(bits $lowest:literal + $count:literal)?,)*) => {
        /// Every field, in order.
        pub const FIELDS: &[Field] = &[$(Field {
            name: stringify!($name),
            offset: $offset,
            len: $len,
            bits: fields!(@bits $len $($lowest $count)?),
        },)*];
    };
    (@bits $len:literal) => { (0, 8 * $len) };
    (@bits $len:literal $lowest:literal $count:literal) => { ($lowest, $count) };
}

fields! {
    tcpi_state: 1 at 0,
    tcpi_ca_state: 1 at 1,
    tcpi_retransmits: 1 at 2,
    tcpi_probes: 1 at 3,
    tcpi_backoff: 1 at 4,
    tcpi_options: 1 at 5,
    tcpi_snd_wscale: 1 at 6 bits 0 + 4,
    tcpi_rcv_wscale: 1 at 6 bits 4 + 4,
    tcpi_delivery_rate_app_limited: 1 at 7 bits 0 + 1,
    tcpi_fastopen_client_fail: 1 at 7 bits 1 + 2,
    tcpi_rto: 4 at 8,
    tcpi_ato: 4 at 12,
    tcpi_snd_mss: 4 at 16,
    tcpi_rcv_mss: 4 at 20,
    tcpi_unacked: 4 at 24,
    tcpi_sacked: 4 at 28,
    tcpi_lost: 4 at 32,
    tcpi_retrans: 4 at 36,
    tcpi_fackets: 4 at 40,
    tcpi_last_data_sent: 4 at 44,
    tcpi_last_ack_sent: 4 at 48,
    tcpi_last_data_recv: 4 at 52,
    tcpi_last_ack_recv: 4 at 56,
    tcpi_pmtu: 4 at 60,
    tcpi_rcv_ssthresh: 4 at 64,
    tcpi_rtt: 4 at 68,
    tcpi_rttvar: 4 at 72,
    tcpi_snd_ssthresh: 4 at 76,
    tcpi_snd_cwnd: 4 at 80,
    tcpi_advmss: 4 at 84,
    tcpi_reordering: 4 at 88,
    tcpi_rcv_rtt: 4 at 92,
    tcpi_rcv_space: 4 at 96,
    tcpi_total_retrans: 4 at 100,
    tcpi_pacing_rate: 8 at 104,
    tcpi_max_pacing_rate: 8 at 112,
    tcpi_bytes_acked: 8 at 120,
    tcpi_bytes_received: 8 at 128,
    tcpi_segs_out: 4 at 136,
    tcpi_segs_in: 4 at 140,
    tcpi_notsent_bytes: 4 at 144,
    tcpi_min_rtt: 4 at 148,
    tcpi_data_segs_in: 4 at 152,
    tcpi_data_segs_out: 4 at 156,
    tcpi_delivery_rate: 8 at 160,
    tcpi_busy_time: 8 at 168,
    tcpi_rwnd_limited: 8 at 176,
    tcpi_sndbuf_limited: 8 at 184,
    tcpi_delivered: 4 at 192,
    tcpi_delivered_ce: 4 at 196,
    tcpi_bytes_sent: 8 at 200,
    tcpi_bytes_retrans: 8 at 208,
    tcpi_dsack_dups: 4 at 216,
    tcpi_reord_seen: 4 at 220,
    tcpi_rcv_ooopack: 4 at 224,
    tcpi_snd_wnd: 4 at 228,
    tcpi_rcv_wnd: 4 at 232,
    tcpi_rehash: 4 at 236,
    tcpi_total_rto: 2 at 240,
    tcpi_total_rto_recoveries: 2 at 242,
    tcpi_total_rto_time: 4 at 244,
    tcpi_received_ce: 4 at 248,
    tcpi_delivered_e1_bytes: 4 at 252,
    tcpi_delivered_e0_bytes: 4 at 256,
    tcpi_delivered_ce_bytes: 4 at 260,
    tcpi_received_e1_bytes: 4 at 264,
    tcpi_received_e0_bytes: 4 at 268,
    tcpi_received_ce_bytes: 4 at 272,
    tcpi_accecn_fail_mode: 2 at 276,
    tcpi_accecn_opt_seen: 2 at 278,
}

/// The structure's bytes.
pub fn encode(info: &TcpInfo) -> [u8; LEN] {
    let mut out = [0; LEN];
    let state = if info.listening { LISTEN } else { state_number(info.state) };
    out[..6].copy_from_slice(&[
        state,
        ca_number(info.ca_state),
        info.retransmits,
        info.probes,
        info.backoff,
        options(info),
    ]);
    out[6] = (info.snd_wscale & 0xf) | (info.rcv_wscale << 4);
    out[7] = info.delivery_rate_app_limited.into();
    encode_paths(info, &mut out);
    encode_totals(info, &mut out);
    out
}

/// What the connection is at: the first half of the structure, and what of the rest goes with it.
fn encode_paths(info: &TcpInfo, out: &mut [u8; LEN]) {
    let mut put = |offset: usize, value: u32| out[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    let mss = usize::from(info.snd_mss).max(1);
    let segments = |bytes: usize| u32::try_from(bytes / mss).unwrap_or(u32::MAX);
    put(8, micros(info.rto));
    put(12, micros(info.ato));
    put(16, info.snd_mss.into());
    put(20, info.rcv_mss.into());
    put(24, info.unacked);
    put(28, info.sacked);
    put(32, info.lost);
    put(36, info.retrans);
    put(44, millis(info.last_data_sent));
    put(52, millis(info.last_data_recv));
    put(56, millis(info.last_ack_recv));
    put(60, info.pmtu);
    put(64, info.rcv_ssthresh);
    // A sample takes a microsecond at least, or programs think that there was none.
    put(68, info.srtt.map_or(0, |srtt| micros(srtt).max(1)));
    put(72, micros(info.rttvar));
    put(76, if info.snd_ssthresh == usize::MAX { INFINITE_SSTHRESH } else { segments(info.snd_ssthresh) });
    put(80, segments(info.snd_cwnd));
    put(84, info.advmss.into());
    put(88, info.reordering);
    put(92, micros(info.rcv_rtt));
    put(96, info.rcv_space);
    put(144, info.notsent_bytes);
    // As the kernel: without a sample the least round-trip time is all ones.
    put(148, info.min_rtt.map_or(u32::MAX, micros));
    put(228, info.snd_wnd);
    put(232, info.rcv_wnd);
}

/// What is counted and measured over the connection's life.
fn encode_totals(info: &TcpInfo, out: &mut [u8; LEN]) {
    let mut put = |offset: usize, value: u32| out[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    put(100, info.total_retrans);
    put(136, info.segs_out);
    put(140, info.segs_in);
    put(152, info.data_segs_in);
    put(156, info.data_segs_out);
    put(192, info.delivered);
    put(196, info.delivered_ce);
    put(216, info.dsack_dups);
    put(220, info.reord_seen);
    put(224, info.rcv_ooopack);
    put(236, info.rehash);
    put(244, millis(info.total_rto_time));
    let mut put = |offset: usize, value: u64| out[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
    put(104, info.pacing_rate);
    put(112, info.max_pacing_rate);
    put(120, info.bytes_acked);
    put(128, info.bytes_received);
    put(160, info.delivery_rate);
    put(168, info.busy_time.as_micros() as u64);
    put(176, info.rwnd_limited.as_micros() as u64);
    put(184, info.sndbuf_limited.as_micros() as u64);
    put(200, info.bytes_sent);
    put(208, info.bytes_retrans);
    out[240..242].copy_from_slice(&info.total_rto.to_ne_bytes());
    out[242..244].copy_from_slice(&info.total_rto_recoveries.to_ne_bytes());
}

/// The structure of a socket that has no connection and does not listen.
pub(crate) fn encode_idle() -> [u8; LEN] {
    let mut info = TcpInfo::default();
    info.state = TcpState::Closed;
    info.rto = Duration::from_secs(1);
    (info.snd_mss, info.rcv_mss) = (536, 536);
    (info.snd_cwnd, info.snd_ssthresh) = (10 * 536, usize::MAX);
    (info.pacing_rate, info.max_pacing_rate) = (u64::MAX, u64::MAX);
    info.reordering = 3;
    info.delivery_rate_app_limited = true;
    encode(&info)
}

/// `tcpi_options`.
fn options(info: &TcpInfo) -> u8 {
    let flags =
        [(info.timestamps, 1), (info.sack, 2), (info.window_scaling, 4), (info.ecn, 8), (info.ecn_seen, 16)];
    flags.into_iter().map(|(set, bit)| if set { bit } else { 0 }).sum()
}

/// The kernel's number of a state (`TCP_ESTABLISHED` is 1).
fn ca_number(state: CaState) -> u8 {
    match state {
        CaState::Open => 0,
        CaState::Disorder => 1,
        CaState::Cwr => 2,
        CaState::Recovery => 3,
        CaState::Loss => 4,
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    fn info() -> TcpInfo {
        let mut info = TcpInfo::default();
        info.state = TcpState::CloseWait;
        info.ca_state = CaState::Recovery;
        info.snd_mss = 1448;
        info.snd_cwnd = 14480;
        info.snd_ssthresh = usize::MAX;
        info.srtt = Some(Duration::from_millis(40));
        info.rto = Duration::from_millis(240);
        info.rttvar = Duration::from_millis(5);
        info.total_retrans = 7;
        info.unacked = 11;
        info.busy_time = Duration::from_millis(3);
        info.total_rto = 5;
        info.total_rto_recoveries = 6;
        (info.timestamps, info.sack, info.window_scaling) = (true, true, true);
        (info.snd_wscale, info.rcv_wscale) = (7, 9);
        info
    }

    #[test]
    fn fields_lie_where_libc_says() {
        macro_rules! same {
            ($($name:ident)*) => {
                $(assert_eq!(field(stringify!($name)).unwrap().offset, offset_of!(libc::tcp_info, $name));)*
            };
        }
        same!(tcpi_state tcpi_ca_state tcpi_retransmits tcpi_probes tcpi_backoff tcpi_options tcpi_rto tcpi_ato
            tcpi_snd_mss tcpi_rcv_mss tcpi_unacked tcpi_sacked tcpi_lost tcpi_retrans tcpi_fackets
            tcpi_last_data_sent tcpi_last_ack_sent tcpi_last_data_recv tcpi_last_ack_recv tcpi_pmtu
            tcpi_rcv_ssthresh tcpi_rtt tcpi_rttvar tcpi_snd_ssthresh tcpi_snd_cwnd tcpi_advmss
            tcpi_reordering tcpi_rcv_rtt tcpi_rcv_space tcpi_total_retrans);
    }

    #[test]
    fn a_round_trip_that_was_measured_is_never_zero() {
        let rtt = |srtt| {
            let mut info = info();
            info.srtt = srtt;
            field("rtt").unwrap().read(&encode(&info))
        };
        assert_eq!(rtt(None), Some(0));
        assert_eq!(rtt(Some(Duration::ZERO)), Some(1));
        assert_eq!(rtt(Some(Duration::from_micros(7))), Some(7));
    }

    #[test]
    fn fields_are_contiguous_and_aligned() {
        let mut end = 0;
        for field in FIELDS {
            assert_eq!(field.offset % field.len, 0, "{}", field.name);
            assert!(field.offset == end || (field.offset == end - 1 && field.bits.0 > 0), "{}", field.name);
            end = field.offset + field.len;
        }
        assert_eq!(end, LEN);
    }

    #[test]
    fn values_are_in_linuxs_units() {
        let bytes = encode(&info());
        let read = |name: &str| field(name).unwrap().read(&bytes).unwrap();
        assert_eq!((read("state"), read("ca_state"), read("options")), (8, 3, 7));
        assert_eq!((read("snd_wscale"), read("rcv_wscale")), (7, 9));
        assert_eq!((read("tcpi_rto"), read("tcpi_rtt"), read("rttvar")), (240_000, 40_000, 5_000));
        assert_eq!((read("snd_cwnd"), read("unacked")), (10, 11));
        assert_eq!(read("snd_ssthresh"), u64::from(INFINITE_SSTHRESH));
        assert_eq!((read("total_retrans"), read("busy_time")), (7, 3000));
        assert_eq!((read("total_rto"), read("total_rto_recoveries")), (5, 6));
        assert_eq!(field("min_rtt").unwrap().read(&bytes[..148]), None);
        assert_eq!(field("nonsense"), None);
    }

    #[test]
    fn a_listener_tells_of_its_queue() {
        let mut info = TcpInfo::default();
        (info.listening, info.unacked, info.sacked) = (true, 3, 128);
        let bytes = encode(&info);
        assert_eq!((bytes[0], bytes[24], bytes[28]), (LISTEN, 3, 128));
        assert_eq!(encode_idle()[0], 7);
    }
}

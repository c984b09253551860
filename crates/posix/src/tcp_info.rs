//! `struct tcp_info` in Linux's layout.
//!
//! Offsets are those of `linux/tcp.h`; the structure only ever grows at its end. What the stack does not
//! count stays zero. Windows and queues are counted in segments where Linux does so.

use core::time::Duration;
use sockeye_stack::{TcpInfo, TcpState};

/// Size of the structure since Linux 6.7.
const LEN: usize = 248;

/// `TCP_LISTEN`.
const LISTEN: u8 = 10;
/// Flags of `tcpi_options`.
const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const WINDOW_SCALE: u8 = 4;
/// `tcpi_ca_state` while nothing is amiss, and while a timeout is being recovered from.
const CA_OPEN: u8 = 0;
const CA_RECOVERY: u8 = 3;
const CA_LOSS: u8 = 4;
/// What Linux reports as the threshold before the first loss (`TCP_INFINITE_SSTHRESH`).
const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

/// The structure's bytes.
pub(crate) fn encode(info: &TcpInfo) -> [u8; LEN] {
    let mut out = [0; LEN];
    let segments = |bytes: usize| bytes.div_ceil(usize::from(info.snd_mss).max(1)) as u32;
    let scaled = info.snd_wscale != 0 || info.rcv_wscale != 0;
    out[0] = state_number(info.state);
    out[1] = match (info.backoff, info.lost) {
        (0, 0) => CA_OPEN,
        (0, _) => CA_RECOVERY,
        _ => CA_LOSS,
    };
    out[2] = info.backoff;
    out[4] = info.backoff;
    out[5] = flag(info.timestamps, TIMESTAMPS) | flag(info.sack, SACK) | flag(scaled, WINDOW_SCALE);
    out[6] = (info.snd_wscale & 0xf) | (info.rcv_wscale << 4);
    let mut put = |offset: usize, value: u32| out[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    put(8, micros(info.rto));
    put(16, info.snd_mss.into());
    put(20, info.rcv_mss.into());
    put(24, segments(info.unacked));
    put(28, segments(info.sacked));
    put(32, segments(info.lost));
    put(68, micros(info.srtt.unwrap_or_default()));
    put(72, micros(info.rttvar));
    put(76, if info.snd_ssthresh == usize::MAX { INFINITE_SSTHRESH } else { segments(info.snd_ssthresh) });
    put(80, segments(info.snd_cwnd));
    put(100, info.retransmits);
    put(144, u32::try_from(info.unsent).unwrap_or(u32::MAX));
    put(228, info.snd_wnd);
    put(232, info.rcv_wnd);
    out
}

/// The structure of a socket that has no connection: it listens, or is closed.
pub(crate) fn encode_idle(listening: bool) -> [u8; LEN] {
    let mut out = [0; LEN];
    out[0] = if listening { LISTEN } else { state_number(TcpState::Closed) };
    out
}

/// The kernel's number of a state (`TCP_ESTABLISHED` is 1).
fn state_number(state: TcpState) -> u8 {
    match state {
        TcpState::Established => 1,
        TcpState::SynSent => 2,
        TcpState::SynReceived => 3,
        TcpState::FinWait1 => 4,
        TcpState::FinWait2 => 5,
        TcpState::TimeWait => 6,
        TcpState::CloseWait => 8,
        TcpState::LastAck => 9,
        TcpState::Closing => 11,
        TcpState::Closed => 7,
    }
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    fn info() -> TcpInfo {
        let mut info = TcpInfo::default();
        info.state = TcpState::CloseWait;
        info.snd_mss = 1448;
        info.snd_cwnd = 14480;
        info.snd_ssthresh = usize::MAX;
        info.srtt = Some(Duration::from_millis(40));
        info.rto = Duration::from_millis(240);
        info.rttvar = Duration::from_millis(5);
        info.retransmits = 7;
        (info.timestamps, info.sack) = (true, true);
        (info.snd_wscale, info.rcv_wscale) = (7, 9);
        info
    }

    #[test]
    fn fields_lie_where_libc_says() {
        let bytes = encode(&info());
        let at = |offset: usize| u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap());
        assert_eq!(bytes[offset_of!(libc::tcp_info, tcpi_state)], 8);
        assert_eq!(bytes[offset_of!(libc::tcp_info, tcpi_options)], 7);
        assert_eq!(bytes[6], 0x97);
        assert_eq!(at(offset_of!(libc::tcp_info, tcpi_rto)), 240_000);
        assert_eq!(at(offset_of!(libc::tcp_info, tcpi_snd_mss)), 1448);
        assert_eq!(at(offset_of!(libc::tcp_info, tcpi_rtt)), 40_000);
        assert_eq!(at(offset_of!(libc::tcp_info, tcpi_rttvar)), 5_000);
        assert_eq!(at(offset_of!(libc::tcp_info, tcpi_snd_cwnd)), 10);
        assert_eq!(at(offset_of!(libc::tcp_info, tcpi_snd_ssthresh)), INFINITE_SSTHRESH);
        assert_eq!(at(offset_of!(libc::tcp_info, tcpi_total_retrans)), 7);
    }
}

//! Statements in `%{ }%`: what they ask of the socket under test is read from its `TCP_INFO`, in Linux's
//! layout and units, when the block is played.

use super::Player;
use super::trace::Wrong;
use crate::eval::{Program, Value};
use crate::script::Command;
use sockeye_stack::{Counter, Counters};

/// The width of a field in bytes, and where it lies in `struct tcp_info`.
const FIELDS: &[(&str, usize, usize)] = &[
    ("tcpi_state", 0, 1),
    ("tcpi_ca_state", 1, 1),
    ("tcpi_retransmits", 2, 1),
    ("tcpi_probes", 3, 1),
    ("tcpi_backoff", 4, 1),
    ("tcpi_options", 5, 1),
    ("tcpi_rto", 8, 4),
    ("tcpi_ato", 12, 4),
    ("tcpi_snd_mss", 16, 4),
    ("tcpi_rcv_mss", 20, 4),
    ("tcpi_unacked", 24, 4),
    ("tcpi_sacked", 28, 4),
    ("tcpi_lost", 32, 4),
    ("tcpi_retrans", 36, 4),
    ("tcpi_fackets", 40, 4),
    ("tcpi_last_data_sent", 44, 4),
    ("tcpi_last_ack_sent", 48, 4),
    ("tcpi_last_data_recv", 52, 4),
    ("tcpi_last_ack_recv", 56, 4),
    ("tcpi_pmtu", 60, 4),
    ("tcpi_rcv_ssthresh", 64, 4),
    ("tcpi_rtt", 68, 4),
    ("tcpi_rttvar", 72, 4),
    ("tcpi_snd_ssthresh", 76, 4),
    ("tcpi_snd_cwnd", 80, 4),
    ("tcpi_advmss", 84, 4),
    ("tcpi_reordering", 88, 4),
    ("tcpi_rcv_rtt", 92, 4),
    ("tcpi_rcv_space", 96, 4),
    ("tcpi_total_retrans", 100, 4),
    ("tcpi_pacing_rate", 104, 8),
    ("tcpi_max_pacing_rate", 112, 8),
    ("tcpi_bytes_acked", 120, 8),
    ("tcpi_bytes_received", 128, 8),
    ("tcpi_segs_out", 136, 4),
    ("tcpi_segs_in", 140, 4),
    ("tcpi_notsent_bytes", 144, 4),
    ("tcpi_min_rtt", 148, 4),
    ("tcpi_data_segs_in", 152, 4),
    ("tcpi_data_segs_out", 156, 4),
    ("tcpi_delivery_rate", 160, 8),
    ("tcpi_busy_time", 168, 8),
    ("tcpi_rwnd_limited", 176, 8),
    ("tcpi_sndbuf_limited", 184, 8),
    ("tcpi_delivered", 192, 4),
    ("tcpi_delivered_ce", 196, 4),
    ("tcpi_bytes_sent", 200, 8),
    ("tcpi_bytes_retrans", 208, 8),
    ("tcpi_dsack_dups", 216, 4),
    ("tcpi_reord_seen", 220, 4),
    ("tcpi_rcv_ooopack", 224, 4),
    ("tcpi_snd_wnd", 228, 4),
    ("tcpi_rcv_wnd", 232, 4),
    ("tcpi_rehash", 236, 4),
    ("tcpi_total_rto", 240, 2),
    ("tcpi_total_rto_recoveries", 242, 2),
    ("tcpi_total_rto_time", 244, 4),
];

/// Fields narrower than a byte: name, byte, first bit, how many.
const BITS: &[(&str, usize, u32, u32)] = &[
    ("tcpi_snd_wscale", 6, 0, 4),
    ("tcpi_rcv_wscale", 6, 4, 4),
    ("tcpi_delivery_rate_app_limited", 7, 0, 1),
    ("tcpi_fastopen_client_fail", 7, 1, 2),
];

/// A field of the structure's bytes.
fn field(info: &[u8], name: &str) -> Option<u64> {
    if let Some((_, at, first, count)) = BITS.iter().find(|(known, ..)| *known == name) {
        return Some(u64::from(info.get(*at)? >> first & ((1 << count) - 1)));
    }
    let (_, at, width) = FIELDS.iter().find(|(known, ..)| *known == name)?;
    let mut bytes = [0; 8];
    bytes[..*width].copy_from_slice(info.get(*at..at + width)?);
    Some(u64::from_le_bytes(bytes))
}

/// A counter by its name in /proc/net/netstat, or in /proc/net/snmp.
fn count(counters: &Counters, name: &str) -> Option<u64> {
    let named =
        |counter: &&Counter| counter.name() == name && matches!(counter.group(), "TcpExt" | "Tcp" | "IpExt");
    Counter::ALL.iter().find(named).map(|counter| counters[*counter])
}

impl Player {
    /// Runs a block.
    pub(super) fn code(&mut self, code: &Command) -> Result<(), Wrong> {
        self.settle()?;
        let info = match self.program.latest_stream() {
            Some(id) => self.tcp_info(id).cut_to(usize::MAX).unwrap_or_default().to_vec(),
            None => Vec::new(),
        };
        let lookup = |name: &str| {
            let counter = || count(self.stack.counters(), name.strip_prefix("netstat_")?);
            field(&info, name).or_else(counter).map(Value::from)
        };
        let mut variables = core::mem::take(&mut self.variables);
        let ran = Program::parse(&code.text).and_then(|program| program.run(&mut variables, &lookup));
        self.variables = variables;
        self.trace.note(self.elapsed(), format_args!("%{{{}}}%", code.text));
        ran.map_err(|error| Wrong::new(format!("%{{{}}}%", code.text), error.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn fields_lie_where_libc_says() {
        let at = |name| FIELDS.iter().find(|(known, ..)| *known == name).map(|(_, at, _)| *at);
        assert_eq!(at("tcpi_rto"), Some(offset_of!(libc::tcp_info, tcpi_rto)));
        assert_eq!(at("tcpi_snd_cwnd"), Some(offset_of!(libc::tcp_info, tcpi_snd_cwnd)));
        assert_eq!(at("tcpi_total_retrans"), Some(offset_of!(libc::tcp_info, tcpi_total_retrans)));
        let ends = FIELDS.iter().map(|(_, at, width)| at + width);
        let starts = FIELDS.iter().skip(1).map(|(_, at, _)| *at);
        assert!(ends.zip(starts).all(|(end, start)| end <= start), "fields overlap");
    }

    #[test]
    fn bits_are_cut_out_of_their_byte() {
        let mut info = [0; 248];
        info[6] = 0x97;
        info[7] = 0b101;
        info[80] = 10;
        let names = ["tcpi_snd_wscale", "tcpi_rcv_wscale", "tcpi_delivery_rate_app_limited", "tcpi_snd_cwnd"];
        assert_eq!(names.map(|name| field(&info, name)), [Some(7), Some(9), Some(1), Some(10)]);
        assert_eq!((field(&info, "tcpi_fastopen_client_fail"), field(&info, "bogus")), (Some(2), None));
        assert_eq!(field(&[], "tcpi_rto"), None);
    }
}

//! The shell commands of scripts, as settings of a stack.
//!
//! Most set a sysctl: `sysctl -q net.ipv4.tcp_sack=0`, `set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0`,
//! `echo 3 > /sys/module/tcp_cubic/parameters/hystart_detect`. `defaults.sh` sets those of a production host.
//! What shapes the link (`tc`, `ip`) does not concern a stack, and what puts old values back has nothing to
//! do: each script has a host of its own.

use core::time::Duration;
use sockeye_stack::{
    BufferSizes, Config, CongestionControl, Ecn, SlowStartExit, SynCookies, TcpConfig, TimeWaitReuse,
};

/// The settings of a kernel that nobody has touched.
pub(super) fn kernel() -> Config {
    let mut config = Config::default();
    config.tcp.slow_start_exit = SlowStartExit::HyStart;
    config.tcp.rfc1337 = false;
    config
}

/// The settings of `defaults.sh`.
fn production(config: &mut Config) {
    let tcp = &mut config.tcp;
    tcp.recv_buffer = BufferSizes { min: 2304, default: 540_000, max: 15 << 20 };
    tcp.send_buffer = BufferSizes { min: 4608, default: 256 << 10, max: 4 << 20 };
    tcp.syn_retries = 5;
    tcp.synack_retries = 5;
    tcp.timestamps = true;
    tcp.sack = true;
    tcp.window_scaling = true;
    tcp.syn_cookies = SynCookies::OnOverflow;
    tcp.slow_start_after_idle = false;
    tcp.ecn = Ecn::Off;
    tcp.pacing_slow_start = 200;
    tcp.pacing_avoidance = 120;
    tcp.tso_win_divisor = 3;
    tcp.congestion = CongestionControl::Cubic;
}

/// Does what a command says to the settings; an error names what it can't do.
pub(super) fn run(text: &str, config: &mut Config) -> Result<(), String> {
    let joined = text.replace("\\\n", " ");
    joined.split(['\n', ';']).try_for_each(|line| run_line(line.trim(), config))
}

fn run_line(line: &str, config: &mut Config) -> Result<(), String> {
    let line = line.split(" #").next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let program = words[0].rsplit('/').next().unwrap_or_default();
    match program {
        "defaults.sh" => {
            production(config);
            Ok(())
        }
        "sysctl" | "set_sysctls.py" => assignments(&line[words[0].len()..], config),
        "echo" => {
            let (value, path) = line[4..].split_once('>').ok_or_else(|| unknown(line))?;
            set(path.trim(), value.trim().trim_matches('"'), config)
        }
        // What shapes or names the link, waits, or puts back what was.
        "tc" | "ip" | "ifconfig" | "ethtool" | "sleep" | "rm" | "true" | "modprobe" | "nstat"
        | "sysctl_restore" | "iptables" | "ip6tables" | "taskset" | "chmod" => Ok(()),
        name if name.starts_with("sysctl_restore") => Ok(()),
        _ => Err(unknown(line)),
    }
}

fn unknown(line: &str) -> String {
    format!("`{line}` is not known")
}

/// `-q a.b=c`, `/proc/sys/a/b=c /proc/sys/d/e="1 2 3"`.
fn assignments(mut rest: &str, config: &mut Config) -> Result<(), String> {
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(());
        }
        if rest.starts_with('-') {
            rest = rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
            continue;
        }
        let (name, value) = rest.split_once('=').ok_or_else(|| unknown(rest))?;
        let (value, behind) = match value.strip_prefix(['"', '\'']) {
            Some(quoted) => quoted.split_once(['"', '\'']).ok_or_else(|| unknown(rest))?,
            None => value.split_at(split_values(value).first().map_or(0, |word| word.len())),
        };
        set(name.trim(), value, config)?;
        rest = behind;
    }
}

/// Sets one sysctl, named by dots or as a path.
fn set(name: &str, value: &str, config: &mut Config) -> Result<(), String> {
    let name = name.trim_start_matches("/proc/sys/").trim_start_matches("/sys/module/").replace('/', ".");
    let name = name.as_str();
    let bad = || format!("{name}={value}: no such value");
    let number = |at: usize| {
        let words = split_values(value);
        words.get(at).and_then(|word| arithmetic(word)).ok_or_else(bad)
    };
    let flag = || number(0).map(|value| value != 0);
    let count = || number(0).and_then(|value| u8::try_from(value).map_err(|_| bad()));
    let millis = || number(0).map(Duration::from_millis);
    let sizes = || {
        let [min, default, max] = [number(0)?, number(1)?, number(2)?].map(|size| size as usize);
        Ok::<_, String>(BufferSizes { min, default, max })
    };
    let tcp = &mut config.tcp;
    match name {
        "net.ipv4.tcp_timestamps" => tcp.timestamps = flag()?,
        "net.ipv4.tcp_sack" => tcp.sack = flag()?,
        "net.ipv4.tcp_window_scaling" => tcp.window_scaling = flag()?,
        // As on Linux, the first of three is what a socket has under memory pressure: the least that it can be
        // set to is the same everywhere.
        "net.ipv4.tcp_rmem" => tcp.recv_buffer = BufferSizes { min: tcp.recv_buffer.min, ..sizes()? },
        "net.ipv4.tcp_wmem" => tcp.send_buffer = BufferSizes { min: tcp.send_buffer.min, ..sizes()? },
        "net.ipv4.tcp_syn_retries" => tcp.syn_retries = count()?,
        "net.ipv4.tcp_synack_retries" => tcp.synack_retries = count()?,
        "net.ipv4.tcp_slow_start_after_idle" => tcp.slow_start_after_idle = flag()?,
        "net.ipv4.tcp_ecn_fallback" => tcp.ecn_fallback = flag()?,
        "net.ipv4.tcp_min_tso_segs" => tcp.min_tso_segments = count()?,
        "net.ipv4.tcp_tso_win_divisor" => tcp.tso_win_divisor = count()?,
        "net.ipv4.tcp_pacing_ss_ratio" => tcp.pacing_slow_start = number(0)? as u16,
        "net.ipv4.tcp_pacing_ca_ratio" => tcp.pacing_avoidance = number(0)? as u16,
        "net.ipv4.tcp_notsent_lowat" => tcp.not_sent_low_water = number(0)? as u32,
        "net.ipv4.tcp_rfc1337" => tcp.rfc1337 = flag()?,
        "net.ipv4.tcp_invalid_ratelimit" => tcp.invalid_ratelimit = millis()?,
        "net.ipv4.tcp_ecn" => {
            tcp.ecn = match number(0)? {
                0 => Ecn::Off,
                1 => Ecn::Request,
                2 => Ecn::Accept,
                _ => return Err("accurate ECN is not known yet".to_owned()),
            };
        }
        // `hystart_detect` is a set of two ways to detect: here there are both or none.
        "tcp_cubic.parameters.hystart" | "tcp_cubic.parameters.hystart_detect" => {
            tcp.slow_start_exit = if flag()? { SlowStartExit::HyStart } else { SlowStartExit::None };
        }
        "net.ipv4.tcp_rto_max_ms" => tcp.max_rto = millis()?,
        "net.ipv4.tcp_rto_min_us" => tcp.min_rto = Duration::from_micros(number(0)?),
        "net.core.somaxconn" => config.somaxconn = number(0)? as usize,
        "net.ipv4.ip_default_ttl" => config.default_ttl = count()?,
        "net.ipv4.tcp_congestion_control" => {
            tcp.congestion = CongestionControl::from_name(value).ok_or_else(bad)?;
        }
        _ if set_recovery(name, &number, tcp)? || set_lifetime(name, &number, tcp)? => {}
        // What can't be set in a stack yet, or makes no difference to it.
        _ if INDIFFERENT.contains(&name) => {}
        _ => return Err(format!("sysctl {name} is not known")),
    }
    Ok(())
}

/// The same for how connections open, end, and how long they last.
fn set_lifetime(
    name: &str,
    number: &impl Fn(usize) -> Result<u64, String>,
    tcp: &mut TcpConfig,
) -> Result<bool, String> {
    let count =
        || number(0).and_then(|value| u8::try_from(value).map_err(|_| format!("{name}: no such value")));
    let seconds = || number(0).map(Duration::from_secs);
    match name {
        "net.ipv4.tcp_retries1" => tcp.retries1 = count()?,
        "net.ipv4.tcp_retries2" => tcp.retries2 = count()?,
        "net.ipv4.tcp_orphan_retries" => tcp.orphan_retries = count()?,
        "net.ipv4.tcp_fin_timeout" => tcp.fin_timeout = seconds()?,
        "net.ipv4.tcp_keepalive_time" => tcp.keep_idle = seconds()?,
        "net.ipv4.tcp_keepalive_intvl" => tcp.keep_interval = seconds()?,
        "net.ipv4.tcp_keepalive_probes" => tcp.keep_count = number(0)? as u32,
        "net.ipv4.tcp_syncookies" => {
            tcp.syn_cookies = match number(0)? {
                0 => SynCookies::Never,
                1 => SynCookies::OnOverflow,
                _ => SynCookies::Always,
            };
        }
        "net.ipv4.tcp_syn_linear_timeouts" => tcp.syn_linear_timeouts = count()?,
        "net.ipv4.tcp_tw_reuse" => {
            tcp.tw_reuse = match number(0)? {
                0 => TimeWaitReuse::Never,
                1 => TimeWaitReuse::Always,
                _ => TimeWaitReuse::Loopback,
            };
        }
        "net.ipv4.tcp_max_syn_backlog" => tcp.max_half_open = number(0)? as usize,
        "net.ipv4.tcp_max_orphans" => tcp.max_orphans = number(0)? as usize,
        "net.ipv4.tcp_max_tw_buckets" => tcp.max_time_wait = number(0)? as usize,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The same for loss recovery; answers whether it is one of these.
fn set_recovery(
    name: &str,
    number: &impl Fn(usize) -> Result<u64, String>,
    tcp: &mut TcpConfig,
) -> Result<bool, String> {
    let value = number(0);
    match name {
        "net.ipv4.tcp_recovery" => tcp.recovery = value? as u32,
        "net.ipv4.tcp_early_retrans" => tcp.early_retrans = value? as u8,
        "net.ipv4.tcp_frto" => tcp.frto = value? as u8,
        "net.ipv4.tcp_dsack" => tcp.dsack = value? != 0,
        "net.ipv4.tcp_reordering" => tcp.reordering = value? as u32,
        "net.ipv4.tcp_max_reordering" => tcp.max_reordering = value? as u32,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Sysctls that a stack has nothing to do about: they choose between ways of the kernel's own.
const INDIFFERENT: &[&str] = &[
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_adv_win_scale",
    "net.ipv4.tcp_app_win",
    "net.ipv4.tcp_autocorking",
    "net.ipv4.tcp_backlog_ack_defer",
    "net.ipv4.tcp_challenge_ack_limit",
    "net.ipv4.tcp_comp_sack_delay_ns",
    "net.ipv4.tcp_comp_sack_nr",
    "net.ipv4.tcp_comp_sack_slack_ns",
    "net.ipv4.tcp_early_demux",
    "net.ipv4.tcp_fastopen",
    "net.ipv4.tcp_min_rtt_wlen",
    "net.ipv4.tcp_moderate_rcvbuf",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_plb_enabled",
    "net.ipv4.tcp_reflect_tos",
    "net.ipv4.tcp_retrans_collapse",
    "net.ipv4.tcp_shrink_window",
    "net.ipv4.tcp_thin_linear_timeouts",
    "net.ipv4.tcp_tso_rtt_log",
    "net.ipv4.tcp_workaround_signed_windows",
    "net.core.default_qdisc",
    "net.ipv4.tcp_no_metrics_save",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_limit_output_bytes",
    "net.ipv4.tcp_mem",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.optmem_max",
];

/// The words of a value; `$((…))` is one, whatever stands in it.
fn split_values(value: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let split = value.split(move |c: char| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0 && c.is_whitespace()
    });
    split.filter(|word| !word.is_empty()).collect()
}

/// A number: decimal, hexadecimal, or a product in `$((…))`.
fn arithmetic(word: &str) -> Option<u64> {
    let inner = word.strip_prefix("$((").and_then(|inner| inner.strip_suffix("))")).unwrap_or(word);
    inner.split('*').try_fold(1_u64, |product, factor| {
        let factor = factor.trim();
        let number = match factor.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None => factor.parse().ok()?,
        };
        product.checked_mul(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Result<Config, String> {
        let mut config = kernel();
        run(text, &mut config).map(|()| config)
    }

    #[test]
    fn production_values_come_from_defaults_sh_only() {
        assert_eq!(after("").unwrap().tcp.recv_buffer.default, 131_072);
        let config = after("../../common/defaults.sh\n").unwrap();
        assert_eq!(config.tcp.recv_buffer, BufferSizes { min: 2304, default: 540_000, max: 15 << 20 });
        assert_eq!((config.tcp.syn_retries, config.tcp.ecn), (5, Ecn::Off));
    }

    #[test]
    fn all_spellings_set_the_same() {
        for text in [
            "sysctl -q net.ipv4.tcp_timestamps=0",
            "./set_sysctls.py /proc/sys/net/ipv4/tcp_timestamps=0",
            "echo 0 > /proc/sys/net/ipv4/tcp_timestamps",
            "./defaults.sh\n ../common/set_sysctls.py /proc/sys/net/ipv4/tcp_sack=1 \\\n /proc/sys/net/ipv4/tcp_timestamps=0",
            "sysctl -qw net.ipv4.tcp_timestamps=\"0\"; true",
        ] {
            assert!(!after(text).unwrap_or_else(|error| panic!("{text}: {error}")).tcp.timestamps, "{text}");
        }
    }

    #[test]
    fn values_are_words_and_products() {
        let config = after("sysctl -q net.ipv4.tcp_rmem=\"4096 131072 $((32*1024*1024))\"").unwrap();
        assert_eq!(config.tcp.recv_buffer, BufferSizes { min: 2304, default: 131_072, max: 32 << 20 });
        let config = after("sysctl -q net.ipv4.tcp_retries1=0x7 net.ipv4.tcp_retries2=$(( 4 * 2 ))").unwrap();
        assert_eq!((config.tcp.retries1, config.tcp.retries2), (7, 8));
    }

    #[test]
    fn what_is_of_no_concern_is_passed_over_and_the_unknown_is_named() {
        after("tc qdisc replace dev tun0 root pfifo\nip tcp_metrics flush all > /dev/null\n# note").unwrap();
        after("/tmp/sysctl_restore_${PPID}.sh").unwrap();
        let error = |text: &str| after(text).unwrap_err();
        assert_eq!(error("reboot -f"), "`reboot -f` is not known");
        assert_eq!(error("sysctl -q net.ipv4.tcp_bogus=1"), "sysctl net.ipv4.tcp_bogus is not known");
        assert_eq!(error("sysctl -q net.ipv4.tcp_sack=x"), "net.ipv4.tcp_sack=x: no such value");
        assert_eq!(error("sysctl -q net.ipv4.tcp_sack"), "`net.ipv4.tcp_sack` is not known");
    }
}

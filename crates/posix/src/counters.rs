//! What the stack counts, as /proc/net/snmp and /proc/net/netstat show it: two lines a group, the names and
//! then the numbers, as `nstat` and `netstat -s` read them.

use sockeye_stack::{Config, Counter, Counters};
use std::fmt::Write as _;

/// What /proc/net/snmp says: the groups `Ip`, `Icmp`, `Tcp` and `Udp`. `established` is how many connections
/// are open now.
pub fn snmp(counters: &Counters, config: &Config, established: usize) -> String {
    let ttl = u64::from(config.default_ttl);
    let millis = |time: core::time::Duration| time.as_millis().to_string();
    let mut text = String::new();
    let forwarding = if config.forwarding { "1" } else { "2" };
    group(&mut text, counters, "Ip", &[("Forwarding", forwarding.into()), ("DefaultTTL", ttl.to_string())]);
    group(&mut text, counters, "Icmp", &[]);
    let facts = [
        ("RtoAlgorithm", "1".into()),
        ("RtoMin", millis(config.tcp.min_rto)),
        ("RtoMax", millis(config.tcp.max_rto)),
        ("MaxConn", "-1".into()),
        ("CurrEstab", established.to_string()),
    ];
    group(&mut text, counters, "Tcp", &facts);
    group(&mut text, counters, "Udp", &[]);
    text
}

/// What /proc/net/netstat says, and a group `Sockeye` for what has no name there.
pub fn netstat(counters: &Counters) -> String {
    let mut text = String::new();
    for name in ["TcpExt", "IpExt", "Sockeye"] {
        group(&mut text, counters, name, &[]);
    }
    text
}

fn group(text: &mut String, counters: &Counters, name: &str, facts: &[(&str, String)]) {
    let (mut names, mut numbers) = (format!("{name}:"), format!("{name}:"));
    for (fact, value) in facts {
        let _ = write!(names, " {fact}");
        let _ = write!(numbers, " {value}");
    }
    for counter in Counter::ALL.iter().filter(|counter| counter.group() == name) {
        let _ = write!(names, " {}", counter.name());
        let _ = write!(numbers, " {}", counters[*counter]);
    }
    let _ = writeln!(text, "{names}\n{numbers}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_stack::Stack;

    #[test]
    fn each_group_is_two_lines_of_as_many_words() {
        let stack = Stack::new(Config::default(), [1; 32]);
        let text = snmp(stack.counters(), &Config::default(), 3) + &netstat(stack.counters());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        let groups: Vec<&str> = lines.iter().step_by(2).map(|line| line[0]).collect();
        assert_eq!(groups, ["Ip:", "Icmp:", "Tcp:", "Udp:", "TcpExt:", "IpExt:", "Sockeye:"]);
        for pair in lines.chunks(2) {
            assert_eq!((pair[0][0], pair[0].len()), (pair[1][0], pair[1].len()));
            assert!(pair[1][1..].iter().all(|number| number.parse::<i64>().is_ok()));
        }
        let tcp = &lines[4..6];
        let at = tcp[0].iter().position(|name| *name == "CurrEstab").unwrap();
        assert_eq!(tcp[1][at], "3");
        let shown: usize = lines.iter().step_by(2).map(|line| line.len() - 1).sum();
        assert_eq!(shown, Counter::ALL.len() + 2 + 5);
    }
}

//! A network as a table, for `sockeye ps`.

use std::fmt::Write;

use sockeye_run::{HostStatus, Status};

/// Renders a network: its hosts, and under each what runs on it and what is open there.
pub(crate) fn render(status: &Status) -> String {
    let Status { name, offline, pid, hosts, flows, left_out } = status;
    let mut text = String::new();
    let way_out = if *offline { "closed".to_owned() } else { format!("{flows} flows to the outside") };
    // Writing to a string never fails.
    let _ = writeln!(text, "network {name}  process {pid}  {way_out}");
    for host in hosts {
        render_host(&mut text, host);
    }
    if *left_out > 0 {
        let _ = writeln!(text, "  … and {left_out} more");
    }
    text
}

fn render_host(text: &mut String, host: &HostStatus) {
    let HostStatus { name, addresses: [v4, v6], link, published, programs, sockets } = host;
    let link = if link.is_empty() { String::new() } else { format!("  link {link}") };
    let _ = writeln!(text, "  host {name}  {v4}  {v6}{link}");
    for ports in published {
        let _ = writeln!(text, "    published {ports}");
    }
    for program in programs {
        let pid = program.pid.map_or_else(|| "ended, left".to_owned(), |pid| pid.to_string());
        let words: Vec<_> = program.command.iter().map(|word| word.escape_debug().to_string()).collect();
        let _ = writeln!(text, "    program {pid}  {}", words.join(" "));
    }
    let rows: Vec<_> = sockets
        .iter()
        .map(|s| [s.protocol.clone(), s.state.clone(), s.local.clone(), s.peer.clone(), s.pid.to_string()])
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2), width(3)];
    for [protocol, state, local, peer, pid] in &rows {
        let [a, b, c, d] = widths;
        let _ = writeln!(text, "    {protocol:<a$}  {state:<b$}  {local:<c$}  {peer:<d$}  by {pid}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_run::{ProgramStatus, SocketStatus};

    #[test]
    fn a_network_reads_as_a_table() {
        let socket = |state: &str, peer: &str| SocketStatus {
            protocol: "tcp".into(),
            state: state.into(),
            local: "0.0.0.0:80".into(),
            peer: peer.into(),
            pid: 7,
        };
        let status = Status {
            name: "demo".into(),
            offline: false,
            pid: 5,
            hosts: vec![HostStatus {
                name: "web".into(),
                addresses: ["10.77.0.2".parse().unwrap(), "fd77::2".parse().unwrap()],
                link: "delay 5ms".into(),
                published: vec!["127.0.0.1:8080 → 80/tcp".into()],
                programs: vec![ProgramStatus { pid: Some(6), command: vec!["nginx".into(), "a\nb".into()] }],
                sockets: vec![socket("LISTEN", ""), socket("ESTAB", "10.77.0.3:4")],
            }],
            flows: 2,
            left_out: 0,
        };
        let expected = "\
network demo  process 5  2 flows to the outside
  host web  10.77.0.2  fd77::2  link delay 5ms
    published 127.0.0.1:8080 → 80/tcp
    program 6  nginx a\\nb
    tcp  LISTEN  0.0.0.0:80               by 7
    tcp  ESTAB   0.0.0.0:80  10.77.0.3:4  by 7
";
        assert_eq!(render(&status), expected);
    }
}

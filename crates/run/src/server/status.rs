//! A network at one moment, for `sockeye ps`.

use super::{NetworkServer, Stage};
use crate::control::{HostStatus, MESSAGE_MAX, ProgramStatus, SocketStatus, Status};
use crate::core::Outside;
use crate::sockets::{Record, Socket};
use sockeye::{Direction, Host, HostId};
use sockeye_stack::TcpState;

/// The longest answer, which has to fit in a message.
const ANSWER_MAX: usize = MESSAGE_MAX - 1024;
/// Most sockets in one answer.
const SOCKETS_MAX: usize = 800;
/// Most programs in one answer.
const PROGRAMS_MAX: usize = 200;
/// Most hosts in one answer.
const HOSTS_MAX: usize = 200;
/// Most published ports of a host in one answer.
const PUBLISHED_MAX: usize = 100;
/// Longest word of a command line there.
const WORD_MAX: usize = 100;

impl NetworkServer {
    /// What is there now.
    pub(super) fn status(&self) -> Status {
        let mut status = Status {
            name: self.ownership.place().name().to_owned(),
            offline: self.options.outside == Outside::Closed,
            flows: self.core.gateway.flow_count(),
            pid: std::process::id(),
            ..Status::default()
        };
        let (mut programs_left, mut sockets_left) = (PROGRAMS_MAX, SOCKETS_MAX);
        for (index, host) in self.core.world.network().hosts().iter().enumerate() {
            if index >= HOSTS_MAX {
                status.left_out += 1;
                continue;
            }
            let mut programs = self.programs_of(host.id());
            let mut sockets = self.sockets_of(host.id());
            status.left_out += programs.len().saturating_sub(programs_left);
            status.left_out += sockets.len().saturating_sub(sockets_left);
            programs.truncate(programs_left);
            sockets.truncate(sockets_left);
            programs_left -= programs.len();
            sockets_left -= sockets.len();
            status.hosts.push(HostStatus {
                name: host.name().to_owned(),
                addresses: host.addresses(),
                link: self.link_of(host),
                published: self.published_to(host),
                programs,
                sockets,
            });
        }
        shrink(&mut status);
        status
    }

    fn published_to(&self, host: &Host) -> Vec<String> {
        let all = self.core.gateway.publications();
        let to_host = all.filter(|publication| publication.host == host.addresses());
        to_host.take(PUBLISHED_MAX).map(|each| format!("{each} to port {}", each.port)).collect()
    }

    fn link_of(&self, host: &Host) -> String {
        let (link, _) = self.core.world.network().link(host, Direction::Up);
        link.to_string()
    }

    fn programs_of(&self, host: HostId) -> Vec<ProgramStatus> {
        let members = self.peers.values().filter_map(|peer| match &peer.stage {
            Stage::Member(membership) if membership.host == host => Some(membership),
            _ => None,
        });
        let cut = |word: &String| word.chars().take(WORD_MAX).collect::<String>();
        members
            .map(|membership| ProgramStatus {
                pid: membership.program,
                command: membership.command.iter().take(8).map(cut).collect(),
            })
            .collect()
    }

    fn sockets_of(&self, host: HostId) -> Vec<SocketStatus> {
        // Route sockets have no address that would tell anything.
        let is_shown = |record: &&Record| record.is_alive() && !matches!(record.socket, Socket::Netlink(_));
        let of_host = self.core.sockets.records().filter(|record| record.host == host).filter(is_shown);
        of_host.map(|record| self.describe(record)).collect()
    }

    fn describe(&self, record: &Record) -> SocketStatus {
        self.core.world.with(record.host, |stack| {
            let state = match &record.socket {
                Socket::Datagram(_) if stack.peer_addr(record.id).is_ok() => "ESTAB",
                Socket::Datagram(_) | Socket::Netlink(_) | Socket::Dead(_) => "UNCONN",
                Socket::Listener(_) => "LISTEN",
                Socket::Stream(_) => stack.tcp_state(record.id).map_or("UNCONN", state_name),
            };
            let protocol = if matches!(record.socket, Socket::Datagram(_)) { "udp" } else { "tcp" };
            SocketStatus {
                protocol: protocol.to_owned(),
                state: state.to_owned(),
                local: stack.local_addr(record.id).map(|addr| addr.to_string()).unwrap_or_default(),
                peer: stack.peer_addr(record.id).map(|addr| addr.to_string()).unwrap_or_default(),
                pid: stack.owner(record.id).map(|owner| owner.pid).unwrap_or_default(),
            }
        })
    }
}

/// Leaves out rows until the answer fits in a message.
fn shrink(status: &mut Status) {
    let is_too_long =
        |status: &Status| postcard::to_allocvec(status).is_ok_and(|bytes| bytes.len() > ANSWER_MAX);
    while is_too_long(status) && status.hosts.iter().any(|host| host.rows() > 0) {
        for host in &mut status.hosts {
            let before = host.rows();
            host.sockets.truncate(host.sockets.len() / 2);
            host.programs.truncate(host.programs.len() / 2);
            host.published.truncate(host.published.len() / 2);
            status.left_out += before - host.rows();
        }
    }
}

impl HostStatus {
    fn rows(&self) -> usize {
        self.sockets.len() + self.programs.len() + self.published.len()
    }
}

/// The names of `ss`.
fn state_name(state: TcpState) -> &'static str {
    match state {
        TcpState::Closed => "UNCONN",
        TcpState::SynSent => "SYN-SENT",
        TcpState::SynReceived => "SYN-RECV",
        TcpState::Established => "ESTAB",
        TcpState::FinWait1 => "FIN-WAIT-1",
        TcpState::FinWait2 => "FIN-WAIT-2",
        TcpState::CloseWait => "CLOSE-WAIT",
        TcpState::Closing => "CLOSING",
        TcpState::LastAck => "LAST-ACK",
        TcpState::TimeWait => "TIME-WAIT",
    }
}

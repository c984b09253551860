//! The names of a network: what its name servers know, where they are asked, and how late answers get back.

use crate::dns::service::{IDLE, Service, TURN_MAX};
use crate::dns::{Names, PORT, ResolvConf, ResolvFile, Zone};
use crate::world::World;
use sockeye::{Host, HostId};
use sockeye_packet::Instant;
use sockeye_stack::{Event, FlowId, FlowProtocol, SocketId, Verdict};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

/// The name servers of a network.
#[derive(Debug)]
pub(crate) struct NameServers {
    /// What they know, and whom they ask.
    names: Names,
    services: HashMap<HostId, Service>,
    /// The machine's resolv.conf, which says where programs ask, and may change.
    file: ResolvFile,
    gateway: HostId,
    /// Where each host's own resolver is asked: the machine's servers at loopback addresses.
    local: Vec<IpAddr>,
    /// The machine's other servers. Flows to their port 53 are answered here; everything else that goes to
    /// them is theirs.
    outside: Vec<IpAddr>,
    /// Those of them whose packets go to the gateway for our sake.
    routed: Vec<IpAddr>,
    /// Flows to name servers that are not open yet.
    flows: HashMap<FlowId, FlowProtocol>,
    /// When to look for connections and clients that are idle.
    expires: Option<Instant>,
    /// Sockets with work left over.
    unfinished: Vec<(HostId, SocketId)>,
}

impl NameServers {
    /// Opens the name servers of a network: on the gateway at its own addresses, on each host at those loopback
    /// addresses that the machine's resolv.conf names. Flows to its other servers are answered at the gateway.
    pub(crate) fn open(world: &World) -> io::Result<NameServers> {
        let (file, conf) = ResolvFile::of_this_machine(Instant::default());
        NameServers::open_at(world, file, &conf)
    }

    fn open_at(world: &World, file: ResolvFile, conf: &ResolvConf) -> io::Result<NameServers> {
        let gateway = world.network().gateway();
        let mut zone = Zone::new(&conf.search);
        for subnet in world.network().subnets() {
            zone.add_subnet(subnet);
        }
        let mut servers = NameServers {
            names: Names::new(zone),
            services: HashMap::new(),
            file,
            gateway: gateway.id(),
            local: Vec::new(),
            outside: Vec::new(),
            routed: Vec::new(),
            flows: HashMap::new(),
            expires: None,
            unfinished: Vec::new(),
        };
        servers.serve(world, &gateway, &[gateway.ipv4().into(), gateway.ipv6().into()])?;
        servers.note_servers(world, Instant::default(), conf);
        for host in world.network().hosts() {
            servers.add_host(world, &host)?;
        }
        Ok(servers)
    }

    /// From now on programs ask these servers.
    fn note_servers(&mut self, world: &World, now: Instant, conf: &ResolvConf) {
        (self.local, self.outside) = conf.servers.iter().partition(|address| address.is_loopback());
        for address in std::mem::take(&mut self.routed) {
            world.network().remove_gateway_address(address);
        }
        for &address in &self.outside {
            // One that a host of the network has is that host's.
            if world.network().add_gateway_address(address).is_ok() {
                self.routed.push(address);
            }
        }
        for (&id, service) in self.services.iter_mut().filter(|(id, _)| **id != self.gateway) {
            for &address in &self.local {
                let opened = world.with(id, |stack| service.listen(stack, now, address));
                // A program may have the port: then it is the one that is asked.
                opened.map_err(|error| tracing::debug!(%error, %address, "no name server there")).ok();
            }
        }
    }

    /// Looks whether the machine's resolv.conf has changed, at most once a second.
    fn look_again(&mut self, world: &World, now: Instant) {
        if let Some(conf) = self.file.changed(now) {
            self.note_servers(world, now, &conf);
        }
    }

    /// Gives a host its name, and a name server at the addresses where it asks itself.
    pub(crate) fn add_host(&mut self, world: &World, host: &Host) -> io::Result<()> {
        let local = self.local.clone();
        self.serve(world, host, &local)
    }

    fn serve(&mut self, world: &World, host: &Host, addresses: &[IpAddr]) -> io::Result<()> {
        self.add_name(host.name(), &host.addresses());
        let id = host.id();
        let opened = world.with(id, |stack| Service::open(stack, Instant::default(), id, addresses));
        let service = opened
            .map_err(|error| io::Error::other(format!("can't open the network's name server: {error}")))?;
        self.services.insert(id, service);
        Ok(())
    }

    /// Adds a name that no host has.
    pub(crate) fn add_name(&mut self, name: &str, addresses: &[IpAddr]) {
        self.names.zone.add(name, addresses);
    }

    /// From now on, asks these servers (or the machine's) for names of the outside.
    pub(crate) fn forward(&mut self, now: Instant, servers: Option<&[SocketAddr]>) -> io::Result<()> {
        self.names.forward(now, servers)
    }

    /// What is readable when servers outside have answered; none while they are not asked.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.names.fd()
    }

    /// Servers outside have answered.
    pub(crate) fn on_ready(&mut self, now: Instant) {
        self.names.on_ready(now);
    }

    /// Whether there is something to do at once.
    pub(crate) fn is_busy(&self) -> bool {
        !self.unfinished.is_empty() || self.names.has_answers()
    }

    /// Goes on with what was left over, and delivers what servers outside have answered, or not in time;
    /// returns when to come back.
    pub(crate) fn catch_up(&mut self, world: &World, now: Instant) -> Option<Instant> {
        self.look_again(world, now);
        for (host, id) in std::mem::take(&mut self.unfinished) {
            self.on_stack(world, now, host, id);
        }
        if self.expires.is_some_and(|expires| expires <= now) {
            let names = &mut self.names;
            let expire = |(&id, service): (_, &mut Service)| {
                world.with(id, |stack| service.on_timeout(stack, now, names))
            };
            self.expires = self.services.iter_mut().filter_map(expire).min();
        }
        self.names.on_timeout(now);
        for _ in 0..TURN_MAX {
            let Some((to, answer)) = self.names.poll_answer() else { break };
            let Some(service) = self.services.get_mut(&to.host) else { continue };
            let names = &mut self.names;
            if world.with(to.host, |stack| service.deliver(stack, now, to, answer, names)) {
                self.unfinished.push((to.host, to.socket));
            }
        }
        // Delivering may have asked more, which has a deadline of its own.
        [self.names.on_timeout(now), self.expires].into_iter().flatten().min()
    }

    /// What happened to a flow out of the network; says whether it goes to a name server and so no further.
    pub(crate) fn on_flow(&mut self, world: &World, now: Instant, event: Event) -> bool {
        match event {
            Event::Incoming(id) => {
                let Some(flow) = world.with(self.gateway, |stack| stack.flow(id)) else { return false };
                if flow.dst.port != PORT {
                    return false;
                }
                self.look_again(world, now);
                if !self.outside.contains(&flow.dst.ip_addr()) {
                    return false;
                }
                let accepted = world.with(self.gateway, |stack| stack.answer(now, id, Verdict::Accept));
                if accepted.is_ok() {
                    self.flows.insert(id, flow.protocol);
                } else {
                    // Nothing left to accept it with: it is asked again.
                    world.with(self.gateway, |stack| stack.answer(now, id, Verdict::Drop)).ok();
                }
                true
            }
            Event::Opened(id, socket) => {
                let Some(protocol) = self.flows.remove(&id) else { return false };
                let Some(service) = self.services.get_mut(&self.gateway) else { return false };
                let names = &mut self.names;
                if world.with(self.gateway, |stack| service.adopt(stack, now, socket, protocol, names)) {
                    self.unfinished.push((self.gateway, socket));
                }
                self.expires = self.expires.or(Some(now + IDLE));
                true
            }
            Event::Lost(id) => self.flows.remove(&id).is_some(),
            _ => false,
        }
    }

    /// A socket became ready; says whether it is a name server's.
    pub(crate) fn on_stack(&mut self, world: &World, now: Instant, host: HostId, id: SocketId) -> bool {
        let service = self.services.get_mut(&host).filter(|service| service.owns(id));
        let Some(service) = service else { return false };
        let names = &mut self.names;
        if world.with(host, |stack| service.on_ready(stack, now, id, names)) {
            self.unfinished.push((host, id));
        }
        self.expires = self.expires.or(Some(now + IDLE));
        true
    }
}

#[cfg(test)]
mod tests;

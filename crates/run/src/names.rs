//! The names of a network: what its name servers know, where they are asked, and how late answers get back.

use crate::dns::service::Service;
use crate::dns::{Names, ResolvConf, Zone};
use crate::world::World;
use sockeye::{Host, HostId};
use sockeye_packet::Instant;
use sockeye_stack::SocketId;
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
    /// Where each host's own resolver is asked: the machine's servers at loopback addresses.
    local: Vec<IpAddr>,
    /// Sockets with work left over.
    unfinished: Vec<(HostId, SocketId)>,
}

impl NameServers {
    /// Opens the name servers of a network: on the gateway at its own addresses and at those that the
    /// machine's resolv.conf names, on each host at those of them that are loopback addresses.
    pub(crate) fn open(world: &World) -> io::Result<NameServers> {
        let ResolvConf { servers, search, .. } = ResolvConf::of_this_machine();
        let (local, outside): (Vec<IpAddr>, Vec<IpAddr>) =
            servers.iter().partition(|address| address.is_loopback());
        let gateway = world.network().gateway();
        let mut addresses = vec![IpAddr::from(gateway.ipv4()), gateway.ipv6().into()];
        for address in outside {
            // One that a host of the network has is that host's.
            if world.network().add_address(&gateway, address).is_ok() {
                addresses.push(address);
            }
        }
        let mut zone = Zone::new(&search);
        for subnet in world.network().subnets() {
            zone.add_subnet(subnet);
        }
        let (services, unfinished) = (HashMap::new(), Vec::new());
        let mut servers = NameServers { names: Names::new(zone), services, local, unfinished };
        servers.serve(world, &gateway, &addresses)?;
        for host in world.network().hosts() {
            servers.add_host(world, &host)?;
        }
        Ok(servers)
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
        !self.unfinished.is_empty()
    }

    /// Goes on with what was left over, and delivers what servers outside have answered, or not in time;
    /// returns when to come back.
    pub(crate) fn catch_up(&mut self, world: &World, now: Instant) -> Option<Instant> {
        for (host, id) in std::mem::take(&mut self.unfinished) {
            self.on_stack(world, now, host, id);
        }
        loop {
            let due = self.names.on_timeout(now);
            let Some((to, answer)) = self.names.poll_answer() else { return due };
            let Some(service) = self.services.get_mut(&to.host) else { continue };
            let names = &mut self.names;
            if world.with(to.host, |stack| service.deliver(stack, now, to, answer, names)) {
                self.unfinished.push((to.host, to.socket));
            }
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
        true
    }
}

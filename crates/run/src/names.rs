//! The names of a network: what its name servers know, and where they are asked.

use crate::dns::service::Service;
use crate::dns::{ResolvConf, Zone};
use crate::world::World;
use sockeye::{Host, HostId};
use sockeye_packet::Instant;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

/// The zone, and the servers by host.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) zone: Zone,
    pub(crate) services: HashMap<HostId, Service>,
    /// Where each host's own resolver is asked: the machine's servers at loopback addresses.
    local: Vec<IpAddr>,
}

impl Names {
    /// Opens the name servers of a network: on the gateway at its own addresses and at those that the
    /// machine's resolv.conf names, on each host at those of them that are loopback addresses.
    pub(crate) fn open(world: &World) -> io::Result<Names> {
        let ResolvConf { servers, search } = ResolvConf::of_this_machine();
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
        let mut names = Names { zone: Zone::new(&search), services: HashMap::new(), local };
        names.serve(world, &gateway, &addresses)?;
        for host in world.network().hosts() {
            names.add_host(world, &host)?;
        }
        Ok(names)
    }

    /// Gives a host its name, and a name server at the addresses where it asks itself.
    pub(crate) fn add_host(&mut self, world: &World, host: &Host) -> io::Result<()> {
        let local = self.local.clone();
        self.serve(world, host, &local)
    }

    fn serve(&mut self, world: &World, host: &Host, addresses: &[IpAddr]) -> io::Result<()> {
        self.zone.add(host.name(), &host.addresses());
        let opened = world.with(host.id(), |stack| Service::open(stack, Instant::default(), addresses));
        let service = opened
            .map_err(|error| io::Error::other(format!("can't open the network's name server: {error}")))?;
        self.services.insert(host.id(), service);
        Ok(())
    }
}

//! The names of a network: what its name servers know, and where they are asked.

use crate::dns::service::Service;
use crate::dns::{ResolvConf, Zone};
use crate::world::World;
use sockeye::HostId;
use sockeye_packet::Instant;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

/// The zone, and the servers by host.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) zone: Zone,
    pub(crate) services: HashMap<HostId, Service>,
}

/// Opens the name servers of a network.
pub(crate) fn open(world: &World) -> io::Result<Names> {
    let machine = ResolvConf::of_this_machine();
    let zone = zone_of(world, &machine.search);
    Ok(Names { zone, services: open_services(world, &machine.servers)? })
}

/// The names of a network's hosts.
fn zone_of(world: &World, search: &[String]) -> Zone {
    let mut zone = Zone::new(search);
    for host in world.hosts() {
        zone.add(host.name(), &[IpAddr::from(host.ipv4()), host.ipv6().into()]);
    }
    zone
}

/// Opens the name servers: on the gateway at its own addresses and at those that the machine's
/// resolv.conf names, on each host at those of them that are loopback addresses.
fn open_services(world: &World, servers: &[IpAddr]) -> io::Result<HashMap<HostId, Service>> {
    let failed = |error: sockeye_stack::Error| {
        io::Error::other(format!("can't open the network's name server: {error}"))
    };
    let now = Instant::default();
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
    let mut services = HashMap::new();
    for host in world.hosts() {
        let own = if host.id() == gateway.id() { &addresses } else { &local };
        let service = world.with(host.id(), |stack| Service::open(stack, now, own)).map_err(failed)?;
        services.insert(host.id(), service);
    }
    Ok(services)
}

//! Which way packets take through a network of several subnets: over the fewest routers.
//!
//! Every host has routes of its own to all subnets that it isn't in, computed when it is added, and again
//! when routers come and go.

use crate::nic::{HostNic, everything};
use crate::subnet::AddressPlan;
use sockeye_stack::Route;
use std::net::IpAddr;

/// Subnets, and the routers between them.
#[derive(Debug)]
pub(crate) struct Topology<'a> {
    plans: Vec<AddressPlan>,
    routers: &'a [Router],
    /// How many routers are between two subnets; none where there is no way.
    distances: Vec<Vec<Option<u32>>>,
}

/// A host that passes packets on.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) host: u32,
    /// Its subnets, with its addresses there.
    pub(crate) places: Vec<(usize, Vec<IpAddr>)>,
}

impl Router {
    /// The router that a host with these interfaces is.
    pub(crate) fn new(host: u32, nics: &[HostNic]) -> Router {
        let place =
            |nic: &HostNic| Some((nic.subnet?, nic.addresses.iter().map(|(address, _)| *address).collect()));
        Router { host, places: nics.iter().filter_map(place).collect() }
    }
}

impl<'a> Topology<'a> {
    /// Works out the distances. `routers` come in the order of preference among equals.
    pub(crate) fn new(plans: Vec<AddressPlan>, routers: &'a [Router]) -> Topology<'a> {
        let from = |start: usize| {
            let mut distances = vec![None; plans.len()];
            let mut reached = vec![start];
            let mut distance = 0;
            while !reached.is_empty() {
                for &subnet in &reached {
                    distances[subnet] = Some(distance);
                }
                let mut next = Vec::new();
                for router in routers {
                    if router.places.iter().any(|(subnet, _)| reached.contains(subnet)) {
                        let others = router.places.iter().map(|(subnet, _)| *subnet);
                        next.extend(others.filter(|&other| distances[other].is_none()));
                    }
                }
                (reached, distance) = (next, distance + 1);
            }
            distances
        };
        let distances = (0..plans.len()).map(from).collect();
        Topology { plans, routers, distances }
    }

    /// The routes of a host with these interfaces, beside those that its addresses bring.
    pub(crate) fn routes(&self, host: u32, nics: &[HostNic]) -> Vec<Route> {
        let mut routes: Vec<Route> = nics.iter().flat_map(|nic| &nic.routes).copied().collect();
        let leaves = |routes: &[Route], like: IpAddr| {
            routes.iter().any(|route| route.prefix == 0 && route.dest.is_ipv4() == like.is_ipv4())
        };
        let has_link = nics.iter().any(|nic| nic.link.is_some());
        for (subnet, plan) in self.plans.iter().enumerate() {
            let own = nics.iter().find(|nic| nic.subnet == Some(subnet));
            if let Some(nic) = own {
                // What leaves the network goes to the gateway, in the first subnet.
                for &(address, _) in nic.addresses.iter().filter(|_| subnet == 0) {
                    let Some(gateway) = plan.subnet_of(address).nth(AddressPlan::GATEWAY) else { continue };
                    let gateway = Some(gateway).filter(|&gateway| gateway != address);
                    if !leaves(&routes, address) && (gateway.is_some() || !has_link) {
                        let dest = everything(address);
                        routes.push(Route { dest, prefix: 0, gateway, nic: nic.id, metric: 0 });
                    }
                }
                continue;
            }
            for &via in &self.next_hops(host, nics, subnet) {
                let (nic, router) = via;
                let dest = plan.subnet_of(router);
                let route = Route {
                    dest: dest.address(),
                    prefix: dest.prefix(),
                    gateway: Some(router),
                    nic,
                    metric: 0,
                };
                routes.push(route);
                if subnet == 0 && !leaves(&routes, router) {
                    routes.push(Route { dest: everything(router), prefix: 0, ..route });
                }
            }
        }
        routes
    }

    /// The addresses, one of each family, of the router that a host best hands packets for `subnet` to, and
    /// the interface to it.
    fn next_hops(&self, host: u32, nics: &[HostNic], subnet: usize) -> Vec<(sockeye_packet::NicId, IpAddr)> {
        let mut best: Option<(u32, &HostNic, &[IpAddr])> = None;
        for nic in nics {
            for router in self.routers.iter().filter(|router| router.host != host) {
                let at = |place: &&(usize, Vec<IpAddr>)| Some(place.0) == nic.subnet;
                let Some((_, addresses)) = router.places.iter().find(at) else { continue };
                let behind = router.places.iter().filter_map(|(place, _)| self.distances[*place][subnet]);
                let Some(distance) = behind.min() else { continue };
                if best.is_none_or(|(least, ..)| distance < least) {
                    best = Some((distance, nic, addresses));
                }
            }
        }
        best.into_iter().flat_map(|(_, nic, addresses)| addresses.iter().map(|&ip| (nic.id, ip))).collect()
    }
}

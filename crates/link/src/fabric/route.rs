//! Who has which address, and where a packet goes.

use super::{FabricConfig, FabricError, PortId};
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Down to this port.
    Port(PortId),
    /// To nobody, and the sender is told.
    Unreachable(Unreachable),
    /// Down to all ports but the sender's: to a group or everybody. Hosts know which groups they are in.
    All,
    /// To nobody, in silence: not an IP packet.
    Nowhere,
}

/// Why a packet can't be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// The address is of the subnet, and nobody has it.
    Host,
    /// The address is outside the subnet, and there is no gateway.
    Net,
}

/// The addresses of all ports.
#[derive(Debug)]
pub(super) struct Routes {
    owners: HashMap<IpAddr, PortId, KeyedState>,
    gateway: Option<PortId>,
    /// The gateway's own addresses.
    gateways: [IpAddr; 2],
    subnet_v4: (u32, u32),
    subnet_v6: (u128, u128),
    /// The last answer of `find`: packets of one flow follow each other. Void after any change.
    last: Option<(IpAddr, Route)>,
}

impl Routes {
    /// A table without addresses, hashed under `key`.
    pub(super) fn new(config: &FabricConfig, key: [u64; 2]) -> Routes {
        let (v4, v4_len) = config.subnet_v4;
        let (v6, v6_len) = config.subnet_v6;
        let v4_mask = u32::MAX.checked_shl(32 - u32::from(v4_len.min(32))).unwrap_or(0);
        let v6_mask = u128::MAX.checked_shl(128 - u32::from(v6_len.min(128))).unwrap_or(0);
        Routes {
            owners: HashMap::with_hasher(KeyedState(key)),
            gateway: None,
            gateways: [config.gateway_v4.into(), config.gateway_v6.into()],
            subnet_v4: (v4.to_bits() & v4_mask, v4_mask),
            subnet_v6: (v6.to_bits() & v6_mask, v6_mask),
            last: None,
        }
    }

    /// Whether a port can be given this address.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), FabricError> {
        if address.is_unspecified() || self.is_group(address) {
            return Err(FabricError::NotUnicast(address));
        }
        match self.owners.get(&address) {
            Some(_) => Err(FabricError::AddressTaken(address)),
            None => Ok(()),
        }
    }

    /// Gives an address that was checked to a port.
    pub(super) fn add(&mut self, address: IpAddr, port: PortId) {
        self.last = None;
        self.owners.insert(address, port);
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        self.last = None;
        self.owners.remove(&address);
    }

    /// Forgets all addresses of a port.
    pub(super) fn remove_port(&mut self, port: PortId) {
        self.last = None;
        self.owners.retain(|_, owner| *owner != port);
        self.gateway.take_if(|gateway| *gateway == port);
    }

    pub(super) fn owner(&self, address: IpAddr) -> Option<PortId> {
        self.owners.get(&address).copied()
    }

    pub(super) fn set_gateway(&mut self, gateway: Option<PortId>) {
        self.last = None;
        self.gateway = gateway;
    }

    /// Where the packet with this head goes.
    pub(super) fn find(&mut self, head: &[u8]) -> Route {
        let Some(destination) = destination(head) else { return Route::Nowhere };
        if let Some((address, route)) = self.last
            && address == destination
        {
            return route;
        }
        let route = self.look_up(destination);
        self.last = Some((destination, route));
        route
    }

    /// Where a packet goes that is handed to this router.
    pub(super) fn via(&self, router: IpAddr) -> Route {
        if let Some(gateway) = self.gateway.filter(|_| self.gateways.contains(&router)) {
            return Route::Port(gateway);
        }
        match self.owners.get(&router) {
            // The gateway's address is somebody's, who routes nothing.
            Some(_) | None if self.gateways.contains(&router) => Route::Unreachable(Unreachable::Net),
            Some(&port) => Route::Port(port),
            None => Route::Unreachable(Unreachable::Host),
        }
    }

    pub(super) fn look_up(&self, destination: IpAddr) -> Route {
        if let Some(&port) = self.owners.get(&destination) {
            return Route::Port(port);
        }
        if self.is_group(destination) {
            return Route::All;
        }
        match self.gateway {
            _ if self.is_local(destination) => Route::Unreachable(Unreachable::Host),
            Some(gateway) => Route::Port(gateway),
            None => Route::Unreachable(Unreachable::Net),
        }
    }

    fn is_local(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.to_bits() & self.subnet_v4.1 == self.subnet_v4.0,
            IpAddr::V6(v6) => v6.to_bits() & self.subnet_v6.1 == self.subnet_v6.0,
        }
    }

    /// Whether the address stands for several hosts.
    fn is_group(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return address.is_multicast() };
        let (net, mask) = self.subnet_v4;
        // RFC 3021: a subnet of two addresses has no broadcast address.
        let subnet_broadcast = v4.to_bits() == net | !mask && (!mask).count_ones() > 1;
        v4.is_multicast() || v4.is_broadcast() || subnet_broadcast
    }
}

/// The destination address of an IP packet.
pub(super) fn destination(head: &[u8]) -> Option<IpAddr> {
    match head.first()? >> 4 {
        4 => head.get(16..20)?.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        6 => head.get(24..40)?.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

/// Hashes under a key that depends on the fabric's seed, so that a run can be repeated.
#[derive(Clone, Debug)]
struct KeyedState([u64; 2]);

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

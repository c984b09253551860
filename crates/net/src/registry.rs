//! Who has which name, number and address in a network.

use crate::nic::HostNic;
use crate::routing::{Router, Topology};
use crate::subnet::AddressPlan;
use crate::{Error, LinkConfig};
use sockeye_packet::Rng;
use sockeye_stack::NicConfig;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The names and numbers of a network. Guarded by one lock, which is taken before any host's.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) subnets: Vec<Book>,
    /// What hosts' seeds are drawn from.
    pub(crate) rng: Rng,
    /// Host numbers by name in lower case.
    names: HashMap<String, u32>,
    /// Addresses of interfaces that are in no subnet, and whose they are.
    linked: Vec<(IpAddr, u32)>,
    /// The hosts that pass packets on.
    pub(crate) routers: Vec<Router>,
    /// Addresses of names that are no host's, in lower case.
    pub(crate) added: HashMap<String, Vec<IpAddr>>,
}

/// One subnet, and who has which number in it.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) name: String,
    pub(crate) plan: AddressPlan,
    /// What its interfaces have in common, without their names.
    pub(crate) medium: NicConfig,
    /// The conditions of links whose hosts state none.
    pub(crate) link: LinkConfig,
    /// It is the first, in which number 1 is the network's gateway.
    has_gateway: bool,
    /// The numbers that are taken or set aside, and the names of their hosts.
    numbers: BTreeMap<u32, String>,
    /// No number below this one is free.
    next_number: u32,
}

impl Registry {
    pub(crate) fn new(subnets: Vec<Book>, rng: Rng) -> Registry {
        Registry {
            subnets,
            rng,
            names: HashMap::new(),
            linked: Vec::new(),
            routers: Vec::new(),
            added: HashMap::new(),
        }
    }

    /// The plan of the first subnet, which is the network's only one unless others are named.
    pub(crate) fn plan(&self) -> AddressPlan {
        self.subnets[0].plan
    }

    /// Which ways there are between the subnets.
    pub(crate) fn topology(&self) -> Topology<'_> {
        Topology::new(self.subnets.iter().map(|book| book.plan).collect(), &self.routers)
    }

    /// Whether an interface has the address of the gateway in a subnet beyond the first, where routers may.
    pub(crate) fn is_at_gateway(&self, nic: &HostNic) -> bool {
        let Some(subnet) = nic.subnet.filter(|&subnet| subnet > 0) else { return false };
        let gateway = self.subnets[subnet].plan.v4.nth(AddressPlan::GATEWAY);
        nic.addresses.iter().any(|(address, _)| Some(*address) == gateway)
    }

    pub(crate) fn check_is_free(&self, name: &str) -> Result<(), Error> {
        let lower = name.to_ascii_lowercase();
        if self.names.contains_key(&lower) || self.added.contains_key(&lower) {
            return Err(Error::DuplicateName { name: name.to_owned() });
        }
        Ok(())
    }

    /// The number of the host with this name; case doesn't count.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(&name.to_ascii_lowercase()).copied()
    }

    /// The number of the host that was given this address when it was added.
    pub(crate) fn find_address(&self, address: IpAddr) -> Option<u32> {
        for book in &self.subnets {
            let Some(number) = book.plan.subnet_of(address).number_of(address) else { continue };
            if book.has_gateway && number == AddressPlan::GATEWAY {
                return Some(0);
            }
            return self.find(book.numbers.get(&number)?);
        }
        self.linked.iter().find(|(other, _)| *other == address).map(|(_, host)| *host)
    }

    /// The subnet with this name; the first if none is named.
    pub(crate) fn subnet(&self, host: &str, name: Option<&str>) -> Result<usize, Error> {
        let Some(name) = name else { return Ok(0) };
        let unknown = || Error::UnknownSubnet { name: host.to_owned(), subnet: name.to_owned() };
        self.subnets.iter().position(|book| book.name.eq_ignore_ascii_case(name)).ok_or_else(unknown)
    }

    /// Enters a host that is attached.
    pub(crate) fn enter(&mut self, name: &str, host: u32, nics: &[HostNic]) {
        self.names.insert(name.to_ascii_lowercase(), host);
        let linked = nics.iter().filter(|nic| nic.subnet.is_none()).flat_map(|nic| &nic.addresses);
        self.linked.extend(linked.map(|&(address, _)| (address, host)));
    }

    /// Strikes a host out: its name and addresses are free.
    pub(crate) fn strike(&mut self, name: &str) {
        if let Some(host) = self.names.remove(&name.to_ascii_lowercase()) {
            self.linked.retain(|(_, owner)| *owner != host);
        }
        self.release(name);
    }

    /// Gives back the numbers that were taken for a host.
    pub(crate) fn release(&mut self, name: &str) {
        for book in &mut self.subnets {
            let mut freed = u32::MAX;
            book.numbers.retain(|&number, owner| {
                let stays = owner != name;
                freed = if stays { freed } else { freed.min(number) };
                stays
            });
            book.next_number = book.next_number.min(freed);
        }
    }
}

impl Book {
    pub(crate) fn new(
        name: String,
        plan: AddressPlan,
        medium: NicConfig,
        link: LinkConfig,
        is_first: bool,
    ) -> Book {
        let numbers = BTreeMap::new();
        Book { name, plan, medium, link, has_gateway: is_first, numbers, next_number: AddressPlan::FIRST }
    }

    /// The number of an address that a host states, which is its from now on, or the next free one.
    pub(crate) fn take(&mut self, name: &str, address: Option<IpAddr>) -> Result<u32, Error> {
        match address {
            Some(address) => self.reserve(name, address),
            None => self.reserve_free(name),
        }
    }

    /// The number of an address that a host states.
    pub(crate) fn reserve(&mut self, name: &str, address: IpAddr) -> Result<u32, Error> {
        let number = self.plan.number_of(name, address, self.has_gateway)?;
        match self.numbers.get(&number) {
            Some(owner) if owner != name => {
                let owner = owner.clone();
                Err(Error::DuplicateAddress { name: name.to_owned(), address, owner })
            }
            _ => {
                self.numbers.insert(number, name.to_owned());
                Ok(number)
            }
        }
    }

    /// The lowest number that no host has.
    fn reserve_free(&mut self, name: &str) -> Result<u32, Error> {
        while self.numbers.contains_key(&self.next_number) {
            self.next_number += 1;
        }
        if self.next_number > self.plan.last_host() {
            return Err(Error::SubnetFull { name: name.to_owned(), subnet: self.plan.v4 });
        }
        self.numbers.insert(self.next_number, name.to_owned());
        Ok(self.next_number)
    }
}

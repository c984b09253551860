//! Ports of the machine that lead to a network's hosts: opened and closed as supervisors and users ask.

use super::conversation::Refusal;
use super::{NetworkServer, Stage};
use crate::gateway::{Publication, PublishSpec, PublishSpecError, UnpublishSpec};
use sockeye::Host;

impl NetworkServer {
    /// Publishes all that is written, or nothing.
    pub(super) fn publish_all(&mut self, host: &Host, specs: &[String]) -> Result<Vec<PublishSpec>, Refusal> {
        let parse = |spec: &String| spec.parse::<PublishSpec>().map_err(misspelt);
        let specs: Vec<_> = specs.iter().map(parse).collect::<Result<_, _>>()?;
        for (index, &spec) in specs.iter().enumerate() {
            if let Err(error) = self.core.publish(host.id(), spec) {
                for &spec in &specs[..index] {
                    self.core.unpublish(host.id(), spec);
                }
                let where_to_look = if error.is_published_already() { "; see sockeye ps" } else { "" };
                return Err(Refusal::Failed(format!("{error}{where_to_look}")));
            }
        }
        Ok(specs)
    }

    /// The host of this name, or the only one.
    fn host_to_publish(&self, name: Option<&str>) -> Result<Host, Refusal> {
        let network = self.core.world.network();
        match name {
            Some(name) => network.host(name).map_err(|error| {
                let names: Vec<_> = network.hosts().iter().map(|host| host.name().to_owned()).collect();
                Refusal::Failed(format!("{error}; the network has {}", names.join(", ")))
            }),
            None => match <[Host; 1]>::try_from(network.hosts()) {
                Ok([only]) => Ok(only),
                Err(hosts) => {
                    let names: Vec<_> = hosts.iter().map(Host::name).collect();
                    Err(Refusal::Misused(format!(
                        "the network has several hosts: name one of {} with --host",
                        names.join(", ")
                    )))
                }
            },
        }
    }

    pub(super) fn publish(&mut self, host: Option<&str>, ports: &[String]) -> Result<String, Refusal> {
        let host = self.host_to_publish(host)?;
        self.publish_all(&host, ports)?;
        Ok(String::new())
    }

    /// Closes all that is written, or nothing.
    pub(super) fn unpublish(&mut self, host: Option<&str>, ports: &[String]) -> Result<String, Refusal> {
        let host = host.map(|name| self.host_to_publish(Some(name))).transpose()?;
        let specs: Vec<UnpublishSpec> =
            ports.iter().map(|spec| spec.parse().map_err(misspelt)).collect::<Result<_, _>>()?;
        let mut found = Vec::new();
        for spec in &specs {
            let publications = spec.find(self.core.gateway.publications());
            found.extend(publications.map_err(|error| Refusal::Failed(error.to_string()))?);
        }
        if let Some(host) = host
            && let Some(other) = found.iter().find(|one| one.host != host.addresses())
        {
            return Err(Refusal::Failed(format!(
                "can't unpublish {other}: it leads to host {}, not to {}",
                self.host_of(other),
                host.name()
            )));
        }
        for publication in &found {
            self.core.close_port(publication);
        }
        self.forget_closed();
        Ok(String::new())
    }

    /// What a supervisor has published and somebody else has closed is not its to close when it leaves: the port
    /// may have been published anew meanwhile.
    fn forget_closed(&mut self) {
        let open: std::collections::BTreeSet<_> = self.core.gateway.publications().collect();
        let network = self.core.world.network();
        for peer in self.peers.values_mut() {
            if let Stage::Member(membership) = &mut peer.stage
                && let Some(host) = network.host_by_id(membership.host)
            {
                let is_open = |spec: &PublishSpec| {
                    spec.publications(host.addresses()).any(|publication| open.contains(&publication))
                };
                membership.published.retain(is_open);
            }
        }
    }

    /// The name of the host that a port leads to.
    fn host_of(&self, publication: &Publication) -> String {
        let host = self.core.world.network().host_by_address(publication.host[0]);
        host.map_or_else(|| publication.host[0].to_string(), |host| host.name().to_owned())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn misspelt(error: PublishSpecError) -> Refusal {
    Refusal::Misused(error.to_string())
}

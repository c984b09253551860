//! From command line and lab file to a private network.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use indexmap::IndexMap;
use sockeye::stack::Config;
use sockeye::{Error, HostConfig, HostId, LinkConfig, NetemConfig, Network};

use crate::args::RunArgs;
use crate::error::CliError;
use crate::lab::file::{HostSection, LabFile};

/// The name of the host of `sockeye run` when none is given.
pub(crate) const ONLY_HOST: &str = "me";

/// The private network with one host that `sockeye run` makes.
pub(crate) fn for_run(args: &RunArgs) -> Result<(Network, HostId), CliError> {
    let mut builder = Network::builder().wall_offset(since_epoch());
    if let Some(seed) = args.seed {
        builder = builder.seed(seed);
    }
    let config = HostConfig { ip: args.ip, link: link(args.link), ..HostConfig::default() };
    let network = builder.host(ONLY_HOST, config).build_manual();
    let network = network.map_err(|error| CliError::usage(error.to_string()))?;
    let host = network.host(ONLY_HOST).map_err(|error| CliError::failed(error.to_string()))?.id();
    Ok((network, host))
}

/// Captures the host's packets from now on. The file is emptied: the last thing before its program starts.
pub(crate) fn capture(network: &Network, host: HostId, path: &Path) -> Result<(), CliError> {
    let failed = |error: Error| CliError::failed(error.to_string());
    let host = network.host_by_id(host).ok_or_else(|| CliError::failed("the host is gone"))?;
    network.capture_host(&host, path).map_err(failed)
}

/// A lab's network, and its hosts by name in the order of the file.
pub(crate) fn for_lab(file: &LabFile, seed: u64) -> Result<(Network, IndexMap<String, HostId>), CliError> {
    let mut builder = Network::builder().wall_offset(since_epoch()).seed(seed);
    if let Some(subnet) = file.network.subnet {
        builder = builder.subnet(subnet);
    }
    if let Some(pcap) = &file.network.pcap {
        builder = builder.capture(PathBuf::from(pcap));
    }
    for (name, section) in &file.host {
        builder = builder.host(name, host_config(section));
    }
    let network = builder.build_manual().map_err(|error| match &error {
        Error::Capture { .. } => CliError::failed(error.to_string()),
        _ => file.mistake(host_of(&error), &error.to_string()),
    })?;
    let hosts = file.host.keys().map(|name| network.host(name).map(|host| (name.clone(), host.id())));
    let hosts = hosts.collect::<Result<_, Error>>().map_err(|error| CliError::failed(error.to_string()))?;
    Ok((network, hosts))
}

/// Writes out the capture, and says so when not all of it could be written. That is no reason to hide how the
/// programs ended.
pub(crate) fn finish_capture(network: &Network, pcap: Option<&Path>) {
    if let (Some(path), Err(error)) = (pcap, network.flush_captures()) {
        eprintln!("sockeye: the capture {} is not complete: {error}", path.display());
    }
}

fn host_config(section: &HostSection) -> HostConfig {
    let HostSection { ip, link: conditions, syn_retries } = *section;
    let mut stack = Config::default();
    if let Some(syn_retries) = syn_retries {
        // What the file says is all there are.
        (stack.tcp.syn_retries, stack.tcp.syn_linear_timeouts) = (syn_retries, 0);
    }
    HostConfig { ip, link: link(conditions), stack, ..HostConfig::default() }
}

/// The host that an error is about.
fn host_of(error: &Error) -> Option<&str> {
    match error {
        Error::BadName { name, .. }
        | Error::DuplicateName { name }
        | Error::DuplicateAddress { name, .. }
        | Error::BadAddress { name, .. }
        | Error::SubnetFull { name, .. }
        | Error::Link { name, .. } => Some(name),
        _ => None,
    }
}

fn link(conditions: Option<NetemConfig>) -> LinkConfig {
    LinkConfig::from(conditions.unwrap_or_default())
}

/// What the clock of the machine says, for captures and time stamps.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A seed that nobody has used before, for who names none. Small enough to be typed again.
pub(crate) fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(since_epoch()) % 1_000_000_000
}

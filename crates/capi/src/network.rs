//! Networks: `sockeye_network_*`.

use crate::answer::{Explained, answer, explain};
use crate::host::Host;
use crate::sys;
use sockeye::NetworkBuilder;
use sockeye_posix::Errno;
use std::ffi::{CStr, c_char, c_int};
use std::sync::Arc;
use std::time::Duration;

/// A network of hosts.
#[derive(Debug)]
pub struct Network {
    pub(crate) network: sockeye::Network,
}

/// Text that has to be there and to be text.
pub(crate) fn required<'a>(text: Option<&'a CStr>, what: &str) -> Result<&'a str, Explained> {
    let text = text.ok_or_else(|| Explained::new(Errno::EFAULT, format!("{what} is null")))?;
    text.to_str().map_err(|_| Explained::new(Errno::EINVAL, format!("{what} is not UTF-8: {text:?}")))
}

/// Makes a network of what `settings` say, word by word.
fn make(settings: &str) -> Result<Network, Explained> {
    let (mut builder, mut is_virtual) = (NetworkBuilder::default(), false);
    let mut words = settings.split_ascii_whitespace();
    while let Some(word) = words.next() {
        if word == "virtual" {
            is_virtual = true;
            continue;
        }
        let mut number = || -> Result<&str, Explained> {
            let missing = || Explained::new(Errno::EINVAL, format!("{word:?} needs a value behind it"));
            words.next().ok_or_else(missing)
        };
        let bad = |value: &str| Explained::new(Errno::EINVAL, format!("{value:?} is no value for {word:?}"));
        builder = match word {
            "seed" => number()
                .and_then(|value| value.parse().map(|seed| builder.seed(seed)).map_err(|_| bad(value)))?,
            "mtu" => number()
                .and_then(|value| value.parse().map(|mtu| builder.mtu(mtu)).map_err(|_| bad(value)))?,
            "subnet" => builder.subnet(number()?.parse()?),
            _ => {
                let known = "write \"seed N\", \"mtu BYTES\", \"subnet ADDRESS/PREFIX\" or \"virtual\"";
                return Err(Explained::new(Errno::EINVAL, format!("unknown setting {word:?}: {known}")));
            }
        };
    }
    let network = if is_virtual { builder.build_manual() } else { builder.build() };
    Ok(Network { network: network? })
}

/// Makes a network without hosts.
///
/// `settings` are words, or null for none of them:
///
/// - `seed N`: everything random (loss, ports, sequence numbers) depends on this number alone;
/// - `mtu BYTES`: the largest packet of its links, 1280 to 65535; 1500 unless stated;
/// - `subnet ADDRESS/PREFIX`: the hosts' addresses, of IPv4 or IPv6 (or both, stated one after the other);
///   10.77.0.0/16 and fd77::/64 unless stated;
/// - `virtual`: time stands still but for calls that wait, and those return at once with the clock set to when they
///   would have. For programs of one thread: a call that waits for what never comes fails with EDEADLK.
///
/// Without `virtual` the network runs by the machine's clock, with one thread of its own.
///
/// Returns null and sets `errno` when it fails: EINVAL for settings that are wrong, EAGAIN when there is no thread to be
/// had. sockeye_last_error() says what was wrong.
///
/// # Safety
///
/// `settings` is null or a string that ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_network_new(settings: *const c_char) -> *mut Network {
    // SAFETY: passed on.
    let settings = unsafe { sys::text(settings) };
    explain(|| {
        let settings = settings.map_or(Ok(""), |settings| required(Some(settings), "`settings`"))?;
        Ok(sys::into_handle(Arc::new(make(settings)?)))
    })
}

/// Gives a network back. Null is read over.
///
/// The network itself goes on until its hosts are given back too (sockeye_host_free): what waits for its sockets or moves
/// between them isn't disturbed. No hosts can be added any more, and the pointer must not be used again.
///
/// # Safety
///
/// `network` is null, or comes from sockeye_network_new() and was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_network_free(network: *mut Network) {
    // SAFETY: passed on.
    let network = unsafe { sys::take_handle(network) };
    answer(|| {
        drop(network);
        Ok(0)
    });
}

/// The time of a network in nanoseconds since it was made: the machine's, or the virtual one. 0 for null.
///
/// # Safety
///
/// `network` is null, or was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_network_now(network: *const Network) -> u64 {
    // SAFETY: passed on.
    unsafe { sys::handle(network) }.map_or(0, |network| network.network.now().as_nanos())
}

/// Lets so many nanoseconds pass: sleeps, or, in a network of virtual time, has everything happen until then and
/// returns at once.
///
/// Returns 0; -1 with EFAULT for a null pointer.
///
/// # Safety
///
/// `network` is null, or was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_network_sleep(network: *const Network, nanoseconds: u64) -> c_int {
    // SAFETY: passed on.
    let network = unsafe { sys::handle(network) };
    answer(|| {
        let network = &network?.network;
        let limit = Duration::from_nanos(nanoseconds);
        if network.is_manual() {
            crate::virtual_time::pass(network, limit);
        } else {
            std::thread::sleep(limit);
        }
        Ok(0)
    })
}

/// Adds a host to a network, and returns a handle to it.
///
/// `name` is one label of letters, digits and hyphens, by which other hosts find it (sockeye_getaddrinfo). `address` is
/// its address in one of the network's subnets, as text; null or "" for the next free one. It has an address of the
/// other family too, with the same number. `link` says what its link does to packets, each way, in the words of lab
/// files: "delay 20ms loss 2%", "rate 10mbit limit 50"; null or "" for a perfect one.
///
/// Returns null and sets `errno` when it fails: EINVAL for a bad name, address or link, EEXIST when another host has the
/// name or the address, EADDRNOTAVAIL when the subnet is full. sockeye_last_error() says what was wrong.
///
/// # Safety
///
/// `network` is null, or was not given back; the others are null or strings that end with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_host_new(
    network: *const Network,
    name: *const c_char,
    address: *const c_char,
    link: *const c_char,
) -> *mut Host {
    // SAFETY: passed on.
    let (network, name, address, link) =
        unsafe { (sys::handle(network), sys::text(name), sys::text(address), sys::text(link)) };
    explain(|| {
        let network = network.map_err(|errno| Explained::new(errno, "`network` is null"))?;
        let name = required(name, "`name`")?;
        let optional = |text: Option<_>, what| text.map_or(Ok(""), |text| required(Some(text), what));
        let host =
            Host::new(&network.network, name, optional(address, "`address`")?, optional(link, "`link`")?)?;
        Ok(sys::into_handle(Arc::new(host)))
    })
}

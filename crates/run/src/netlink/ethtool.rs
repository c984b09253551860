//! `SIOCETHTOOL` (`linux/ethtool.h`): what is told of an interface to whoever may change nothing. The answers are those
//! of one end of a virtual cable (veth), which an interface here is most like.

use super::host::Interface;
use sockeye_posix::Errno;

// `ETHTOOL_*`, those that need no rights.
const SETTINGS: u32 = 0x01;
const DRIVER: u32 = 0x03;
const LINK: u32 = 0x0a;
const PERMANENT_ADDRESS: u32 = 0x20;
const LINK_SETTINGS: u32 = 0x4c;
/// Checksums received and sent, scatter and gather, TSO, GSO.
const OFFLOADS: [u32; 5] = [0x14, 0x16, 0x18, 0x1e, 0x23];
const GRO: u32 = 0x2b;
const FLAGS: u32 = 0x25;
/// `ETH_FLAG_TXVLAN`, `ETH_FLAG_RXVLAN`.
const VLAN_FLAGS: u32 = 0x180;
/// Others that everybody may ask for, which this kind of interface doesn't have.
const UNKNOWN: [u32; 27] = [
    0x07, 0x0e, 0x10, 0x12, 0x1b, 0x1d, 0x21, 0x27, 0x29, 0x2d, 0x2e, 0x2f, 0x30, 0x36, 0x37, 0x38, 0x3a,
    0x3c, 0x3e, 0x40, 0x41, 0x42, 0x43, 0x44, 0x46, 0x48, 0x4e,
];

/// Lengths of `struct ethtool_cmd`, `struct ethtool_drvinfo`, `struct ethtool_link_settings`.
const SETTINGS_LEN: usize = 44;
const DRIVER_LEN: usize = 196;
const LINK_SETTINGS_LEN: usize = 48;
/// In megabits per second; duplex.
const SPEED: u16 = 10_000;
const FULL: u8 = 1;
/// Words of a set of link modes, as many as kernels have had since 6.1.
const MODE_WORDS: usize = 4;

/// What goes back for what lies where the request points: the command, and perhaps more.
pub(super) fn answer(interface: &Interface, asked: &[u8]) -> Result<Vec<u8>, Errno> {
    let command = word(asked, 0).ok_or(Errno::EFAULT)?;
    let number = |value: u32| [command.to_ne_bytes(), value.to_ne_bytes()].concat();
    match command {
        LINK => Ok(number(1)),
        // A capture shows segments longer than the MTU: libpcap (`iface_get_offload`) makes room only where it is told so.
        command if OFFLOADS.contains(&command) => Ok(number(1)),
        GRO => Ok(number(interface.is_loopback().into())),
        FLAGS => Ok(number(if interface.is_loopback() { 0 } else { VLAN_FLAGS })),
        PERMANENT_ADDRESS => {
            let room = word(asked, 4).ok_or(Errno::EFAULT)? as usize;
            let address = interface.hardware.get(..6).filter(|address| room >= address.len());
            let address = address.ok_or(Errno::EINVAL)?;
            Ok([&number(address.len() as u32)[..], address].concat())
        }
        SETTINGS | DRIVER | LINK_SETTINGS if interface.is_loopback() => Err(Errno::EOPNOTSUPP),
        SETTINGS => {
            let mut bytes = started(command, SETTINGS_LEN);
            bytes[12..14].copy_from_slice(&SPEED.to_ne_bytes());
            bytes[14] = FULL;
            Ok(bytes)
        }
        DRIVER => {
            let mut bytes = started(command, DRIVER_LEN);
            for (at, text) in [(4, "sockeye"), (36, env!("CARGO_PKG_VERSION"))] {
                // Each has 32 bytes with a NUL at the end.
                let text = &text.as_bytes()[..text.len().min(31)];
                bytes[at..][..text.len()].copy_from_slice(text);
            }
            Ok(bytes)
        }
        LINK_SETTINGS => link_settings(asked),
        command if UNKNOWN.contains(&command) => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EPERM),
    }
}

/// Whoever doesn't know the number of words is told it, as a negative one.
fn link_settings(asked: &[u8]) -> Result<Vec<u8>, Errno> {
    /// Where that number is.
    const WORDS: usize = 18;
    let words = *asked.get(WORDS).ok_or(Errno::EFAULT)?;
    let mut bytes = started(LINK_SETTINGS, LINK_SETTINGS_LEN);
    if usize::from(words) != MODE_WORDS {
        bytes[WORDS] = (MODE_WORDS as u8).wrapping_neg();
        return Ok(bytes);
    }
    bytes[4..8].copy_from_slice(&u32::from(SPEED).to_ne_bytes());
    bytes[8] = FULL;
    bytes[WORDS] = words;
    // Modes that are supported, advertised, and advertised by the peer.
    bytes.resize(LINK_SETTINGS_LEN + 3 * 4 * MODE_WORDS, 0);
    Ok(bytes)
}

fn started(command: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&command.to_ne_bytes());
    bytes
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::host::interfaces;
    use crate::netlink::host::tests::stack;

    fn ask(interface: usize, command: u32, rest: &[u8]) -> Result<Vec<u8>, Errno> {
        answer(&interfaces(&stack())[interface], &[&command.to_ne_bytes()[..], rest].concat())
    }

    #[test]
    fn a_link_is_up_and_has_a_driver_and_a_speed() {
        assert_eq!(ask(1, LINK, &[]).unwrap()[4..], [1, 0, 0, 0]);
        assert!(ask(1, DRIVER, &[]).unwrap()[4..].starts_with(b"sockeye\0"));
        assert_eq!(ask(1, SETTINGS, &[]).unwrap()[12..15], [16, 39, 1]);
        assert_eq!(
            ask(1, PERMANENT_ADDRESS, &[32, 0, 0, 0]).unwrap()[4..],
            [6, 0, 0, 0, 2, 66, 10, 77, 0, 2]
        );
        assert_eq!(ask(1, PERMANENT_ADDRESS, &[5, 0, 0, 0]), Err(Errno::EINVAL));
    }

    #[test]
    fn offloads_are_those_of_linux() {
        let told = |interface, command| ask(interface, command, &[]).map(|bytes| word(&bytes, 4).unwrap());
        for command in [0x14, 0x16, 0x18, 0x1e, 0x23] {
            assert_eq!([0, 1].map(|interface| told(interface, command)), [Ok(1); 2], "{command:#x}");
        }
        assert_eq!([0, 1].map(|interface| told(interface, 0x2b)), [Ok(1), Ok(0)], "GRO");
        assert_eq!([0, 1].map(|interface| told(interface, 0x25)), [Ok(0), Ok(0x180)], "flags");
        assert_eq!([0, 1].map(|interface| told(interface, 0x21)), [Err(Errno::EOPNOTSUPP); 2], "UFO");
    }

    #[test]
    fn link_settings_are_asked_for_twice() {
        let mut rest = vec![0; 44];
        let told = ask(1, LINK_SETTINGS, &rest).unwrap();
        assert_eq!((told.len(), told[18] as i8), (48, -4));
        rest[14] = 4;
        let told = ask(1, LINK_SETTINGS, &rest).unwrap();
        assert_eq!((told.len(), told[18], told[8], &told[4..6]), (96, 4, 1, &[16, 39][..]));
    }

    #[test]
    fn what_is_not_there_is_refused_as_by_linux() {
        assert_eq!(ask(0, DRIVER, &[]), Err(Errno::EOPNOTSUPP));
        assert_eq!(ask(1, 0x1d, &[]), Err(Errno::EOPNOTSUPP), "statistics");
        for set in [0x02, 0x0b, 0x1f, 0x4d, 0xffff] {
            assert_eq!(ask(1, set, &[]), Err(Errno::EPERM), "{set:#x}");
        }
        assert_eq!(answer(&interfaces(&stack())[1], &[3]), Err(Errno::EFAULT));
        assert_eq!(ask(1, LINK_SETTINGS, &[0; 4]), Err(Errno::EFAULT));
    }
}

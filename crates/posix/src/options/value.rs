//! Option values as bytes: reading what a program set, writing what it asked for.

use crate::Errno;
use crate::address::nic_of_index;
use crate::tcp_info;
use core::net::Ipv4Addr;
use core::time::Duration;
use sockeye_packet::NicId;
use sockeye_stack::{CongestionControl, Ipv4Options, SocketOption, TcpInfo};

/// Bytes of `struct linger`.
const LINGER_LEN: usize = 8;
/// The longest name of a congestion control (`TCP_CA_NAME_MAX`), with its NUL.
const CONGESTION_LEN: usize = 16;

/// The value of an option as the program reads it. The default is the empty value, of length 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionValue {
    bytes: Vec<u8>,
    /// A small number that a reader with room for less than an `int` gets as one byte.
    byte: Option<u8>,
    /// What a reader without room for all of `bytes` gets.
    narrow: Option<[u8; 4]>,
    /// How much room there may be; EINVAL for others.
    room: Room,
}

/// What a reader's room must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Room {
    /// Anything.
    #[default]
    Any,
    /// At least this.
    AtLeast(usize),
    /// At most the value's length.
    AtMost,
    /// The value's length.
    Exactly,
}

/// The first numbers of a value that may be too short or too long, as `ICMP_FILTER` takes it.
fn words<const COUNT: usize>(value: &[u8]) -> [u32; COUNT] {
    core::array::from_fn(|word| {
        let bytes = core::array::from_fn(|byte| value.get(4 * word + byte).copied().unwrap_or(0));
        u32::from_ne_bytes(bytes)
    })
}

/// `IP_OPTIONS`: at most 40 bytes (`MAX_IPOPTLEN`).
pub(super) fn read_ip_options(value: &[u8]) -> Result<SocketOption, Errno> {
    let options = Ipv4Options::from_slice(value);
    if options.len() == value.len() { Ok(SocketOption::IpOptions(options)) } else { Err(Errno::EINVAL) }
}

/// A `struct icmp_filter`.
pub(super) fn read_icmp_filter(value: &[u8]) -> SocketOption {
    SocketOption::IcmpFilter(words::<1>(value)[0])
}

/// A `struct icmp6_filter`.
pub(super) fn read_icmp6_filter(value: &[u8]) -> SocketOption {
    SocketOption::Icmp6Filter(words(value))
}

impl OptionValue {
    /// An `int`.
    pub fn int(value: i32) -> OptionValue {
        OptionValue::from_bytes(value.to_ne_bytes().to_vec())
    }

    /// An `int` as `level` gives it: `IPPROTO_IP` answers short reads with a byte where it fits.
    pub fn int_at(level: i32, value: i32) -> OptionValue {
        let byte = if level == libc::IPPROTO_IP { u8::try_from(value).ok() } else { None };
        OptionValue { byte, ..OptionValue::int(value) }
    }

    /// Bytes per second, 64 bits of them where there is room for so many, else 32 (`SO_MAX_PACING_RATE`).
    pub fn rate(rate: u64) -> OptionValue {
        let narrow = u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes();
        OptionValue { narrow: Some(narrow), ..OptionValue::from_bytes(rate.to_ne_bytes().to_vec()) }
    }

    /// Numbers in a row, for a reader with room for some of them.
    pub fn words(words: &[u32]) -> OptionValue {
        OptionValue::from_bytes(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }

    /// A `struct linger`, in whole seconds.
    pub fn linger(linger: Option<Duration>) -> OptionValue {
        let seconds = linger.map_or(0, |time| i32::try_from(time.as_secs()).unwrap_or(i32::MAX));
        let on = i32::from(linger.is_some());
        OptionValue::from_bytes([on.to_ne_bytes(), seconds.to_ne_bytes()].concat())
    }

    /// A `struct timeval`; zero stands for "no limit".
    pub fn timeval(time: Duration) -> OptionValue {
        let (seconds, micros) = (time.as_secs() as i64, i64::from(time.subsec_micros()));
        OptionValue::from_bytes([seconds.to_ne_bytes(), micros.to_ne_bytes()].concat())
    }

    /// A name in a field of 16 bytes, padded with NULs (`TCP_CONGESTION`).
    pub fn text(name: &str) -> OptionValue {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(CONGESTION_LEN, 0);
        OptionValue::from_bytes(bytes)
    }

    /// The name of an interface with its NUL, or nothing (`SO_BINDTODEVICE`); EINVAL for room that the longest
    /// name wouldn't fit in.
    pub fn device(name: &str) -> OptionValue {
        let mut bytes = name.as_bytes().to_vec();
        if bytes.is_empty() {
            return OptionValue::default();
        }
        bytes.push(0);
        OptionValue { room: Room::AtLeast(libc::IFNAMSIZ), ..OptionValue::from_bytes(bytes) }
    }

    /// A `struct in_addr`.
    pub fn address(address: Ipv4Addr) -> OptionValue {
        OptionValue::from_bytes(address.octets().to_vec())
    }

    /// `SO_COOKIE`.
    pub fn cookie(cookie: u64) -> OptionValue {
        OptionValue { room: Room::AtLeast(8), ..OptionValue::wide(cookie) }
    }

    /// `SO_NETNS_COOKIE`.
    pub fn netns_cookie(cookie: u64) -> OptionValue {
        OptionValue { room: Room::Exactly, ..OptionValue::wide(cookie) }
    }

    /// 64 bits.
    pub fn wide(value: u64) -> OptionValue {
        OptionValue::from_bytes(value.to_ne_bytes().to_vec())
    }

    /// The peer's address (`SO_PEERNAME`).
    pub fn peer_name(address: &[u8]) -> OptionValue {
        OptionValue { room: Room::AtMost, ..OptionValue::from_bytes(address.to_vec()) }
    }

    /// A `struct so_timestamping`: these flags, and no clock of a device.
    pub fn timestamping(flags: u32) -> OptionValue {
        OptionValue::wide(u64::from_ne_bytes(
            [flags.to_ne_bytes(), [0; 4]].concat().try_into().unwrap_or_default(),
        ))
    }

    /// `SO_MEMINFO`: bytes received and unread, `SO_RCVBUF`, bytes sent and not yet gone, `SO_SNDBUF`, and drops.
    pub fn memory_info([received, recv_buffer, sent, send_buffer, drops]: [u32; 5]) -> OptionValue {
        // SK_MEMINFO_RMEM_ALLOC, RCVBUF, WMEM_ALLOC, SNDBUF, FWD_ALLOC, WMEM_QUEUED, OPTMEM, BACKLOG, DROPS.
        let fields = [received, recv_buffer, sent, send_buffer, 0, sent, 0, 0, drops];
        OptionValue::from_bytes(fields.map(u32::to_ne_bytes).concat())
    }

    /// `IPV6_PATHMTU`: a `struct ip6_mtuinfo`, whose address Linux leaves empty.
    pub fn path_mtu_info(mtu: u32) -> OptionValue {
        let bytes = [&[0; 28][..], &mtu.to_ne_bytes()].concat();
        OptionValue { room: Room::AtLeast(bytes.len()), ..OptionValue::from_bytes(bytes) }
    }

    /// A `struct linger` as it was set, its two numbers as one.
    pub(super) fn linger_of(both: i64) -> OptionValue {
        let mut bytes = both.to_ne_bytes();
        let on = i32::from(bytes[..4] != [0; 4]);
        bytes[..4].copy_from_slice(&on.to_ne_bytes());
        OptionValue::from_bytes(bytes.to_vec())
    }

    /// `TCP_INFO` in Linux's layout.
    pub fn tcp_info(info: &TcpInfo) -> OptionValue {
        OptionValue::from_bytes(tcp_info::encode(info).to_vec())
    }

    /// `TCP_INFO` of a socket that has no connection and does not listen.
    pub fn tcp_info_idle() -> OptionValue {
        OptionValue::from_bytes(tcp_info::encode_idle().to_vec())
    }

    /// `SO_PEERCRED` of a socket whose peer isn't known: process 0, no user, no group.
    pub fn no_credentials() -> OptionValue {
        OptionValue::from_bytes([0, -1, -1].map(i32::to_ne_bytes).concat())
    }

    /// `IP_OPTIONS`.
    pub fn ip_options(options: &[u8]) -> OptionValue {
        OptionValue::from_bytes(options.to_vec())
    }

    fn from_bytes(bytes: Vec<u8>) -> OptionValue {
        OptionValue { bytes, ..OptionValue::default() }
    }

    /// What is written into `room` bytes; its length is what the program's `optlen` becomes. EINVAL for values
    /// that want all of their room.
    pub fn cut_to(&self, room: usize) -> Result<&[u8], Errno> {
        let len = self.bytes.len();
        let fits = match self.room {
            Room::Any => true,
            Room::AtLeast(least) => room >= least,
            Room::AtMost => room <= len,
            Room::Exactly => room == len,
        };
        if fits { Ok(self.cut(room)) } else { Err(Errno::EINVAL) }
    }

    fn cut(&self, room: usize) -> &[u8] {
        if let Some(narrow) = self.narrow.as_ref().filter(|_| room < self.bytes.len()) {
            return &narrow[..narrow.len().min(room)];
        }
        match &self.byte {
            Some(byte) if (1..self.bytes.len()).contains(&room) => std::slice::from_ref(byte),
            _ => &self.bytes[..self.bytes.len().min(room)],
        }
    }
}

/// A `struct timeval` of two 64-bit numbers: `None` for zero and for times before now, which mean "no limit".
pub(super) fn read_timeval(value: &[u8]) -> Result<Option<Duration>, Errno> {
    let (seconds, rest) = value.split_first_chunk::<8>().ok_or(Errno::EINVAL)?;
    let micros = i64::from_ne_bytes(*rest.first_chunk().ok_or(Errno::EINVAL)?);
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::EDOM);
    }
    let seconds = i64::from_ne_bytes(*seconds);
    let time = Duration::new(seconds.max(0) as u64, micros as u32 * 1000);
    Ok(Some(time).filter(|time| seconds >= 0 && !time.is_zero()))
}

/// A `struct linger`.
pub(super) fn read_linger(value: &[u8]) -> Result<SocketOption, Errno> {
    let value: &[u8; LINGER_LEN] = value.first_chunk().ok_or(Errno::EINVAL)?;
    let on = value[..4] != [0; 4];
    // Linux reads the seconds as unsigned: a negative number is for ever.
    let seconds = value.last_chunk().map_or(0, |b| u32::from_ne_bytes(*b));
    Ok(SocketOption::Linger(on.then(|| Duration::from_secs(seconds.into()))))
}

/// `SO_MAX_PACING_RATE`.
pub(super) fn read_rate(value: &[u8]) -> Result<SocketOption, Errno> {
    rate_of(value).map(SocketOption::MaxPacingRate)
}

/// A limit of bytes per second: an `unsigned long`, or an `unsigned int` where there is no more. All ones mean
/// no limit.
pub(super) fn rate_of(value: &[u8]) -> Result<u64, Errno> {
    match (value.first_chunk(), value.first_chunk()) {
        (Some(wide), _) => Ok(u64::from_ne_bytes(*wide)),
        (None, Some(narrow)) => Ok(match u32::from_ne_bytes(*narrow) {
            u32::MAX => u64::MAX,
            rate => rate.into(),
        }),
        (None, None) => Err(Errno::EINVAL),
    }
}

/// The flags of `SO_TIMESTAMPING`: an `int`, or a `struct so_timestamping` whose clock is not looked at, as no
/// interface has one. EINVAL for flags that there aren't.
pub(super) fn read_timestamping(value: &[u8]) -> Result<u32, Errno> {
    /// `SOF_TIMESTAMPING_TX_HARDWARE` to `SOF_TIMESTAMPING_TX_COMPLETION`.
    const KNOWN: u32 = (1 << 19) - 1;
    const ID: u32 = 1 << 7;
    const ONLY_TIMES: u32 = 1 << 11;
    const STATS: u32 = 1 << 12;
    const BIND_CLOCK: u32 = 1 << 15;
    const ID_TCP: u32 = 1 << 16;
    let flags = u32::from_ne_bytes(*value.first_chunk().ok_or(Errno::EINVAL)?);
    let wrong = flags & !KNOWN != 0
        || flags & BIND_CLOCK != 0
        || flags & (STATS | ONLY_TIMES) == STATS
        || flags & (ID | ID_TCP) == ID_TCP;
    if wrong { Err(Errno::EINVAL) } else { Ok(flags) }
}

/// `SO_TXTIME`: a `struct sock_txtime` of a clock and flags, as one number.
pub(super) fn read_transmit_time(value: &[u8]) -> Result<i64, Errno> {
    /// `SOF_TXTIME_DEADLINE_MODE`, `SOF_TXTIME_REPORT_ERRORS`.
    const FLAGS: u32 = 3;
    let both = *value.first_chunk::<8>().filter(|_| value.len() == 8).ok_or(Errno::EINVAL)?;
    let (clock, flags) = both.split_at(4);
    let [clock, flags] =
        [clock, flags].map(|half| half.first_chunk().map_or(0, |half| u32::from_ne_bytes(*half)));
    if flags & !FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    // Any clock but the one that never jumps needs a capability.
    if clock as i32 == libc::CLOCK_MONOTONIC { Ok(i64::from_ne_bytes(both)) } else { Err(Errno::EPERM) }
}

/// `IP_LOCAL_PORT_RANGE`: the first port in the lower half, the last in the upper; EINVAL for an empty range.
pub(super) fn read_port_range(value: &[u8]) -> Result<SocketOption, Errno> {
    let range = value.first_chunk().filter(|_| value.len() == 4).ok_or(Errno::EINVAL)?;
    let range = u32::from_ne_bytes(*range);
    let (first, last) = (range as u16, (range >> 16) as u16);
    if last != 0 && first > last { Err(Errno::EINVAL) } else { Ok(SocketOption::LocalPorts(first, last)) }
}

/// `IP_UNICAST_IF`, `IPV6_UNICAST_IF`: the number of an interface in network byte order, 0 for none; EADDRNOTAVAIL
/// for one that no interface can have.
pub(super) fn read_nic(value: &[u8]) -> Result<Option<NicId>, Errno> {
    let index = value.first_chunk().filter(|_| value.len() == 4).ok_or(Errno::EINVAL)?;
    match u32::from_be_bytes(*index) {
        0 => Ok(None),
        index => nic_of_index(index).map(Some).ok_or(Errno::EADDRNOTAVAIL),
    }
}

/// `IPV6_ADDR_PREFERENCES` before it is set: no preference between temporary and public, home rather than care-of.
pub(super) const NO_PREFERENCE: i32 = 0x500;

/// The preferences that are set: of each pair at most one may be named, and none gives the default back.
pub(super) fn prefer(wanted: i32) -> Result<i32, Errno> {
    /// `IPV6_PREFER_SRC_TMP`, `PUBLIC`, `PUBTMP_DEFAULT`; `COA`, `HOME`; `CGA`, `NONCGA`, which isn't kept.
    const GROUPS: [(i32, bool); 3] = [(0x103, true), (0x404, true), (0x808, false)];
    let mut after = 0;
    for (group, kept) in GROUPS {
        let of = match wanted & group {
            0 => NO_PREFERENCE & group,
            one if one & (one - 1) == 0 => one,
            _ => return Err(Errno::EINVAL),
        };
        after |= if kept { of } else { 0 };
    }
    Ok(after)
}

/// The name of a congestion control; ENOENT for one that isn't there.
pub(super) fn read_congestion(value: &[u8]) -> Result<SocketOption, Errno> {
    match until_nul(value, CONGESTION_LEN - 1) {
        _ if value.is_empty() => Err(Errno::EINVAL),
        b"cubic" => Ok(SocketOption::Congestion(CongestionControl::Cubic)),
        b"reno" => Ok(SocketOption::Congestion(CongestionControl::Reno)),
        _ => Err(Errno::ENOENT),
    }
}

/// The text in a field of at most `max` bytes.
pub(super) fn until_nul(value: &[u8], max: usize) -> &[u8] {
    let value = &value[..value.len().min(max)];
    value.split(|&byte| byte == 0).next().unwrap_or_default()
}

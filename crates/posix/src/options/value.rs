//! Option values as bytes: reading what a program set, writing what it asked for.

use crate::Errno;
use crate::tcp_info;
use core::net::Ipv4Addr;
use core::time::Duration;
use sockeye_stack::{CongestionControl, SocketOption, TcpInfo};

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

    /// The name of an interface with its NUL, or nothing (`SO_BINDTODEVICE`).
    pub fn device(name: &str) -> OptionValue {
        let mut bytes = name.as_bytes().to_vec();
        if !bytes.is_empty() {
            bytes.push(0);
        }
        OptionValue::from_bytes(bytes)
    }

    /// A `struct in_addr`.
    pub fn address(address: Ipv4Addr) -> OptionValue {
        OptionValue::from_bytes(address.octets().to_vec())
    }

    /// `SO_COOKIE`.
    pub fn cookie(cookie: u64) -> OptionValue {
        OptionValue::from_bytes(cookie.to_ne_bytes().to_vec())
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

    fn from_bytes(bytes: Vec<u8>) -> OptionValue {
        OptionValue { bytes, byte: None, narrow: None }
    }

    /// What is written into `room` bytes; its length is what the program's `optlen` becomes.
    pub fn cut_to(&self, room: usize) -> &[u8] {
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

/// A limit of bytes per second: an `unsigned long`, or an `unsigned int` where there is no more. All ones mean
/// no limit.
pub(super) fn read_rate(value: &[u8]) -> Result<SocketOption, Errno> {
    let rate = match (value.first_chunk(), value.first_chunk()) {
        (Some(wide), _) => u64::from_ne_bytes(*wide),
        (None, Some(narrow)) => match u32::from_ne_bytes(*narrow) {
            u32::MAX => u64::MAX,
            rate => rate.into(),
        },
        (None, None) => return Err(Errno::EINVAL),
    };
    Ok(SocketOption::MaxPacingRate(rate))
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

//! The options of TCP: what values they take, and what they read as.

use super::{LEAST_BUFFER, OptionName, SocketOption, TcpSettings, asked};
use crate::config::TcpConfig;
use crate::error::{Error, Result};
use crate::ip::sent_options::compile;
use core::ops::RangeInclusive;
use core::time::Duration;

/// `TCP_KEEPIDLE` and `TCP_KEEPINTVL` go up to this, `TCP_KEEPCNT` and `TCP_SYNCNT` to 127 (tcp(7)).
const MAX_KEEP: Duration = Duration::from_secs(32_767);
const MAX_COUNT: u32 = 127;
/// `TCP_RTO_MAX_MS` goes from one to the other.
const LEAST_MAX_RTO: Duration = Duration::from_secs(1);
const MOST_MAX_RTO: Duration = Duration::from_mins(2);
/// The least window that `TCP_WINDOW_CLAMP` can set (tcp(7)): half of the least buffer.
const LEAST_WINDOW_CLAMP: u32 = LEAST_BUFFER as u32 / 2;

impl TcpSettings {
    /// Sets an option; `defaults` are the stack's, `recv` and `send` what the buffers may be.
    pub(super) fn set(
        &mut self,
        option: SocketOption,
        defaults: &TcpSettings,
        recv: RangeInclusive<usize>,
        send: RangeInclusive<usize>,
    ) -> Result<()> {
        let keep = |time: Duration| {
            let valid = (Duration::from_secs(1)..=MAX_KEEP).contains(&time);
            if valid { Ok(time) } else { Err(Error::InvalidArgument) }
        };
        match option {
            SocketOption::KeepAlive(on) => self.keep_alive = on,
            SocketOption::Linger(linger) => self.linger = linger,
            SocketOption::OobInline(on) => self.oob_inline = on,
            SocketOption::RecvBuffer(size) => {
                self.recv_buffer = Some(size.clamp(*recv.start(), *recv.end()) as u32);
            }
            SocketOption::SendBuffer(size) => {
                self.send_buffer = Some(size.clamp(*send.start(), *send.end()) as u32);
            }
            SocketOption::RecvLowWater(bytes) => self.recv_low_water = bytes.max(1),
            SocketOption::NoDelay(on) => self.no_delay = on,
            SocketOption::Cork(on) => self.cork = on,
            SocketOption::QuickAck(on) => self.quick_ack = on,
            SocketOption::MaxSegment(0) => self.max_segment = None,
            SocketOption::MaxSegment(mss) if (88..=32_767).contains(&mss) => self.max_segment = Some(mss),
            SocketOption::UserTimeout(time) => self.user_timeout = time,
            SocketOption::KeepIdle(time) => self.keep_idle = keep(time)?,
            SocketOption::KeepInterval(time) => self.keep_interval = keep(time)?,
            SocketOption::KeepCount(count) if (1..=MAX_COUNT).contains(&count) => self.keep_count = count,
            SocketOption::SynCount(count) if (1..=MAX_COUNT as u8).contains(&count) => {
                self.syn_retries = Some(count);
            }
            SocketOption::MaxRto(time) if LEAST_MAX_RTO <= time && time <= MOST_MAX_RTO => {
                self.max_rto = Some(time);
            }
            SocketOption::DeferAccept(time) => self.defer_accept = time,
            SocketOption::FinTimeout(time) => {
                // As the kernel: zero is the default, and nothing is longer than two minutes.
                self.fin_timeout = match time {
                    Some(Duration::ZERO) => defaults.fin_timeout,
                    time => time.map(|time| time.min(Duration::from_mins(2))),
                };
            }
            SocketOption::WindowClamp(0) => self.window_clamp = 0,
            SocketOption::WindowClamp(bytes) => self.window_clamp = bytes.max(LEAST_WINDOW_CLAMP),
            SocketOption::NotSentLowWater(bytes) => self.not_sent_low_water = bytes,
            SocketOption::MaxPacingRate(rate) => self.max_pacing_rate = rate,
            SocketOption::Congestion(control) => self.congestion = control,
            SocketOption::IpOptions(options) => self.ip_options = compile(&options)?,
            _ => return Err(Error::InvalidArgument),
        }
        Ok(())
    }

    /// The value of an option; none of one that isn't TCP's.
    pub(super) fn get(&self, name: OptionName, max_segment: u16, config: &TcpConfig) -> Option<SocketOption> {
        let size = |set: Option<u32>, default: usize| set.map_or(default, |bytes| bytes as usize);
        Some(match name {
            OptionName::KeepAlive => SocketOption::KeepAlive(self.keep_alive),
            OptionName::Linger => SocketOption::Linger(self.linger),
            OptionName::OobInline => SocketOption::OobInline(self.oob_inline),
            OptionName::RecvBuffer => {
                SocketOption::RecvBuffer(size(self.recv_buffer, config.recv_buffer.default))
            }
            OptionName::SendBuffer => {
                SocketOption::SendBuffer(size(self.send_buffer, config.send_buffer.default))
            }
            OptionName::RecvLowWater => SocketOption::RecvLowWater(self.recv_low_water),
            OptionName::NoDelay => SocketOption::NoDelay(self.no_delay),
            OptionName::Cork => SocketOption::Cork(self.cork),
            OptionName::QuickAck => SocketOption::QuickAck(self.quick_ack),
            OptionName::MaxSegment => SocketOption::MaxSegment(max_segment),
            OptionName::UserTimeout => SocketOption::UserTimeout(self.user_timeout),
            OptionName::KeepIdle => SocketOption::KeepIdle(self.keep_idle),
            OptionName::KeepInterval => SocketOption::KeepInterval(self.keep_interval),
            OptionName::KeepCount => SocketOption::KeepCount(self.keep_count),
            OptionName::SynCount => SocketOption::SynCount(self.syn_retries.unwrap_or(config.syn_retries)),
            OptionName::MaxRto => SocketOption::MaxRto(self.max_rto.unwrap_or(config.max_rto)),
            OptionName::DeferAccept => SocketOption::DeferAccept(self.defer_accept),
            OptionName::FinTimeout => SocketOption::FinTimeout(self.fin_timeout),
            OptionName::WindowClamp => SocketOption::WindowClamp(self.window_clamp),
            OptionName::NotSentLowWater => SocketOption::NotSentLowWater(self.not_sent_low_water),
            OptionName::MaxPacingRate => SocketOption::MaxPacingRate(self.max_pacing_rate),
            OptionName::Congestion => SocketOption::Congestion(self.congestion),
            OptionName::IpOptions => SocketOption::IpOptions(asked(self.ip_options.as_deref())),
            _ => return None,
        })
    }
}

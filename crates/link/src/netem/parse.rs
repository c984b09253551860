//! Link conditions in the words of tc(8), read and printed.
//!
//! What is printed parses back to the same conditions; quantities are exact, never rounded.

use super::{DEFAULT_LIMIT, NetemConfig};
use std::fmt;
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

/// The longest delay or jitter: a day.
const LONGEST: u128 = 86_400 * 1_000_000_000;

/// The highest rate in bits per second: a petabit.
const FASTEST: u128 = 1_000_000_000_000_000;

/// Units of time, in nanoseconds.
const TIME_UNITS: [(&str, u128); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// Units of rate, in bits per second. As in tc(8), `bps` is bytes per second.
const RATE_UNITS: [(&str, u128); 10] = [
    ("tbit", 1_000_000_000_000),
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
    ("tbps", 8_000_000_000_000),
    ("gbps", 8_000_000_000),
    ("mbps", 8_000_000),
    ("kbps", 8_000),
    ("bps", 8),
];

/// Why a text is not a description of link conditions: one line that names the word and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseNetemError(String);

impl fmt::Display for ParseNetemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseNetemError {}

impl FromStr for NetemConfig {
    type Err = ParseNetemError;

    fn from_str(text: &str) -> Result<NetemConfig, ParseNetemError> {
        let mut config = NetemConfig::default();
        let mut words = text.split_whitespace();
        let mut seen: Vec<&str> = Vec::new();
        while let Some(word) = words.next() {
            if seen.contains(&word) {
                return Err(ParseNetemError(format!("\"{word}\" is given twice")));
            }
            seen.push(word);
            match word {
                "delay" => {
                    config.delay = time(word, words.next())?;
                    if let Some(jitter) = optional_value(&mut words) {
                        config.jitter = time("delay's jitter", Some(jitter))?;
                    }
                }
                "loss" => config.loss = percent(word, words.next())?,
                "duplicate" => config.duplicate = percent(word, words.next())?,
                "reorder" => config.reorder = percent(word, words.next())?,
                "corrupt" => config.corrupt = percent(word, words.next())?,
                "rate" => config.rate = rate(word, words.next())?,
                "limit" => config.limit = limit(word, words.next())?,
                "ecn" => config.ecn = true,
                _ => return Err(unknown(word)),
            }
        }
        Ok(config)
    }
}

/// The next word, if it is a value: values start with a digit, words don't.
fn optional_value<'a>(words: &mut SplitWhitespace<'a>) -> Option<&'a str> {
    let mut ahead = words.clone();
    let value = ahead.next().filter(|word| word.starts_with(|c: char| c.is_ascii_digit() || c == '.'))?;
    *words = ahead;
    Some(value)
}

fn unknown(word: &str) -> ParseNetemError {
    ParseNetemError(format!(
        "unknown link condition {word:?}; allowed are delay TIME [JITTER], loss P%, duplicate P%, \
         reorder P%, corrupt P%, rate RATE, limit PACKETS, ecn"
    ))
}

fn bad(word: &str, value: Option<&str>, allowed: &str) -> ParseNetemError {
    ParseNetemError(match value {
        Some(value) => format!("{word} can't be {value:?}; it takes {allowed}"),
        None => format!("{word} has no value; it takes {allowed}"),
    })
}

fn time(word: &str, value: Option<&str>) -> Result<Duration, ParseNetemError> {
    value
        .and_then(|value| quantity(value, &TIME_UNITS))
        .filter(|&nanos| nanos <= LONGEST)
        .map(|nanos| Duration::from_nanos(nanos as u64))
        .ok_or_else(|| bad(word, value, "a time in s, ms, us or ns, up to 86400s, such as 40ms"))
}

fn rate(word: &str, value: Option<&str>) -> Result<u64, ParseNetemError> {
    let allowed =
        "a rate above 0 in bit, kbit, mbit, gbit or tbit per second (bps, kbps, … are bytes), such as 20mbit";
    value
        .and_then(|value| quantity(value, &RATE_UNITS))
        .filter(|bits| (1..=FASTEST).contains(bits))
        .map(|bits| bits as u64)
        .ok_or_else(|| bad(word, value, allowed))
}

fn percent(word: &str, value: Option<&str>) -> Result<f64, ParseNetemError> {
    value
        .and_then(|value| value.strip_suffix('%'))
        .filter(|number| number.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        .and_then(|number| number.parse().ok())
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| bad(word, value, "a percentage from 0% to 100%, such as 1%"))
}

fn limit(word: &str, value: Option<&str>) -> Result<usize, ParseNetemError> {
    value
        .filter(|value| value.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|value| value.parse().ok())
        .filter(|packets| (1..=u32::MAX as usize).contains(packets))
        .ok_or_else(|| bad(word, value, "a number of packets, 1 or more, such as 1000"))
}

/// A decimal number with a unit, exactly, in the base unit; none when it isn't a whole number of those.
fn quantity(value: &str, units: &[(&str, u128)]) -> Option<u128> {
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = value.split_at(end);
    let &(_, scale) = units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    // Longer numbers can only be out of range or too fine, and these can't overflow below.
    if whole.len() > 18 || fraction.len() > 18 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let divisor = 10_u128.pow(fraction.len() as u32);
    let scaled_fraction = digits(fraction)? * scale;
    (scaled_fraction % divisor == 0).then_some(digits(whole)? * scale + scaled_fraction / divisor)
}

impl fmt::Display for NetemConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NetemConfig { delay, jitter, loss, duplicate, reorder, corrupt, rate, limit, ecn } = *self;
        let mut words: Vec<String> = Vec::new();
        if !delay.is_zero() || !jitter.is_zero() {
            words.push(format!("delay {}", in_units(delay.as_nanos(), &TIME_UNITS)));
        }
        if !jitter.is_zero() {
            words.push(in_units(jitter.as_nanos(), &TIME_UNITS));
        }
        let shares = [("loss", loss), ("duplicate", duplicate), ("reorder", reorder), ("corrupt", corrupt)];
        words.extend(shares.iter().filter(|share| share.1 > 0.0).map(|(word, p)| format!("{word} {p}%")));
        if rate != 0 {
            words.push(format!("rate {}", in_units(rate.into(), &RATE_UNITS)));
        }
        if limit != DEFAULT_LIMIT {
            words.push(format!("limit {limit}"));
        }
        if ecn {
            words.push("ecn".to_owned());
        }
        f.write_str(&words.join(" "))
    }
}

/// The quantity as a whole number of the first unit in the list that divides it.
fn in_units(quantity: u128, units: &[(&str, u128)]) -> String {
    units
        .iter()
        .find(|(_, scale)| quantity.is_multiple_of(*scale))
        .map(|(unit, scale)| format!("{}{unit}", quantity / scale))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;

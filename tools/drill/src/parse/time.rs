//! When an event happens: `0.5`, `+.1`, `1~2`, `+0~+.01`, `*`.

use core::time::Duration;

use crate::lexer::{Lexer, ParseError};
use crate::script::EventTime;

/// The time at the head of an event.
pub(super) fn event_time(lexer: &mut Lexer<'_>) -> Result<EventTime, ParseError> {
    if lexer.eat("*") {
        return Ok(EventTime::Any);
    }
    let relative = lexer.eat("+");
    let from = seconds(lexer)?;
    if !lexer.eat("~") {
        return Ok(if relative { EventTime::Relative(from) } else { EventTime::Absolute(from) });
    }
    if relative {
        lexer.eat("+");
    }
    let to = seconds(lexer)?;
    if to < from {
        return Err(lexer.error("this range of time ends before it begins"));
    }
    Ok(if relative { EventTime::RelativeRange(from, to) } else { EventTime::AbsoluteRange(from, to) })
}

/// Until when a call blocks, where it says so: `...0.2` behind the time of the event.
pub(super) fn blocks_until(lexer: &mut Lexer<'_>) -> Result<Option<Duration>, ParseError> {
    if lexer.eat("...") { seconds(lexer).map(Some) } else { Ok(None) }
}

/// Seconds with a fraction, to the nanosecond; further digits are dropped.
fn seconds(lexer: &mut Lexer<'_>) -> Result<Duration, ParseError> {
    let mut before = lexer.clone();
    let Some((whole, fraction)) = lexer.decimal() else { return Err(lexer.expected("a time")) };
    let whole = if whole.is_empty() { Ok(0) } else { whole.parse::<u32>() };
    let Ok(whole) = whole else { return Err(before.error("a time out of range")) };
    let digits = fraction.bytes().chain(core::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Ok(Duration::new(u64::from(whole), nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Result<EventTime, String> {
        event_time(&mut Lexer::new("test", text)).map_err(|error| error.message)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("0.5", EventTime::Absolute(ms(500))),
            ("3", EventTime::Absolute(ms(3000))),
            (".25", EventTime::Absolute(ms(250))),
            ("+.1", EventTime::Relative(ms(100))),
            ("+0", EventTime::Relative(ms(0))),
            ("+0.000000001", EventTime::Relative(Duration::from_nanos(1))),
            ("+0.0000000019", EventTime::Relative(Duration::from_nanos(1))),
            ("1~2.5", EventTime::AbsoluteRange(ms(1000), ms(2500))),
            ("+0~+.01", EventTime::RelativeRange(ms(0), ms(10))),
            ("+.2 ~+1", EventTime::RelativeRange(ms(200), ms(1000))),
            ("*", EventTime::Any),
        ] {
            assert_eq!(time(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        assert_eq!(time("< S"), Err("expected a time, found `<`".into()));
        assert_eq!(time("+"), Err("expected a time, found the end of the script".into()));
        assert_eq!(time("99999999999"), Err("a time out of range".into()));
        assert_eq!(time("+2~+1"), Err("this range of time ends before it begins".into()));
    }

    #[test]
    fn a_call_that_blocks() {
        let mut lexer = Lexer::new("test", "+0...0.04 poll");
        assert_eq!(event_time(&mut lexer), Ok(EventTime::Relative(ms(0))));
        assert_eq!(blocks_until(&mut lexer), Ok(Some(ms(40))));
        assert_eq!(blocks_until(&mut lexer), Ok(None));
    }
}

//! Numbers as Python writes them.

use super::token::Kind;

/// The number written as `text`: decimal, `0x`, `0o`, `0b`, with a fraction or an exponent; `_` between digits.
pub(super) fn number(text: &str) -> Option<Kind> {
    let digits = text.replace('_', "");
    // Python 2 marked long numbers.
    let digits = digits.strip_suffix(['l', 'L']).unwrap_or(&digits);
    let lower = digits.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return i128::from_str_radix(rest, radix).ok().map(Kind::Int);
        }
    }
    if lower.bytes().all(|byte| byte.is_ascii_digit()) {
        return lower.parse().ok().map(Kind::Int);
    }
    // Rust reads `inf` and `nan` too: a number begins with a digit or a point.
    lower.parse().ok().map(Kind::Float)
}

//! The options of a segment: `<mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>`, `<...>`.

use sockeye_wire::SackBlock;

use crate::lexer::{Lexer, ParseError};
use crate::script::{FastOpenCookie, TcpOptionSpec};

/// The kind of an MD5 signature (RFC 2385).
const MD5: u8 = 19;
/// The length of an MD5 signature.
const MD5_LEN: usize = 16;

/// What stands behind the `<`, up to its `>`; `None` is "any".
pub(super) fn options(lexer: &mut Lexer<'_>) -> Result<Option<Vec<TcpOptionSpec>>, ParseError> {
    if lexer.eat("...") {
        lexer.expect(">")?;
        return Ok(None);
    }
    let mut options = Vec::new();
    while !lexer.eat(">") {
        if !options.is_empty() && !lexer.eat(",") {
            return Err(lexer.expected("`,` or `>`"));
        }
        options.push(option(lexer)?);
    }
    Ok(Some(options))
}

fn option(lexer: &mut Lexer<'_>) -> Result<TcpOptionSpec, ParseError> {
    const WHAT: &str = "`eol`, `nop`, `mss`, `wscale`, `sackOK`, `sack`, `TS`, `FO`, `FOEXP`, `ECN`, `exp-ECN`, `md5` or `gen`";
    let mut before = lexer.clone();
    if lexer.eat("exp-ECN") {
        return Ok(TcpOptionSpec::AccurateEcn(counters(lexer, "exp-ECN")?));
    }
    Ok(match lexer.word() {
        Some("eol") => TcpOptionSpec::Eol,
        Some("nop") => TcpOptionSpec::Nop,
        Some("mss") => TcpOptionSpec::Mss(lexer.number("a segment size")?),
        Some("wscale") => TcpOptionSpec::WindowScale(lexer.number("a shift")?),
        Some("sackOK") => TcpOptionSpec::SackPermitted,
        Some("sack") => TcpOptionSpec::Sack(blocks(lexer)?),
        Some("TS") => timestamps(lexer)?,
        Some("FO") => TcpOptionSpec::FastOpen { experimental: false, cookie: cookie(lexer)? },
        Some("FOEXP") => TcpOptionSpec::FastOpen { experimental: true, cookie: cookie(lexer)? },
        Some("ECN") => TcpOptionSpec::AccurateEcn(counters(lexer, "ECN")?),
        Some("md5" | "MD5") => md5(lexer)?,
        Some("gen" | "GEN") => generic(lexer)?,
        _ => return Err(before.expected(WHAT)),
    })
}

/// `TS val 100 ecr 0`, behind `TS`.
fn timestamps(lexer: &mut Lexer<'_>) -> Result<TcpOptionSpec, ParseError> {
    if !lexer.eat_word("val") {
        return Err(lexer.expected("`val`"));
    }
    let value = lexer.number("a timestamp")?;
    if !lexer.eat_word("ecr") {
        return Err(lexer.expected("`ecr`"));
    }
    Ok(TcpOptionSpec::Timestamps { value, echo: lexer.number("a timestamp")? })
}

/// `1:1001 2001:3001`, at least one.
fn blocks(lexer: &mut Lexer<'_>) -> Result<Vec<SackBlock>, ParseError> {
    let mut blocks = Vec::new();
    while blocks.is_empty() || lexer.peek().is_some_and(|c| c.is_ascii_digit()) {
        let left = lexer.number("the left edge of a block")?;
        lexer.expect(":")?;
        blocks.push(SackBlock { left, right: lexer.number("the right edge of a block")? });
    }
    Ok(blocks)
}

/// A cookie in hexadecimal digits, a name that the run gives a value, or nothing.
fn cookie(lexer: &mut Lexer<'_>) -> Result<FastOpenCookie, ParseError> {
    let mut before = lexer.clone();
    let word = lexer.run(|c| c.is_ascii_alphanumeric() || c == '_');
    match hexadecimal(word) {
        Some(bytes) => Ok(FastOpenCookie::Bytes(bytes)),
        None if word.starts_with(|c: char| c.is_ascii_uppercase()) => {
            Ok(FastOpenCookie::Named(word.to_owned()))
        }
        None => Err(before.expected("a cookie of whole bytes")),
    }
}

/// `e1b 1 ceb 0 e0b 1` of accurate ECN, behind `kind`, with single blanks between.
fn counters(lexer: &mut Lexer<'_>, kind: &str) -> Result<String, ParseError> {
    let mut text = kind.to_owned();
    loop {
        let mut ahead = lexer.clone();
        let Some(name) = ahead.word() else { return Ok(text) };
        if !matches!(name, "e0b" | "e1b" | "ceb") {
            return Err(lexer.expected("`e0b`, `e1b`, `ceb` or the end of the option"));
        }
        *lexer = ahead;
        let count = lexer.number::<u32>("a count of bytes")?;
        text.extend([" ", name, " ", &count.to_string()]);
    }
}

/// `md5`, or `md5 HEX`: without digits the signature is zeros.
fn md5(lexer: &mut Lexer<'_>) -> Result<TcpOptionSpec, ParseError> {
    let mut before = lexer.clone();
    let digits = lexer.run(|c| c.is_ascii_alphanumeric());
    let signature = if digits.is_empty() { Some(vec![0; MD5_LEN]) } else { hexadecimal(digits) };
    match signature.filter(|signature| signature.len() == MD5_LEN) {
        Some(signature) => Ok(TcpOptionSpec::Raw(MD5, signature)),
        None => Err(before.expected("a signature of 16 bytes")),
    }
}

/// `gen 30 0102`: a kind and the bytes behind its length.
fn generic(lexer: &mut Lexer<'_>) -> Result<TcpOptionSpec, ParseError> {
    let kind = lexer.number("the kind of an option")?;
    let mut before = lexer.clone();
    let digits = lexer.run(|c| c.is_ascii_alphanumeric());
    // 40 bytes are all that a header holds, of them two for the kind and the length.
    match hexadecimal(digits).filter(|bytes| bytes.len() <= 38) {
        Some(bytes) => Ok(TcpOptionSpec::Raw(kind, bytes)),
        None => Err(before.expected("at most 38 whole bytes")),
    }
}

/// The bytes that pairs of hexadecimal digits mean.
fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(value(high)? << 4 | value(low)?)).collect()
}

//! TCP options between a script's words and the bytes of a header, in the order they are written.

use crate::script::{FastOpenCookie, TcpOptionSpec};
use sockeye_wire::SackBlock;

const EOL: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const FAST_OPEN: u8 = 34;
const EXPERIMENT: u8 = 254;
/// What marks the experimental option as a Fast Open cookie (RFC 7413).
const FAST_OPEN_MAGIC: [u8; 2] = [0xf9, 0x89];
/// Most bytes of options in a header.
const MAX_LEN: usize = 40;

/// The option bytes of a header, padded to whole words; an error names what can't be written.
pub(super) fn emit(options: &[TcpOptionSpec]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for option in options {
        emit_one(option, &mut bytes)?;
    }
    bytes.resize(bytes.len().next_multiple_of(4), EOL);
    if bytes.len() > MAX_LEN {
        return Err(format!("{} bytes of TCP options, of which a header holds {MAX_LEN}", bytes.len()));
    }
    Ok(bytes)
}

fn emit_one(option: &TcpOptionSpec, bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut put = |kind: u8, data: &[u8]| {
        bytes.extend([kind, data.len() as u8 + 2]);
        bytes.extend(data);
    };
    match option {
        TcpOptionSpec::Eol => bytes.push(EOL),
        TcpOptionSpec::Nop => bytes.push(NOP),
        TcpOptionSpec::Mss(mss) => put(MSS, &mss.to_be_bytes()),
        TcpOptionSpec::WindowScale(shift) => put(WINDOW_SCALE, &[*shift]),
        TcpOptionSpec::SackPermitted => put(SACK_PERMITTED, &[]),
        TcpOptionSpec::Sack(blocks) => {
            let edges = blocks.iter().flat_map(|block| [block.left, block.right]);
            put(SACK, &edges.flat_map(u32::to_be_bytes).collect::<Vec<_>>());
        }
        TcpOptionSpec::Timestamps { value, echo } => {
            put(TIMESTAMPS, &[value.to_be_bytes(), echo.to_be_bytes()].concat());
        }
        TcpOptionSpec::FastOpen { experimental, cookie: FastOpenCookie::Bytes(cookie) } => match experimental
        {
            false => put(FAST_OPEN, cookie),
            true => put(EXPERIMENT, &[&FAST_OPEN_MAGIC, cookie.as_slice()].concat()),
        },
        TcpOptionSpec::FastOpen { cookie: FastOpenCookie::Named(name), .. } => {
            return Err(format!("the cookie {name} is not known"));
        }
        TcpOptionSpec::Raw(kind, data) => put(*kind, data),
        TcpOptionSpec::AccurateEcn(text) => return Err(format!("the option <{text}> can't be sent yet")),
    }
    Ok(())
}

/// The options in the bytes of a header. What doesn't parse ends the list with a raw option.
pub(super) fn parse(mut bytes: &[u8]) -> Vec<TcpOptionSpec> {
    let mut options = Vec::new();
    while let Some((&kind, rest)) = bytes.split_first() {
        let (option, len) = match (kind, rest.first().map(|&len| usize::from(len))) {
            (EOL, _) => (TcpOptionSpec::Eol, 1),
            (NOP, _) => (TcpOptionSpec::Nop, 1),
            (_, Some(len)) if (2..=bytes.len()).contains(&len) => (parse_one(kind, &bytes[2..len]), len),
            _ => (TcpOptionSpec::Raw(kind, rest.to_vec()), bytes.len()),
        };
        options.push(option);
        bytes = &bytes[len..];
    }
    options
}

fn parse_one(kind: u8, data: &[u8]) -> TcpOptionSpec {
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word: u32, &byte| word << 8 | u32::from(byte));
    match (kind, data) {
        (MSS, &[high, low]) => TcpOptionSpec::Mss(u16::from_be_bytes([high, low])),
        (WINDOW_SCALE, &[shift]) => TcpOptionSpec::WindowScale(shift),
        (SACK_PERMITTED, []) => TcpOptionSpec::SackPermitted,
        (SACK, _) if data.len().is_multiple_of(8) => TcpOptionSpec::Sack(
            data.chunks(8)
                .map(|block| SackBlock { left: word(&block[..4]), right: word(&block[4..]) })
                .collect(),
        ),
        (TIMESTAMPS, _) if data.len() == 8 => {
            TcpOptionSpec::Timestamps { value: word(&data[..4]), echo: word(&data[4..]) }
        }
        (FAST_OPEN, cookie) => fast_open(false, cookie),
        (EXPERIMENT, [0xf9, 0x89, cookie @ ..]) => fast_open(true, cookie),
        _ => TcpOptionSpec::Raw(kind, data.to_vec()),
    }
}

fn fast_open(experimental: bool, cookie: &[u8]) -> TcpOptionSpec {
    TcpOptionSpec::FastOpen { experimental, cookie: FastOpenCookie::Bytes(cookie.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_in_their_order() {
        let options = vec![
            TcpOptionSpec::Mss(1460),
            TcpOptionSpec::SackPermitted,
            TcpOptionSpec::Timestamps { value: 100, echo: 0xffff_fffe },
            TcpOptionSpec::Nop,
            TcpOptionSpec::WindowScale(8),
            TcpOptionSpec::Sack(vec![SackBlock { left: 1, right: 0x0102_0304 }]),
            TcpOptionSpec::Raw(253, vec![1, 2]),
        ];
        let bytes = emit(&options[..5]).unwrap();
        assert_eq!(bytes.len(), 20);
        assert_eq!(parse(&bytes), options[..5]);
        let bytes = emit(&options).unwrap();
        assert_eq!(parse(&bytes)[..7], options);
        assert_eq!(parse(&bytes)[7..], [TcpOptionSpec::Eol, TcpOptionSpec::Eol]);
        let cookies = [false, true].map(|experimental| fast_open(experimental, &[1, 2]));
        assert_eq!(parse(&emit(&cookies).unwrap())[..2], cookies);
    }

    #[test]
    fn broken_lists_end_raw() {
        assert_eq!(parse(&[NOP, MSS, 9, 1]), [TcpOptionSpec::Nop, TcpOptionSpec::Raw(MSS, vec![9, 1])]);
        assert_eq!(parse(&[MSS, 3, 1]), [TcpOptionSpec::Raw(MSS, vec![1])]);
        assert_eq!(parse(&[SACK]), [TcpOptionSpec::Raw(SACK, vec![])]);
    }

    #[test]
    fn a_header_has_room_for_forty_bytes() {
        let error = emit(&[TcpOptionSpec::Raw(253, vec![0; 40])]).unwrap_err();
        assert_eq!(error, "44 bytes of TCP options, of which a header holds 40");
    }
}

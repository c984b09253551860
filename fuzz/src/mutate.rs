//! Damages bytes in the ways that parsers fear.

use sockeye_packet::Rng;

/// Inputs never grow beyond this.
const MAX_LEN: usize = 4096;

/// Values at the edges of fields.
const EDGES: [u8; 10] = [0, 1, 2, 3, 7, 8, 0x7f, 0x80, 0xfe, 0xff];

/// Damages `bytes` in one place; `other` is a valid input to take parts of.
pub fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = index(rng, bytes.len());
    match rng.below(9) {
        0 => flip_bit(rng, bytes, at),
        1 => set(bytes, at, rng.next_u32() as u8),
        2 => set(bytes, at, EDGES[index(rng, EDGES.len())]),
        // The first bytes hold most of the lengths and kinds: twice as likely as the rest.
        3 => {
            let early = index(rng, bytes.len().min(24));
            set(bytes, early, EDGES[index(rng, EDGES.len())]);
        }
        4 => flip_bit(rng, bytes, at % 24),
        5 => bytes.truncate(at),
        6 => {
            let end = at + index(rng, (bytes.len() - at).min(16) + 1);
            bytes.drain(at..end);
        }
        7 => {
            let end = at + index(rng, (bytes.len() - at).min(64) + 1);
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        _ => {
            let from = index(rng, other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
    bytes.truncate(MAX_LEN);
}

/// A number below `len`; 0 when that is 0.
fn index(rng: &mut Rng, len: usize) -> usize {
    rng.below(len as u64) as usize
}

fn set(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

fn flip_bit(rng: &mut Rng, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
}

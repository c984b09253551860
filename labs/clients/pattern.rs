//! Prints bytes that are the same in every run and repeat nowhere: `pattern BYTES > file`.

use std::error::Error;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let bytes: usize = std::env::args().nth(1).ok_or("usage: pattern BYTES")?.parse()?;
    let mut out = std::io::stdout().lock();
    let (mut left, mut state, mut block) = (bytes, 0x9e37_79b9_7f4a_7c15_u64, vec![0_u8; 1 << 16]);
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let part = left.min(block.len());
        out.write_all(&block[..part])?;
        left -= part;
    }
    Ok(())
}

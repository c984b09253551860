//! Summing up words for checksums with what the processor has.

use sockeye_wire::{SumWords, sum_words};

/// The fastest way on this processor to sum up words for checksums, for a stack's `Config::sum_words`.
#[must_use]
pub fn fastest_sum() -> SumWords {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return avx2::sum;
    }
    sum_words
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use sockeye_wire::sum_words;
    use std::arch::x86_64::{
        __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_add_epi32, _mm256_and_si256,
        _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_set1_epi32,
        _mm256_setzero_si256, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_sub_epi32,
    };

    /// Eight words of 32 bits.
    type Row = [u8; 32];

    /// Rows after which the lanes are drained, so that they can't overflow: a lane takes 2^16 additions.
    const BLOCK: usize = 1 << 15;

    pub(super) fn sum(bytes: &[u8]) -> u16 {
        let (rows, rest) = bytes.as_chunks::<{ size_of::<Row>() }>();
        let mut sum = u64::from(sum_words(rest));
        for block in rows.chunks(BLOCK) {
            // SAFETY: `fastest_sum` alone hands this function out, and only where the processor has AVX2.
            sum += u64::from(unsafe { sum_rows(block) });
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    /// The sum of the halves of all words, as the portable code adds them up: whole words and, beside that, their
    /// upper halves, so that what a lane of whole words holds beyond those is the lower halves' sum.
    #[target_feature(enable = "avx2")]
    fn sum_rows(rows: &[Row]) -> u32 {
        // SAFETY: a row is as long as what is read, wherever it lies.
        let load = |row: &Row| -> __m256i { unsafe { _mm256_loadu_si256(row.as_ptr().cast()) } };
        let mut whole = [_mm256_setzero_si256(); 4];
        let mut upper = [_mm256_setzero_si256(); 4];
        let (fours, rest) = rows.as_chunks::<4>();
        for four in fours {
            for i in 0..4 {
                let words = load(&four[i]);
                whole[i] = _mm256_add_epi32(whole[i], words);
                upper[i] = _mm256_add_epi32(upper[i], _mm256_srli_epi32::<16>(words));
            }
        }
        for (i, row) in rest.iter().enumerate() {
            let words = load(row);
            whole[i] = _mm256_add_epi32(whole[i], words);
            upper[i] = _mm256_add_epi32(upper[i], _mm256_srli_epi32::<16>(words));
        }
        let all = |of: [__m256i; 4]| {
            _mm256_add_epi32(_mm256_add_epi32(of[0], of[1]), _mm256_add_epi32(of[2], of[3]))
        };
        let (whole, upper) = (all(whole), all(upper));
        let lower = _mm256_sub_epi32(whole, _mm256_slli_epi32::<16>(upper));
        // What is carried is worth as much at the bottom: four numbers of 16 bits in each lane.
        let folded = |sums: __m256i| {
            let low = _mm256_and_si256(sums, _mm256_set1_epi32(0xffff));
            _mm256_add_epi32(low, _mm256_srli_epi32::<16>(sums))
        };
        let sums = _mm256_add_epi32(folded(lower), folded(upper));
        let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b_01_00_11_10>(sums));
        let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b_10_11_00_01>(sums));
        _mm_cvtsi128_si32(sums).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_fastest_sum_is_the_plain_one(
            bytes in proptest::collection::vec(prop_oneof![Just(0xff), any::<u8>()], 0..3000), cut in 0_usize..70,
        ) {
            let part = &bytes[cut.min(bytes.len())..];
            prop_assert_eq!(fastest_sum()(part), sum_words(part));
        }
    }

    #[test]
    fn the_worst_case_does_not_overflow() {
        for len in [(1 << 20) + 33, (3 << 20) + 1] {
            let mut ones = vec![0xff; len];
            assert_eq!(fastest_sum()(&ones), sum_words(&ones));
            ones[5] = 0;
            assert_eq!(fastest_sum()(&ones), sum_words(&ones));
        }
    }
}

//! Copies between memory that others may change meanwhile, the shared side, and memory of one's own.
//!
//! Accesses to the shared side are volatile, or made by instructions that the compiler doesn't look into: whatever
//! stands there, or half of it, arrives as bytes, and nothing is assumed of it.

#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) use x86::{copy_in, copy_out, copy_past_caches, fetch_line};

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) use portable::{copy_in, copy_in as copy_past_caches, copy_out, fetch_line};

/// Writes to each line of so many bytes of the shared side, so that this core has it alone.
///
/// # Safety
///
/// The range is mapped.
pub(super) unsafe fn claim(shared: *mut u8, len: usize) {
    for at in (0..len).step_by(64) {
        // SAFETY: inside the range.
        unsafe { shared.add(at).write_volatile(0) };
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::{__m128i, _mm256_zeroupper};

    /// From here on the processor's own loop is fastest.
    const LONG: usize = 256;

    /// Copies to the shared side.
    ///
    /// # Safety
    ///
    /// Both ranges are mapped and don't overlap.
    #[inline]
    pub(in crate::sys) unsafe fn copy_in(shared: *mut u8, own: *const u8, len: usize) {
        // SAFETY: as the caller says.
        unsafe { copy(shared, own, len) }
    }

    /// Copies from the shared side.
    ///
    /// # Safety
    ///
    /// As [`copy_in`].
    #[inline]
    pub(in crate::sys) unsafe fn copy_out(own: *mut u8, shared: *const u8, len: usize) {
        let long = if len < LONG { 0 } else { len / 64 * 64 };
        // SAFETY: the two parts make up the ranges of which the caller speaks.
        unsafe {
            if long > 0 {
                fetch(own, shared, long);
            }
            copy(own.add(long), shared.add(long), len - long);
        }
    }

    /// Copies so many bytes, some lines of 64. Of what another core has in its cache this fetches more lines at once than the
    /// processor's own loop.
    unsafe fn fetch(to: *mut u8, from: *const u8, len: usize) {
        if std::arch::is_x86_feature_detected!("avx") {
            // SAFETY: there are such instructions, and the ranges are as the caller says.
            return unsafe { fetch_by_32(to, from, len) };
        }
        // SAFETY: the caller vouches for the ranges; the offset runs from minus `len` to 0, from their ends.
        unsafe {
            asm!(
                "2:",
                "movups {a}, [{from} + {at}]",
                "movups {b}, [{from} + {at} + 16]",
                "movups {c}, [{from} + {at} + 32]",
                "movups {d}, [{from} + {at} + 48]",
                "movups [{to} + {at}], {a}",
                "movups [{to} + {at} + 16], {b}",
                "movups [{to} + {at} + 32], {c}",
                "movups [{to} + {at} + 48], {d}",
                "add {at}, 64",
                "jnz 2b",
                from = in(reg) from.add(len),
                to = in(reg) to.add(len),
                at = inout(reg) len.wrapping_neg() => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack)
            );
        }
    }

    /// The same with longer instructions, fewer of which are under way for as many lines.
    #[target_feature(enable = "avx")]
    unsafe fn fetch_by_32(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: as `fetch`.
        unsafe {
            asm!(
                "2:",
                "vmovups {a}, [{from} + {at}]",
                "vmovups {b}, [{from} + {at} + 32]",
                "vmovups [{to} + {at}], {a}",
                "vmovups [{to} + {at} + 32], {b}",
                "add {at}, 64",
                "jnz 2b",
                from = in(reg) from.add(len),
                to = in(reg) to.add(len),
                at = inout(reg) len.wrapping_neg() => _,
                a = out(ymm_reg) _,
                b = out(ymm_reg) _,
                options(nostack)
            );
            // What comes after it may be slower with the upper halves in use, which the compiler doesn't see here.
            _mm256_zeroupper();
        }
    }

    #[inline]
    unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
        match len {
            0..8 => {
                for at in 0..len {
                    // SAFETY: inside both ranges.
                    unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
                }
            }
            8..16 => {
                // SAFETY: inside both ranges; the two words may overlap each other.
                unsafe {
                    move_word(to, from);
                    move_word(to.add(len - 8), from.add(len - 8));
                }
            }
            16..LONG => {
                for at in (0..len - 15).step_by(16) {
                    // SAFETY: inside both ranges.
                    unsafe { store(to.add(at), load(from.add(at))) };
                }
                // SAFETY: inside both ranges.
                unsafe { store(to.add(len - 16), load(from.add(len - 16))) };
            }
            _ => {
                // SAFETY: the caller vouches for the ranges; the direction flag is clear by the ABI.
                unsafe {
                    asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
                        options(nostack, preserves_flags));
                }
            }
        }
    }

    /// Copies to the shared side without fetching its lines into this core's cache first: for long copies to memory
    /// that another core has in its own.
    ///
    /// # Safety
    ///
    /// As [`copy_in`].
    pub(in crate::sys) unsafe fn copy_past_caches(shared: *mut u8, own: *const u8, len: usize) {
        let before = shared.align_offset(64).min(len);
        let lines = (len - before) / 64;
        let after = before + lines * 64;
        // SAFETY: the three parts make up the ranges, and the second begins at a line of the cache.
        unsafe {
            copy(shared, own, before);
            if lines > 0 {
                asm!(
                    "2:",
                    "movups {a}, [{from}]",
                    "movups {b}, [{from} + 16]",
                    "movups {c}, [{from} + 32]",
                    "movups {d}, [{from} + 48]",
                    "movntdq [{to}], {a}",
                    "movntdq [{to} + 16], {b}",
                    "movntdq [{to} + 32], {c}",
                    "movntdq [{to} + 48], {d}",
                    "add {from}, 64",
                    "add {to}, 64",
                    "dec {lines}",
                    "jnz 2b",
                    from = inout(reg) own.add(before) => _,
                    to = inout(reg) shared.add(before) => _,
                    lines = inout(reg) lines => _,
                    a = out(xmm_reg) _,
                    b = out(xmm_reg) _,
                    c = out(xmm_reg) _,
                    d = out(xmm_reg) _,
                    options(nostack)
                );
            }
            copy(shared.add(after), own.add(after), len - after);
            // Such stores are in no order with the position that is published next, without this.
            asm!("sfence", options(nostack, preserves_flags));
        }
    }

    /// Has the line at an address fetched. Any address will do.
    #[inline]
    pub(in crate::sys) fn fetch_line(shared: *const u8) {
        // SAFETY: it changes nothing but caches, and does nothing where nothing is mapped.
        unsafe {
            asm!("prefetcht0 [{at}]", at = in(reg) shared, options(nostack, preserves_flags, readonly));
        }
    }

    #[inline]
    unsafe fn load(from: *const u8) -> __m128i {
        let value;
        // SAFETY: 16 bytes from there are inside the caller's range, at any alignment.
        unsafe {
            asm!("movups {value}, [{from}]", value = out(xmm_reg) value, from = in(reg) from,
                options(nostack, preserves_flags, readonly));
        }
        value
    }

    #[inline]
    unsafe fn store(to: *mut u8, value: __m128i) {
        // SAFETY: as `load`.
        unsafe {
            asm!("movups [{to}], {value}", to = in(reg) to, value = in(xmm_reg) value,
                options(nostack, preserves_flags));
        }
    }

    #[inline]
    unsafe fn move_word(to: *mut u8, from: *const u8) {
        // SAFETY: 8 bytes from each are inside the caller's ranges, at any alignment.
        unsafe {
            asm!("mov {word}, [{from}]", "mov [{to}], {word}", word = out(reg) _, from = in(reg) from,
                to = in(reg) to, options(nostack, preserves_flags));
        }
    }
}

#[cfg_attr(
    all(target_arch = "x86_64", not(miri)),
    allow(dead_code, reason = "for other machines; tested on all")
)]
mod portable {
    /// It is fetched once it is read.
    pub(in crate::sys) fn fetch_line(_: *const u8) {}

    const WORD: usize = size_of::<u64>();

    /// Copies to the shared side, by words where its addresses are such.
    ///
    /// # Safety
    ///
    /// Both ranges are mapped and don't overlap.
    pub(in crate::sys) unsafe fn copy_in(shared: *mut u8, own: *const u8, len: usize) {
        let (before, words) = split(shared, len);
        // SAFETY: inside both ranges, and words stand at aligned addresses of the shared side.
        unsafe {
            for at in (0..before).chain(before + words * WORD..len) {
                shared.add(at).write_volatile(*own.add(at));
            }
            for at in (0..words).map(|word| before + word * WORD) {
                #[allow(clippy::cast_ptr_alignment, reason = "`split` sees to it")]
                shared.add(at).cast::<u64>().write_volatile(own.add(at).cast::<u64>().read_unaligned());
            }
        }
    }

    /// Copies from the shared side, as [`copy_in`].
    ///
    /// # Safety
    ///
    /// As [`copy_in`].
    pub(in crate::sys) unsafe fn copy_out(own: *mut u8, shared: *const u8, len: usize) {
        let (before, words) = split(shared, len);
        // SAFETY: as above.
        unsafe {
            for at in (0..before).chain(before + words * WORD..len) {
                *own.add(at) = shared.add(at).read_volatile();
            }
            for at in (0..words).map(|word| before + word * WORD) {
                #[allow(clippy::cast_ptr_alignment, reason = "`split` sees to it")]
                own.add(at).cast::<u64>().write_unaligned(shared.add(at).cast::<u64>().read_volatile());
            }
        }
    }

    /// Bytes before the first aligned word, and whole words from there.
    fn split(shared: *const u8, len: usize) -> (usize, usize) {
        let before = shared.align_offset(WORD).min(len);
        (before, (len - before) / WORD)
    }
}

#[cfg(test)]
mod tests {
    use super::{copy_in, copy_out, copy_past_caches, portable};

    #[test]
    fn every_length_and_alignment_is_copied_and_nothing_beside_it() {
        type Copy = unsafe fn(*mut u8, *const u8, usize);
        let copies: [Copy; 5] = [copy_in, copy_out, copy_past_caches, portable::copy_in, portable::copy_out];
        let from: Vec<u8> = (0..1000_u32).map(|at| (at % 251) as u8 + 1).collect();
        for copy in copies {
            for len in (0..300).chain([511, 512, 700]) {
                for (to_at, from_at) in [(0, 0), (1, 0), (0, 3), (7, 5), (33, 64), (63, 17)] {
                    let mut to = vec![0; 1000];
                    // SAFETY: two vectors, each as long as that.
                    unsafe { copy(to[to_at..].as_mut_ptr(), from[from_at..].as_ptr(), len) };
                    assert_eq!(
                        to[to_at..to_at + len],
                        from[from_at..from_at + len],
                        "{len} {to_at} {from_at}"
                    );
                    assert!(to[..to_at].iter().chain(&to[to_at + len..]).all(|byte| *byte == 0));
                }
            }
        }
    }
}

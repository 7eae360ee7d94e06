//! The prefetch instruction, the only `unsafe` code of the engine.
#![expect(unsafe_code, reason = "the prefetch instruction takes a bare address")]

/// Asks for the cache line of an address.
#[inline(always)]
pub(crate) fn hint<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch neither reads nor writes as far as the program can tell, and never
        // faults, whatever the address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for the lines of a record that may straddle two.
#[inline(always)]
pub(crate) fn hint_both_ends<T>(record: &T) {
    let start = core::ptr::from_ref(record).cast::<u8>();
    hint(start);
    hint(start.wrapping_add(size_of::<T>() - 1));
}

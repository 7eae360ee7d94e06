//! Hints to the memory system: cache lines that are needed soon, huge pages for large tables. They
//! change no result. The only `unsafe` code of the engine.
#![expect(unsafe_code, reason = "hints take bare addresses")]

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

/// From this size on a table is worth huge pages: it fills two of them.
const LARGE: usize = 4 << 20;

/// An empty table with room for so many records, on huge pages if it is large.
pub(crate) fn table<T>(room: usize) -> Vec<T> {
    let table = Vec::with_capacity(room);
    hint_huge_pages(&table);
    table
}

/// Makes room for one more record; a table that is full moves to one of twice the size.
///
/// Not left to the vector, which would extend the old pages or copy before anybody can ask for others.
#[inline]
pub(crate) fn make_room<T>(records: &mut Vec<T>) {
    if records.len() == records.capacity() {
        move_to_larger(records);
    }
}

#[cold]
fn move_to_larger<T>(records: &mut Vec<T>) {
    let mut larger = table(records.len().saturating_mul(2).max(4));
    larger.append(records);
    *records = larger;
}

/// Asks for huge pages behind a table that has just been allocated, if it is large: records are visited
/// in no order, and with pages of 4 KB nearly each visit of a million of them also misses the
/// processor's table of pages.
fn hint_huge_pages<T>(table: &Vec<T>) {
    let bytes = table.capacity().saturating_mul(size_of::<T>());
    if bytes < LARGE {
        return;
    }
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use core::ffi::{c_int, c_void};

        const PAGE: usize = 4096;
        const MADV_HUGEPAGE: c_int = 14;
        unsafe extern "C" {
            fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int;
        }
        let start = table.as_ptr().cast::<u8>();
        let start = start.wrapping_add(start.align_offset(PAGE));
        let length = (bytes - PAGE) / PAGE * PAGE;
        // SAFETY: the range is whole pages inside the allocation, and this advice changes what backs
        // them, not what they hold. A kernel without huge pages refuses; then everything stays as it is.
        unsafe { madvise(start.cast_mut().cast(), length, MADV_HUGEPAGE) };
    }
}

/// Asks for the lines of a record that may straddle two.
#[inline(always)]
pub(crate) fn hint_both_ends<T>(record: &T) {
    let start = core::ptr::from_ref(record).cast::<u8>();
    hint(start);
    hint(start.wrapping_add(size_of::<T>() - 1));
}

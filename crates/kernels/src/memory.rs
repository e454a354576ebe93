//! Memory for weights, in large pages where the system grants them.
//!
//! A pass through a model reads every weight once, page after page; with pages of 2 MiB instead of
//! 4 KiB that costs fewer page walks and lets the prefetcher run on. Matrices are smaller than such a
//! page, so they share regions: a matrix takes the next free part of the current region, and a region
//! is given back when its last matrix is dropped.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use crate::packed::Line;

/// Bytes of a large page.
const PAGE_BYTES: usize = 2 << 20;

/// Bytes of a shared region: address space only, until matrices fill it.
const REGION_BYTES: usize = 32 << 20;

/// Matrices below this many bytes are cached anyway and do not share a region.
const SHARED_BYTES_MIN: usize = 64 << 10;

/// Matrices above this many bytes have a region of their own, so that little of a region is wasted.
const SHARED_BYTES_MAX: usize = 4 << 20;

/// The region that the next matrix goes to, and how many of its bytes are taken.
static CURRENT: Mutex<Option<(Arc<Region>, usize)>> = Mutex::new(None);

/// An owned, fixed number of cache lines.
pub(crate) struct Lines {
    first: NonNull<Line>,
    len: usize,
    _region: Option<Arc<Region>>, // none: no lines
}

// SAFETY: the lines belong to this value alone; the region behind them is only kept alive.
unsafe impl Send for Lines {}
// SAFETY: as above; a shared `Lines` only gives shared access.
unsafe impl Sync for Lines {}

impl Lines {
    /// `len` lines of zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self {
                first: NonNull::dangling(),
                len,
                _region: None,
            };
        }
        let bytes = len.saturating_mul(size_of::<Line>());
        let (region, offset) = take(bytes);
        // SAFETY: `take` reserved `bytes` from `offset` on for this call alone, aligned to a line.
        let first = unsafe {
            let first = region.base.add(offset).cast::<Line>();
            first.write_bytes(0, len);
            first
        };
        Self {
            first,
            len,
            _region: Some(region),
        }
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        // SAFETY: `zeroed` reserved and initialised `len` lines, which the region keeps alive.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [Line] {
        // SAFETY: as in `deref`, and no other value refers to these lines.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl Clone for Lines {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

/// Reserves `bytes`, a multiple of a line: a region and an offset into it.
fn take(bytes: usize) -> (Arc<Region>, usize) {
    if bytes < SHARED_BYTES_MIN {
        return (Arc::new(Region::new(bytes, align_of::<Line>())), 0);
    }
    if bytes > SHARED_BYTES_MAX {
        return (Arc::new(Region::new(bytes, PAGE_BYTES)), 0);
    }
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((region, taken)) = current.as_mut()
        && *taken + bytes <= REGION_BYTES
    {
        *taken += bytes;
        return (Arc::clone(region), *taken - bytes);
    }
    let region = Arc::new(Region::new(REGION_BYTES, PAGE_BYTES));
    *current = Some((Arc::clone(&region), bytes));
    (region, 0)
}

/// One allocation.
struct Region {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a region is a plain allocation; only `Lines` reach into it, each into its own part.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// `bytes` of uninitialised memory, more than zero. Ends the program when memory is exhausted,
    /// as `Vec` does.
    fn new(bytes: usize, align: usize) -> Self {
        let line = Layout::new::<Line>();
        let Ok(layout) = Layout::from_size_align(bytes, align) else {
            handle_alloc_error(line)
        };
        // SAFETY: the size is not zero.
        let Some(base) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        if align == PAGE_BYTES {
            advise_large_pages(base, bytes);
        }
        Self { base, layout }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `new` allocated this with the same layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// Asks for large pages. Nothing depends on the answer.
#[cfg(target_os = "linux")]
fn advise_large_pages(base: NonNull<u8>, bytes: usize) {
    use std::ffi::{c_int, c_void};
    const MADV_HUGEPAGE: c_int = 14;
    unsafe extern "C" {
        fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    // SAFETY: the range is one allocation, aligned to a page; this advice never alters its contents.
    let _ = unsafe { madvise(base.as_ptr().cast(), bytes, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_large_pages(_base: NonNull<u8>, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_zero_apart_and_outlive_their_neighbours() {
        let sizes = [1, 1023, 1024, 5000, 70_000, 3, 60_000];
        let mut all: Vec<Lines> = sizes.iter().map(|&len| Lines::zeroed(len)).collect();
        for (i, lines) in all.iter_mut().enumerate() {
            assert_eq!(lines.len(), sizes[i]);
            assert_eq!(lines.as_ptr() as usize % 64, 0);
            assert!(lines.iter().all(|line| line.0 == [0; 64]));
            lines.iter_mut().for_each(|line| line.0 = [i as i8 + 1; 64]);
        }
        let copy = all[3].clone();
        all.remove(2);
        for (lines, mark) in all.iter().zip([1, 2, 4, 5, 6, 7]) {
            assert!(lines.iter().all(|line| line.0 == [mark; 64]));
        }
        drop(all);
        assert!(copy.iter().all(|line| line.0 == [4; 64]));
        assert!(Lines::zeroed(0).is_empty());
    }

    #[test]
    fn shared_regions_are_filled_and_replaced() {
        let lines = REGION_BYTES / size_of::<Line>() / 10;
        let all: Vec<Lines> = (0..25).map(|_| Lines::zeroed(lines)).collect();
        let mut starts: Vec<usize> = all.iter().map(|lines| lines.as_ptr() as usize).collect();
        starts.sort_unstable();
        let bytes = lines * size_of::<Line>();
        assert!(
            starts.windows(2).all(|pair| pair[1] - pair[0] >= bytes),
            "parts overlap"
        );
    }
}

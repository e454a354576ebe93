//! A global allocator that counts live bytes and remembers their peak.
//!
//! The fuzzer runs one thread; counters are atomic only because the trait demands `Sync`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static LIVE: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

/// Beyond this many live bytes an allocation fails, so that a broken bound cannot take the
/// machine down with it.
const LIVE_MAX: u64 = 4 << 30;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn grow(bytes: usize) {
    let live = LIVE.fetch_add(bytes as u64, Relaxed) + bytes as u64;
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: every call goes to the system allocator with unchanged arguments; only counters are
// added, and a null pointer is a valid answer of `alloc` and `realloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        if LIVE.load(Relaxed) > LIVE_MAX {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller upholds `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        if LIVE.load(Relaxed) > LIVE_MAX {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller upholds `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the caller upholds `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new block may live side by side for a moment: count both.
        grow(size);
        // SAFETY: the caller upholds `realloc`'s contract.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        moved
    }
}

/// Forget the peak; the bytes that are live now.
pub(crate) fn reset() -> u64 {
    let live = LIVE.load(Relaxed);
    PEAK.store(live, Relaxed);
    live
}

/// The highest number of live bytes since [`reset`].
pub(crate) fn peak() -> u64 {
    PEAK.load(Relaxed)
}

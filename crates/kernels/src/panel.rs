//! A mutable matrix whose columns can be divided among threads.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A mutable view of shape (n, width): some adjacent columns of a row-major matrix.
///
/// Row blocks of a weight matrix are columns of its output, so threads that share a product each need
/// a strip of every output row. [`Panel::split_at`] hands out such strips, and they never overlap.
pub struct Panel<'a, T> {
    first: NonNull<T>,
    n: usize,
    width: usize,
    stride: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: a panel is an exclusive borrow of its elements, as `&mut [T]` is.
unsafe impl<T: Send> Send for Panel<'_, T> {}

impl<'a, T> Panel<'a, T> {
    /// The whole row-major matrix `data` of shape (`n`, `width`).
    ///
    /// # Panics
    /// If `data.len() != n · width`.
    #[must_use]
    pub fn new(data: &'a mut [T], n: usize, width: usize) -> Self {
        assert_eq!(
            Some(data.len()),
            n.checked_mul(width),
            "panel is not (n, width)"
        );
        let first = NonNull::from(data).cast();
        Self {
            first,
            n,
            width,
            stride: width,
            owner: PhantomData,
        }
    }

    /// Rows of the panel.
    #[must_use]
    pub const fn n(&self) -> usize {
        self.n
    }

    /// Columns of the panel.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// The columns before `col`, and those from `col` on.
    ///
    /// # Panics
    /// If `col` exceeds the width.
    #[must_use]
    pub fn split_at(self, col: usize) -> (Self, Self) {
        assert!(col <= self.width, "split at column {col} of {}", self.width);
        // An empty right half keeps the pointer, so that it never leaves the allocation.
        let right = if col < self.width && self.n > 0 {
            // SAFETY: `col < width <= stride` and there is a first row, so the element exists.
            unsafe { self.first.add(col) }
        } else {
            self.first
        };
        let right = Self {
            first: right,
            width: self.width - col,
            ..self
        };
        (Self { width: col, ..self }, right)
    }

    /// Row `i`: `width` elements.
    ///
    /// # Panics
    /// If `i` is not below `n`.
    #[must_use]
    pub fn row(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.n, "row {i} of {}", self.n);
        if self.width == 0 {
            return &mut [];
        }
        // SAFETY: `new` checked that n rows of `stride` elements exist, `split_at` keeps a strip of
        // `width` columns inside them, and strips of different panels are disjoint.
        unsafe {
            std::slice::from_raw_parts_mut(self.first.add(i * self.stride).as_ptr(), self.width)
        }
    }
}

impl<T> fmt::Debug for Panel<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Panel({} x {} of {})", self.n, self.width, self.stride)
    }
}

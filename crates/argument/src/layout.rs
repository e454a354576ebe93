//! Where every value of a witness stands in the one committed polynomial.
//!
//! A [`Tensor`] is `outer` rows of `2^log_inner` cells. `outer` need not be a power of two: its binary
//! digits cut it into *pieces*, each a sub-cube of the polynomial, so nothing is padded but the inner
//! dimension. Pieces are laid out by falling size, which aligns every one of them.
//!
//! Points are written most significant variable first, here and everywhere in this crate.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use p3_field::PrimeCharacteristicRing;

use crate::field::E;

/// Index of a tensor in its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub u32);

/// A power-of-two run of a tensor's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// First row.
    pub first: usize,
    /// Log of the number of rows.
    pub log_rows: u32,
    /// First cell in the polynomial; a multiple of the piece's size.
    pub offset: usize,
}

/// A matrix of committed values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Rows.
    pub outer: usize,
    /// Log of the cells of a row.
    pub log_inner: u32,
    /// Its parts, by falling size.
    pub pieces: Vec<Piece>,
}

/// Cuts `outer` rows into power-of-two runs, largest first.
pub fn runs(outer: usize) -> impl Iterator<Item = (usize, u32)> {
    let set = move |bit: &u32| outer >> bit & 1 == 1;
    (0..usize::BITS).rev().filter(set).map(move |bit| {
        // The digits above this one come first.
        let first = if bit + 1 < usize::BITS {
            outer >> (bit + 1) << (bit + 1)
        } else {
            0
        };
        (first, bit)
    })
}

/// All tensors of a witness and their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<Tensor>,
    cells: usize,
}

impl Layout {
    /// Adds a tensor of `outer` rows of `2^log_inner` cells.
    pub fn add(&mut self, outer: usize, log_inner: u32) -> TensorId {
        let piece = |(first, log_rows)| Piece {
            first,
            log_rows,
            offset: 0,
        };
        self.tensors.push(Tensor {
            outer,
            log_inner,
            pieces: runs(outer).map(piece).collect(),
        });
        TensorId(self.tensors.len() as u32 - 1)
    }

    /// Gives every piece its place. Call once, after the last [`Layout::add`].
    pub fn place(&mut self) {
        let mut order: Vec<(u32, usize, usize)> = Vec::new();
        for (t, tensor) in self.tensors.iter().enumerate() {
            for (p, piece) in tensor.pieces.iter().enumerate() {
                order.push((piece.log_rows + tensor.log_inner, t, p));
            }
        }
        order.sort_by_key(|&(size, t, p)| (std::cmp::Reverse(size), t, p));
        self.cells = 0;
        for (size, t, p) in order {
            self.tensors[t].pieces[p].offset = self.cells;
            self.cells += 1 << size;
        }
    }

    /// Cells in use.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// Variables of the committed polynomial.
    #[must_use]
    pub fn num_vars(&self) -> u32 {
        self.cells.max(1 << 10).next_power_of_two().trailing_zeros()
    }

    /// A tensor.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0 as usize]
    }

    /// All tensors, in order of their ids.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The place of cell (row, column) of a tensor.
    #[must_use]
    pub fn at(&self, id: TensorId, row: usize, column: usize) -> usize {
        let t = self.tensor(id);
        let mut place = 0;
        for p in &t.pieces {
            if row >= p.first {
                place = p.offset + ((row - p.first) << t.log_inner) + column;
            }
        }
        place
    }
}

/// `eq(point, i)` for all `i` below `2^len`.
#[must_use]
pub fn eq_table(point: &[E]) -> Vec<E> {
    let mut table = E::zero_vec(1 << point.len());
    table[0] = E::ONE;
    for (k, &r) in point.iter().rev().enumerate() {
        let (low, high) = table[..2 << k].split_at_mut(1 << k);
        for (l, h) in low.iter_mut().zip(high) {
            *h = *l * r;
            *l -= *h;
        }
    }
    table
}

/// Equality tables over runs of one point's variables, each made once.
#[derive(Debug)]
pub(crate) struct Equalities<'a> {
    point: &'a [E],
    known: BTreeMap<(usize, usize), Arc<[E]>>,
}

impl<'a> Equalities<'a> {
    pub(crate) fn new(point: &'a [E]) -> Self {
        Self {
            point,
            known: BTreeMap::new(),
        }
    }

    /// `eq_table` of these variables.
    pub(crate) fn over(&mut self, variables: Range<usize>) -> Arc<[E]> {
        let Range { start, end } = variables;
        let new = || eq_table(&self.point[start..end]).into();
        self.known.entry((start, end)).or_insert_with(new).clone()
    }
}

/// `eq(point, index)` for one index.
pub fn eq_at(point: &[E], index: usize) -> E {
    let n = point.len();
    let factor = |(k, &r): (usize, &E)| {
        if index >> (n - 1 - k) & 1 == 1 {
            r
        } else {
            E::ONE - r
        }
    };
    point.iter().enumerate().map(factor).product()
}

/// `eq(a, b)` of two points of equal length.
pub fn eq_points(a: &[E], b: &[E]) -> E {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| {
            let xy = x * y;
            E::ONE - x - y + xy + xy
        })
        .product()
}

/// `eq(point, i)` for the first `n` indices, where the point has just enough variables for `n`.
#[must_use]
pub fn eq_first(point: &[E], n: usize) -> Vec<E> {
    let mut table = eq_table(&point[..log_ceil(n) as usize]);
    table.truncate(n);
    table
}

/// Variables needed for `n` values.
#[must_use]
pub fn log_ceil(n: usize) -> u32 {
    n.max(1).next_power_of_two().trailing_zeros()
}

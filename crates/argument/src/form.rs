//! Affine forms over the committed polynomial: what a linear relation says, and what a claim leaves.
//!
//! Every linear relation of the statement, at random coefficients, is one [`Form`] that must be zero:
//! `Σ weight(cell) · f(cell) + constant = 0`. All of them add up to one inner product with the polynomial.
//! Weights have structure, so that the verifier evaluates their multilinear extension without
//! touching the cells.

use std::sync::Arc;

use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use crate::field::{E, F};
use crate::layout::{Layout, Piece, Tensor, TensorId, eq_at, eq_table};
use crate::lazy::Factor;

/// A shared vector of weights.
pub type Vector = Arc<[E]>;

/// Weights over the cells (row, column) of one tensor.
#[derive(Debug, Clone)]
pub enum Weights {
    /// `outer[row] · inner[column]`.
    Product {
        /// Per row.
        outer: Vector,
        /// Per column.
        inner: Vector,
    },
    /// As `Product`, but zero where `column > row mod 2^log_inner` (or, `above`, where it is not).
    Causal {
        /// Per row.
        outer: Vector,
        /// Per column.
        inner: Vector,
        /// Keep the cells above the diagonal instead of those below or on it.
        above: bool,
    },
    /// `heads[row / m] · matrix[row mod m][column]` for a matrix of `m` rows.
    Headed {
        /// Per head.
        heads: Vector,
        /// (m, columns).
        matrix: Vector,
    },
    /// Single cells (row, column, weight).
    Cells(Arc<[(u32, u32, E)]>),
}

/// Scaled weights on one tensor.
#[derive(Debug, Clone)]
pub struct Term {
    /// The tensor.
    pub tensor: TensorId,
    /// Factor of all weights.
    pub scale: E,
    /// Weights per cell.
    pub weights: Weights,
}

/// `Σ terms + constant`, which an honest witness makes zero.
#[derive(Debug, Clone, Default)]
pub struct Form {
    /// Weights on committed cells.
    pub terms: Vec<Term>,
    /// The rest.
    pub constant: E,
}

impl Form {
    /// Adds `scale · outer ⊗ inner` on a tensor.
    pub fn product(&mut self, tensor: TensorId, scale: E, outer: &Vector, inner: &Vector) {
        let (outer, inner) = (outer.clone(), inner.clone());
        self.push(tensor, scale, Weights::Product { outer, inner });
    }

    /// Adds any term.
    pub fn push(&mut self, tensor: TensorId, scale: E, weights: Weights) {
        self.terms.push(Term {
            tensor,
            scale,
            weights,
        });
    }

    /// Adds `scale` times another form.
    pub fn add(&mut self, other: Self, scale: E) {
        self.constant += other.constant * scale;
        self.terms.extend(other.terms.into_iter().map(|mut t| {
            t.scale *= scale;
            t
        }));
    }
}

/// Terms of one tensor with products of equal inner vectors merged.
struct Merged {
    products: Vec<(Vec<E>, Vector)>,
    others: Vec<Term>,
}

fn merge(layout: &Layout, form: &Form) -> Vec<Merged> {
    let mut all: Vec<Merged> = layout
        .tensors()
        .iter()
        .map(|_| Merged {
            products: Vec::new(),
            others: Vec::new(),
        })
        .collect();
    for term in &form.terms {
        let m = &mut all[term.tensor.0 as usize];
        let Weights::Product { outer, inner } = &term.weights else {
            m.others.push(term.clone());
            continue;
        };
        let same = |(_, i): &&mut (Vec<E>, Vector)| Arc::ptr_eq(i, inner);
        match m.products.iter_mut().find(same) {
            Some((sum, _)) => {
                for (s, &o) in sum.iter_mut().zip(outer.iter()) {
                    *s += o * term.scale;
                }
            }
            None => m.products.push((
                outer.iter().map(|&o| o * term.scale).collect(),
                inner.clone(),
            )),
        }
    }
    all
}

/// Splits `cells` into one slice per piece, in the order of their places.
pub(crate) fn by_piece<'a, T>(
    layout: &'a Layout,
    cells: &'a mut [T],
) -> Vec<(TensorId, Piece, &'a mut [T])> {
    let mut order: Vec<(TensorId, Piece, usize)> = Vec::new();
    for (i, t) in layout.tensors().iter().enumerate() {
        for p in &t.pieces {
            order.push((TensorId(i as u32), *p, 1 << (p.log_rows + t.log_inner)));
        }
    }
    order.sort_by_key(|(_, p, _)| p.offset);
    let mut rest = cells;
    let mut out = Vec::with_capacity(order.len());
    for (id, p, len) in order {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(len);
        out.push((id, p, head));
        rest = tail;
    }
    out
}

fn add_to_piece(tensor: &Tensor, piece: &Piece, merged: &Merged, out: &mut [E]) {
    let width = 1usize << tensor.log_inner;
    // Fresh pages that are written first are faulted in once instead of twice.
    out.fill(E::ZERO);
    for (outer, inner) in &merged.products {
        for (row, &o) in out.chunks_exact_mut(width).zip(&outer[piece.first..]) {
            if o != E::ZERO {
                let o = Factor::new(o);
                for (w, &i) in row.iter_mut().zip(inner.iter()) {
                    *w += o.times(i);
                }
            }
        }
    }
    for term in &merged.others {
        add_other(tensor, piece, term, out);
    }
}

fn add_other(tensor: &Tensor, piece: &Piece, term: &Term, out: &mut [E]) {
    let width = 1usize << tensor.log_inner;
    let last = piece.first + (1 << piece.log_rows);
    match &term.weights {
        Weights::Product { .. } => {}
        Weights::Causal {
            outer,
            inner,
            above,
        } => {
            for (k, row) in out.chunks_exact_mut(width).enumerate() {
                let j = piece.first + k;
                let cut = (j & (width - 1)) + 1;
                let o = outer[j] * term.scale;
                let kept = if *above { cut..width } else { 0..cut };
                for c in kept {
                    row[c] += o * inner[c];
                }
            }
        }
        Weights::Headed { heads, matrix } => {
            let m = matrix.len() / width;
            for (k, row) in out.chunks_exact_mut(width).enumerate() {
                let j = piece.first + k;
                let h = heads[j / m] * term.scale;
                for (w, &x) in row.iter_mut().zip(&matrix[(j % m) * width..]) {
                    *w += h * x;
                }
            }
        }
        Weights::Cells(cells) => {
            for &(row, column, w) in cells.iter() {
                let row = row as usize;
                if (piece.first..last).contains(&row) {
                    out[(row - piece.first) * width + column as usize] += w * term.scale;
                }
            }
        }
    }
}

/// All weights of a form, cell by cell: the prover's side.
#[must_use]
pub fn expand(layout: &Layout, form: &Form) -> Vec<E> {
    let merged = merge(layout, form);
    let mut all = E::zero_vec(1 << layout.num_vars());
    by_piece(layout, &mut all)
        .into_par_iter()
        .for_each(|(id, piece, out)| {
            add_to_piece(layout.tensor(id), &piece, &merged[id.0 as usize], out);
        });
    all
}

/// The value of a form at a witness, by its definition.
pub fn value(layout: &Layout, form: &Form, f: &[F]) -> E {
    let weights = expand(layout, form);
    let sum: E = weights.iter().zip(f).map(|(&w, &x)| w * x).sum();
    sum + form.constant
}

/// Inner products with one inner equality table, remembered by the vector they belong to.
struct Inner<'a> {
    eq: Vec<E>,
    seen: Vec<(&'a Vector, E)>,
}

/// The multilinear extension of a form's weights at `point`: the verifier's side.
pub fn evaluate(layout: &Layout, form: &Form, point: &[E]) -> E {
    let n = point.len();
    let merged = merge(layout, form);
    let mut inners: Vec<Option<Inner<'_>>> = (0..=n).map(|_| None).collect();
    let mut total = E::ZERO;
    for (tensor, m) in layout.tensors().iter().zip(&merged) {
        let log = tensor.log_inner as usize;
        let inner = inners[log].get_or_insert_with(|| Inner {
            eq: eq_table(&point[n - log..]),
            seen: Vec::new(),
        });
        for piece in &tensor.pieces {
            let rows = n - log - piece.log_rows as usize;
            let prefix = eq_at(&point[..rows], piece.offset >> (n - rows));
            let eq_rows = eq_table(&point[rows..n - log]);
            let mut sum = E::ZERO;
            for (outer, vector) in &m.products {
                let o = dot(&outer[piece.first..], &eq_rows);
                sum += o * inner.dot(vector);
            }
            for term in &m.others {
                sum += evaluate_other(piece, term, &eq_rows, &inner.eq) * term.scale;
            }
            total += prefix * sum;
        }
    }
    total
}

fn evaluate_other(piece: &Piece, term: &Term, eq_rows: &[E], eq: &[E]) -> E {
    let width = eq.len();
    match &term.weights {
        Weights::Product { .. } => E::ZERO,
        Weights::Causal {
            outer,
            inner,
            above,
        } => {
            let mut prefix = Vec::with_capacity(width);
            let mut sum = E::ZERO;
            for (&a, &b) in inner.iter().zip(eq) {
                sum += a * b;
                prefix.push(sum);
            }
            let at = |k: usize| {
                let p = prefix[(piece.first + k) & (width - 1)];
                if *above { sum - p } else { p }
            };
            (0..eq_rows.len())
                .map(|k| outer[piece.first + k] * eq_rows[k] * at(k))
                .sum()
        }
        Weights::Headed { heads, matrix } => {
            let m = matrix.len() / width;
            let rows: Vec<E> = matrix.chunks_exact(width).map(|r| dot(r, eq)).collect();
            (0..eq_rows.len())
                .map(|k| {
                    let j = piece.first + k;
                    heads[j / m] * rows[j % m] * eq_rows[k]
                })
                .sum()
        }
        Weights::Cells(cells) => {
            let inside = |row: u32| (row as usize).wrapping_sub(piece.first) < eq_rows.len();
            cells
                .iter()
                .filter(|(row, ..)| inside(*row))
                .map(|&(row, column, w)| {
                    w * eq_rows[row as usize - piece.first] * eq[column as usize]
                })
                .sum()
        }
    }
}

impl<'a> Inner<'a> {
    fn dot(&mut self, v: &'a Vector) -> E {
        if let Some((_, d)) = self.seen.iter().find(|(s, _)| Arc::ptr_eq(s, v)) {
            return *d;
        }
        let d = dot(v, &self.eq);
        self.seen.push((v, d));
        d
    }
}

/// `Σ a·b` over the shorter of two vectors.
pub fn dot(a: &[E], b: &[E]) -> E {
    a.iter().zip(b).map(|(&x, &y)| x * y).sum()
}

//! Affine forms over the committed polynomial: what a linear relation says, and what a claim leaves.
//!
//! Every linear relation of the statement, at random coefficients, is one [`Form`] that must be zero:
//! `Σ weight(cell) · f(cell) + constant = 0`. All of them add up to one inner product with the polynomial.
//! Weights have structure, so that the verifier evaluates their multilinear extension without
//! touching the cells.

use std::collections::BTreeMap;
use std::sync::Arc;

use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use crate::field::{E, F};
use crate::layout::{Equalities, Layout, Piece, Tensor, TensorId, eq_at, eq_points, eq_table};
use crate::lazy::Factor;
use crate::matrices::Matrix;
use crate::transcript::Transcript;

/// A shared vector of weights.
pub type Vector = Arc<[E]>;

/// Weights over the cells (row, column) of one tensor.
#[derive(Debug, Clone)]
pub enum Weights {
    /// `outer[row − first] · inner[column]`, zero for other rows.
    Product {
        /// First row.
        first: usize,
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
    /// `eq(point, column)` on row 0: a claim about a table, which the verifier evaluates without its entries.
    Equal(Vector),
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
    /// Products with matrices behind a commitment of their own; empty where the verifier holds them. For the
    /// prover they are among `terms` as well.
    pub matrices: Vec<Matrix>,
    /// The rest.
    pub constant: E,
}

impl Form {
    /// Adds `scale · outer ⊗ inner` on a tensor.
    pub fn product(&mut self, tensor: TensorId, scale: E, outer: &Vector, inner: &Vector) {
        let (first, outer, inner) = (0, outer.clone(), inner.clone());
        self.push(
            tensor,
            scale,
            Weights::Product {
                first,
                outer,
                inner,
            },
        );
    }

    /// Adds any term.
    pub fn push(&mut self, tensor: TensorId, scale: E, weights: Weights) {
        self.terms.push(Term {
            tensor,
            scale,
            weights,
        });
    }

    /// Adds forms up at powers of a challenge.
    pub(crate) fn total(forms: Vec<Self>, t: &mut Transcript) -> Self {
        let gamma = t.challenge();
        let mut all = Self::default();
        for (f, scale) in forms.into_iter().zip(gamma.powers()) {
            all.add(f, scale);
        }
        all
    }

    /// Adds `scale` times another form.
    pub fn add(&mut self, other: Self, scale: E) {
        self.constant += other.constant * scale;
        self.terms.extend(other.terms.into_iter().map(|mut t| {
            t.scale *= scale;
            t
        }));
        self.matrices
            .extend(other.matrices.into_iter().map(|mut m| {
                m.scale *= scale;
                m
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
        let Weights::Product {
            first,
            outer,
            inner,
        } = &term.weights
        else {
            m.others.push(term.clone());
            continue;
        };
        let same = |(_, i): &(Vec<E>, Vector)| Arc::ptr_eq(i, inner);
        let at = m.products.iter().position(same).unwrap_or_else(|| {
            let rows = layout.tensor(term.tensor).outer;
            m.products.push((E::zero_vec(rows), inner.clone()));
            m.products.len() - 1
        });
        for (s, &o) in m.products[at].0[*first..].iter_mut().zip(outer.iter()) {
            *s += o * term.scale;
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
        Weights::Equal(point) => {
            if piece.first == 0 {
                for (w, e) in out.iter_mut().zip(eq_table(point)) {
                    *w += e * term.scale;
                }
            }
        }
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

/// The multilinear extension of a form's weights at `point`: the verifier's side.
pub fn evaluate(layout: &Layout, form: &Form, point: &[E]) -> E {
    let n = point.len();
    let mut eq = Equalities::new(point);
    // Inner products with the equality table over columns, by vector: relations share few of them.
    let mut seen: BTreeMap<(usize, *const E), E> = BTreeMap::new();
    let mut total = E::ZERO;
    let merged = merge(layout, form);
    for (tensor, m) in layout.tensors().iter().zip(&merged) {
        let columns = n - tensor.log_inner as usize;
        for piece in &tensor.pieces {
            let first = columns - piece.log_rows as usize;
            let prefix = eq_at(&point[..first], piece.offset >> (n - first));
            let rows = eq.over(first..columns);
            let mut sum = E::ZERO;
            for (outer, inner) in &m.products {
                let by_column = seen
                    .entry((columns, inner.as_ptr()))
                    .or_insert_with(|| dot(inner, &eq.over(columns..n)));
                sum += dot(&outer[piece.first..], &rows) * *by_column;
            }
            for term in &m.others {
                sum += term.scale
                    * match &term.weights {
                        // Without the table's entries: it is long, and this is short.
                        Weights::Equal(at) if piece.first == 0 => {
                            rows[0] * eq_points(at, &point[columns..])
                        }
                        Weights::Equal(_) => E::ZERO,
                        _ => evaluate_other(piece, term, &rows, &eq.over(columns..n)),
                    };
            }
            total += prefix * sum;
        }
    }
    total
}

/// The verifier of `Σ weight · f + constant = 0` as a sumcheck: `messages` has per round the polynomial at 0 and its
/// leading coefficient, `value` is `f` at the point that is returned; that `f` has it there is left to show.
pub(crate) fn inner_product(
    layout: &Layout,
    form: &Form,
    messages: &[[E; 2]],
    value: E,
    t: &mut Transcript,
) -> Option<Vec<E>> {
    inner_product_and(layout, form, messages, (value, E::ZERO), t)
}

/// As [`inner_product`], where the form's weights at the point are those of its terms plus `rest`: what its matrices
/// come to, which is left to show.
pub(crate) fn inner_product_and(
    layout: &Layout,
    form: &Form,
    messages: &[[E; 2]],
    (value, rest): (E, E),
    t: &mut Transcript,
) -> Option<Vec<E>> {
    if messages.len() != layout.num_vars() as usize {
        return None;
    }
    let mut claim = -form.constant;
    let mut point = Vec::with_capacity(messages.len());
    for m in messages {
        t.absorb_ext(m);
        let r = t.challenge();
        let [zero, lead] = *m;
        let slope = claim - zero - zero - lead;
        claim = zero + r * (slope + r * lead);
        point.push(r);
    }
    if (evaluate(layout, form, &point) + rest) * value != claim {
        return None;
    }
    t.absorb_ext(&[value]);
    Some(point)
}

fn evaluate_other(piece: &Piece, term: &Term, eq_rows: &[E], eq: &[E]) -> E {
    let width = eq.len();
    match &term.weights {
        Weights::Product { .. } | Weights::Equal(_) => E::ZERO,
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
            headed(heads, &rows, m, piece.first, eq_rows)
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

/// `Σ heads[j / m] · rows[j mod m] · eq[j − first]` over `j` from `first` on, one head after the other.
fn headed(heads: &[E], rows: &[E], m: usize, first: usize, eq: &[E]) -> E {
    let (mut sum, mut k) = (E::ZERO, 0);
    while k < eq.len() {
        let j = first + k;
        let part = (m - j % m).min(eq.len() - k);
        let head = heads[j / m];
        if head != E::ZERO {
            sum += head * dot(&rows[j % m..], &eq[k..k + part]);
        }
        k += part;
    }
    sum
}

/// `Σ a·b` over the shorter of two vectors.
pub fn dot(a: &[E], b: &[E]) -> E {
    a.iter().zip(b).map(|(&x, &y)| x * y).sum()
}

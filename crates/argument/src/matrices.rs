//! Matrices that the verifier does not hold: what a form at a point leaves to show of them.
//!
//! A linear layer's term `scale · Σ e[j]·w[j][k]·u[t]·input[k][t]` needs `Σ e[j]·w[j][k]`, a fold of all weights.
//! Where they are committed, the term stays open; at the point to which the inner product reduces it, it
//! has become `Σ e[j]·q[j]·w[j][k]` with a vector `q` that both sides know: one weighting of rank one per matrix.

use std::collections::BTreeMap;

use p3_field::PrimeCharacteristicRing;

use crate::field::E;
use crate::form::{Vector, dot};
use crate::layout::{Equalities, Layout, TensorId, eq_at};

/// A linear layer's product with a committed matrix.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The block among those of the statement.
    pub block: u32,
    /// The layer among those of the block.
    pub which: u32,
    /// Factor of all.
    pub scale: E,
    /// Coefficients of the matrix's rows.
    pub rows: Vector,
    /// Tensors whose row `k` meets the matrix's column `k`, and their factors.
    pub inputs: Vec<(TensorId, E)>,
    /// Coefficients of their columns.
    pub inner: Vector,
    /// `Σ rows[j]·w[j][k]`, for whoever holds the matrix.
    pub folded: Option<Vector>,
}

/// Weights `rows ⊗ columns` over one matrix.
#[derive(Debug, Clone)]
pub struct RankOne {
    /// The block among those of the statement.
    pub block: u32,
    /// The layer among those of the block.
    pub which: u32,
    /// Per row.
    pub rows: Vector,
    /// Per column, all factors included.
    pub columns: Vector,
}

/// What `matrices` leave at `point`.
pub(crate) fn rank_ones(layout: &Layout, matrices: &[Matrix], point: &[E]) -> Vec<RankOne> {
    let n = point.len();
    let mut eq = Equalities::new(point);
    let mut seen: BTreeMap<(usize, *const E), E> = BTreeMap::new();
    let mut one = |m: &Matrix| {
        let mut columns: Vec<E> = Vec::new();
        for &(id, factor) in &m.inputs {
            let tensor = layout.tensor(id);
            columns.resize(tensor.outer.max(columns.len()), E::ZERO);
            let split = n - tensor.log_inner as usize;
            let by_column = *seen
                .entry((split, m.inner.as_ptr()))
                .or_insert_with(|| dot(&m.inner, &eq.over(split..n)));
            for piece in &tensor.pieces {
                let first = split - piece.log_rows as usize;
                let prefix = eq_at(&point[..first], piece.offset >> (n - first));
                let scale = m.scale * factor * by_column * prefix;
                let rows = eq.over(first..split);
                for (c, &e) in columns[piece.first..].iter_mut().zip(rows.iter()) {
                    *c += scale * e;
                }
            }
        }
        RankOne {
            block: m.block,
            which: m.which,
            rows: m.rows.clone(),
            columns: columns.into(),
        }
    };
    matrices.iter().map(&mut one).collect()
}

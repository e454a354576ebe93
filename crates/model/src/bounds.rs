//! The static check: how large every sum can get, proved from weights and clamps alone.

use crate::ModelError;
use crate::block::{Block, Ffn};
use crate::ops::linear::Linear;
use crate::spec::{ACT_MAX, FIELD_HALF, Order, PROB_ONE, QK_MAX, Shape, V_MAX};

/// What the static check found for a set of linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Rows checked.
    pub rows: usize,
    /// Largest magnitude that any sum can reach.
    pub largest: i64,
    /// Rows whose sum may leave 32 bits; the engine sums them in 64.
    pub wide_rows: usize,
    /// Rows whose sum may exceed half the proof field; shares and proofs split them.
    pub field_rows: usize,
}

impl Bounds {
    fn add(&mut self, l: &Linear, x_max: i32) {
        for i in 0..l.rows {
            let bound = l.row_bound(i, x_max);
            self.rows += 1;
            self.largest = self.largest.max(bound);
            self.wide_rows += usize::from(!fits_i32(bound, l.divisor[i]));
            self.field_rows += usize::from(bound >= FIELD_HALF);
        }
    }
}

/// Whether a sum up to `bound`, and its rounding by `divisor`, stay within 32 bits.
#[must_use]
pub fn fits_i32(bound: i64, divisor: u32) -> bool {
    // A quarter is left for the residual value that a rounded sum may be added to.
    bound + i64::from(divisor / 2) < 3 << 29
}

/// Whether all sums of `l` for inputs up to `x_max` stay within 32 bits.
#[must_use]
pub fn is_narrow(l: &Linear, x_max: i32) -> bool {
    (0..l.rows).all(|i| fits_i32(l.row_bound(i, x_max), l.divisor[i]))
}

/// Checks one block.
///
/// # Errors
/// [`ModelError::Range`] when a sum could leave 63 bits or an attention product 31.
pub fn check_block(shape: &Shape, block: &Block) -> Result<Bounds, ModelError> {
    let mut bounds = Bounds::default();
    for (_, l, x_max) in block.linears(shape.order) {
        bounds.add(l, x_max);
    }
    let score = i64::from(QK_MAX).pow(2) * shape.head_dim as i64;
    // Each probability is rounded by at most one half.
    let mass = i64::from(PROB_ONE) + shape.context as i64 / 2 + 1;
    let mixed = mass * i64::from(V_MAX);
    if score >= 1 << 30 || mixed >= 1 << 31 {
        return Err(ModelError::Range("an attention sum"));
    }
    if bounds.largest >= 1 << 62 {
        return Err(ModelError::Range("a linear sum"));
    }
    Ok(bounds)
}

/// Checks all blocks and the head.
///
/// # Errors
/// As [`check_block`].
pub fn check_model(
    shape: &Shape,
    blocks: &[Block],
    head: Option<&Linear>,
    head_in: i32,
) -> Result<Bounds, ModelError> {
    let mut all = Bounds::default();
    for b in blocks {
        let one = check_block(shape, b)?;
        all.rows += one.rows;
        all.largest = all.largest.max(one.largest);
        all.wide_rows += one.wide_rows;
        all.field_rows += one.field_rows;
    }
    if let Some(h) = head {
        all.add(h, head_in);
    }
    Ok(all)
}

/// Values that a proof must look up for one token: every rounding, table value and range check,
/// outside attention, and per attended position within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookups {
    /// Per token, whatever its position.
    pub fixed: usize,
    /// Per token and attended position.
    pub per_position: usize,
    /// Per sampled token, for the head.
    pub head: usize,
}

/// Counts looked-up values from the shape: one per rounding, one more per table value.
#[must_use]
pub fn lookups(shape: &Shape) -> Lookups {
    let (d, q, kv) = (shape.dim, shape.q_dim(), shape.kv_dim());
    let rotation = if shape.rotary { q + kv } else { 0 };
    let ffn = if shape.gated {
        4 * shape.ffn
    } else {
        2 * shape.ffn
    };
    let norms = 2 * (d + 2);
    let narrow = if shape.order == Order::Post { 2 * d } else { 0 };
    // q, k, v, rotation, one reciprocal per head, mixed row, o, ffn, down, norms.
    let fixed = q + 2 * kv + rotation + 2 * shape.heads + q + d + ffn + d + norms + narrow;
    // Score step, exponential, probability.
    Lookups {
        fixed: fixed * shape.layers,
        per_position: 3 * shape.heads * shape.layers,
        head: shape.vocab + d + 2,
    }
}

/// The largest product of a gated feed-forward, which must stay below the field's half.
#[must_use]
pub fn product_bound(ffn: &Ffn) -> i64 {
    match ffn {
        Ffn::Gated { up, .. } => i64::from(ACT_MAX) * i64::from(up.clamp),
        Ffn::Plain { .. } => 0,
    }
}

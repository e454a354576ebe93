//! Constants of a block, within the limits that keep every integer identity below the field's order.

use nesa_model::block::{Block, Ffn};
use nesa_model::ops::linear::{BIAS_MAX, LIFT_MAX, Linear};
use nesa_model::ops::norm::Norm;

/// Whether the block's layers and normalisations have consistent lengths and constants within the
/// specification's limits. With at most 2^16 columns of 8-bit weights and inputs below 2^23, a raised
/// sum stays below `2^12 · (2^46 + 2^48) < 2^61`. With `weights` the matrices must be there, without they must not.
pub(crate) fn holds(b: &Block, weights: bool) -> bool {
    let ffn = match &b.ffn {
        Ffn::Gated { gate, up, down, .. } => vec![gate, up, down],
        Ffn::Plain { up, down } => vec![up, down],
    };
    let layers = [&b.q, &b.k, &b.v, &b.o];
    let linear = |l: &Linear| linear(l, weights);
    layers.into_iter().chain(ffn).all(linear) && norm(&b.attn_norm) && norm(&b.ffn_norm)
}

fn linear(l: &Linear, weights: bool) -> bool {
    let cells = if weights { l.rows * l.cols } else { 0 };
    l.weight.len() == cells
        && l.divisor.len() == l.rows
        && l.divisor.iter().all(|d| d % 2 == 1 && *d < 1 << 31)
        && (l.bias.is_empty() || l.bias.len() == l.rows)
        && l.bias.iter().all(|b| b.unsigned_abs() <= BIAS_MAX)
        && l.lift <= LIFT_MAX
}

fn norm(n: &Norm) -> bool {
    (n.bias.is_empty() || n.bias.len() == n.gain.len())
        && n.eps >= 1
        && (-14..=40).contains(&n.shift)
        && n.clamp >= 0
}

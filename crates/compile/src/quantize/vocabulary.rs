//! Round the client's side: embedding, final normalisation, head.

use nesa_checkpoint::Checkpoint;
use nesa_model::Vocabulary;
use nesa_model::spec::{ACT_MAX, LOGIT_MAX, LOGIT_UNIT, Shape};

use super::{Inputs, Plan, linear, norm, step};
use crate::CompileError;
use crate::float::Text;
use crate::stats::Stats;

/// Rounds the client's side.
///
/// # Errors
/// As [`super::block`].
pub fn vocabulary(
    ckpt: &Checkpoint,
    shape: &Shape,
    plan: &Plan,
    stats: &Stats,
) -> Result<Vocabulary, CompileError> {
    let c = &ckpt.config;
    let side = Text::load(ckpt)?;
    let typed = |i: usize, v: f32| {
        f64::from(v)
            + side
                .token_type
                .get(i % shape.dim)
                .map_or(0.0, |&t| f64::from(t))
    };
    let table = &side.tokens.data[..shape.vocab * shape.dim];
    let positions = &side.positions[..side.positions.len().min(shape.context * shape.dim)];
    let max = |m: f64, v: f64| m.max(v.abs());
    let largest = (table
        .iter()
        .enumerate()
        .map(|(i, &v)| typed(i, v))
        .fold(0.0, max))
    .max(positions.iter().map(|&v| f64::from(v)).fold(0.0, max));
    let finite = |v: &[f32]| v.iter().all(|v| v.is_finite());
    if !largest.is_finite() || !finite(table) || !finite(positions) {
        return Err(CompileError::NotFinite("the embedding"));
    }
    // A normalised embedding has a step of its own; otherwise it is a multiple of the residual's.
    let (unit, e_step) = match &side.embed_norm {
        Some(_) => (1, largest / 32_767.0),
        None => {
            let unit = libm::ceil(largest / (32_767.0 * plan.residual)).max(1.0);
            (unit as u32, plan.residual * unit)
        }
    };
    let q = |v: f64| libm::round(v / e_step) as i16;
    let embed_norm = match &side.embed_norm {
        Some(g) => Some(norm(c, g, e_step, plan.residual, ACT_MAX)?),
        None => None,
    };
    let head_step = step(stats.head_in, ACT_MAX);
    let final_norm = match &side.final_norm {
        Some(g) => Some(norm(c, g, plan.residual, head_step, ACT_MAX)?),
        None => None,
    };
    let logit = 1.0 / f64::from(LOGIT_UNIT);
    let head_factor = side.head.as_ref().and_then(|_| stats.head_in_gram.factor());
    let head = match &side.head {
        Some(h) => Some(linear(
            h,
            head_step,
            &|_| logit,
            // Heads have no bias that could take up a mean error.
            Inputs {
                power: &stats.head_in_power,
                sum: &[],
                tokens: 0.0,
                factor: head_factor.as_ref(),
            },
            LOGIT_MAX,
        )?),
        None => None,
    };
    Ok(Vocabulary {
        tokens: table
            .iter()
            .enumerate()
            .map(|(i, &v)| q(typed(i, v)))
            .collect(),
        positions: positions.iter().map(|&v| q(f64::from(v))).collect(),
        unit,
        embed_norm,
        final_norm,
        head,
    })
}

//! Steps of queries and keys, balanced channel by channel.

use nesa_model::spec::{QK_MAX, SCORE_UNIT, Shape};

use super::{HEADROOM, odd_floor, range};
use crate::CompileError;
use crate::stats::LayerStats;

/// Steps of queries and keys: their products share one step per head, whatever the channel.
pub(super) struct ScoreSteps {
    /// (heads·head_dim).
    pub(super) q: Vec<f64>,
    /// (kv_heads·head_dim).
    pub(super) k: Vec<f64>,
    /// (heads).
    pub(super) divisor: Vec<u32>,
}

/// The partner of channel `j` under rotation, which must have the same step.
fn partner(shape: &Shape, j: usize) -> usize {
    match (shape.rotary, shape.head_dim / 2) {
        (true, half) if j < half => j + half,
        (true, half) => j - half,
        (false, _) => j,
    }
}

/// Balances each channel's range between query and key, since only their product matters.
pub(super) fn score_steps(shape: &Shape, l: &LayerStats) -> Result<ScoreSteps, CompileError> {
    let (hd, group) = (shape.head_dim, shape.group());
    let max = f64::from(QK_MAX) / HEADROOM;
    let mut steps = ScoreSteps {
        q: vec![0.0; shape.q_dim()],
        k: vec![0.0; shape.kv_dim()],
        divisor: vec![0; shape.heads],
    };
    for g in 0..shape.kv_heads {
        let pair =
            |v: &[f64], at: usize, j: usize| v[at + j].max(v[at + partner(shape, j)]).max(1e-6);
        let mk: Vec<f64> = (0..hd).map(|j| pair(&l.k, g * hd, j)).collect();
        let mq = |h: usize, j: usize| pair(&l.q, h * hd, j);
        let heads = g * group..(g + 1) * group;
        let mq_group: Vec<f64> = (0..hd)
            .map(|j| heads.clone().map(|h| mq(h, j)).fold(0.0, f64::max))
            .collect();
        // k steps in the ratio sqrt(mk/mq), just large enough for every channel.
        let beta = (0..hd)
            .map(|j| libm::sqrt(mk[j] * mq_group[j]))
            .fold(0.0, f64::max)
            / max;
        let k_step: Vec<f64> = (0..hd)
            .map(|j| beta * libm::sqrt(mk[j] / mq_group[j]))
            .collect();
        steps.k[g * hd..(g + 1) * hd].copy_from_slice(&k_step);
        for h in heads {
            let product = (0..hd).map(|j| mq(h, j) * k_step[j]).fold(0.0, f64::max) / max;
            // One score step is 1/(SCORE_UNIT·d) nat times sqrt(head_dim), exactly.
            let nat = libm::sqrt(hd as f64) / f64::from(SCORE_UNIT);
            if nat < product {
                return Err(range("a score step"));
            }
            let d = odd_floor(nat / product);
            let product = nat / f64::from(d);
            steps.divisor[h] = d;
            for (q, k) in steps.q[h * hd..].iter_mut().zip(&k_step) {
                *q = product / k;
            }
        }
    }
    Ok(steps)
}

//! How large every value gets on the calibration text.

use nesa_checkpoint::Checkpoint;
use nesa_model::spec::{Order, Shape};

use crate::feedback::{self, Gram};
use crate::float::{self, Layer, Taps};
use crate::{CompileError, Progress};

/// Ranges of one block.
#[derive(Debug, Clone, Default)]
pub struct LayerStats {
    /// Largest input of q, k, v.
    pub attn_in: f64,
    /// (dim): mean square of each input channel of q, k, v.
    pub attn_in_power: Vec<f64>,
    /// (dim): sum of each input channel of q, k, v.
    pub attn_in_sum: Vec<f64>,
    /// Gram matrix of the inputs of q, k, v.
    pub attn_in_gram: Gram,
    /// Gram matrix of the weighted sums.
    pub mixed_gram: Gram,
    /// Gram matrix of the inputs of gate and up.
    pub ffn_in_gram: Gram,
    /// Gram matrix of the inputs of down.
    pub h_gram: Gram,
    /// (heads·head_dim): largest query entry, before or after rotation.
    pub q: Vec<f64>,
    /// (kv_heads·head_dim): largest key entry, before or after rotation.
    pub k: Vec<f64>,
    /// (kv_heads·head_dim): largest value entry.
    pub v: Vec<f64>,
    /// Largest weighted sum.
    pub mixed: f64,
    /// (heads·head_dim): mean square of each weighted sum.
    pub mixed_power: Vec<f64>,
    /// (heads·head_dim): sum of each weighted sum.
    pub mixed_sum: Vec<f64>,
    /// Largest input of gate and up.
    pub ffn_in: f64,
    /// (dim): mean square of each input channel of gate and up.
    pub ffn_in_power: Vec<f64>,
    /// (dim): sum of each input channel of gate and up.
    pub ffn_in_sum: Vec<f64>,
    /// Largest input of the activation function.
    pub gate: f64,
    /// (ffn): largest entry of the linear branch.
    pub up: Vec<f64>,
    /// (ffn): largest input of down.
    pub h: Vec<f64>,
    /// Per token: its largest input of down.
    pub h_tokens: Vec<f64>,
    /// (ffn): mean square of each input channel of down.
    pub h_power: Vec<f64>,
    /// (ffn): sum of each input channel of down.
    pub h_sum: Vec<f64>,
    /// Largest normalised output, where the block closes with a normalisation.
    pub closed: f64,
}

/// Ranges of the whole model.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Per block.
    pub layers: Vec<LayerStats>,
    /// Largest residual value anywhere.
    pub residual: f64,
    /// Largest input of the head.
    pub head_in: f64,
    /// Gram matrix of the inputs of the head.
    pub head_in_gram: Gram,
    /// (dim): mean square of each input channel of the head.
    pub head_in_power: Vec<f64>,
}

/// The largest magnitude; infinite where a value is not a number.
fn largest(v: &[f32]) -> f64 {
    let magnitude = |x: &f32| {
        if x.is_nan() {
            f64::INFINITY
        } else {
            f64::from(x.abs())
        }
    };
    v.iter().map(magnitude).fold(0.0, f64::max)
}

fn raise(columns: &mut Vec<f64>, rows: &[f32], width: usize) {
    columns.resize(width, 0.0);
    for row in rows.chunks_exact(width) {
        for (m, &x) in columns.iter_mut().zip(row) {
            *m = m.max(f64::from(x.abs()));
        }
    }
}

fn power(columns: &mut Vec<f64>, rows: &[f32], width: usize) {
    columns.resize(width, 0.0);
    for row in rows.chunks_exact(width) {
        for (m, &x) in columns.iter_mut().zip(row) {
            *m += f64::from(x) * f64::from(x);
        }
    }
}

fn total(columns: &mut Vec<f64>, rows: &[f32], width: usize) {
    columns.resize(width, 0.0);
    for row in rows.chunks_exact(width) {
        for (m, &x) in columns.iter_mut().zip(row) {
            *m += f64::from(x);
        }
    }
}

impl LayerStats {
    /// The middle of all tokens' largest inputs of down.
    #[must_use]
    pub fn h_typical(&self) -> f64 {
        let mut all = self.h_tokens.clone();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(0.0)
    }

    fn add(&mut self, s: &Shape, t: &Taps) {
        self.attn_in = self.attn_in.max(largest(&t.attn_in));
        self.attn_in_gram.add(&t.attn_in, s.dim);
        self.mixed_gram.add(&t.mixed, s.q_dim());
        self.ffn_in_gram.add(&t.ffn_in, s.dim);
        if feedback::is_affordable(s.layers, s.ffn) {
            self.h_gram.add(&t.h, s.ffn);
        }
        power(&mut self.attn_in_power, &t.attn_in, s.dim);
        total(&mut self.attn_in_sum, &t.attn_in, s.dim);
        raise(&mut self.q, &t.q, s.q_dim());
        raise(&mut self.q, &t.q_pre, s.q_dim());
        raise(&mut self.k, &t.k, s.kv_dim());
        raise(&mut self.k, &t.k_pre, s.kv_dim());
        raise(&mut self.v, &t.v, s.kv_dim());
        self.mixed = self.mixed.max(largest(&t.mixed));
        power(&mut self.mixed_power, &t.mixed, s.q_dim());
        total(&mut self.mixed_sum, &t.mixed, s.q_dim());
        self.ffn_in = self.ffn_in.max(largest(&t.ffn_in));
        power(&mut self.ffn_in_power, &t.ffn_in, s.dim);
        total(&mut self.ffn_in_sum, &t.ffn_in, s.dim);
        self.gate = self.gate.max(largest(&t.gate));
        raise(&mut self.up, &t.up, s.ffn);
        raise(&mut self.h, &t.h, s.ffn);
        self.h_tokens.extend(t.h.chunks_exact(s.ffn).map(largest));
        power(&mut self.h_power, &t.h, s.ffn);
        total(&mut self.h_sum, &t.h, s.ffn);
    }
}

/// Runs the float model on `text` and notes the ranges.
///
/// # Errors
/// [`CompileError::NotFinite`] when a value overflows, and what the checkpoint refuses.
pub fn collect(
    ckpt: &Checkpoint,
    shape: &Shape,
    text: &[Vec<u32>],
    progress: &mut dyn FnMut(Progress),
) -> Result<Stats, CompileError> {
    let c = &ckpt.config;
    let side = float::Text::load(ckpt)?;
    let known = |id: &&u32| (**id as usize) < shape.vocab;
    let mut rows: Vec<Vec<f32>> = text
        .iter()
        .map(|ids| {
            ids.iter()
                .filter(known)
                .take(shape.context)
                .copied()
                .collect::<Vec<_>>()
        })
        .filter(|ids| !ids.is_empty())
        .map(|ids| side.embed(c, &ids))
        .collect();
    let mut stats = Stats::default();
    for x in &rows {
        stats.residual = stats.residual.max(largest(x));
    }
    for i in 0..shape.layers {
        let layer = Layer::load(ckpt, i)?;
        let mut ls = LayerStats::default();
        for x in &mut rows {
            let taps = float::block(c, &layer, x);
            ls.add(shape, &taps);
            if shape.order == Order::Post {
                ls.closed = ls.closed.max(largest(x)).max(largest(&taps.ffn_in));
            }
            let sum = largest(&taps.middle)
                .max(largest(&taps.sum))
                .max(largest(x));
            stats.residual = stats.residual.max(sum);
        }
        if !stats.residual.is_finite() {
            return Err(CompileError::NotFinite("an activation"));
        }
        stats.layers.push(ls);
        progress(Progress::Calibrate {
            done: i + 1,
            total: shape.layers,
        });
    }
    for x in &rows {
        let a = match &side.final_norm {
            Some(g) => float::norm(c, g, x),
            None => x.to_vec(),
        };
        stats.head_in = stats.head_in.max(largest(&a));
        stats.head_in_gram.add(&a, shape.dim);
        power(&mut stats.head_in_power, &a, shape.dim);
    }
    if stats.residual.is_finite() && stats.head_in.is_finite() {
        Ok(stats)
    } else {
        Err(CompileError::NotFinite("an activation"))
    }
}

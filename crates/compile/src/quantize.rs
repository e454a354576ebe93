//! Choose scales from ranges and round weights: floats end here.
//!
//! Every site has a real value per integer step. A divisor `d` is chosen first, as an odd integer,
//! and the weight step follows from it exactly: `w_step = out_step / (in_step · d)`. So no scale is
//! ever rounded, only weights are.

mod score;
mod vocabulary;

pub use vocabulary::vocabulary;

use nesa_checkpoint::{Arch, Config};
use nesa_model::block::{Common, Ffn};
use nesa_model::ops::linear::LIFT_MAX;
use nesa_model::spec::{
    ACT_MAX, Order, PROB_ONE, QK_MAX, QK_PRE_MAX, RESIDUAL_MAX, ROPE_DIVISOR, ROPE_ONE, Shape,
    UP_MAX, V_MAX, WIDE_MAX,
};
use nesa_model::{Block, Linear, ModelError, Norm, NormKind};
use rayon::prelude::*;

use crate::feedback::{Factor, Gram};
use crate::float::{Gain, Layer, Mat};
use crate::stats::{LayerStats, Stats};
use crate::{CompileError, tables};
use score::score_steps;

/// Room above the calibrated range of an activation.
const HEADROOM: f64 = 1.25;
/// Room above the calibrated range of the residual stream, whose outliers vary most.
const RESIDUAL_HEADROOM: f64 = 4.0;
/// Steps that the typical token's largest product must have.
const TYPICAL_STEPS: f64 = 2048.0;
/// Row steps tried below the one that holds the largest weight.
const SHRINK: [f64; 7] = [1.0, 1.03, 1.06, 1.1, 1.15, 1.2, 1.3];

/// Scales that the whole model shares.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Real value of one residual step.
    pub residual: f64,
    /// Binary places of each activation table.
    pub places: Vec<u32>,
    /// Table of each block.
    pub table: Vec<u8>,
    shape: Shape,
}

fn range(what: &'static str) -> CompileError {
    CompileError::Model(ModelError::Range(what))
}

/// Largest odd integer not above `x`, at least 1 and below 2^31.
fn odd_floor(x: f64) -> u32 {
    let n = x.clamp(1.0, 2_147_483_646.0) as u32;
    if n.is_multiple_of(2) { n - 1 } else { n }
}

fn step(range: f64, max: i32) -> f64 {
    (range * HEADROOM).max(1e-9) / f64::from(max)
}

impl Plan {
    /// Chooses the shared scales.
    ///
    /// # Errors
    /// [`CompileError::NotFinite`] when the ranges are.
    pub fn new(shape: &Shape, stats: &Stats) -> Result<Self, CompileError> {
        let residual = match shape.order {
            Order::Pre => stats.residual * RESIDUAL_HEADROOM / f64::from(RESIDUAL_MAX),
            // The closing normalisation's output is an activation: it must fit 16 bits.
            Order::Post => step(
                stats.layers.iter().fold(0.0, |m, l| f64::max(m, l.closed)),
                ACT_MAX,
            ),
        };
        if !residual.is_finite() || residual <= 0.0 {
            return Err(CompileError::NotFinite("the residual range"));
        }
        let (mut places, mut table) = (Vec::new(), Vec::new());
        for l in &stats.layers {
            let fit = libm::floor(libm::log2(
                f64::from(ACT_MAX) / (l.gate * HEADROOM).max(1e-3),
            ));
            let p = fit.clamp(0.0, 12.0) as u32;
            let i = places.iter().position(|q| *q == p).unwrap_or_else(|| {
                places.push(p);
                places.len() - 1
            });
            table.push(i as u8);
        }
        Ok(Self {
            residual,
            places,
            table,
            shape: shape.clone(),
        })
    }

    /// The shared tables.
    #[must_use]
    pub fn common(&self, c: &Config) -> Common {
        let tables = self
            .places
            .iter()
            .filter_map(|&p| tables::activation(c.activation, p))
            .collect();
        Common {
            rope: self.shape.rotary.then(|| tables::rope(c, &self.shape)),
            tables,
        }
    }
}

/// Rounds `w` for inputs in steps of `in_step` and outputs in steps of `out_step(row)`.
///
/// `inputs` says what the input channels are like on the calibration text.
pub(crate) fn linear(
    w: &Mat,
    in_step: f64,
    out_step: &dyn Fn(usize) -> f64,
    inputs: Inputs<'_>,
    clamp: i32,
) -> Result<Linear, CompileError> {
    let lift = if clamp == RESIDUAL_MAX {
        lift(w, in_step, out_step(0))
    } else {
        0
    };
    let steps: Vec<f64> = (0..w.rows)
        .map(|i| libm::ldexp(out_step(i), lift as i32))
        .collect();
    // Rows do not know each other, so that threads cannot change a bit.
    let rows: Vec<RoundedRow> = (0..w.rows)
        .into_par_iter()
        .map(|i| round_row(w, i, in_step, steps[i], inputs))
        .collect::<Result<_, _>>()?;
    let mut weight = Vec::with_capacity(w.rows * w.cols);
    for row in &rows {
        weight.extend_from_slice(&row.weight);
    }
    Ok(Linear {
        rows: w.rows,
        cols: w.cols,
        weight,
        bias: rows.iter().filter_map(|r| r.bias).collect(),
        divisor: rows.iter().map(|r| r.divisor).collect(),
        lift,
        clamp,
    })
}

/// Input channels of a linear layer over the calibration text.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// (cols): square of each channel, summed: weighs its rounding errors.
    pub(crate) power: &'a [f64],
    /// (cols): each channel, summed.
    pub(crate) sum: &'a [f64],
    /// Tokens of the text.
    pub(crate) tokens: f64,
    /// How later weights make up for the errors of earlier ones, where that is affordable.
    pub(crate) factor: Option<&'a Factor>,
}

/// One output channel, rounded.
struct RoundedRow {
    weight: Vec<i8>,
    divisor: u32,
    bias: Option<i64>,
}

/// Rounds row `i` of `w`, trying several weight steps and keeping the one of the least error.
fn round_row(
    w: &Mat,
    i: usize,
    in_step: f64,
    out: f64,
    inputs: Inputs<'_>,
) -> Result<RoundedRow, CompileError> {
    let row = &w.data[i * w.cols..][..w.cols];
    let max = row.iter().fold(0.0f64, |m, &v| m.max(f64::from(v.abs())));
    // The maximum passes over a NaN.
    if row.iter().any(|v| !v.is_finite()) || !out.is_finite() {
        return Err(CompileError::NotFinite("a weight"));
    }
    let ideal = out / (in_step * max.max(1e-12) / 127.0);
    if ideal < 1.0 {
        return Err(range("a weight step"));
    }
    let mut best = (f64::INFINITY, 1, Vec::new());
    for shrink in SHRINK {
        let d = odd_floor((ideal * shrink).min(1e9));
        let w_step = out / (in_step * f64::from(d));
        let q: Vec<i8> = row
            .iter()
            .map(|&v| libm::round(f64::from(v) / w_step).clamp(-127.0, 127.0) as i8)
            .collect();
        let error = (row.iter().zip(&q).zip(inputs.power))
            .map(|((&v, &q), p)| p * (f64::from(v) - f64::from(q) * w_step).powi(2))
            .sum::<f64>();
        if error < best.0 {
            best = (error, d, q);
        }
    }
    let (_, divisor, mut weight) = best;
    if let Some(factor) = inputs.factor.filter(|f| f.cols() == w.cols) {
        weight = factor.round(row, out / (in_step * f64::from(divisor)));
    }
    let bias = match w.bias.get(i) {
        None => None,
        Some(&b) => {
            // What the rounded weights lose on the mean input is the same for every token: the bias
            // takes it up.
            let w_step = out / (in_step * f64::from(divisor));
            let lost: f64 = (row.iter().zip(&weight).zip(inputs.sum))
                .map(|((&v, &q), sum)| (f64::from(v) - f64::from(q) * w_step) * sum)
                .sum();
            let b = f64::from(b) + lost / inputs.tokens.max(1.0);
            let b = libm::round(b / (out / f64::from(divisor)));
            if b.abs() > 2f64.powi(48) {
                return Err(range("a bias"));
            }
            Some(b as i64)
        }
    };
    Ok(RoundedRow {
        weight,
        divisor,
        bias,
    })
}

/// Places by which sums are raised so that every row's divisor has at least six bits.
fn lift(w: &Mat, in_step: f64, out_step: f64) -> u32 {
    let max = w
        .data
        .iter()
        .fold(1e-12f64, |m, &v| m.max(f64::from(v.abs())));
    let smallest = out_step / (in_step * max / 127.0);
    let places = libm::ceil(libm::log2(64.0 / smallest));
    if smallest < 32.0 {
        places.clamp(0.0, f64::from(LIFT_MAX)) as u32
    } else {
        0
    }
}

/// Rounds a normalisation of residual rows in steps of `in_step`, to outputs in steps of `out_step`.
fn norm(
    c: &Config,
    g: &Gain,
    in_step: f64,
    out_step: f64,
    clamp: i32,
) -> Result<Norm, CompileError> {
    let dim = g.gain.len() as f64;
    let kind = match c.arch {
        Arch::Llama | Arch::Qwen2 => NormKind::Rms,
        Arch::Gpt2 | Arch::Bert => NormKind::Layer,
    };
    let scale = libm::sqrt(dim) / out_step;
    let max = g
        .gain
        .iter()
        .fold(0.0f64, |m, &v| m.max(f64::from(v.abs())))
        * scale;
    let shift = libm::floor(libm::log2(32_767.0 / max.max(1e-9)));
    if !(-14.0..=60.0).contains(&shift) {
        return Err(range("a normalisation's gain"));
    }
    let shift = shift.min(40.0) as i32;
    let gain = g
        .gain
        .iter()
        .map(|&v| libm::round(libm::ldexp(f64::from(v) * scale, shift)) as i16)
        .collect();
    let power = match kind {
        NormKind::Rms => dim,
        NormKind::Layer => dim * dim * dim,
    };
    let eps = libm::round(c.norm_eps * power / (in_step * in_step)).clamp(1.0, 9e18) as u64;
    let bias = g
        .bias
        .iter()
        .map(|&b| libm::round(f64::from(b) / out_step) as i32)
        .collect();
    Ok(Norm {
        kind,
        gain,
        bias,
        eps,
        shift,
        clamp,
    })
}

/// Steps of the feed-forward part.
struct FfnSteps {
    /// Of its input.
    input: f64,
    /// Of the activation function, in and out.
    unit: f64,
    /// Of the residual stream.
    residual: f64,
}

/// Rounds the feed-forward part for inputs like `a`, with products like `h`.
fn feed_forward(
    l: &LayerStats,
    w: &Layer,
    steps: &FfnSteps,
    a: Inputs<'_>,
    h: Inputs<'_>,
) -> Result<Ffn, CompileError> {
    let FfnSteps {
        input,
        unit,
        residual,
    } = *steps;
    let Some(gate) = &w.gate else {
        return Ok(Ffn::Plain {
            up: linear(&w.up, input, &|_| unit, a, ACT_MAX)?,
            down: linear(&w.down, unit, &|_| residual, h, RESIDUAL_MAX)?,
        });
    };
    let h_max = l.h.iter().copied().fold(0.0, f64::max);
    let up_range = l.up.iter().copied().fold(0.0, f64::max);
    // Where one token's product dwarfs the typical one, 16 bits would leave it too coarse.
    let fine = (l.h_typical() / TYPICAL_STEPS).max(h_max * HEADROOM / f64::from(WIDE_MAX));
    let h_step = step(h_max, ACT_MAX)
        .min(fine)
        .max(unit * step(up_range, UP_MAX));
    let wide = libm::round(h_max * HEADROOM / h_step).max(f64::from(ACT_MAX));
    let product_max = wide.min(f64::from(WIDE_MAX)) as i32;
    let product: Vec<u32> = (l.up.iter())
        .map(|&m| odd_floor(h_step / (unit * step(m.max(1e-6), UP_MAX))))
        .collect();
    let up_step = |j: usize| h_step / (unit * f64::from(product[j]));
    Ok(Ffn::Gated {
        gate: linear(gate, input, &|_| unit, a, ACT_MAX)?,
        up: linear(&w.up, input, &up_step, a, UP_MAX)?,
        down: linear(&w.down, h_step, &|_| residual, h, RESIDUAL_MAX)?,
        product,
        product_max,
    })
}

/// Rounds one block.
///
/// # Errors
/// [`CompileError`] when a value is not finite or a scale cannot be expressed.
pub fn block(
    shape: &Shape,
    plan: &Plan,
    config: &Config,
    index: usize,
    l: &LayerStats,
    w: &Layer,
) -> Result<Block, CompileError> {
    let post = shape.order == Order::Post;
    let res = plan.residual;
    let attn_step = if post { res } else { step(l.attn_in, ACT_MAX) };
    let ffn_step = if post { res } else { step(l.ffn_in, ACT_MAX) };
    let norm_out = |s: f64| if post { res } else { s };
    let steps = score_steps(shape, l)?;
    let pre = if shape.rotary {
        f64::from(ROPE_ONE) / f64::from(ROPE_DIVISOR)
    } else {
        1.0
    };
    let qk_max = if shape.rotary { QK_PRE_MAX } else { QK_MAX };

    let mixed_step = step(l.mixed, ACT_MAX);
    let mix_of =
        |c: usize| odd_floor(f64::from(PROB_ONE) * mixed_step / step(l.v[c].max(1e-6), V_MAX));
    let v_step = |c: usize| f64::from(PROB_ONE) * mixed_step / f64::from(mix_of(c));
    let (hd, group) = (shape.head_dim, shape.group());
    let mix = (0..shape.q_dim())
        .map(|c| mix_of((c / hd / group) * hd + c % hd))
        .collect();

    let table = plan.table[index];
    let unit = libm::ldexp(1.0, -(plan.places[usize::from(table)] as i32));
    let tokens = l.h_tokens.len() as f64;
    let inputs = |power, sum, factor| Inputs {
        power,
        sum,
        tokens,
        factor,
    };
    let factors = [&l.ffn_in_gram, &l.h_gram, &l.attn_in_gram, &l.mixed_gram].map(Gram::factor);
    let [ffn_factor, h_factor, attn_factor, mixed_factor] = factors.each_ref().map(Option::as_ref);
    let (a, h) = (
        inputs(&l.ffn_in_power, &l.ffn_in_sum, ffn_factor),
        inputs(&l.h_power, &l.h_sum, h_factor),
    );
    let ffn_steps = FfnSteps {
        input: ffn_step,
        unit,
        residual: res,
    };
    let ffn = feed_forward(l, w, &ffn_steps, a, h)?;
    let (a, mixed) = (
        inputs(&l.attn_in_power, &l.attn_in_sum, attn_factor),
        inputs(&l.mixed_power, &l.mixed_sum, mixed_factor),
    );
    Ok(Block {
        attn_norm: norm(config, &w.attn_norm, res, norm_out(attn_step), ACT_MAX)?,
        q: linear(&w.q, attn_step, &|i| steps.q[i] * pre, a, qk_max)?,
        k: linear(&w.k, attn_step, &|i| steps.k[i] * pre, a, qk_max)?,
        v: linear(&w.v, attn_step, &v_step, a, V_MAX)?,
        score: steps.divisor,
        mix,
        o: linear(&w.o, mixed_step, &|_| res, mixed, RESIDUAL_MAX)?,
        ffn_norm: norm(config, &w.ffn_norm, res, norm_out(ffn_step), ACT_MAX)?,
        table,
        ffn,
    })
}

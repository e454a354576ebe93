//! Round a float perceptron on calibration rows, as blocks of transformers are rounded.

use nesa_decision::mlp::{Affine, Layer};
use nesa_decision::{Mlp, Task, limits};
use nesa_model::Table;
use nesa_model::spec::{ACT_MAX, LOGIT_MAX};

use super::config::Config;
use super::{ImportError, Result};
use crate::feedback::Gram;
use crate::float::Mat;
use crate::quantize::{Inputs, linear};

/// Room above the calibrated range.
const HEADROOM: f64 = 1.25;
/// Room above the calibrated range of the scores.
const SCORE_HEADROOM: f64 = 8.0;
/// Least divisor of the row with the largest weights: finer sums would be lost in its rounding to odd.
const DIVISOR_MIN: f64 = 64.0;
/// Rows used of the given ones.
const ROWS_MAX: usize = 4_096;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Relu,
    Sigmoid,
    Tanh,
    Gelu,
    GeluTanh,
}

impl Function {
    /// The function called `name`; the identity is none.
    pub(super) fn named(name: &str) -> Result<Option<Self>> {
        Ok(Some(match name {
            "relu" => Self::Relu,
            "sigmoid" | "logistic" => Self::Sigmoid,
            "tanh" => Self::Tanh,
            "gelu" => Self::Gelu,
            "gelu_tanh" => Self::GeluTanh,
            "identity" => return Ok(None),
            other => {
                return Err(ImportError::Config(format!(
                    "activation {other:?} is not supported; known are relu, sigmoid, tanh, gelu, gelu_tanh, identity"
                )));
            }
        }))
    }

    fn apply(self, x: f64) -> f64 {
        use crate::float::activation;
        use nesa_checkpoint::Activation::{GeluErf, GeluTanh};
        match self {
            Self::Relu => x.max(0.0),
            Self::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
            Self::Tanh => libm::tanh(x),
            Self::Gelu => activation(GeluErf, x),
            Self::GeluTanh => activation(GeluTanh, x),
        }
    }

    /// The function with inputs and outputs in the given steps.
    fn table(self, input: f64, output: f64) -> Option<Table> {
        let value = |x: i32| {
            let y = self.apply(f64::from(x) * input) / output;
            libm::round(y).clamp(-32_767.0, 32_767.0) as i16
        };
        Table::new((-32_768..32_768).map(value).collect())
    }
}

/// A layer as read.
#[derive(Debug)]
pub(super) struct FloatLayer {
    pub(super) mat: Mat,
    pub(super) function: Option<Function>,
}

/// A perceptron as read, checked for its shape.
#[derive(Debug)]
pub(super) struct Float {
    features: Vec<String>,
    config_task: Task,
    classes: Option<Vec<String>>,
    mean: Vec<f64>,
    scale: Vec<f64>,
    layers: Vec<FloatLayer>,
}

impl Float {
    /// Joins layers and configuration; `input` is (mean, scale) that the file itself applies.
    pub(super) fn new(
        layers: Vec<FloatLayer>,
        config: &Config,
        guess: Task,
        input: Option<(Vec<f64>, Vec<f64>)>,
    ) -> Result<Self> {
        let bad = |what: &str| ImportError::Config(what.to_owned());
        let n = layers.first().map_or(0, |l| l.mat.cols);
        let chained = layers.windows(2).all(|p| p[0].mat.rows == p[1].mat.cols);
        if !chained || layers.last().is_none_or(|l| l.function.is_some()) {
            return Err(bad(
                "layers do not follow from one another, or the last has an activation",
            ));
        }
        let names = config.features.clone();
        let features = names.unwrap_or_else(|| (0..n).map(|i| format!("f{i}")).collect());
        let (mut mean, mut scale) = (vec![0.0; n], vec![1.0; n]);
        if let Some((m, s)) = input {
            (mean, scale) = (m, s);
        }
        if config.mean.is_some() || config.scale.is_some() {
            // Applied first: (((x − m) / s) − mean) / scale.
            let m = config.mean.clone().unwrap_or_else(|| vec![0.0; n]);
            let s = config.scale.clone().unwrap_or_else(|| vec![1.0; n]);
            if m.len() != n || s.len() != n || mean.len() != n || scale.len() != n {
                return Err(bad("mean and scale have not one entry per feature"));
            }
            for i in 0..n {
                mean[i] = m[i] + s[i] * mean[i];
                scale[i] *= s[i];
            }
        }
        let usable = |s: &f64| s.is_finite() && *s != 0.0;
        if [features.len(), mean.len(), scale.len()] != [n; 3] || n > limits::FEATURES {
            return Err(bad("the number of features is not the model's"));
        }
        if !scale.iter().all(usable) || !mean.iter().all(|m| m.is_finite()) {
            return Err(bad("a scale is zero or not finite"));
        }
        Ok(Self {
            features,
            config_task: config.task.unwrap_or(guess),
            classes: config.classes.clone(),
            mean,
            scale,
            layers,
        })
    }

    /// (rows, features): the normalised calibration rows.
    fn normalise(&self, rows: &[Vec<f64>]) -> Result<Vec<f32>> {
        if rows.is_empty() {
            return Err(ImportError::NoRows);
        }
        let mut out = Vec::new();
        for row in rows.iter().take(ROWS_MAX) {
            super::edge::check(&self.features, row)?;
            for (j, x) in row.iter().enumerate() {
                out.push(((x - self.mean[j]) / self.scale[j]) as f32);
            }
        }
        Ok(out)
    }
}

fn largest(v: &[f32]) -> f64 {
    v.iter().fold(0.0, |m, x| m.max(f64::from(x.abs())))
}

fn step(range: f64) -> f64 {
    (range * HEADROOM).max(1e-9) / f64::from(ACT_MAX)
}

/// `W·x + b` of every row of `x`, in doubles.
fn product(m: &Mat, x: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len() / m.cols * m.rows);
    for row in x.chunks_exact(m.cols) {
        for i in 0..m.rows {
            let w = &m.data[i * m.cols..][..m.cols];
            let dot: f64 = w
                .iter()
                .zip(row)
                .map(|(w, x)| f64::from(*w) * f64::from(*x))
                .sum();
            out.push((dot + f64::from(m.bias[i])) as f32);
        }
    }
    out
}

/// Rounds one layer for inputs `x` in steps of `input` and outputs in steps of `output`.
fn rounded(m: &Mat, x: &[f32], input: f64, output: f64, clamp: i32) -> Result<nesa_model::Linear> {
    let (mut power, mut sum) = (vec![0.0; m.cols], vec![0.0; m.cols]);
    for row in x.chunks_exact(m.cols) {
        for (j, v) in row.iter().enumerate() {
            power[j] += f64::from(*v) * f64::from(*v);
            sum[j] += f64::from(*v);
        }
    }
    let mut gram = Gram::default();
    gram.add(x, m.cols);
    let factor = gram.factor();
    let inputs = Inputs {
        power: &power,
        sum: &sum,
        tokens: (x.len() / m.cols) as f64,
        factor: factor.as_ref(),
    };
    Ok(linear(m, input, &|_| output, inputs, clamp)?)
}

/// The integer perceptron, calibrated on `rows` of features.
pub(super) fn round(float: Float, rows: &[Vec<f64>]) -> Result<Mlp> {
    let mut x = float.normalise(rows)?;
    let mut input = step(largest(&x));
    if !input.is_finite() {
        return Err(crate::CompileError::NotFinite("a normalised feature").into());
    }
    let affine = |(m, s): (&f64, &f64)| Affine {
        offset: (*m + 0.0).to_bits(),
        step: (s.abs() * input).to_bits(),
    };
    let inputs: Vec<Affine> = float.mean.iter().zip(&float.scale).map(affine).collect();
    let negative: Vec<bool> = float.scale.iter().map(|s| *s < 0.0).collect();
    let (mut layers, mut tables): (Vec<Layer>, Vec<Table>) = (Vec::new(), Vec::new());
    let (mut places, last) = (0u8, float.layers.len() - 1);
    for (i, mut l) in float.layers.into_iter().enumerate() {
        if i == 0 {
            turn(&mut l.mat, &mut x, &negative);
        }
        let y = product(&l.mat, &x);
        let least = DIVISOR_MIN * input * largest(&l.mat.data) / 127.0;
        if !largest(&y).is_finite() {
            return Err(crate::CompileError::NotFinite("an activation").into());
        }
        if i == last {
            let p = score_places(largest(&y), least);
            places = p as u8;
            let linear = rounded(&l.mat, &x, input, libm::ldexp(1.0, -p), LOGIT_MAX)?;
            let table = None;
            layers.push(Layer { linear, table });
            break;
        }
        let before = step(largest(&y)).max(least);
        let linear = rounded(&l.mat, &x, input, before, ACT_MAX)?;
        (x, input) = (y, before);
        let mut table = None;
        if let Some(f) = l.function {
            x.iter_mut()
                .for_each(|v| *v = f.apply(f64::from(*v)) as f32);
            input = step(largest(&x));
            let made = f.table(before, input);
            let made = made.ok_or(crate::CompileError::NotFinite("a table"))?;
            let known = tables.iter().position(|t| *t == made);
            table = Some(known.unwrap_or(tables.len()) as u8);
            if known.is_none() {
                tables.push(made);
            }
        }
        layers.push(Layer { linear, table });
    }
    let classes = match float.config_task {
        Task::Binary => 2,
        Task::Classes => layers.last().map_or(0, |l| l.linear.rows),
        Task::Regression => 0,
    };
    let classes_named = Config::named(float.classes);
    let schema = classes_named.schema(float.config_task, float.features, classes, places)?;
    Ok(Mlp::new(schema, inputs, tables, layers)?)
}

/// Binary places of scores up to `range`, in steps of at least `least`.
fn score_places(range: f64, least: f64) -> i32 {
    let fits = |p: &i32| {
        let unit = libm::ldexp(1.0, -p);
        unit >= least && range * SCORE_HEADROOM / unit < f64::from(LOGIT_MAX)
    };
    (0..=40).rev().find(fits).unwrap_or(0)
}

/// A negative scale turns the feature's sign; the weights take it, for steps are above zero.
fn turn(m: &mut Mat, x: &mut [f32], negative: &[bool]) {
    for row in m
        .data
        .chunks_exact_mut(negative.len())
        .chain(x.chunks_exact_mut(negative.len()))
    {
        for (v, n) in row.iter_mut().zip(negative) {
            if *n {
                *v = -*v;
            }
        }
    }
}

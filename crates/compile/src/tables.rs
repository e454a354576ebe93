//! Position and function tables, from `libm` in a fixed order.

use nesa_checkpoint::{Activation, Config};
use nesa_model::spec::{ROPE_ONE, Shape};
use nesa_model::{Rope, Table};

use crate::float;

/// Sines and cosines for every position of `shape`.
pub(crate) fn rope(c: &Config, shape: &Shape) -> Rope {
    let half = shape.head_dim / 2;
    let entry = |f: fn(f64) -> f64| {
        (0..shape.context * half)
            .map(|i| libm::round(f(float::angle(c, i / half, i % half)) * f64::from(ROPE_ONE)))
            .map(|v| v as i16)
            .collect()
    };
    Rope {
        half,
        cos: entry(libm::cos),
        sin: entry(libm::sin),
    }
}

/// The activation function with inputs and outputs in steps of `2^-places`.
pub(crate) fn activation(function: Activation, places: u32) -> Option<Table> {
    let unit = libm::ldexp(1.0, -(places as i32));
    let value = |x: i32| {
        let y = float::activation(function, f64::from(x) * unit) / unit;
        libm::round(y).clamp(-32767.0, 32767.0) as i16
    };
    Table::new((-32_768..32_768).map(value).collect())
}

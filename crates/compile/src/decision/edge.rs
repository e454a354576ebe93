//! The client's edge: a row of doubles becomes the integers that a model takes.

use nesa_decision::{DecisionError, Model};

use super::{ImportError, Result};

/// The quantised row of `values` (features); a NaN is a missing value.
///
/// Trees: ranks, by comparisons alone. A perceptron: `round((x − offset) / step)` in IEEE doubles, half
/// away from zero, clamped to 16 bits; subtraction and division are exact to the last bit everywhere.
///
/// # Errors
/// [`ImportError::Decision`] for another width, [`ImportError::Missing`] where a perceptron gets no number.
pub fn quantise(model: &Model, values: &[f64]) -> Result<Vec<i32>> {
    match model {
        Model::Trees(t) => {
            let bits: Vec<u64> = values.iter().map(|v| v.to_bits()).collect();
            Ok(t.quantise(&bits)?)
        }
        Model::Mlp(m) => {
            check(m.schema().features(), values)?;
            let one = |(x, a): (&f64, &nesa_decision::mlp::Affine)| {
                let steps = (x - f64::from_bits(a.offset)) / f64::from_bits(a.step);
                libm::round(steps).clamp(-32_767.0, 32_767.0) as i32
            };
            Ok(values.iter().zip(m.inputs()).map(one).collect())
        }
    }
}

/// Whether `row` has a finite value for every feature.
pub(super) fn check(features: &[String], row: &[f64]) -> Result<()> {
    if row.len() != features.len() {
        let (expected, actual) = (features.len(), row.len());
        return Err(DecisionError::Width { expected, actual }.into());
    }
    match row.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => Err(ImportError::Missing {
            feature: features[i].clone(),
        }),
    }
}

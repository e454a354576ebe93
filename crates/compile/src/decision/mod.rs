//! Import decision models: XGBoost JSON, LightGBM text, perceptrons from ONNX or safetensors.
//!
//! Trees become integers without loss of a comparison ([`xgboost`], [`lightgbm`]); perceptrons are
//! calibrated on rows ([`perceptron`]) and rounded as transformer layers are. [`edge`] turns a client's
//! row of doubles into the integers that a model takes. Rules: `docs/spec/decision.md`.

mod config;
pub mod edge;
mod grow;
mod lightgbm;
mod onnx;
mod perceptron;
mod protobuf;
mod safetensors;
mod xgboost;

#[cfg(test)]
mod tests;

use nesa_decision::{DecisionError, Model};

use crate::CompileError;

/// Bytes of a model file.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// The result of an importer.
pub type Result<T, E = ImportError> = std::result::Result<T, E>;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// XGBoost's `save_model("….json")`.
    XgBoost,
    /// LightGBM's `save_model("….txt")`.
    LightGbm,
    /// An ONNX perceptron.
    Onnx,
    /// Safetensors weights with a configuration.
    Safetensors,
}

/// What to import.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// The JSON configuration; safetensors need one.
    pub config: Option<&'a str>,
    /// Rows of features that a perceptron is calibrated on; trees need none.
    pub rows: &'a [Vec<f64>],
}

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The bytes do not follow the format.
    #[error("{format:?}: {what}; save the model again with its library")]
    Malformed {
        /// The format.
        format: Format,
        /// What is wrong.
        what: String,
    },
    /// The file asks for something that is not supported.
    #[error("{format:?}: {what}")]
    Unsupported {
        /// The format.
        format: Format,
        /// What it is, and what to use instead.
        what: String,
    },
    /// The configuration beside a perceptron is wrong.
    #[error("configuration: {0}")]
    Config(String),
    /// No rows to calibrate on.
    #[error(
        "a perceptron is calibrated on rows of its training data; give them with --rows FILE.csv"
    )]
    NoRows,
    /// A missing or infinite value where a number is needed.
    #[error("feature {feature:?} has no finite value; fill in missing values before a perceptron")]
    Missing {
        /// The feature.
        feature: String,
    },
    /// Rounding failed.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The integer model or a row breaks a rule.
    #[error(transparent)]
    Decision(#[from] DecisionError),
}

impl Format {
    /// What `bytes` look like.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
        if bytes.starts_with(b"tree\n") || bytes.starts_with(b"tree\r\n") {
            Self::LightGbm
        } else if first == Some(&b'{') {
            Self::XgBoost
        } else if bytes.get(8) == Some(&b'{') {
            Self::Safetensors
        } else {
            Self::Onnx
        }
    }

    pub(crate) fn malformed(self, what: impl Into<String>) -> ImportError {
        ImportError::Malformed {
            format: self,
            what: what.into(),
        }
    }

    pub(crate) fn unsupported(self, what: impl Into<String>) -> ImportError {
        ImportError::Unsupported {
            format: self,
            what: what.into(),
        }
    }
}

/// The integer model of a file.
///
/// # Errors
/// [`ImportError`].
pub fn import(format: Format, source: &Source<'_>) -> Result<Model> {
    let config = config::Config::parse(source.config)?;
    match format {
        Format::XgBoost => Ok(Model::Trees(xgboost::import(source.bytes, &config)?)),
        Format::LightGbm => Ok(Model::Trees(lightgbm::import(source.bytes, &config)?)),
        Format::Onnx | Format::Safetensors => {
            let float = match format {
                Format::Onnx => onnx::read(source.bytes, &config)?,
                _ => safetensors::read(source.bytes, &config)?,
            };
            Ok(Model::Mlp(perceptron::round(float, source.rows)?))
        }
    }
}

//! What can go wrong while a checkpoint is read, and what to do about it.

use std::path::Path;

/// The result of everything in this crate that reads outside data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A reason why a checkpoint, tokenizer or template was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a read.
    #[error("{file}: {source}; check that the file exists and can be read")]
    Io {
        /// The file that was being read.
        file: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The bytes do not follow the format.
    #[error("{file}: {what}; the file is damaged or incomplete, fetch it again")]
    Malformed {
        /// The offending file.
        file: String,
        /// What was wrong in it.
        what: String,
    },
    /// A count or size exceeds what this program accepts.
    #[error("{file}: {what} is {actual}, at most {limit} is accepted; use a smaller model file")]
    TooLarge {
        /// The offending file.
        file: String,
        /// The counted thing.
        what: String,
        /// Its value in the file.
        actual: u64,
        /// The accepted maximum.
        limit: u64,
    },
    /// The model family is not one that can be compiled.
    #[error(
        "{file}: unknown architecture {found:?}; known are llama, qwen2, gpt2 and bert: \
         convert the model to one of these"
    )]
    UnknownArchitecture {
        /// The offending file.
        file: String,
        /// The name found there.
        found: String,
    },
    /// The file is well formed, but asks for something that is not supported.
    #[error("{file}: {what}")]
    Unsupported {
        /// The offending file.
        file: String,
        /// What is not supported and what to use instead.
        what: String,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{file}: tensor {tensor} is missing; the checkpoint is incomplete, fetch it again")]
    MissingTensor {
        /// The checkpoint.
        file: String,
        /// The name that was looked for.
        tensor: String,
    },
    /// A tensor has another shape than the configuration implies.
    #[error(
        "{file}: tensor {tensor} has shape {actual:?}, the configuration implies {expected:?}; \
         weights and configuration do not belong together"
    )]
    Shape {
        /// The checkpoint.
        file: String,
        /// The tensor's name in the file.
        tensor: String,
        /// (rows, columns) from the configuration.
        expected: Vec<u64>,
        /// The shape in the file.
        actual: Vec<u64>,
    },
    /// The tokenizer cannot be built or applied.
    #[error("tokenizer: {0}; use the tokenizer.json that belongs to the model")]
    Tokenizer(String),
    /// The chat template cannot be parsed or rendered.
    #[error("chat template: {0}; fix the template or use the model without one")]
    Template(String),
}

impl Error {
    pub(crate) fn malformed(file: &str, what: impl Into<String>) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            what: what.into(),
        }
    }

    pub(crate) fn unsupported(file: &str, what: impl Into<String>) -> Self {
        Self::Unsupported {
            file: file.to_owned(),
            what: what.into(),
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            file: path.display().to_string(),
            source,
        }
    }

    /// `Ok` when `actual` does not exceed `limit`.
    pub(crate) fn limit(file: &str, what: &str, actual: u64, limit: u64) -> Result<()> {
        if actual <= limit {
            return Ok(());
        }
        Err(Self::TooLarge {
            file: file.to_owned(),
            what: what.to_owned(),
            actual,
            limit,
        })
    }
}

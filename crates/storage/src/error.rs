//! Why a model could not be kept or found, and what to do about it.

use std::path::PathBuf;

use nesa_codec::Digest;

/// The result of everything in this crate outside [`crate::pull`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model could not be kept or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] nesa_shards::Error),
    /// The source checkpoint was refused.
    #[error(transparent)]
    Checkpoint(#[from] nesa_checkpoint::Error),
    /// The checkpoint cannot be compiled.
    #[error(transparent)]
    Compile(#[from] nesa_compile::CompileError),
    /// A stored part is not what the manifest says.
    #[error(transparent)]
    Model(#[from] nesa_model::ModelError),
    /// No model of this name.
    #[error("no model is called {name:?}; {hint}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// Near names, or how to get one.
        hint: String,
    },
    /// Several models' roots start with what was asked for.
    #[error("{prefix} is the start of several roots ({names}); give more digits or a name")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The models' names.
        names: String,
    },
    /// A name that cannot be a folder's.
    #[error(
        "{name:?} cannot be a model's name; use 1 to 64 lower-case letters, digits, '-', '_' and \
         '.', starting with a letter or digit"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// A model of this name exists already.
    #[error("a model called {name} exists; choose another name or run `nesa model rm {name}`")]
    Exists {
        /// The name.
        name: String,
    },
    /// No decision model of this name.
    #[error("no decision model is called {name:?}; {hint}")]
    UnknownDecision {
        /// What was asked for.
        name: String,
        /// A near name, or how to get one.
        hint: String,
    },
    /// A decision model of this name exists already.
    #[error("{path} exists; choose another name or remove the folder")]
    ExistsDecision {
        /// Its folder.
        path: PathBuf,
    },
    /// A file of a stored model is missing or wrong.
    #[error("{path}: {what}; run `nesa model rm {name}`, then pull or import the model again")]
    Damaged {
        /// The model.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The float checkpoint that a model was compiled from is gone or has changed.
    #[error(
        "{path}: the float checkpoint of {name} {what}; pull or import the model again (`nesa \
         model rm {name}` first)"
    )]
    NoSource {
        /// The model.
        name: String,
        /// Where it was.
        path: PathBuf,
        /// What happened to it.
        what: String,
    },
    /// No sealed blocks of this root.
    #[error("no sealed model has root {root}; run `nesa model seal` on the original")]
    UnknownSealed {
        /// The root asked for.
        root: Digest,
    },
}

//! `nesa model …`.

mod compare;
mod eval;
mod import_decision;
pub(crate) mod install;
mod key;
mod list;
mod push;
mod seal;
mod show;

use crate::{Context, Failure};

/// Get, list, inspect, measure and remove models.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Model {
    /// Download a model by name and compile it
    Pull(install::Pull),
    /// Compile a Hugging Face folder or a GGUF file
    Import(install::Import),
    /// Import boosted trees or a small perceptron
    ImportDecision(import_decision::ImportDecision),
    /// Rewrite a model's blocks under the deployment key
    Seal(seal::Seal),
    /// Register a model on a ledger, with its price
    Push(push::Push),
    /// List the models that are here
    Ls,
    /// Show a model's shape, root, sizes and bounds
    Show(show::Show),
    /// Make a model's key for verifiers that do not hold the model
    Key(key::Key),
    /// Remove a model and its sealed versions
    Rm(list::Rm),
    /// Measure a model against its float original on a text
    Eval(eval::Eval),
    /// Say where two models differ
    Compare(compare::Compare),
}

impl Model {
    /// Runs the command.
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Pull(p) => install::pull(&p, context),
            Self::Import(i) => install::import(&i, context),
            Self::ImportDecision(i) => import_decision::run(&i, context),
            Self::Seal(s) => seal::run(&s, context),
            Self::Push(p) => push::run(&p, context),
            Self::Ls => list::ls(context),
            Self::Show(s) => show::run(&s, context),
            Self::Key(k) => key::run(&k, context),
            Self::Rm(r) => list::rm(&r, context),
            Self::Eval(e) => eval::run(&e, context),
            Self::Compare(c) => compare::run(&c, context),
        }
    }
}

//! Attack every privacy tier with exactly what each party received, and measure what it leaks.
//!
//! A [`View`] is what a party received; a [`Base`] is the public model, where the scenario grants it.
//! Every attack turns them into guesses of the tokens, and [`Score`] counts these against what the same
//! guesses give when shuffled. Nothing here is random but by seed.

pub mod active;
pub mod base;
pub mod bigram;
pub mod chosen;
pub mod curve;
pub mod distinguisher;
pub mod fast;
pub mod gram;
pub mod holders;
pub mod lab;
pub mod map;
pub mod pairs;
pub mod rank;
pub mod record;
pub mod report;
pub mod run;
pub mod score;
pub mod text;
pub mod traffic;
pub mod view;
pub mod vocabulary;
pub mod weights;

pub use base::Base;
pub use map::RowMap;
pub use run::{Attack, Means, Outcome, run};
pub use score::Score;
pub use view::{Stage, View};

/// Why an attack could not run.
#[derive(Debug, thiserror::Error)]
pub enum AttackError {
    /// The model refuses tokens, positions or sizes.
    #[error("the attacker's model: {0}")]
    Model(#[from] nesa_model::ModelError),
    /// A record that does not decode.
    #[error("the record: {0}; record again with `nesa up --record DIR`")]
    Record(#[from] nesa_codec::DecodeError),
    /// Rows that cannot be hidden or shared.
    #[error("the victim: {0}")]
    Privacy(#[from] nesa_privacy::PrivacyError),
    /// No attack has this name.
    #[error(
        "attacks that name tokens are A1, A2, A4, A5, A6 and A7; `LEAKAGE.md` says what each does"
    )]
    Unknown,
    /// Never-published weights leave this attack nothing to compare with.
    #[error("this attack compares with the base model; use --weights public, or A1, A2, A5, A7")]
    NeedsBase,
    /// Something that the attacker must bring is missing or does not fit.
    #[error("this attack needs {0} that fits the record")]
    Needs(&'static str),
    /// The attack does not know rows of this place in the model.
    #[error("this attack needs rows of another place in the model, or more of its blocks")]
    Stage,
}

#[cfg(test)]
mod tests;

//! Attack every privacy tier with exactly what each party received, and measure what it leaks.
//!
//! A [`View`] is what a party received; a [`Base`] is the public model, where the scenario grants it.
//! Every attack turns them into guesses of the tokens, and [`Score`] counts these against what the same
//! guesses give when shuffled. Nothing here is random but by seed.

pub mod base;
pub mod bigram;
pub mod distinguisher;
pub mod gram;
pub mod map;
pub mod pairs;
pub mod rank;
pub mod record;
pub mod score;
pub mod text;
pub mod traffic;
pub mod view;
pub mod vocabulary;
pub mod weights;

pub use base::Base;
pub use map::RowMap;
pub use score::Score;
pub use view::{Stage, View};

/// Why an attack could not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttackError {
    /// The model refuses tokens, positions or sizes.
    #[error("the attacker's model: {0}")]
    Model(#[from] nesa_model::ModelError),
    /// A record that does not decode.
    #[error("the record: {0}; record again with `nesa up --record DIR`")]
    Record(#[from] nesa_codec::DecodeError),
    /// The attack does not know rows of this place in the model.
    #[error("this attack needs rows of another place in the model, or more of its blocks")]
    Stage,
}

#[cfg(test)]
mod tests;

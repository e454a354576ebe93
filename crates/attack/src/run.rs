//! One attack on what a node recorded: the entry for `nesa attack`.

use std::collections::HashMap;
use std::str::FromStr;

use nesa_model::Block;

use crate::lab::Weights;
use crate::view::{Stage, View, symbols};
use crate::vocabulary::{Feature, Search};
use crate::weights::{Matching, row_map};
use crate::{AttackError, Base, bigram, gram, pairs, rank, vocabulary};

/// Types that the matching of bigrams aligns.
const TOP: usize = 150;
/// Candidates per position behind blocks.
const TRIES: usize = 512;

/// An attack that names tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Rank frequency.
    A1,
    /// Bigram graph matching.
    A2,
    /// Weight matching.
    A4,
    /// Known plaintext.
    A5,
    /// Vocabulary matching.
    A6,
    /// Gram and anchor matching.
    A7,
}

impl FromStr for Attack {
    type Err = AttackError;

    fn from_str(name: &str) -> Result<Self, AttackError> {
        match name.to_ascii_uppercase().as_str() {
            "A1" => Ok(Self::A1),
            "A2" => Ok(Self::A2),
            "A4" => Ok(Self::A4),
            "A5" => Ok(Self::A5),
            "A6" => Ok(Self::A6),
            "A7" => Ok(Self::A7),
            _ => Err(AttackError::Unknown),
        }
    }
}

/// What the attacker holds.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    /// The public model. With never-published weights only its sizes may be used.
    pub base: &'a Base,
    /// Whether weights and vocabulary are public.
    pub weights: Weights,
    /// The blocks that the node held, from the model's first on.
    pub held: &'a [Block],
    /// Text of the language, as tokens.
    pub corpus: &'a [u32],
    /// Rows of which the attacker knows the token: (index over all rows of the view, token).
    pub known: &'a [(usize, u32)],
}

/// What an attack says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// One guess per row of the view, in order.
    pub named: Vec<Option<u32>>,
    /// Rows that the guess explains exactly: the attacker knows that these are right. `None` where
    /// the attack has nothing to compare with.
    pub certain: Option<usize>,
}

/// Runs `attack` on `view` with `means`.
///
/// # Errors
/// [`AttackError::NeedsBase`] for attacks that never-published weights do not allow,
/// [`AttackError::Needs`] without the corpus or the pairs that the attack uses, [`AttackError::Stage`]
/// for rows that it cannot use, and what the model refuses.
pub fn run(attack: Attack, view: &View, means: &Means<'_>) -> Result<Outcome, AttackError> {
    let public = means.weights == Weights::Public;
    match attack {
        Attack::A1 | Attack::A2 if means.corpus.is_empty() => Err(AttackError::Needs("--corpus")),
        Attack::A1 => Ok(guessed(rank::guess(&symbols(view), means.corpus))),
        Attack::A2 => Ok(guessed(bigram::guess(&symbols(view), means.corpus, TOP))),
        Attack::A5 | Attack::A7 if means.known.is_empty() => Err(AttackError::Needs("--known")),
        Attack::A4 | Attack::A6 if !public => Err(AttackError::NeedsBase),
        Attack::A4 => {
            let map = row_map(
                &means.base.shape,
                means.held,
                &means.base.blocks,
                Matching::Sorted,
            );
            search(&pairs::undone(view, &map), means.base, Feature::Plain)
        }
        Attack::A5 | Attack::A7 => from_pairs(attack, view, means, public),
        Attack::A6 => search(view, means.base, Feature::SortedMagnitudes),
    }
}

fn guessed(named: Vec<Option<u32>>) -> Outcome {
    Outcome {
        named,
        certain: None,
    }
}

fn from_pairs(
    attack: Attack,
    view: &View,
    means: &Means<'_>,
    public: bool,
) -> Result<Outcome, AttackError> {
    let mut truth = vec![0; view.count()];
    let mut known = Vec::new();
    for (at, token) in means.known {
        *truth.get_mut(*at).ok_or(AttackError::Needs("--known"))? = *token;
        known.push(*at);
    }
    if !public {
        return Ok(guessed(pairs::without_base(view, &truth, &known)));
    }
    if attack == Attack::A7 {
        let named = gram::with_base(means.base, view, &truth, &known)?;
        return Ok(guessed(named));
    }
    let map = pairs::fitted(means.base, view, &truth, &known)?;
    search(&pairs::undone(view, &map), means.base, Feature::Plain)
}

/// A6 with the count of rows that are explained exactly.
fn search(view: &View, base: &Base, feature: Feature) -> Result<Outcome, AttackError> {
    if matches!(view.stage, Stage::Boundary(n) if n > 0) {
        let search = Search {
            feature,
            tries: TRIES,
        };
        return vocabulary::deeper(base, view, search).map(guessed);
    }
    let named = vocabulary::first(base, view, feature)?;
    let mut certain = 0;
    let mut seen: HashMap<(u32, usize), Vec<i32>> = HashMap::new();
    for (guess, (_, t, row)) in named.iter().zip(view.rows()) {
        let Some(token) = *guess else { continue };
        let mut row = row.to_vec();
        feature.apply(&mut row);
        let expected = match seen.get(&(token, t)) {
            Some(known) => known,
            None => {
                let mut expected = base.rows(view.stage, &[token], t)?;
                feature.apply(&mut expected);
                seen.entry((token, t)).or_insert(expected)
            }
        };
        certain += usize::from(*expected == row);
    }
    Ok(Outcome {
        named,
        certain: Some(certain),
    })
}

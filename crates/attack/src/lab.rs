//! Every attack on every tier, for one model.

use nesa_model::Block;
use nesa_privacy::shares::Scheme;
use nesa_privacy::{DeploymentKey, RowKey, seal_block};

use crate::holders::Holders;
use crate::text::Language;
use crate::vocabulary::{Feature, Search};
use crate::weights::{Matching, row_map};
use crate::{
    AttackError, Base, RowMap, Score, Stage, View, bigram, gram, pairs, rank, view::symbols,
    vocabulary,
};

mod relative;
mod table;

use table::{Table, Undone};

/// Types that the matching of bigrams aligns.
const TOP: usize = 120;
/// Candidates per position where rows are compared sorted, which orders them badly.
const FEW: usize = 256;
/// Pairs that the attacks with known plaintext get.
const KNOWN: usize = 8;

/// How a request is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Rows as they are.
    Open,
    /// Rows and weights under a deployment key.
    Ee,
    /// Shares of the scheme (t, n).
    Hss(usize, usize),
}

/// Whether the attacker has the base model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weights {
    /// Base weights and vocabulary are public.
    Public,
    /// They were never published; the attacker knows the language alone.
    NeverPublished,
}

/// What a measurement has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The tier does not resist: at least 95 % are recovered.
    Broken,
    /// No more than chance.
    Chance,
    /// Nothing is claimed.
    Reported,
}

/// One attack on one view.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The tier.
    pub tier: Tier,
    /// What the attacker received.
    pub party: String,
    /// Code of the attack, "A1" to "A11".
    pub attack: &'static str,
    /// How it was carried out.
    pub how: String,
    /// What the attacker holds beside its view.
    pub weights: Weights,
    /// What it recovered.
    pub score: Score,
    /// The rate of the same attack where it must succeed, in [0, 1].
    pub control: Option<f64>,
    /// What the measurement has to show.
    pub expect: Expect,
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => write!(f, "open"),
            Self::Ee => write!(f, "ee"),
            Self::Hss(t, n) => write!(f, "hss ({t}, {n})"),
        }
    }
}

/// A model with a key, and texts that somebody asks.
#[derive(Debug)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// The public model.
    pub base: Base,
    /// The same blocks under the key.
    pub sealed: Vec<Block>,
    /// The key's map of rows.
    pub rows: RowKey,
    /// What is asked, one sequence per session.
    pub texts: Vec<Vec<u32>>,
    /// Another text of the same language, which the attacker has.
    pub corpus: Vec<u32>,
}

impl Subject {
    /// Seals the blocks of `base` under a key made of `seed`.
    ///
    /// # Errors
    /// [`AttackError::Privacy`] for blocks that cannot be sealed.
    pub fn new(
        name: &str,
        base: Base,
        texts: Vec<Vec<u32>>,
        corpus: Vec<u32>,
        seed: u8,
    ) -> Result<Self, AttackError> {
        let key = DeploymentKey::generate([seed; 32]).for_model(&nesa_codec::Digest([seed; 32]));
        let seal = |(i, b)| seal_block(&base.shape, &base.common, &key, i, b);
        let sealed = (0u32..).zip(&base.blocks).map(seal);
        Ok(Self {
            name: name.to_owned(),
            sealed: sealed.collect::<Result<_, _>>()?,
            rows: RowKey::new(&key, &base.shape),
            base,
            texts,
            corpus,
        })
    }

    /// The tokens of all texts, one after the other.
    #[must_use]
    pub fn truth(&self) -> Vec<u32> {
        self.texts.concat()
    }

    /// What a node receives under `ee` where it would receive `open`.
    ///
    /// # Errors
    /// [`AttackError::Privacy`] for rows of another width.
    pub fn hidden(&self, open: &View) -> Result<View, AttackError> {
        let mut view = open.clone();
        for session in &mut view.sessions {
            self.rows.hide_in_place(session)?;
        }
        Ok(view)
    }

    /// The attacks on `open` and `ee` where the base model is public.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn public(&self, search: usize) -> Result<Vec<Row>, AttackError> {
        let open = self.base.view(Stage::Boundary(0), &self.texts)?;
        let ee = self.hidden(&open)?;
        let mut table = Table::new(self, Weights::Public);
        let broken = Expect::Broken;
        let named = vocabulary::first(&self.base, &open, Feature::Plain)?;
        table.add(Tier::Open, "A6", "vocabulary matching", &named, broken);
        let mut undone = Undone::new(&self.base, &ee);
        for how in Matching::ALL {
            let control = self.weight_control(how);
            let map = row_map(&self.base.shape, &self.sealed, &self.base.blocks, how);
            let named = undone.named(&map)?;
            let expect = match how {
                Matching::Plain => Expect::Reported,
                _ => broken,
            };
            table.add(Tier::Ee, "A4", how.name(), &named, expect);
            table.control(control);
        }
        table.heads()?;
        let related = relative::relative(&self.base, 41);
        for how in [Matching::Sorted, Matching::Gains, Matching::Invariants] {
            let map = row_map(&self.base.shape, &self.sealed, &related.blocks, how);
            let named = vocabulary::first(&related, &pairs::undone(&ee, &map), Feature::Plain)?;
            let how = format!("{}, from a related base", how.name());
            table.add(Tier::Ee, "A4", &how, &named, Expect::Reported);
        }
        for known in [1, 2, KNOWN] {
            let known: Vec<usize> = self.known(known);
            let map = pairs::fitted(&self.base, &ee, &self.truth(), &known)?;
            let named = undone.named(&map)?;
            let how = match known.len() {
                1 => "Procrustes, 1 pair".to_owned(),
                n => format!("Procrustes, {n} pairs"),
            };
            let expect = if known.len() < KNOWN {
                Expect::Reported
            } else {
                broken
            };
            table.add_unknown(Tier::Ee, "A5", &how, &named, &known, expect);
        }
        let named = vocabulary::first(&self.base, &ee, Feature::Plain)?;
        table.add(Tier::Ee, "A6", "rows as they are", &named, Expect::Reported);
        let named = vocabulary::first(&self.base, &ee, Feature::SortedMagnitudes)?;
        table.add(Tier::Ee, "A6", "sorted rows", &named, broken);
        let known = self.known(2);
        let named = gram::with_base(&self.base, &ee, &self.truth(), &known)?;
        let how = "lengths and 2 anchors";
        table.add_unknown(Tier::Ee, "A7", how, &named, &known, broken);
        let mut rows = table.rows;
        if search > 0 && self.base.shape.causal {
            rows.extend(self.deep(search)?);
        }
        Ok(rows)
    }

    /// A6 behind one and two blocks.
    fn deep(&self, tries: usize) -> Result<Vec<Row>, AttackError> {
        let mut table = Table::new(self, Weights::Public);
        for depth in [1, 2] {
            let open = self.base.view(Stage::Boundary(depth), &self.texts)?;
            let ee = self.hidden(&open)?;
            let map = row_map(
                &self.base.shape,
                &self.sealed,
                &self.base.blocks,
                Matching::Sorted,
            );
            let undone = pairs::undone(&ee, &map);
            table.party = match depth {
                1 => "a node behind 1 block".to_owned(),
                n => format!("a node behind {n} blocks"),
            };
            let sorted = Feature::SortedMagnitudes;
            let (plain, few) = (Feature::Plain, tries.min(FEW));
            for (tier, how, view, feature, tries, expect) in [
                (Tier::Open, "", &open, plain, tries, Expect::Broken),
                (
                    Tier::Ee,
                    "after A4, ",
                    &undone,
                    plain,
                    tries,
                    Expect::Broken,
                ),
                (
                    Tier::Ee,
                    "sorted rows, ",
                    &ee,
                    sorted,
                    few,
                    Expect::Reported,
                ),
            ] {
                let named = vocabulary::deeper(&self.base, view, Search { feature, tries })?;
                let how = format!("{how}candidates run forward");
                table.add(tier, "A6", &how, &named, expect);
            }
        }
        Ok(table.rows)
    }

    /// Every attack on every view of the scheme's holders: one alone, coalitions up to `t`, and the
    /// coalition of `t + 1`, which must read everything.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn shared(&self, scheme: Scheme, seed: u64) -> Result<Vec<Row>, AttackError> {
        let tier = Tier::Hss(scheme.t(), scheme.n());
        let plain = self.base.view(Stage::FirstProduct, &self.texts)?;
        let holders = Holders::deal(&plain, scheme, seed)?;
        let again = Holders::deal(&plain, scheme, seed ^ 0x5eed)?;
        let all: Vec<usize> = (0..=scheme.t()).collect();
        let (opened, repeated) = (holders.together(&all), again.together(&all));
        let controls = self.each(&opened, &repeated)?;
        let mut parties = vec![
            (
                "one holder, sent seeds".to_owned(),
                holders.view(0),
                again.view(0),
            ),
            (
                "one holder, sent values".to_owned(),
                holders.view(scheme.n() - 1),
                again.view(scheme.n() - 1),
            ),
        ];
        if scheme.t() > 1 {
            for who in holders.coalitions(scheme.t()) {
                let name = format!("holders {who:?} together");
                parties.push((name, holders.together(&who), again.together(&who)));
            }
        }
        let mut table = Table::new(self, Weights::Public);
        for (name, view, second) in &parties {
            table.party.clone_from(name);
            let guesses = self.each(view, second)?;
            for ((attack, how, weights, named), (_, _, _, control)) in guesses.iter().zip(&controls)
            {
                table.weights = *weights;
                let known = match *how {
                    "Procrustes, then A6" | "lengths and anchors" => self.known(KNOWN),
                    _ => Vec::new(),
                };
                table.add_unknown(tier, attack, how, named, &known, Expect::Chance);
                let control = Score::of(control, &self.truth()).rate();
                table.control(if matches!(*attack, "A1" | "A2") {
                    None // their controls are texts of their own
                } else {
                    Some(control)
                });
            }
        }
        table.weights = Weights::Public;
        table.party = format!("{} holders together", scheme.t() + 1);
        let named = vocabulary::first(&self.base, &opened, Feature::Plain)?;
        table.add(
            tier,
            "A10",
            "reconstruction, then A6",
            &named,
            Expect::Broken,
        );
        Ok(table.rows)
    }

    /// All attacks that need nothing but a view of the first product, its repetition and the base.
    fn each(&self, view: &View, again: &View) -> Result<Vec<Guesses>, AttackError> {
        let truth = self.truth();
        let symbols = symbols(view);
        let known = self.known(KNOWN);
        let map = row_map(
            &self.base.shape,
            &self.base.blocks,
            &self.base.blocks,
            Matching::Sorted,
        );
        let plain = vocabulary::first(&self.base, view, Feature::Plain)?;
        let sorted = vocabulary::first(&self.base, view, Feature::SortedMagnitudes)?;
        let matched = if map == RowMap::identity(view.dim) {
            plain.clone()
        } else {
            Undone::new(&self.base, view).named(&map)?
        };
        let (base, none) = (Weights::Public, Weights::NeverPublished);
        let counted = rank::guess(&symbols, &self.corpus);
        let aligned = bigram::guess(&symbols, &self.corpus, TOP);
        let solved = pairs::with_base(&self.base, view, &truth, &known)?;
        let near = pairs::nearest_known(view, &truth, again);
        let long = gram::with_base(&self.base, view, &truth, &known)?;
        let twice = gram::linked(view, &truth, again);
        Ok(vec![
            ("A1", "rank frequency", none, counted),
            ("A2", "bigram matching", none, aligned),
            ("A4", "weights, then A6", base, matched),
            ("A5", "Procrustes, then A6", base, solved),
            ("A5", "a known call, nearest rows", none, near),
            ("A6", "rows as they are", base, plain),
            ("A6", "sorted rows", base, sorted),
            ("A7", "lengths and anchors", base, long),
            ("A7", "the same call twice, by angles", none, twice),
        ])
    }

    /// Indices of `n` rows whose tokens the attacker knows, spread over all.
    fn known(&self, n: usize) -> Vec<usize> {
        let all = self.truth().len();
        let n = n.min(all);
        (0..n).map(|i| i * all / n).collect()
    }

    /// Share of channels that `how` finds where it must: blocks against themselves.
    fn weight_control(&self, how: Matching) -> Option<f64> {
        let base = &self.base.blocks;
        let found = row_map(&self.base.shape, base, base, how);
        let right = found.agreement(&RowMap::identity(self.base.shape.dim));
        Some(right as f64 / self.base.shape.dim as f64)
    }
}

/// Code, way, least knowledge and guesses of an attack.
type Guesses = (&'static str, &'static str, Weights, Vec<Option<u32>>);

/// Rates of A1 and A2 on texts that they must read: eight symbols, each twice as frequent as the next,
/// and a small language with much text.
#[must_use]
pub fn frequency_controls() -> (f64, f64) {
    let geometric = |seed| -> Vec<u32> {
        let mut noise = nesa_model::testing::Noise(seed);
        let draw = |_| noise.bits().trailing_ones().min(7);
        (0..20_000).map(draw).collect()
    };
    let text = geometric(1);
    let coded: Vec<u32> = text.iter().map(|t| t ^ 5).collect();
    let first = Score::of(&rank::guess(&coded, &geometric(2)), &text).rate();
    let language = Language::new(60, 4);
    let text = language.text(60_000, 1);
    let coded: Vec<u32> = text.iter().map(|t| (t * 7 + 3) % 60).collect();
    let named = bigram::guess(&coded, &language.text(60_000, 2), 60);
    (first, Score::of(&named, &text).rate())
}

//! The attacks against `open` and `ee` on random models.

use nesa_model::testing::{model, shapes};
use nesa_model::{Block, Shape};
use nesa_privacy::{DeploymentKey, RowKey, seal_block};

use nesa_privacy::shares::Scheme;

use crate::holders::Holders;
use crate::lab::{Expect, Subject, Weights};
use crate::record;
use crate::run::{Attack, Means, run};
use crate::text::Language;
use crate::vocabulary::{Feature, Search, deeper, first};
use crate::weights::{Matching, heads, row_map};
use crate::{Base, RowMap, Score, Stage, View, gram, pairs};

struct Victim {
    base: Base,
    rows: RowKey,
    sealed: Vec<Block>,
    texts: Vec<Vec<u32>>,
}

impl Victim {
    fn new(shape: &Shape) -> Self {
        let shape = Shape {
            dim: 48,
            heads: 8,
            head_dim: 6,
            kv_heads: if shape.rotary { 4 } else { 8 },
            ffn: 96,
            vocab: 700,
            ..shape.clone()
        };
        let model = model(&shape, 11);
        let key = DeploymentKey::from_bytes([5; 32]).for_model(&model.manifest.root());
        let seal = |(i, b)| seal_block(&shape, &model.common, &key, i, b).unwrap();
        let sealed = (0u32..).zip(&model.blocks).map(seal).collect();
        let language = Language::new(shape.vocab, 2);
        Self {
            rows: RowKey::new(&key, &shape),
            sealed,
            texts: (0..4).map(|i| language.text(12, i)).collect(),
            base: model.into(),
        }
    }

    fn truth(&self) -> Vec<u32> {
        self.texts.concat()
    }

    fn open(&self, depth: usize) -> View {
        self.base.view(Stage::Boundary(depth), &self.texts).unwrap()
    }

    fn hidden(&self, depth: usize) -> View {
        let mut view = self.open(depth);
        for s in &mut view.sessions {
            self.rows.hide_in_place(s).unwrap();
        }
        view
    }

    fn score(&self, guesses: &[Option<u32>]) -> Score {
        Score::of(guesses, &self.truth())
    }
}

/// The label of `ee` in this test: against public weights nothing is hidden.
#[test]
fn sealed_and_public_weights_give_every_token_away() {
    for shape in shapes() {
        let victim = Victim::new(&shape);
        let truth = RowMap::of_key(&victim.rows).unwrap();
        let view = victim.hidden(0);
        let blind = first(&victim.base, &view, Feature::Plain).unwrap();
        assert!(victim.score(&blind).rate() < 0.2, "the rows are hidden");
        for how in [
            Matching::Sorted,
            Matching::Direction,
            Matching::Gains,
            Matching::Invariants,
        ] {
            let map = row_map(&victim.base.shape, &victim.sealed, &victim.base.blocks, how);
            assert_eq!(map.agreement(&truth), 48, "{how:?}");
            let guesses = first(&victim.base, &pairs::undone(&view, &map), Feature::Plain);
            let score = victim.score(&guesses.unwrap());
            assert!(score.rate() >= 0.95, "{how:?}: {score:?}");
        }
        let base = &victim.base.blocks;
        let plain = row_map(&victim.base.shape, &victim.sealed, base, Matching::Plain);
        assert!(
            plain.agreement(&truth) < 12,
            "sealing moves the rows of a matrix"
        );
        let control = row_map(&victim.base.shape, base, base, Matching::Plain);
        assert_eq!(control, RowMap::identity(48));
    }
}

#[test]
fn heads_are_told_apart_by_invariants() {
    for shape in shapes() {
        let victim = Victim::new(&shape);
        let truth = RowMap::of_key(&victim.rows).unwrap();
        let (sealed, base) = (&victim.sealed[1], &victim.base.blocks[1]);
        let (right, all) = heads(&victim.base.shape, sealed, base, &truth);
        assert_eq!(
            (right, all),
            (victim.base.shape.kv_heads, victim.base.shape.kv_heads)
        );
        let (right, _) = heads(&victim.base.shape, sealed, &victim.base.blocks[0], &truth);
        assert_eq!(right, 0, "another layer's heads are not these");
    }
}

#[test]
fn the_vocabulary_names_hidden_rows_without_the_weights() {
    for shape in shapes() {
        let victim = Victim::new(&shape);
        let plain = first(&victim.base, &victim.open(0), Feature::Plain).unwrap();
        assert_eq!(victim.score(&plain).rate(), 1.0);
        let sorted = first(&victim.base, &victim.hidden(0), Feature::SortedMagnitudes);
        assert!(victim.score(&sorted.unwrap()).rate() >= 0.95);
    }
}

#[test]
fn rows_behind_blocks_give_the_text_away_position_by_position() {
    let victim = Victim::new(&shapes()[0]);
    for depth in 1..=2 {
        for (view, feature) in [
            (victim.open(depth), Feature::Plain),
            (victim.hidden(depth), Feature::SortedMagnitudes),
        ] {
            let search = Search {
                feature,
                tries: 700,
            };
            let guesses = deeper(&victim.base, &view, search).unwrap();
            let score = victim.score(&guesses);
            assert!(score.rate() >= 0.95, "{depth} {feature:?}: {score:?}");
        }
    }
}

#[test]
fn a_few_known_pairs_are_the_key() {
    for shape in shapes() {
        let victim = Victim::new(&shape);
        let (view, truth) = (victim.hidden(0), victim.truth());
        let with = |known: &[usize]| {
            let guesses = pairs::with_base(&victim.base, &view, &truth, known);
            victim.score(&guesses.unwrap()).rate()
        };
        assert!(with(&[0, 13, 30]) >= 0.95);
        let without = pairs::without_base(&view, &truth, &[0, 13, 30]);
        assert!(victim.score(&without).rate() < 0.6);
    }
}

#[test]
fn lengths_and_angles_survive_the_map() {
    for shape in shapes() {
        let victim = Victim::new(&shape);
        let (view, truth) = (victim.hidden(0), victim.truth());
        let guesses = gram::with_base(&victim.base, &view, &truth, &[0]).unwrap();
        assert!(victim.score(&guesses).rate() >= 0.95);
    }
}

fn subject(shape: &Shape) -> Subject {
    let victim = Victim::new(shape);
    let corpus = Language::new(700, 2).text(4000, 99);
    Subject::new("test", victim.base, victim.texts, corpus, 3).unwrap()
}

#[test]
fn t_holders_are_at_chance_and_one_more_reads_everything() {
    for (shape, scheme) in shapes().iter().zip([(1, 2), (2, 3), (1, 3)]) {
        let scheme = Scheme::new(scheme.0, scheme.1).unwrap();
        let rows = subject(shape).shared(scheme, 5).unwrap();
        let tests = rows.len();
        let (chance, broken): (Vec<_>, Vec<_>) =
            rows.iter().partition(|r| r.expect == Expect::Chance);
        assert!(chance.len() >= 18 && broken.len() == 1);
        for row in chance {
            assert!(row.score.is_chance(tests), "{row:?}");
            assert!(row.control.is_none_or(|c| c >= 0.95), "{row:?}");
        }
        assert_eq!(broken[0].attack, "A10");
        assert_eq!(broken[0].score.rate(), 1.0);
    }
}

/// The lab sees what the dealer must never do: masks that come again.
#[test]
fn masks_that_come_again_are_found() {
    let subject = subject(&shapes()[0]);
    let plain = subject.base.view(Stage::FirstProduct, &subject.texts);
    let scheme = Scheme::new(1, 2).unwrap();
    let holders = Holders::deal(&plain.unwrap(), scheme, 5).unwrap();
    let (first, truth) = (holders.view(1), subject.truth());
    let named = gram::linked(&first, &truth, &first);
    assert_eq!(Score::of(&named, &truth).rate(), 1.0);
}

#[test]
fn every_attack_of_the_lab_shows_what_it_must() {
    for shape in shapes() {
        let search = if shape.rotary { 700 } else { 0 };
        let rows = subject(&shape).public(search).unwrap();
        for row in rows.iter().filter(|r| r.expect == Expect::Broken) {
            assert!(row.score.rate() >= 0.95, "{row:?}");
        }
        assert!(
            rows.iter()
                .any(|r| r.attack == "A4" && r.expect == Expect::Broken)
        );
        assert!(
            rows.iter()
                .any(|r| r.attack == "A6" && r.expect == Expect::Broken)
        );
    }
}

/// A record of a node under `ee`, as it lies on disk, gives the text to whoever has the base model.
#[test]
fn a_record_gives_the_text_away() {
    let victim = Victim::new(&shapes()[0]);
    let hidden = victim.hidden(0);
    let mut bytes = Vec::new();
    for session in &hidden.sessions {
        let mut payload = [0u32, session.len() as u32].map(u32::to_le_bytes).concat();
        payload.extend(session.iter().flat_map(|v| v.to_le_bytes()));
        bytes.extend([&(payload.len() as u32).to_le_bytes()[..], &[2, 4], &payload].concat());
    }
    let seen = record::read(&bytes, &|_, _| None).unwrap();
    let view = record::rows_view(&seen, 48);
    assert_eq!(view, hidden);
    let mut means = Means {
        base: &victim.base,
        weights: Weights::Public,
        held: &victim.sealed,
        corpus: &[],
        known: &[(3, victim.truth()[3])],
    };
    for attack in [Attack::A4, Attack::A5, Attack::A6, Attack::A7] {
        let outcome = run(attack, &view, &means).unwrap();
        assert_eq!(victim.score(&outcome.named).rate(), 1.0, "{attack:?}");
        assert!(outcome.certain.is_none_or(|c| c == 48), "{outcome:?}");
    }
    means.weights = Weights::NeverPublished;
    assert!(run(Attack::A4, &view, &means).is_err());
    assert!(run(Attack::A1, &view, &means).is_err(), "no corpus");
    let outcome = run(Attack::A5, &view, &means).unwrap();
    assert!(victim.score(&outcome.named).rate() < 0.5);
}

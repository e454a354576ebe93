//! Rows of the tables, as they are measured.

use super::{Expect, Row, Subject, Tier, Weights};
use crate::vocabulary::Feature;
use crate::weights::heads;
use crate::{AttackError, Base, RowMap, Score, View, pairs, vocabulary};

/// A6 on a view under several guesses of the map, most of which are the same.
pub(super) struct Undone<'a> {
    base: &'a Base,
    view: &'a View,
    done: Vec<(RowMap, Vec<Option<u32>>)>,
}

impl<'a> Undone<'a> {
    pub(super) fn new(base: &'a Base, view: &'a View) -> Self {
        Self {
            base,
            view,
            done: Vec::new(),
        }
    }

    pub(super) fn named(&mut self, map: &RowMap) -> Result<Vec<Option<u32>>, AttackError> {
        if let Some((_, named)) = self.done.iter().find(|d| d.0 == *map) {
            return Ok(named.clone());
        }
        let view = pairs::undone(self.view, map);
        let named = vocabulary::first(self.base, &view, Feature::Plain)?;
        self.done.push((map.clone(), named.clone()));
        Ok(named)
    }
}

pub(super) struct Table<'a> {
    subject: &'a Subject,
    truth: Vec<u32>,
    pub(super) party: String,
    pub(super) weights: Weights,
    pub(super) rows: Vec<Row>,
}

impl<'a> Table<'a> {
    pub(super) fn new(subject: &'a Subject, weights: Weights) -> Self {
        Self {
            truth: subject.truth(),
            subject,
            party: "the first node".to_owned(),
            weights,
            rows: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        tier: Tier,
        attack: &'static str,
        how: &str,
        named: &[Option<u32>],
        expect: Expect,
    ) {
        self.add_unknown(tier, attack, how, named, &[], expect);
    }

    /// Counts all positions but those that were `known` from the start.
    pub(super) fn add_unknown(
        &mut self,
        tier: Tier,
        attack: &'static str,
        how: &str,
        named: &[Option<u32>],
        known: &[usize],
        expect: Expect,
    ) {
        let open = (0..self.truth.len()).filter(|i| !known.contains(i));
        let (named, truth): (Vec<Option<u32>>, Vec<u32>) =
            open.map(|i| (named[i], self.truth[i])).unzip();
        self.rows.push(Row {
            tier,
            party: self.party.clone(),
            attack,
            how: how.to_owned(),
            weights: self.weights,
            score: Score::of(&named, &truth),
            control: None,
            expect,
        });
    }

    pub(super) fn control(&mut self, rate: Option<f64>) {
        self.rows
            .iter_mut()
            .last()
            .into_iter()
            .for_each(|r| r.control = rate);
    }

    /// Heads told apart by invariants of their matrices: the counts are of heads, not of tokens.
    pub(super) fn heads(&mut self) -> Result<(), AttackError> {
        let s = self.subject;
        let truth = RowMap::of_key(&s.rows)?;
        let (mut right, mut all) = (0, 0);
        for (sealed, base) in s.sealed.iter().zip(&s.base.blocks) {
            let (r, a) = heads(&s.base.shape, sealed, base, &truth);
            right += r;
            all += a;
        }
        let blocks = s.sealed.len() as f64;
        self.rows.push(Row {
            tier: Tier::Ee,
            party: self.party.clone(),
            attack: "A4",
            how: "heads by power sums of singular values (counts are heads)".to_owned(),
            weights: self.weights,
            score: Score {
                recovered: right,
                total: all,
                baseline: blocks, // a random order has one fixed point on average
                sd: blocks.sqrt(),
            },
            control: None,
            expect: Expect::Broken,
        });
        Ok(())
    }
}

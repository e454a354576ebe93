//! From ranks back to features: whether a quantised row is one.

use super::column::ZERO_MAX;
use super::{Column, Rule, Trees};
use crate::key::{ORDER_MAX, bits, order};
use crate::limits;

/// Where values begin that every column may see differently from those below.
const EDGES: [i64; 3] = [-ORDER_MAX, -ZERO_MAX, ZERO_MAX + 1];

/// The columns of one feature.
#[derive(Debug, Clone, Default)]
struct Feature {
    columns: Vec<usize>,
    /// Orders at which the answer of a set may change, rising.
    sets: Vec<i64>,
}

/// Finds rows of features for quantised rows.
///
/// For every rank, the values that have it are runs of orders, each of which begins at a cut, at an edge of a category, or
/// at one of a few fixed orders. If some value has all ranks of a feature, the smallest one begins such a run.
#[derive(Debug, Clone)]
pub struct Inverse<'a> {
    columns: &'a [Column],
    features: Vec<Feature>,
}

/// The bits of −1 and of what is no number, in binary64.
const MINUS_ONE: u64 = 0xbff0_0000_0000_0000;
const NO_NUMBER: u64 = 0x7ff8_0000_0000_0000;

/// The bits of a whole number from 1 to 2^52 in binary64.
fn number(c: u64) -> u64 {
    let exponent = c.max(1).ilog2();
    let fraction = (c << (52 - exponent)) & ((1 << 52) - 1);
    (1023 + u64::from(exponent)) << 52 | fraction
}

/// The orders where the categories of `words` and their neighbours begin.
fn edges(words: &[u32]) -> impl Iterator<Item = i64> + '_ {
    let member = move |c: &usize| words[c / 32] >> (c % 32) & 1 == 1;
    let begins = |c: usize| match c {
        // All that is truncated to 0: from just above −1.
        0 => order(MINUS_ONE).map(|k| k + 1),
        c => order(number(c as u64)),
    };
    let both = move |c: usize| [begins(c), begins(c + 1)];
    (0..words.len() * 32)
        .filter(member)
        .flat_map(both)
        .flatten()
}

impl<'a> Inverse<'a> {
    /// Prepares the columns of `trees`.
    #[must_use]
    pub fn new(trees: &'a Trees) -> Self {
        let mut features = vec![Feature::default(); trees.schema().features().len()];
        for (i, c) in trees.columns().iter().enumerate() {
            let f = &mut features[c.feature() as usize];
            f.columns.push(i);
            if let Rule::Set(words) = c.rule() {
                f.sets.extend(edges(words));
            }
        }
        for f in &mut features {
            f.sets.sort_unstable();
            f.sets.dedup();
        }
        Self {
            columns: trees.columns(),
            features,
        }
    }

    /// A row of features (bits of doubles) whose ranks are `ranks` (columns), if there is one.
    #[must_use]
    pub fn features(&self, ranks: &[i32]) -> Option<Vec<u64>> {
        if ranks.len() != self.columns.len() {
            return None;
        }
        let one = |f: &Feature| self.feature(f, ranks);
        self.features.iter().map(one).collect()
    }

    fn feature(&self, f: &Feature, ranks: &[i32]) -> Option<u64> {
        let of = |i: &usize| (&self.columns[*i], ranks[*i]);
        let fits = |value: &u64| {
            let same = |(c, rank): (&Column, i32)| i64::from(c.rank(*value)) == i64::from(rank);
            f.columns.iter().map(of).all(same)
        };
        let cuts = f.columns.iter().map(of).filter_map(|(c, rank)| {
            let below = usize::try_from(rank).ok()?.checked_sub(1)?;
            match c.rule() {
                Rule::Cuts(cuts) => cuts.get(below).copied(),
                Rule::Set(_) => None,
            }
        });
        let number = |k: &i64| k.unsigned_abs() <= ORDER_MAX.unsigned_abs();
        let starts = cuts.chain(EDGES).chain(f.sets.iter().copied());
        let numbers = starts.filter(number).map(bits);
        numbers.chain([NO_NUMBER]).find(fits)
    }
}

// A category's edge is exact: categories are whole numbers that a double holds.
const _: () = assert!(limits::CATEGORY_WORDS * 32 < 1 << 31);

#[cfg(test)]
mod tests;

//! A6, vocabulary matching: compare captured rows with those of every token ("Hidden No More").
//!
//! Where a row depends on its token alone, one look at the table of all tokens is enough. Behind a
//! block, candidates are run forward after what is known of the text so far, position by position.

use std::collections::HashMap;

use nesa_model::KvCache;

use crate::AttackError;
use crate::base::{Base, Runner};
use crate::view::{Stage, View};

/// Candidates that run forward together.
const BATCH: usize = 32;

/// What of a row is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// The row as it is.
    Plain,
    /// Its magnitudes in ascending order: blind to order and signs of the channels.
    SortedMagnitudes,
}

impl Feature {
    /// Brings `row` into the compared form, in place.
    pub fn apply(self, row: &mut [i32]) {
        if self == Self::SortedMagnitudes {
            row.iter_mut().for_each(|v| *v = v.saturating_abs());
            row.sort_unstable();
        }
    }

    fn of(self, row: &[i32]) -> Vec<i32> {
        let mut row = row.to_vec();
        self.apply(&mut row);
        row
    }
}

/// Rows that can be looked up, exactly or by the least sum of differences (L1).
#[derive(Debug)]
pub struct Dictionary {
    dim: usize,
    feature: Feature,
    rows: Vec<i32>,
    exact: HashMap<Vec<i32>, u32>,
    /// Mean of the rows' sums of magnitudes.
    scale: f64,
}

/// Rows larger than the mean by more than this are brought to its scale before they are compared.
const LARGE: f64 = 8.0;

/// Σ |a − b|.
#[must_use]
pub fn l1(a: &[i32], b: &[i32]) -> i64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (i64::from(*a) - i64::from(*b)).abs())
        .sum()
}

impl Dictionary {
    /// A dictionary of `rows` (n, dim), named 0..n.
    #[must_use]
    pub fn new(mut rows: Vec<i32>, dim: usize, feature: Feature) -> Self {
        let mut exact = HashMap::new();
        for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
            feature.apply(row);
            exact.entry(row.to_vec()).or_insert(i as u32);
        }
        let sum: f64 = rows.iter().map(|v| f64::from(*v).abs()).sum();
        Self {
            scale: sum / (rows.len() / dim).max(1) as f64,
            dim,
            feature,
            rows,
            exact,
        }
    }

    /// The entry nearest to `row` (dim).
    #[must_use]
    pub fn nearest(&self, row: &[i32]) -> Option<u32> {
        let row = self.feature.of(row);
        if let Some(found) = self.exact.get(&row) {
            return Some(*found);
        }
        // What fits no scale, as a share, would meet the largest entry whatever it says.
        let size: f64 = row.iter().map(|v| f64::from(*v).abs()).sum();
        let row = if size > LARGE * self.scale {
            let to = |v: &i32| (f64::from(*v) * self.scale / size) as i32;
            row.iter().map(to).collect()
        } else {
            row
        };
        let rows = self.rows.chunks_exact(self.dim);
        let distances = (0u32..).zip(rows.map(|r| l1(r, &row)));
        distances.min_by_key(|(_, d)| *d).map(|(i, _)| i)
    }
}

/// Names the token of each row of a view whose rows depend on nothing but token and position.
///
/// # Errors
/// [`AttackError::Stage`] for rows behind a block.
pub fn first(base: &Base, view: &View, feature: Feature) -> Result<Vec<Option<u32>>, AttackError> {
    let mut out = vec![None; view.count()];
    if base.rows_know_no_position() {
        let table = Dictionary::new(base.table(view.stage, 0)?, view.dim, feature);
        for (guess, (_, _, row)) in out.iter_mut().zip(view.rows()) {
            *guess = table.nearest(row);
        }
        return Ok(out);
    }
    let mut by_position: Vec<(usize, usize, &[i32])> = (view.rows().enumerate())
        .map(|(at, (_, t, row))| (t, at, row))
        .collect();
    by_position.sort_unstable();
    for at_one in by_position.chunk_by(|a, b| a.0 == b.0) {
        let rows = base.table(view.stage, at_one[0].0)?;
        let table = Dictionary::new(rows, view.dim, feature);
        for (_, at, row) in at_one {
            out[*at] = table.nearest(row);
        }
    }
    Ok(out)
}

/// How a row behind a block is searched.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// What is compared.
    pub feature: Feature,
    /// Most candidates that are run forward per position.
    pub tries: usize,
}

/// Names the tokens of a causal model's rows behind its first `depth` blocks, greedily.
///
/// Candidates are tried in the order of how near the captured row is to the row that the token has
/// without the text before it; an exact hit ends the search of a position.
///
/// # Errors
/// [`AttackError::Stage`] for another stage or a model that is not causal.
pub fn deeper(base: &Base, view: &View, search: Search) -> Result<Vec<Option<u32>>, AttackError> {
    let Stage::Boundary(depth) = view.stage else {
        return Err(AttackError::Stage);
    };
    if !base.shape.causal {
        return Err(AttackError::Stage);
    }
    let mut walk = Deep {
        base,
        runner: Runner::new(base, depth)?,
        search,
    };
    // A text's first row is like no other; so later ones are compared with rows behind some first token.
    let first = walk.table(None)?;
    let mut later = None;
    let mut out = Vec::with_capacity(view.count());
    for session in &view.sessions {
        let mut cache = walk.runner.cache(session.len() / view.dim);
        for (t, row) in session.chunks_exact(view.dim).enumerate() {
            let row = search.feature.of(row);
            let table = match (t, &mut later) {
                (0, _) => &first,
                (_, Some(table)) => table,
                (_, None) => later.insert(walk.table(out.last().copied().flatten())?),
            };
            let best = walk.named(&row, table, t, &cache)?;
            out.push(best.as_ref().map(|b| b.1));
            if let Some((_, _, after)) = best {
                cache = after;
            }
        }
    }
    Ok(out)
}

/// The search of [`deeper`].
struct Deep<'a> {
    base: &'a Base,
    runner: Runner,
    search: Search,
}

impl Deep<'_> {
    /// The features (vocab, dim) of every token's row behind the blocks, alone or right after `before`.
    fn table(&mut self, before: Option<u32>) -> Result<Vec<i32>, AttackError> {
        let mut start = self.runner.cache(2);
        if let Some(token) = before {
            let mut row = self.base.vocabulary.embed(&self.base.shape, &[token], 0)?;
            self.runner.forward(&mut row, &mut start)?;
        }
        let all: Vec<u32> = (0u32..).take(self.base.shape.vocab).collect();
        let mut out = Vec::with_capacity(all.len() * self.base.shape.dim);
        for ids in all.chunks(256) {
            let (rows, _) = self.run(ids, start.len(), &start)?;
            out.extend(rows);
        }
        Ok(out)
    }

    /// Features and caches of `ids`, each run at `position` behind `cache`.
    fn run(
        &mut self,
        ids: &[u32],
        position: usize,
        cache: &KvCache,
    ) -> Result<(Vec<i32>, Vec<KvCache>), AttackError> {
        let mut rows = Vec::new();
        for id in ids {
            let embedded = self
                .base
                .vocabulary
                .embed(&self.base.shape, &[*id], position)?;
            rows.extend(embedded);
        }
        let mut caches = vec![cache.clone(); ids.len()];
        self.runner.forward_each(&mut rows, &mut caches)?;
        for row in rows.chunks_exact_mut(self.base.shape.dim) {
            self.search.feature.apply(row);
        }
        Ok((rows, caches))
    }

    /// The token whose row is nearest to the feature `row`, its distance, and the cache after it.
    fn named(
        &mut self,
        row: &[i32],
        table: &[i32],
        position: usize,
        cache: &KvCache,
    ) -> Result<Option<(i64, u32, KvCache)>, AttackError> {
        let dim = row.len();
        let distances = table.chunks_exact(dim).map(|a| l1(a, row));
        let mut order: Vec<(i64, u32)> = distances.zip(0u32..).collect();
        order.sort_unstable();
        order.truncate(self.search.tries);
        let mut best: Option<(i64, u32, KvCache)> = None;
        for batch in order.chunks(BATCH) {
            let ids: Vec<u32> = batch.iter().map(|o| o.1).collect();
            let (rows, caches) = self.run(&ids, position, cache)?;
            for ((id, found), cache) in ids.iter().zip(rows.chunks_exact(dim)).zip(caches) {
                let distance = l1(found, row);
                if best.as_ref().is_none_or(|b| distance < b.0) {
                    best = Some((distance, *id, cache));
                }
            }
            if best.as_ref().is_some_and(|b| b.0 == 0) {
                break;
            }
        }
        Ok(best)
    }
}

//! A5, known plaintext: from pairs of a plain and a hidden row, the map (Procrustes' problem over
//! signed permutations); without a base model, a dictionary of the rows whose text is known.

use std::collections::HashMap;

use crate::AttackError;
use crate::base::Base;
use crate::map::RowMap;
use crate::view::View;
use crate::vocabulary::{Dictionary, Feature};

/// The map that fits pairs of `plain` (m, dim) and `hidden` (m, dim) rows best, channel by channel.
#[must_use]
pub fn procrustes(plain: &[i32], hidden: &[i32], dim: usize) -> RowMap {
    // (dim, m): one channel over all pairs.
    let channels = |rows: &[i32]| -> Vec<Vec<i64>> {
        let channel = |j: usize| rows.iter().skip(j).step_by(dim);
        (0..dim)
            .map(|j| channel(j).map(|v| i64::from(*v)).collect())
            .collect()
    };
    let (plain, hidden) = (channels(plain), channels(hidden));
    let fit = |h: &Vec<i64>| {
        let costs = plain.iter().enumerate().map(|(i, p)| {
            let pairs = || h.iter().zip(p);
            let same: i64 = pairs().map(|(h, p)| (h - p).abs()).sum();
            let turned: i64 = pairs().map(|(h, p)| (h + p).abs()).sum();
            (same.min(turned), i as u32, turned < same)
        });
        costs.min().map_or((0, false), |(_, i, turned)| (i, turned))
    };
    let (from, negative) = hidden.iter().map(fit).unzip();
    RowMap { from, negative }
}

/// The map that explains the rows of `view` at the indices `known`, whose tokens `truth` gives.
///
/// # Errors
/// [`AttackError::Stage`] for rows behind a block.
pub fn fitted(
    base: &Base,
    view: &View,
    truth: &[u32],
    known: &[usize],
) -> Result<RowMap, AttackError> {
    let (mut plain, mut hidden) = (Vec::new(), Vec::new());
    for (at, (_, t, row)) in view.rows().enumerate() {
        if known.contains(&at) {
            plain.extend(base.rows(view.stage, &truth[at..=at], t)?);
            hidden.extend_from_slice(row);
        }
    }
    Ok(procrustes(&plain, &hidden, view.dim))
}

/// Names all tokens of `view` by the map that is [`fitted`] to the known ones.
///
/// # Errors
/// As [`fitted`].
pub fn with_base(
    base: &Base,
    view: &View,
    truth: &[u32],
    known: &[usize],
) -> Result<Vec<Option<u32>>, AttackError> {
    let map = fitted(base, view, truth, known)?;
    crate::vocabulary::first(base, &undone(view, &map), Feature::Plain)
}

/// The view as `map` explains it.
#[must_use]
pub fn undone(view: &View, map: &RowMap) -> View {
    View {
        sessions: view.sessions.iter().map(|s| map.undo(s)).collect(),
        ..*view
    }
}

/// Names the tokens whose row equals one of the `known` rows: all that pairs give without a base.
#[must_use]
pub fn without_base(view: &View, truth: &[u32], known: &[usize]) -> Vec<Option<u32>> {
    let rows: Vec<&[i32]> = view.rows().map(|(_, _, row)| row).collect();
    let seen: HashMap<&[i32], u32> = known.iter().map(|&i| (rows[i], truth[i])).collect();
    rows.iter().map(|row| seen.get(row).copied()).collect()
}

/// Names each row of `later` by the nearest row of `earlier`, whose tokens are all known.
#[must_use]
pub fn nearest_known(earlier: &View, tokens: &[u32], later: &View) -> Vec<Option<u32>> {
    let rows = earlier.rows().flat_map(|(_, _, row)| row.iter().copied());
    let table = Dictionary::new(rows.collect(), earlier.dim, Feature::Plain);
    let nearest = |row: &[i32]| table.nearest(row).map(|i| tokens[i as usize]);
    later.rows().map(|(_, _, row)| nearest(row)).collect()
}

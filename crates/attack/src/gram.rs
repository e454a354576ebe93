//! A7, Gram and anchor matching: lengths of rows and their inner products survive any rotation.
//!
//! With the public model they name tokens by themselves; without it they tell which positions of
//! different calls hold the same or similar tokens.

use std::collections::HashMap;

use crate::AttackError;
use crate::base::Base;
use crate::view::View;

/// The exact inner product of two rows.
#[must_use]
pub fn inner(a: &[i32], b: &[i32]) -> i128 {
    let products = a
        .iter()
        .zip(b)
        .map(|(a, b)| i128::from(*a) * i128::from(*b));
    products.sum()
}

/// Names each row by its length and its inner products with the rows at the indices `anchors`, whose
/// tokens `truth` gives; ties and rows that no token has go to the nearest length.
///
/// # Errors
/// [`AttackError::Stage`] for rows behind a block.
pub fn with_base(
    base: &Base,
    view: &View,
    truth: &[u32],
    anchors: &[usize],
) -> Result<Vec<Option<u32>>, AttackError> {
    let rows: Vec<(usize, &[i32])> = view.rows().map(|(_, t, row)| (t, row)).collect();
    let mut known = Vec::new();
    for &a in anchors {
        known.push(base.rows(view.stage, &truth[a..=a], rows[a].0)?);
    }
    let mut out = vec![None; rows.len()];
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let free = base.rows_know_no_position();
    let position = |i: usize| if free { 0 } else { rows[i].0 };
    let lengths = rows.iter().map(|(_, row)| inner(row, row) as f64);
    let mean = lengths.sum::<f64>() / rows.len().max(1) as f64;
    order.sort_by_key(|&i| position(i));
    for at_one in order.chunk_by(|a, b| position(*a) == position(*b)) {
        let table = Table::new(base, view, position(at_one[0]), &known)?;
        for &i in at_one {
            let products = anchors.iter().map(|&a| inner(rows[i].1, rows[a].1));
            let length = inner(rows[i].1, rows[i].1);
            out[i] = table.named(length, &products.collect::<Vec<_>>(), mean);
        }
    }
    Ok(out)
}

/// What is known of every token's row at one position.
struct Table {
    exact: HashMap<(i128, Vec<i128>), u32>,
    by_length: Vec<(i128, u32)>,
    mean: f64,
}

impl Table {
    fn new(
        base: &Base,
        view: &View,
        position: usize,
        known: &[Vec<i32>],
    ) -> Result<Self, AttackError> {
        let (mut exact, mut by_length) = (HashMap::new(), Vec::new());
        for id in (0u32..).take(base.shape.vocab) {
            let row = base.rows(view.stage, &[id], position)?;
            let length = inner(&row, &row);
            let products = known.iter().map(|k| inner(&row, k)).collect();
            exact.entry((length, products)).or_insert(id);
            by_length.push((length, id));
        }
        by_length.sort_unstable();
        let sum: f64 = by_length.iter().map(|e| e.0 as f64).sum();
        let mean = sum / by_length.len().max(1) as f64;
        Ok(Self {
            exact,
            by_length,
            mean,
        })
    }

    /// `mean` is the mean squared length of all rows seen: lengths that no token has are compared on
    /// the scale of the table.
    fn named(&self, length: i128, products: &[i128], mean: f64) -> Option<u32> {
        if let Some(found) = self.exact.get(&(length, products.to_vec())) {
            return Some(*found);
        }
        let length = (length as f64 * self.mean / mean.max(1.0)) as i128;
        let at = self.by_length.partition_point(|e| e.0 < length);
        let near = [at.checked_sub(1), Some(at)].into_iter().flatten();
        let near = near.filter_map(|i| self.by_length.get(i));
        near.min_by_key(|e| (e.0 - length).abs()).map(|e| e.1)
    }
}

/// Names each row of `later` by the token of the row of `earlier` at the smallest angle, whose tokens
/// are `tokens`: how far calls under one key can be linked without any model.
#[must_use]
pub fn linked(earlier: &View, tokens: &[u32], later: &View) -> Vec<Option<u32>> {
    let unit = |row: &[i32]| -> Vec<f32> {
        let length = (inner(row, row) as f64).sqrt().max(1.0);
        row.iter()
            .map(|v| (f64::from(*v) / length) as f32)
            .collect()
    };
    let known: Vec<Vec<f32>> = earlier.rows().map(|(_, _, row)| unit(row)).collect();
    let cosine = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let nearest = |row: &[i32]| {
        let row = unit(row);
        let all = known.iter().map(|k| cosine(k, &row)).zip(tokens);
        all.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, t)| *t)
    };
    later.rows().map(|(_, _, row)| nearest(row)).collect()
}

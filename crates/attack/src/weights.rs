//! A4, weight matching: sealed blocks beside public ones give the map of the rows, and with it every
//! token.
//!
//! A residual channel has a column in each matrix that reads the residual stream. Sealing moves
//! columns, moves and negates rows; so the column's magnitudes, sorted, say which channel it was.

use std::collections::{BTreeMap, HashMap};

use nesa_model::{Block, Ffn, Linear, Shape};

use crate::map::RowMap;

/// Rows whose signs vote on the signs of the channels.
const VOTERS: usize = 256;

/// How channels of sealed and public weights are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matching {
    /// Nearest neighbour of columns as they are: works where only columns moved.
    Plain,
    /// Nearest neighbour of columns with their magnitudes sorted.
    Sorted,
    /// Largest cosine of columns with their magnitudes sorted (direction matching).
    Direction,
    /// Nearest neighbour of the gains that a channel has in all normalisations.
    Gains,
    /// Nearest neighbour of the divisors of the matrices that write a channel, with the norms of
    /// their rows.
    Invariants,
}

impl Matching {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Plain,
        Self::Sorted,
        Self::Direction,
        Self::Gains,
        Self::Invariants,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "columns as they are",
            Self::Sorted => "sorted columns",
            Self::Direction => "directions of sorted columns",
            Self::Gains => "gains of the normalisations",
            Self::Invariants => "divisors and norms of rows",
        }
    }
}

/// The matrix that reads the residual row in the feed-forward part and gives its rows no signs.
fn reading(block: &Block) -> &Linear {
    match &block.ffn {
        Ffn::Gated { gate, .. } => gate,
        Ffn::Plain { up, .. } => up,
    }
}

/// The matrices that write the residual row.
fn writing(block: &Block) -> [&Linear; 2] {
    match &block.ffn {
        Ffn::Gated { down, .. } | Ffn::Plain { down, .. } => [&block.o, down],
    }
}

/// One feature vector per residual channel.
fn features(blocks: &[Block], dim: usize, how: Matching) -> Vec<Vec<i64>> {
    let column = |j: usize| -> Vec<i64> {
        let Some(block) = blocks.first() else {
            return Vec::new();
        };
        let matrix = reading(block);
        let column = matrix.weight.iter().skip(j).step_by(matrix.cols);
        column.map(|w| i64::from(*w)).collect()
    };
    let sorted = |j: usize| {
        let mut column: Vec<i64> = column(j).iter().map(|w| w.abs()).collect();
        column.sort_unstable();
        column
    };
    let gains = |j: usize| {
        let of = |b: &Block| [b.attn_norm.gain[j], b.ffn_norm.gain[j]].map(i64::from);
        blocks.iter().flat_map(of).collect()
    };
    let row = |l: &Linear, i: usize| {
        let squares = l.weight[i * l.cols..][..l.cols].iter();
        let norm: i64 = squares.map(|w| i64::from(*w).pow(2)).sum();
        [i64::from(l.divisor[i]), norm]
    };
    let written = |j: usize| {
        let of = |b: &Block| writing(b).map(|l| row(l, j)).concat();
        blocks.iter().flat_map(of).collect()
    };
    (0..dim)
        .map(|j| match how {
            Matching::Plain => column(j),
            Matching::Sorted | Matching::Direction => sorted(j),
            Matching::Gains => gains(j),
            Matching::Invariants => written(j),
        })
        .collect()
}

/// For each of `sealed`, the index of the nearest of `base`.
fn nearest(sealed: &[Vec<i64>], base: &[Vec<i64>], how: Matching) -> Vec<u32> {
    let norm = |v: &[i64]| (v.iter().map(|x| (x * x) as f64).sum::<f64>()).sqrt();
    let norms: Vec<f64> = base.iter().map(|b| norm(b)).collect();
    let cost = |s: &[i64], i: usize| match how {
        Matching::Direction => {
            let dot: i64 = s.iter().zip(&base[i]).map(|(a, b)| a * b).sum();
            -(dot as f64) / norms[i].max(1.0)
        }
        _ => {
            let l1: i64 = s.iter().zip(&base[i]).map(|(a, b)| (a - b).abs()).sum();
            l1 as f64
        }
    };
    let best = |s: &Vec<i64>| {
        let costs = (0u32..).take(base.len()).map(|i| (cost(s, i as usize), i));
        costs.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |b| b.1)
    };
    sealed.iter().map(best).collect()
}

/// The map of the residual rows, from `sealed` blocks and the public blocks `base` of the same layers.
///
/// Whatever matched the channels, signs come from rows of one matrix: they are found by their
/// magnitudes and then vote.
#[must_use]
pub fn row_map(shape: &Shape, sealed: &[Block], base: &[Block], how: Matching) -> RowMap {
    let n = sealed.len().min(base.len());
    let (sealed, base) = (&sealed[..n], &base[..n]);
    let features = |blocks| features(blocks, shape.dim, how);
    let from = nearest(&features(sealed), &features(base), how);
    let negative = match (sealed.first(), base.first()) {
        (Some(s), Some(b)) => signs(reading(s), reading(b), &from),
        _ => vec![false; shape.dim],
    };
    RowMap { from, negative }
}

/// The signs of the channels, given where each comes from.
fn signs(sealed: &Linear, base: &Linear, from: &[u32]) -> Vec<bool> {
    let cols = base.cols;
    let magnitudes = |row: &[i8]| -> Vec<u8> { row.iter().map(|w| w.unsigned_abs()).collect() };
    let known: Vec<Vec<u8>> = base.weight.chunks_exact(cols).map(magnitudes).collect();
    let exact: HashMap<&[u8], usize> = known.iter().map(Vec::as_slice).zip(0..).collect();
    let mut votes = vec![0i64; cols];
    for row in sealed.weight.chunks_exact(cols).take(VOTERS) {
        let mut plain = vec![0u8; cols];
        for (&j, w) in from.iter().zip(row) {
            plain[j as usize] = w.unsigned_abs();
        }
        let distance = |known: &Vec<u8>| -> u64 {
            let pairs = known.iter().zip(&plain);
            pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
        };
        let found = exact.get(plain.as_slice()).copied();
        let found = found.or_else(|| (0..known.len()).min_by_key(|&i| distance(&known[i])));
        let Some(found) = found else { continue };
        let base = &base.weight[found * cols..][..cols];
        for ((vote, &j), w) in votes.iter_mut().zip(from).zip(row) {
            *vote += i64::from(*w) * i64::from(base[j as usize]);
        }
    }
    votes.iter().map(|v| *v < 0).collect()
}

/// Heads that were told apart by invariants of their matrices, and heads in all.
///
/// The invariants are the first two power sums of the squared singular values of a key-value head's
/// query, key and value matrices: tr(W·Wᵀ) and tr((W·Wᵀ)²). No signed permutation of channels or
/// rows changes them. `truth` undoes the rows' map, to decide whether a head was named rightly.
#[must_use]
pub fn heads(shape: &Shape, sealed: &Block, base: &Block, truth: &RowMap) -> (usize, usize) {
    let head = |b: &Block, h: usize| {
        let part = |l: &Linear, rows: usize| {
            let from = h * rows * l.cols;
            l.weight[from..from + rows * l.cols].to_vec()
        };
        let (q, kv) = (shape.group() * shape.head_dim, shape.head_dim);
        [part(&b.q, q), part(&b.k, kv), part(&b.v, kv)]
    };
    let sums = |parts: &[Vec<i8>; 3]| parts.each_ref().map(|w| power_sums(w, shape.dim));
    let known: BTreeMap<_, usize> = (0..shape.kv_heads)
        .map(|h| (sums(&head(base, h)), h))
        .collect();
    let right = (0..shape.kv_heads).filter(|&h| {
        let hidden = head(sealed, h);
        let Some(named) = known.get(&sums(&hidden)) else {
            return false;
        };
        same_rows(&hidden[1], &head(base, *named)[1], truth)
    });
    (right.count(), shape.kv_heads)
}

fn power_sums(w: &[i8], cols: usize) -> (i64, i128) {
    let rows: Vec<&[i8]> = w.chunks_exact(cols).collect();
    let dot = |a: &[i8], b: &[i8]| -> i64 {
        let products = a.iter().zip(b).map(|(a, b)| i64::from(*a) * i64::from(*b));
        products.sum()
    };
    let trace = rows.iter().map(|r| dot(r, r)).sum();
    let squares = rows.iter().flat_map(|a| {
        let dots = rows.iter().map(|b| dot(a, b));
        dots.map(|d| i128::from(d) * i128::from(d))
    });
    (trace, squares.sum())
}

/// Whether `hidden` has the rows of `plain`, but for order and signs, once `map` is undone.
fn same_rows(hidden: &[i8], plain: &[i8], map: &RowMap) -> bool {
    let cols = map.from.len();
    let wide = |w: &[i8]| -> Vec<i32> { w.iter().map(|v| i32::from(*v)).collect() };
    let normal = |rows: &[i32]| {
        let mut rows: Vec<Vec<i32>> = rows
            .chunks_exact(cols)
            .map(|r| {
                let first = r.iter().find(|v| **v != 0).copied().unwrap_or(1);
                r.iter().map(|v| v * first.signum()).collect()
            })
            .collect();
        rows.sort_unstable();
        rows
    };
    normal(&map.undo(&wide(hidden))) == normal(&wide(plain))
}

//! What remains under `ee` with never-published weights, by how many positions a node has seen under
//! one key.

use crate::lab::Subject;
use crate::view::symbols;
use crate::{AttackError, Score, Stage, View, bigram, gram, pairs, rank};

/// Rows that are linked by their angles, on either side.
const LINKED: usize = 1024;
/// Types that the matching of bigrams aligns.
const TOP: usize = 150;

/// What a node without the base model reads after some positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Blocks before the rows.
    pub depth: usize,
    /// Positions seen under one key.
    pub positions: usize,
    /// Different rows among them.
    pub distinct: usize,
    /// A1.
    pub rank: Score,
    /// A2.
    pub bigram: Score,
    /// A5: the number of positions whose token is known, and the score over all others.
    pub known: Vec<(usize, Score)>,
    /// A7: tokens of later calls named by rows of earlier ones, whose tokens are known.
    pub linked: Score,
}

/// Measures at each of `counts` positions of `texts`, rows behind `depth` blocks, with each number of
/// `known` positions.
///
/// # Errors
/// What the model refuses.
pub fn curve(
    subject: &Subject,
    texts: &[Vec<u32>],
    depth: usize,
    counts: &[usize],
    known: &[usize],
) -> Result<Vec<Point>, AttackError> {
    let open = subject.base.view(Stage::Boundary(depth), texts)?;
    let view = subject.hidden(&open)?;
    let truth = texts.concat();
    let counts = counts.iter().filter(|n| **n <= truth.len());
    Ok(counts
        .map(|&n| point(&view.first(n), &truth[..n], &subject.corpus, depth, known))
        .collect())
}

fn point(view: &View, truth: &[u32], corpus: &[u32], depth: usize, known: &[usize]) -> Point {
    let symbols = symbols(view);
    let pairs = |&count: &usize| {
        let known: Vec<usize> = (0..count).map(|i| i * truth.len() / count).collect();
        let named = pairs::without_base(view, truth, &known);
        let mut given = vec![false; truth.len()];
        known.iter().for_each(|&i| given[i] = true);
        let open = |i: &usize| !given[*i];
        let others: Vec<usize> = (0..truth.len()).filter(open).collect();
        let guesses: Vec<Option<u32>> = others.iter().map(|&i| named[i]).collect();
        let tokens: Vec<u32> = others.iter().map(|&i| truth[i]).collect();
        (count, Score::of(&guesses, &tokens))
    };
    Point {
        depth,
        positions: truth.len(),
        distinct: symbols.iter().max().map_or(0, |m| *m as usize + 1),
        rank: Score::of(&rank::guess(&symbols, corpus), truth),
        bigram: Score::of(&bigram::guess(&symbols, corpus, TOP), truth),
        known: known
            .iter()
            .filter(|n| **n < truth.len())
            .map(pairs)
            .collect(),
        linked: linked(view, truth),
    }
}

/// The first half of the view names the second one; at most [`LINKED`] rows of each.
fn linked(view: &View, truth: &[u32]) -> Score {
    let half = (truth.len() / 2).min(LINKED);
    let part = |from: usize| View {
        stage: view.stage,
        dim: view.dim,
        sessions: vec![
            view.rows()
                .skip(from)
                .take(half)
                .flat_map(|(_, _, row)| row.iter().copied())
                .collect(),
        ],
    };
    let named = gram::linked(&part(0), &truth[..half], &part(half));
    Score::of(&named, &truth[half..2 * half])
}

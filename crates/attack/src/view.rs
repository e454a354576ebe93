//! What a party received, as the attacks read it.

/// Where in the model the rows stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Residual rows that enter block `.0`; 0 is the embedded text.
    Boundary(usize),
    /// Inputs of the first linear product (queries, keys, values) of block 0.
    FirstProduct,
}

/// The rows that one party received in some sessions.
///
/// They are integers as the party can read them: hidden rows under `open` and `ee`, centred field
/// elements under `hss`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Where the rows stood.
    pub stage: Stage,
    /// Values per row.
    pub dim: usize,
    /// Per session (n, dim): row t stood at position t.
    pub sessions: Vec<Vec<i32>>,
}

impl View {
    /// All rows with session and position, in order.
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize, &[i32])> {
        let dim = self.dim.max(1);
        self.sessions.iter().enumerate().flat_map(move |(s, rows)| {
            let rows = rows.chunks_exact(dim).enumerate();
            rows.map(move |(t, row)| (s, t, row))
        })
    }

    /// Number of rows.
    #[must_use]
    pub fn count(&self) -> usize {
        let rows = |s: &Vec<i32>| s.len() / self.dim.max(1);
        self.sessions.iter().map(rows).sum()
    }

    /// The same view without what follows the first `n` rows.
    #[must_use]
    pub fn first(&self, n: usize) -> Self {
        let mut left = n;
        let sessions = self.sessions.iter().map_while(|s| {
            let rows = (s.len() / self.dim.max(1)).min(left);
            left -= rows;
            (rows > 0).then(|| s[..rows * self.dim].to_vec())
        });
        Self {
            sessions: sessions.collect(),
            ..*self
        }
    }
}

/// One symbol per row: equal rows have equal symbols, and which number a row gets says nothing.
///
/// This is what remains of the text for whoever cannot read a row: a substitution cipher.
#[must_use]
pub fn symbols(view: &View) -> Vec<u32> {
    let mut order: Vec<(usize, &[i32])> = view.rows().map(|(_, _, row)| row).enumerate().collect();
    order.sort_by(|a, b| a.1.cmp(b.1));
    let mut out = vec![0; order.len()];
    let mut symbol = 0;
    for (i, (at, row)) in order.iter().enumerate() {
        if i > 0 && order[i - 1].1 != *row {
            symbol += 1;
        }
        out[*at] = symbol;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_have_equal_symbols() {
        let view = View {
            stage: Stage::Boundary(0),
            dim: 2,
            sessions: vec![vec![5, 6, 1, 2, 5, 6], vec![1, 2, 9, 9]],
        };
        assert_eq!(symbols(&view), [1, 0, 1, 0, 2]);
        assert_eq!(view.count(), 5);
        let first = view.first(4);
        assert_eq!(first.sessions, [vec![5, 6, 1, 2, 5, 6], vec![1, 2]]);
        assert_eq!(view.rows().nth(3), Some((1, 0, &[1, 2][..])));
    }
}

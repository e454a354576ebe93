//! A guess of the map that hides residual rows: `hidden[i] = ±plain[from[i]]`.

use nesa_privacy::{PrivacyError, RowKey};

/// A signed assignment of hidden to plain channels. A wrong guess need not be a permutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMap {
    /// (dim): the plain channel behind each hidden one.
    pub from: Vec<u32>,
    /// (dim): whether the sign changes.
    pub negative: Vec<bool>,
}

impl RowMap {
    /// Hides nothing.
    #[must_use]
    pub fn identity(dim: usize) -> Self {
        Self {
            from: (0..dim as u32).collect(),
            negative: vec![false; dim],
        }
    }

    /// The truth: what `key` does to the row 1, 2, 3, …
    ///
    /// # Errors
    /// Never for a key of its own width.
    pub fn of_key(key: &RowKey) -> Result<Self, PrivacyError> {
        let mut row: Vec<i32> = (1i32..).take(key.dim()).collect();
        key.hide_in_place(&mut row)?;
        Ok(Self {
            from: row.iter().map(|v| v.unsigned_abs() - 1).collect(),
            negative: row.iter().map(|v| *v < 0).collect(),
        })
    }

    /// The plain rows (n, dim) behind hidden `rows`, if the guess is right.
    #[must_use]
    pub fn undo(&self, rows: &[i32]) -> Vec<i32> {
        let mut out = vec![0; rows.len()];
        let dim = self.from.len().max(1);
        for (plain, hidden) in out.chunks_exact_mut(dim).zip(rows.chunks_exact(dim)) {
            let channels = self.from.iter().zip(&self.negative);
            for ((&from, &negative), &v) in channels.zip(hidden) {
                plain[from as usize] = if negative { v.wrapping_neg() } else { v };
            }
        }
        out
    }

    /// Channels on which two guesses agree, signs included.
    #[must_use]
    pub fn agreement(&self, other: &Self) -> usize {
        let a = self.from.iter().zip(&self.negative);
        a.zip(other.from.iter().zip(&other.negative))
            .filter(|(a, b)| a == b)
            .count()
    }
}

//! Boosted trees over ranks: `scores[c] = base[c] + Σ leaf of every tree of class c`.
//!
//! A column turns a feature into its rank among the column's cuts, exactly as the original compares it;
//! a split asks `rank < cut`, and nothing else is left to decide in a tree.

mod column;
mod inverse;
mod tree;

pub use column::{Column, Missing, Rule};
pub use inverse::Inverse;
pub use tree::{Child, Node, Step, Tree};

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};

use crate::{Decision, DecisionError, Schema, limits};

/// A model of boosted trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trees {
    schema: Schema,
    columns: Vec<Column>,
    base: Vec<i64>,
    trees: Vec<Tree>,
}

impl Trees {
    /// A model; `base` (scores) starts the sums.
    ///
    /// # Errors
    /// [`DecisionError::Invalid`] where a part refers to one that is not there or exceeds [`limits`].
    pub fn new(
        schema: Schema,
        columns: Vec<Column>,
        base: Vec<i64>,
        trees: Vec<Tree>,
    ) -> Result<Self, DecisionError> {
        let bad = |what| Err(DecisionError::Invalid(what));
        if base.len() != schema.scores()
            || base
                .iter()
                .any(|b| b.unsigned_abs() > limits::BASE_MAX.unsigned_abs())
        {
            return bad("start of the scores");
        }
        if columns.len() > limits::COLUMNS || trees.len() > limits::TREES {
            return bad("number of columns or trees");
        }
        let cuts: usize = columns.iter().map(Column::ranks).sum();
        let nodes: usize = trees.iter().map(|t| t.nodes().len()).sum();
        if cuts > limits::CUTS_ALL || nodes > limits::NODES_ALL {
            return bad("size of all columns or trees");
        }
        if (columns.iter()).any(|c| c.feature() as usize >= schema.features().len()) {
            return bad("feature of a column");
        }
        for tree in &trees {
            if tree.class() as usize >= schema.scores() {
                return bad("class of a tree");
            }
            for n in tree.nodes() {
                let ranks = columns.get(n.column as usize).map_or(0, Column::ranks);
                if n.cut == 0 || n.cut as usize > ranks {
                    return bad("cut of a split");
                }
            }
        }
        Ok(Self {
            schema,
            columns,
            base,
            trees,
        })
    }

    /// Names of features and classes.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The columns, in the order of a quantised row.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// (scores): where each sum starts.
    #[must_use]
    pub fn base(&self) -> &[i64] {
        &self.base
    }

    /// The trees.
    #[must_use]
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The ranks (columns) of a row of features, given as the bits of doubles; a NaN is a missing value.
    ///
    /// # Errors
    /// [`DecisionError::Width`].
    pub fn quantise(&self, features: &[u64]) -> Result<Vec<i32>, DecisionError> {
        width(self.schema.features().len(), features.len())?;
        let rank = |c: &Column| c.rank(features[c.feature() as usize]) as i32;
        Ok(self.columns.iter().map(rank).collect())
    }

    /// The leaf that `row` (columns) reaches in every tree.
    ///
    /// # Errors
    /// [`DecisionError::Width`].
    pub fn leaves(&self, row: &[i32]) -> Result<Vec<u32>, DecisionError> {
        width(self.columns.len(), row.len())?;
        Ok(self.trees.iter().map(|t| t.leaf(row)).collect())
    }

    /// The decision that follows from one leaf per tree.
    ///
    /// # Errors
    /// [`DecisionError::Width`], [`DecisionError::Invalid`] for a leaf that a tree lacks.
    pub fn settle(&self, leaves: &[u32]) -> Result<Decision, DecisionError> {
        width(self.trees.len(), leaves.len())?;
        let mut scores = self.base.clone();
        for (tree, leaf) in self.trees.iter().zip(leaves) {
            let value = tree.leaves().get(*leaf as usize);
            let value = value.ok_or(DecisionError::Invalid("leaf of a tree"))?;
            scores[tree.class() as usize] += i64::from(*value);
        }
        Ok(self.schema.decision(scores))
    }

    /// The decision on `row` (columns).
    ///
    /// # Errors
    /// [`DecisionError::Width`].
    pub fn decide(&self, row: &[i32]) -> Result<Decision, DecisionError> {
        self.settle(&self.leaves(row)?)
    }

    /// The root: everything but the trees, and a Merkle tree over these.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut w = Writer::default();
        w.seq(&self.columns);
        for b in &self.base {
            w.i64(*b);
        }
        let trees: Vec<Digest> = self.trees.iter().map(Tree::digest).collect();
        (self.schema.hash(Hasher::new("nesa.decision.trees.v1")))
            .bytes(w.as_slice())
            .digest(&merkle::root(&trees))
            .finish()
    }
}

/// Whether `actual` is `expected`.
pub(crate) fn width(expected: usize, actual: usize) -> Result<(), DecisionError> {
    if expected == actual {
        Ok(())
    } else {
        Err(DecisionError::Width { expected, actual })
    }
}

impl Encode for Trees {
    fn encode(&self, w: &mut Writer) {
        self.schema.encode(w);
        w.seq(&self.columns);
        for b in &self.base {
            w.i64(*b);
        }
        w.seq(&self.trees);
    }
}

impl Decode for Trees {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let schema = Schema::decode(r)?;
        let columns = r.seq(limits::COLUMNS)?;
        let base = (0..schema.scores()).map(|_| r.i64());
        let base = base.collect::<Result<_, _>>()?;
        Self::new(schema, columns, base, r.seq(limits::TREES)?).map_err(crate::refused)
    }
}

#[cfg(test)]
mod tests;

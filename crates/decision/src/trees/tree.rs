//! One tree: splits in preorder, leaves from left to right.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

use crate::{DecisionError, limits, refused};

/// Where a split leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Child {
    /// Another split, by its index.
    Node(u32),
    /// A leaf, by its index.
    Leaf(u32),
}

/// A split: left when the column's rank is below the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The column of the quantised row.
    pub column: u32,
    /// At least 1.
    pub cut: u32,
    /// Where ranks below the cut go.
    pub left: Child,
    /// Where all others go.
    pub right: Child,
}

/// A split on a path, and where the path went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The split.
    pub node: u32,
    /// Whether the path went left.
    pub left: bool,
}

/// A tree with the score that it adds to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    class: u32,
    nodes: Vec<Node>,
    leaves: Vec<i32>,
}

impl Tree {
    /// A tree of `nodes` in preorder (left before right) with the values of `leaves` from left to right;
    /// a tree without splits has one leaf.
    ///
    /// # Errors
    /// [`DecisionError::Invalid`] when the numbering is another one, so that one tree has one form.
    pub fn new(class: u32, nodes: Vec<Node>, leaves: Vec<i32>) -> Result<Self, DecisionError> {
        if nodes.len() > limits::NODES || leaves.len() != nodes.len() + 1 {
            return Err(DecisionError::Invalid("size of a tree"));
        }
        let max = limits::LEAF_MAX.unsigned_abs();
        if leaves.iter().any(|v| v.unsigned_abs() > max) {
            return Err(DecisionError::Invalid("value of a leaf"));
        }
        check_order(&nodes)?;
        Ok(Self {
            class,
            nodes,
            leaves,
        })
    }

    /// The score that the leaves add to.
    #[must_use]
    pub fn class(&self) -> u32 {
        self.class
    }

    /// Splits, in preorder.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Values of the leaves, from left to right.
    #[must_use]
    pub fn leaves(&self) -> &[i32] {
        &self.leaves
    }

    /// The splits that `row` (columns) passes, and the leaf that it reaches.
    ///
    /// A column that the row lacks counts as rank 0.
    #[must_use]
    pub fn path(&self, row: &[i32]) -> (Vec<Step>, u32) {
        let mut steps = Vec::new();
        let leaf = self.walk(row, &mut |s| steps.push(s));
        (steps, leaf)
    }

    /// The leaf that `row` (columns) reaches.
    #[must_use]
    pub fn leaf(&self, row: &[i32]) -> u32 {
        self.walk(row, &mut |_| ())
    }

    fn walk(&self, row: &[i32], on: &mut dyn FnMut(Step)) -> u32 {
        let mut at = if self.nodes.is_empty() {
            Child::Leaf(0)
        } else {
            Child::Node(0)
        };
        loop {
            match at {
                Child::Leaf(leaf) => return leaf,
                Child::Node(node) => {
                    let n = self.nodes[node as usize];
                    let rank = row.get(n.column as usize).copied().unwrap_or(0);
                    let left = i64::from(rank) < i64::from(n.cut);
                    on(Step { node, left });
                    at = if left { n.left } else { n.right };
                }
            }
        }
    }

    /// Longest path, in splits.
    #[must_use]
    pub fn depth(&self) -> usize {
        // In preorder parents come first, so one pass is enough.
        let mut depth = vec![1usize; self.nodes.len()];
        for i in 0..self.nodes.len() {
            for child in [self.nodes[i].left, self.nodes[i].right] {
                if let Child::Node(c) = child {
                    depth[c as usize] = depth[i] + 1;
                }
            }
        }
        depth.into_iter().max().unwrap_or(0)
    }

    /// The digest: a leaf of the model's Merkle tree.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::new("nesa.decision.tree.v1")
            .bytes(&self.to_bytes())
            .finish()
    }
}

/// Whether nodes and leaves are numbered in preorder, and no path is too long.
fn check_order(nodes: &[Node]) -> Result<(), DecisionError> {
    let bad = DecisionError::Invalid("order of a tree's splits");
    let (mut next_node, mut next_leaf) = (0usize, 0u32);
    let start = if nodes.is_empty() {
        Child::Leaf(0)
    } else {
        Child::Node(0)
    };
    let mut open = vec![(start, 0usize)];
    while let Some((child, depth)) = open.pop() {
        match child {
            Child::Leaf(leaf) if leaf == next_leaf => next_leaf += 1,
            Child::Node(node) if node as usize == next_node && depth < limits::DEPTH => {
                let Some(n) = nodes.get(next_node) else {
                    return Err(bad);
                };
                next_node += 1;
                open.push((n.right, depth + 1));
                open.push((n.left, depth + 1));
            }
            _ => return Err(bad),
        }
    }
    if next_node == nodes.len() {
        Ok(())
    } else {
        Err(bad)
    }
}

impl Encode for Tree {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.class);
        w.seq(&self.nodes);
        w.i32s(&self.leaves);
    }
}

impl Decode for Tree {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let class = r.u32()?;
        let nodes = r.seq(limits::NODES)?;
        Self::new(class, nodes, r.i32s(limits::NODES + 1)?).map_err(refused)
    }
}

impl Encode for Node {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.column);
        w.u32(self.cut);
        for child in [self.left, self.right] {
            let (leaf, index) = match child {
                Child::Node(i) => (0, i),
                Child::Leaf(i) => (1, i),
            };
            w.u32(index << 1 | leaf);
        }
    }
}

impl Decode for Node {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (column, cut) = (r.u32()?, r.u32()?);
        let mut child = || {
            r.u32().map(|v| match v & 1 {
                0 => Child::Node(v >> 1),
                _ => Child::Leaf(v >> 1),
            })
        };
        Ok(Self {
            column,
            cut,
            left: child()?,
            right: child()?,
        })
    }
}

//! Random forests over every kind of column, and rows with holes.

use nesa_argument::decision::trees::Statement;
use nesa_codec::Digest;
use nesa_decision::trees::{Child, Column, Missing, Node, Rule, Tree};
use nesa_decision::{Model, Schema, Task, Trees, key};
use nesa_model::testing::Noise;

/// A model with rows and their scores.
pub(crate) struct World {
    pub(crate) root: Digest,
    pub(crate) trees: Trees,
    pub(crate) rows: Vec<i32>,
    pub(crate) scores: Vec<i64>,
}

/// Grows a tree: shapes like a library's, full to a depth, or leaf by leaf and lopsided.
struct Grower<'a> {
    n: &'a mut Noise,
    columns: &'a [Column],
    nodes: Vec<Node>,
    leaves: Vec<i32>,
}

impl Grower<'_> {
    fn grow(&mut self, depth: u32, lopsided: bool) -> Child {
        if depth == 0 || (lopsided && self.n.bits().is_multiple_of(3)) {
            self.leaves.push(self.n.within((1 << 30) - 1));
            return Child::Leaf(self.leaves.len() as u32 - 1);
        }
        let at = self.nodes.len();
        let column = self.n.bits() % self.columns.len() as u64;
        let cut = 1 + self.n.bits() % self.columns[column as usize].ranks() as u64;
        self.nodes.push(Node {
            column: column as u32,
            cut: cut as u32,
            left: Child::Leaf(0),
            right: Child::Leaf(0),
        });
        let left = self.grow(depth - 1, lopsided);
        let right = self.grow(depth - 1, lopsided);
        (self.nodes[at].left, self.nodes[at].right) = (left, right);
        Child::Node(at as u32)
    }
}

/// One column of every kind per feature.
fn columns(n: &mut Noise, features: u32) -> Vec<Column> {
    let mut all = Vec::new();
    for f in 0..features {
        let mut cuts: Vec<i64> = (0..1 + n.bits() % 20)
            .map(|_| n.within(40))
            .filter_map(|x| key::order((f64::from(x) / 4.0).to_bits()))
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let missing = [Missing::Left, Missing::Right, Missing::Zero][f as usize % 3];
        let sparse = f % 2 == 1 && missing != Missing::Zero;
        all.push(Column::new(f, missing, sparse, sparse, Rule::Cuts(cuts)));
        if f % 4 == 0 {
            let set = Rule::Set(vec![n.bits() as u32 | 1]);
            all.push(Column::new(f, Missing::Right, true, false, set));
        }
    }
    all.into_iter().map(|c| c.expect("a column")).collect()
}

impl World {
    /// `count` trees up to `depth` for `classes` scores (1 for a binary task) on `rows` rows.
    pub(crate) fn new(seed: u64, classes: usize, count: usize, depth: u32, rows: usize) -> Self {
        let mut n = Noise(seed);
        let features = 6;
        let names = |k: usize, p: &str| (0..k).map(|i| format!("{p}{i}")).collect();
        let (task, labels) = match classes {
            1 => (Task::Binary, 2),
            k => (Task::Classes, k),
        };
        let schema = Schema::new(names(features as usize, "f"), names(labels, "c"), task, 20);
        let columns = columns(&mut n, features);
        let mut trees = Vec::new();
        for i in 0..count {
            let mut g = Grower {
                n: &mut n,
                columns: &columns,
                nodes: Vec::new(),
                leaves: Vec::new(),
            };
            g.grow(depth, i % 2 == 1);
            let tree = Tree::new((i % classes) as u32, g.nodes, g.leaves);
            trees.push(tree.expect("a tree"));
        }
        let base = (0..classes).map(|_| i64::from(n.within(1 << 20))).collect();
        let trees = Trees::new(schema.expect("a schema"), columns, base, trees).expect("a model");
        let features: Vec<u64> = (0..rows * features as usize)
            .map(|_| match n.bits() % 8 {
                0 => f64::NAN.to_bits(),
                1 => 0,
                _ => (f64::from(n.within(45)) / 4.0).to_bits(),
            })
            .collect();
        Self::on(trees, &features)
    }

    /// A model on rows of features.
    pub(crate) fn on(trees: Trees, features: &[u64]) -> Self {
        let width = trees.schema().features().len();
        let (mut rows, mut scores) = (Vec::new(), Vec::new());
        for row in features.chunks_exact(width) {
            let ranks = trees.quantise(row).expect("a row");
            scores.extend(trees.decide(&ranks).expect("a row").scores);
            rows.extend(ranks);
        }
        Self {
            root: Model::Trees(trees.clone()).root(),
            trees,
            rows,
            scores,
        }
    }

    /// Three decisions of five small trees over two classes.
    pub(crate) fn small() -> Self {
        Self::new(7, 2, 5, 3, 3)
    }

    pub(crate) fn statement(&self) -> Statement<'_> {
        Statement {
            model: &self.root,
            trees: &self.trees,
            rows: &self.rows,
            scores: &self.scores,
        }
    }
}

//! Build the integer trees from whatever a library wrote.

use std::collections::{BTreeMap, BTreeSet};

use nesa_decision::trees::{Child, Column, Missing, Node, Rule, Tree};
use nesa_decision::{DecisionError, Trees, limits};

use super::Result;

/// Most binary places of a score: beyond them a double has no digits of a usual leaf.
const PLACES_MAX: i32 = 50;

/// How a split sees its feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct View {
    pub(super) feature: u32,
    pub(super) missing: Missing,
    /// Tiny magnitudes are zero.
    pub(super) snap: bool,
    /// Zero counts as missing.
    pub(super) sparse: bool,
}

/// What a split asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// Left when the feature's order is below this.
    Below(i64),
    /// Left when the category is in the set.
    In(Vec<u32>),
}

/// A node of a tree as read; children by index.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    Split {
        view: View,
        test: Test,
        left: usize,
        right: usize,
    },
    Leaf(f64),
}

/// A tree as read, its root first.
#[derive(Debug)]
pub(super) struct RawTree {
    pub(super) class: u32,
    pub(super) nodes: Vec<Raw>,
}

fn bad<T>(what: &'static str) -> Result<T> {
    Err(DecisionError::Invalid(what).into())
}

/// Binary places such that every leaf and start fits; what is finer is rounded.
pub(super) fn places(base: &[f64], trees: &[RawTree]) -> Result<u8> {
    let mut largest = 0f64;
    for node in trees.iter().flat_map(|t| &t.nodes) {
        if let Raw::Leaf(v) = node {
            if !v.is_finite() {
                return bad("value of a leaf");
            }
            largest = largest.max(v.abs());
        }
    }
    if !base.iter().all(|b| b.is_finite()) {
        return bad("start of the scores");
    }
    let start = base.iter().fold(0f64, |m, b| m.max(b.abs()));
    let fits = |p: i32| {
        libm::ldexp(largest, p) < f64::from(limits::LEAF_MAX)
            && libm::ldexp(start, p) < limits::BASE_MAX as f64
    };
    match (0..=PLACES_MAX).rev().find(|p| fits(*p)) {
        Some(p) => Ok(p as u8),
        None => bad("value of a leaf"),
    }
}

/// `v` in steps of `2^-places`.
fn fixed(v: f64, places: u8) -> i64 {
    libm::round(libm::ldexp(v, i32::from(places))) as i64
}

/// Columns of all splits, sorted, each with its place.
struct Columns {
    cuts: BTreeMap<View, (u32, Vec<i64>)>,
    sets: BTreeMap<(View, Vec<u32>), u32>,
}

impl Columns {
    fn of(trees: &[RawTree]) -> Self {
        let mut cuts: BTreeMap<View, BTreeSet<i64>> = BTreeMap::new();
        let mut sets = BTreeMap::new();
        for node in trees.iter().flat_map(|t| &t.nodes) {
            match node {
                Raw::Split {
                    view,
                    test: Test::Below(cut),
                    ..
                } => {
                    cuts.entry(*view).or_default().insert(*cut);
                }
                Raw::Split {
                    view,
                    test: Test::In(set),
                    ..
                } => {
                    sets.insert((*view, set.clone()), 0);
                }
                Raw::Leaf(_) => {}
            }
        }
        let numbered = cuts.into_iter().enumerate();
        let cuts: BTreeMap<_, _> = numbered
            .map(|(i, (view, cuts))| (view, (i as u32, cuts.into_iter().collect())))
            .collect();
        for (i, place) in sets.values_mut().enumerate() {
            *place = (cuts.len() + i) as u32;
        }
        Self { cuts, sets }
    }

    /// Column and cut of a split.
    fn find(&self, view: &View, test: &Test) -> Option<(u32, u32)> {
        match test {
            Test::Below(cut) => {
                let (column, cuts) = self.cuts.get(view)?;
                Some((*column, cuts.binary_search(cut).ok()? as u32 + 1))
            }
            Test::In(set) => Some((*self.sets.get(&(*view, set.clone()))?, 1)),
        }
    }

    fn build(self) -> Result<Vec<Column>> {
        let cuts = (self.cuts.into_iter()).map(|(view, (_, cuts))| (view, Rule::Cuts(cuts)));
        let sets = (self.sets.into_keys()).map(|(view, set)| (view, Rule::Set(set)));
        let column = |(v, rule): (View, Rule)| {
            Ok(Column::new(v.feature, v.missing, v.snap, v.sparse, rule)?)
        };
        cuts.chain(sets).map(column).collect()
    }
}

/// The integer model; `schema` must have the places that [`places`] gave.
pub(super) fn build(
    schema: nesa_decision::Schema,
    base: &[f64],
    trees: &[RawTree],
) -> Result<Trees> {
    let places = schema.places();
    let columns = Columns::of(trees);
    let built = trees.iter().map(|t| tree(t, &columns, places));
    let built = built.collect::<Result<Vec<Tree>>>()?;
    let base = base.iter().map(|b| fixed(*b, places)).collect();
    Ok(Trees::new(schema, columns.build()?, base, built)?)
}

/// One tree, renumbered in preorder.
fn tree(raw: &RawTree, columns: &Columns, places: u8) -> Result<Tree> {
    let mut seen = vec![false; raw.nodes.len()];
    let (mut nodes, mut leaves): (Vec<Node>, Vec<i32>) = (Vec::new(), Vec::new());
    // Where each found node is to be written: parent and side.
    let mut open = vec![(0usize, None::<(usize, bool)>)];
    while let Some((at, parent)) = open.pop() {
        let Some(node) = raw.nodes.get(at) else {
            return bad("child of a split");
        };
        if std::mem::replace(&mut seen[at], true) {
            return bad("a split that is reached twice");
        }
        let child = match node {
            Raw::Leaf(v) => {
                leaves.push(fixed(*v, places) as i32);
                Child::Leaf(leaves.len() as u32 - 1)
            }
            Raw::Split {
                view,
                test,
                left,
                right,
            } => {
                let Some((column, cut)) = columns.find(view, test) else {
                    return bad("column of a split");
                };
                let here = nodes.len();
                let none = Child::Leaf(0);
                nodes.push(Node {
                    column,
                    cut,
                    left: none,
                    right: none,
                });
                open.push((*right, Some((here, false))));
                open.push((*left, Some((here, true))));
                Child::Node(here as u32)
            }
        };
        match parent {
            Some((p, true)) => nodes[p].left = child,
            Some((p, false)) => nodes[p].right = child,
            None => {}
        }
    }
    Ok(Tree::new(raw.class, nodes, leaves)?)
}

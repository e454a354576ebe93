//! Lies: a prover that changes one thing, and a verifier that is asked about something else.

use nesa_argument::F;
use nesa_argument::decision::trees::{Statement, check, prove, verify};
use nesa_argument::decision::{Refusal, Rejection};
use nesa_argument::pcs::PcsError;
use nesa_decision::trees::{Child, Column, Inverse, Missing, Rule, Tree};
use nesa_decision::{Schema, Task, Trees};
use p3_field::{Field, PrimeCharacteristicRing};

use crate::world::World;

/// First leaf of every tree, and the number of all.
fn starts(trees: &Trees) -> (Vec<usize>, usize) {
    let mut all = 0;
    let starts = trees.trees().iter().map(|t| {
        all += t.leaves().len();
        all - t.leaves().len()
    });
    (starts.collect(), all)
}

/// Committed cells of a world with the scores that `scores` make of it.
struct Lie {
    w: World,
    cells: Vec<F>,
    width: usize,
}

impl Lie {
    fn new() -> Self {
        let w = World::small();
        let cells = check::witness(&w.statement()).expect("honest");
        let size = check::size(&w.statement()).expect("a size");
        Self {
            w,
            cells,
            width: 1 << size.log_decisions,
        }
    }

    /// The leaf that decision `d` reaches in tree `t`.
    fn leaf(&self, t: usize, d: usize) -> usize {
        let columns = self.w.trees.columns().len();
        let row = &self.w.rows[d * columns..(d + 1) * columns];
        self.w.trees.trees()[t].leaf(row) as usize
    }

    fn cell(&mut self, t: usize, leaf: usize, d: usize) -> &mut F {
        let (starts, _) = starts(&self.w.trees);
        &mut self.cells[(starts[t] + leaf) * self.width + d]
    }

    /// Moves a decision to another leaf, and states the score that follows.
    fn go(&mut self, t: usize, to: usize, d: usize) {
        let from = self.leaf(t, d);
        *self.cell(t, from, d) = F::ZERO;
        *self.cell(t, to, d) = F::ONE;
        let tree = &self.w.trees.trees()[t];
        let (was, is) = (tree.leaves()[from], tree.leaves()[to]);
        let scores = self.w.trees.schema().scores();
        self.w.scores[d * scores + tree.class() as usize] += i64::from(is) - i64::from(was);
    }

    fn refused(&self, name: &str) {
        let s = self.w.statement();
        let mut proof = check::forge(&s, self.cells.clone()).expect("sizes fit");
        assert_eq!(verify(&s, &proof), Err(Rejection::Relations), "{name}");
        // A prover that makes the last equation hold is caught by the opening.
        check::adapt(&s, &mut proof).expect("a weight");
        let answer = verify(&s, &proof);
        assert!(
            matches!(answer, Err(Rejection::Opening(PcsError::Refused(_)))),
            "{name}: {answer:?}"
        );
    }
}

#[test]
fn the_untouched_witness_is_accepted() {
    let lie = Lie::new();
    let proof = check::forge(&lie.w.statement(), lie.cells.clone()).expect("honest");
    assert_eq!(verify(&lie.w.statement(), &proof), Ok(()));
}

#[test]
fn every_other_leaf_of_every_tree_is_refused() {
    let count = Lie::new().w.trees.trees().len();
    for t in 0..count {
        let lie = Lie::new();
        for leaf in 0..lie.w.trees.trees()[t].leaves().len() {
            let mut lie = Lie::new();
            if leaf != lie.leaf(t, 1) {
                lie.go(t, leaf, 1);
                lie.refused("other leaf");
            }
        }
    }
}

#[test]
fn the_last_split_taken_the_other_way_is_refused() {
    let mut lie = Lie::new();
    let columns = lie.w.trees.columns().len();
    let tree = &lie.w.trees.trees()[0];
    let (steps, _) = tree.path(&lie.w.rows[..columns]);
    let last = steps.last().expect("a split");
    let node = tree.nodes()[last.node as usize];
    let other = if last.left { node.right } else { node.left };
    let Child::Leaf(leaf) = other else {
        panic!("the first tree is full");
    };
    lie.go(0, leaf as usize, 0);
    lie.refused("wrong branch");
}

#[test]
fn a_tree_left_out_or_counted_twice_is_refused() {
    for (times, name) in [(0, "left out"), (2, "twice")] {
        let mut lie = Lie::new();
        let leaf = lie.leaf(2, 0);
        *lie.cell(2, leaf, 0) = F::from_u32(times);
        let tree = &lie.w.trees.trees()[2];
        let more = i64::from(tree.leaves()[leaf]) * (i64::from(times) - 1);
        let class = tree.class() as usize;
        lie.w.scores[class] += more;
        lie.refused(name);
    }
}

#[test]
fn a_tree_counted_in_another_ones_place_is_refused() {
    let mut lie = Lie::new();
    let (a, b) = (lie.leaf(0, 0), lie.leaf(2, 0));
    *lie.cell(0, a, 0) = F::TWO;
    *lie.cell(2, b, 0) = F::ZERO;
    let value = |t: usize, leaf: usize| i64::from(lie.w.trees.trees()[t].leaves()[leaf]);
    let more = value(0, a) - value(2, b);
    lie.w.scores[0] += more;
    lie.refused("in another one's place");
}

#[test]
fn fractions_of_leaves_are_refused() {
    // Two leaves hold more and less than one, so that the tree's sum and its score are as stated.
    let mut lie = Lie::new();
    let at = lie.leaf(0, 0);
    let to = (at + 1) % lie.w.trees.trees()[0].leaves().len();
    let half = F::TWO.try_inverse().expect("two is not zero");
    *lie.cell(0, at, 0) = half;
    *lie.cell(0, to, 0) = half;
    lie.refused("halves");
    let mut lie = Lie::new();
    *lie.cell(0, at, 0) = F::TWO;
    *lie.cell(0, to, 0) = F::NEG_ONE;
    lie.refused("two and minus one");
}

#[test]
fn a_score_off_by_one_is_refused() {
    for by in [1, -1] {
        for at in 0..Lie::new().w.scores.len() {
            let mut lie = Lie::new();
            lie.w.scores[at] += by;
            lie.refused("score");
            assert_eq!(prove(&lie.w.statement()).err(), Some(Refusal::Scores));
        }
    }
}

#[test]
fn scores_of_other_classes_or_decisions_are_refused() {
    let mut lie = Lie::new();
    assert_ne!(lie.w.scores[0], lie.w.scores[1]);
    lie.w.scores.swap(0, 1);
    lie.refused("classes exchanged");
    let mut lie = Lie::new();
    assert_ne!(lie.w.scores[0], lie.w.scores[2]);
    lie.w.scores.swap(0, 2);
    lie.w.scores.swap(1, 3);
    lie.refused("decisions exchanged");
}

#[test]
fn a_reached_leaf_hidden_in_the_padding_is_refused() {
    // Three decisions of four: the last column is padding.
    let mut lie = Lie::new();
    let leaf = lie.leaf(1, 2);
    *lie.cell(1, leaf, 2) = F::ZERO;
    *lie.cell(1, leaf, 3) = F::ONE;
    lie.refused("moved into the padding");
}

#[test]
fn what_padding_holds_changes_nothing() {
    let mut lie = Lie::new();
    let (_, leaves) = starts(&lie.w.trees);
    *lie.cell(0, 0, 3) = F::from_u32(9);
    for c in &mut lie.cells[leaves * lie.width..] {
        *c = F::from_u32(7);
    }
    let s = lie.w.statement();
    let proof = check::forge(&s, lie.cells.clone()).expect("sizes fit");
    assert_eq!(verify(&s, &proof), Ok(()));
    // It cannot carry a false score either.
    let mut scores = lie.w.scores.clone();
    scores[0] += 7;
    let s = Statement {
        scores: &scores,
        ..s
    };
    let proof = check::forge(&s, lie.cells.clone()).expect("sizes fit");
    assert_eq!(verify(&s, &proof), Err(Rejection::Relations));
}

/// One split of one column at 2.0: leaves −1 and 1.
fn stump(cut: f64, leaves: [i32; 2]) -> Trees {
    let names = vec!["no".to_owned(), "yes".to_owned()];
    let schema = Schema::new(vec!["f".into()], names, Task::Binary, 0);
    let cuts = [0.0, 1.0, cut, 3.0].map(|x| nesa_decision::key::order(x.to_bits()));
    let cuts = Rule::Cuts(cuts.into_iter().flatten().collect());
    let column = Column::new(0, Missing::Left, false, false, cuts).expect("a column");
    let node = nesa_decision::trees::Node {
        column: 0,
        cut: 3,
        left: Child::Leaf(0),
        right: Child::Leaf(1),
    };
    let tree = Tree::new(0, vec![node], leaves.to_vec()).expect("a tree");
    Trees::new(schema.expect("a schema"), vec![column], vec![0], vec![tree]).expect("a model")
}

#[test]
fn the_wrong_side_of_a_cut_is_refused() {
    let below = f64::from_bits(2.0f64.to_bits() - 1);
    for (x, wrong) in [(2.0, 0), (below, 1), (f64::NAN, 1)] {
        let mut w = World::on(stump(2.0, [-1, 1]), &[x.to_bits()]);
        let mut cells = check::witness(&w.statement()).expect("honest");
        cells.swap(0, 1);
        w.scores = vec![[-1, 1][wrong]];
        let proof = check::forge(&w.statement(), cells).expect("sizes fit");
        assert_eq!(
            verify(&w.statement(), &proof),
            Err(Rejection::Relations),
            "{x}"
        );
    }
}

#[test]
fn another_model_is_refused() {
    let honest = World::on(stump(2.0, [-1, 1]), &[2.0f64.to_bits()]);
    let next = f64::from_bits(2.0f64.to_bits() + 1);
    for other in [
        stump(next, [-1, 1]),
        stump(2.0, [-1, 2]),
        stump(2.0, [-1, 0]),
    ] {
        let w = World::on(other, &[2.0f64.to_bits()]);
        let proof = prove(&w.statement()).expect("true of the other model");
        let name = format!("{:?}", w.scores);
        for model in [&honest.root, &w.root] {
            let s = Statement {
                model,
                rows: &honest.rows,
                scores: &w.scores,
                trees: &honest.trees,
            };
            assert_eq!(verify(&s, &proof), Err(Rejection::Relations), "{name}");
            // Proved as if it were the honest model.
            let theirs = Statement {
                trees: &w.trees,
                rows: &w.rows,
                ..s
            };
            let proof = prove(&theirs).expect("true of the other model");
            assert_eq!(verify(&s, &proof), Err(Rejection::Relations), "{name}");
        }
    }
}

#[test]
fn a_proof_counts_for_its_own_statement_only() {
    let w = World::small();
    let proof = prove(&w.statement()).expect("honest");
    let other = World::new(8, 2, 5, 3, 3);
    let same_model = Statement {
        model: &other.root,
        ..w.statement()
    };
    assert_eq!(verify(&same_model, &proof), Err(Rejection::Relations));
    let inverse = Inverse::new(&w.trees);
    let columns = w.trees.columns();
    for at in 0..w.rows.len() {
        let mut rows = w.rows.clone();
        let max = columns[at % columns.len()].ranks() as i32;
        rows[at] = if rows[at] == max {
            max - 1
        } else {
            rows[at] + 1
        };
        let s = Statement {
            rows: &rows,
            ..w.statement()
        };
        let row = at / columns.len() * columns.len();
        let expected = match inverse.features(&rows[row..row + columns.len()]) {
            Some(_) => Rejection::Relations,
            None => Rejection::Statement("ranks"),
        };
        assert_eq!(verify(&s, &proof), Err(expected), "rank {at}");
    }
    let fewer = Statement {
        rows: &w.rows[..w.rows.len() / 3],
        scores: &w.scores[..2],
        ..w.statement()
    };
    assert!(verify(&fewer, &proof).is_err());
}

#[test]
fn parts_of_two_proofs_do_not_mix() {
    let (a, b) = (World::small(), World::new(9, 2, 5, 3, 3));
    let [pa, pb] = [&a, &b].map(|w| prove(&w.statement()).expect("honest"));
    let s = a.statement();
    let mut mixed = pa.clone();
    mixed.commitment = pb.commitment;
    assert_eq!(verify(&s, &mixed), Err(Rejection::Relations));
    let mut mixed = pa.clone();
    mixed.inner = pb.inner;
    assert_eq!(verify(&s, &mixed), Err(Rejection::Relations));
    let mut mixed = pa.clone();
    mixed.value = pb.value;
    assert_eq!(verify(&s, &mixed), Err(Rejection::Relations));
    let mut mixed = pa.clone();
    mixed.opening = pb.opening;
    assert!(matches!(verify(&s, &mixed), Err(Rejection::Opening(_))));
    let mut mixed = pa;
    mixed.inner.pop();
    assert_eq!(verify(&s, &mixed), Err(Rejection::Relations));
}

#[test]
fn malformed_statements_are_refused_by_both_sides() {
    let w = World::small();
    let proof = prove(&w.statement()).expect("honest");
    let columns = w.trees.columns();
    let with = |at: usize, v: i32| {
        let mut rows = w.rows.clone();
        rows[at] = v;
        rows
    };
    let many = vec![0; 2 << 17];
    let big = vec![i64::MIN; w.scores.len()];
    let none: &[i64] = &[];
    let cases: [(&str, Vec<i32>, &[i64]); 7] = [
        ("rows", with(0, -1), &w.scores),
        ("rows", with(0, columns[0].ranks() as i32 + 1), &w.scores),
        ("rows", w.rows[1..].to_vec(), &w.scores),
        ("scores", w.rows.clone(), &w.scores[..3]),
        ("scores", w.rows.clone(), &big),
        ("number of decisions", Vec::new(), none),
        ("number of decisions", Vec::new(), &many),
    ];
    for (name, rows, scores) in cases {
        let s = Statement {
            rows: &rows,
            scores,
            ..w.statement()
        };
        assert_eq!(verify(&s, &proof), Err(Rejection::Statement(name)));
        assert_eq!(prove(&s).err(), Some(Refusal::Size(name)));
    }
}

#[test]
fn ranks_that_no_value_has_are_refused_by_both_sides() {
    // Above 2 for one column and below 1 for another of the same feature.
    let schema = Schema::new(vec!["f".into()], Vec::new(), Task::Regression, 0);
    let cut = |x: f64| nesa_decision::key::order(x.to_bits()).expect("no NaN");
    let columns = [(Missing::Left, 1.0), (Missing::Right, 2.0)].map(|(missing, x)| {
        Column::new(0, missing, false, false, Rule::Cuts(vec![cut(x)])).expect("a column")
    });
    let trees = Trees::new(
        schema.expect("a schema"),
        columns.to_vec(),
        vec![0],
        Vec::new(),
    );
    let w = World::on(
        trees.expect("a model"),
        &[f64::NAN.to_bits(), 0, 3.0f64.to_bits()],
    );
    assert_eq!(w.rows, [0, 1, 0, 0, 1, 1]);
    let proof = prove(&w.statement()).expect("honest");
    assert_eq!(verify(&w.statement(), &proof), Ok(()));
    let between = [1, 0, 0, 0, 1, 1];
    let s = Statement {
        rows: &between,
        ..w.statement()
    };
    assert!(prove(&s).is_ok(), "from 1 to 2");
    // A missing value is right in the second column, so nothing is left and right.
    let trees = stump(2.0, [-1, 1]);
    let mut columns = trees.columns().to_vec();
    let rule = columns[0].rule().clone();
    columns.push(Column::new(0, Missing::Left, false, false, rule).expect("a column"));
    let parts = (trees.schema().clone(), trees.trees().to_vec());
    let trees = Trees::new(parts.0, columns, vec![0], parts.1).expect("a model");
    let w = World::on(trees, &[2.0f64.to_bits()]);
    let proof = prove(&w.statement()).expect("honest");
    let s = Statement {
        rows: &[3, 2],
        ..w.statement()
    };
    assert_eq!(verify(&s, &proof), Err(Rejection::Statement("ranks")));
    assert_eq!(prove(&s).err(), Some(Refusal::Size("ranks")));
}

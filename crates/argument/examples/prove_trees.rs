//! Proves decisions of random boosted trees: for tuning.
//!
//! `cargo run --release -p nesa-argument --example prove_trees -- DECISIONS TREES DEPTH COLUMNS`

use std::time::Instant;

use nesa_argument::decision::trees::{Statement, TreesProof, prove, verify};
use nesa_codec::{Decode, Encode};
use nesa_decision::trees::{Child, Column, Missing, Node, Rule, Tree};
use nesa_decision::{Model, Schema, Task, Trees};
use nesa_model::testing::Noise;

const CUTS: usize = 50;

/// Appends a full tree of `depth` splits in preorder.
fn grow(
    n: &mut Noise,
    depth: usize,
    columns: usize,
    nodes: &mut Vec<Node>,
    leaves: &mut Vec<i32>,
) -> Child {
    if depth == 0 {
        leaves.push(n.within(1 << 20));
        return Child::Leaf(leaves.len() as u32 - 1);
    }
    let at = nodes.len();
    nodes.push(Node {
        column: (n.bits() % columns as u64) as u32,
        cut: 1 + (n.bits() % CUTS as u64) as u32,
        left: Child::Leaf(0),
        right: Child::Leaf(0),
    });
    let left = grow(n, depth - 1, columns, nodes, leaves);
    let right = grow(n, depth - 1, columns, nodes, leaves);
    (nodes[at].left, nodes[at].right) = (left, right);
    Child::Node(at as u32)
}

fn forest(trees: usize, depth: usize, columns: usize) -> Result<Trees, Box<dyn std::error::Error>> {
    let mut n = Noise(1);
    let features = (0..columns).map(|i| format!("f{i}")).collect();
    let schema = Schema::new(features, vec!["no".into(), "yes".into()], Task::Binary, 20)?;
    let cuts = Rule::Cuts((0..CUTS as i64).collect());
    let column = |f: usize| Column::new(f as u32, Missing::Left, false, false, cuts.clone());
    let columns = (0..columns).map(column).collect::<Result<Vec<_>, _>>()?;
    let mut all = Vec::new();
    for _ in 0..trees {
        let (mut nodes, mut leaves) = (Vec::new(), Vec::new());
        grow(&mut n, depth, columns.len(), &mut nodes, &mut leaves);
        all.push(Tree::new(0, nodes, leaves)?);
    }
    Ok(Trees::new(schema, columns, vec![0], all)?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = std::env::args().skip(1).map(|a| a.parse());
    let args: Vec<usize> = args.collect::<Result<_, _>>()?;
    let [decisions, trees, depth, columns] = args[..] else {
        return Err("DECISIONS TREES DEPTH COLUMNS".into());
    };
    let trees = forest(trees, depth, columns)?;
    let mut n = Noise(2);
    let rows: Vec<i32> = (0..decisions * columns)
        .map(|_| (n.bits() % (CUTS as u64 + 1)) as i32)
        .collect();
    let start = Instant::now();
    let mut scores = Vec::new();
    for row in rows.chunks_exact(columns) {
        scores.extend(trees.decide(row)?.scores);
    }
    println!("decide {:.6} s", start.elapsed().as_secs_f64());
    let root = Model::Trees(trees.clone()).root();
    let s = Statement {
        model: &root,
        trees: &trees,
        rows: &rows,
        scores: &scores,
    };
    for _ in 0..3 {
        let start = Instant::now();
        let bytes = prove(&s)?.to_bytes();
        println!(
            "prove  {:.4} s, {} bytes",
            start.elapsed().as_secs_f64(),
            bytes.len()
        );
        let start = Instant::now();
        verify(
            &s,
            &TreesProof::from_bytes(&bytes).map_err(|e| e.to_string())?,
        )?;
        println!("verify {:.6} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

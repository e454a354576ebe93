//! Proves a random perceptron, stage by stage: for tuning.
//!
//! `cargo run --release -p nesa-argument --example prove_mlp -- DECISIONS WIDTH WIDTH …`

use std::time::Instant;

use nesa_argument::decision::mlp::{MlpProof, Statement, prove, verify};
use nesa_codec::{Decode, Encode};
use nesa_decision::mlp::{Affine, Layer};
use nesa_decision::{Mlp, Schema, Task};
use nesa_model::spec::{ACT_MAX, LOGIT_MAX};
use nesa_model::testing::Noise;
use nesa_model::{Linear, Table};

fn perceptron(widths: &[usize]) -> Result<Mlp, Box<dyn std::error::Error>> {
    let mut n = Noise(1);
    let features = (0..widths[0]).map(|i| format!("f{i}")).collect();
    let outputs = widths[widths.len() - 1];
    let (task, names) = match outputs {
        1 => (Task::Regression, 0),
        _ => (Task::Classes, outputs),
    };
    let classes = (0..names).map(|i| format!("c{i}")).collect();
    let schema = Schema::new(features, classes, task, 8)?;
    let one = Affine {
        offset: 0,
        step: 1f64.to_bits(),
    };
    let mut layers = Vec::new();
    for (i, w) in widths.windows(2).enumerate() {
        let last = i + 2 == widths.len();
        let linear = Linear {
            rows: w[1],
            cols: w[0],
            weight: (0..w[0] * w[1]).map(|_| n.within(127) as i8).collect(),
            bias: (0..w[1]).map(|_| i64::from(n.within(1 << 20))).collect(),
            divisor: (0..w[1]).map(|_| if last { 257 } else { 9_001 }).collect(),
            lift: 0,
            clamp: if last { LOGIT_MAX } else { ACT_MAX },
        };
        let table = (!last).then_some(0);
        layers.push(Layer { linear, table });
    }
    let relu = Table::new((-32_768..32_768).map(|x: i32| x.max(0) as i16).collect());
    let tables = if layers.len() > 1 {
        relu.into_iter().collect()
    } else {
        Vec::new()
    };
    Ok(Mlp::new(schema, vec![one; widths[0]], tables, layers)?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = std::env::args().skip(1).map(|a| a.parse());
    let args: Vec<usize> = args.collect::<Result<_, _>>()?;
    let [decisions, widths @ ..] = args.as_slice() else {
        return Err("DECISIONS WIDTH WIDTH …".into());
    };
    let mlp = perceptron(widths)?;
    let mut n = Noise(2);
    let rows: Vec<i16> = (0..decisions * widths[0])
        .map(|_| n.within(20_000) as i16)
        .collect();
    let mut scores = Vec::new();
    let start = Instant::now();
    for row in rows.chunks_exact(widths[0]) {
        scores.extend(mlp.decide(row)?.scores);
    }
    println!("decide {:.4} s", start.elapsed().as_secs_f64());
    let root = mlp.root();
    let s = Statement {
        model: &root,
        mlp: &mlp,
        rows: &rows,
        scores: &scores,
    };
    for _ in 0..3 {
        let start = Instant::now();
        let proof = prove(&s)?;
        println!("prove {:.4} s", start.elapsed().as_secs_f64());
        let bytes = proof.to_bytes();
        let proof = MlpProof::from_bytes(&bytes)?;
        let start = Instant::now();
        verify(&s, &proof)?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "verify {seconds:.4} s, {} bytes, {} clamped",
            bytes.len(),
            proof.stated.exceptions.len()
        );
    }
    let start = Instant::now();
    for layer in mlp.layers() {
        let l = &layer.linear;
        let e = vec![nesa_argument::E::from(nesa_argument::F::new(77)); l.rows];
        std::hint::black_box(nesa_argument::fold::fold(&l.weight, l.cols, &e));
    }
    println!("fold of the weights {:.4} s", start.elapsed().as_secs_f64());
    Ok(())
}

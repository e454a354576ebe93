//! Honest runs of random models are proved and accepted; every change of what was proved is refused.

use nesa_argument::transformer::{RangeProof, Refusal, Statement, prove, verify};
use nesa_codec::{Decode, Digest, Encode};
use nesa_model::block::Block;
use nesa_model::cache::KvCache;
use nesa_model::reference::Reference;
use nesa_model::testing::{Model, Noise, model, shapes};

fn input(m: &Model, positions: usize, seed: u64) -> Vec<i32> {
    let mut n = Noise(seed);
    (0..positions * m.manifest.shape.dim)
        .map(|_| n.within(1 << 22))
        .collect()
}

fn run(m: &Model, input: &[i32]) -> Vec<i32> {
    let mut x = input.to_vec();
    let shape = &m.manifest.shape;
    let mut cache = KvCache::new(shape, &(0..shape.layers), shape.context);
    Reference::new(shape, &m.common).forward(&m.blocks, &mut x, &mut cache);
    x
}

#[test]
fn honest_runs_are_accepted_and_nothing_else() {
    for (i, shape) in shapes().into_iter().enumerate() {
        let m = model(&shape, i as u64 + 1);
        for positions in [1, 3, 8] {
            let x = input(&m, positions, 7 + positions as u64);
            let y = run(&m, &x);
            let root = m.manifest.root();
            let layers = 0..shape.layers as u32;
            let roots: Vec<Digest> = m.blocks.iter().map(Block::root).collect();
            let s = Statement {
                shape: &shape,
                common: &m.common,
                blocks: &m.blocks,
                roots: &roots,
                model: &root,
                layers: &layers,
                input: &x,
                output: &y,
            };
            let proof = prove(&s, &mut |_| true).expect("an honest run has a proof");
            assert_eq!(
                verify(&s, &proof),
                Ok(()),
                "shape {i}, {positions} positions"
            );
            let bytes = proof.to_bytes();
            let again = RangeProof::from_bytes(&bytes).expect("canonical");
            assert_eq!(again.to_bytes(), bytes);
            let mut wrong = y.clone();
            wrong[0] += 1;
            let lie = Statement {
                output: &wrong,
                ..s
            };
            assert_eq!(prove(&lie, &mut |_| true).err(), Some(Refusal::Output));
            assert!(verify(&lie, &proof).is_err());
        }
    }
}

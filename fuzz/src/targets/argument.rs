//! Succinct proofs of a range of blocks: decoded, and verified for a small model.

use std::cell::RefCell;

use nesa_argument::transformer::{RangeProof, Statement, prove, verify};
use nesa_codec::{Decode, Digest, Encode};
use nesa_model::KvCache;
use nesa_model::reference::Reference;
use nesa_model::spec::Shape;
use nesa_model::testing::{Model, Noise, model, shapes};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "argument",
    run,
    bound: |len| 200 * len + (96 << 20),
    seeds,
    dictionary: &[
        b"\0\0\0\0",
        b"\x01\0\0\0",
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\0\0\0\0\xff\xff\xff\xff",
    ],
};

struct Known {
    shape: Shape,
    model: Model,
    root: Digest,
    x: Vec<i32>,
    y: Vec<i32>,
}

impl Known {
    fn new() -> Self {
        let shape = Shape {
            layers: 1,
            dim: 4,
            heads: 2,
            kv_heads: 2,
            head_dim: 2,
            ffn: 3,
            ..shapes().swap_remove(1)
        };
        let model = model(&shape, 3);
        let mut n = Noise(1);
        let x: Vec<i32> = (0..2 * shape.dim).map(|_| n.within(1 << 22)).collect();
        let mut y = x.clone();
        let mut cache = KvCache::new(&shape, &(0..1), shape.context);
        Reference::new(&shape, &model.common).forward(&model.blocks, &mut y, &mut cache);
        let root = model.manifest.root();
        Self {
            shape,
            model,
            root,
            x,
            y,
        }
    }

    fn with<T>(&self, then: impl FnOnce(&Statement<'_>) -> T) -> T {
        then(&Statement {
            shape: &self.shape,
            common: &self.model.common,
            blocks: &self.model.blocks,
            roots: &self.model.manifest.layers,
            model: &self.root,
            layers: &(0..1),
            input: &self.x,
            output: &self.y,
        })
    }
}

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

fn run(bytes: &[u8]) -> String {
    let decoded = RangeProof::from_bytes(bytes);
    let mut checked = String::new();
    if let Ok(p) = &decoded {
        assert_eq!(p.to_bytes(), bytes, "one encoding per proof");
        KNOWN.with_borrow_mut(|k| {
            let k = k.get_or_insert_with(Known::new);
            checked = outcome(k.with(|s| verify(s, p)));
        });
    }
    (outcome(decoded) + &checked).replace(|c: char| c.is_ascii_digit(), "")
}

fn seeds() -> Vec<Vec<u8>> {
    KNOWN.with_borrow_mut(|k| {
        let k = k.get_or_insert_with(Known::new);
        let proof = k.with(|s| prove(s, &mut |_| true));
        proof.iter().map(Encode::to_bytes).collect()
    })
}

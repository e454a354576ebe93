//! Tiny random models, their honest witnesses, and what changes one committed value.

use std::sync::{Arc, OnceLock};

use nesa_argument::field::{from_i64, to_i64};
use nesa_argument::layout::TensorId;
use nesa_argument::transformer::check::{Witness, witness};
use nesa_argument::transformer::{RangeProof, Statement, prove};
use nesa_codec::Digest;
use nesa_model::block::{Block, Ffn};
use nesa_model::cache::KvCache;
use nesa_model::ops::linear::Linear;
use nesa_model::reference::Reference;
use nesa_model::spec::{Order, Shape};
use nesa_model::testing::{Model, Noise, model};

pub(crate) const POSITIONS: usize = 3;

/// A model with rows that follow from one another.
#[derive(Clone)]
pub(crate) struct World {
    pub m: Model,
    pub shape: Shape,
    pub root: Digest,
    pub roots: Vec<Digest>,
    pub layers: std::ops::Range<u32>,
    pub x: Vec<i32>,
    pub y: Vec<i32>,
    /// The proof of the world as it was made.
    proof: Arc<OnceLock<RangeProof>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Llama,
    Wide,
    Gpt,
    Bert,
}

pub(crate) fn shape(family: Family) -> Shape {
    let llama = Shape {
        layers: 2,
        dim: 4,
        heads: 2,
        kv_heads: 1,
        head_dim: 2,
        ffn: 3,
        vocab: 5,
        context: 8,
        order: Order::Pre,
        causal: true,
        gated: true,
        rotary: true,
    };
    let gpt = Shape {
        kv_heads: 2,
        gated: false,
        rotary: false,
        ..llama
    };
    match family {
        Family::Llama | Family::Wide => llama,
        Family::Gpt => gpt,
        Family::Bert => Shape {
            order: Order::Post,
            causal: false,
            ..gpt
        },
    }
}

impl World {
    pub(crate) fn new(family: Family) -> Self {
        let shape = shape(family);
        let mut m = model(&shape, 11);
        for b in &mut m.blocks {
            if let Ffn::Gated { product_max, .. } = &mut b.ffn {
                *product_max = if family == Family::Wide {
                    3_000_000
                } else {
                    32_767
                };
            }
        }
        let mut n = Noise(5);
        let x = (0..POSITIONS * shape.dim)
            .map(|_| n.within(1 << 22))
            .collect();
        Self::of(m, shape, x)
    }

    pub(crate) fn of(m: Model, shape: Shape, x: Vec<i32>) -> Self {
        let layers = 0..m.blocks.len() as u32;
        let mut w = Self {
            root: m.manifest.root(),
            m,
            shape,
            layers,
            y: Vec::new(),
            roots: Vec::new(),
            x,
            proof: Arc::default(),
        };
        w.run();
        w
    }

    /// Binds the blocks as they are now, but for one that no statement may have.
    pub(crate) fn bind(&mut self) {
        let fits = |b: &&Block| {
            let whole = |l: &Linear| l.weight.len() == l.rows * l.cols;
            self.shape.is_valid()
                && b.fits(&self.shape, &self.m.common)
                && b.linears(self.shape.order).iter().all(|(_, l, _)| whole(l))
        };
        self.roots.resize(self.m.blocks.len(), Digest::default());
        for (root, block) in self.roots.iter_mut().zip(&self.m.blocks) {
            if let Some(b) = Some(block).filter(fits) {
                *root = b.root();
            }
        }
    }

    /// Recomputes the output.
    pub(crate) fn run(&mut self) {
        self.bind();
        self.y = self.x.clone();
        let layers = 0..self.m.blocks.len();
        let mut cache = KvCache::new(&self.shape, &layers, self.shape.context);
        let reference = Reference::new(&self.shape, &self.m.common);
        reference.forward(&self.m.blocks, &mut self.y, &mut cache);
    }

    pub(crate) fn statement(&self) -> Statement<'_> {
        Statement {
            shape: &self.shape,
            common: &self.m.common,
            blocks: &self.m.blocks,
            roots: &self.roots,
            model: &self.root,
            layers: &self.layers,
            input: &self.x,
            output: &self.y,
        }
    }

    pub(crate) fn witness(&self) -> Witness {
        witness(&self.statement()).expect("an honest witness")
    }

    /// A proof of the world as it is.
    pub(crate) fn prove(&self) -> RangeProof {
        prove(&self.statement(), &mut |_| true).expect("an honest run")
    }

    /// The proof of the world as it was made, once and for all.
    pub(crate) fn proved(&self) -> &RangeProof {
        self.proof.get_or_init(|| self.prove())
    }
}

pub(crate) fn get(w: &Witness, id: TensorId, row: usize, column: usize) -> i64 {
    to_i64(w.cells[w.plan.layout.at(id, row, column)])
}

pub(crate) fn set(w: &mut Witness, id: TensorId, row: usize, column: usize, v: i64) {
    let at = w.plan.layout.at(id, row, column);
    w.cells[at] = from_i64(v);
}

pub(crate) fn add(w: &mut Witness, id: TensorId, row: usize, column: usize, by: i64) {
    let v = get(w, id, row, column);
    set(w, id, row, column, v + by);
}

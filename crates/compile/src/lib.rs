//! Turn a float checkpoint into an exact integer model, deterministically.
//!
//! Two passes over the layers, one layer in memory at a time:
//!
//! 1. [`float`] runs the checkpoint on a calibration text and [`stats`] notes how large every value gets;
//! 2. [`quantize`] chooses scales from those ranges and rounds the weights.
//!
//! Every float operation is a fixed-order sum or a `libm` call, so that two machines and two SIMD
//! levels compile the same model root. No float leaves this crate.

pub mod decision;
pub mod eval;
pub mod feedback;
pub mod float;
pub mod quantize;
pub mod stats;
mod tables;

use nesa_checkpoint::{Arch, Checkpoint};
use nesa_codec::{Digest, Encode, Hasher};
use nesa_model::block::Common;
use nesa_model::manifest::{Manifest, PartId, Pooling, TextSide};
use nesa_model::spec::{Order, Shape, limits, spec_digest};
use nesa_model::{Block, ModelError, Vocabulary};

/// Why a checkpoint could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] nesa_checkpoint::Error),
    /// The result breaks a rule of the integer model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Sizes beyond what the integer model allows.
    #[error("model sizes are outside the supported limits: {0:?}")]
    Shape(Box<Shape>),
    /// The calibration text is empty.
    #[error("the calibration text has no tokens; give a text of at least a few hundred tokens")]
    NoText,
    /// A weight or activation is not a finite number.
    #[error("{0} is not finite: the checkpoint is damaged; fetch it again")]
    NotFinite(&'static str),
    /// The sink refused a part.
    #[error("store {part}: {reason}")]
    Store {
        /// The part.
        part: String,
        /// What the sink said.
        reason: String,
    },
}

/// Where the parts go: called once per part, in order.
pub type Sink<'a> = dyn FnMut(PartId, &[u8]) -> Result<(), String> + 'a;

/// What the compiler reports while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Layer `done` of `total` has been calibrated.
    Calibrate {
        /// Layers done.
        done: usize,
        /// Layers in all.
        total: usize,
    },
    /// Layer `done` of `total` has been written.
    Quantize {
        /// Layers done.
        done: usize,
        /// Layers in all.
        total: usize,
    },
}

/// The integer shape of a checkpoint, with its context cut to `context_max`.
#[must_use]
pub fn shape_of(c: &nesa_checkpoint::Config, context_max: usize) -> Shape {
    let (llama, bert) = (
        matches!(c.arch, Arch::Llama | Arch::Qwen2),
        c.arch == Arch::Bert,
    );
    Shape {
        layers: c.layers,
        dim: c.dim,
        heads: c.heads,
        kv_heads: c.kv_heads,
        head_dim: c.head_dim,
        ffn: c.ffn,
        vocab: c.vocab,
        context: c.context.min(context_max).min(limits::CONTEXT),
        order: if bert { Order::Post } else { Order::Pre },
        causal: !bert,
        gated: llama,
        rotary: llama,
    }
}

/// Compiles `ckpt` on the calibration sequences `text` (token ids, each within the context).
///
/// Parts go to `sink` as they are made; the manifest is returned last. `tokenizer` and `template`
/// are the canonical texts whose digests become part of the model root.
///
/// # Errors
/// [`CompileError`]; parts that were already stored stay valid for a later attempt.
pub fn compile(
    ckpt: &Checkpoint,
    context_max: usize,
    text: &[Vec<u32>],
    sink: &mut Sink<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, CompileError> {
    let shape = shape_of(&ckpt.config, context_max);
    if !shape.is_valid() {
        return Err(CompileError::Shape(Box::new(shape)));
    }
    if text.iter().all(Vec::is_empty) {
        return Err(CompileError::NoText);
    }
    let stats = stats::collect(ckpt, &shape, text, progress)?;
    let plan = quantize::Plan::new(&shape, &stats)?;
    let mut put = |id: PartId, bytes: &[u8]| {
        sink(id, bytes).map_err(|reason| CompileError::Store {
            part: id.to_string(),
            reason,
        })
    };
    let common: Common = plan.common(&ckpt.config);
    put(PartId::Common, &common.to_bytes())?;
    let vocabulary: Vocabulary = quantize::vocabulary(ckpt, &shape, &plan, &stats)?;
    put(PartId::Vocabulary, &vocabulary.to_bytes())?;
    let mut layers = Vec::with_capacity(shape.layers);
    for i in 0..shape.layers {
        let weights = float::Layer::load(ckpt, i)?;
        let block: Block =
            quantize::block(&shape, &plan, &ckpt.config, i, &stats.layers[i], &weights)?;
        nesa_model::bounds::check_block(&shape, &block)?;
        layers.push(block.root());
        put(PartId::Layer(i as u32), &block.to_bytes())?;
        progress(Progress::Quantize {
            done: i + 1,
            total: shape.layers,
        });
    }
    let config = &ckpt.config;
    Ok(Manifest {
        name: config.name.chars().take(128).collect(),
        spec: spec_digest(),
        common: common.root(),
        layers,
        text: TextSide {
            vocabulary: vocabulary.root(),
            tokenizer: text_digest(&ckpt.tokenizer_json()?),
            template: text_digest(ckpt.chat_template().unwrap_or_default()),
            eos: config.eos_ids.clone(),
            bos: config.bos_id.filter(|_| config.add_bos),
            pooling: match config.pooling {
                nesa_checkpoint::Pooling::None => Pooling::None,
                nesa_checkpoint::Pooling::Mean => Pooling::Mean,
                nesa_checkpoint::Pooling::Cls => Pooling::First,
            },
        },
        sealed_under: None,
        shape,
    })
}

/// The digest of a tokenizer or template text, as the manifest holds it.
#[must_use]
pub fn text_digest(text: &str) -> Digest {
    Hasher::new("nesa.model.text.v1")
        .bytes(text.as_bytes())
        .finish()
}

//! A compiled model in a folder, and runs on it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use nesa_checkpoint::Checkpoint;
use nesa_codec::{Decode, Encode};
use nesa_kernels::Level;
use nesa_model::engine::{PackedHead, Span};
use nesa_model::manifest::{Manifest, PartId};
use nesa_model::spec::Shape;
use nesa_model::{Engine, KvCache, Shard, Vocabulary};

use crate::clock::cpu_seconds;

/// Positions that the compiled model keeps.
const CONTEXT: usize = 1024;

/// Tokens that the compiler calibrates on, in sequences of 256.
const CALIBRATION: usize = 2048;

/// The first `count` token ids of `text`.
///
/// # Errors
/// When files do not open or the text is too short.
pub(crate) fn tokens(checkpoint: &Path, text: &Path, count: usize) -> Result<Vec<u32>> {
    let checkpoint = Checkpoint::open(checkpoint)?;
    let text = std::fs::read_to_string(text).context("read the text")?;
    let part: String = text.chars().take(count * 12).collect();
    let mut ids = checkpoint.tokenizer()?.encode(&part, false)?;
    ids.truncate(count);
    if ids.len() < count {
        return Err(anyhow!(
            "the text has fewer than {count} tokens; give a longer one"
        ));
    }
    Ok(ids)
}

/// Compiles `checkpoint` into `folder`.
///
/// # Errors
/// When the checkpoint does not compile or the folder cannot be written.
pub(crate) fn compile(checkpoint: &Path, text: &Path, folder: &Path) -> Result<()> {
    let ids = tokens(checkpoint, text, CALIBRATION)?;
    let chunks: Vec<Vec<u32>> = ids.chunks(256).map(<[u32]>::to_vec).collect();
    std::fs::create_dir_all(folder)?;
    let mut sink = |id: PartId, bytes: &[u8]| {
        std::fs::write(folder.join(id.to_string()), bytes).map_err(|e| e.to_string())
    };
    let checkpoint = Checkpoint::open(checkpoint)?;
    let manifest = nesa_compile::compile(&checkpoint, CONTEXT, &chunks, &mut sink, &mut |_| ())?;
    std::fs::write(folder.join("manifest"), manifest.to_bytes())?;
    Ok(())
}

/// What one run took.
pub(crate) struct Run {
    pub(crate) prefill_seconds: f64,
    pub(crate) decode_seconds: f64,
    pub(crate) ids: Vec<u32>,
}

/// A whole model, packed.
pub(crate) struct Runner {
    engine: Engine,
    shard: Shard,
    vocabulary: Vocabulary,
    head: PackedHead,
    cache: KvCache,
}

impl Runner {
    /// Opens what [`compile`] wrote.
    ///
    /// # Errors
    /// When a part is missing or does not match its root.
    pub(crate) fn open(folder: &Path, level: Level, threads: usize) -> Result<Self> {
        let read = |name: String| {
            std::fs::read(folder.join(&name)).with_context(|| format!("read {name}"))
        };
        let manifest = Manifest::from_bytes(&read("manifest".to_owned())?)?;
        let common = manifest.open_common(&read(PartId::Common.to_string())?)?;
        let mut vocabulary = manifest.open_vocabulary(&read(PartId::Vocabulary.to_string())?)?;
        let layers = manifest.shape.layers;
        let mut shard = Shard::new(manifest.shape.clone(), Arc::new(common.clone()), 0..layers);
        for i in 0..layers as u32 {
            let bytes = read(PartId::Layer(i).to_string())?;
            shard.push(&manifest.open_layer(i, &bytes, &common)?)?;
        }
        let head = PackedHead::new(&vocabulary)?.context("the model has no head")?;
        vocabulary.head = None;
        let mut cache = shard.cache(CONTEXT);
        Self::touch(&mut cache, layers, &manifest.shape);
        Ok(Self {
            engine: Engine::new(level, threads),
            shard,
            vocabulary,
            head,
            cache,
        })
    }

    /// Writes every page of `cache` once, as a process that has served before would have.
    fn touch(cache: &mut KvCache, layers: usize, shape: &Shape) {
        let row = vec![0i16; shape.kv_dim()];
        for i in 0..layers {
            for pos in 0..cache.capacity() {
                cache.store(i, pos, &row, &row);
            }
        }
    }

    /// Bytes of int8 weights that one decoded token reads.
    pub(crate) fn weight_bytes(&self) -> usize {
        let s = self.shard.shape();
        s.layers * s.block_macs() + s.vocab * s.dim
    }

    /// Logits of the last of `ids`, which follow what the cache holds.
    fn step(&mut self, ids: &[u32]) -> Result<Vec<i32>> {
        let cache = &mut self.cache;
        let dim = self.shard.shape().dim;
        let mut x = self
            .vocabulary
            .embed(self.shard.shape(), ids, cache.len())?;
        let rows = ids.len();
        self.engine
            .forward(&self.shard, &mut x, &mut [Span { cache, rows }])?;
        Ok(self.engine.logits(&self.head, &x[(rows - 1) * dim..]))
    }

    /// Prefills `prompt` and decodes `decode` tokens greedily.
    ///
    /// # Errors
    /// Past the context, or for an unknown token.
    pub(crate) fn run(&mut self, prompt: &[u32], decode: usize) -> Result<Run> {
        self.cache.truncate(0);
        let mut ids = Vec::new();
        let start = cpu_seconds()?;
        let mut logits = self.step(prompt)?;
        let middle = cpu_seconds()?;
        for _ in 0..decode {
            let id = best(&logits);
            ids.push(id);
            logits = self.step(&[id])?;
        }
        let end = cpu_seconds()?;
        Ok(Run {
            prefill_seconds: middle - start,
            decode_seconds: end - middle,
            ids,
        })
    }
}

/// The first index of the largest logit.
fn best(logits: &[i32]) -> u32 {
    let largest = logits.iter().max();
    let index = logits.iter().position(|v| Some(v) == largest);
    index.unwrap_or_default() as u32
}

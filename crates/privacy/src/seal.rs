//! Seal a whole model, layer by layer, resumably.
//!
//! Parts flow from a reader through [`crate::seal_block`] into a [`Sink`]; neither is more than a
//! trait here. A part that an earlier run kept is used again if its [`Kept::mark`], which only the
//! key holder can make, speaks for exactly its bytes; otherwise it is sealed again.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_model::block::Common;
use nesa_model::manifest::TextSide;
use nesa_model::{Block, Manifest, PartId};
use rayon::prelude::*;

use crate::PrivacyError;
use crate::block::seal_block;
use crate::key::{DeploymentKey, ModelKey};

/// Most layers that are in memory at once.
const LAYERS_AT_ONCE: usize = 8;
/// Bytes of weights that are in memory at once, unless a single layer is larger.
const BYTES_AT_ONCE: usize = 1 << 28;

/// What a reader or a sink reports when it fails.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// A sealed part as the key holder keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The part's bytes, as nodes fetch them.
    pub bytes: Vec<u8>,
    /// The key holder's proof that these bytes were sealed from the base model's part. For the sink
    /// alone: nodes need no marks.
    pub mark: Digest,
}

/// Where sealed parts go.
pub trait Sink {
    /// What an earlier run kept for `part`, or `None`. Nothing about it is trusted.
    ///
    /// # Errors
    /// Whatever keeps the sink from answering.
    fn kept(&mut self, part: PartId) -> Result<Option<Kept>, StoreError>;

    /// Keeps `part`, whose root is `root`, in place of any earlier one.
    ///
    /// # Errors
    /// Whatever keeps the sink from keeping it.
    fn keep(&mut self, part: PartId, root: &Digest, kept: Kept) -> Result<(), StoreError>;
}

/// How far sealing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Layers done.
    pub done: usize,
    /// Layers of the model.
    pub total: usize,
    /// Layers among `done` that an earlier run had kept.
    pub resumed: usize,
}

/// A sealed model's papers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What nodes get.
    pub manifest: Manifest,
    /// What the client keeps.
    pub link: Link,
}

/// The key holder's own word that a sealed model is a base model's. Stored by the client.
///
/// Nobody else can check it: to convince others, disclose the key and let them seal again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Root of the base model.
    pub base_root: Digest,
    /// Root of the sealed model.
    pub sealed_root: Digest,
    /// Public name of the key.
    pub key_id: Digest,
    /// Derived from the key and both roots.
    word: Digest,
}

impl Link {
    fn new(key: &DeploymentKey, base_root: Digest, sealed_root: Digest) -> Self {
        Self {
            base_root,
            sealed_root,
            key_id: key.id(),
            word: key.word(&base_root, &sealed_root),
        }
    }

    /// Whether the holder of `key` made this link.
    ///
    /// # Errors
    /// [`PrivacyError::Link`] when not.
    pub fn check(&self, key: &DeploymentKey) -> Result<(), PrivacyError> {
        if *self == Self::new(key, self.base_root, self.sealed_root) {
            Ok(())
        } else {
            Err(PrivacyError::Link)
        }
    }
}

/// Seals the model of `base` under `key`.
///
/// `read` gives the base model's parts: [`PartId::Common`] and the layers, checked against `base`
/// here. Sealed layers go to `sink` in order, as does the common part, which is not changed.
/// `progress` is called after each layer.
///
/// # Errors
/// [`PrivacyError::AlreadySealed`], [`PrivacyError::Model`] for parts that are not the base model's,
/// [`PrivacyError::Unsupported`] as in [`seal_block`], [`PrivacyError::Store`] from `read` or `sink`.
/// Layers kept until then are used by the next run.
pub fn seal(
    base: &Manifest,
    key: &DeploymentKey,
    read: &mut dyn FnMut(PartId) -> Result<Vec<u8>, StoreError>,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<Sealed, PrivacyError> {
    if base.sealed_under.is_some() {
        return Err(PrivacyError::AlreadySealed);
    }
    let base_root = base.root();
    let job = Job {
        base,
        key: key.for_model(&base_root),
        common: seal_common(base, read, sink)?,
    };
    let total = base.layers.len();
    let mut layers: Vec<Digest> = Vec::with_capacity(total);
    let mut resumed = 0;
    let ids: Vec<u32> = (0u32..).take(total).collect();
    for batch in ids.chunks(job.layers_at_once()) {
        for (id, part) in batch.iter().zip(job.batch(batch, read, sink)?) {
            if let Some(bytes) = part.new {
                let mark = job.mark(*id, &part.root);
                let id = PartId::Layer(*id);
                (sink.keep(id, &part.root, Kept { bytes, mark })).map_err(at(id))?;
            } else {
                resumed += 1;
            }
            layers.push(part.root);
            progress(Progress {
                done: layers.len(),
                total,
                resumed,
            });
        }
    }
    let name = job.key.public_name().to_string();
    let manifest = Manifest {
        name: format!("sealed-{}", &name[..8]),
        shape: base.shape.clone(),
        spec: base.spec,
        common: base.common,
        layers,
        text: TextSide::default(),
        sealed_under: Some(key.id()),
    };
    let link = Link::new(key, base_root, manifest.root());
    Ok(Sealed { manifest, link })
}

/// Hands the common part through.
fn seal_common(
    base: &Manifest,
    read: &mut dyn FnMut(PartId) -> Result<Vec<u8>, StoreError>,
    sink: &mut dyn Sink,
) -> Result<Common, PrivacyError> {
    let id = PartId::Common;
    let bytes = read(id).map_err(at(id))?;
    let common = base.open_common(&bytes)?;
    if sink
        .kept(id)
        .map_err(at(id))?
        .is_none_or(|k| k.bytes != bytes)
    {
        let mark = Digest::default(); // Public bytes under their own root need no proof.
        (sink.keep(id, &base.common, Kept { bytes, mark })).map_err(at(id))?;
    }
    Ok(common)
}

fn at(part: PartId) -> impl FnOnce(StoreError) -> PrivacyError {
    move |source| PrivacyError::Store { part, source }
}

struct Job<'a> {
    base: &'a Manifest,
    key: ModelKey,
    common: Common,
}

/// A sealed layer: its root, and its bytes unless the sink has them already.
struct Part {
    root: Digest,
    new: Option<Vec<u8>>,
}

impl Job<'_> {
    fn layers_at_once(&self) -> usize {
        let fitting = BYTES_AT_ONCE / self.base.shape.block_macs().max(1);
        fitting.clamp(1, LAYERS_AT_ONCE.min(rayon::current_num_threads()))
    }

    fn mark(&self, layer: u32, sealed: &Digest) -> Digest {
        let base = self.base.layers[layer as usize];
        self.key.mark(layer, &base, sealed)
    }

    /// The sealed layers `ids`, in their order.
    fn batch(
        &self,
        ids: &[u32],
        read: &mut dyn FnMut(PartId) -> Result<Vec<u8>, StoreError>,
        sink: &mut dyn Sink,
    ) -> Result<Vec<Part>, PrivacyError> {
        let mut kept = Vec::with_capacity(ids.len());
        for &i in ids {
            let id = PartId::Layer(i);
            kept.push((i, sink.kept(id).map_err(at(id))?));
        }
        let roots: Vec<Option<Digest>> = kept
            .into_par_iter()
            .map(|(i, kept)| self.kept_root(i, &kept?))
            .collect();
        let mut work = Vec::with_capacity(ids.len());
        for (&i, root) in ids.iter().zip(roots) {
            let id = PartId::Layer(i);
            work.push(match root {
                Some(root) => Work::Done(root),
                None => Work::Seal(i, read(id).map_err(at(id))?),
            });
        }
        work.into_par_iter().map(|w| self.finish(w)).collect()
    }

    /// The root of `kept`, if it is what this job would make of layer `i`.
    fn kept_root(&self, i: u32, kept: &Kept) -> Option<Digest> {
        let root = Block::from_bytes(&kept.bytes).ok()?.root();
        (self.mark(i, &root) == kept.mark).then_some(root)
    }

    fn finish(&self, work: Work) -> Result<Part, PrivacyError> {
        match work {
            Work::Done(root) => Ok(Part { root, new: None }),
            Work::Seal(i, bytes) => {
                let block = self.base.open_layer(i, &bytes, &self.common)?;
                drop(bytes);
                let sealed = seal_block(&self.base.shape, &self.common, &self.key, i, &block)?;
                Ok(Part {
                    root: sealed.root(),
                    new: Some(sealed.to_bytes()),
                })
            }
        }
    }
}

enum Work {
    Done(Digest),
    Seal(u32, Vec<u8>),
}

impl Encode for Link {
    fn encode(&self, w: &mut Writer) {
        for d in [self.base_root, self.sealed_root, self.key_id, self.word] {
            w.digest(&d);
        }
    }
}

impl Decode for Link {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            base_root: r.digest()?,
            sealed_root: r.digest()?,
            key_id: r.digest()?,
            word: r.digest()?,
        })
    }
}

#[cfg(test)]
mod tests;

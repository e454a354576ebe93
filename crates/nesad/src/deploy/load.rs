//! From stored bytes to packed blocks, one layer at a time, away from the I/O thread.

use std::ops::Range;
use std::sync::Arc;

use nesa_codec::{DecodeError, Digest};
use nesa_model::{Manifest, ModelError, PartId, Shard};
use nesa_pipeline::Fault;
use nesa_shards::PartStore;

/// Why a part was not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The bytes end early: a transfer to go on with.
    #[error("the transfer has not ended")]
    Cut,
    /// The bytes are not the part.
    #[error(transparent)]
    Wrong(ModelError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] nesa_shards::Error),
}

impl From<ModelError> for Failure {
    fn from(e: ModelError) -> Self {
        match e {
            ModelError::Decode(DecodeError::Short { .. }) => Self::Cut,
            other => Self::Wrong(other),
        }
    }
}

/// Packs a range of blocks, part by part.
pub(super) struct Loader {
    store: Arc<PartStore>,
    manifest: Arc<Manifest>,
    root: Digest,
    range: Range<u32>,
    common: Option<Arc<nesa_model::block::Common>>,
    shard: Option<Shard>,
    /// The lie that the node tells.
    pub(super) fault: Option<Fault>,
}

impl Loader {
    pub(super) fn new(
        store: Arc<PartStore>,
        manifest: Manifest,
        root: Digest,
        range: Range<u32>,
    ) -> Self {
        let manifest = Arc::new(manifest);
        Self {
            store,
            manifest,
            root,
            range,
            common: None,
            shard: None,
            fault: None,
        }
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Verifies and packs `part`; the outer error is a lost thread.
    pub(super) async fn load(
        mut self,
        part: PartId,
    ) -> Result<(Self, Result<(), Failure>), tokio::task::JoinError> {
        let work = move || {
            let done = self.load_now(part);
            (self, done)
        };
        tokio::task::spawn_blocking(work).await
    }

    fn load_now(&mut self, part: PartId) -> Result<(), Failure> {
        let stored = self.store.get(&self.root, part)?;
        let is_whole = stored.is_some();
        let bytes = match stored {
            Some(bytes) => bytes,
            None => self.store.partial(&self.root, part)?,
        };
        let whole = |store: &PartStore| {
            if is_whole {
                Ok(())
            } else {
                store.complete(&self.root, part)
            }
        };
        match part {
            PartId::Layer(i) => {
                let common = self
                    .common
                    .as_ref()
                    .ok_or(ModelError::Range("the order of parts"))?;
                let block = self.manifest.open_layer(i, &bytes, common)?;
                drop(bytes);
                whole(&self.store)?;
                let block = match self.fault {
                    Some(fault) => fault.corrupt(block),
                    None => block,
                };
                let shard = self
                    .shard
                    .as_mut()
                    .ok_or(ModelError::Range("the order of parts"))?;
                Ok(shard.push(&block)?)
            }
            _ => {
                let common = Arc::new(self.manifest.open_common(&bytes)?);
                drop(bytes);
                whole(&self.store)?;
                let layers = self.range.start as usize..self.range.end as usize;
                self.shard = Some(Shard::new(
                    self.manifest.shape.clone(),
                    Arc::clone(&common),
                    layers,
                ));
                self.common = Some(common);
                Ok(())
            }
        }
    }

    /// The packed blocks.
    pub(super) fn finish(self) -> Result<Shard, ModelError> {
        self.shard
            .filter(Shard::is_complete)
            .ok_or(ModelError::Range("the number of blocks"))
    }
}

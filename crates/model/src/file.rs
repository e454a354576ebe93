//! Decode parts of a model and hold them against their roots.

use nesa_codec::{Decode, Digest};

use crate::block::{Block, Common};
use crate::manifest::{Manifest, PartId};
use crate::vocabulary::Vocabulary;
use crate::{ModelError, bounds};

fn same(id: PartId, expected: Option<Digest>, actual: Digest) -> Result<(), ModelError> {
    match expected {
        Some(expected) if expected == actual => Ok(()),
        other => Err(ModelError::Root {
            what: id.to_string(),
            expected: other.unwrap_or_default(),
            actual,
        }),
    }
}

impl Manifest {
    /// Decodes the shared tables.
    ///
    /// # Errors
    /// [`ModelError`] for malformed bytes or bytes of another model.
    pub fn open_common(&self, bytes: &[u8]) -> Result<Common, ModelError> {
        let common = Common::from_bytes(bytes)?;
        same(PartId::Common, Some(self.common), common.root())?;
        if common.fits(&self.shape) {
            Ok(common)
        } else {
            Err(ModelError::Range("the rotation table"))
        }
    }

    /// Decodes block `i` and proves that none of its sums can wrap.
    ///
    /// # Errors
    /// As [`Manifest::open_common`].
    pub fn open_layer(&self, i: u32, bytes: &[u8], common: &Common) -> Result<Block, ModelError> {
        let block = Block::from_bytes(bytes)?;
        let id = PartId::Layer(i);
        same(id, self.part_root(id), block.root())?;
        if !block.fits(&self.shape, common) {
            return Err(ModelError::Range("a block's size or clamp"));
        }
        bounds::check_block(&self.shape, &block)?;
        Ok(block)
    }

    /// Decodes the client's side.
    ///
    /// # Errors
    /// As [`Manifest::open_common`].
    pub fn open_vocabulary(&self, bytes: &[u8]) -> Result<Vocabulary, ModelError> {
        let v = Vocabulary::from_bytes(bytes)?;
        same(
            PartId::Vocabulary,
            self.part_root(PartId::Vocabulary),
            v.root(),
        )?;
        if v.fits(&self.shape) {
            Ok(v)
        } else {
            Err(ModelError::Range("the vocabulary's size"))
        }
    }
}

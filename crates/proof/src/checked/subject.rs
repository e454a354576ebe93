//! A model as who checks it keeps it.

use std::sync::Arc;

use nesa_kernels::Level;
use nesa_model::block::Common;
use nesa_model::split::Outline;
use nesa_model::{Block, ModelError, Shape};

use super::keys::Keys;

/// What a client keeps of a model to check runs of it: everything but the matrices, and [`Keys`] to these.
#[derive(Debug)]
pub struct Subject {
    pub(super) outline: Outline,
    pub(super) keys: Keys,
}

impl Subject {
    /// No blocks yet; `secret` are 32 bytes from the system.
    #[must_use]
    pub fn new(secret: &[u8; 32], shape: Shape, common: Arc<Common>) -> Self {
        Self {
            keys: Keys::new(secret, shape.clone()),
            outline: Outline::whole(shape, common),
        }
    }

    /// Adds the next block, which was held against the model's root, less its matrices.
    ///
    /// # Errors
    /// [`ModelError::Range`] for a block of another shape or one too many.
    pub fn push(&mut self, level: Level, block: &Block) -> Result<(), ModelError> {
        self.outline.push(block)?;
        self.keys.push(level, block)
    }

    /// The model's shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        self.outline.shape()
    }
}

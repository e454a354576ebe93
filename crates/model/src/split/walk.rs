//! Rows of one sequence on their way through the blocks.

use std::fmt;

use crate::split::Product;

/// Rows of one sequence on their way through the blocks of a model whose products come from elsewhere.
///
/// The rows stand at the positions `start..start + n`. After [`Engine::walk_start`](crate::Engine::walk_start)
/// the walk says what it needs ([`Walk::wants`], [`Walk::inputs`]), and
/// [`Engine::walk_on`](crate::Engine::walk_on) takes the sums, until nothing is wanted any more.
///
/// *Causal models.* Several walks of one sequence may be under way, each at its own layer: a walk reads
/// cached positions up to its own, so it is refused in a layer that the walks of earlier positions have
/// not yet passed. It stores its keys and values, but does not declare them: see
/// [`KvCache::advance`](crate::KvCache::advance) and [`KvCache::truncate`](crate::KvCache::truncate).
///
/// *Other models* (encoders) see every row of the sequence at once, so all of them are one walk from
/// position 0; another start is refused.
pub struct Walk {
    pub(crate) start: usize,
    pub(crate) x: Vec<i32>, // (n, dim), the residual rows
    pub(crate) inputs: Vec<i32>,
    pub(crate) at: At,
}

/// Where a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Before the first block.
    Start,
    /// Waiting for the sums of a product in a block.
    Wants(usize, Product),
    /// After the last block.
    End,
}

impl Walk {
    /// A walk of `rows` (n, dim), embedded as [`crate::Vocabulary::embed`] does, from position `start` on.
    #[must_use]
    pub fn new(rows: Vec<i32>, start: usize) -> Self {
        Self {
            start,
            x: rows,
            inputs: Vec::new(),
            at: At::Start,
        }
    }

    /// The layer and product whose sums the walk waits for; `None` before it started and when it is done.
    #[must_use]
    pub fn wants(&self) -> Option<(usize, Product)> {
        match self.at {
            At::Wants(layer, product) => Some((layer, product)),
            At::Start | At::End => None,
        }
    }

    /// The inputs of the product wanted, (n·limbs, cols): row `position·limbs + l` is limb `l`, the lowest
    /// first. Empty where none is wanted. Rows may be added to hide how many there are: sums of
    /// these are simply not handed to [`Engine::walk_on`](crate::Engine::walk_on).
    #[must_use]
    pub fn inputs(&self) -> &[i32] {
        &self.inputs
    }

    /// Position of the first row.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Whether all blocks are passed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at == At::End
    }

    /// The residual rows (n, dim) as they are: those before the block that the walk is in as long as it wants
    /// that block's first product, and those after the last block when it is done.
    #[must_use]
    pub fn rows(&self) -> &[i32] {
        &self.x
    }

    /// The rows (n, dim): when the walk is done, those after the last block.
    #[must_use]
    pub fn into_rows(self) -> Vec<i32> {
        self.x
    }
}

/// Without the rows, which are private.
impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("start", &self.start)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

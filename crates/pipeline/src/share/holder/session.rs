//! One session on a holder: which flights it may ask for, and what is signed for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use nesa_codec::Digest;
use nesa_kernels::field_uniform;
use nesa_model::split::Product;
use nesa_model::{Engine, ModelError, Shard};
use nesa_proof::share::{AnswerStatement, HolderStatement, Share, VALUES_MAX};

use super::{HolderConfig, protocol};
use crate::hop::PeerKey;
use crate::share::{Open, ShareFault};
use crate::wire::{Refusal, RefusalCode};

/// One product to compute.
pub struct Task {
    /// The blocks, among them `layer`.
    pub shard: Arc<Shard>,
    /// The block, counted from the model's first.
    pub layer: usize,
    /// The product.
    pub product: Product,
    /// Rows of the share.
    pub rows: usize,
    /// (rows, cols), each value below p.
    pub share: Vec<u32>,
    /// Multiplications with a weight: rows · outputs · cols.
    pub work: u64,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("layer", &self.layer)
            .field("product", &self.product)
            .finish_non_exhaustive()
    }
}

impl Task {
    /// Computes the product (rows, outputs).
    ///
    /// # Errors
    /// Those of [`Engine::multiply`].
    pub fn run(&self, engine: &mut Engine) -> Result<Vec<u32>, ModelError> {
        engine.multiply(&self.shard, self.layer, self.product, &self.share)
    }

    /// Whether both apply the same matrices, so that their rows can be computed together.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shard, &other.shard)
            && (self.layer, self.product) == (other.layer, other.product)
    }
}

pub(super) struct Session {
    pub(super) client: PeerKey,
    pub(super) open: Open,
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) used_ms: u64,
    /// The last flight taken.
    pub(super) last: Option<u64>,
    /// What the flight that is being computed will be signed as.
    pub(super) pending: Option<AnswerStatement>,
    pub(super) flights: u64,
    pub(super) rows: u64,
    pub(super) transcript: Digest,
    /// Liars remember what they answered, by product.
    pub(super) past: BTreeMap<u8, Vec<u32>>,
}

impl Session {
    pub(super) fn new(client: PeerKey, open: Open, shards: Vec<Arc<Shard>>, now_ms: u64) -> Self {
        Self {
            client,
            open,
            shards,
            used_ms: now_ms,
            last: None,
            pending: None,
            flights: 0,
            rows: 0,
            transcript: Digest::default(),
            past: BTreeMap::new(),
        }
    }

    /// Checks a flight and notes what will be signed for it.
    pub(super) fn take(
        &mut self,
        statement: AnswerStatement,
        share: Share,
        config: &HolderConfig,
    ) -> Result<Task, Refusal> {
        if self.pending.is_some() || self.last.is_some_and(|l| statement.flight <= l) {
            return Err(protocol("flights of a session grow strictly"));
        }
        let in_range = |&(first, end): &(u32, u32)| (first..end).contains(&statement.layer);
        if !self.open.ranges.iter().any(in_range) {
            return Err(protocol("this block was not opened"));
        }
        let mut layer = statement.layer as usize;
        let shard = self.shards.iter().find(|s| s.layers().contains(&layer));
        let product = Product::from_code(statement.product);
        let (Some(shard), Some(product)) = (shard, product) else {
            return Err(protocol("no such product"));
        };
        let Some((outputs, cols)) = shard.product(layer, product) else {
            return Err(protocol("no such product"));
        };
        let rows = statement.rows as usize;
        let fits = |width: usize| rows.checked_mul(width).is_some_and(|n| n <= VALUES_MAX);
        if rows == 0 || statement.rows > config.rows_max || !fits(cols) || !fits(outputs) {
            let text = format!("{rows} rows are too many for one flight; send fewer");
            return Err(Refusal::new(RefusalCode::TooLarge, text));
        }
        let uniform = |seed: &[u8; 32], out: &mut [u32]| field_uniform(config.level, seed, out);
        let Some(share) = share.expand_with(rows, cols, uniform) else {
            return Err(protocol("a share of the wrong size"));
        };
        self.last = Some(statement.flight);
        self.pending = Some(statement);
        if config.fault == Some(ShareFault::WrongLayer)
            && self.flights >= ShareFault::HONEST_FLIGHTS
        {
            let layers = shard.layers();
            layer = if layer + 1 < layers.end {
                layer + 1
            } else {
                layers.start
            };
        }
        Ok(Task {
            shard: Arc::clone(shard),
            layer,
            product,
            rows,
            share,
            work: (rows * outputs) as u64 * cols as u64,
        })
    }

    pub(super) fn statement(&self, node: PeerKey, price: u64) -> HolderStatement {
        HolderStatement {
            node,
            session: self.open.session,
            model: self.open.model,
            ranges: self.open.ranges.clone(),
            point: self.open.point,
            flights: self.flights,
            rows: self.rows,
            transcript: self.transcript,
            price,
        }
    }
}

//! The client as the second side: its own run of a range, and what that cost.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use nesa_model::block::Common;
use nesa_model::{Block, Engine, Shape};
use nesa_proof::dispute::Record;
use nesa_proof::{HopStatement, SignedHop};

use super::Table;
use super::run::Run;
use crate::net::NetworkError;
use crate::net::fleet::Fleet;

/// What being the second side cost the client.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recomputed {
    /// Positions times layers.
    pub cells: u64,
    /// Multiply-adds of all products.
    pub multiply_adds: u64,
    /// Seconds.
    pub seconds: f64,
}

/// Statements of the client about every range, what they cost, and the last run.
type Own = (Vec<SignedHop>, Recomputed, Vec<Record>);

impl Table<'_> {
    /// The second side of every hop, as the client computes it from the rows that it sent; stops at the first
    /// that differs, whose run is the last.
    pub(super) fn recompute(
        &self,
        run: &Run<'_>,
        hops: &[SignedHop],
        engine: &mut Engine,
    ) -> Result<Own, NetworkError> {
        let started = Instant::now();
        let (shape, common) = (
            &self.prepared.served.manifest().shape,
            self.prepared.common(),
        );
        let mut blocks = self.prepared.blocks();
        let (mut rows, mut out, mut last) = (run.rows.clone(), Vec::new(), Vec::new());
        let mut cost = Recomputed::default();
        for h in hops {
            let layers = h.statement.first..h.statement.end;
            cost += work(shape, layers.len(), rows.len() / shape.dim);
            let (own, record) = second_side(
                self.fleet,
                shape,
                (&common, layers, &rows),
                h,
                &mut blocks,
                engine,
            )?;
            rows = record.output().concat();
            let differs = own.statement.trace != h.statement.trace;
            out.push(own);
            last = vec![record];
            if differs {
                break;
            }
        }
        cost.seconds = started.elapsed().as_secs_f64();
        Ok((out, cost, last))
    }
}

/// The client's own run of the range of `h` on `rows`, signed like a hop's.
///
/// # Errors
/// [`NetworkError::Process`] where a block of the model cannot be read here.
pub fn second_side(
    fleet: &Fleet,
    shape: &Shape,
    (common, layers, rows): (&Arc<Common>, Range<u32>, &[i32]),
    h: &SignedHop,
    blocks: &mut (dyn FnMut(u32) -> Option<Block> + Send),
    engine: &mut Engine,
) -> Result<(SignedHop, Record), NetworkError> {
    let record = Record::compute((shape, common), layers, rows, blocks, engine);
    let record = record.map_err(|e| {
        NetworkError::Process(format!(
            "this range cannot be computed here: {e}; pull the model again"
        ))
    })?;
    let claim = record.claim_about(h.statement.model);
    let statement = HopStatement {
        node: fleet.client(),
        positions: claim.positions,
        input: claim.input,
        output: claim.output,
        trace: claim.trace,
        ..h.statement.clone()
    };
    Ok((statement.signed(&|digest| fleet.sign(digest)), record))
}

/// What running `layers` blocks on `n` positions takes.
fn work(shape: &Shape, layers: usize, n: usize) -> Recomputed {
    let (q, kv) = (shape.q_dim(), shape.kv_dim());
    let ffn = if shape.gated { 3 } else { 2 } * shape.ffn;
    let row = shape.dim * (2 * q + 2 * kv + ffn);
    let seen = if shape.causal { n * (n + 1) / 2 } else { n * n };
    Recomputed {
        cells: (layers * n) as u64,
        multiply_adds: (layers * (row * n + 2 * q * seen)) as u64,
        seconds: 0.0,
    }
}

impl std::ops::AddAssign for Recomputed {
    fn add_assign(&mut self, other: Self) {
        self.cells += other.cells;
        self.multiply_adds += other.multiply_adds;
        self.seconds += other.seconds;
    }
}

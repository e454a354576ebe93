//! Run the next batch: one flight of every waiting session of one model, as one matrix product.

use std::sync::Arc;

use nesa_codec::Digest;
use nesa_model::engine::{BlockSums, Span};
use nesa_model::{Engine, ModelError, Shard};
use nesa_proof::checked::Packer;

use super::{Effect, Hop, Session};
use crate::fault::Fault;
use crate::wire::Message;

/// One session's part of a batch.
struct Part {
    id: Digest,
    session: Session,
    start: u32,
    rows: usize,
    /// The sums of the flight, where the client asked for them.
    sums: Option<Packer>,
}

impl Hop {
    /// Whether a flight waits.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.turn.is_empty()
    }

    /// Runs the next batch and returns what to send.
    pub fn compute(&mut self, engine: &mut Engine) -> Vec<Effect> {
        let (shard, mut x, mut parts) = match self.gather() {
            Some(batch) => batch,
            None => return Vec::new(),
        };
        let fault = self.config.fault;
        let done = run(engine, &shard, &mut x, &mut parts, fault);
        self.metrics.batches_total += 1;
        self.metrics.rows_total += parts.iter().map(|p| p.rows as u64).sum::<u64>();
        let dim = shard.shape().dim;
        let layers = shard.layers().len();
        let mut effects = Vec::with_capacity(parts.len());
        let mut first = 0;
        for mut p in parts {
            let mut rows = x[first * dim..(first + p.rows) * dim].to_vec();
            first += p.rows;
            if let Some(fault) = fault {
                self.lie(fault, &p, &mut rows, dim);
            }
            p.session.trace.push(layers, &rows);
            if done.is_err() {
                // Only a row count or capacity that admission already checked gets here.
                let reason = super::Refusal::new(super::RefusalCode::Protocol, "rows refused");
                self.sessions.insert(p.id, p.session);
                effects.extend(self.refuse(&p.id, reason));
                continue;
            }
            p.session.trace.close_flight(p.start as usize);
            effects.push(onward(&p, rows, dim));
            // After the rows: nobody waits for them.
            let frames = p.sums.map(Packer::finish).into_iter().flatten();
            effects.extend(frames.map(|sums| Effect::Client {
                session: p.id,
                message: Message::Sums(sums),
            }));
            self.sessions.insert(p.id, p.session);
            self.line_up(&p.id);
        }
        effects
    }

    /// Takes one flight of each waiting session that runs the same shard, up to the row limit.
    fn gather(&mut self) -> Option<(Arc<Shard>, Vec<i32>, Vec<Part>)> {
        let shard = Arc::clone(&self.sessions.get(self.turn.front()?)?.shard);
        let dim = shard.shape().dim;
        let (mut x, mut parts, mut total) = (Vec::new(), Vec::new(), 0);
        let waiting: Vec<Digest> = self.turn.iter().copied().collect();
        for id in waiting {
            let Some(s) = self.sessions.get(&id) else {
                continue;
            };
            let n = s.queue.front().map_or(0, |f| f.1.len() / dim);
            if !Arc::ptr_eq(&s.shard, &shard)
                || (total > 0 && total + n > self.config.batch_rows_max)
            {
                continue;
            }
            let Some(mut session) = self.sessions.remove(&id) else {
                continue;
            };
            self.turn.retain(|t| *t != id);
            let Some((start, rows)) = session.queue.pop_front() else {
                continue;
            };
            total += n;
            x.extend_from_slice(&rows);
            parts.push(Part {
                id,
                sums: session.sums_rows_max.map(|_| Packer::new(start)),
                session,
                start,
                rows: n,
            });
        }
        Some((shard, x, parts))
    }

    /// Changes the output `rows` of a part, as a liar would.
    fn lie(&self, fault: Fault, p: &Part, rows: &mut [i32], dim: usize) {
        let copy = |rows: &mut [i32], other: &[i32]| {
            let at = p.start as usize * dim;
            let n = other.len().saturating_sub(at).min(rows.len());
            if n > 0 {
                rows[..n].copy_from_slice(&other[at..at + n]);
            }
        };
        match fault {
            Fault::FlipBit if p.start == 0 => rows[(p.rows / 2) * dim + dim / 3] ^= 1 << 4,
            Fault::Replay => copy(rows, &self.last_output),
            Fault::Splice => {
                let other = self
                    .sessions
                    .values()
                    .find(|s| !s.trace.output().is_empty());
                copy(
                    rows,
                    other.map_or(&self.last_output[..], |s| s.trace.output()),
                );
            }
            _ => {}
        }
    }
}

/// Runs every block on the batch and notes the rows before each in the sessions' traces.
fn run(
    engine: &mut Engine,
    shard: &Shard,
    x: &mut [i32],
    parts: &mut [Part],
    fault: Option<Fault>,
) -> Result<(), ModelError> {
    let dim = shard.shape().dim;
    let mut kept = (parts.iter().any(|p| p.sums.is_some())).then(BlockSums::default);
    for i in 0..shard.layers().len() {
        let mut first = 0;
        for p in parts.iter_mut() {
            p.session
                .trace
                .push(i, &x[first * dim..(first + p.rows) * dim]);
            first += p.rows;
        }
        if fault == Some(Fault::SkipLayer) && i == 0 {
            // The sums of a layer on other rows are all that such a liar has to show.
            if let Some(kept) = &mut kept {
                let mut other = x.to_vec();
                engine.block_kept(shard, i, &mut other, &mut spans(parts), Some(kept))?;
                pack(parts, kept, x.len() / dim, fault);
            }
            continue;
        }
        engine.block_kept(shard, i, x, &mut spans(parts), kept.as_mut())?;
        if let Some(kept) = &mut kept {
            pack(parts, kept, x.len() / dim, fault);
        }
    }
    Engine::finish(&mut spans(parts));
    Ok(())
}

/// Hands the sums of one block, of `n` rows in all, to the parts that want them.
fn pack(parts: &mut [Part], kept: &mut BlockSums, n: usize, fault: Option<Fault>) {
    for sums in &mut kept.0 {
        if fault == Some(Fault::FlipSum)
            && let Some(sum) = sums.last_mut()
        {
            *sum ^= 1;
        }
        let mut rows = sums.chunks_exact((sums.len() / n.max(1)).max(1));
        for p in parts.iter_mut() {
            let own = rows.by_ref().take(p.rows);
            match &mut p.sums {
                Some(packer) => own.for_each(|row| packer.push(row)),
                None => own.for_each(drop),
            }
        }
    }
}

fn spans(parts: &mut [Part]) -> Vec<Span<'_>> {
    parts
        .iter_mut()
        .map(|p| Span {
            cache: &mut p.session.cache,
            rows: p.rows,
        })
        .collect()
}

/// Rows to the next hop, or the last one to the client.
fn onward(p: &Part, rows: Vec<i32>, dim: usize) -> Effect {
    let session = p.id;
    if p.session.open.next.is_some() {
        let message = Message::Rows {
            start: p.start,
            rows,
        };
        return Effect::Forward { session, message };
    }
    // The client samples from the last row only; the others stay in the commitment.
    let message = Message::Rows {
        start: p.start + p.rows as u32 - 1,
        rows: rows[(p.rows - 1) * dim..].to_vec(),
    };
    Effect::Client { session, message }
}

//! What a private answer cost here, and what running the model here would have cost.

use std::sync::Arc;
use std::time::Instant;

use nesa_client::PrivateAsk;
use nesa_client::hss::{Machine, Traffic, predict};
use nesa_model::engine::Span;
use nesa_model::{Engine, Shard};

use super::PrivateModel;
use crate::net::fleet::Fleet;

/// Repetitions of the local measurement; the quickest counts.
const REPEATS: usize = 3;

/// What an answer cost the client.
#[derive(Debug, Clone)]
pub struct PrivateCost {
    /// Counters.
    pub traffic: Traffic,
    /// Bytes up and down, and flights in turn, of the prompt and of one step, by the formula.
    pub formula: [(u64, u64, u64); 2],
    /// CPU seconds of this process for the answer, where the system tells.
    pub cpu_s: Option<f64>,
    /// Seconds spent dealing, checking and reconstructing.
    pub phases_s: [f64; 3],
    /// Running the model here instead.
    pub local: Option<LocalCost>,
    /// Holders left out: node, operator, path of the evidence.
    pub liars: Vec<(String, String, Option<String>)>,
}

/// Time of running the model here, extrapolated from one layer of it, measured now on one thread, and
/// without the head, which the client computes either way.
#[derive(Debug, Clone, Copy)]
pub struct LocalCost {
    /// Seconds for the prompt.
    pub prompt_s: f64,
    /// Seconds for one token.
    pub token_s: f64,
}

pub(super) fn of(
    ask: &PrivateAsk,
    private: &PrivateModel,
    cpu_s: Option<f64>,
    fleet: &Fleet,
    convicted: Vec<(usize, Option<String>)>,
) -> PrivateCost {
    let (traffic, times) = (ask.traffic().clone(), ask.times());
    let placement = &ask.private().placement;
    let formula = |rows| predict(&private.outline, placement, rows);
    let liars = convicted.into_iter().map(|(i, evidence)| {
        let (node, operator) = fleet.names(i);
        (node, operator, evidence)
    });
    PrivateCost {
        formula: [formula(traffic.prompt_rows), formula(traffic.width)],
        cpu_s,
        phases_s: [times.deal, times.check, times.reconstruct].map(|d| d.as_secs_f64()),
        local: local(private, ask.request().prompt.len()),
        liars: liars.collect(),
        traffic,
    }
}

/// Measures the first layer on one thread, for a prompt of `prompt` rows and for one token after it.
fn local(private: &PrivateModel, prompt: usize) -> Option<LocalCost> {
    let shape = private.outline.shape().clone();
    let (dim, layers) = (shape.dim, shape.layers);
    let common = Arc::new(private.model.open_common().ok()?);
    let block = private.model.open_layer(0, &common).ok()?;
    let mut shard = Shard::new(shape, common, 0..1);
    shard.push(&block).ok()?;
    let mut engine = Engine::new(nesa_kernels::Level::detect(), 1);
    let mut best = [f64::MAX; 2];
    for _ in 0..REPEATS {
        let mut cache = shard.cache(prompt + 1);
        for (best, rows) in best.iter_mut().zip([prompt, 1]) {
            // What the rows are does not change what they cost.
            let mut x: Vec<i32> = (0..rows * dim)
                .map(|i| (i % 251) as i32 * 16 - 2000)
                .collect();
            let started = Instant::now();
            let cache = &mut cache;
            engine
                .forward(&shard, &mut x, &mut [Span { cache, rows }])
                .ok()?;
            *best = best.min(started.elapsed().as_secs_f64() * layers as f64);
        }
    }
    Some(LocalCost {
        prompt_s: best[0],
        token_s: best[1],
    })
}

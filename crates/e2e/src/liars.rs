//! Measure how often lying nodes are caught, against what was promised.

use std::collections::BTreeSet;

use nesa_client::{Assurance, Cells, Request};
use nesa_kernels::Level;
use nesa_model::spec::Order as Norms;
use nesa_model::testing::Noise;
use nesa_model::{Engine, Sampling, Shape};
use nesa_pipeline::Fault;
use nesa_privacy::DeploymentKey;
use nesa_proof::{LayerOpening, verify};

use crate::stats::{Trials, detection};
use crate::{Model, Network, NodeConfig, Result, Served, Talk};

/// Shares of all cells that are opened, per thousand.
pub const SHARES: [u32; 3] = [50, 200, 500];
/// Hops of the network; the one in the middle lies.
const HOPS: usize = 3;
const LIAR: usize = 1;

/// What one kind of lie came to at one share.
#[derive(Debug, Clone)]
pub struct Row {
    /// The lie.
    pub fault: Fault,
    /// Opened cells, per thousand.
    pub share: u32,
    /// Sessions, and in how many the lie was found.
    pub trials: Trials,
    /// Violations that named the liar; all must.
    pub named: u64,
    /// Sessions in which at least one cell was wrong.
    pub lied: u64,
    /// Sessions in which the lie was found once all cells were opened; must equal `lied`.
    pub caught_by_all: u64,
    /// Fewest and most wrong cells of a session.
    pub bad: (u64, u64),
    /// Fewest and most cells of a session.
    pub cells: (u64, u64),
}

impl Row {
    /// Whether the measurement agrees with what is promised.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.trials.z().abs() <= 3.0
            && self.named == self.trials.hits
            && self.caught_by_all == self.lied
            && self.lied > 0
    }
}

/// The small model on which lies are told.
#[must_use]
pub fn shape() -> Shape {
    Shape {
        layers: 6,
        dim: 24,
        heads: 6,
        kv_heads: 2,
        head_dim: 4,
        ffn: 37,
        vocab: 120,
        context: 96,
        order: Norms::Pre,
        causal: true,
        gated: true,
        rotary: true,
    }
}

/// A request of random tokens, 9 to 28 positions in all.
#[must_use]
pub fn request(noise: &mut Noise, vocab: usize) -> Request {
    let n = 6 + noise.bits() % 16;
    Request {
        prompt: (0..n)
            .map(|_| (noise.bits() % vocab as u64) as u32)
            .collect(),
        sampling: Sampling {
            temperature_milli: 800,
            seed: noise.bits(),
            ..Sampling::default()
        },
        max_tokens: 4 + (noise.bits() % 5) as usize,
        chunk: 1 + (noise.bits() % 9) as usize,
    }
}

/// The cells of `talk` that do not hold what the model computes, by recomputing each alone.
///
/// # Errors
/// As [`Network::open_cells`].
pub fn bad_cells(
    network: &mut Network,
    talk: &mut Talk,
    served: &mut Served,
    engine: &mut Engine,
) -> Result<BTreeSet<(u32, u32)>> {
    let positions = talk.ask.positions() as u32;
    let shape = served.shape().clone();
    let mut bad = BTreeSet::new();
    for (hop, h) in talk.route.hops.clone().into_iter().enumerate() {
        for layer in h.2..h.3 {
            let all = (hop, layer, (0..positions).collect());
            let opening = network.open_cells(talk, engine, all)?;
            let Some(shard) = served.block(layer) else {
                continue;
            };
            for p in 0..positions {
                let one = only(&opening, p);
                if verify::recompute(hop, &shape, &shard, engine, &one).is_err() {
                    bad.insert((layer, p));
                }
            }
        }
    }
    Ok(bad)
}

/// The part of `o` that concerns position `p`.
fn only(o: &LayerOpening, p: u32) -> LayerOpening {
    let at = p as usize;
    LayerOpening {
        positions: vec![p],
        inputs: vec![o.inputs[at].clone()],
        outputs: vec![o.outputs[at].clone()],
        cached: o.cached[..=at].to_vec(),
        ..o.clone()
    }
}

/// Measures `fault` over `runs` sessions with fresh prompts, nonces and session names.
///
/// # Errors
/// [`crate::Error`] of a run that breaks off; a lie that is found is a result.
pub fn measure(fault: Fault, runs: u64, seed: u64) -> Result<Vec<Row>> {
    let shape = shape();
    let model = Model::random(&shape, seed)?;
    let key = DeploymentKey::generate(crate::talk::digest(&mut Noise(seed)).0);
    let mut served = model.served_ee(&key)?;
    let config = NodeConfig {
        liar: Some((LIAR, fault)),
        ..NodeConfig::default()
    };
    let mut network = Network::new(&served, HOPS, &config, seed)?;
    let mut engine = Engine::new(Level::detect(), 1);
    let place = Fault::ALL.iter().position(|f| *f == fault);
    let mut noise = Noise(seed ^ place.unwrap_or(Fault::ALL.len()) as u64);
    let mut rows: Vec<Row> = SHARES.iter().map(|&share| row(fault, share)).collect();
    for run in 0..=runs {
        // A second session runs beside the first: what a splicing liar takes its rows from.
        let mut talks = Vec::new();
        for _ in 0..2 {
            talks.push(network.talk(&served, request(&mut noise, shape.vocab))?);
        }
        network.run(&mut talks, &mut engine)?;
        // Before the first session there is no old answer to replay.
        if run > 0 {
            judge(
                &mut network,
                &mut talks[0],
                &mut served,
                &mut engine,
                &mut rows,
            )?;
        }
        for talk in &mut talks {
            network.close(talk, &mut engine)?;
        }
    }
    Ok(rows)
}

fn row(fault: Fault, share: u32) -> Row {
    Row {
        fault,
        share,
        trials: Trials::default(),
        named: 0,
        lied: 0,
        caught_by_all: 0,
        bad: (u64::MAX, 0),
        cells: (u64::MAX, 0),
    }
}

/// Opens each share of the cells of one finished session, then all of them.
fn judge(
    network: &mut Network,
    talk: &mut Talk,
    served: &mut Served,
    engine: &mut Engine,
    rows: &mut [Row],
) -> Result<()> {
    let bad = bad_cells(network, talk, served, engine)?.len() as u64;
    let n = served.shape().layers as u64 * talk.ask.positions() as u64;
    let mut found = |k: u64| {
        let spot = Assurance::Spot(Cells::Count(k));
        match network.evidence(talk, served, spot, engine) {
            Ok(_) => Ok(None),
            Err(e) => match e.violation() {
                Some(v) => Ok(Some(v.hop())),
                None => Err(e),
            },
        }
    };
    let by_all = found(n)?;
    for row in rows {
        let k = (n * u64::from(row.share) + 500) / 1000;
        let by_some = found(k)?;
        row.trials.add(detection(n, bad, k), by_some.is_some());
        row.named += u64::from(by_some == Some(Some(LIAR)));
        row.lied += u64::from(bad > 0);
        row.caught_by_all += u64::from(by_all == Some(Some(LIAR)));
        row.bad = (row.bad.0.min(bad), row.bad.1.max(bad));
        row.cells = (row.cells.0.min(n), row.cells.1.max(n));
    }
    Ok(())
}

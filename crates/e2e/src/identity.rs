//! Compare bits over everything that must not change them.

use std::collections::BTreeSet;

use nesa_client::Request;
use nesa_codec::{Digest, Hasher};
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_privacy::DeploymentKey;

use crate::{Error, Model, Network, NodeConfig, Result, Served, Talk};

/// Prefill chunk sizes; the last is the whole prompt.
pub const CHUNKS: [usize; 4] = [1, 7, 64, usize::MAX];
/// Numbers of nodes under `ee`.
pub const NODES: [usize; 4] = [1, 2, 3, 5];
/// Questions that run at the same time when batched.
const BATCH: usize = 4;

/// One way to compute an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Nodes under `ee`; `None` is `open` in one process.
    pub nodes: Option<usize>,
    /// SIMD level of nodes and client.
    pub level: Level,
    /// Threads of each engine.
    pub threads: usize,
    /// Whether sessions run together.
    pub batched: bool,
    /// Prompt positions per flight.
    pub chunk: usize,
}

impl Case {
    /// The values of all factors, by factor.
    fn values(&self) -> [u64; 5] {
        [
            self.nodes.map_or(0, |n| n as u64),
            self.level as u64,
            self.threads as u64,
            u64::from(self.batched),
            self.chunk as u64,
        ]
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, u64, usize, u64)> {
        let v = self.values();
        (0..5).flat_map(move |i| (0..i).map(move |j| (i, v[i], j, v[j])))
    }
}

/// Every combination, for a model of `layers` layers on this processor.
#[must_use]
pub fn product(layers: usize) -> Vec<Case> {
    let nodes = NODES.iter().filter(|n| **n <= layers).map(|n| Some(*n));
    let mut cases = Vec::new();
    for nodes in std::iter::once(None).chain(nodes) {
        for level in Level::available() {
            for threads in [1, 2] {
                for batched in [false, true] {
                    cases.extend(CHUNKS.map(|chunk| Case {
                        nodes,
                        level,
                        threads,
                        batched,
                        chunk,
                    }));
                }
            }
        }
    }
    cases
}

/// Few combinations that hold every pair of values of two factors, in the order of [`product`].
#[must_use]
pub fn pairs(layers: usize) -> Vec<Case> {
    let all = product(layers);
    let mut open: BTreeSet<_> = all.iter().flat_map(Case::pairs).collect();
    let mut chosen = vec![false; all.len()];
    while !open.is_empty() {
        let gain = |c: &Case| c.pairs().filter(|p| open.contains(p)).count();
        let Some(best) = (0..all.len()).max_by_key(|&i| gain(&all[i])) else {
            break;
        };
        all[best].pairs().for_each(|p| {
            open.remove(&p);
        });
        chosen[best] = true;
    }
    (all.into_iter().zip(chosen))
        .filter_map(|(case, chosen)| chosen.then_some(case))
        .collect()
}

/// What must be equal: the tokens, and the revealed final rows of all positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer.
    pub tokens: Vec<u32>,
    /// (positions, dim).
    pub rows: Vec<i32>,
}

/// What was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Ways to compute.
    pub cases: usize,
    /// Questions, each with its own prompt and seed.
    pub questions: usize,
    /// Answers computed.
    pub answers: usize,
    /// Positions computed.
    pub positions: usize,
    /// Digest over the outcomes of all questions.
    pub digest: Digest,
}

/// Answers `questions` in one way.
///
/// # Errors
/// [`Error`] of a run that breaks off.
pub fn outcomes(
    served: &Served,
    network: &mut Network,
    engine: &mut Engine,
    case: &Case,
    questions: &[Request],
) -> Result<Vec<Outcome>> {
    let mut out = Vec::new();
    for group in questions.chunks(if case.batched { BATCH } else { 1 }) {
        let mut talks = Vec::new();
        for q in group {
            let chunk = case.chunk;
            talks.push(network.talk(served, Request { chunk, ..q.clone() })?);
        }
        network.run(&mut talks, engine)?;
        for talk in &mut talks {
            out.push(outcome(served, network, engine, talk)?);
            network.close(talk, engine)?;
        }
    }
    Ok(out)
}

fn outcome(
    served: &Served,
    network: &mut Network,
    engine: &mut Engine,
    talk: &mut Talk,
) -> Result<Outcome> {
    let last = served.shape().layers as u32 - 1;
    let all = (0..talk.ask.positions() as u32).collect();
    let opening = network.open_cells(talk, engine, (network.hops() - 1, last, all))?;
    let mut rows = opening.outputs.concat();
    served.tier.reveal(&mut rows)?;
    Ok(Outcome {
        tokens: talk.ask.answer().to_vec(),
        rows,
    })
}

/// Answers `questions` in every one of `cases` and compares. `each` is told every case when done.
///
/// # Errors
/// [`Error::Differs`] at the first difference.
pub fn compare(
    model: &Model,
    key: &DeploymentKey,
    cases: &[Case],
    questions: &[Request],
    each: &mut dyn FnMut(&Case),
) -> Result<(Report, Vec<Outcome>)> {
    let (open, ee) = (model.served_open(), model.served_ee(key)?);
    let mut built: Option<(Case, Network, Engine)> = None;
    let mut expected: Option<Vec<Outcome>> = None;
    let (mut answers, mut positions) = (0, 0);
    for case in cases {
        let served = if case.nodes.is_some() { &ee } else { &open };
        let same =
            |c: &Case| (c.nodes, c.level, c.threads) == (case.nodes, case.level, case.threads);
        if built.as_ref().is_none_or(|b| !same(&b.0)) {
            let config = NodeConfig {
                level: case.level,
                threads: case.threads,
                ..NodeConfig::default()
            };
            let network = Network::new(served, case.nodes.unwrap_or(1), &config, 1)?;
            built = Some((*case, network, Engine::new(case.level, case.threads)));
        }
        let Some((_, network, engine)) = &mut built else {
            continue;
        };
        let got = outcomes(served, network, engine, case, questions)?;
        answers += got.len();
        positions += got.iter().map(|o| o.rows.len()).sum::<usize>() / served.shape().dim;
        let expected = expected.get_or_insert_with(|| got.clone());
        for (i, (a, b)) in expected.iter().zip(&got).enumerate() {
            if a != b {
                return Err(Error::Differs(format!("question {i}, {case:?}")));
            }
        }
        each(case);
    }
    let expected = expected.unwrap_or_default();
    let digest = expected
        .iter()
        .fold(Hasher::new("nesa.e2e.identity"), |h, o| {
            o.tokens
                .iter()
                .fold(h, |h, &t| h.u64(u64::from(t)))
                .i32s(&o.rows)
        });
    let report = Report {
        cases: cases.len(),
        questions: questions.len(),
        answers,
        positions,
        digest: digest.finish(),
    };
    Ok((report, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_hold_every_pair_in_few_cases() {
        let (all, few) = (product(30), pairs(30));
        let of = |cases: &[Case]| cases.iter().flat_map(Case::pairs).collect::<BTreeSet<_>>();
        assert_eq!(of(&all), of(&few));
        assert!(few.len() <= 26, "{}", few.len());
        assert_eq!(all.len(), 5 * Level::available().len() * 16);
        assert_eq!(product(4).len(), 4 * Level::available().len() * 16);
    }
}

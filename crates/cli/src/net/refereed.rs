//! `--assurance refereed`: every range of layers has two sides, and where they differ one step settles who lied.
//!
//! ```text
//! rows ─┬─► first sides ──┐ equal rows? ─► next token
//!       └─► second sides ─┘
//! end: all claims equal ─► receipt with both signatures; else the dispute at the first range that differs,
//!      the loser is left out, and the rest answer again
//! ```
//! With one operator alone the client is the second side of every range, and computes it after the answer.

mod judge;
mod own;
mod run;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use nesa_client::{Ask, Plan, Request, Tier, plan};
use nesa_model::Engine;
use nesa_proof::dispute::Reason;

use super::NetworkError;
use super::answer::Answer;
use super::deploy;
use super::disputing::Played;
use super::fleet::Fleet;
use super::setup::Prepared;

pub use own::{Recomputed, second_side};

/// What the second sides were, and what came of it.
#[derive(Debug, Clone, Default)]
pub struct Refereed {
    /// Key and operator of the first and the second side of each range, with its first layer and the one past its last.
    pub sides: Vec<[(String, String); 2]>,
    /// Layers of each range.
    pub ranges: Vec<Range<usize>>,
    /// What the client computed itself, where it was the second side.
    pub own: Option<Recomputed>,
    /// Nodes that lost.
    pub caught: Vec<Caught>,
}

/// A node that lost a dispute, or did worse.
#[derive(Debug, Clone)]
pub struct Caught {
    /// Its key.
    pub peer: String,
    /// Who runs it.
    pub operator: String,
    /// The disputed layers.
    pub layers: Range<u32>,
    /// What settled it, in words.
    pub reason: String,
    /// Where the transcript is that convicts it for anyone.
    pub evidence: Option<String>,
    /// Rounds, bytes of answers made known, multiply-adds of the executed step.
    pub cost: (u32, u64, u64),
}

/// What one try came to.
enum Outcome {
    Agreed(Box<Answer>),
    /// Who lost, by their place in the fleet.
    Caught(Vec<(usize, Caught)>),
}

/// Everything that a try needs.
pub(super) struct Table<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) prepared: &'a Prepared,
    pub(super) tier: &'a Tier,
    pub(super) request: Request,
}

/// Asks until two sides agree on everything; each try leaves out who was caught in the one before. The text is
/// shown at the end: nothing that was not agreed on is ever shown.
pub(super) async fn ask(
    table: &Table<'_>,
    engine: &mut Engine,
    show: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<Answer, NetworkError> {
    let mut out = BTreeSet::new();
    let mut caught: Vec<Caught> = Vec::new();
    loop {
        let left = table.fleet.nodes.iter().enumerate();
        let left: Vec<(usize, &str)> = left
            .filter(|(i, _)| !out.contains(i))
            .map(|(i, n)| (i, &n.operator[..]))
            .collect();
        let layers = table.prepared.served.manifest().shape.layers;
        let Some(plan) = plan(&left, layers) else {
            return Err(nobody_left(caught.pop()));
        };
        deploy::replicas(table.fleet, &table.prepared.served, &plan).await?;
        match table.once(&plan, engine).await? {
            Outcome::Agreed(mut answer) => {
                if let Some(refereed) = &mut answer.refereed {
                    refereed.caught = caught;
                }
                show(&answer.text);
                return Ok(*answer);
            }
            Outcome::Caught(who) => {
                out.extend(who.iter().map(|c| c.0));
                caught.extend(who.into_iter().map(|c| c.1));
            }
        }
    }
}

fn nobody_left(last: Option<Caught>) -> NetworkError {
    let Some(last) = last else {
        return NetworkError::Process("there is no node to ask; start some with `nesa up`".into());
    };
    NetworkError::Caught {
        node: last.peer.chars().take(8).collect(),
        operator: last.operator,
        evidence: (last.evidence).map_or_else(String::new, |p| format!("; evidence in {p}")),
    }
}

impl Table<'_> {
    async fn once(&self, plan: &Plan, engine: &mut Engine) -> Result<Outcome, NetworkError> {
        let model = Arc::clone(&self.prepared.client);
        let mut ask = Ask::new(model, self.tier.clone(), self.request.clone())?;
        let mut run = self.start(plan, &ask).await?;
        let done = match self.generate(&mut run, &mut ask, engine).await {
            Ok(()) => self.judge(plan, &mut run, &ask, engine).await,
            Err(e) => Err(e),
        };
        for session in &mut run.sessions {
            session.close().await;
        }
        done
    }
}

/// What settled a dispute, in words.
#[must_use]
pub fn in_words(played: &Played) -> String {
    let mut text = played.verdict.reason.to_string();
    if played.verdict.reason == Reason::Silent {
        for refusal in &played.refusals {
            text.push_str(&format!(" ({refusal})"));
        }
    }
    text
}

/// Rounds, bytes of answers, multiply-adds of the executed step.
#[must_use]
pub fn cost_of(played: &Played) -> (u32, u64, u64) {
    let v = &played.verdict;
    (v.rounds, v.bytes.iter().sum(), v.work.multiply_adds)
}

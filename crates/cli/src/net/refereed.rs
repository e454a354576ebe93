//! `--assurance refereed`: every range of layers has two sides, and where they differ one step settles who lied.
//!
//! ```text
//! rows ─┬─► first sides ──┐ equal rows? ─► next token
//!       └─► second sides ─┘
//! end: all claims equal ─► receipt with both signatures; else the dispute at the first range that differs,
//!      the loser is left out, and the rest answer again
//! ```
//! With one operator alone the client is the second side of every range, and computes it after the answer.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use nesa_client::{Ask, Assurance, Compared, Effect, Evidence, Finish, Plan, Request, Step, Tier};
use nesa_client::{compare, plan};
use nesa_codec::Digest;
use nesa_model::block::Common;
use nesa_model::{Engine, Shape};
use nesa_pipeline::Message;
use nesa_proof::dispute::{Defence, Reason, Record, Side};
use nesa_proof::{HopStatement, Second, SignedHop, trace};

use super::NetworkError;
use super::answer::{Answer, random, rate};
use super::closing::{conclude, signatures};
use super::deploy;
use super::disputing::{self, Played, Player};
use super::fleet::Fleet;
use super::session::Session;
use super::setup::Prepared;

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

/// A finished run over one or two routes.
struct Run<'a> {
    sessions: Vec<Session<'a>>,
    /// All hidden rows that were sent.
    rows: Vec<i32>,
    /// The rows that the routes returned where they first differed, with their position.
    parted: Vec<(u32, Vec<i32>)>,
    finish: Finish,
    first_token_s: f64,
    seconds: f64,
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

    async fn start(&self, plan: &Plan, ask: &Ask) -> Result<Run<'_>, NetworkError> {
        let mut sessions = Vec::new();
        for nodes in [&plan.first, &plan.second] {
            let way: Vec<_> = nodes.iter().copied().zip(plan.ranges.clone()).collect();
            if !way.is_empty() {
                sessions.push(Session::open(self.fleet, &way, ask, self.prepared.root()).await?);
            }
        }
        Ok(Run {
            sessions,
            rows: Vec::new(),
            parted: Vec::new(),
            finish: Finish::Stop,
            first_token_s: 0.0,
            seconds: 0.0,
        })
    }

    /// Sends the same rows along every route until the answer is complete, or the routes differ: no token is
    /// sampled from a row that they do not agree on.
    async fn generate(
        &self,
        run: &mut Run<'_>,
        ask: &mut Ask,
        engine: &mut Engine,
    ) -> Result<(), NetworkError> {
        let started = Instant::now();
        let mut under_way = 0usize;
        let mut effects = ask.start()?;
        loop {
            for effect in effects.drain(..) {
                match effect {
                    Effect::Send { start, rows } => {
                        for session in &mut run.sessions {
                            session.send_rows(start, rows.clone()).await?;
                        }
                        run.rows.extend(rows);
                        under_way += 1;
                    }
                    Effect::Text(_) => {}
                    Effect::Done(finish) => {
                        run.finish = finish;
                        run.seconds = started.elapsed().as_secs_f64();
                        return Ok(());
                    }
                }
            }
            let mut all = Vec::new();
            for session in &mut run.sessions {
                all.push(returned(session).await?);
            }
            under_way = under_way.saturating_sub(1);
            let Some((start, row)) = all.first().cloned().filter(|a| all.iter().all(|b| a == b))
            else {
                while under_way > 0 {
                    for session in &mut run.sessions {
                        returned(session).await?;
                    }
                    under_way -= 1;
                }
                run.parted = all;
                return Ok(());
            };
            effects = match ask.on_row(start, row)? {
                Step::Go(effects) => effects,
                Step::Sample(row) => ask.on_logits(&engine.logits(&ask.model().head, &row))?,
            };
            if run.first_token_s == 0.0 && !ask.answer().is_empty() {
                run.first_token_s = started.elapsed().as_secs_f64();
            }
        }
    }

    /// Collects what every hop signs, and settles what differs.
    async fn judge(
        &self,
        plan: &Plan,
        run: &mut Run<'_>,
        ask: &Ask,
        engine: &mut Engine,
    ) -> Result<Outcome, NetworkError> {
        let mut signed = Vec::new();
        for session in &mut run.sessions {
            signed.push(signatures(session).await?);
        }
        let mut own = None;
        let seconds: Vec<SignedHop> = match signed.get(1) {
            Some((hops, _)) => hops.clone(),
            None => {
                let (hops, cost, records) = self.recompute(run, &signed[0].0, engine)?;
                own = Some((cost, records));
                hops
            }
        };
        let first = run.sessions[0].route.clone();
        let second = match run.sessions.get(1) {
            Some(s) => s.route.clone(),
            None => {
                let mut own = first.clone();
                let me = self.fleet.client();
                own.hops
                    .iter_mut()
                    .for_each(|h| (h.0, h.1) = (me, "client".into()));
                own
            }
        };
        let hops = &signed[0].0;
        let sides = [(&first, &hops[..]), (&second, &seconds[..])];
        let (input, positions) = (ask.input_root(), ask.positions() as u32);
        match compare(input, positions, sides) {
            Compared::Same => {}
            Compared::Astray { side, hop, what } => {
                let nodes = if side == Side::A {
                    &plan.first
                } else {
                    &plan.second
                };
                return Ok(self.named(plan, hop, nodes, what));
            }
            Compared::Differ { hop } => {
                let pair = [hops[hop].clone(), seconds[hop].clone()];
                let record = own.and_then(|(_, mut records)| records.pop());
                return self.dispute(plan, hop, pair, record).await;
            }
        }
        // The routes' ends gave different rows and signed the same: one sent other than it signed.
        for (i, (at, row)) in run.parted.iter().enumerate() {
            let listed = signed.get(i).and_then(|s| s.1.get(*at as usize));
            if listed != Some(&trace::row(row)) {
                let nodes = if i == 0 { &plan.first } else { &plan.second };
                let what = "a row that it returned is not the one it signed";
                return Ok(self.named(plan, plan.ranges.len() - 1, nodes, what));
            }
        }
        let second_sides = |(hop, way): (SignedHop, &([u8; 32], String, u32, u32))| Second {
            hop,
            operator: way.1.clone(),
        };
        let seconds = seconds.into_iter().zip(&second.hops).map(second_sides);
        let (hops, rows) = signed.swap_remove(0);
        let mut evidence = match Evidence::new(ask, &first, Assurance::Refereed, hops, rows) {
            Err(nesa_client::ClientError::Violation(v)) if v.hop().is_some() => {
                let (hop, what) = (v.hop().unwrap_or(0), v.to_string());
                return Ok(self.named(plan, hop, &plan.first, &what));
            }
            other => other?,
        };
        evidence.refereed(seconds.collect())?;
        let mut blocks = |i| self.prepared.block(i);
        let (level, session) = (Assurance::Refereed, &mut run.sessions[0]);
        let (bundle, verdict) = conclude(session, evidence, level, engine, &mut blocks).await?;
        Ok(Outcome::Agreed(Box::new(Answer {
            text: ask.text_so_far()?,
            finish: run.finish,
            bundle,
            verdict,
            first_token_s: run.first_token_s,
            tokens_per_second: rate(ask.answer().len(), run.seconds, run.first_token_s),
            checked: None,
            private: None,
            refereed: Some(Refereed {
                sides: self.sides(plan),
                ranges: plan.ranges.clone(),
                own: own.map(|(cost, _)| cost),
                caught: Vec::new(),
            }),
        })))
    }

    /// Who the sides of each range are.
    fn sides(&self, plan: &Plan) -> Vec<[(String, String); 2]> {
        let name = |i: Option<&usize>| match i.and_then(|i| self.fleet.nodes.get(*i)) {
            Some(n) => (n.peer.clone(), n.operator.clone()),
            None => (Digest(self.fleet.client()).to_string(), "client".to_owned()),
        };
        let pair = |i| [name(plan.first.get(i)), name(plan.second.get(i))];
        (0..plan.ranges.len()).map(pair).collect()
    }

    /// A node that needs no dispute to be left out.
    fn named(&self, plan: &Plan, hop: usize, nodes: &[usize], what: &str) -> Outcome {
        let at = nodes.get(hop).copied().unwrap_or(0);
        let caught = self.caught(
            plan,
            hop,
            at,
            format!("{what}: it contradicts what it was sent"),
        );
        Outcome::Caught(vec![(at, caught)])
    }

    fn caught(&self, plan: &Plan, hop: usize, at: usize, reason: String) -> Caught {
        let node = self.fleet.nodes.get(at);
        let range = plan.ranges.get(hop).cloned().unwrap_or_default();
        Caught {
            peer: node.map_or_else(String::new, |n| n.peer.clone()),
            operator: node.map_or_else(String::new, |n| n.operator.clone()),
            layers: range.start as u32..range.end as u32,
            reason,
            evidence: None,
            cost: (0, 0, 0),
        }
    }

    /// The second side of every hop, as the client computes it from the rows that it sent; stops at the first
    /// that differs, whose run is the last.
    fn recompute(
        &self,
        run: &Run<'_>,
        hops: &[SignedHop],
        engine: &mut Engine,
    ) -> Result<(Vec<SignedHop>, Recomputed, Vec<Record>), NetworkError> {
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

    async fn dispute(
        &self,
        plan: &Plan,
        hop: usize,
        pair: [SignedHop; 2],
        own: Option<Record>,
    ) -> Result<Outcome, NetworkError> {
        let served = &self.prepared.served;
        let matter = disputing::matter(self.fleet, served, pair)?;
        let mut blocks = self.prepared.blocks();
        let (a, b) = (plan.first[hop], plan.second.get(hop).copied());
        let second = match (b, own) {
            (Some(b), _) => Player::Node(b),
            (None, Some(record)) => {
                let common = self.prepared.common();
                let side = Defence::new(&matter, Side::B, record, common);
                Player::Own(Box::new(side), &mut blocks)
            }
            (None, None) => return Err(NetworkError::Dispute("no second side".into())),
        };
        let players = [Player::Node(a), second];
        let played = disputing::play(self.fleet, matter, self.tier, players).await?;
        let mut all = Vec::new();
        for (lost, at) in played.verdict.lost.into_iter().zip([Some(a), b]) {
            if let (true, Some(at)) = (lost, at) {
                let mut caught = self.caught(plan, hop, at, in_words(&played));
                caught.cost = cost_of(&played);
                if played.is_transferable {
                    let folder = self.prepared.receipts()?;
                    let name = random()?.to_string();
                    let to = folder.join(format!("{}.nesadispute", &name[..16]));
                    let path = disputing::write(&played.transcript, &to)?;
                    caught.evidence = Some(path.display().to_string());
                }
                all.push((at, caught));
            }
        }
        if all.is_empty() {
            let text = format!("it ended without a loser ({})", in_words(&played));
            return Err(NetworkError::Dispute(text));
        }
        Ok(Outcome::Caught(all))
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

/// The client's own run of the range of `h` on `rows`, signed like a hop's.
///
/// # Errors
/// [`NetworkError::Process`] where a block of the model cannot be read here.
pub fn second_side(
    fleet: &Fleet,
    shape: &Shape,
    (common, layers, rows): (&Arc<Common>, Range<u32>, &[i32]),
    h: &SignedHop,
    blocks: &mut (dyn FnMut(u32) -> Option<nesa_model::Block> + Send),
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

/// The next row that the last hop of a route returns.
async fn returned(session: &mut Session<'_>) -> Result<(u32, Vec<i32>), NetworkError> {
    let last = session.route.hops.len() - 1;
    match session.receive(last).await? {
        Message::Rows { start, rows } => Ok((start, rows)),
        _ => Err(session.lost(last, "it answered out of turn")),
    }
}

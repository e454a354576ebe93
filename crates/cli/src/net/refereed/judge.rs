//! What both sides signed: equal everywhere, or a dispute at the first range that differs.

use nesa_client::{Ask, Assurance, ClientError, Compared, Evidence, Plan, Route, compare};
use nesa_codec::Digest;
use nesa_model::Engine;
use nesa_proof::dispute::{Defence, Record, Side};
use nesa_proof::{Second, SignedHop, trace};

use super::own::Recomputed;
use super::run::Run;
use super::{Caught, Outcome, Refereed, Table, cost_of, in_words};
use crate::net::NetworkError;
use crate::net::answer::{Answer, random, rate};
use crate::net::closing::{conclude, signatures};
use crate::net::disputing::{self, Player, Waits};

/// What the hops of a route signed, and the digests of the last one's rows.
type Signed = (Vec<SignedHop>, Vec<Digest>);

/// The second side of a run.
struct SecondSide {
    route: Route,
    hops: Vec<SignedHop>,
    /// Where the client is it: what that cost, and its last run.
    own: Option<(Recomputed, Vec<Record>)>,
}

impl Table<'_> {
    /// Collects what every hop signs, and settles what differs.
    pub(super) async fn judge(
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
        let second = self.second(run, &signed, engine)?;
        let Some((hops, _)) = signed.first() else {
            return Err(NetworkError::Dispute("no first side".into()));
        };
        let sides = [
            (&run.sessions[0].route, &hops[..]),
            (&second.route, &second.hops[..]),
        ];
        match compare(ask.input_root(), ask.positions() as u32, sides) {
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
                let pair = [hops[hop].clone(), second.hops[hop].clone()];
                let record = second.own.and_then(|(_, mut records)| records.pop());
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
        self.agreed(plan, run, ask, engine, (signed.swap_remove(0), second))
            .await
    }

    /// The other route's statements, or the client's own.
    fn second(
        &self,
        run: &Run<'_>,
        signed: &[Signed],
        engine: &mut Engine,
    ) -> Result<SecondSide, NetworkError> {
        if let (Some(session), Some((hops, _))) = (run.sessions.get(1), signed.get(1)) {
            return Ok(SecondSide {
                route: session.route.clone(),
                hops: hops.clone(),
                own: None,
            });
        }
        let first = signed.first().map_or(&[][..], |s| &s.0);
        let (hops, cost, records) = self.recompute(run, first, engine)?;
        let mut route = run.sessions[0].route.clone();
        let me = self.fleet.client();
        (route.hops.iter_mut()).for_each(|h| (h.0, h.1) = (me, "client".into()));
        Ok(SecondSide {
            route,
            hops,
            own: Some((cost, records)),
        })
    }

    /// The receipt with both signatures of every range.
    async fn agreed(
        &self,
        plan: &Plan,
        run: &mut Run<'_>,
        ask: &Ask,
        engine: &mut Engine,
        ((hops, rows), second): (Signed, SecondSide),
    ) -> Result<Outcome, NetworkError> {
        let named = |(hop, way): (SignedHop, &([u8; 32], String, u32, u32))| Second {
            hop,
            operator: way.1.clone(),
        };
        let seconds = second.hops.into_iter().zip(&second.route.hops).map(named);
        let (level, route) = (Assurance::Refereed, run.sessions[0].route.clone());
        let mut evidence = match Evidence::new(ask, &route, level, hops, rows) {
            Err(ClientError::Violation(v)) if v.hop().is_some() => {
                let (hop, what) = (v.hop().unwrap_or(0), v.to_string());
                return Ok(self.named(plan, hop, &plan.first, &what));
            }
            other => other?,
        };
        evidence.refereed(seconds.collect())?;
        let mut blocks = |i| self.prepared.block(i);
        let session = &mut run.sessions[0];
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
            purse: None,
            refereed: Some(Refereed {
                sides: self.sides(plan),
                ranges: plan.ranges.clone(),
                own: second.own.map(|(cost, _)| cost),
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

    /// Has the two sides of a range settle which of them is wrong.
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
        let played =
            disputing::play(self.fleet, matter, self.tier, players, Waits::default()).await?;
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

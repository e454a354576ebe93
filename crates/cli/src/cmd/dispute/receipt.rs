//! A receipt disputed with the live nodes that signed it, and transcripts verified by whoever reads them.

use std::path::Path;
use std::sync::Arc;

use nesa_client::{ClientError, Tier};
use nesa_codec::{Decode, Digest};
use nesa_proof::bundle::BUNDLE_BYTES_MAX;
use nesa_proof::dispute::{
    Claim, Defence, Matter, Side, SignedMove, Transcript, Verdict, verify_transcript,
};
use nesa_proof::{Bundle, SignedHop};
use serde_json::{Value, json};

use super::onchain::{Bench, OnLedger, Ruling, own_side};
use crate::cmd::network::{self, Network};
use crate::cmd::verify;
use crate::net::disputing::{self, Played, Player, Waits};
use crate::net::fleet::Fleet;
use crate::net::refereed::{cost_of, in_words, second_side};
use crate::net::setup::{self, Prepared, Way};
use crate::{Context, Failure};

/// Exit code of evidence that does not hold.
const VIOLATED: u8 = 4;

/// Runs `nesa dispute RECEIPT`.
pub(crate) fn run(
    path: &Path,
    (nodes, ledger): (&network::Nodes, &OnLedger),
    context: &Context,
) -> Result<(), Failure> {
    // Opened first: a passphrase is typed before anything is computed.
    let bench = ledger.bench(context)?;
    let bytes = nesa_storage::disk::read(path, BUNDLE_BYTES_MAX as u64)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| Failure::failed(format!("{} does not exist", path.display())))?;
    let bundle = Bundle::from_bytes(&bytes)
        .map_err(|e| Failure::failed(format!("not a receipt: {e}; give a .nesabundle")))?;
    if !bundle.holders.is_empty() {
        let text = "a receipt under hss has no bisection: one signed wrong answer is the whole dispute, and every \
                    answer was checked when it came";
        return Err(Failure::failed(text));
    }
    if !bundle.is_signed() {
        let text = "the receipt was changed after its client signed it; dispute the original";
        return Err(Failure::new(VIOLATED, anyhow::Error::msg(text)));
    }
    let prepared = verify::known_model(&bundle, context).map_err(Failure::failed)?;
    let prepared = prepared.ok_or_else(|| {
        Failure::failed(
            "the receipt's model (or its key) is not in this home; pull it, or dispute where it is",
        )
    })?;
    let Way::Hops(tier) = &prepared.way else {
        return Err(Failure::failed(
            "this receipt is disputed with its blocks here",
        ));
    };
    network::runtime()?.block_on(async {
        let network = network::network(context, nodes).await?;
        let done = held(&network, &prepared, tier, &bundle, (path, bench.as_ref())).await;
        network.stop().await;
        report(context, &bundle, done?)
    })
}

/// What holding a receipt against the client's own run came to.
enum Held {
    /// All hops signed what the model computes; seconds that it took.
    Right(f64),
    /// A hop that did not, and how its dispute ended.
    Wrong {
        hop: usize,
        played: Box<Played>,
        evidence: Option<String>,
        ruling: Option<Ruling>,
    },
}

/// Computes every hop's range from the receipt's tokens, and disputes the first difference.
async fn held(
    network: &Network,
    prepared: &Prepared,
    tier: &Tier,
    bundle: &Bundle,
    (path, bench): (&Path, Option<&Bench>),
) -> Result<Held, Failure> {
    let (fleet, started) = (&network.fleet, std::time::Instant::now());
    let shape = &prepared.served.manifest().shape;
    let (common, mut blocks) = (prepared.common(), prepared.blocks());
    let mut engine = setup::engine(None, 1);
    let mut rows = rows(prepared, tier, bundle)?;
    for (hop, h) in bundle.hops.iter().enumerate() {
        let layers = h.statement.first..h.statement.end;
        let given = (&common, layers, &rows[..]);
        let (own, record) = second_side(fleet, shape, given, h, &mut blocks, &mut engine)?;
        if Claim::of(&own.statement) == Claim::of(&h.statement) {
            rows = record.output().concat();
            continue;
        }
        if own.statement.input != h.statement.input {
            let text = format!(
                "hop {hop} signed another input than the hop before put out; `nesa verify` names it without a dispute"
            );
            return Err(Failure::new(VIOLATED, anyhow::Error::msg(text)));
        }
        let at = place(fleet, hop, h)?;
        let matter = disputing::matter(fleet, &prepared.served, [h.clone(), own])?;
        let defence = |r| Defence::new(&matter, Side::B, r, Arc::clone(&common));
        let mut again = defence(record.clone());
        let side = Box::new(defence(record));
        let players = [Player::Node(at), Player::Own(side, &mut blocks)];
        let played =
            disputing::play(fleet, matter.clone(), tier, players, Waits::default()).await?;
        let evidence = evidence(&played, path)?;
        let sign = |digest: &[u8]| fleet.sign(digest);
        let ruling = bench.filter(|_| played.verdict.lost[0]).map(|bench| {
            tokio::task::block_in_place(|| {
                let mut own = own_side(&mut again, &mut blocks, &sign);
                ruled(bench, &matter, &played, &mut own)
            })
        });
        let (ruling, played) = (ruling.transpose()?, Box::new(played));
        return Ok(Held::Wrong {
            hop,
            played,
            evidence,
            ruling,
        });
    }
    Ok(Held::Right(started.elapsed().as_secs_f64()))
}

/// Where the node of a hop is among those that are reached here.
fn place(fleet: &Fleet, hop: usize, h: &SignedHop) -> Result<usize, Failure> {
    fleet.place(&h.statement.node).ok_or_else(|| {
        let node = Digest(h.statement.node).to_string();
        Failure::new(3, anyhow::Error::msg(format!(
            "hop {hop} differs, and its node {node} is not among the nodes here; give its network with \
             --bootstrap or --network"
        )))
    })
}

/// Writes what convicts a node for anyone, beside the receipt.
fn evidence(played: &Played, path: &Path) -> Result<Option<String>, Failure> {
    if !(played.is_transferable && played.verdict.lost[0]) {
        return Ok(None);
    }
    let to = path.with_extension("nesadispute");
    let written = disputing::write(&played.transcript, &to)?;
    Ok(Some(written.display().to_string()))
}

/// What the ledger makes of a dispute that a node lost here: settled by what was signed, or played there.
pub(crate) fn ruled(
    bench: &Bench,
    matter: &Matter,
    played: &Played,
    own: &mut dyn FnMut(&[u8]) -> Option<SignedMove>,
) -> Result<Ruling, Failure> {
    if played.is_transferable {
        bench.settle(&played.transcript)
    } else {
        bench.play(matter, played.transcript.moves.clone(), own)
    }
}

/// The hidden rows that the client sent.
fn rows(prepared: &Prepared, tier: &Tier, bundle: &Bundle) -> Result<Vec<i32>, Failure> {
    let (model, i) = (&prepared.client, &bundle.inference);
    let mut fed = i.prompt.clone();
    fed.extend(&i.answer[..i.answer.len().saturating_sub(1)]);
    let embedded = model.vocabulary.embed(&model.manifest.shape, &fed, 0);
    let mut rows = embedded
        .map_err(ClientError::from)
        .map_err(Failure::failed)?;
    tier.hide(&mut rows).map_err(Failure::failed)?;
    Ok(rows)
}

fn report(context: &Context, bundle: &Bundle, held: Held) -> Result<(), Failure> {
    let (hop, played, evidence, ruling) = match held {
        Held::Right(seconds) => {
            let value = json!({"ok": true, "hops": bundle.hops.len(), "seconds": seconds});
            context.out.result(&value, || {
                format!(
                    "ok: all {} nodes signed what the model computes; there is nothing to dispute ({seconds:.2} s)",
                    bundle.hops.len()
                )
            });
            return Ok(());
        }
        Held::Wrong {
            hop,
            played,
            evidence,
            ruling,
        } => (hop, played, evidence, ruling),
    };
    let node = bundle
        .hops
        .get(hop)
        .map_or([0; 32], |h: &SignedHop| h.statement.node);
    let node = Digest(node).to_string();
    let (rounds, bytes, multiply_adds) = cost_of(&played);
    let value = json!({
        "ok": false,
        "hop": hop,
        "node": node,
        "operator": bundle.inference.operators.get(hop),
        "lost": played.verdict.lost[0],
        "reason": in_words(&played),
        "rounds": rounds,
        "bytes_public": bytes,
        "multiply_adds": multiply_adds,
        "evidence": evidence,
        "ledger": ruling.as_ref().map(Ruling::json),
    });
    context.out.result(&value, || {
        let file = match &evidence {
            Some(path) => format!("evidence for anyone: {path} (nesa verify {path})"),
            None => "no evidence for others: what it did not say or sign proves nothing to them".to_owned(),
        };
        let ledger = ruling.as_ref().map_or_else(String::new, |r| format!("\n{}", r.text()));
        format!(
            "node {node} (hop {hop}) loses: {}\n{rounds} rounds, {bytes} bytes made public, last step {multiply_adds} \
             multiply-adds\n{file}{ledger}",
            in_words(&played)
        )
    });
    let text = if played.verdict.lost[0] {
        "a node of this receipt lied; do not rely on this answer"
    } else {
        "the receipt differs from this client's run, and the dispute went against this client; pull the model again"
    };
    Err(Failure::new(VIOLATED, anyhow::Error::msg(text)))
}

/// Runs `nesa verify FILE.nesadispute`: replays the dispute, trusting nobody.
pub(crate) fn verify(t: &Transcript, context: &Context) -> Result<(), Failure> {
    match verify_transcript(t) {
        Ok(v) => {
            let value = convicted(t, &v);
            context.out.result(&value, || {
                let losers: Vec<String> = losers(t, &v);
                format!(
                    "ok: the dispute convicts {}: {}\n{} rounds, {} bytes made public, last step {} multiply-adds and \
                     {} bytes\nmodel {}, layers {} to {}, {} positions",
                    if losers.is_empty() { "nobody".to_owned() } else { losers.join(" and ") },
                    v.reason,
                    v.rounds,
                    v.bytes.iter().sum::<u64>(),
                    v.work.multiply_adds,
                    v.work.bytes,
                    t.matter.claims()[0].model,
                    t.matter.claims()[0].first,
                    t.matter.claims()[0].end.saturating_sub(1),
                    t.matter.claims()[0].positions,
                )
            });
            Ok(())
        }
        Err(e) => {
            let reason = e.to_string();
            let value = json!({"ok": false, "level": "none", "reason": reason});
            context.out.result(&value, || format!("NOT ok: {reason}"));
            let text = format!("the transcript convicts nobody: {reason}");
            Err(Failure::new(VIOLATED, anyhow::Error::msg(text)))
        }
    }
}

fn losers(t: &Transcript, v: &Verdict) -> Vec<String> {
    let lost = Side::ALL.into_iter().zip(v.lost).filter(|l| l.1);
    lost.map(|(s, _)| Digest(t.matter.key(s)).to_string())
        .collect()
}

fn convicted(t: &Transcript, v: &Verdict) -> Value {
    let claim = t.matter.claims()[0];
    json!({
        "ok": true,
        "level": "evidence",
        "convicted": losers(t, v),
        "sides": Side::ALL.map(|s| Digest(t.matter.key(s)).to_string()),
        "reason": v.reason.to_string(),
        "rounds": v.rounds,
        "bytes_public": v.bytes.iter().sum::<u64>(),
        "multiply_adds": v.work.multiply_adds,
        "step_bytes": v.work.bytes,
        "model_root": claim.model.to_string(),
        "layers": [claim.first, claim.end.saturating_sub(1)],
        "positions": claim.positions,
    })
}

//! `nesa dispute`: a receipt held against this client's own run, or two simulated nodes that disagree by one bit.

pub(crate) mod onchain;
pub(crate) mod receipt;

use std::path::PathBuf;

use nesa_client::Privacy;
use nesa_model::testing::Noise;
use nesa_net::Identity;
use nesa_proof::dispute::program::applications;
use nesa_proof::dispute::referee::{Effect, Input};
use nesa_proof::dispute::{
    Cell, Challenge, Claim, Fault, Half, Op, Parts, Party, Program, Reason, Record, Referee, Side,
    Tier, Timing, Verdict, bound, party,
};
use nesa_proof::statement::SIGN_NAMESPACE;
use serde_json::{Value, json};

use super::network;
use crate::{Context, Failure};

/// Faults tried until one has an effect, where the place is not given.
const TRIES: u64 = 64;
/// Most positions of a simulation, which runs the specification and not the engine.
const POSITIONS_MAX: usize = 64;

/// Dispute a receipt with the nodes that signed it, or simulate a dispute between two nodes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With a receipt, this client computes what every node of it signed and settles the first difference \
                  with that node, which loses by one executed step; a receipt that holds costs the recomputation \
                  alone. Under ee only the client of the session may.\n\nWith --rpc the ledger slashes the node's bond: by what both sides \
                  signed, or, where the node refuses or is silent, by moves on the ledger with its deadlines; that takes a \
                  deposit, which a false accusation loses.\n\nWithout one, it simulates: one node computes everything but one bit; which one is drawn from the seed where it is not \
                  given. The referee knows the model's manifest alone.\n\nExamples:\n  nesa dispute receipt.nesabundle\n  nesa dispute receipt.nesabundle --rpc http://127.0.0.1:8645\n  nesa dispute --seed 7\n  \
                  nesa dispute --layer 3 --position 1 --operator down --bit 0 --json"
)]
pub(crate) struct Dispute {
    /// The receipt to dispute, or a .nesadispute to take to the ledger; without it, a simulation
    receipt: Option<PathBuf>,
    #[command(flatten)]
    ledger: onchain::OnLedger,
    #[command(flatten)]
    nodes: network::Nodes,
    /// The model [default: smollm2-135m]
    #[arg(long, short, value_name = "NAME")]
    model: Option<String>,
    /// Positions that the nodes compute
    #[arg(long, default_value_t = 4, value_name = "N")]
    positions: usize,
    /// The layer of the wrong bit [default: random]
    #[arg(long, value_name = "N")]
    layer: Option<u32>,
    /// The position of the wrong bit [default: random]
    #[arg(long, value_name = "N")]
    position: Option<u32>,
    /// The operator, such as `q`, `score`, `down` or `commit` [default: random]
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// The bit of one of its values [default: random]
    #[arg(long, value_name = "N")]
    bit: Option<u8>,
    /// What is random follows from this
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// A played dispute and what it was about.
struct Played {
    fault: Fault,
    op: Op,
    liar: Side,
    verdict: Verdict,
    claim: Claim,
}

/// Runs `nesa dispute`.
pub(crate) fn run(what: &Dispute, context: &Context) -> Result<(), Failure> {
    if let Some(path) = &what.receipt {
        return match path.extension() {
            Some(e) if e == "nesadispute" => onchain::settle(path, &what.ledger, context),
            _ => receipt::run(path, (&what.nodes, &what.ledger), context),
        };
    }
    let model = network::model(context, what.model.as_deref())?;
    let manifest = model.manifest().clone();
    let shape = manifest.shape.clone();
    if what.positions == 0 || what.positions > POSITIONS_MAX.min(shape.context) {
        let most = POSITIONS_MAX.min(shape.context);
        return Err(Failure::usage(format!("--positions is 1 to {most}")));
    }
    let common = model.open_common()?;
    let layers = 0..shape.layers as u32;
    let blocks = (layers.map(|i| model.open_layer(i, &common))).collect::<Result<Vec<_>, _>>()?;
    let noise = &mut Noise(what.seed);
    let mut token = |_| (noise.bits() % shape.vocab as u64) as u32;
    let tokens: Vec<u32> = (0..what.positions).map(&mut token).collect();
    let rows = model.open_vocabulary()?.embed(&shape, &tokens, 0)?;
    let rows = rows.chunks_exact(shape.dim).map(<[i32]>::to_vec).collect();
    let parts = Parts {
        manifest: &manifest,
        common: &common,
        first: 0,
        blocks: &blocks,
    };
    let truth = Record::run(&parts, rows, None).map_err(Failure::failed)?;
    let noise = &mut Noise(what.seed ^ 0x5eed);
    for _ in 0..TRIES {
        let (fault, op) = choose(what, &parts, noise)?;
        let lie = truth.rerun(&parts, fault).map_err(Failure::failed)?;
        if lie.claim(&parts) == truth.claim(&parts) {
            continue;
        }
        let liar = if noise.bits().is_multiple_of(2) {
            Side::A
        } else {
            Side::B
        };
        let verdict = play(&parts, &truth, &lie, liar)?;
        let claim = truth.claim(&parts);
        let played = Played {
            fault,
            op,
            liar,
            verdict,
            claim,
        };
        return report(what, context, &parts, &played);
    }
    let text = "the wrong bit was rounded or clamped away, so both nodes claim the same; choose a higher --bit";
    Err(Failure::failed(text))
}

/// The fault that was asked for, the rest drawn.
fn choose(what: &Dispute, parts: &Parts<'_>, n: &mut Noise) -> Result<(Fault, Op), Failure> {
    let mut below = |k: usize| (n.bits() % k.max(1) as u64) as usize;
    let shape = &parts.manifest.shape;
    let layer = what.layer.unwrap_or(below(shape.layers) as u32);
    let position = what.position.unwrap_or(below(what.positions) as u32);
    if layer as usize >= shape.layers || position as usize >= what.positions {
        let text = format!(
            "--layer is below {}, --position below {}",
            shape.layers, what.positions
        );
        return Err(Failure::usage(text));
    }
    let named = |op: Op| {
        what.operator
            .as_deref()
            .is_none_or(|name| op.name() == name)
    };
    let mut all = Vec::new();
    let mut names = Vec::new();
    for half in [Half::Cached, Half::Row] {
        let cell = Cell {
            layer,
            position,
            half,
        };
        let p = Program::new(shape, cell, what.positions);
        names.extend(p.sections().iter().map(|s| s.0.name()));
        let own = p.sections().iter().filter(|s| named(s.0));
        all.extend(own.map(|&(op, steps)| (cell, p.steps(op).start, op, steps)));
    }
    let Some(&(cell, start, op, steps)) = all.get(below(all.len())) else {
        names.sort_unstable();
        names.dedup();
        let text = format!("--operator is one of {}", names.join(", "));
        return Err(Failure::usage(text));
    };
    let fault = Fault {
        cell,
        step: start + below(steps),
        value: below(1 << 20),
        bit: what.bit.unwrap_or(below(12) as u8),
    };
    Ok((fault, op))
}

/// Plays one dispute, every message as bytes.
fn play(parts: &Parts<'_>, truth: &Record, lie: &Record, liar: Side) -> Result<Verdict, Failure> {
    let records = match liar {
        Side::A => [lie, truth],
        Side::B => [truth, lie],
    };
    let claims = records.map(|r| r.claim(parts));
    let challenger = Identity::generate().map_err(Failure::failed)?;
    let mut challenge = Challenge {
        challenger: challenger.peer_id().0,
        claim: claims[0],
        instead: claims[1],
        signature: [0; 64],
    };
    challenge.signature = challenger.sign(
        nesa_net::Namespace::new(SIGN_NAMESPACE),
        &challenge.digest().0,
    );
    let right = challenge.entitled(Tier::Open).map_err(Failure::failed)?;
    let timing = Timing { answer: 1 };
    let salt = nesa_codec::Digest::default();
    let manifest = parts.manifest.clone();
    let referee = Referee::new(manifest, claims, &salt, timing, &right);
    let mut referee = referee.map_err(Failure::failed)?;
    let mut sides = records.map(|r| Party::new(*parts, r, referee.dispute(), 0, 1));
    let mut effect = referee.step(0, Input::Start);
    loop {
        let ask = match effect {
            Some(Effect::Verdict(v)) => return Ok(v),
            Some(Effect::Ask(ask)) => ask,
            None => {
                return Err(Failure::failed(
                    "the dispute stands still; report this seed",
                ));
            }
        };
        effect = None;
        for (side, party) in Side::ALL.into_iter().zip(&mut sides) {
            if let Some(party::Effect::Send(bytes)) = party.step(0, party::Input::Ask(ask.clone()))
            {
                let next = referee.step(0, Input::Message(side, &bytes));
                effect = effect.or(next);
            }
        }
    }
}

/// Prints what happened.
fn report(what: &Dispute, context: &Context, parts: &Parts<'_>, p: &Played) -> Result<(), Failure> {
    let (shape, v, f) = (&parts.manifest.shape, &p.verdict, &p.fault);
    let (operators, steps) = applications(shape, parts.blocks.len(), what.positions);
    let rounds_max = u64::BITS - (operators - 1).leading_zeros() + 1;
    let most = bound::largest(shape, p.claim.lists(), what.positions);
    let tile = bound::tile(shape);
    let honest = p.liar.other();
    let found = matches!(v.reason, Reason::Executed { cell, step, .. } if cell == f.cell && step as usize == f.step);
    let side = |s: Side| if s == Side::A { "A" } else { "B" };
    let work = |w: bound::Work| json!({"bytes": w.bytes, "multiply_adds": w.multiply_adds});
    let value: Value = json!({
        "model": parts.manifest.name,
        "privacy": Privacy::Open.name(),
        "positions": what.positions,
        "operators": operators,
        "steps": steps,
        "fault": {"liar": side(p.liar), "layer": f.cell.layer, "position": f.cell.position,
            "operator": p.op.name(), "step": f.step, "bit": f.bit},
        "found": found,
        "rounds": v.rounds,
        "rounds_max": rounds_max,
        "bytes": {"a": v.bytes[0], "b": v.bytes[1]},
        "referee": work(v.work),
        "referee_max": work(most),
        "tile": work(tile),
        "verdict": {"winner": v.winner().map(side), "honest": side(honest), "reason": v.reason.to_string()},
    });
    context.out.result(&value, || {
        format!(
            "node {} computed one bit wrongly: {}, layer {}, position {}\n{}\n\
             node {} wins; {} rounds of at most {rounds_max} over {operators} operators ({steps} steps)\n\
             messages: {} and {} bytes; the referee read {} bytes (at most {}) and did {} multiply-adds \
             (at most {}; a tile has {})",
            side(p.liar), p.op.name(), f.cell.layer, f.cell.position, v.reason,
            v.winner().map_or("none", side), v.rounds, v.bytes[0], v.bytes[1], v.work.bytes, most.bytes,
            v.work.multiply_adds, most.multiply_adds, tile.multiply_adds
        )
    });
    if v.winner() == Some(honest) && found {
        Ok(())
    } else {
        Err(Failure::failed(
            "the dispute did not end at the wrong bit; report this seed",
        ))
    }
}

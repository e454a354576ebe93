//! Proofs of a session: honest blocks are proved, false ones are forged from the liar's own run.

use std::time::Instant;

use nesa_argument::inference::{Inference, InferenceError, InferenceProof, Model, Range};
use nesa_argument::transformer::check::{Witness, forge, witness};
use nesa_argument::transformer::{RangeProof, Refusal, Statement, prove};
use nesa_codec::{Decode, Digest, Encode, Hasher};
use nesa_model::ModelError;
use nesa_model::spec::spec_digest;

use super::Judged;
use super::hop::{Hand, lies};
use super::levels::bytes_name;
use super::session::Session;
use super::world::{HOPS, World, engine};
use crate::{Error, Result};

/// A change of the proof before it is encoded.
pub(super) type Change<'a> = Option<&'a dyn Fn(&World, &mut InferenceProof)>;

fn digest(rows: &[i32]) -> Digest {
    Hasher::new("nesa.attacks.rows.v1").i32s(rows).finish()
}

/// A refusal by its variant and range.
pub(super) fn name(e: &InferenceError<ModelError>) -> String {
    match e {
        InferenceError::Range { first, end, error } => format!("Range({first}..{end}, {error:?})"),
        InferenceError::Model(e) => format!("Model({e:?})"),
        other => format!("{other:?}"),
    }
}

/// Proves every block of `s` as a range of its own; a block that is not the model's is forged.
fn proof(w: &World, s: &Session, hand: &Hand) -> Result<InferenceProof> {
    let mut ranges = Vec::new();
    for (hop, layers) in HOPS.into_iter().enumerate() {
        for (i, layer) in layers.enumerate() {
            let [input, output] = [i, i + 1].map(|i| &s.hops[hop].bounds[i][..]);
            let make = || block(w, layer, (input, output), lies(hop).then_some(hand));
            ranges.push(Range {
                end: layer as u32 + 1,
                rows: output.to_vec(),
                proof: make()?,
            });
        }
    }
    let request = s.ask.request();
    let inference = Inference {
        model: w.model.manifest.root(),
        spec: spec_digest(),
        prompt: request.prompt.clone(),
        answer: s.ask.answer().to_vec(),
        sampling: request.sampling,
    };
    Ok(InferenceProof { inference, ranges })
}

/// A proof that block `layer` turns `input` into `output`, true or not.
fn block(
    w: &World,
    layer: usize,
    (input, output): (&[i32], &[i32]),
    hand: Option<&Hand>,
) -> Result<RangeProof> {
    let (m, root) = (&w.model, w.model.manifest.root());
    let layers = layer as u32..layer as u32 + 1;
    let honest = Statement {
        shape: &m.manifest.shape,
        common: &m.common,
        blocks: &m.blocks[layer..=layer],
        roots: &m.manifest.layers[layer..=layer],
        model: &root,
        layers: &layers,
        input,
        output,
    };
    let at = (layer, digest(input), digest(output));
    let forged = match w.proof(at, || prove(&honest, &mut |_| true).map_err(Error::from)) {
        Err(Error::Proof(Refusal::Output)) => hand,
        proof => return proof,
    };
    let own = forged.filter(|h| h.is_a_model(m));
    let theirs = own.map_or(honest, |h| Statement {
        shape: &h.shape,
        common: &h.common,
        blocks: &h.blocks[layer..=layer],
        ..honest
    });
    let mut run = witness(&theirs)?;
    point_back(&mut run);
    Ok(forge(&honest, run, |_| ())?)
}

/// Largest scores that a causal mask allows, so that the relations decide and not the pointers.
fn point_back(run: &mut Witness) {
    let positions = run.plan.positions;
    for hints in &mut run.hints {
        for (i, t) in hints.largest.iter_mut().enumerate() {
            *t = (*t).min((i % positions) as u32);
        }
    }
}

/// Tells `s` to the verifier of proofs.
pub(super) fn proved(w: &World, s: &Session, hand: &Hand, change: Change<'_>) -> Result<Judged> {
    let mut proof = proof(w, s, hand)?;
    if let Some(change) = change {
        change(w, &mut proof);
    }
    Ok(judge(w, &proof.to_bytes()))
}

/// The verifier's word on `bytes`.
pub(super) fn judge(w: &World, bytes: &[u8]) -> Judged {
    let (m, mut engine) = (&w.model, engine());
    let start = Instant::now();
    let decoded = InferenceProof::from_bytes(bytes);
    let verdict = match decoded {
        Err(e) => Err(bytes_name(&e)),
        Ok(proof) => {
            let read = |i: u32| m.blocks.get(i as usize).cloned();
            let mut block = |i| read(i).ok_or(ModelError::Range("a block"));
            let mut model = Model {
                manifest: &m.manifest,
                common: &m.common,
                vocabulary: &w.client.vocabulary,
                block: &mut block,
            };
            let verdict = proof.verify(&mut model, &mut engine);
            verdict.map_err(|e| name(&e))
        }
    };
    Judged {
        refusal: verdict.err(),
        bytes: bytes.len() as u64,
        time: start.elapsed(),
    }
}

//! `nesa prove`: a succinct proof that a model gave an answer, made on this machine.
//!
//! Ranges of blocks are proved one after the other; each is written as soon as it is done, so a proof
//! that was stopped goes on at the next range.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use nesa_argument::inference::{Inference, InferenceProof, Model, PROOF_BYTES_MAX, Range};
use nesa_argument::transformer::{self, RangeProof, Refusal, Stage, Statement};
use nesa_codec::{Decode, Encode};
use nesa_model::block::{Block, Common};
use nesa_model::engine::Span;
use nesa_model::spec::spec_digest;
use nesa_model::{Engine, Sampling, Shard};
use nesa_proof::Bundle;
use nesa_proof::bundle::BUNDLE_BYTES_MAX;
use nesa_storage::ModelDir;
use nesa_storage::disk::{self, Access};
use serde_json::{Value, json};

use super::network;
use crate::net::cpu;
use crate::output::{Bar, Unit};
use crate::{Context, Failure};

/// Exit code of evidence that does not hold.
const VIOLATED: u8 = 4;

/// Committed values of one range, as a power of two, unless told otherwise.
pub(crate) const CELLS_LOG: u32 = 26;

/// Stages of one range, for the bar.
const STAGES: u64 = 6;

/// Prove that a model gave an answer.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nesa prove ~/.nesa/receipts/1f….nesabundle\n  nesa prove --model minilm --text \"a sentence to embed\"\n\nThe prover \
                  is this machine; the proof shows prompt and answer to whoever gets it. Whoever verifies it needs the model, not its nodes."
)]
pub(crate) struct Prove {
    /// A receipt, whose prompt and answer are proved
    #[arg(required_unless_present = "text", conflicts_with = "text")]
    receipt: Option<PathBuf>,
    /// A text to embed, for encoders
    #[arg(long)]
    text: Option<String>,
    /// The encoder [default: minilm]
    #[arg(long, short, value_name = "NAME", requires = "text")]
    model: Option<String>,
    /// Where to write the proof [default: beside the receipt, or the home's receipts folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Most committed values of one range, as a power of two: less memory, a larger proof
    #[arg(long, value_name = "LOG", default_value_t = CELLS_LOG, value_parser = clap::value_parser!(u32).range(18..=27))]
    cells: u32,
    /// Prove for verifiers that hold the model's key instead of the model
    #[arg(long)]
    committed: bool,
    /// The model's key [default: made anew]
    #[arg(long, value_name = "FILE", requires = "committed")]
    key: Option<PathBuf>,
}

/// Runs `nesa prove`.
pub(crate) fn run(what: &Prove, context: &Context) -> Result<(), Failure> {
    let (model, inference, out) = match (&what.receipt, &what.text) {
        (Some(path), _) => of_receipt(path, what.out.as_deref(), context)?,
        (None, text) => of_text(text.as_deref().unwrap_or_default(), what, context)?,
    };
    if what.committed {
        let stated = (what.key.as_deref(), inference);
        let value = super::committed::prove(context, &model, stated, &out, what.cells)?;
        let text = format!("proved for the key {}: {}", value["key"], out.display());
        context.out.result(&value, || text);
        return Ok(());
    }
    let made = prove(context, &model, inference, &out, what.cells)?;
    context
        .out
        .result(&made.value(&model, &out), || made.text(&out));
    Ok(())
}

fn of_receipt(
    path: &Path,
    out: Option<&Path>,
    context: &Context,
) -> Result<(ModelDir, Inference, PathBuf), Failure> {
    let bytes = disk::read(path, BUNDLE_BYTES_MAX as u64)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| {
            Failure::usage(format!(
                "{} does not exist; receipts are in {}",
                path.display(),
                context.home.root().join("receipts").display()
            ))
        })?;
    let bundle = Bundle::from_bytes(&bytes).map_err(|e| {
        Failure::usage(format!(
            "{} is no receipt: {e}; give one that `nesa ask` wrote",
            path.display()
        ))
    })?;
    let model = with_root(context, &bundle.inference.model)?;
    let out = out.map_or_else(|| path.with_extension("nesaproof"), Path::to_owned);
    Ok((model, inference_of(&bundle), out))
}

/// What a receipt states about tokens.
pub(crate) fn inference_of(bundle: &Bundle) -> Inference {
    let i = &bundle.inference;
    Inference {
        model: i.model,
        spec: i.spec,
        prompt: i.prompt.clone(),
        answer: i.answer.clone(),
        sampling: i.sampling,
    }
}

fn of_text(
    text: &str,
    what: &Prove,
    context: &Context,
) -> Result<(ModelDir, Inference, PathBuf), Failure> {
    let model = network::model(context, Some(what.model.as_deref().unwrap_or("minilm")))?;
    if model.open_vocabulary()?.head.is_some() {
        let text = format!(
            "{} gives answers, not vectors; ask it first, then prove the receipt",
            model.name()
        );
        return Err(Failure::usage(text));
    }
    let prompt = model
        .tokenizer()?
        .encode_document(text, model.manifest().shape.context)?;
    let inference = Inference {
        model: model.root(),
        spec: spec_digest(),
        prompt,
        answer: Vec::new(),
        sampling: Sampling::default(),
    };
    let name = nesa_codec::Hasher::new("nesa.cli.proof.v1")
        .bytes(text.as_bytes())
        .finish()
        .to_string();
    let out = match &what.out {
        Some(out) => out.clone(),
        None => context
            .home
            .receipts()?
            .join(format!("{}.nesaproof", &name[..16])),
    };
    Ok((model, inference, out))
}

/// The model here that has this root.
fn with_root(context: &Context, root: &nesa_codec::Digest) -> Result<ModelDir, Failure> {
    let models = context.home.models()?.into_iter();
    let opened = models.filter_map(|m| context.home.model(&m.name).ok());
    opened
        .into_iter()
        .find(|m| m.root() == *root)
        .ok_or_else(|| {
            Failure::failed(format!(
                "no model here has root {root}; pull it with `nesa model pull`"
            ))
        })
}

/// A proof and what it cost.
pub(crate) struct Made {
    proof: InferenceProof,
    bytes: usize,
    /// Seconds of proving in this run; ranges that were found done are not in it.
    seconds: f64,
    /// The same by range.
    by_range: Vec<f64>,
    /// CPU seconds of this process so far, where the system tells.
    cpu: Option<f64>,
    /// Seconds of computing the same rows with the engine.
    native: f64,
}

impl Made {
    /// Verifies what was made, by the verifier's own code, and returns it as JSON.
    pub(crate) fn checked(
        &self,
        context: &Context,
        model: &ModelDir,
        out: &Path,
    ) -> Result<Value, Failure> {
        let seconds = accepted(&self.proof, context, model)?;
        let mut value = self.value(model, out);
        value["verify_seconds"] = json!(seconds);
        Ok(value)
    }

    /// As JSON.
    pub(crate) fn value(&self, model: &ModelDir, out: &Path) -> Value {
        let i = &self.proof.inference;
        json!({
            "model": model.name(),
            "model_root": i.model.to_string(),
            "positions": i.fed().len(),
            "ranges": self.proof.ranges.iter().map(|r| r.end).collect::<Vec<_>>(),
            "bytes": self.bytes,
            "seconds": self.seconds,
            "range_seconds": self.by_range,
            "native_seconds": self.native,
            "cpu_seconds": self.cpu,
            "peak_bytes": cpu::peak_bytes(),
            "ratio": self.seconds / self.native.max(1e-9),
            "proof": out.display().to_string(),
        })
    }

    fn text(&self, out: &Path) -> String {
        format!(
            "proved {} positions in {:.1} s ({:.0} x the run itself), {} bytes: {}",
            self.proof.inference.fed().len(),
            self.seconds,
            self.seconds / self.native.max(1e-9),
            self.bytes,
            out.display()
        )
    }
}

/// Ranges of an unfinished proof of the same statement.
fn begun(out: &Path, inference: &Inference) -> Vec<Range> {
    let bytes = disk::read(&part(out), PROOF_BYTES_MAX as u64)
        .ok()
        .flatten();
    let old = bytes.and_then(|b| InferenceProof::from_bytes(&b).ok());
    old.filter(|p| p.inference == *inference)
        .map_or_else(Vec::new, |p| p.ranges)
}

fn part(out: &Path) -> PathBuf {
    out.with_extension("nesaproof.part")
}

/// Proves range after range and writes the proof to `out`.
pub(crate) fn prove(
    context: &Context,
    model: &ModelDir,
    inference: Inference,
    out: &Path,
    cells: u32,
) -> Result<Made, Failure> {
    let shape = &model.manifest().shape;
    let common = model.open_common()?;
    let embedded = model.open_vocabulary()?.embed(shape, &inference.fed(), 0);
    let mut rows = embedded.map_err(anyhow::Error::from)?;
    let ranges = begun(out, &inference);
    let mut proof = InferenceProof { inference, ranges };
    let bar = context.out.bar(shape.layers as u64 * STAGES, Unit::Items);
    let (mut by_range, mut native) = (Vec::new(), 0.0);
    let mut first = 0u32;
    for range in &proof.ranges {
        first = range.end;
        rows.clone_from(&range.rows);
    }
    let mut waiting: Option<Block> = None;
    while (first as usize) < shape.layers {
        let positions = rows.len() / shape.dim;
        let blocks = take(model, &common, first, positions, cells, &mut waiting)?;
        let (after, took) = compute(context, model, &common, &blocks, &rows)?;
        let layers = first..first + blocks.len() as u32;
        let statement = Statement {
            shape,
            common: &common,
            blocks: &blocks,
            roots: &model.manifest().layers[first as usize..layers.end as usize],
            model: &model.root(),
            layers: &layers,
            input: &rows,
            output: &after,
        };
        let (made, spent) = range(&statement, &bar)?;
        native += took;
        first = layers.end;
        by_range.push(spent);
        rows.clone_from(&after);
        proof.ranges.push(Range {
            end: first,
            rows: after,
            proof: made,
        });
        disk::write(&part(out), &proof.to_bytes(), Access::Owner)
            .map_err(nesa_storage::Error::from)?;
    }
    let bytes = written(&proof, out)?;
    Ok(Made {
        proof,
        bytes,
        seconds: by_range.iter().sum(),
        by_range,
        cpu: cpu::seconds(),
        native,
    })
}

/// Writes a whole proof in place of its parts; its length in bytes.
fn written(proof: &InferenceProof, out: &Path) -> Result<usize, Failure> {
    let bytes = proof.to_bytes();
    disk::write(out, &bytes, Access::Owner).map_err(nesa_storage::Error::from)?;
    // Without the file of parts the proof is whole; that it stays behind harms nobody.
    let _ = std::fs::remove_file(part(out));
    Ok(bytes.len())
}

/// One range's proof and its seconds, with progress.
fn range(s: &Statement<'_>, bar: &Bar) -> Result<(RangeProof, f64), Failure> {
    let (layers, total) = (s.layers, s.shape.layers as u64 * STAGES);
    let label = format!("proving blocks {} to {}", layers.start, layers.end - 1);
    let started = Instant::now();
    let made = transformer::prove(s, &mut |stage: Stage| {
        let within = stage as u64 * s.blocks.len() as u64;
        bar.set(&label, u64::from(layers.start) * STAGES + within, total);
        true
    });
    Ok((made.map_err(refused)?, started.elapsed().as_secs_f64()))
}

#[allow(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn refused(e: Refusal) -> Failure {
    Failure::failed(format!("no proof: {e}"))
}

/// Blocks from `first` on, as many as fit into `2^cells` values.
pub(super) fn take(
    model: &ModelDir,
    common: &Common,
    first: u32,
    positions: usize,
    cells: u32,
    waiting: &mut Option<Block>,
) -> Result<Vec<Block>, Failure> {
    let shape = &model.manifest().shape;
    let mut blocks: Vec<Block> = Vec::new();
    for l in first..shape.layers as u32 {
        let block = match waiting.take() {
            Some(b) => b,
            None => model.open_layer(l, common)?,
        };
        blocks.push(block);
        let size = transformer::size(shape, &blocks, positions).map_err(refused)?;
        if size > 1 << cells && blocks.len() > 1 {
            *waiting = blocks.pop();
            break;
        }
    }
    Ok(blocks)
}

/// The rows after `blocks`, and the engine's seconds for them.
pub(super) fn compute(
    context: &Context,
    model: &ModelDir,
    common: &Common,
    blocks: &[Block],
    rows: &[i32],
) -> Result<(Vec<i32>, f64), Failure> {
    let shape = &model.manifest().shape;
    let mut shard = Shard::new(shape.clone(), Arc::new(common.clone()), 0..blocks.len());
    for b in blocks {
        shard.push(b).map_err(anyhow::Error::from)?;
    }
    let n = rows.len() / shape.dim;
    let mut cache = shard.cache(n);
    let mut engine = Engine::new(nesa_kernels::Level::detect(), context.config.threads);
    let (mut after, started) = (rows.to_vec(), Instant::now());
    let span = Span {
        cache: &mut cache,
        rows: n,
    };
    engine
        .forward(&shard, &mut after, &mut [span])
        .map_err(anyhow::Error::from)?;
    Ok((after, started.elapsed().as_secs_f64()))
}

/// Verifies a proof with the model of this home, and prints what it shows.
pub(crate) fn verify(
    proof: &InferenceProof,
    name: Option<&str>,
    context: &Context,
) -> Result<(), Failure> {
    let model = match name {
        Some(name) => context.home.model(name)?,
        None => with_root(context, &proof.inference.model)?,
    };
    let i = &proof.inference;
    let seconds = match accepted(proof, context, &model) {
        Ok(seconds) => seconds,
        Err(failure) => {
            let reason = failure.error.to_string();
            let value = json!({"ok": false, "level": "none", "reason": reason});
            context.out.result(&value, || format!("NOT ok: {reason}"));
            return Err(failure);
        }
    };
    let tokenizer = model.tokenizer()?;
    let text = tokenizer.decode(&i.answer, true).unwrap_or_default();
    let what = match i.answer.len() {
        0 => "the rows of all positions follow".to_owned(),
        n => format!("all {n} tokens of the answer follow"),
    };
    let reason =
        format!("{what} from the prompt under this model: every integer of every block is proved");
    let value = json!({
        "ok": true,
        "level": "proof",
        "reason": reason,
        "model": model.name(),
        "model_root": i.model.to_string(),
        "prompt_tokens": i.prompt,
        "answer_tokens": i.answer,
        "answer": text,
        "verify_seconds": seconds,
    });
    context.out.result(&value, || {
        format!("ok: level proof established in {seconds:.3} s\n{reason}\n{text}")
    });
    Ok(())
}

/// Seconds of the verifier's work, the reading of the model left out; a failure when the proof does not hold.
fn accepted(proof: &InferenceProof, context: &Context, model: &ModelDir) -> Result<f64, Failure> {
    let (common, vocabulary) = (model.open_common()?, model.open_vocabulary()?);
    let mut engine = Engine::new(nesa_kernels::Level::detect(), context.config.threads);
    let mut blocks = Vec::new();
    for l in 0..model.manifest().shape.layers as u32 {
        blocks.push(model.open_layer(l, &common)?);
    }
    let started = Instant::now();
    let mut blocks = blocks.into_iter();
    let mut next = |_| {
        blocks
            .next()
            .ok_or(nesa_model::ModelError::Range("a block's index"))
    };
    let checked = proof.verify(
        &mut Model {
            manifest: model.manifest(),
            common: &common,
            vocabulary: &vocabulary,
            block: &mut next,
        },
        &mut engine,
    );
    checked.map_err(|e| {
        let text = format!("the proof does not hold: {e}; do not rely on this answer");
        Failure::new(VIOLATED, anyhow::Error::msg(text))
    })?;
    Ok(started.elapsed().as_secs_f64())
}

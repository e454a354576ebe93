//! `nesa attack`: try to read what a node recorded, as that node could.

use std::path::PathBuf;
use std::sync::Arc;

use nesa_attack::lab::Weights;
use nesa_attack::record::{self, Seen};
use nesa_attack::{Attack as Kind, Base, Means, View};
use nesa_model::split::{Limbs, Product};
use nesa_model::{Block, Shape};
use nesa_storage::ModelDir;
use serde_json::json;

use super::network;
use crate::{Context, Failure};

/// Largest record read.
const RECORD_BYTES_MAX: u64 = 4 << 30;
/// Largest text of the language read.
const CORPUS_BYTES_MAX: u64 = 64 << 20;
/// Blocks of the base model that attacks on deeper rows run.
const BLOCKS_MAX: usize = 40;

/// Attack what a node received.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nesa ask --privacy ee --record seen \"My secret question\"\n  nesa attack --record seen/node-0 --attack A4\n  nesa attack --record seen/node-0 --attack A6\n\nA4 matches weights, A6 vocabulary; A1 and A2 need --corpus, A5 and A7 --known. LEAKAGE.md has the measurements."
)]
pub(crate) struct Attack {
    /// Folder that a node recorded into, with `received.bin`
    #[arg(long, value_name = "DIR")]
    record: PathBuf,
    /// The public base model [default: smollm2-135m]
    #[arg(long, short, value_name = "NAME")]
    model: Option<String>,
    /// A1, A2, A4, A5, A6 or A7
    #[arg(long, value_name = "NAME", default_value = "A6")]
    attack: String,
    /// Whether the attacker holds the base weights: public or none
    #[arg(long, value_name = "WHAT", default_value = "public")]
    weights: String,
    /// A text of the same language
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// Tokens that the attacker knows: POSITION:TOKEN, comma separated
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    known: Vec<String>,
}

/// Runs `nesa attack`.
pub(crate) fn run(what: &Attack, context: &Context) -> Result<(), Failure> {
    let bad = |e: nesa_attack::AttackError| Failure::failed(e);
    let kind: Kind = what.attack.parse().map_err(Failure::usage)?;
    let weights = match what.weights.as_str() {
        "public" => Weights::Public,
        "none" => Weights::NeverPublished,
        other => {
            return Err(Failure::usage(format!(
                "--weights {other}: give public or none"
            )));
        }
    };
    let model = network::model(context, what.model.as_deref())?;
    let shape = model.manifest().shape.clone();
    let base = base(&model)?;
    let seen = read(what, &shape)?;
    let (view, is_shared) = view(&base, &seen);
    let means = Means {
        base: &base,
        weights,
        held: &held(context, &model, &base, &seen)?,
        corpus: &corpus(what, &model)?,
        known: &known(what)?,
    };
    let outcome = nesa_attack::run(kind, &view, &means).map_err(bad)?;
    let named: Vec<u32> = outcome.named.iter().map(|n| n.unwrap_or(0)).collect();
    let text = model.tokenizer()?.decode(&named, false)?;
    let value = json!({
        "attack": what.attack,
        "tier": if is_shared { "hss" } else { "open or ee" },
        "rows": view.count(),
        "named": outcome.named.iter().flatten().count(),
        "certain": outcome.certain,
        "tokens": named,
        "text": text,
    });
    context.out.result(&value, || {
        let certain = outcome.certain.map_or_else(
            || "it cannot tell which guesses are right".to_owned(),
            |n| {
                format!(
                    "{n} of {} rows are explained exactly: read for certain",
                    view.count()
                )
            },
        );
        format!("{certain}\n\n{text}")
    });
    Ok(())
}

/// The rows of the record, and whether they are shares.
fn view(base: &Base, seen: &[Seen]) -> (View, bool) {
    let shape = &base.shape;
    let of = |b: &Block| Limbs::of(b, shape.order, Product::Qkv);
    let limbs = base.blocks.first().map_or(Limbs::ONE, of);
    let is_shared = (seen.iter()).any(|s| matches!(s, Seen::Opened { shares: true, .. }));
    let view = if is_shared {
        record::shares_view(seen, shape.dim, limbs.count, limbs.bits)
    } else {
        record::rows_view(seen, shape.dim)
    };
    (view, is_shared)
}

fn base(model: &ModelDir) -> Result<Base, Failure> {
    let common = Arc::new(model.open_common()?);
    let shape = model.manifest().shape.clone();
    let blocks: Result<Vec<Block>, _> = (0..shape.layers.min(BLOCKS_MAX) as u32)
        .map(|i| model.open_layer(i, &common))
        .collect();
    Ok(Base {
        vocabulary: model.open_vocabulary()?,
        blocks: blocks?,
        shape,
        common,
    })
}

fn read(what: &Attack, shape: &Shape) -> Result<Vec<Seen>, Failure> {
    let path = what.record.join("received.bin");
    let bytes = nesa_storage::disk::read(&path, RECORD_BYTES_MAX)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| {
            Failure::failed(format!(
                "{} does not exist; record with `nesa ask --record DIR`, then give DIR/node-0",
                path.display()
            ))
        })?;
    let cols = |layer: usize, product: u8| {
        let product = Product::from_code(product).filter(|_| layer < shape.layers)?;
        Some(product.dims(shape).1)
    };
    record::read(&bytes, &cols).map_err(Failure::failed)
}

/// The blocks that the node held, from the model's first on: sealed ones if this home has them.
fn held(
    context: &Context,
    model: &ModelDir,
    base: &Base,
    seen: &[Seen],
) -> Result<Vec<Block>, Failure> {
    let opened = seen.iter().find_map(|s| match s {
        Seen::Opened { model, .. } => Some(*model),
        _ => None,
    });
    let Some(root) = opened.filter(|root| *root != model.root()) else {
        return Ok(base.blocks.clone());
    };
    let sealed = context.home.sealed(&root)?;
    let common = sealed.open_common()?;
    let blocks: Result<Vec<Block>, _> = (0..base.blocks.len() as u32)
        .map(|i| sealed.open_layer(i, &common))
        .collect();
    Ok(blocks?)
}

fn corpus(what: &Attack, model: &ModelDir) -> Result<Vec<u32>, Failure> {
    let Some(path) = &what.corpus else {
        return Ok(Vec::new());
    };
    let bytes = nesa_storage::disk::read(path, CORPUS_BYTES_MAX)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| Failure::usage(format!("{} does not exist; give a text", path.display())))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(model.tokenizer()?.encode(&text, false)?)
}

fn known(what: &Attack) -> Result<Vec<(usize, u32)>, Failure> {
    let bad = |s: &str| Failure::usage(format!("--known {s}: give POSITION:TOKEN, such as 3:284"));
    let pair = |s: &String| {
        let (at, token) = s.split_once(':').ok_or_else(|| bad(s))?;
        let number = |v: &str| v.parse::<u32>().map_err(|_| bad(s));
        Ok((number(at)? as usize, number(token)?))
    };
    what.known.iter().map(pair).collect()
}

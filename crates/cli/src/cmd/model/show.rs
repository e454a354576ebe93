//! `nesa model show`: what a model is, and what the static check proves about it.

use nesa_model::{PartId, bounds};
use nesa_storage::ModelDir;
use serde_json::{Value, json};

use crate::output::bytes;
use crate::{Context, Failure};

/// Show a model's shape, root, sizes and bounds.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The model's name, or the start of its root
    name: String,
}

/// Runs the command: every part is opened and held against its root.
pub(crate) fn run(what: &Show, context: &Context) -> Result<(), Failure> {
    let model = context.home.model(&what.name)?;
    let bounds = check(&model)?;
    let lookups = bounds::lookups(&model.manifest().shape);
    let sealed: Vec<String> = (context.home.sealed_of(&model.root())?.iter())
        .map(|(sealed, _)| sealed.root().to_string())
        .collect();
    let layers = model
        .parts()
        .into_iter()
        .filter(|p| matches!(p, PartId::Layer(_)));
    let layer_bytes: u64 = layers.filter_map(|p| model.part_len(p)).sum();
    let source = model.source()?;
    let value = json!({
        "name": model.name(),
        "root": model.root().to_string(),
        "arch": source.arch,
        "shape": shape(&model),
        "text": text(&model),
        "bytes": {
            "all": model.bytes(),
            "common": model.part_len(PartId::Common),
            "vocabulary": model.part_len(PartId::Vocabulary),
            "layers": layer_bytes,
        },
        "bounds": {
            "rows": bounds.rows,
            "largest_sum": bounds.largest,
            "wide_rows": bounds.wide_rows,
            "field_rows": bounds.field_rows,
        },
        "lookups": {
            "per_token": lookups.fixed,
            "per_attended_position": lookups.per_position,
            "per_sampled_token": lookups.head,
        },
        "sealed": sealed,
        "source": source.checkpoint.display().to_string(),
    });
    context.out.result(&value, || human(&value));
    Ok(())
}

/// Opens every part, which proves all bounds, and sums them up.
fn check(model: &ModelDir) -> Result<bounds::Bounds, Failure> {
    let shape = &model.manifest().shape;
    let common = model.open_common()?;
    let vocabulary = model.open_vocabulary()?;
    let head_in = vocabulary.final_norm.as_ref();
    let head_in = head_in.map_or(nesa_model::spec::ACT_MAX, |n| n.clamp);
    let mut all = bounds::check_model(shape, &[], vocabulary.head.as_ref(), head_in)?;
    for i in 0..shape.layers {
        let one = bounds::check_block(shape, &model.open_layer(i as u32, &common)?)?;
        all.rows += one.rows;
        all.largest = all.largest.max(one.largest);
        all.wide_rows += one.wide_rows;
        all.field_rows += one.field_rows;
    }
    Ok(all)
}

/// The shape as JSON.
pub(crate) fn shape(model: &ModelDir) -> Value {
    let s = &model.manifest().shape;
    json!({
        "layers": s.layers,
        "dim": s.dim,
        "heads": s.heads,
        "kv_heads": s.kv_heads,
        "head_dim": s.head_dim,
        "ffn": s.ffn,
        "vocab": s.vocab,
        "context": s.context,
        "order": if s.order == nesa_model::Order::Pre { "pre" } else { "post" },
        "causal": s.causal,
        "gated": s.gated,
        "rotary": s.rotary,
        "weights": s.block_macs() * s.layers,
    })
}

/// The text side's digests as JSON.
pub(crate) fn text(model: &ModelDir) -> Value {
    let t = &model.manifest().text;
    json!({
        "vocabulary": t.vocabulary.to_string(),
        "tokenizer": t.tokenizer.to_string(),
        "template": t.template.to_string(),
        "eos": t.eos,
        "bos": t.bos,
    })
}

fn human(v: &Value) -> String {
    let size = |key: &str| bytes(v["bytes"][key].as_u64().unwrap_or(0));
    let (s, b, l) = (&v["shape"], &v["bounds"], &v["lookups"]);
    let largest = b["largest_sum"].as_i64().unwrap_or(0);
    let sealed = v["sealed"].as_array().map_or(0, Vec::len);
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    [
        format!("{}  ({}, from {})", text(&v["name"]), text(&v["arch"]), text(&v["source"])),
        format!("root     {}", text(&v["root"])),
        format!(
            "shape    {} layers, dim {}, {} heads ({} for keys) of {}, ffn {}, vocab {}, context {}",
            s["layers"], s["dim"], s["heads"], s["kv_heads"], s["head_dim"], s["ffn"], s["vocab"],
            s["context"],
        ),
        format!(
            "size     {} in all: layers {}, vocabulary {}",
            size("all"), size("layers"), size("vocabulary"),
        ),
        format!(
            "bounds   {} rows; largest sum {largest} (2^{:.1}); {} rows in 64 bits; {} beyond half the field",
            b["rows"], (largest.max(1) as f64).log2(), b["wide_rows"], b["field_rows"],
        ),
        format!(
            "lookups  {} per token, {} per attended position, {} per sampled token",
            l["per_token"], l["per_attended_position"], l["per_sampled_token"],
        ),
        format!("sealed   {sealed} versions"),
        "parts    all match their roots".to_owned(),
    ]
    .join("\n")
}

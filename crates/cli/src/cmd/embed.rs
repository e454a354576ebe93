//! `nesa embed`: vectors of texts, from an encoder that runs on shares of its inputs.

use std::time::Instant;

use nesa_client::Privacy;
use nesa_model::Engine;
use nesa_model::engine::Span;
use nesa_model::manifest::Pooling;
use nesa_storage::ModelDir;
use serde_json::{Value, json};

use super::network::{self, Nodes, Tiers};
use crate::net::private::{self, PrivateModel};
use crate::net::{deploy, setup};
use crate::output::Unit;
use crate::{Context, Failure};

/// Vectors of texts.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nesa embed --json \"a private sentence\" \"another\"\n  nesa embed --local \"on this machine alone\""
)]
pub(crate) struct Embed {
    /// The texts
    #[arg(required = true)]
    texts: Vec<String>,
    /// An encoder [default: minilm]
    #[arg(long, short, value_name = "NAME", default_value = "minilm")]
    model: String,
    /// Compute on this machine alone: nothing is sent
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    tier: Tiers,
    #[command(flatten)]
    nodes: Nodes,
}

/// Runs `nesa embed`.
pub(crate) fn run(what: &Embed, context: &Context) -> Result<(), Failure> {
    let model = network::model(context, Some(&what.model))?;
    let pooling = model.manifest().text.pooling;
    if pooling == Pooling::None {
        let text = format!(
            "{} gives answers, not vectors; choose an encoder such as minilm",
            what.model
        );
        return Err(Failure::usage(text));
    }
    let tokenizer = model.tokenizer()?;
    let len = model.manifest().shape.context;
    let mut ids = Vec::new();
    for text in &what.texts {
        ids.push(tokenizer.encode_document(text, len)?);
    }
    let mut traffic = Value::Null;
    let started = Instant::now();
    let rows = if what.local {
        local(&model, &ids)?
    } else {
        let (rows, seen) = shared(what, context, &model, &ids)?;
        traffic = seen;
        rows
    };
    let seconds = started.elapsed().as_secs_f64();
    let dim = model.manifest().shape.dim;
    let vectors: Vec<Vec<f64>> = rows.iter().map(|r| pool(r, dim, pooling)).collect();
    let value = json!({
        "model": model.name(),
        "model_root": model.root().to_string(),
        "privacy": if what.local { "local" } else { Privacy::Hss.name() },
        "dim": dim,
        "tokens": ids.iter().map(Vec::len).collect::<Vec<_>>(),
        "embeddings": vectors,
        "rows_digest": rows.iter().map(|r| digest(r)).collect::<Vec<_>>(),
        "seconds": seconds,
        "hss": traffic,
    });
    context.out.result(&value, || {
        let line = |v: &Vec<f64>| {
            let head: Vec<String> = v.iter().take(6).map(|x| format!("{x:.4}")).collect();
            format!("[{}, … {} values]", head.join(", "), v.len())
        };
        vectors.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

/// Rows (tokens, dim) of every text, computed here.
fn local(model: &ModelDir, texts: &[Vec<u32>]) -> Result<Vec<Vec<i32>>, Failure> {
    let (vocabulary, shape) = (model.open_vocabulary()?, model.manifest().shape.clone());
    let shard = model.open_shard(0..shape.layers)?;
    let mut engine = Engine::new(nesa_kernels::Level::detect(), 1);
    let mut all = Vec::new();
    for ids in texts {
        let mut rows = vocabulary.embed(&shape, ids, 0)?;
        let mut cache = shard.cache(ids.len());
        let span = Span {
            cache: &mut cache,
            rows: ids.len(),
        };
        engine.forward(&shard, &mut rows, &mut [span])?;
        all.push(rows);
    }
    Ok(all)
}

/// Rows (tokens, dim) of every text, from holders of shares.
fn shared(
    what: &Embed,
    context: &Context,
    model: &ModelDir,
    texts: &[Vec<u32>],
) -> Result<(Vec<Vec<i32>>, Value), Failure> {
    if what.tier.privacy(model)? != Privacy::Hss {
        let text =
            "encoders run under `hss`, or on this machine alone; use --privacy hss or --local";
        return Err(Failure::usage(text));
    }
    let vocabulary = model.open_vocabulary()?;
    let shape = &model.manifest().shape;
    let bar = context.out.bar(0, Unit::Items);
    let mut on =
        |done: usize, total: usize| bar.set("check keys of layers", done as u64, total as u64);
    let private = PrivateModel::load(&context.home, model, what.tier.sharing()?, &mut on)?;
    drop(bar);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|e| Failure::failed(format!("cannot start I/O: {e}; free some memory")))?;
    runtime.block_on(async {
        let network = network::network(context, &what.nodes).await?;
        let work = async {
            let placement = private.placement(&network.fleet)?;
            deploy::shares(&network.fleet, model, &placement, &|_| ()).await?;
            let mut engine = setup::engine(Some(context.config.simd.name()), 1);
            let (mut all, mut bytes) = (Vec::new(), [0, 0]);
            let started = Instant::now();
            for ids in texts {
                let embedded = vocabulary.embed(shape, ids, 0)?;
                let (rows, t) =
                    private::embed(&network.fleet, &private, embedded, &mut engine).await?;
                bytes[0] += t.up.iter().sum::<u64>();
                bytes[1] += t.down.iter().sum::<u64>();
                all.push(rows);
            }
            let seconds = started.elapsed().as_secs_f64();
            Ok::<_, Failure>((
                all,
                json!({
                    "bytes_up": bytes[0],
                    "bytes_down": bytes[1],
                    "seconds_per_embedding": seconds / texts.len() as f64,
                }),
            ))
        };
        let done = work.await;
        network.stop().await;
        done
    })
}

/// One unit vector from rows (tokens, dim).
fn pool(rows: &[i32], dim: usize, pooling: Pooling) -> Vec<f64> {
    let taken = if pooling == Pooling::First {
        dim.min(rows.len())
    } else {
        rows.len()
    };
    let mut sum = vec![0.0; dim];
    for row in rows[..taken].chunks_exact(dim) {
        sum.iter_mut()
            .zip(row)
            .for_each(|(s, &v)| *s += f64::from(v));
    }
    let length = sum
        .iter()
        .map(|v| v * v)
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    sum.into_iter().map(|v| v / length).collect()
}

fn digest(rows: &[i32]) -> String {
    let hash = nesa_codec::Hasher::new("nesa.cli.rows.v1").i32s(rows);
    hash.finish().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one() {
        assert_eq!(pool(&[3, 4, 0, 0], 2, Pooling::First), [0.6, 0.8]);
        let mean = pool(&[3, 0, 0, 4], 2, Pooling::Mean);
        assert!((mean[0] - 0.6).abs() < 1e-12 && (mean[1] - 0.8).abs() < 1e-12);
        assert_eq!(pool(&[0, 0], 2, Pooling::Mean), [0.0, 0.0]);
    }
}

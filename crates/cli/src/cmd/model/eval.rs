//! `nesa model eval`: the integer model against the float original on a text.

use std::path::PathBuf;

use nesa_checkpoint::Tokenizer;
use nesa_compile::eval::{Agreement, FloatModel, Similarity, Whole, agreement, similarity};
use nesa_model::engine::PackedHead;
use nesa_model::manifest::Pooling;
use nesa_storage::ModelDir;
use serde_json::json;

use crate::output::Unit;
use crate::{Context, Failure};

/// Bytes of text that one token is read for: far more than any tokenizer's mean.
const BYTES_PER_TOKEN: usize = 24;
/// Bytes of a text file.
const TEXT_BYTES_MAX: u64 = 1 << 30;
/// Tokens of one sentence for an encoder.
const SENTENCE_MAX: usize = 256;

/// Measure a model against its float original on a text.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  nesa model pull brown\n  nesa model eval smollm2-135m --text ~/.nesa/cache/brown/brown.txt --json"
)]
pub(crate) struct Eval {
    /// The model's name, or the start of its root
    name: String,
    /// A plain text; for encoders one sentence per line
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Tokens to predict, at most what the text has; for encoders tokens to read
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    tokens: u32,
    /// Tokens of one sequence; each starts without memory of the one before
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=8192))]
    chunk: u32,
}

/// Runs the command.
pub(crate) fn run(what: &Eval, context: &Context) -> Result<(), Failure> {
    let model = context.home.model(&what.name)?;
    let text = read_text(what)?;
    let checkpoint = model.float_checkpoint()?;
    let float = FloatModel::load(&checkpoint)?;
    let int = whole(&model)?;
    let tokenizer = model.tokenizer()?;
    let side = &model.manifest().text;
    if side.pooling == Pooling::None {
        decoder(what, context, &model, &tokenizer, &text, &float, &int)
    } else {
        encoder(what, context, &model, &tokenizer, &text, &float, &int)
    }
}

fn whole(model: &ModelDir) -> Result<Whole, Failure> {
    let vocabulary = model.open_vocabulary()?;
    let head = PackedHead::new(&vocabulary)?;
    Ok(Whole {
        shard: model.open_shard(0..model.manifest().shape.layers)?,
        vocabulary,
        head,
    })
}

/// The start of the text that the evaluation can need.
fn read_text(what: &Eval) -> Result<String, Failure> {
    let path = what.text.display();
    let refuse = |why: String| Failure::failed(format!("{path}: {why}; give a UTF-8 text file"));
    let size = std::fs::metadata(&what.text)
        .map_err(|e| refuse(e.to_string()))?
        .len();
    if size > TEXT_BYTES_MAX {
        return Err(refuse(format!("{size} bytes, at most {TEXT_BYTES_MAX}")));
    }
    let mut text = std::fs::read_to_string(&what.text).map_err(|e| refuse(e.to_string()))?;
    let mut end = text
        .len()
        .min((what.tokens as usize).saturating_mul(BYTES_PER_TOKEN));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    if text.trim().is_empty() {
        return Err(refuse("the file holds no text".into()));
    }
    Ok(text)
}

#[allow(
    clippy::too_many_arguments,
    reason = "all of them are what is compared"
)]
fn decoder(
    what: &Eval,
    context: &Context,
    model: &ModelDir,
    tokenizer: &Tokenizer,
    text: &str,
    float: &FloatModel,
    int: &Whole,
) -> Result<(), Failure> {
    let len = (what.chunk as usize)
        .min(model.manifest().shape.context)
        .max(2);
    let mut ids = Vec::new();
    // Line by line in blocks, since the tokenizer takes 16 MiB at once.
    for block in blocks(text, 1 << 20) {
        ids.extend(tokenizer.encode(block, false)?);
    }
    let wanted = (what.tokens as usize).div_ceil(len - 1);
    let chunks: Vec<Vec<u32>> = ids
        .chunks(len)
        .take(wanted)
        .filter(|c| c.len() > 1)
        .map(<[u32]>::to_vec)
        .collect();
    if chunks.is_empty() {
        return Err(Failure::failed(
            "the text has fewer than two tokens; give a longer one",
        ));
    }
    let mut read = 0;
    for chunk in &chunks {
        read += tokenizer.decode(&chunk[1..], false)?.len();
    }
    let bar = context.out.bar(chunks.len() as u64, Unit::Items);
    bar.set("evaluate sequences", 0, chunks.len() as u64);
    let a: Agreement = agreement(float, int, &chunks, &|| bar.tick())?;
    drop(bar);
    let (n, bits) = (a.tokens as f64, std::f64::consts::LN_2 * read as f64);
    let (float_bits, int_bits) = (a.float_nats / bits, a.int_nats / bits);
    let (kl, top) = (a.kl_nats / n, a.same_top as f64 / n);
    let value = json!({
        "tokens": a.tokens,
        "bits_per_byte": {"float": float_bits, "int": int_bits},
        "kl_mean": kl,
        "top1_agreement": top,
    });
    context.out.result(&value, || {
        format!(
            "{} tokens\nbits per byte   float {float_bits:.4}, integer {int_bits:.4} ({:.4} times)\n\
             mean KL         {kl:.5} nat\ntop-1 agreement {:.2} %",
            a.tokens,
            int_bits / float_bits,
            top * 100.0,
        )
    });
    Ok(())
}

#[allow(
    clippy::too_many_arguments,
    reason = "all of them are what is compared"
)]
fn encoder(
    what: &Eval,
    context: &Context,
    model: &ModelDir,
    tokenizer: &Tokenizer,
    text: &str,
    float: &FloatModel,
    int: &Whole,
) -> Result<(), Failure> {
    let len = SENTENCE_MAX.min(model.manifest().shape.context);
    let mut left = what.tokens as usize;
    let mut sentences = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let ids = tokenizer.encode_document(line, len)?;
        left = left.saturating_sub(ids.len());
        if !ids.is_empty() {
            sentences.push(ids);
        }
        if left == 0 {
            break;
        }
    }
    let bar = context.out.bar(sentences.len() as u64, Unit::Items);
    bar.set("evaluate sentences", 0, sentences.len() as u64);
    let pooling = model.manifest().text.pooling;
    let s: Similarity = similarity(float, int, pooling, &sentences, &|| bar.tick())?;
    drop(bar);
    let value = json!({
        "sentences": s.sentences,
        "cosine_min": s.cosine_min,
        "cosine_mean": s.cosine_mean(),
    });
    context.out.result(&value, || {
        format!(
            "{} sentences\ncosine to the float vector: mean {:.5}, smallest {:.5}",
            s.sentences,
            s.cosine_mean(),
            s.cosine_min,
        )
    });
    Ok(())
}

/// `text` in pieces of at most about `size` bytes that end with a line.
fn blocks(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = size.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        if end < rest.len() {
            end = rest[..end].rfind('\n').map_or(end, |i| i + 1);
        }
        let (block, after) = rest.split_at(end);
        rest = after;
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_text_and_end_with_lines() {
        let text = "one\ntwo\nthree é\nfour";
        for size in [5, 8, 100] {
            let all: Vec<&str> = blocks(text, size).collect();
            assert_eq!(all.concat(), text);
            assert!(all.iter().all(|b| b.len() <= size));
        }
        assert_eq!(blocks(text, 8).next(), Some("one\ntwo\n"));
    }
}

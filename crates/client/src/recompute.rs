//! A private answer computed again from its receipt, by whoever has the model.
//!
//! Shares stay secret, so nothing that a holder did can be looked at later; but the answer itself is
//! a function of the prompt, and equality settles it.

use nesa_codec::Digest;
use nesa_model::engine::Span;
use nesa_model::spec::spec_digest;
use nesa_model::{Engine, Sampler};
use nesa_proof::verify::Blocks;
use nesa_proof::{Bundle, Violation};

use crate::ClientError;
use crate::model::ClientModel;

/// Runs the model on prompt and answer, and compares the rows that tokens were sampled from and the
/// tokens, bit for bit. Returns whether all blocks were there to do so.
///
/// # Errors
/// [`ClientError::Violation`] where anything differs.
pub fn recompute(
    b: &Bundle,
    model: &ClientModel,
    blocks: &mut Blocks<'_>,
    engine: &mut Engine,
) -> Result<bool, ClientError> {
    let (i, shape) = (&b.inference, &model.manifest.shape);
    let ends = |what| Err(ClientError::Violation(Violation::Ends(what)));
    let root: Digest = model.manifest.root();
    if i.model != root || i.spec != spec_digest() {
        return ends("the model");
    }
    if i.answer.is_empty() || i.rows.len() != i.answer.len() {
        return ends("the number of tokens");
    }
    let mut fed = i.prompt.clone();
    fed.extend(&i.answer[..i.answer.len() - 1]);
    let mut rows = model.vocabulary.embed(shape, &fed, 0)?;
    for layer in 0..shape.layers as u32 {
        let Some(shard) = blocks(layer) else {
            return Ok(false);
        };
        let mut cache = shard.cache(fed.len());
        let span = Span {
            cache: &mut cache,
            rows: fed.len(),
        };
        engine.forward(&shard, &mut rows, &mut [span])?;
    }
    let sampled = rows.chunks_exact(shape.dim).skip(i.prompt.len() - 1);
    let mut sampler = Sampler::new(i.sampling);
    for ((row, stated), token) in sampled.zip(&i.rows).zip(&i.answer) {
        if row != stated {
            return ends("a row that a token was sampled from");
        }
        if sampler.next(&engine.logits(&model.head, row)) != *token {
            return ends("the answer");
        }
    }
    Ok(true)
}

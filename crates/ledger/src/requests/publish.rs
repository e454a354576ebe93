//! `publish` and `seal`: the file of a decision model, so that every validator holds it.

use nesa_codec::{Decode as _, Digest};
use nesa_decision::Model;

use super::abi::INesaInference::Published;
use super::evidence;
use super::types::SCORES_MAX;
use super::types::{Bytes, CHUNK_MAX, CHUNKS, CHUNKS_MAX, FILES, File, INPUT_MAX, RequestError};
use crate::models::{self, ModelError, Modes};
use crate::state::Read;
use crate::{Context, Refusal};

pub(super) fn chunk(
    ctx: &mut Context<'_>,
    root: &Digest,
    index: u32,
    bytes: &[u8],
) -> Result<(), Refusal> {
    check(ctx, root)?;
    if index >= CHUNKS_MAX || !(1..=CHUNK_MAX).contains(&bytes.len()) {
        return Err(RequestError::Chunk.into());
    }
    CHUNKS.set(ctx.state, &(*root, index), &Bytes(bytes.to_vec()));
    Ok(())
}

/// The publisher's own model, whose file is not whole yet.
fn check(ctx: &Context<'_>, root: &Digest) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let found = models::model(&*ctx.state, root)?;
    let found = found.ok_or(ModelError::Unknown)?;
    if found.publisher != ctx.caller {
        return Err(ModelError::Publisher.into());
    }
    if !found.modes.has(Modes::PROOF) {
        return Err(RequestError::Modes.into());
    }
    if FILES.has(&*ctx.state, root) {
        return Err(RequestError::Sealed.into());
    }
    Ok(())
}

pub(super) fn seal(ctx: &mut Context<'_>, root: &Digest, chunks: u32) -> Result<(), Refusal> {
    check(ctx, root)?;
    if !(1..=CHUNKS_MAX).contains(&chunks) {
        return Err(RequestError::Chunk.into());
    }
    let bytes = file(&*ctx.state, root, chunks)?;
    let model = Model::from_bytes(&bytes).ok().filter(|m| m.root() == *root);
    let model = model.ok_or(RequestError::Root)?;
    let input = evidence::input_bytes(&model);
    let input = u32::try_from(input)
        .ok()
        .filter(|n| *n as usize <= INPUT_MAX);
    if model.schema().scores() > SCORES_MAX {
        return Err(RequestError::Large.into());
    }
    let input = input.ok_or(RequestError::Large)?;
    FILES.set(ctx.state, root, &File { chunks, input });
    // What an earlier try left beyond the last chunk.
    for index in chunks..CHUNKS_MAX {
        if CHUNKS.has(&*ctx.state, &(*root, index)) {
            CHUNKS.remove(ctx.state, &(*root, index));
        }
    }
    ctx.emit(&Published {
        model: root.0.into(),
        bytes_: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
    })
}

fn file(from: &impl Read, root: &Digest, chunks: u32) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    for index in 0..chunks {
        let chunk = CHUNKS.get(from, &(*root, index))?;
        bytes.extend_from_slice(&chunk.ok_or(RequestError::Root)?.0);
    }
    Ok(bytes)
}

/// A model whose file is whole.
///
/// # Errors
/// [`RequestError::File`] where it is not.
pub fn model(from: &impl Read, root: &Digest) -> Result<Model, Refusal> {
    let whole = FILES.get(from, root)?.ok_or(RequestError::File)?;
    let bytes = file(from, root, whole.chunks)?;
    Ok(Model::from_bytes(&bytes).map_err(|_| RequestError::Root)?)
}

//! How many lies are known about one input, so that none is punished twice.
//!
//! Of `n` results for one input at least `n − 1` are lies, and two signatures do not say which. A
//! pair of statements is punished while fewer lies than that were; a lie that arithmetic shows counts
//! by itself.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_proof::contradiction::About;

use super::types::{DisputeError, LIES, RESULTS};
use crate::state::Mark;
use crate::{Context, Refusal};

/// What is known about one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lies {
    /// Different results that its signer gave.
    pub results: u32,
    /// Lies about it that were punished.
    pub punished: u32,
}

fn see(ctx: &mut Context<'_>, about: &About) -> Result<Lies, Refusal> {
    let mut lies = LIES.get(&*ctx.state, &about.subject)?.unwrap_or_default();
    if !RESULTS.has(&*ctx.state, &about.result) {
        RESULTS.set(ctx.state, &about.result, &Mark);
        lies.results = lies.results.saturating_add(1);
        LIES.set(ctx.state, &about.subject, &lies);
    }
    Ok(lies)
}

/// Counts a lie that arithmetic shows.
pub(super) fn shown(ctx: &mut Context<'_>, about: &About) -> Result<(), Refusal> {
    let mut lies = see(ctx, about)?;
    lies.punished = lies.punished.saturating_add(1);
    LIES.set(ctx.state, &about.subject, &lies);
    Ok(())
}

/// Counts a lie that two results show.
///
/// # Errors
/// [`DisputeError::Punished`] where as many were punished as these and earlier results show.
pub(super) fn paired(ctx: &mut Context<'_>, two: &[About]) -> Result<(), Refusal> {
    let mut lies = Lies::default();
    for about in two {
        lies = see(ctx, about)?;
    }
    if two.is_empty() {
        // A statement that contradicts itself.
        return Ok(());
    }
    if lies.results.saturating_sub(1) <= lies.punished {
        return Err(DisputeError::Punished.into());
    }
    two.first().map_or(Ok(()), |about| shown(ctx, about))
}

impl Encode for Lies {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.results);
        w.u32(self.punished);
    }
}

impl Decode for Lies {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            results: r.u32()?,
            punished: r.u32()?,
        })
    }
}

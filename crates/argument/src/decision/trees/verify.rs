//! The verifier. Reads the messages once, in their order; any of them end in a typed answer.

use super::system::{Coefficients, degree};
use super::{Size, Statement, TreesProof};
use crate::decision::{Refusal, Rejection};
use crate::field::E;
use crate::transcript::Transcript;
use crate::{pcs, security};

/// Bits that every proof keeps; 100 are claimed.
const BITS: u32 = 101;

/// Accepts exactly if the trees give the statement's rows their scores, but for an error of at most
/// `2^-100` (`SOUNDNESS.md`).
///
/// # Errors
/// [`Rejection`].
pub fn verify(s: &Statement<'_>, proof: &TreesProof) -> Result<(), Rejection> {
    let n = s.decisions().map_err(Rejection::Statement)?;
    let size = s.size(n)?;
    if bits(s, size) < BITS {
        return Err(Refusal::Size("number of leaves and decisions").into());
    }
    let num_vars = size.num_vars();
    let mut t = s.transcript();
    pcs::observe(&proof.commitment, num_vars, &mut t)?;
    let c = Coefficients::draw(s, size, &mut t);
    let (point, last) = inner_product(c.claim(s), num_vars, proof, &mut t)?;
    if c.evaluate(s, size, &point) * proof.value != last {
        return Err(Rejection::Relations);
    }
    t.absorb_ext(&[proof.value]);
    let (commitment, opening) = (&proof.commitment, &proof.opening);
    pcs::verify(commitment, num_vars, &point, proof.value, opening, &mut t)?;
    Ok(())
}

/// Bits that the proof of a statement keeps.
pub(super) fn bits(s: &Statement<'_>, size: Size) -> u32 {
    let shape = security::Shape {
        num_vars: size.num_vars(),
        lookups: 0,
        table_entries: 0,
        lookup_grind: 0,
        sumcheck_degrees: 2 * size.num_vars() as u64,
        batching_degrees: u64::from(degree(s, size)),
    };
    security::bits(&shape).total
}

/// Replays the rounds of `Σ f·w = claim`; returns the point, and what `f·w` must be there.
pub(super) fn inner_product(
    mut claim: E,
    rounds: usize,
    proof: &TreesProof,
    t: &mut Transcript,
) -> Result<(Vec<E>, E), Rejection> {
    if proof.inner.len() != rounds {
        return Err(Rejection::Relations);
    }
    let mut point = Vec::with_capacity(rounds);
    for m in &proof.inner {
        t.absorb_ext(m);
        let r = t.challenge();
        let [zero, lead] = *m;
        let slope = claim - zero - zero - lead;
        claim = zero + r * (slope + r * lead);
        point.push(r);
    }
    Ok((point, claim))
}

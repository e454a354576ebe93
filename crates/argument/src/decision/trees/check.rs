//! The door for tests that forge committed values: an honest witness, and the prover on any witness.

use p3_field::Field;

use super::system::Coefficients;
use super::weights::expand;
use super::{Size, Statement, TreesProof, prove, verify};
use crate::decision::{Refusal, Rejection};
use crate::field::{E, F};
use crate::pcs;
use crate::transcript::Transcript;

/// The sizes of a statement.
///
/// # Errors
/// [`Refusal::Size`].
pub fn size(s: &Statement<'_>) -> Result<Size, Refusal> {
    s.size(s.decisions().map_err(Refusal::Size)?)
}

/// Ones where a leaf is reached: the committed values of an honest prover.
///
/// # Errors
/// [`Refusal`].
pub fn witness(s: &Statement<'_>) -> Result<Vec<F>, Refusal> {
    prove::reached(s, size(s)?)
}

/// Runs the prover on any values.
///
/// # Errors
/// [`Refusal`].
pub fn forge(s: &Statement<'_>, cells: Vec<F>) -> Result<TreesProof, Refusal> {
    prove::prove_cells(s, size(s)?, cells)
}

/// By how much `cells` miss the statement's equations at fixed random coefficients; zero where all hold.
///
/// # Errors
/// [`Refusal::Size`].
pub fn broken(s: &Statement<'_>, cells: &[F]) -> Result<E, Refusal> {
    let size = size(s)?;
    let c = Coefficients::draw(s, size, &mut Transcript::new("nesa.check.v1"));
    let weights = expand(s, size, &c);
    let sum: E = weights.iter().zip(cells).map(|(&w, &x)| w * x).sum();
    Ok(sum - c.claim(s))
}

/// The weights at a point, by the verifier's way and by the prover's.
///
/// # Errors
/// [`Refusal::Size`].
pub fn both_weights(s: &Statement<'_>) -> Result<[E; 2], Refusal> {
    let size = size(s)?;
    let mut t = Transcript::new("nesa.check.v1");
    let c = Coefficients::draw(s, size, &mut t);
    let point = t.challenges(size.num_vars());
    let eq = crate::layout::eq_table(&point);
    let all = expand(s, size, &c);
    let slow = all.iter().zip(eq).map(|(&w, q)| w * q).sum();
    Ok([c.evaluate(s, size, &point), slow])
}

/// Gives a proof the last value with which all rounds add up, whatever was committed.
///
/// # Errors
/// [`Rejection`] where there is none.
pub fn adapt(s: &Statement<'_>, proof: &mut TreesProof) -> Result<(), Rejection> {
    let size = size(s)?;
    let mut t = s.transcript();
    pcs::observe(&proof.commitment, size.num_vars(), &mut t)?;
    let c = Coefficients::draw(s, size, &mut t);
    let (point, last) = verify::inner_product(c.claim(s), size.num_vars(), proof, &mut t)?;
    let weight = c.evaluate(s, size, &point);
    proof.value = last * weight.try_inverse().ok_or(Rejection::Relations)?;
    Ok(())
}

/// Bits that the proof of a statement keeps.
///
/// # Errors
/// [`Refusal::Size`].
pub fn bits(s: &Statement<'_>) -> Result<u32, Refusal> {
    Ok(verify::bits(s, size(s)?))
}

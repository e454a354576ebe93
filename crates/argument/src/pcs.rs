//! Commit to one multilinear polynomial, open it at one prescribed point.
//!
//! WHIR over the base field with Blake3 trees. The proximity regime is unique decoding: the bound
//! is a theorem, and every commitment pins one polynomial. No other regime can be named here.

mod code;
mod params;

use std::panic::{AssertUnwindSafe, catch_unwind};

use p3_commit::MultilinearPcs;
use p3_matrix::dense::RowMajorMatrix;
use p3_multilinear_util::point::Point;
use p3_sumcheck::layout::{Layout as _, Table, observe_commitment};
use p3_sumcheck::{OpeningBatch, OpeningProtocol, PrescribedPointPcs, TableShape, TableSpec};
use p3_symmetric::MerkleCap;
use p3_whir::{PcsProof, WhirProof};

pub use code::max_opening_bytes;
pub use params::{MAX_VARS, MIN_VARS};

use crate::field::{E, F};
use crate::transcript::{Challenger, Transcript};
use params::{Layout, Mmcs, Scheme, scheme};

/// Bytes of one encoded commitment.
pub const COMMITMENT_BYTES: usize = 32;

/// Why a polynomial was not committed or an opening not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PcsError {
    /// The number of values is not a power of two in range.
    #[error("{0} values: pad them to a power of two from 2^{MIN_VARS} to 2^{MAX_VARS}")]
    Size(usize),
    /// The number of variables is out of range.
    #[error("{0} variables: from {MIN_VARS} to {MAX_VARS} are supported")]
    Vars(usize),
    /// The point has another number of coordinates than the polynomial.
    #[error("a point of {actual} coordinates for a polynomial of {expected} variables")]
    Point {
        /// Variables of the polynomial.
        expected: usize,
        /// Coordinates of the point.
        actual: usize,
    },
    /// The parameters do not reach the stated security: a defect of this crate.
    #[error("the commitment parameters are unusable for {0} variables")]
    Parameters(usize),
    /// The opening does not prove the value: discard it.
    #[error("the opening does not prove the value: {0}")]
    Refused(String),
}

/// The root of the tree over the encoded polynomial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment(pub(crate) [u8; COMMITMENT_BYTES]);

/// What the prover keeps between commitment and opening: the values and the tree.
pub struct Committed {
    num_vars: usize,
    data: p3_whir::WhirProverData<F, E, Mmcs, Layout>,
}

/// A proof that the committed polynomial takes a value at a point.
#[derive(Clone)]
pub struct Opening {
    num_vars: usize,
    proof: WhirProof<F, E, Mmcs>,
}

impl std::fmt::Debug for Committed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committed")
            .field("num_vars", &self.num_vars)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening")
            .field("num_vars", &self.num_vars)
            .finish_non_exhaustive()
    }
}

impl Committed {
    /// The committed values, `2^num_vars` of them.
    pub fn values(&self) -> &[F] {
        self.data.table(0).iter_polys().next().unwrap_or_default()
    }

    /// Variables of the polynomial.
    #[must_use]
    pub fn num_vars(&self) -> usize {
        self.num_vars
    }
}

impl Opening {
    /// Variables of the polynomial that was opened.
    #[must_use]
    pub fn num_vars(&self) -> usize {
        self.num_vars
    }
}

fn cap(commitment: &Commitment) -> MerkleCap<F, [u8; COMMITMENT_BYTES]> {
    MerkleCap::new(vec![commitment.0])
}

/// One table of one column, opened once at a point that the caller prescribes.
fn protocol(num_vars: usize) -> OpeningProtocol {
    OpeningProtocol::new(vec![TableSpec::new(
        TableShape::new(num_vars, 1),
        vec![OpeningBatch::new(vec![0], Vec::new())],
    )])
}

fn absorb_commitment(transcript: &mut Transcript, num_vars: usize, commitment: &Commitment) {
    transcript.absorb_bytes(b"commitment");
    transcript.absorb_bytes(&[num_vars as u8]);
    observe_commitment::<F, _, _>(transcript.challenger(), cap(commitment));
}

fn absorb_point(transcript: &mut Transcript, point: &[E]) {
    transcript.absorb_bytes(b"opening");
    transcript.absorb_ext(point);
}

fn check_point(num_vars: usize, point: &[E]) -> Result<(), PcsError> {
    if point.len() == num_vars {
        Ok(())
    } else {
        Err(PcsError::Point {
            expected: num_vars,
            actual: point.len(),
        })
    }
}

/// Commits to the multilinear polynomial with the given `2^m` values on the hypercube and absorbs
/// the commitment. Bit `k` of an index, counted from the most significant, is variable `k`.
///
/// # Errors
/// [`PcsError::Size`].
pub fn commit(
    values: Vec<F>,
    transcript: &mut Transcript,
) -> Result<(Commitment, Committed), PcsError> {
    let size = values.len();
    let num_vars = size.checked_ilog2().unwrap_or(0) as usize;
    if !size.is_power_of_two() || !(MIN_VARS..=MAX_VARS).contains(&num_vars) {
        return Err(PcsError::Size(size));
    }
    let scheme = scheme(num_vars)?;
    let table = Table::new(RowMajorMatrix::new(values, size));
    let witness = Layout::new_witness(vec![table], scheme.round_folding_factor(0));
    // The scheme absorbs into a copy; the transcript then absorbs in the verifier's way.
    let mut copy = transcript.challenger().clone();
    let (root, data) = MultilinearPcs::<E, Challenger>::commit(&scheme, witness, &mut copy)
        .map_err(|_| PcsError::Parameters(num_vars))?;
    let root = root.roots().first().copied();
    let commitment = Commitment(root.ok_or(PcsError::Parameters(num_vars))?);
    absorb_commitment(transcript, num_vars, &commitment);
    Ok((commitment, Committed { num_vars, data }))
}

/// Absorbs the commitment that the prover absorbed in [`commit`].
///
/// # Errors
/// [`PcsError::Vars`].
pub fn observe(
    commitment: &Commitment,
    num_vars: usize,
    transcript: &mut Transcript,
) -> Result<(), PcsError> {
    if !(MIN_VARS..=MAX_VARS).contains(&num_vars) {
        return Err(PcsError::Vars(num_vars));
    }
    absorb_commitment(transcript, num_vars, commitment);
    Ok(())
}

/// Proves the value at `point`, whose first coordinate belongs to the most significant index bit.
/// The caller draws the point from the transcript after [`commit`].
///
/// # Errors
/// [`PcsError::Point`].
pub fn open(
    committed: Committed,
    point: &[E],
    transcript: &mut Transcript,
) -> Result<Opening, PcsError> {
    let num_vars = committed.num_vars;
    check_point(num_vars, point)?;
    let scheme = scheme(num_vars)?;
    absorb_point(transcript, point);
    let proof = PrescribedPointPcs::<E, Challenger>::open_at(
        &scheme,
        committed.data,
        &protocol(num_vars),
        &[Point::new(point.to_vec())],
        transcript.challenger(),
    )
    .map_err(|_| PcsError::Parameters(num_vars))?;
    Ok(Opening {
        num_vars,
        proof: proof.whir,
    })
}

/// Checks that the polynomial behind `commitment` takes `value` at `point`. The caller absorbed
/// the commitment with [`observe`] where the prover called [`commit`].
///
/// Never panics: the shapes are fixed by decoding, and a panic inside the scheme is caught and
/// reported as a refusal.
///
/// # Errors
/// [`PcsError::Vars`], [`PcsError::Point`], [`PcsError::Refused`].
pub fn verify(
    commitment: &Commitment,
    num_vars: usize,
    point: &[E],
    value: E,
    opening: &Opening,
    transcript: &mut Transcript,
) -> Result<(), PcsError> {
    let scheme = scheme(num_vars)?;
    check_point(num_vars, point)?;
    if opening.num_vars != num_vars {
        return Err(PcsError::Refused("made for another size".into()));
    }
    absorb_point(transcript, point);
    let proof = PcsProof {
        whir: opening.proof.clone(),
        evals: vec![OpeningBatch::new(vec![value], Vec::new())],
    };
    let run = || replay(&scheme, commitment, &proof, point, transcript.challenger());
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(PcsError::Refused("malformed".into())))
}

fn replay(
    scheme: &Scheme,
    commitment: &Commitment,
    proof: &PcsProof<F, E, Mmcs>,
    point: &[E],
    challenger: &mut Challenger,
) -> Result<(), PcsError> {
    PrescribedPointPcs::<E, Challenger>::verify_at(
        scheme,
        &cap(commitment),
        proof,
        &protocol(point.len()),
        &[Point::new(point.to_vec())],
        challenger,
    )
    .map(|_| ())
    .map_err(|e| PcsError::Refused(e.to_string()))
}

/// Whether the union of all error terms of an opening stays below `2^-bits`.
#[cfg(test)]
pub(crate) fn opening_keeps(num_vars: usize, bits: u32) -> bool {
    let Ok(scheme) = scheme(num_vars) else {
        return false;
    };
    let protocol = protocol(num_vars);
    PrescribedPointPcs::<E, Challenger>::prescribed_security(&scheme, &protocol)
        .filter(|s| s.log2_max_candidates == 0.0)
        .is_some_and(|s| s.error().bits() >= bits.into())
}

#[cfg(test)]
mod tests;

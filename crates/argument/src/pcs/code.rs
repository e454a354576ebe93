//! Canonical bytes of commitments and openings.
//!
//! The schedule of the scheme fixes every count but one: how many digests a tree opening holds.
//! So an opening is its elements in order, and each tree opening carries one bounded length.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use p3_merkle_tree::PrunedMerklePaths;
use p3_multilinear_util::poly::Poly;
use p3_sumcheck::SumcheckData;
use p3_symmetric::MerkleCap;
use p3_whir::{QueryOpenings, RoundConfig, SharedProofOpening, WhirProof, WhirRoundProof};

use super::params::{Config, MAX_VARS, Mmcs, config};
use super::{COMMITMENT_BYTES, Commitment, Opening};
use crate::field::{E, E_BYTES, F, F_BYTES, decode_e, decode_f, encode_e, encode_f};

type Paths = PrunedMerklePaths<u8, 32>;
type Queries = QueryOpenings<F, E, Paths>;

impl Encode for Commitment {
    fn encode(&self, w: &mut Writer) {
        w.digest(&Digest(self.0));
    }
}

impl Decode for Commitment {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.digest().map(|d| Self(d.0))
    }
}

/// The longest encoding of an opening of `num_vars` variables in bytes; 0 where there is none.
#[must_use]
pub fn max_opening_bytes(num_vars: usize) -> usize {
    config(num_vars).map_or(0, |c| opening_bytes(&c))
}

fn opening_bytes(c: &Config) -> usize {
    let mut bytes = 1 + c.commitment_ood_samples() * E_BYTES;
    bytes += fold_bytes(c.round_folding_factor(0), c.starting_folding_pow_bits());
    for (i, round) in c.round_parameters().iter().enumerate() {
        bytes += COMMITMENT_BYTES + round.ood_samples * E_BYTES + F_BYTES;
        bytes += query_bytes(round, i == 0);
        bytes += fold_bytes(c.round_folding_factor(i + 1), round.folding_pow_bits);
    }
    let last = c.final_round_config();
    bytes += (E_BYTES << c.final_sumcheck_rounds()) + F_BYTES;
    bytes += query_bytes(&last, c.round_parameters().is_empty());
    bytes + fold_bytes(c.final_sumcheck_rounds(), c.final_folding_pow_bits())
}

fn fold_bytes(rounds: usize, pow_bits: usize) -> usize {
    rounds * (2 * E_BYTES + if pow_bits > 0 { F_BYTES } else { 0 })
}

fn query_bytes(round: &RoundConfig, base: bool) -> usize {
    let element = if base { F_BYTES } else { E_BYTES };
    rows(round) * (element << round.folding_factor) + 4 + max_digests(round) * 32
}

/// Opened rows: one a query, and each row once where there are more queries than rows.
fn rows(round: &RoundConfig) -> usize {
    round.num_queries.min(1 << round.log_folded_domain_size)
}

/// No opening needs more digests than one full path per query.
fn max_digests(round: &RoundConfig) -> usize {
    rows(round) * round.log_folded_domain_size
}

impl Encode for Opening {
    fn encode(&self, w: &mut Writer) {
        let proof = &self.proof;
        w.u8(self.num_vars as u8);
        elements(&proof.initial_ood_answers, w);
        encode_fold(&proof.initial_sumcheck, w);
        for round in &proof.rounds {
            for root in round.commitment.iter().flat_map(MerkleCap::roots) {
                w.digest(&Digest(*root));
            }
            elements(&round.ood_answers, w);
            encode_f(round.pow_witness, w);
            encode_queries(&round.openings, w);
            encode_fold(&round.sumcheck, w);
        }
        if let Some(poly) = &proof.final_poly {
            elements(poly.as_slice(), w);
        }
        encode_f(proof.final_pow_witness, w);
        encode_queries(&proof.final_openings, w);
        if let Some(fold) = &proof.final_sumcheck {
            encode_fold(fold, w);
        }
    }
}

fn elements(values: &[E], w: &mut Writer) {
    for v in values {
        encode_e(v, w);
    }
}

fn encode_fold(fold: &SumcheckData<F, E>, w: &mut Writer) {
    elements(fold.polynomial_evaluations.as_flattened(), w);
    for &v in &fold.pow_witnesses {
        encode_f(v, w);
    }
}

fn encode_queries(queries: &Queries, w: &mut Writer) {
    let paths = match queries {
        QueryOpenings::Base(q) => {
            for &v in q.rows.iter().flatten() {
                encode_f(v, w);
            }
            &q.proof
        }
        QueryOpenings::Extension(q) => {
            q.rows.iter().for_each(|row| elements(row, w));
            &q.proof
        }
    };
    w.u32(paths.sibling_hashes.len() as u32);
    for d in &paths.sibling_hashes {
        w.digest(&Digest(*d));
    }
}

impl Decode for Opening {
    /// Reads an opening; memory stays within a small factor of the bytes read.
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let num_vars = usize::from(r.u8()?).min(MAX_VARS + 1);
        let c =
            config(num_vars).map_err(|_| DecodeError::Invalid("an opening of unsupported size"))?;
        let initial_ood_answers = read_e(r, c.commitment_ood_samples())?;
        let initial_sumcheck =
            decode_fold(r, c.round_folding_factor(0), c.starting_folding_pow_bits())?;
        let mut rounds = Vec::with_capacity(c.n_rounds());
        for (i, round) in c.round_parameters().iter().enumerate() {
            rounds.push(WhirRoundProof {
                commitment: Some(MerkleCap::new(vec![r.digest()?.0])),
                ood_answers: read_e(r, round.ood_samples)?,
                pow_witness: decode_f(r)?,
                openings: decode_queries(r, round, i == 0)?,
                sumcheck: decode_fold(r, c.round_folding_factor(i + 1), round.folding_pow_bits)?,
            });
        }
        let last = c.final_round_config();
        let folds = c.final_sumcheck_rounds();
        let proof = WhirProof::<F, E, Mmcs> {
            initial_ood_answers,
            initial_sumcheck,
            rounds,
            final_poly: Some(Poly::new(read_e(r, 1 << folds)?)),
            final_pow_witness: decode_f(r)?,
            final_openings: decode_queries(r, &last, c.round_parameters().is_empty())?,
            final_sumcheck: (folds > 0)
                .then(|| decode_fold(r, folds, c.final_folding_pow_bits()))
                .transpose()?,
        };
        Ok(Self { num_vars, proof })
    }
}

/// Refuses before anything is allocated when fewer than `bytes` are left.
fn need(r: &Reader<'_>, bytes: usize) -> Result<(), DecodeError> {
    let left = r.remaining();
    if left < bytes {
        return Err(DecodeError::Short {
            needed: bytes,
            left,
        });
    }
    Ok(())
}

fn read_e(r: &mut Reader<'_>, n: usize) -> Result<Vec<E>, DecodeError> {
    need(r, n * E_BYTES)?;
    (0..n).map(|_| decode_e(r)).collect()
}

fn read_f(r: &mut Reader<'_>, n: usize) -> Result<Vec<F>, DecodeError> {
    need(r, n * F_BYTES)?;
    (0..n).map(|_| decode_f(r)).collect()
}

fn decode_fold(
    r: &mut Reader<'_>,
    rounds: usize,
    pow_bits: usize,
) -> Result<SumcheckData<F, E>, DecodeError> {
    let evaluations = read_e(r, 2 * rounds)?;
    Ok(SumcheckData {
        polynomial_evaluations: evaluations.as_chunks::<2>().0.to_vec(),
        pow_witnesses: read_f(r, if pow_bits > 0 { rounds } else { 0 })?,
    })
}

fn decode_queries(
    r: &mut Reader<'_>,
    round: &RoundConfig,
    base: bool,
) -> Result<Queries, DecodeError> {
    let (count, width) = (rows(round), 1 << round.folding_factor);
    if base {
        need(r, count * width * F_BYTES)?;
        let rows = (0..count)
            .map(|_| read_f(r, width))
            .collect::<Result<_, _>>()?;
        let proof = decode_paths(r, max_digests(round))?;
        return Ok(QueryOpenings::Base(SharedProofOpening { rows, proof }));
    }
    need(r, count * width * E_BYTES)?;
    let rows = (0..count)
        .map(|_| read_e(r, width))
        .collect::<Result<_, _>>()?;
    let proof = decode_paths(r, max_digests(round))?;
    Ok(QueryOpenings::Extension(SharedProofOpening { rows, proof }))
}

fn decode_paths(r: &mut Reader<'_>, max: usize) -> Result<Paths, DecodeError> {
    let n = r.len(max)?;
    need(r, n * 32)?;
    let sibling_hashes = (0..n)
        .map(|_| r.digest().map(|d| d.0))
        .collect::<Result<_, _>>()?;
    Ok(Paths { sibling_hashes })
}

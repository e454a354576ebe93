//! The parameters of the commitment: fixed here, never taken from a proof.

use p3_blake3::Blake3;
use p3_dft::Radix2DFTSmallBatch;
use p3_merkle_tree::MerkleTreeMmcs;
use p3_sumcheck::layout::PrefixProver;
use p3_symmetric::{CompressionFunctionFromHasher, SerializingHasher};
use p3_whir::{FoldingFactor, ProtocolParameters, SecurityAssumption, WhirConfig, WhirProver};

use super::PcsError;
use crate::field::{E, F};
use crate::transcript::Challenger;

/// Fewest variables of a committed polynomial.
pub const MIN_VARS: usize = 10;
/// Most variables of a committed polynomial.
pub const MAX_VARS: usize = 27;

/// Bits that every single error term reaches; their sum stays above 100 up to [`MAX_VARS`].
pub(super) const TERM_BITS: usize = 107;
/// The largest proof of work before any challenge, in bits.
pub(super) const GRIND_BITS: usize = 18;
/// `log2` of the blow-up of the committed codeword.
pub(super) const LOG_BLOWUP: usize = 1;
/// `log2` of the blow-up of the folded codewords: more saves queries, less saves time.
pub(super) const LOG_BLOWUP_LATER: usize = 3;
/// Variables folded at once, first in base field arithmetic.
pub(super) const FIRST_FOLD: usize = 6;
/// Variables folded at once later.
pub(super) const LATER_FOLD: usize = 4;

pub(super) type Hasher = SerializingHasher<Blake3>;
pub(super) type Compression = CompressionFunctionFromHasher<Blake3, 2, 32>;
pub(super) type Mmcs = MerkleTreeMmcs<F, u8, Hasher, Compression, 2, 32>;
pub(super) type Layout = PrefixProver<F, E>;
pub(super) type Dft = Radix2DFTSmallBatch<F>;
pub(super) type Scheme = WhirProver<E, F, Dft, Mmcs, Challenger, Layout>;
pub(super) type Config = WhirConfig<E, F, Challenger>;

fn parameters(num_vars: usize) -> ProtocolParameters {
    let folding_factor = FoldingFactor::ConstantFromSecondRound(FIRST_FOLD, LATER_FOLD);
    let rounds = folding_factor
        .compute_number_of_rounds(num_vars)
        .map_or(0, |r| r.0);
    ProtocolParameters {
        starting_log_inv_rate: LOG_BLOWUP,
        round_log_inv_rates: vec![LOG_BLOWUP_LATER; rounds],
        folding_factor,
        soundness_type: SecurityAssumption::UniqueDecoding,
        security_level: TERM_BITS,
        pow_bits: GRIND_BITS,
    }
}

/// The schedule for a number of variables.
pub(super) fn config(num_vars: usize) -> Result<Config, PcsError> {
    if !(MIN_VARS..=MAX_VARS).contains(&num_vars) {
        return Err(PcsError::Vars(num_vars));
    }
    WhirConfig::new(num_vars, parameters(num_vars)).map_err(|_| PcsError::Parameters(num_vars))
}

/// The commitment scheme for a number of variables.
pub(super) fn scheme(num_vars: usize) -> Result<Scheme, PcsError> {
    let mmcs = Mmcs::new(Hasher::new(Blake3), Compression::new(Blake3), 0);
    Ok(Scheme::new(config(num_vars)?, Dft::default(), mmcs))
}

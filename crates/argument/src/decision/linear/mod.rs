//! The argument for statements that come down to lookups and linear relations over committed integers.
//!
//! ```text
//! witness ─► one committed polynomial ─► lookups: trees of fractions ─► claims ─┐
//!                        linear relations at random coefficients ───────────────┴─► one inner product ─► one opening
//! ```
//!
//! It is the transformer's argument without its sumcheck over products: a [`Circuit`] says what is looked up and
//! what must be zero, [`prove`] and [`verify`] do the rest.

mod count;
pub(crate) mod prove;
pub(crate) mod verify;

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use p3_field::PrimeCharacteristicRing;

use super::Refusal;
use crate::field::{E, decode_e, encode_e};
use crate::form::Form;
use crate::layout::{Layout, TensorId};
use crate::lookup::Tree;
use crate::pcs::{Commitment, Opening};
use crate::security;
use crate::tables::Lookup;
use crate::transcript::{MAX_GRIND_BITS, Transcript};
use crate::transformer::families::{Alpha, Family};

/// Most trees.
const TREES_MAX: usize = 4;
/// Most rounds of a sumcheck.
const ROUNDS_MAX: usize = 32;
/// Bits that every proof keeps; 100 are claimed.
const BITS: u32 = 101;
/// More than the degrees of all sumchecks' rounds, and of all polynomials in merging challenges.
const DEGREES: u64 = 1 << 16;

/// What a statement comes down to.
pub(crate) trait Circuit {
    /// Where committed values stand.
    fn layout(&self) -> &Layout;
    /// The tables, with the tensors of their multiplicities.
    fn tables(&self) -> Vec<(TensorId, Lookup<'_>)>;
    /// What is looked up.
    fn families(&self, a: Alpha) -> Vec<Family>;
    /// What must be zero, at coefficients from `t`.
    fn forms(&self, t: &mut Transcript) -> Vec<Form>;
}

/// What the prover sends, in order.
#[derive(Debug, Clone)]
pub struct Messages {
    /// Of all committed values.
    pub commitment: Commitment,
    /// Work before the lookups, where their number asks for some.
    pub nonce: u64,
    /// The lookups.
    pub trees: Vec<Tree>,
    /// The inner product's sumcheck: at 0, and the leading coefficient.
    pub inner: Vec<[E; 2]>,
    /// The committed polynomial at the last point.
    pub value: E,
    /// That it is.
    pub opening: Opening,
}

/// Bits of work before the lookups' challenges: the fewest that keep [`BITS`].
///
/// # Errors
/// [`Refusal::Size`] where no work suffices.
pub(crate) fn work(c: &impl Circuit) -> Result<u32, Refusal> {
    let a = Alpha {
        alpha: E::ZERO,
        compress: crate::tables::Compress::new(E::ZERO),
    };
    let cells = |f: &Family| (f.outer as u64) << f.log_inner;
    let entries = |(_, t): &(TensorId, Lookup<'_>)| 1 << t.log_len();
    let mut shape = security::Shape {
        num_vars: c.layout().num_vars() as usize,
        lookups: c.families(a).iter().map(cells).sum(),
        table_entries: c.tables().iter().map(entries).sum(),
        lookup_grind: 0,
        sumcheck_degrees: DEGREES,
        batching_degrees: DEGREES,
    };
    while security::bits(&shape).total < BITS {
        shape.lookup_grind += 1;
        if shape.lookup_grind > MAX_GRIND_BITS {
            return Err(Refusal::Size("number of decisions"));
        }
    }
    Ok(shape.lookup_grind)
}

impl Encode for Messages {
    fn encode(&self, w: &mut Writer) {
        self.commitment.encode(w);
        w.u64(self.nonce);
        w.seq(&self.trees);
        w.len(self.inner.len());
        for v in self.inner.as_flattened() {
            encode_e(v, w);
        }
        encode_e(&self.value, w);
        self.opening.encode(w);
    }
}

impl Decode for Messages {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (commitment, nonce) = (Commitment::decode(r)?, r.u64()?);
        let trees = r.seq(TREES_MAX)?;
        let mut inner = Vec::new();
        for _ in 0..r.len(ROUNDS_MAX)? {
            inner.push([decode_e(r)?, decode_e(r)?]);
        }
        Ok(Self {
            commitment,
            nonce,
            trees,
            inner,
            value: decode_e(r)?,
            opening: Opening::decode(r)?,
        })
    }
}

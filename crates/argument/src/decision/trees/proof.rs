//! The messages of a proof and their canonical bytes.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use crate::decision::CELLS_LOG_MAX;
use crate::field::{E, decode_e, encode_e};
use crate::pcs::{Commitment, Opening};

/// That some trees gave some rows their scores.
#[derive(Debug, Clone)]
pub struct TreesProof {
    /// Of one value per leaf and decision.
    pub commitment: Commitment,
    /// The inner product's sumcheck: at 0, and the leading coefficient.
    pub inner: Vec<[E; 2]>,
    /// The committed polynomial at the last point.
    pub value: E,
    /// That it is.
    pub opening: Opening,
}

impl Encode for TreesProof {
    fn encode(&self, w: &mut Writer) {
        self.commitment.encode(w);
        w.len(self.inner.len());
        for v in self.inner.as_flattened() {
            encode_e(v, w);
        }
        encode_e(&self.value, w);
        self.opening.encode(w);
    }
}

impl Decode for TreesProof {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let commitment = Commitment::decode(r)?;
        let mut inner = Vec::new();
        for _ in 0..r.len(CELLS_LOG_MAX as usize)? {
            inner.push([decode_e(r)?, decode_e(r)?]);
        }
        Ok(Self {
            commitment,
            inner,
            value: decode_e(r)?,
            opening: Opening::decode(r)?,
        })
    }
}

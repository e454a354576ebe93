//! Who votes.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

/// The largest set.
pub const VALIDATORS_MAX: usize = 128;

/// The validators of one epoch: distinct ed25519 keys in ascending order, one vote each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorSet(Vec<[u8; 32]>);

/// Why keys are not a validator set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// No keys, or too many.
    #[error("a validator set has 1 to {VALIDATORS_MAX} keys, not {0}; correct the genesis")]
    Size(usize),
    /// A key appears twice.
    #[error("validator {0} is listed twice; list every validator once")]
    Twice(usize),
}

impl ValidatorSet {
    /// Sorts the keys.
    ///
    /// # Errors
    /// [`ValidatorSetError`] on a bad count or a repeated key.
    pub fn new(mut keys: Vec<[u8; 32]>) -> Result<Self, ValidatorSetError> {
        if keys.is_empty() || keys.len() > VALIDATORS_MAX {
            return Err(ValidatorSetError::Size(keys.len()));
        }
        keys.sort_unstable();
        match keys.windows(2).position(|w| w[0] == w[1]) {
            Some(i) => Err(ValidatorSetError::Twice(i)),
            None => Ok(Self(keys)),
        }
    }

    /// The keys in ascending order; a position here is the index that certificates use.
    #[must_use]
    pub fn keys(&self) -> &[[u8; 32]] {
        &self.0
    }

    /// The votes that make a certificate: all but `floor((n - 1) / 3)`.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.0.len() - (self.0.len() - 1) / 3
    }

    /// What a light client pins.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let mut h = Hasher::new("nesa.chain.validators.v1").u64(self.0.len() as u64);
        for key in &self.0 {
            h = h.bytes(key);
        }
        h.finish()
    }
}

impl Encode for ValidatorSet {
    fn encode(&self, w: &mut Writer) {
        w.len(self.0.len());
        for key in &self.0 {
            w.raw(key);
        }
    }
}

impl Decode for ValidatorSet {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let n = r.len(VALIDATORS_MAX)?;
        let mut keys = Vec::new();
        for _ in 0..n {
            keys.push(r.digest()?.0);
        }
        let sorted = keys.windows(2).all(|w| w[0] < w[1]);
        if keys.is_empty() || !sorted {
            return Err(DecodeError::Invalid("validators are not in order"));
        }
        Ok(Self(keys))
    }
}

//! The public coin: every message of the prover goes in, every challenge comes out.
//!
//! A hash chain over Blake3. Each absorption starts with one element that names its kind and its
//! length, so two different sequences of absorptions never feed the chain the same bytes.

use p3_blake3::Blake3;
use p3_challenger::{
    CanObserve, FieldChallenger, GrindingChallenger, HashChallenger, SerializingChallenger64,
};
use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_symmetric::Hash;

use crate::field::{E, F, coordinates};

/// The challenger under the transcript.
pub(crate) type Challenger = SerializingChallenger64<F, HashChallenger<u8, Blake3, 32>>;

/// The largest proof of work, in bits, that this crate asks for or accepts.
pub const MAX_GRIND_BITS: u32 = 24;

/// What an absorption holds; the discriminant is part of the hashed bytes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bytes = 1,
    Base = 2,
    Extension = 3,
    Challenge = 4,
    Grind = 5,
}

/// The state of the public coin.
#[derive(Debug, Clone)]
pub struct Transcript {
    inner: Challenger,
}

impl Transcript {
    /// Starts a transcript whose challenges depend on `domain`.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let mut transcript = Self {
            inner: Challenger::from_hasher(b"nesa-argument-v1".to_vec(), Blake3),
        };
        transcript.absorb_bytes(domain.as_bytes());
        transcript
    }

    fn header(&mut self, kind: Kind, len: usize) {
        let tag = ((kind as u64) << 56) | (len as u64 & ((1 << 56) - 1));
        self.inner.observe(F::from_u64(tag));
    }

    /// Absorbs bytes.
    pub fn absorb_bytes(&mut self, bytes: &[u8]) {
        self.header(Kind::Bytes, bytes.len());
        for part in bytes.chunks(32) {
            let mut block = [0; 32];
            block[..part.len()].copy_from_slice(part);
            self.inner.observe(Hash::<F, u8, 32>::from(block));
        }
    }

    /// Absorbs base field elements.
    pub fn absorb(&mut self, values: &[F]) {
        self.header(Kind::Base, values.len());
        self.inner.observe_slice(values);
    }

    /// Absorbs extension field elements.
    pub fn absorb_ext(&mut self, values: &[E]) {
        self.header(Kind::Extension, values.len());
        for v in values {
            self.inner.observe_slice(coordinates(v));
        }
    }

    /// Draws one challenge, uniform in the extension field.
    pub fn challenge(&mut self) -> E {
        self.header(Kind::Challenge, 1);
        self.inner.sample_algebra_element()
    }

    /// Draws `n` challenges.
    pub fn challenges(&mut self, n: usize) -> Vec<E> {
        self.header(Kind::Challenge, n);
        (0..n)
            .map(|_| self.inner.sample_algebra_element())
            .collect()
    }

    /// Searches a nonce whose absorption yields `bits` zero bits and absorbs it; about `2^bits`
    /// hashes. More than [`MAX_GRIND_BITS`] bits are treated as that many.
    pub fn grind(&mut self, bits: u32) -> u64 {
        let bits = bits.min(MAX_GRIND_BITS);
        self.header(Kind::Grind, bits as usize);
        self.inner.grind(bits as usize).as_canonical_u64()
    }

    /// Absorbs the nonce of [`Transcript::grind`] and says whether it did the work.
    #[must_use]
    pub fn check_grind(&mut self, bits: u32, nonce: u64) -> bool {
        let bits = bits.min(MAX_GRIND_BITS);
        self.header(Kind::Grind, bits as usize);
        let reduced = nonce < F::ORDER_U64 && (bits > 0 || nonce == 0);
        reduced && self.inner.check_witness(bits as usize, F::from_u64(nonce))
    }

    /// The challenger that the polynomial commitment continues with.
    pub(crate) fn challenger(&mut self) -> &mut Challenger {
        &mut self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::from_i64;

    fn after(run: impl FnOnce(&mut Transcript)) -> E {
        let mut t = Transcript::new("test");
        run(&mut t);
        t.challenge()
    }

    #[test]
    fn every_absorption_changes_the_next_challenge() {
        let one = from_i64(1);
        let all = [
            after(|_| ()),
            after(|t| t.absorb_bytes(&[])),
            after(|t| t.absorb_bytes(&[0])),
            after(|t| t.absorb_bytes(&[0, 0])),
            after(|t| t.absorb_bytes(&[1])),
            after(|t| t.absorb(&[])),
            after(|t| t.absorb(&[one])),
            after(|t| t.absorb(&[one, F::ZERO])),
            after(|t| t.absorb_ext(&[E::from(one)])),
            after(|t| t.absorb_ext(&[])),
            after(|t| {
                t.absorb(&[one]);
                t.absorb(&[F::ZERO]);
            }),
            Transcript::new("tesu").challenge(),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                assert_ne!(a, b, "absorption {i} collides");
            }
        }
    }

    #[test]
    fn both_sides_draw_the_same_challenges() {
        let run = || {
            let mut t = Transcript::new("both");
            t.absorb_bytes(b"statement");
            (t.challenges(3), t.challenge())
        };
        assert_eq!(run(), run());
        assert_ne!(run().0[0], run().0[1]);
    }

    #[test]
    fn a_nonce_counts_only_at_its_place() {
        let mut prover = Transcript::new("work");
        let nonce = prover.grind(10);
        let mut verifier = Transcript::new("work");
        assert!(verifier.check_grind(10, nonce));
        assert_eq!(prover.challenge(), verifier.challenge());

        let refused = (0..64).filter(|&n| !Transcript::new("work").check_grind(10, n));
        assert!(refused.count() > 48);
        assert!(!Transcript::new("work").check_grind(10, F::ORDER_U64 + nonce));
        assert!(!Transcript::new("work").check_grind(0, 1));
        assert!(Transcript::new("work").check_grind(0, 0));
    }
}

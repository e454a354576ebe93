//! Secrets and what is derived from them.
//!
//! ```text
//! DeploymentKey --base model's root--> ModelKey --(purpose, layer)--> ChaCha20 stream --> maps
//!        `--> id(): the public name
//! ```
//! Every arrow is BLAKE3's key derivation under a context string of its own, so that no map says
//! anything about another, about another model's, or about the key.

use std::fmt;

use nesa_codec::Digest;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The secret of a user or an organisation under which models are sealed.
///
/// Whoever holds it can undo the hiding. It never goes to a compute node.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DeploymentKey([u8; 32]);

/// What a [`DeploymentKey`] gives for one model: the source of all its maps.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ModelKey([u8; 32]);

/// What a derived stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The residual stream; the same at every layer boundary.
    Rows,
    /// Feed-forward channels of one layer.
    FeedForward,
    /// Query and key channels of one layer.
    QueryKey,
    /// Value channels of one layer.
    Value,
    /// Key-value heads of one layer.
    KvHeads,
    /// Query heads within their groups, of one layer.
    QueryHeads,
}

/// A deterministic source of uniform choices.
pub(crate) struct Stream(ChaCha20Rng);

/// 32 bytes that say nothing about `secret` or what other contexts and `rest` give.
pub(crate) fn derive(context: &str, secret: &[u8; 32], rest: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(secret).update(rest);
    let mut out = Zeroizing::new([0; 32]);
    let mut reader = hasher.finalize_xof();
    reader.fill(&mut out[..]);
    reader.zeroize();
    hasher.zeroize();
    out
}

impl DeploymentKey {
    /// A new key from 32 bytes of the system's randomness.
    #[must_use]
    pub fn generate(entropy: [u8; 32]) -> Self {
        let entropy = Zeroizing::new(entropy);
        Self(*derive("nesa.privacy.generate.v1", &entropy, &[]))
    }

    /// The key whose stored bytes are `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(*bytes)
    }

    /// The secret bytes, for storing the key with owner-only permissions and for nothing else.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public name. It says which models share a key and nothing about the key.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest(*derive("nesa.privacy.key_id.v1", &self.0, &[]))
    }

    /// The key of the model whose manifest has `base_root`.
    #[must_use]
    pub fn for_model(&self, base_root: &Digest) -> ModelKey {
        ModelKey(*derive("nesa.privacy.model.v1", &self.0, &base_root.0))
    }

    /// The key holder's word on the two roots of a link.
    pub(crate) fn word(&self, base_root: &Digest, sealed_root: &Digest) -> Digest {
        let both = [base_root.0, sealed_root.0].concat();
        Digest(*derive("nesa.privacy.link.v1", &self.0, &both))
    }
}

impl ModelKey {
    /// A name for the sealed model that says nothing about the base model.
    pub(crate) fn public_name(&self) -> Digest {
        Digest(*derive("nesa.privacy.model_name.v1", &self.0, &[]))
    }

    /// Proof to the key holder that part `part` with root `base` was sealed to root `sealed`.
    pub(crate) fn mark(&self, part: u32, base: &Digest, sealed: &Digest) -> Digest {
        let mut rest = part.to_le_bytes().to_vec();
        rest.extend([base.0, sealed.0].concat());
        Digest(*derive("nesa.privacy.mark.v1", &self.0, &rest))
    }

    /// The choices for `purpose` in `layer`.
    pub(crate) fn stream(&self, purpose: Purpose, layer: u32) -> Stream {
        let context = match purpose {
            Purpose::Rows => "nesa.privacy.rows.v1",
            Purpose::FeedForward => "nesa.privacy.feed_forward.v1",
            Purpose::QueryKey => "nesa.privacy.query_key.v1",
            Purpose::Value => "nesa.privacy.value.v1",
            Purpose::KvHeads => "nesa.privacy.kv_heads.v1",
            Purpose::QueryHeads => "nesa.privacy.query_heads.v1",
        };
        let seed = derive(context, &self.0, &layer.to_le_bytes());
        Stream(ChaCha20Rng::from_seed(*seed))
    }
}

impl Stream {
    /// A uniform number below `n`, by rejection; `n ≥ 1`.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        let mask = u32::MAX
            .checked_shr(n.saturating_sub(1).leading_zeros())
            .unwrap_or(0);
        loop {
            // Each draw is below n with probability over one half.
            let v = self.0.next_u32() & mask;
            if v < n {
                return v;
            }
        }
    }

    /// A uniform permutation of `0..n` (Fisher–Yates).
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut p: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            p.swap(i, self.below(i as u32 + 1) as usize);
        }
        p
    }

    /// A fair coin.
    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

impl fmt::Debug for DeploymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeploymentKey({})", self.id())
    }
}

impl fmt::Debug for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelKey({})", self.public_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_below_n_are_uniform() {
        let key = DeploymentKey::from_bytes([3; 32]).for_model(&Digest([4; 32]));
        let mut stream = key.stream(Purpose::Rows, 0);
        for n in [1u32, 2, 3, 5, 6, 8, 13] {
            let mut seen = vec![0u32; n as usize];
            for _ in 0..2000 * n {
                seen[stream.below(n) as usize] += 1;
            }
            // 2000 expected, standard deviation below 45.
            assert!(
                seen.iter().all(|c| (1760..2240).contains(c)),
                "{n}: {seen:?}"
            );
        }
    }

    #[test]
    fn every_permutation_of_four_comes_equally_often() {
        let key = DeploymentKey::from_bytes([5; 32]).for_model(&Digest([6; 32]));
        let mut stream = key.stream(Purpose::FeedForward, 9);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            *seen.entry(stream.permutation(4)).or_insert(0u32) += 1;
        }
        assert_eq!(seen.len(), 24);
        assert!(seen.values().all(|c| (840..1160).contains(c)), "{seen:?}");
    }

    #[test]
    fn streams_differ_by_key_model_purpose_and_layer() {
        let draw = |key: u8, model: u8, purpose, layer| {
            let key = DeploymentKey::from_bytes([key; 32]).for_model(&Digest([model; 32]));
            key.stream(purpose, layer).permutation(64)
        };
        let all = [
            draw(1, 1, Purpose::Rows, 0),
            draw(2, 1, Purpose::Rows, 0),
            draw(1, 2, Purpose::Rows, 0),
            draw(1, 1, Purpose::Rows, 1),
            draw(1, 1, Purpose::FeedForward, 0),
            draw(1, 1, Purpose::QueryKey, 0),
            draw(1, 1, Purpose::Value, 0),
            draw(1, 1, Purpose::KvHeads, 0),
            draw(1, 1, Purpose::QueryHeads, 0),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "{i}");
        }
        assert_eq!(all[0], draw(1, 1, Purpose::Rows, 0));
    }

    #[test]
    fn keys_print_only_their_public_name() {
        let bytes = [0xab; 32];
        let key = DeploymentKey::from_bytes(bytes);
        let model = key.for_model(&Digest([1; 32]));
        let shown = format!("{key:?} {key:#?} {model:?} {model:#?}");
        for secret in [key.0, model.0] {
            let hex: String = secret.iter().map(|b| format!("{b:02x}")).collect();
            assert!(!shown.to_lowercase().contains(&hex[..8]), "{shown}");
            assert!(!shown.contains(&format!("{}, {}", secret[0], secret[1])));
        }
        assert!(shown.contains(&key.id().to_string()));
        assert_ne!(DeploymentKey::generate(bytes).id(), key.id());
    }

    #[test]
    fn zeroizing_clears_a_key() {
        let mut key = DeploymentKey::from_bytes([9; 32]);
        key.zeroize();
        assert_eq!(key.0, [0; 32]);
    }
}

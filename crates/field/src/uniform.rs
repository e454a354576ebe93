//! Uniform elements from a seed.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::P;

/// Keystream words that are drawn at once: 4 KiB.
const WORDS: usize = 1024;

/// `n` uniform elements: see [`uniform_into`].
#[must_use]
pub fn uniform(seed: &[u8; 32], n: usize) -> Vec<u32> {
    let mut out = vec![0; n];
    uniform_into(seed, &mut out);
    out
}

/// Fills `out` with the uniform elements of `seed`.
///
/// They are the words of the ChaCha20 keystream under the seed with nonce 0, little endian, their low
/// 31 bits, those below [`P`] kept, in order. A shorter `out` gets the same first elements.
/// No branch depends on an element that is kept.
pub fn uniform_into(seed: &[u8; 32], out: &mut [u32]) {
    let mut stream = ChaCha20Rng::from_seed(*seed);
    let mut bytes = [0u8; 4 * WORDS];
    let mut kept = 0;
    while kept < out.len() {
        stream.fill_bytes(&mut bytes);
        // Each word is written where the next element belongs, and stays there if it is one.
        for word in bytes.as_chunks::<4>().0 {
            let Some(slot) = out.get_mut(kept) else { break };
            *slot = u32::from_le_bytes(*word) & 0x7fff_ffff;
            kept += usize::from(*slot < P);
        }
    }
}

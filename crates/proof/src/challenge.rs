//! Which cells are opened: drawn from a nonce that hops cannot know before they sign.
//!
//! The client commits to the nonce when it opens the session and reveals it afterwards. The draw
//! also depends on every signed statement, so neither side can choose it alone.

use std::collections::BTreeSet;

use nesa_codec::{Digest, Hasher};

use crate::statement::SignedHop;

/// The commitment to `nonce` that goes out when a session opens.
#[must_use]
pub fn commit(nonce: &Digest) -> Digest {
    Hasher::new("nesa.challenge.commit.v1")
        .digest(nonce)
        .finish()
}

/// `k` distinct cells (layer, position) among all `layers × positions`, ascending.
#[must_use]
pub fn draw(
    nonce: &Digest,
    hops: &[SignedHop],
    layers: u32,
    positions: u32,
    k: u64,
) -> BTreeSet<(u32, u32)> {
    let n = u64::from(layers) * u64::from(positions);
    let mut seed = Hasher::new("nesa.challenge.draw.v1").digest(nonce);
    for h in hops {
        seed = seed.digest(&h.statement.digest());
    }
    let seed = seed.finish();
    let at = |i: u64| {
        (
            (i / u64::from(positions)) as u32,
            (i % u64::from(positions)) as u32,
        )
    };
    if n == 0 {
        return BTreeSet::new();
    }
    if k >= n {
        return (0..n).map(at).collect();
    }
    // Floyd's sampling: each k-subset is equally likely.
    let mut chosen = BTreeSet::new();
    for j in n - k..n {
        let t = below(&seed, j, j + 1);
        if !chosen.insert(t) {
            chosen.insert(j);
        }
    }
    chosen.into_iter().map(at).collect()
}

/// A value below `n`, unbiased to 2^-64, from the seed and a counter.
fn below(seed: &Digest, counter: u64, n: u64) -> u64 {
    let d = Hasher::new("nesa.challenge.value.v1")
        .digest(seed)
        .u64(counter)
        .finish();
    let mut wide = [0; 16];
    wide.copy_from_slice(&d.0[..16]);
    (u128::from_le_bytes(wide) % u128::from(n)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_equally_likely() {
        let mut hits = [0u32; 20];
        for i in 0..4000 {
            let nonce = Hasher::new("test").u64(i).finish();
            let cells = draw(&nonce, &[], 4, 5, 3);
            assert_eq!(cells.len(), 3);
            for (l, p) in cells {
                hits[(l * 5 + p) as usize] += 1;
            }
        }
        // 600 expected, standard deviation 22.6.
        assert!(hits.iter().all(|h| (490..710).contains(h)), "{hits:?}");
        assert_eq!(draw(&Digest::default(), &[], 4, 5, 99).len(), 20);
    }
}

//! How much memory blocks take once they are packed, known before a byte of them is sent.

use nesa_model::Shape;

/// Bytes per output channel besides its weights: bias, divisor and its precomputed reciprocals.
const CHANNEL_BYTES: u64 = 56;
/// Matrices above this many bytes get large pages of their own.
const OWN_PAGES_BYTES_MIN: u64 = 4 << 20;
/// Bytes of a large page.
const PAGE_BYTES: u64 = 2 << 20;
/// Bytes of bookkeeping per block.
const BLOCK_BYTES: u64 = 16 << 10;
/// Most bytes of the shared tables but the rotation: 16 tables of 2^16 two-byte entries.
const TABLES_BYTES: u64 = 2 << 20;

/// The linear layers of one block, as (rows, cols).
fn linears(s: &Shape) -> Vec<(usize, usize)> {
    let (d, q, kv, f) = (s.dim, s.q_dim(), s.kv_dim(), s.ffn);
    let mut all = vec![(q, d), (kv, d), (kv, d), (d, q), (f, d), (d, f)];
    if s.gated {
        all.push((f, d));
    }
    all
}

/// Bytes of one packed block of shape `s`.
fn block_bytes(s: &Shape) -> u64 {
    let matrix = |(rows, cols): (usize, usize)| {
        let bytes = rows.next_multiple_of(16) as u64 * cols.next_multiple_of(4) as u64;
        let held = if bytes > OWN_PAGES_BYTES_MIN {
            bytes.next_multiple_of(PAGE_BYTES)
        } else {
            bytes
        };
        held + rows as u64 * CHANNEL_BYTES
    };
    let weights: u64 = linears(s).into_iter().map(matrix).sum();
    // Norm gains and biases, score and mix divisors, the product's divisors.
    let vectors = (4 * s.dim + s.q_dim() + s.heads + s.ffn) as u64 * CHANNEL_BYTES;
    weights + vectors + BLOCK_BYTES
}

/// Bytes that `layers` packed blocks of shape `s` take, shared tables included.
#[must_use]
pub fn range_bytes(s: &Shape, layers: usize) -> u64 {
    layers as u64 * block_bytes(s) + common_bytes(s)
}

/// Bytes of the shared tables: cosines and sines of every position, and lookups.
fn common_bytes(s: &Shape) -> u64 {
    let rope = if s.rotary {
        2 * s.context as u64 * s.head_dim as u64
    } else {
        0
    };
    rope + TABLES_BYTES
}

/// Most bytes of the stored part of one block of shape `s`.
pub(crate) fn part_bytes_max(s: &Shape) -> u64 {
    block_bytes(s) + common_bytes(s) + (64 << 10)
}

/// A size for people.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 10.0 {
        format!("{bytes} bytes")
    } else {
        format!("{mib:.0} MiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_codec::Encode;
    use nesa_model::testing;

    #[test]
    fn stored_parts_stay_below_the_bound() {
        for shape in testing::shapes() {
            let model = testing::model(&shape, 3);
            let max = part_bytes_max(&shape);
            assert!((model.common.to_bytes().len() as u64) < max);
            assert!(
                model
                    .blocks
                    .iter()
                    .all(|b| (b.to_bytes().len() as u64) < max)
            );
            let weights = shape.block_macs() as u64;
            assert!(range_bytes(&shape, 3) > 3 * weights);
        }
    }

    #[test]
    fn a_large_block_is_its_weights_and_little_more() {
        // TinyLlama-1.1B.
        let shape = Shape {
            layers: 22,
            dim: 2048,
            heads: 32,
            kv_heads: 4,
            head_dim: 64,
            ffn: 5632,
            context: 2048,
            vocab: 32_000,
            ..testing::shapes()[0].clone()
        };
        let (bytes, weights) = (range_bytes(&shape, 22), 22 * shape.block_macs() as u64);
        assert!(
            bytes > weights && bytes < weights * 115 / 100,
            "{bytes} for {weights}"
        );
    }
}

//! Stored element types and their exact decoding to `f32`.
//!
//! Block layouts are those of ggml; products are rounded in the order of its reference
//! dequantisers, so that the values equal theirs bit for bit.

use half::{bf16, f16};

/// An element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// bfloat16.
    BF16,
    /// 32 values: f16 scale, signed bytes.
    Q8_0,
    /// 32 values: f16 scale, nibbles minus 8.
    Q4_0,
    /// 32 values: f16 scale and minimum, nibbles.
    Q4_1,
    /// 256 values: eight 6-bit scales and minima, nibbles.
    Q4K,
    /// 256 values: sixteen 8-bit scales, 6-bit values minus 32.
    Q6K,
}

impl DType {
    /// The type behind a GGUF type number.
    pub(crate) fn from_ggml(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            14 => Self::Q6K,
            30 => Self::BF16,
            _ => return None,
        })
    }

    /// The type behind a safetensors name.
    pub(crate) fn from_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            _ => return None,
        })
    }

    /// (values, bytes) of one block.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q4K => (256, 144),
            Self::Q6K => (256, 210),
        }
    }

    /// Bytes of `elements` values whose fastest dimension is `cols`; `None` where blocks do not
    /// divide it or the size overflows.
    pub fn bytes(self, elements: u64, cols: u64) -> Option<u64> {
        let (values, bytes) = self.block();
        if !cols.is_multiple_of(values as u64) || !elements.is_multiple_of(values as u64) {
            return None;
        }
        (elements / values as u64).checked_mul(bytes as u64)
    }

    /// Append the values of whole blocks in `bytes` to `out`; a trailing partial block is ignored.
    pub fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::F32 => out.extend(chunks(bytes).map(|&b| f32::from_le_bytes(b))),
            Self::F16 => out.extend(chunks(bytes).map(|&b| f16::from_le_bytes(b).to_f32())),
            Self::BF16 => out.extend(chunks(bytes).map(|&b| bf16::from_le_bytes(b).to_f32())),
            Self::Q8_0 => chunks(bytes).for_each(|block| q8_0(block, out)),
            Self::Q4_0 => chunks(bytes).for_each(|block| q4_0(block, out)),
            Self::Q4_1 => chunks(bytes).for_each(|block| q4_1(block, out)),
            Self::Q4K => chunks(bytes).for_each(|block| q4_k(block, out)),
            Self::Q6K => chunks(bytes).for_each(|block| q6_k(block, out)),
        }
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = &[u8; N]> {
    bytes.as_chunks::<N>().0.iter()
}

fn half_at(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

fn q8_0(block: &[u8; 34], out: &mut Vec<f32>) {
    let scale = half_at(block[0], block[1]);
    out.extend(
        block[2..]
            .iter()
            .map(|&q| scale * f32::from(q.cast_signed())),
    );
}

fn q4_0(block: &[u8; 18], out: &mut Vec<f32>) {
    let scale = half_at(block[0], block[1]);
    let value = |nibble: u8| scale * f32::from(nibble.cast_signed() - 8);
    out.extend(block[2..].iter().map(|&q| value(q & 15)));
    out.extend(block[2..].iter().map(|&q| value(q >> 4)));
}

fn q4_1(block: &[u8; 20], out: &mut Vec<f32>) {
    let (scale, min) = (half_at(block[0], block[1]), half_at(block[2], block[3]));
    let value = |nibble: u8| scale * f32::from(nibble) + min;
    out.extend(block[4..].iter().map(|&q| value(q & 15)));
    out.extend(block[4..].iter().map(|&q| value(q >> 4)));
}

/// The 6-bit scale and minimum of sub-block `index` (0..8) from their packed twelve bytes.
fn scale_min(packed: &[u8], index: usize) -> (f32, f32) {
    let (scale, min) = if index < 4 {
        (packed[index] & 63, packed[index + 4] & 63)
    } else {
        let low = packed[index + 4];
        (
            (low & 15) | (packed[index - 4] >> 6 << 4),
            (low >> 4) | (packed[index] >> 6 << 4),
        )
    };
    (f32::from(scale), f32::from(min))
}

fn q4_k(block: &[u8; 144], out: &mut Vec<f32>) {
    let (d, d_min) = (half_at(block[0], block[1]), half_at(block[2], block[3]));
    let packed = &block[4..16];
    for (pair, quants) in block[16..].chunks_exact(32).enumerate() {
        for high in 0..2 {
            let (scale, min) = scale_min(packed, 2 * pair + high);
            let (scale, min) = (d * scale, d_min * min);
            let nibble = |q: u8| if high == 0 { q & 15 } else { q >> 4 };
            out.extend(quants.iter().map(|&q| scale * f32::from(nibble(q)) - min));
        }
    }
}

fn q6_k(block: &[u8; 210], out: &mut Vec<f32>) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half_at(block[208], block[209]);
    for part in 0..2 {
        let low = &low[64 * part..64 * (part + 1)];
        let high = &high[32 * part..32 * (part + 1)];
        for quarter in 0..4 {
            for l in 0..32 {
                let byte = low[l + 32 * (quarter % 2)];
                let nibble = if quarter < 2 { byte & 15 } else { byte >> 4 };
                let top = (high[l] >> (2 * quarter)) & 3;
                let scale = scales[8 * part + 2 * quarter + l / 16].cast_signed();
                let q = (nibble | (top << 4)).cast_signed() - 32;
                out.push(d * f32::from(scale) * f32::from(q));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(DType, &str); 7] = [
        (DType::Q8_0, "Q8_0"),
        (DType::Q4_0, "Q4_0"),
        (DType::Q4_1, "Q4_1"),
        (DType::Q4K, "Q4_K"),
        (DType::Q6K, "Q6_K"),
        (DType::BF16, "BF16"),
        (DType::F16, "F16"),
    ];

    fn unhex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().as_chunks::<2>().0.iter();
        let pair = |pair: &[u8; 2]| std::str::from_utf8(pair).expect("ascii").to_owned();
        digits
            .map(|digits| u8::from_str_radix(&pair(digits), 16).expect("hex"))
            .collect()
    }

    #[test]
    fn blocks_equal_the_reference_bit_for_bit() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/blocks.json")).expect("JSON");
        for (dtype, name) in ALL {
            let bytes = unhex(golden[name]["bytes"].as_str().expect("hex"));
            let bits = golden[name]["bits"].as_array().expect("list");
            let mut values = Vec::new();
            dtype.decode(&bytes, &mut values);
            assert_eq!(values.len(), bits.len(), "{name}");
            for (index, (value, bits)) in values.iter().zip(bits).enumerate() {
                match bits.as_u64() {
                    Some(bits) => assert_eq!(u64::from(value.to_bits()), bits, "{name}[{index}]"),
                    None => assert!(!value.is_finite(), "{name}[{index}]"),
                }
            }
        }
    }

    #[test]
    fn sizes_are_checked() {
        assert_eq!(DType::Q4K.bytes(512, 256), Some(288));
        assert_eq!(DType::Q4K.bytes(512, 128), None);
        assert_eq!(DType::F32.bytes(u64::MAX, 1), None);
        for (dtype, name) in ALL {
            let (values, bytes) = dtype.block();
            let mut out = Vec::new();
            dtype.decode(&vec![0; bytes - 1], &mut out);
            assert!(out.is_empty(), "{name}: a partial block decodes to nothing");
            dtype.decode(&vec![0; bytes], &mut out);
            assert_eq!(out.len(), values, "{name}");
        }
    }
}

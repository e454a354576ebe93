//! A base that is only related to the victim's: weights that were fine-tuned and never published.

use nesa_model::testing::Noise;
use nesa_model::{Ffn, Linear};

use crate::Base;

/// Most by which a weight of the related base differs, of 127.
const STEPS: i32 = 6;
/// Most by which an embedding differs, in percent of the table's largest magnitude.
const PERCENT: i32 = 2;

/// `base` with every weight and embedding moved at random; gains and divisors too, in proportion.
pub(super) fn relative(base: &Base, seed: u64) -> Base {
    let noise = &mut Noise(seed);
    let mut out = base.clone();
    for block in &mut out.blocks {
        for norm in [&mut block.attn_norm, &mut block.ffn_norm] {
            for gain in &mut norm.gain {
                *gain = moved(i32::from(*gain), noise).clamp(-32_767, 32_767) as i16;
            }
        }
        linear(&mut block.o, noise);
        match &mut block.ffn {
            Ffn::Gated { gate, down, .. } => {
                linear(gate, noise);
                linear(down, noise);
            }
            Ffn::Plain { up, down } => {
                linear(up, noise);
                linear(down, noise);
            }
        }
    }
    let tokens = &mut out.vocabulary.tokens;
    let largest = tokens
        .iter()
        .map(|v| i32::from(*v).abs())
        .max()
        .unwrap_or(0);
    let reach = largest * PERCENT / 100;
    for value in tokens {
        let sum = i32::from(*value) + noise.within(reach.max(1));
        *value = sum.clamp(-32_767, 32_767) as i16;
    }
    out
}

fn moved(value: i32, noise: &mut Noise) -> i32 {
    value + noise.within((value.abs() / 20).max(1))
}

fn linear(l: &mut Linear, noise: &mut Noise) {
    for weight in &mut l.weight {
        *weight = (i32::from(*weight) + noise.within(STEPS)).clamp(-127, 127) as i8;
    }
    for divisor in &mut l.divisor {
        let by = i64::from(*divisor) * i64::from(noise.within(50)) / 1000;
        *divisor = (i64::from(*divisor) + by).clamp(1, (1 << 31) - 1) as u32 | 1;
    }
}

//! A signed permutation of channels and what it does to vectors, matrices and normalisations.
//!
//! `(M x)[i] = ±x[from[i]]`. For a linear layer `y = W x`, the sealed layer is `M_out W M_in⁻¹`:
//! row `i` is row `from_out[i]` of `W`, its entries taken in the order `from_in` and multiplied by
//! both signs. Weights are in [−127, 127], so that no negation wraps.

use nesa_model::{Linear, Norm};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::key::Stream;

/// A signed permutation.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Map {
    /// Source channel of each output channel.
    from: Vec<u32>,
    /// −1 (all bits set) where the sign changes, else 0.
    mask: Vec<i8>,
}

impl Map {
    /// Takes output channel `i` from `from[i]`, negated where `flip[i]`.
    pub(crate) fn new(from: Vec<u32>, flip: impl Iterator<Item = bool>) -> Self {
        let mask: Vec<i8> = flip.take(from.len()).map(|f| -i8::from(f)).collect();
        debug_assert_eq!(mask.len(), from.len(), "one sign per channel");
        Self { from, mask }
    }

    /// Changes nothing.
    #[cfg(test)]
    pub(crate) fn identity(n: usize) -> Self {
        Self::new((0..n as u32).collect(), std::iter::repeat(false))
    }

    /// A uniform permutation of `n` channels.
    pub(crate) fn permutation(stream: &mut Stream, n: usize) -> Self {
        Self::new(stream.permutation(n), std::iter::repeat(false))
    }

    /// A uniform permutation of `n` channels with uniform signs.
    pub(crate) fn signed(stream: &mut Stream, n: usize) -> Self {
        let from = stream.permutation(n);
        Self::new(from, std::iter::repeat_with(|| stream.coin()))
    }

    /// Turns each pair `(j, j + half)` by a uniform multiple of a quarter:
    /// `(a, b)`, `(−b, a)`, `(−a, −b)` or `(b, −a)`.
    pub(crate) fn quarter_turns(stream: &mut Stream, half: usize) -> Self {
        let turns: Vec<u32> = (0..half).map(|_| stream.below(4)).collect();
        let pair = |j: usize, here: usize, there: usize| match turns[j] % 2 {
            0 => here as u32,
            _ => there as u32,
        };
        let low = (0..half).map(|j| pair(j, j, j + half));
        let high = (0..half).map(|j| pair(j, j + half, j));
        let low_flips = turns.iter().map(|t| matches!(t, 1 | 2));
        let high_flips = turns.iter().map(|t| matches!(t, 2 | 3));
        Self::new(low.chain(high).collect(), low_flips.chain(high_flips))
    }

    /// Joins maps of `width` channels: output block `b` is `parts[b].1` of input block `parts[b].0`.
    pub(crate) fn blocks<'a>(width: usize, parts: impl Iterator<Item = (usize, &'a Self)>) -> Self {
        let channels = |(block, map): (usize, &'a Self)| {
            let base = (block * width) as u32;
            let from = map.from.iter().map(move |&c| base + c);
            from.zip(map.mask.iter().copied())
        };
        let (from, mask) = parts.flat_map(channels).unzip();
        Self { from, mask }
    }

    /// The same permutation without signs.
    pub(crate) fn without_signs(&self) -> Self {
        Self::new(self.from.clone(), std::iter::repeat(false))
    }

    /// The map that undoes this one.
    pub(crate) fn inverse(&self) -> Self {
        let mut inverse = Self {
            from: vec![0; self.len()],
            mask: vec![0; self.len()],
        };
        for (i, (&j, &m)) in (0u32..).zip(self.from.iter().zip(&self.mask)) {
            inverse.from[j as usize] = i;
            inverse.mask[j as usize] = m;
        }
        inverse
    }

    /// Channels.
    pub(crate) fn len(&self) -> usize {
        self.from.len()
    }

    /// `x` (len) in the new order, signs untouched: for divisors and gains.
    pub(crate) fn permute<T: Copy>(&self, x: &[T]) -> Vec<T> {
        self.from.iter().map(|&j| x[j as usize]).collect()
    }

    /// Writes the mapped `x` (len) to `out` (len). Any value is accepted: −2^31 maps to itself.
    pub(crate) fn apply(&self, x: &[i32], out: &mut [i32]) {
        for (o, (&j, &m)) in out.iter_mut().zip(self.from.iter().zip(&self.mask)) {
            let m = i32::from(m);
            *o = (x[j as usize] ^ m).wrapping_sub(m);
        }
    }

    /// `self · l · cols⁻¹`: outputs mapped by `self`, inputs already mapped by `cols`.
    pub(crate) fn linear(&self, l: &Linear, cols: &Self) -> Linear {
        let mut weight = vec![0i8; l.weight.len()];
        let rows = self.from.iter().zip(&self.mask);
        for (out, (&i, &flip)) in weight.chunks_exact_mut(l.cols).zip(rows) {
            let row = &l.weight[i as usize * l.cols..][..l.cols];
            for (o, (&j, &m)) in out.iter_mut().zip(cols.from.iter().zip(&cols.mask)) {
                let m = m ^ flip;
                *o = (row[j as usize] ^ m).wrapping_sub(m);
            }
        }
        let bias = match l.bias.len() {
            0 => Vec::new(),
            _ => {
                let negate = |(b, &m): (i64, &i8)| if m == 0 { b } else { b.saturating_neg() };
                self.permute(&l.bias)
                    .into_iter()
                    .zip(&self.mask)
                    .map(negate)
                    .collect()
            }
        };
        Linear {
            rows: l.rows,
            cols: l.cols,
            weight,
            bias,
            divisor: self.permute(&l.divisor),
            lift: l.lift,
            clamp: l.clamp,
        }
    }

    /// The normalisation of mapped rows to mapped rows.
    ///
    /// A sign of the input passes through to the output, so gains move without signs.
    pub(crate) fn norm(&self, n: &Norm) -> Norm {
        let mut bias = vec![0; n.bias.len()];
        if !bias.is_empty() {
            // −2^31 is beyond every clamp, and so is its saturated negation.
            let negate = |(b, &m): (i32, &i8)| if m == 0 { b } else { b.saturating_neg() };
            let moved = self.permute(&n.bias).into_iter().zip(&self.mask);
            bias = moved.map(negate).collect();
        }
        Norm {
            gain: self.permute(&n.gain),
            bias,
            ..n.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{DeploymentKey, Purpose};
    use nesa_codec::Digest;
    use nesa_model::Rope;
    use nesa_model::testing::Noise;

    fn stream(n: u8) -> Stream {
        let key = DeploymentKey::from_bytes([n; 32]).for_model(&Digest([0; 32]));
        key.stream(Purpose::Rows, u32::from(n))
    }

    fn mapped(m: &Map, x: &[i32]) -> Vec<i32> {
        let mut out = vec![0; x.len()];
        m.apply(x, &mut out);
        out
    }

    #[test]
    fn an_inverse_undoes_its_map_on_any_value() {
        let mut noise = Noise(1);
        for n in [1usize, 2, 7, 64, 301] {
            let m = Map::signed(&mut stream(n as u8), n);
            let mut x: Vec<i32> = (0..n).map(|_| noise.bits() as i32).collect();
            x[0] = i32::MIN;
            assert_eq!(mapped(&m.inverse(), &mapped(&m, &x)), x);
            assert!(mapped(&Map::identity(n), &x) == x);
        }
    }

    /// Quarter turns commute with the rotation bit for bit, at the clamps too.
    #[test]
    fn quarter_turns_commute_with_the_rotation() {
        let (half, positions) = (5, 40);
        let noise = &mut Noise(7);
        let mut table = || {
            (0..half * positions)
                .map(|_| noise.within(16_384) as i16)
                .collect()
        };
        let rope = Rope {
            half,
            cos: table(),
            sin: table(),
        };
        let narrow = |x: &[i32]| x.iter().map(|&v| v as i16).collect::<Vec<_>>();
        let wide = |x: &[i16]| x.iter().map(|&v| i32::from(v)).collect::<Vec<_>>();
        for seed in 0..50 {
            let turn = Map::quarter_turns(&mut stream(seed), half);
            for pos in 0..positions {
                let x: Vec<i32> = (0..2 * half).map(|_| noise.within(8_191)).collect();
                let mut plain = narrow(&x);
                rope.apply(&mut plain, pos);
                let mut turned = narrow(&mapped(&turn, &x));
                rope.apply(&mut turned, pos);
                assert_eq!(turned, narrow(&mapped(&turn, &wide(&plain))));
            }
        }
    }

    #[test]
    fn all_four_turns_occur() {
        let turn = Map::quarter_turns(&mut stream(1), 64);
        let kinds: std::collections::BTreeSet<(bool, i8)> = (0..64)
            .map(|j| (turn.from[j] == j as u32, turn.mask[j]))
            .collect();
        assert_eq!(kinds.len(), 4);
    }
}

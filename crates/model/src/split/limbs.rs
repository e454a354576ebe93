//! Inputs cut into limbs, so that no sum of a product leaves the field: from weights alone.

use std::ops::Range;

use crate::block::Block;
use crate::ops::norm::Norm;
use crate::spec::{FIELD_HALF, Order};
use crate::split::Product;

/// How the inputs of one product are cut: `x = Σ x_l·2^(bits·l)` with `0 ≤ x_l < 2^bits` but for the last,
/// which keeps the sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limbs {
    /// Rows that one row of inputs becomes, from 1 to [`Limbs::MAX`].
    pub count: usize,
    /// Binary places of all limbs but the last; 0 where there is one.
    pub bits: u32,
}

impl Limbs {
    /// Inputs as they are.
    pub const ONE: Self = Self { count: 1, bits: 0 };

    /// Most limbs: 7 bits always fit, and inputs have 24.
    pub const MAX: usize = 4;

    /// The limbs of `product` in `block`.
    #[must_use]
    pub fn of(block: &Block, order: Order, product: Product) -> Self {
        let matrices = product.matrices(block);
        let norm = feeding_norm(block, order, product);
        let (mut l1, mut x_max, mut normed) = (0, 0, 0);
        for (_, l, max) in block.linears(order) {
            if !matrices.iter().any(|m| std::ptr::eq(*m, l)) {
                continue;
            }
            x_max = x_max.max(max);
            for row in l.weight.chunks_exact(l.cols.max(1)) {
                l1 = l1.max(row.iter().map(|&w| i64::from(w).abs()).sum());
                normed = normed.max(norm.map_or(i64::MAX, |norm| norm_bound(norm, row)));
            }
        }
        if normed <= FIELD_HALF {
            return Self::ONE;
        }
        Self::for_norm(l1, x_max)
    }

    /// The limbs of inputs up to `x_max` for rows whose magnitudes sum to at most `l1`.
    fn for_norm(l1: i64, x_max: i32) -> Self {
        let x_max = i64::from(x_max);
        if l1 * x_max <= FIELD_HALF {
            return Self::ONE;
        }
        // The most for which l1 · (2^bits − 1) fits.
        let bits = (FIELD_HALF / l1 + 1).ilog2().max(1);
        // The largest magnitude of the last limb: that of −x_max, rounded down.
        let last = |count: usize| ((x_max - 1) >> (bits * (count as u32 - 1))) + 1;
        let fits = |count: &usize| l1 * last(*count) <= FIELD_HALF;
        let count = (2..Self::MAX).find(fits).unwrap_or(Self::MAX);
        Self { count, bits }
    }

    /// Whether shifts by these limbs stay within 32 bits, as those of a model do.
    pub(super) fn is_valid(self) -> bool {
        match self.count {
            1 => self.bits == 0,
            2..=Self::MAX => (1..=31).contains(&(self.bits * (self.count as u32 - 1))),
            _ => false,
        }
    }

    /// Appends the limbs of `row`, each a row of its own, the lowest first.
    pub(crate) fn cut<X: Copy + Into<i32>>(self, row: &[X], out: &mut Vec<i32>) {
        let mask = (1 << self.bits) - 1;
        for l in 1..self.count as u32 {
            let limb = |&x: &X| (x.into() >> (self.bits * (l - 1))) & mask;
            out.extend(row.iter().map(limb));
        }
        let last = self.bits * (self.count as u32 - 1);
        out.extend(row.iter().map(|&x| x.into() >> last));
    }

    /// Appends the columns `cols` of the sums (count, width) of one row's limbs, put together.
    pub(crate) fn join(self, sums: &[i32], width: usize, cols: &Range<usize>, out: &mut Vec<i64>) {
        let first = out.len();
        out.extend(sums[cols.clone()].iter().map(|&s| i64::from(s)));
        for (l, sums) in sums.chunks_exact(width).enumerate().skip(1) {
            let shift = self.bits * l as u32;
            for (out, &s) in out[first..].iter_mut().zip(&sums[cols.clone()]) {
                *out += i64::from(s) << shift;
            }
        }
    }
}

/// The norm of this block whose outputs are the inputs of `product`.
fn feeding_norm(block: &Block, order: Order, product: Product) -> Option<&Norm> {
    match (product, order) {
        (Product::Qkv, Order::Pre) | (Product::Ffn, Order::Post) => Some(&block.attn_norm),
        (Product::Ffn, Order::Pre) => Some(&block.ffn_norm),
        (Product::Qkv, Order::Post) | (Product::Output | Product::Down, _) => None,
    }
}

/// The largest magnitude of `Σ w[j]·y[j]` for any outputs `y` of `norm`.
///
/// `|y[j]| ≤ |u[j]|·r·|g[j]| / (2^m − 1) + 1/2 + |b[j]|`, and `r·‖u‖ ≤ 2^k`, so by Cauchy and Schwarz the
/// sum is at most `‖w∘g‖·2^k / (2^m − 1) + Σ |w[j]|·(1/2 + |b[j]|)`. The factor is largest at k = 16.
fn norm_bound(norm: &Norm, row: &[i8]) -> i64 {
    let square = |(&w, &g): (&i8, &i16)| (i64::from(w) * i64::from(g)).unsigned_abs().pow(2);
    let squares: u64 = row.iter().zip(&norm.gain).map(square).sum();
    let length = (squares.isqrt() + 1).cast_signed(); // below 2^30
    let divisor = (1i64 << (16 + norm.shift)) - 1;
    let offset = |(j, &w): (usize, &i8)| {
        let b = norm.bias.get(j).map_or(0, |&b| i64::from(b).abs());
        i64::from(w).abs() * (1 + 2 * b)
    };
    let offsets: i64 = row.iter().enumerate().map(offset).sum();
    ((length << 16) / divisor + 1) + (offsets / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::norm::NormKind;
    use crate::testing::Noise;

    #[test]
    fn no_row_of_a_norm_exceeds_its_bound_and_the_worst_comes_near() {
        let mut n = Noise(3);
        for (kind, shift) in [
            (NormKind::Rms, 3),
            (NormKind::Layer, 3),
            (NormKind::Rms, -14),
            (NormKind::Layer, 4),
        ] {
            let dim = 200;
            let clamp = if shift < 0 { i32::MAX } else { 32_767 };
            let norm = Norm {
                kind,
                gain: (0..dim).map(|_| n.within(2_000) as i16).collect(),
                bias: (0..if kind == NormKind::Layer { dim } else { 0 })
                    .map(|_| n.within(3))
                    .collect(),
                eps: 3,
                shift,
                clamp,
            };
            let row: Vec<i8> = (0..dim).map(|_| n.within(127) as i8).collect();
            let bound = norm_bound(&norm, &row);
            let sum = |x: &[i32]| {
                let y = norm.apply(x);
                let dot = row.iter().zip(y).map(|(&w, y)| i64::from(w) * i64::from(y));
                dot.sum::<i64>().abs()
            };
            let worst = row.iter().zip(&norm.gain);
            let worst: Vec<i32> = worst.map(|(&w, &g)| i32::from(w) * i32::from(g)).collect();
            assert!(sum(&worst) <= bound, "{kind:?} {shift}");
            assert!(sum(&worst) > bound / 10 * 7, "{} {bound}", sum(&worst));
            for _ in 0..50 {
                let x: Vec<i32> = (0..dim).map(|_| n.within(1 << 29)).collect();
                assert!(sum(&x) <= bound);
            }
            for x in [0, 1, -7i32] {
                let mut one = vec![0; dim];
                one[x.unsigned_abs() as usize] = x;
                assert!(sum(&one) <= bound);
            }
        }
    }

    #[test]
    fn limbs_are_the_widest_whose_sums_fit_the_field() {
        assert_eq!(Limbs::for_norm(0, 1 << 23), Limbs::ONE);
        assert_eq!(Limbs::for_norm(FIELD_HALF, 1), Limbs::ONE);
        let two = |bits| Limbs { count: 2, bits };
        assert_eq!(Limbs::for_norm(FIELD_HALF / 32_767, 32_767), Limbs::ONE);
        assert_eq!(Limbs::for_norm(FIELD_HALF / 32_767 + 1, 32_767), two(14));
        assert_eq!(Limbs::for_norm(60_000, (1 << 23) - 1), two(14));
        let mut l1 = 1;
        while l1 <= 127 * 65_536 {
            for x_max in [1, 2, 999, 32_767, (1 << 23) - 1] {
                let limbs = Limbs::for_norm(l1, x_max);
                assert!(limbs.is_valid(), "{l1} {x_max} {limbs:?}");
                let x = [-x_max, x_max, x_max / 2, -1, 0, 1, 77 % x_max, -(x_max / 3)];
                let mut cut = Vec::new();
                limbs.cut(&x, &mut cut);
                let fits = |v: &i32| i64::from(v.abs()) * l1 <= FIELD_HALF;
                assert!(cut.iter().all(fits), "{l1} {x_max} {limbs:?}");
                let mut joined = Vec::new();
                limbs.join(&cut, x.len(), &(0..x.len()), &mut joined);
                assert_eq!(joined, x.map(i64::from));
                let wider = (1i64 << (limbs.bits + 1)) - 1;
                assert!(
                    limbs.count == 1 || wider * l1 > FIELD_HALF,
                    "not the widest"
                );
            }
            l1 += l1 / 7 + 1;
        }
    }
}

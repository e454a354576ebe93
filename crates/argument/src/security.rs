//! Add up the error terms of the whole argument.
//!
//! Every term is a probability that a false statement passes, counted in units of `2^-127`, a
//! little above `1 / |E|`, and rounded up. The sum is a union bound; only whole bits are claimed.
//! It holds for an ideal hash and for classical provers; hash collisions are at `2^-128`.

use crate::field::EXTENSION_BITS;
use crate::pcs::{MAX_VARS, MIN_VARS};

/// Bits that one opening keeps at every supported size: the sum of all its terms in the regime of
/// unique decoding, each with its proof of work. A test holds this against the terms themselves.
pub const OPENING_BITS: u32 = 102;

/// What an argument consists of, as far as its error depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Variables of the committed polynomial.
    pub num_vars: usize,
    /// Values looked up in tables, all tables together.
    pub lookups: u64,
    /// Entries of all tables together.
    pub table_entries: u64,
    /// Bits of work before the challenges of the lookups.
    pub lookup_grind: u32,
    /// Sum over all rounds of all sumchecks of the degree of the round's polynomial.
    pub sumcheck_degrees: u64,
    /// Sum of the degrees of the polynomials in challenges that merge claims or equations.
    pub batching_degrees: u64,
}

/// The bits that each group of terms keeps, and the bits of all together, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The opening of the committed polynomial.
    pub opening: u32,
    /// The sums of fractions over looked up values and tables.
    pub lookups: u32,
    /// The rounds of all sumchecks.
    pub sumchecks: u32,
    /// The merging of claims and equations.
    pub batching: u32,
    /// The union of all groups.
    pub total: u32,
}

/// Bits that an error of `units * 2^-127` keeps, rounded down.
fn kept(units: u128) -> u32 {
    let log = u128::BITS - units.saturating_sub(1).leading_zeros();
    EXTENSION_BITS.saturating_sub(log)
}

/// Errors of one argument by group, in units of `2^-127`.
fn units(shape: &Shape) -> [u128; 4] {
    let supported = (MIN_VARS..=MAX_VARS).contains(&shape.num_vars);
    let opening = if supported {
        1 << (EXTENSION_BITS - OPENING_BITS)
    } else {
        1 << EXTENSION_BITS
    };
    // A tuple is merged with powers of one challenge and shifted by another: degree 3 per fraction.
    let fractions = 3 * (u128::from(shape.lookups) + u128::from(shape.table_entries));
    let lookups = fractions.div_ceil(1 << shape.lookup_grind.min(64));
    let sumchecks = u128::from(shape.sumcheck_degrees);
    [
        opening,
        lookups,
        sumchecks,
        u128::from(shape.batching_degrees),
    ]
}

/// The security of an argument in bits; all zero for a size that cannot be committed.
#[must_use]
pub fn bits(shape: &Shape) -> Report {
    all(&[*shape])
}

/// The security of a statement that needs all of these arguments: a range, and the table that its products with
/// committed matrices are opened in. Of a chain of statements in the clear, some first one is false; only its
/// arguments have to fail, so this is the bound of the whole chain.
#[must_use]
pub fn all(shapes: &[Shape]) -> Report {
    let mut sum = [0u128; 4];
    for shape in shapes {
        for (s, u) in sum.iter_mut().zip(units(shape)) {
            *s = s.saturating_add(u);
        }
    }
    let [opening, lookups, sumchecks, batching] = sum;
    Report {
        opening: kept(opening),
        lookups: kept(lookups),
        sumchecks: kept(sumchecks),
        batching: kept(batching),
        total: kept(opening + lookups + sumchecks + batching),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcs::opening_keeps;

    /// The largest statement that the crate is made for.
    fn largest(num_vars: usize) -> Shape {
        Shape {
            num_vars,
            lookups: 1 << 27,
            table_entries: 1 << 22,
            lookup_grind: 16,
            sumcheck_degrees: 1 << 16,
            batching_degrees: 1 << 16,
        }
    }

    #[test]
    fn an_opening_keeps_what_is_claimed_at_every_size() {
        for num_vars in MIN_VARS..=MAX_VARS {
            assert!(opening_keeps(num_vars, OPENING_BITS), "{num_vars}");
        }
        assert!(!opening_keeps(24, 120), "the check cannot fail");
    }

    #[test]
    fn the_whole_argument_keeps_a_hundred_bits() {
        for num_vars in MIN_VARS..=MAX_VARS {
            let report = bits(&largest(num_vars));
            assert!(report.total >= 100, "{report:?}");
        }
    }

    #[test]
    fn weak_shapes_are_reported_as_weak() {
        let good = largest(24);
        assert!(
            bits(&Shape {
                lookup_grind: 0,
                ..good
            })
            .total
                < 100
        );
        assert!(
            bits(&Shape {
                sumcheck_degrees: 1 << 30,
                ..good
            })
            .total
                < 98
        );
        assert_eq!(
            bits(&Shape {
                num_vars: 28,
                ..good
            })
            .total,
            0
        );
        assert_eq!(
            bits(&Shape {
                num_vars: 9,
                ..good
            })
            .opening,
            0
        );
    }

    #[test]
    fn bits_round_down() {
        assert_eq!(kept(0), 127);
        assert_eq!(kept(1), 127);
        assert_eq!(kept(2), 126);
        assert_eq!(kept(3), 125);
        assert_eq!(kept(4), 125);
        assert_eq!(kept(u128::MAX), 0);
    }
}

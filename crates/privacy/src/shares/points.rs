//! Evaluation points, which are small, and their Lagrange coefficients without a division.

use nesa_field::{inverse, mul, sub};

use super::POINTS_MAX;
use crate::PrivacyError;

/// `1 / d` for differences of points.
static INVERSES: [u32; 256] = inverses();

const fn inverses() -> [u32; 256] {
    let mut table = [0; 256];
    let mut d = 1;
    while d < table.len() {
        table[d] = inverse(d as u32);
        d += 1;
    }
    table
}

/// Whether `points` can be told apart and none of them is the secret's.
pub(super) fn check(points: &[u8]) -> Result<(), PrivacyError> {
    let known = (1..=POINTS_MAX).contains(&points.len());
    let distinct = |i: usize| points[i] != 0 && !points[..i].contains(&points[i]);
    if known && (0..points.len()).all(distinct) {
        Ok(())
    } else {
        Err(PrivacyError::Points)
    }
}

/// [`nesa_field::lagrange`] for distinct points.
pub(super) fn lagrange(points: &[u8], at: u8) -> Vec<u32> {
    let coefficient = |(i, &point): (usize, &u8)| {
        let others = points.iter().enumerate().filter(|&(j, _)| j != i);
        others.fold(1, |product, (_, &other)| {
            let over = sub(at.into(), other.into());
            let under = INVERSES[usize::from(point.abs_diff(other))];
            let under = if point < other { sub(0, under) } else { under };
            mul(product, mul(over, under))
        })
    };
    points.iter().enumerate().map(coefficient).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_equal_the_field() {
        let sets: [&[u8]; 6] = [
            &[0],
            &[1, 2],
            &[2, 1],
            &[0, 255, 1],
            &[7, 3, 9, 4],
            &[255, 0, 254, 1, 128],
        ];
        for points in sets {
            let wide: Vec<u32> = points.iter().map(|&p| p.into()).collect();
            for at in [0, 1, 5, 254, 255] {
                assert_eq!(lagrange(points, at), nesa_field::lagrange(&wide, at.into()));
            }
        }
    }

    #[test]
    fn points_are_distinct_and_not_the_secrets() {
        assert!(check(&[1]).is_ok() && check(&[255, 1, 2]).is_ok());
        let many: Vec<u8> = (1..=17).collect();
        assert!(check(&many[..16]).is_ok());
        for wrong in [&[] as &[u8], &[0], &[1, 0], &[3, 4, 3], &many] {
            assert!(matches!(check(wrong), Err(PrivacyError::Points)));
        }
    }
}

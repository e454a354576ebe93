//! The prover equals a direct one, and the verifier accepts it.

use p3_field::BasedVectorSpace;

use super::*;
use crate::field::F;
use crate::layout::eq_table;

/// A tree's proof by its definition: every level and every bound polynomial written out.
fn reference(num: &[E], den: &[E], t: &mut Transcript) -> (Tree, Claim) {
    let mut all = vec![(num.to_vec(), den.to_vec())];
    while let Some((n, d)) = all.last().filter(|(n, _)| n.len() > 1) {
        let add = |i: usize| {
            let (a, b) = (2 * i, 2 * i + 1);
            (n[a] * d[b] + n[b] * d[a], d[a] * d[b])
        };
        let next = (0..n.len() / 2).map(add).unzip();
        all.push(next);
    }
    let (n, d) = all.pop().unwrap_or_default();
    let root = [n[0], d[0]];
    t.absorb_ext(&root);
    let mut claim = Claim {
        point: Vec::new(),
        numerator: root[0],
        denominator: root[1],
    };
    let mut levels = Vec::new();
    while let Some((n, d)) = all.pop() {
        let lambda = t.challenge();
        let z = std::mem::take(&mut claim.point);
        let pick = |v: &[E], k: usize| v.iter().skip(k).step_by(2).copied().collect::<Vec<E>>();
        let mut p = [pick(&n, 0), pick(&n, 1), pick(&d, 0), pick(&d, 1)];
        let (mut rounds, mut point) = (Vec::new(), Vec::new());
        for k in 0..z.len() {
            let eq = eq_table(&z[k + 1..]);
            let half = eq.len();
            let at = |x: usize, r: E| -> E {
                let [n0, n1, d0, d1] =
                    [0, 1, 2, 3].map(|i| p[i][x] + r * (p[i][x + half] - p[i][x]));
                n0 * d1 + n1 * d0 + lambda * d0 * d1
            };
            let sum = |r: E| -> E { (0..half).map(|x| eq[x] * at(x, r)).sum() };
            // q(2) − 2·q(1) + q(0) is twice the leading coefficient.
            let [q0, q1, q2] = [E::ZERO, E::ONE, E::TWO].map(sum);
            let message = [q0, (q2 - q1.double() + q0).halve()];
            t.absorb_ext(&message);
            let r = t.challenge();
            for v in &mut p {
                *v = (0..half).map(|x| v[x] + r * (v[x + half] - v[x])).collect();
            }
            rounds.push(message);
            point.push(r);
        }
        let children = [0, 1, 2, 3].map(|i| p[i][0]);
        t.absorb_ext(&children);
        descend(&mut claim, point, &children, t);
        levels.push(Level { rounds, children });
    }
    (Tree { root, levels }, claim)
}

#[test]
fn the_prover_equals_the_reference_and_is_accepted() {
    let mut scratch = Scratch::default();
    for depth in [0, 1, 2, 3, 4, 7, 12, 1] {
        for ones in [true, false] {
            let at =
                |i: u64| E::from_basis_coefficients_fn(|d| F::from_u64((i * 7 + 3) << (9 * d)));
            let den: Vec<E> = (0..1 << depth).map(|i| at(i).square() * at(5)).collect();
            let num: Vec<F> = (0..1u64 << depth)
                .map(|i| {
                    if ones {
                        F::ONE
                    } else {
                        F::from_u64(i % 5) - F::TWO
                    }
                })
                .collect();
            let wide: Vec<E> = num.iter().map(|&n| n.into()).collect();
            let (tree, claim) = reference(&wide, &den, &mut Transcript::new("test"));
            let leaves = Leaves {
                numerators: (!ones).then_some(num.as_slice()),
                denominators: &den,
            };
            let fast = prove(&leaves, &mut scratch, &mut Transcript::new("test"));
            assert_eq!(fast, (tree.clone(), claim.clone()), "depth {depth}");
            let mut t = Transcript::new("test");
            assert_eq!(verify(&tree, depth, &mut t), Some(claim.clone()));
            let eq = eq_table(&claim.point);
            let sum = |v: &[E]| -> E { v.iter().zip(&eq).map(|(&a, &b)| a * b).sum() };
            assert_eq!(
                (sum(&wide), sum(&den)),
                (claim.numerator, claim.denominator)
            );
        }
    }
}

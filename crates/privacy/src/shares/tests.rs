//! Shares hide exactly, come together exactly, and never repeat a mask.

use std::collections::BTreeSet;

use nesa_field::{CENTRED_MAX, P, modular, uniform};
use nesa_model::testing::Noise;

use super::*;

const LEVEL: fn() -> Level = Level::detect;

/// `n` signed inputs, those at the ends of the range first.
fn inputs(seed: u64, n: usize) -> Vec<i32> {
    let mut noise = Noise(seed);
    let ends = [CENTRED_MAX, -CENTRED_MAX, 0, -1, 1];
    let rest = std::iter::repeat_with(|| noise.within(CENTRED_MAX));
    ends.into_iter().chain(rest).take(n).collect()
}

/// All ways to choose `k` of `0..n`.
fn subsets(n: usize, k: usize) -> Vec<Vec<usize>> {
    let chosen = |set: u32| (0..n).filter(|i| set >> i & 1 == 1).collect::<Vec<_>>();
    let sets = (0..1u32 << n).filter(|set| set.count_ones() as usize == k);
    sets.map(chosen).collect()
}

/// Every choice of `t` masks below `Q`.
fn all_masks<const Q: u32>(t: usize) -> Vec<Vec<u32>> {
    (0..Q.pow(t as u32))
        .map(|i| (0..t as u32).map(|j| i / Q.pow(j) % Q).collect())
        .collect()
}

/// Over all randomness: any `t` shares take every value exactly once, any `t + 1` give the secret.
fn hides_exactly<const Q: u32>(t: usize, n: usize) {
    let points: Vec<u32> = (1..=n as u32).collect();
    for secret in 0..Q {
        let dealt: Vec<Vec<u32>> = all_masks::<Q>(t)
            .iter()
            .map(|masks| modular::shares::<Q>(&points, secret, masks))
            .collect();
        for holders in subsets(n, t) {
            let view = |shares: &Vec<u32>| holders.iter().map(|&i| shares[i]).collect::<Vec<_>>();
            let views: BTreeSet<Vec<u32>> = dealt.iter().map(view).collect();
            // As many views as there are vectors, from as many choices: each once, for every secret.
            assert_eq!(
                views.len() as u32,
                Q.pow(t as u32),
                "{holders:?} of ({t}, {n})"
            );
            assert_eq!(views.len(), dealt.len());
        }
        for holders in subsets(n, t + 1) {
            let at: Vec<u32> = holders.iter().map(|&i| points[i]).collect();
            let back = modular::lagrange::<Q>(&at, 0);
            for shares in &dealt {
                let terms = back.iter().zip(&holders);
                let sum = terms.fold(0, |sum, (&c, &i)| {
                    modular::add::<Q>(sum, modular::mul::<Q>(c, shares[i]))
                });
                assert_eq!(sum, secret, "{holders:?} of ({t}, {n})");
            }
        }
    }
}

#[test]
fn any_t_shares_are_exactly_uniform_for_every_secret() {
    for (t, n) in [(1, 2), (1, 3), (2, 3), (2, 4), (3, 4)] {
        hides_exactly::<5>(t, n);
        hides_exactly::<7>(t, n);
    }
    hides_exactly::<7>(2, 6);
    hides_exactly::<11>(3, 5);
}

#[test]
fn a_scheme_that_reuses_a_mask_would_be_noticed() {
    // The control of the test above: the second mask is the first. Two shares then tell the secret apart.
    let views = |secret: u32| -> BTreeSet<Vec<u32>> {
        let deal = |mask| modular::shares::<7>(&[1, 2, 3], secret, &[mask, mask]);
        (0..7)
            .map(deal)
            .map(|shares| shares[1..].to_vec())
            .collect()
    };
    assert!((1..7).any(|secret| views(secret) != views(0)));
    assert!(views(0).len() < 49);
}

#[test]
fn what_is_dealt_is_what_was_enumerated() {
    for (t, points) in [
        (1, &[1u8, 2][..]),
        (1, &[9, 4, 200]),
        (2, &[3, 1, 2, 8]),
        (5, &[1, 2, 3, 4, 5, 6]),
    ] {
        let inputs = inputs(1, 700);
        for level in Level::available() {
            let mut dealer = Dealer::new([1; 32]);
            let flight = dealer.deal(level, t, points, &inputs).unwrap();
            let wide: Vec<u32> = points.iter().map(|&p| p.into()).collect();
            for (j, &input) in inputs.iter().enumerate() {
                let masks: Vec<u32> = (0..t).map(|i| flight.share(i).unwrap()[j]).collect();
                let secret = nesa_field::from_i64(input.into());
                let shares = modular::shares::<P>(&wide, secret, &masks);
                for (i, share) in shares.into_iter().enumerate() {
                    assert_eq!(flight.share(i).unwrap()[j], share);
                }
            }
        }
    }
}

#[test]
fn the_first_t_get_seeds_of_their_shares_and_the_others_values() {
    let mut dealer = Dealer::new([2; 32]);
    let flight = dealer
        .deal(LEVEL(), 2, &[5, 6, 7, 8], &inputs(2, 300))
        .unwrap();
    for i in 0..4 {
        let share = flight.share(i).unwrap();
        match flight.sent(i).unwrap() {
            Sent::Seed(seed) => {
                assert!(i < 2);
                assert_eq!(uniform(seed, 300), share);
            }
            Sent::Values(values) => {
                assert!(i >= 2);
                assert_eq!(values, share);
            }
        }
    }
    assert!(flight.share(4).is_none() && flight.sent(4).is_none());
}

#[test]
fn any_t_plus_one_products_give_the_product() {
    // A matrix (3, 4) with small rows, so that sums of inputs stay below p/2.
    let matrix = [[127i64, -127, 3, 0], [1, 0, 0, 0], [-5, 7, 11, -13]];
    let multiply = |share: &[u32]| -> Vec<u32> {
        let row = |row: &[i64; 4]| {
            let terms = row.iter().zip(share).map(|(w, &s)| w * i64::from(s));
            nesa_field::from_i64(terms.sum())
        };
        matrix.iter().map(row).collect()
    };
    for n in 2..=6 {
        for t in 1..n {
            let points: Vec<u8> = (0..n as u8).map(|i| 250 - 3 * i).collect();
            let mut dealer = Dealer::new([n as u8; 32]);
            let input = [4_000_000, -3_999_999, 77, -1];
            let flight = dealer.deal(LEVEL(), t, &points, &input).unwrap();
            let expected: Vec<i32> = matrix
                .iter()
                .map(|row| row.iter().zip(input).map(|(w, x)| (*w as i32) * x).sum())
                .collect();
            let answers: Vec<Vec<u32>> =
                (0..n).map(|i| multiply(flight.share(i).unwrap())).collect();
            for holders in subsets(n, t + 1) {
                let at: Vec<u8> = holders.iter().map(|&i| points[i]).collect();
                let answers: Vec<&[u32]> = holders.iter().map(|&i| &answers[i][..]).collect();
                for level in Level::available() {
                    assert_eq!(
                        reconstruct(level, &at, &answers).unwrap(),
                        expected,
                        "({t}, {n})"
                    );
                }
            }
        }
    }
}

#[test]
fn all_inputs_come_back_and_t_shares_do_not_give_them() {
    let input = inputs(3, 1000);
    let mut dealer = Dealer::new([3; 32]);
    let flight = dealer.deal(LEVEL(), 2, &[1, 2, 3], &input).unwrap();
    let shares: Vec<&[u32]> = (0..3).filter_map(|i| flight.share(i)).collect();
    assert_eq!(reconstruct(LEVEL(), &[1, 2, 3], &shares).unwrap(), input);
    let guess = reconstruct(LEVEL(), &[1, 3], &[shares[0], shares[2]]).unwrap();
    let hits = guess.iter().zip(&input).filter(|(a, b)| a == b).count();
    assert!(hits < 3, "{hits}");
}

/// Everything a dealer's flight may never repeat: seeds and what shares begin with.
fn masks(flight: &Flight, points: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for i in 0..points {
        if let Some(Sent::Seed(seed)) = flight.sent(i) {
            all.push(seed.to_vec());
        }
        let share = flight.share(i).unwrap();
        all.push(share[..4].iter().flat_map(|v| v.to_le_bytes()).collect());
    }
    all
}

/// What a session does to a dealer: (t, points, inputs), one after the other.
fn sessions_life(dealer: &mut Dealer) -> Vec<Vec<u8>> {
    let rows: Vec<Vec<i32>> = (0..6).map(|position| inputs(position, 16)).collect();
    let mut all = Vec::new();
    let mut fly = |t: usize, points: &[u8], input: &[i32]| {
        let flight = dealer.deal(LEVEL(), t, points, input).unwrap();
        all.extend(masks(&flight, points.len()));
    };
    for row in &rows {
        fly(1, &[1, 2, 3], row);
    }
    for row in &rows[3..] {
        fly(1, &[1, 2, 3], row); // rollback: the same positions, other drafts or the same
    }
    for _ in 0..3 {
        fly(1, &[1, 2, 3], &rows[5]); // retries of one flight
    }
    fly(1, &[1, 3], &rows[5]); // failover: without a holder
    fly(1, &[3, 1], &rows[5]); // in another order: another point carries the seed
    fly(1, &[1, 2, 4], &rows[5]); // with a new holder in its place
    fly(2, &[1, 2, 3, 4], &rows[5]); // under another scheme
    for _ in 0..2 {
        fly(1, &[1, 2], &[0; 16]); // dummies
    }
    all
}

#[test]
fn no_mask_is_ever_used_twice() {
    // Restarts are dealers with fresh entropy.
    let mut all = Vec::new();
    for entropy in 0..5 {
        let mut dealer = Dealer::new([entropy; 32]);
        all.extend(sessions_life(&mut dealer));
        assert_eq!(dealer.flights(), 18);
        all.extend(sessions_life(&mut dealer)); // another answer of the session
    }
    let different: BTreeSet<&Vec<u8>> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert!(all.len() >= 700, "{}", all.len());
    // The control: the same entropy again is what a restart must not do, and is noticed.
    all.extend(sessions_life(&mut Dealer::new([0; 32])));
    let different: BTreeSet<&Vec<u8>> = all.iter().collect();
    assert!(different.len() < all.len());
}

#[test]
fn refused_flights_spend_no_number_and_numbers_grow() {
    let mut dealer = Dealer::new([4; 32]);
    for (t, points) in [
        (0, &[1u8, 2][..]),
        (2, &[1, 2]),
        (1, &[1]),
        (usize::MAX, &[1, 2]),
    ] {
        let refused = dealer.deal(LEVEL(), t, points, &[1]);
        assert!(matches!(refused, Err(PrivacyError::Scheme { .. })));
    }
    for points in [&[][..], &[0, 1], &[1, 1], &[2; 17]] {
        let refused = dealer.deal(LEVEL(), 1, points, &[1]);
        assert!(matches!(refused, Err(PrivacyError::Points)));
    }
    assert_eq!(dealer.flights(), 0);
    for number in 0..3 {
        let flight = dealer.deal(LEVEL(), 1, &[1, 2], &[]).unwrap();
        assert_eq!(flight.number(), number);
        assert_eq!((flight.share(1), flight.share(2)), (Some(&[][..]), None));
    }
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    let (a, b) = ([1u32, 2], [3u32]);
    let refused =
        |points: &[u8], answers: &[&[u32]]| reconstruct(LEVEL(), points, answers).unwrap_err();
    assert!(matches!(
        refused(&[1, 2], &[&a]),
        PrivacyError::Shape { .. }
    ));
    assert!(matches!(
        refused(&[1, 2], &[&a, &b]),
        PrivacyError::Shape { .. }
    ));
    assert!(matches!(refused(&[1, 1], &[&a, &a]), PrivacyError::Points));
    assert!(matches!(refused(&[0, 1], &[&a, &a]), PrivacyError::Points));
    assert!(matches!(refused(&[], &[]), PrivacyError::Points));
}

#[test]
fn schemes_are_within_bounds_and_encode() {
    for t in 0..20 {
        for n in 0..20 {
            let scheme = Scheme::new(t, n);
            assert_eq!(scheme.is_ok(), 1 <= t && t < n && n <= 16, "({t}, {n})");
            let bytes = [t as u8, n as u8];
            let decoded = Scheme::decode(&mut Reader::new(&bytes));
            assert_eq!(decoded.ok(), scheme.as_ref().ok().copied());
            if let Ok(scheme) = scheme {
                assert_eq!((scheme.t(), scheme.n(), scheme.needed()), (t, n, t + 1));
                assert_eq!(scheme.to_string(), format!("({t}, {n})"));
                assert_eq!(scheme.to_bytes(), bytes);
            }
        }
    }
}

#[test]
fn debug_shows_no_secret() {
    let mut dealer = Dealer::new([0xab; 32]);
    let flight = dealer.deal(LEVEL(), 1, &[1, 2], &[-123_456]).unwrap();
    let sent = [flight.sent(0).unwrap(), flight.sent(1).unwrap()];
    let shown = format!("{dealer:?} {flight:?} {:?}", sent.map(Private::from));
    assert_eq!(
        shown,
        "Dealer(1 flights) Flight(0: 1 values over 2 points) [Private(Seed), Private(Values(1))]"
    );
}

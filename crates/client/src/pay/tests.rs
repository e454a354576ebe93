//! The payer against the payee of a node.

use super::*;
use nesa_finality::Domain;
use nesa_ledger::Address;
use nesa_pipeline::paid::Payee;
use proptest::prelude::*;

const CHUNK: u64 = 40;
const BUCKET: u64 = 16;
const PRICE: u128 = 7;

fn chain(n: u8) -> Chain {
    Chain {
        id: 5,
        domain: Domain::of_genesis(&Digest([n; 32])),
    }
}

fn terms(lane: u8, key: &SigningKey) -> LaneTerms {
    LaneTerms {
        session: Digest([3; 32]),
        lane,
        key: key.verifying_key().to_bytes(),
        price: Amount(PRICE),
        bucket: BUCKET,
        cap: Amount(PRICE * 100_000),
    }
}

fn pair() -> (Payer, Payee) {
    let key = SigningKey::from_bytes(&[9; 32]);
    let terms = terms(1, &key);
    let payee = Payee::new(
        chain(1),
        (terms, Voucher::nothing(&terms)),
        (Address([1; 20]), Digest([2; 32])),
        CHUNK,
    );
    (Payer::new(chain(1), terms, key, CHUNK, (None, 0)), payee)
}

proptest! {
    /// Whatever is asked for, delivered and paid in whatever order: an honest pair never stops, the
    /// node never serves more than a chunk unpaid, and the client never pays more than a chunk and
    /// a bucket ahead.
    #[test]
    fn neither_side_risks_more_than_a_chunk(steps in prop::collection::vec((1u64..200, 0u8..4), 1..80)) {
        let (mut payer, mut payee) = pair();
        let mut delivered = 0;
        let mut asked = 0;
        for (quarters, what) in steps {
            match what {
                0 | 1 => match payer.before(quarters) {
                    Ok(voucher) => {
                        if let Some(v) = voucher {
                            payee.take(&v).unwrap();
                        }
                        asked += quarters;
                        prop_assert!(payee.charge(quarters));
                    }
                    Err(e) => {
                        prop_assert_eq!(e, PayError::Ahead);
                        prop_assert!(!payer.may(quarters));
                    }
                },
                2 => {
                    payer.delivered(quarters);
                    delivered = (delivered + quarters).min(asked);
                }
                _ => if let Some(v) = payer.pay(None).unwrap() {
                    payee.take(&v).unwrap();
                },
            }
            let unpaid = payee.served().saturating_sub(payee.paid());
            prop_assert!(unpaid <= CHUNK);
            let ahead = payer.state().0.work.saturating_sub(delivered.div_ceil(QUARTERS));
            prop_assert!(ahead < CHUNK + BUCKET);
            prop_assert_eq!(payer.paid(), Amount(PRICE * u128::from(payee.paid())));
        }
    }

    /// A client that does not pay is served at most one chunk, whatever the steps.
    #[test]
    fn a_client_that_stops_paying_is_stopped(steps in prop::collection::vec(1u64..100, 1..200)) {
        let (_, mut payee) = pair();
        for q in steps {
            let _ = payee.charge(q);
        }
        prop_assert!(payee.served() <= CHUNK);
    }

    /// A voucher with any one byte changed is refused, and the one before stands.
    #[test]
    fn a_changed_voucher_is_refused(at in 0usize..Voucher::BYTES + 64, bit in 0u8..8) {
        use nesa_codec::{Decode as _, Encode as _};
        let (mut payer, mut payee) = pair();
        payer.before(160).unwrap();
        payer.delivered(160);
        let good = payer.pay(None).unwrap().unwrap();
        let mut bytes = good.to_bytes();
        bytes[at] ^= 1 << bit;
        if let Ok(bad) = SignedVoucher::from_bytes(&bytes) {
            prop_assert!(payee.take(&bad).is_err());
        }
        prop_assert_eq!(payee.paid(), 0);
        payee.take(&good).unwrap();
        prop_assert_eq!(payee.paid(), 48);
    }
}

#[test]
fn replayed_lower_and_foreign_vouchers_are_refused() {
    let (mut payer, mut payee) = pair();
    payer.before(160).unwrap();
    payer.delivered(160);
    let first = payer.pay(None).unwrap().unwrap();
    payee.take(&first).unwrap();
    assert_eq!(payee.take(&first), Err(VoucherError::Stale(1)));
    assert!(
        payer.before(100).unwrap().is_none(),
        "25 units are within a chunk"
    );
    payer.delivered(100);
    let second = payer.pay(None).unwrap().unwrap();
    payee.take(&second).unwrap();
    assert_eq!(payee.take(&first), Err(VoucherError::Stale(2)));
    // Another lane, another chain, another key.
    let key = SigningKey::from_bytes(&[9; 32]);
    for (chain, terms, key) in [
        (chain(1), terms(2, &key), key.clone()),
        (chain(2), terms(1, &key), key.clone()),
        (chain(1), terms(1, &key), SigningKey::from_bytes(&[8; 32])),
    ] {
        let mut other = Payer::new(
            chain,
            terms,
            key,
            CHUNK,
            (
                Some(Voucher {
                    lane: terms.lane,
                    ..second.voucher
                }),
                260,
            ),
        );
        other.delivered = 0;
        other.sent = 2_000;
        other.delivered(2_000);
        let foreign = other.pay(None).unwrap().unwrap();
        assert!(payee.take(&foreign).is_err());
    }
    let last = payer.last().unwrap();
    payee.take(&last).unwrap();
    assert!(payee.is_over() && !payee.charge(1));
    assert_eq!(payer.before(10_000), Err(PayError::Ahead));
}

#[test]
fn a_lane_is_never_overdrawn() {
    let key = SigningKey::from_bytes(&[9; 32]);
    let mut terms = terms(0, &key);
    terms.cap = Amount(PRICE * 64);
    let mut payer = Payer::new(chain(1), terms, key, CHUNK, (None, 0));
    assert!(payer.holds(64) && !payer.holds(65));
    payer.before(4 * 65).unwrap();
    payer.delivered(4 * 65);
    assert!(matches!(
        payer.pay(None),
        Err(PayError::Terms(VoucherError::Cap(_)))
    ));
}

#[test]
fn shares_sum_to_one_and_follow_layers() {
    assert_eq!(shares(&[1, 1, 1]), Some(vec![333_334, 333_333, 333_333]));
    assert_eq!(shares(&[3, 1]), Some(vec![750_000, 250_000]));
    assert_eq!(shares(&[]), None);
    assert_eq!(shares(&[1, 0]), None);
}

#[test]
fn what_was_not_proven_is_not_paid() {
    let (mut payer, mut payee) = pair();
    for _ in 0..2 {
        payer.before(4 * BUCKET).unwrap();
        payer.delivered(4 * BUCKET);
    }
    let paid = payer.pay(None).unwrap().unwrap();
    payee.take(&paid).unwrap();
    assert_eq!(payee.paid(), 2 * BUCKET);
    payer.before(4 * BUCKET).unwrap();
    payer.delivered(4 * BUCKET);
    payer.withhold();
    let last = payer.last().unwrap();
    payee.take(&last).unwrap();
    assert_eq!(payee.paid(), 2 * BUCKET, "delivered, but never proven");
    assert!(payee.is_over());
}

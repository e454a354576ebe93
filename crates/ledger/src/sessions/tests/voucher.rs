//! What a node checks without a chain.

use nesa_codec::{Decode as _, Digest, Encode as _};
use nesa_finality::Domain;

use super::*;
use crate::sessions::{CLAIM_BYTES, LaneTerms, VoucherError, bucketed};

fn terms() -> LaneTerms {
    LaneTerms {
        session: Digest([1; 32]),
        lane: 2,
        key: session_key(0).verifying_key().to_bytes(),
        price: Amount(PRICE),
        bucket: 4,
        cap: Amount(300),
    }
}

fn here() -> Chain {
    Chain {
        id: 7,
        domain: Domain::of_genesis(&Digest([9; 32])),
    }
}

#[test]
fn a_node_takes_what_the_ledger_will_pay() {
    let (chain, terms) = (here(), terms());
    let first = sign(&chain, 0, voucher(terms.session, 2, 1, 8));
    assert_eq!(first.verify(&chain, &terms, None), Ok(()));
    let next = sign(&chain, 0, voucher(terms.session, 2, 5, 100));
    assert_eq!(next.verify(&chain, &terms, Some(&first.voucher)), Ok(()));
    let replayed = first.verify(&chain, &terms, Some(&first.voucher));
    assert_eq!(replayed, Err(VoucherError::Stale(1)));
    let backwards = first.verify(&chain, &terms, Some(&next.voucher));
    assert_eq!(backwards, Err(VoucherError::Stale(5)));
    let less = sign(&chain, 0, voucher(terms.session, 2, 6, 96));
    let less = less.verify(&chain, &terms, Some(&next.voucher));
    assert_eq!(less, Err(VoucherError::Stale(5)), "work never shrinks");
    let above = sign(&chain, 0, voucher(terms.session, 2, 6, 104));
    let above = above.verify(&chain, &terms, Some(&next.voucher));
    assert_eq!(above, Err(VoucherError::Cap(Amount(300))));
    let odd = sign(&chain, 0, voucher(terms.session, 2, 6, 99));
    assert_eq!(
        odd.verify(&chain, &terms, None),
        Err(VoucherError::Bucket(4))
    );
    let mut dear = voucher(terms.session, 2, 1, 8);
    dear.amount = Amount(25);
    let dear = sign(&chain, 0, dear).verify(&chain, &terms, None);
    assert_eq!(dear, Err(VoucherError::Price));
    let mut last = voucher(terms.session, 2, 1, 8);
    last.last = true;
    let after = next.verify(&chain, &terms, Some(&last));
    assert_eq!(after, Err(VoucherError::Ended));
}

#[test]
fn a_signature_is_good_in_one_place() {
    let (chain, terms) = (here(), terms());
    let signed = sign(&chain, 0, voucher(terms.session, 2, 1, 8));
    let fork = Chain {
        domain: Domain::of_genesis(&Digest([8; 32])),
        ..chain
    };
    for other in [Chain { id: 8, ..chain }, fork] {
        let refused = signed.verify(&other, &terms, None);
        assert_eq!(refused, Err(VoucherError::Signature));
    }
    for other in [
        LaneTerms { lane: 1, ..terms },
        LaneTerms {
            session: Digest([2; 32]),
            ..terms
        },
    ] {
        let refused = signed.verify(&chain, &other, None);
        assert_eq!(refused, Err(VoucherError::Elsewhere));
        let mut moved = signed;
        (moved.voucher.session, moved.voucher.lane) = (other.session, other.lane);
        let refused = moved.verify(&chain, &other, None);
        assert_eq!(refused, Err(VoucherError::Signature));
    }
    let other = LaneTerms {
        key: session_key(1).verifying_key().to_bytes(),
        ..terms
    };
    let refused = signed.verify(&chain, &other, None);
    assert_eq!(refused, Err(VoucherError::Signature));
}

#[test]
fn every_bit_of_a_claim_counts() {
    let chain = here();
    let whole = claim(&chain, 0, voucher(terms().session, 2, 1, 8));
    let bytes = whole.to_bytes();
    assert_eq!(bytes.len(), CLAIM_BYTES);
    assert_eq!(Claim::from_bytes(&bytes), Ok(whole));
    let commitment = commit_payee(&whole.payee, &whole.salt);
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = Claim::from_bytes(&changed) else {
            continue;
        };
        let signed = changed.signed.verify(&chain, &terms(), None);
        let named = commit_payee(&changed.payee, &changed.salt) == commitment;
        assert!(signed.is_err() || !named, "bit {bit}");
    }
}

#[test]
fn work_is_rounded_up_to_buckets() {
    assert_eq!(bucketed(0, 4), Some(0));
    assert_eq!(bucketed(1, 4), Some(4));
    assert_eq!(bucketed(8, 4), Some(8));
    assert_eq!(bucketed(8, 0), Some(8));
    assert_eq!(bucketed(u64::MAX, 4), None);
}

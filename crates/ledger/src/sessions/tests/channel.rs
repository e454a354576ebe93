//! The life of a session, transaction by transaction.

use alloy_primitives::U256;

use super::*;
use crate::sessions::abi::ISessions::{requestCloseCall, settleManyCall, topUpCall};
use crate::sessions::{AUDITORS, Stage, sessions_of};
use crate::supply::Pot;
use crate::testing::RICH;

#[test]
fn a_session_costs_two_transactions_and_pays_to_the_unit() {
    let mut w = world();
    let (before, publisher) = (w.balance(2), w.balance(PUBLISHER));
    let id = opened(&mut w, 2, 0, 100_000, 30, &[500_000, 500_000]);
    assert_eq!(held(&w, &id), Amount(100_000));
    let here = chain(&w);
    let last = |lane, work| Voucher {
        last: true,
        ..voucher(id, lane, 9, work)
    };
    let claims = [last(0, 4_004), last(1, 8_000)];
    let claims = claims.map(|v| claim(&here, 0, v).to_bytes().into());
    let burned = crate::query::supply(&w.tip.state).unwrap().1;
    let pot = |w: &World, p: &Pot| supply::held(&w.tip.state, p).unwrap().0;
    let treasury = pot(&w, &Pot::TREASURY);
    let many = settleManyCall {
        claims: claims.to_vec(),
    };
    let receipt = w.call(4, ADDRESS, Amount::ZERO, &many);
    assert!(receipt.succeeded, "{}", receipt.reason);
    // 12,012 and 24,000 units.
    assert_eq!(
        balance(&w, payee(0, 0)),
        Amount(10_210),
        "85 %, rounded down"
    );
    assert_eq!(balance(&w, payee(0, 1)), Amount(20_400));
    assert_eq!(pot(&w, &AUDITORS), 600 + 1_200);
    let fee = u128::from(receipt.gas_used) * (receipt.gas_price - 1_000);
    let all_burned = crate::query::supply(&w.tip.state).unwrap().1;
    assert_eq!(all_burned.0 - burned.0 - fee, 360 + 720);
    let royalty = w.balance(PUBLISHER).minus(publisher);
    assert_eq!(
        royalty,
        Some(Amount(480 + 960)),
        "4 %, the publisher's word"
    );
    let rest = 36_012 - 10_210 - 20_400 - 1_440 - 1_800 - 1_080;
    assert_eq!(pot(&w, &Pot::TREASURY) - treasury, rest);
    assert_eq!(held(&w, &id), Amount::ZERO, "the rest came back at once");
    assert_eq!(stage(&w, &id), Some(Stage::Closed));
    assert!(
        before.minus(w.balance(2)).unwrap() > Amount(36_012),
        "and a fee"
    );
    w.wait(5);
    assert_eq!(stage(&w, &id), None, "long over");
}

#[test]
fn what_an_opening_must_be() {
    let mut w = world();
    let half = [500_000, 500_000];
    let good = open(0, 30, &half);
    let mut bad = Vec::new();
    let mut refuse = |call, sum, why: &'static str| bad.push((call, sum, why));
    refuse(good.clone(), 999, "escrow");
    refuse(open(0, 2, &half), 2_000, "expiry");
    refuse(open(0, 60, &half), 2_000, "expiry");
    refuse(open(0, 30, &[]), 2_000, "lanes");
    refuse(open(0, 30, &[500_000]), 2_000, "lanes");
    refuse(open(0, 30, &[1_000_000, 0]), 2_000, "lanes");
    refuse(open(0, 30, &[u32::MAX, 1_000_001]), 2_000, "lanes");
    refuse(open(0, 30, &[15_625; 65]), 2_000, "lanes");
    let mut call = good.clone();
    call.shares.push(1);
    refuse(call, 2_000, "lanes");
    let mut call = good.clone();
    call.key = [0; 32].into();
    refuse(call, 2_000, "ed25519");
    let mut call = good.clone();
    call.price = U256::from(1);
    refuse(call, 2_000, "at least 0.000000000000000002 NES");
    let mut call = good.clone();
    call.model = [6; 32].into();
    refuse(call, 2_000, "no model");
    let mut call = good;
    call.price = U256::MAX;
    refuse(call, 2_000, "price");
    for (call, sum, why) in bad {
        let receipt = w.call(2, ADDRESS, Amount(sum), &call);
        assert!(!receipt.succeeded, "{why}");
        assert!(receipt.reason.contains(why), "{why}: {}", receipt.reason);
    }
    assert_eq!(
        supply::total(&w.tip.state, supply::Kind::Escrow),
        Ok(Amount::ZERO)
    );
}

#[test]
fn no_voucher_is_paid_twice_or_elsewhere() {
    let mut w = world();
    let id = opened(&mut w, 2, 0, 10_000, 30, &[600_000, 400_000]);
    let other = opened(&mut w, 2, 0, 10_000, 30, &[600_000, 400_000]);
    assert_ne!(id, other, "same key, same terms, another session");
    let here = chain(&w);
    let paid = claim(&here, 0, voucher(id, 0, 2, 400));
    assert!(settle(&mut w, &paid).succeeded);
    let mut moved = paid;
    moved.signed.voucher.session = other;
    let mut thief = claim(&here, 0, voucher(id, 0, 3, 800));
    thief.payee = address(4);
    let mut forged = claim(&here, 0, voucher(id, 0, 3, 800));
    forged.signed.voucher.work = 804;
    forged.signed.voucher.amount = Amount(804 * PRICE);
    let far = Chain { id: 1, ..here };
    let bad = [
        (paid, "not after sequence 2"),
        (
            claim(&here, 0, voucher(id, 0, 1, 400)),
            "not after sequence 2",
        ),
        (
            claim(&here, 0, voucher(id, 0, 3, 396)),
            "not after sequence 2",
        ),
        (moved, "did not sign"),
        (thief, "does not pay this address"),
        (forged, "did not sign"),
        (claim(&far, 0, voucher(id, 0, 3, 800)), "did not sign"),
        (claim(&here, 0, voucher(id, 0, 3, 2_004)), "the lane holds"),
        (claim(&here, 0, voucher(id, 2, 3, 400)), "no session"),
        (
            claim(&here, 0, voucher(Digest([3; 32]), 0, 3, 400)),
            "no session",
        ),
    ];
    for (claim, why) in bad {
        let receipt = settle(&mut w, &claim);
        assert!(!receipt.succeeded, "{why}");
        assert!(receipt.reason.contains(why), "{why}: {}", receipt.reason);
    }
    assert_eq!(held(&w, &id), Amount(10_000 - 1_200));
    // The whole of lane 0 is out of reach of lane 1.
    assert!(settle(&mut w, &claim(&here, 0, voucher(id, 1, 1, 1_332))).succeeded);
    assert!(settle(&mut w, &claim(&here, 0, voucher(id, 0, 3, 2_000))).succeeded);
    assert_eq!(held(&w, &id), Amount(10_000 - 6_000 - 3_996));
}

#[test]
fn one_bad_claim_does_not_stop_the_others() {
    let mut w = world();
    let ids = [0, 1, 2].map(|n| opened(&mut w, 2 + n, n, 10_000, 30, &[1_000_000]));
    let here = chain(&w);
    assert!(settle(&mut w, &claim(&here, 1, voucher(ids[1], 0, 1, 400))).succeeded);
    let claims = [0, 1, 2].map(|n| claim(&here, n, voucher(ids[usize::from(n)], 0, 1, 400)));
    let many = settleManyCall {
        claims: claims.iter().map(|c| c.to_bytes().into()).collect(),
    };
    let receipt = w.call(5, ADDRESS, Amount::ZERO, &many);
    assert!(receipt.succeeded, "{}", receipt.reason);
    assert_eq!(receipt.logs.len(), 3, "two settled, one told why not");
    for n in 0..3 {
        assert_eq!(balance(&w, payee(n, 0)), Amount(1_020));
    }
    let receipt = w.call(5, ADDRESS, Amount::ZERO, &many);
    assert!(!receipt.succeeded, "nothing new");
    let none = settleManyCall { claims: vec![] };
    assert!(!w.call(5, ADDRESS, Amount::ZERO, &none).succeeded);
    let junk = settleManyCall {
        claims: vec![vec![7; 10].into(), vec![0; 1_000].into()],
    };
    assert!(!w.call(5, ADDRESS, Amount::ZERO, &junk).succeeded);
}

#[test]
fn a_close_leaves_time_to_settle() {
    let mut w = world();
    let id = opened(&mut w, 2, 0, 10_000, 30, &[1_000_000]);
    let here = chain(&w);
    let session = id.0.into();
    let close = requestCloseCall { session };
    let denied = w.call(3, ADDRESS, Amount::ZERO, &close);
    assert!(
        denied.reason.contains("only who opened"),
        "{}",
        denied.reason
    );
    assert!(w.call(2, ADDRESS, Amount::ZERO, &close).succeeded);
    let again = w.call(2, ADDRESS, Amount::ZERO, &close);
    assert!(!again.succeeded, "the grace is not extended");
    let late = topUpCall { session, expiry: 0 };
    assert!(!w.call(2, ADDRESS, Amount(5_000), &late).succeeded);
    assert_eq!(stage(&w, &id), Some(Stage::Closing));
    // Closing since height 4, over before the transactions of height 7.
    let mut w2 = World {
        ledger: w.ledger.clone(),
        tip: w.tip.clone(),
    };
    assert_eq!(w.tip.header.height, 6);
    let claim = claim(&here, 0, voucher(id, 0, 1, 400));
    let receipt = settle(&mut w2, &claim);
    assert!(!receipt.succeeded, "after the grace");
    assert_eq!(stage(&w2, &id), Some(Stage::Closed));
    assert_eq!(held(&w2, &id), Amount::ZERO);
    assert_eq!(balance(&w2, payee(0, 0)), Amount::ZERO);
}

#[test]
fn a_claim_settles_during_the_grace_and_the_rest_returns() {
    let mut w = world();
    let id = opened(&mut w, 2, 0, 10_000, 30, &[1_000_000]);
    let here = chain(&w);
    let close = requestCloseCall {
        session: id.0.into(),
    };
    let spent = |r: &Receipt| u128::from(r.gas_used) * r.gas_price;
    let fee = spent(&w.call(2, ADDRESS, Amount::ZERO, &close));
    let before = w.balance(2);
    assert!(settle(&mut w, &claim(&here, 0, voucher(id, 0, 1, 400))).succeeded);
    w.wait(3);
    assert_eq!(stage(&w, &id), Some(Stage::Closed));
    assert_eq!(w.balance(2).minus(before), Some(Amount(8_800)));
    assert!(fee > 0 && w.balance(2) < RICH);
}

#[test]
fn more_escrow_and_more_time() {
    let mut w = world();
    let id = opened(&mut w, 2, 0, 3_000, 10, &[500_000, 500_000]);
    let here = chain(&w);
    let rich = claim(&here, 0, voucher(id, 0, 1, 800));
    assert!(!settle(&mut w, &rich).succeeded, "the lane holds 1,500");
    let session = id.0.into();
    let more = topUpCall {
        session,
        expiry: 20,
    };
    assert!(!w.call(3, ADDRESS, Amount(3_000), &more).succeeded);
    assert!(w.call(2, ADDRESS, Amount(3_000), &more).succeeded);
    for expiry in [19, 100] {
        let wrong = topUpCall { session, expiry };
        let receipt = w.call(2, ADDRESS, Amount(1), &wrong);
        assert!(receipt.reason.contains("expiry"), "{}", receipt.reason);
    }
    assert!(settle(&mut w, &rich).succeeded);
    w.wait(10);
    assert_eq!(
        stage(&w, &id),
        Some(Stage::Open),
        "the first expiry is past"
    );
    w.wait(4);
    assert_eq!(w.tip.header.height, 22);
    assert_eq!(stage(&w, &id), Some(Stage::Closed));
    assert_eq!(held(&w, &id), Amount::ZERO);
}

#[test]
fn lists_come_in_pages() {
    let mut w = world();
    let mut ids: Vec<_> = (0..5)
        .map(|n| opened(&mut w, 2, n, 1_000, 30, &[1_000_000]))
        .collect();
    opened(&mut w, 3, 9, 1_000, 30, &[1_000_000]);
    ids.sort();
    let state = &w.tip.state;
    let list = |after, n| sessions_of(state, &address(2), after, n).unwrap();
    assert_eq!(list(None, 1_000), ids);
    assert_eq!(list(None, 2), ids[..2]);
    assert_eq!(list(Some(&ids[1]), 2), ids[2..4]);
    assert_eq!(list(Some(&ids[4]), 2), []);
    let (session, lanes) = find(state, &ids[0]).unwrap().unwrap();
    assert_eq!((session.payer, lanes.len()), (address(2), 1));
    let terms = crate::sessions::lane_terms(state, &ids[0], 0)
        .unwrap()
        .unwrap();
    assert_eq!((terms.cap, terms.price), (Amount(1_000), Amount(PRICE)));
}

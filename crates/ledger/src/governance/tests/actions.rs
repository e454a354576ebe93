//! What proposals do, and what they cannot.

use super::super::{FIXED, GovError};
use super::*;
use crate::params::ParamError;
use crate::sessions::SessionError;
use crate::sessions::abi::ISessions::openCall;
use crate::supply::{self, Pot};
use crate::testing::{sign, vote_key};
use crate::tx::Unsigned;

/// A model that anyone may use at any price.
fn model(g: &mut Gov) {
    let call = crate::models::abi::IModels::registerCall {
        model: [5; 32].into(),
        previous: [0; 32].into(),
        manifest: [6; 32].into(),
        shards: vec![[1; 32].into()],
        price: U256::ZERO,
        royalty: 0,
        modes: 1,
        allowed: vec![],
    };
    ok(&g.call_at(7, crate::models::ADDRESS, Amount::ZERO, &call));
}

fn open(g: &mut Gov, price: u64) -> Receipt {
    let call = openCall {
        key: vote_key(50).verifying_key().to_bytes().into(),
        model: [5; 32].into(),
        price: U256::from(price),
        expiry: g.height() + 10_000,
        payees: vec![[3; 32].into()],
        shares: vec![1_000_000],
    };
    g.call_at(6, crate::sessions::ADDRESS, Amount::nes(1), &call)
}

#[test]
fn a_price_is_proposed_voted_on_locked_and_holds_for_sessions_opened_afterwards() {
    let mut g = Gov::new(params());
    model(&mut g);
    let n = g.propose(2, "session_price_min", 9);
    g.pass(n);
    let executes = g.row(n).executes;
    ok(&open(&mut g, 8));
    let before = g.w.tip.state.clone();
    let early = crate::sessions::sessions_of(&before, &address(6), None, 9).unwrap()[0];
    no(&g.execute(3, n), &GovError::Timelock(executes));
    g.wait_until(executes - 1);
    let value = |g: &Gov| Params::of(&g.w.tip.state).unwrap().session_price_min;
    assert_eq!(value(&g), Amount(1));
    g.wait(1);
    assert_eq!((g.row(n).stage, value(&g)), (Stage::Executed, Amount(9)));
    let refused = open(&mut g, 8);
    let why = SessionError::PriceLow(Amount(9));
    assert!(!refused.succeeded);
    assert_eq!(refused.reason, why.to_string());
    ok(&open(&mut g, 9));
    let kept = crate::sessions::find(&g.w.tip.state, &early).unwrap();
    assert_eq!(
        kept.unwrap().0.price,
        Amount(8),
        "the open one keeps its price"
    );
    no(&g.execute(3, n), &GovError::NotQueued);
}

#[test]
fn what_is_out_of_bounds_fixed_or_unknown_is_refused_at_once() {
    let mut g = Gov::new(params());
    for (name, value, why) in [
        ("seats", 101, ParamError::Bounds("seats")),
        (
            "slash_burn_ppm",
            499_999,
            ParamError::Bounds("slash_burn_ppm"),
        ),
        (
            "gov_threshold_ppm",
            499_999,
            ParamError::Bounds("gov_threshold_ppm"),
        ),
        ("admin", 1, ParamError::Unknown),
        ("", 1, ParamError::Unknown),
    ] {
        let refused = g.call(2, DEPOSIT, &parameter(name, value));
        no(&refused, &GovError::Param(why));
    }
    let long = "a".repeat(65);
    no(
        &g.call(2, DEPOSIT, &parameter(&long, 1)),
        &GovError::Param(ParamError::Unknown),
    );
    for name in FIXED {
        let refused = g.call(2, DEPOSIT, &parameter(name, 1));
        no(&refused, &GovError::Fixed(name));
    }
    let step = GovError::Step {
        name: "gov_voting_blocks",
        least: 3,
        most: 12,
    };
    no(
        &g.call(2, DEPOSIT, &parameter("gov_voting_blocks", 13)),
        &step,
    );
    ok(&g.call(2, DEPOSIT, &parameter("gov_voting_blocks", 12)));
}

#[test]
fn a_change_that_left_its_bounds_meanwhile_waits_and_expires() {
    let mut g = Gov::new(params());
    let to = |v| parameter("gov_expiry_blocks", v).abi_encode();
    let all = in_one_block(&mut g, &[to(3), to(10), to(4)]);
    all_yes(&mut g, &all);
    let executes = g.row(1).ends + params().gov_timelock_blocks;
    g.wait_until(executes);
    let stages = |g: &Gov| all.iter().map(|n| g.row(*n).stage).collect::<Vec<_>>();
    let (done, waits) = (Stage::Executed, Stage::Queued);
    assert_eq!(stages(&g), [done, waits, done], "10 is too far from 3");
    let step = GovError::Step {
        name: "gov_expiry_blocks",
        least: 2,
        most: 8,
    };
    no(&g.execute(7, 2), &step);
    g.wait_until(executes + params().gov_expiry_blocks);
    assert_eq!(stages(&g), [done, Stage::Expired, done]);
    let now = Params::of(&g.w.tip.state).unwrap();
    assert_eq!(now.gov_expiry_blocks, 4);
}

#[test]
fn the_treasury_pays_within_its_bounds_only() {
    let mut g = Gov::new(params());
    let held = |g: &Gov| supply::held(&g.w.tip.state, &Pot::TREASURY).unwrap();
    let most = held(&g).ppm(params().gov_spend_ppm);
    assert_eq!(most.0, Amount::nes(5).0 / 20);
    let to = address(50);
    let more = most.plus(Amount(1)).unwrap();
    no(
        &g.call(2, DEPOSIT, &payment(to, more)),
        &GovError::Overspend(most),
    );
    no(
        &g.call(2, DEPOSIT, &payment(to, Amount::ZERO)),
        &GovError::Payment,
    );
    no(
        &g.call(2, DEPOSIT, &payment(ADDRESS, most)),
        &GovError::Payment,
    );
    let n = g.spend(2, to, most);
    g.pass(n);
    let before = held(&g);
    g.wait_until(g.row(n).executes);
    assert_eq!(g.row(n).stage, Stage::Executed);
    assert_eq!(g.w.balance(50), most);
    assert_eq!(held(&g), before.minus(most).unwrap());
}

/// Proposals with these calls, made in one block.
fn in_one_block(g: &mut Gov, calls: &[Vec<u8>]) -> Vec<u64> {
    let nonce = g.w.nonce(2);
    let one = |(nonce, input): (u64, &Vec<u8>)| {
        let body = Unsigned {
            nonce,
            to: Some(ADDRESS),
            value: DEPOSIT,
            input: input.clone(),
            ..g.w.body(2)
        };
        sign(2, body)
    };
    let txs: Vec<_> = (nonce..).zip(calls).map(one).collect();
    let done = g.w.block(&txs, &[]);
    g.states.push(g.w.tip.state.clone());
    assert!(done.receipts.iter().all(|r| r.succeeded));
    (1..=calls.len() as u64).collect()
}

/// All of some persons vote yes on proposals, in one block.
fn all_yes(g: &mut Gov, proposals: &[u64]) {
    let mut txs = Vec::new();
    for who in 3..6 {
        let nonce = g.w.nonce(who);
        for (nonce, n) in (nonce..).zip(proposals) {
            let state = &g.states[g.row(*n).snapshot as usize];
            let bytes = holdings(state, &address(who)).unwrap().to_bytes();
            let call = voteCall {
                id: *n,
                choice: 1,
                holdings: bytes.into(),
            };
            txs.push(sign(
                who,
                Unsigned {
                    nonce,
                    to: Some(ADDRESS),
                    input: call.abi_encode(),
                    ..g.w.body(who)
                },
            ));
        }
    }
    let done = g.w.block(&txs, &[]);
    g.states.push(g.w.tip.state.clone());
    assert!(done.receipts.iter().all(|r| r.succeeded));
}

#[test]
fn a_period_is_not_overspent_and_what_waits_is_paid_in_the_next_or_expires() {
    let rules = Params {
        gov_expiry_blocks: 12,
        gov_period_blocks: 10,
        gov_period_ppm: 100_000,
        ..params()
    };
    let mut g = Gov::new(rules.clone());
    let held = supply::held(&g.w.tip.state, &Pot::TREASURY).unwrap();
    // Three times a 25th of the treasury; a tenth may go per period.
    let each = Amount(held.0 / 25);
    let call = payment(address(50), each).abi_encode();
    let all = in_one_block(&mut g, &vec![call; 5]);
    all_yes(&mut g, &all);
    let executes = g.row(1).ends + rules.gov_timelock_blocks;
    g.wait_until(executes);
    let stages = |g: &Gov| all.iter().map(|n| g.row(*n).stage).collect::<Vec<_>>();
    let two = [
        Stage::Executed,
        Stage::Executed,
        Stage::Queued,
        Stage::Queued,
        Stage::Queued,
    ];
    assert_eq!(stages(&g), two);
    let left = held.ppm(100_000).minus(each.times(2).unwrap()).unwrap();
    let why = GovError::Period {
        left,
        until: executes + 9,
    };
    no(&g.execute(7, 3), &why);
    g.wait_until(executes + 9);
    ok(&g.execute(7, 3));
    assert_eq!(g.row(3).stage, Stage::Executed);
    // The queue tries once more at the end, and this period has room for one more.
    g.wait_until(executes + 12);
    let last = [
        Stage::Executed,
        Stage::Executed,
        Stage::Executed,
        Stage::Executed,
        Stage::Expired,
    ];
    assert_eq!(stages(&g), last);
    assert_eq!(g.w.balance(50), each.times(4).unwrap());
    no(&g.execute(7, 5), &GovError::NotQueued);
}

//! Random sequences of transactions against a model that is small enough to be right.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use proptest::prelude::*;

use crate::staking::abi::IStaking;
use crate::supply::{self, KINDS};
use crate::testing::{PEOPLE, RICH, World, address, sign, validator};
use crate::tx::{Pricing, Tx, Unsigned};
use crate::{Address, Amount, Params};

#[derive(Debug, Clone)]
enum Step {
    Send { from: u8, to: u8, value: u128 },
    Delegate { who: u8, to: u8, sum: u64 },
    Undelegate { who: u8, from: u8, sum: Option<u64> },
    Withdraw { who: u8, from: u8 },
    Garbage { who: u8, data: Vec<u8>, value: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 2..PEOPLE;
    let sum = 0..3_000u64;
    prop_oneof![
        (2..PEOPLE, 2..PEOPLE, prop_oneof![0..RICH.0, 0..2 * RICH.0])
            .prop_map(|(from, to, value)| Step::Send { from, to, value }),
        (who.clone(), 0..3u8, sum.clone()).prop_map(|(who, to, sum)| Step::Delegate {
            who,
            to,
            sum
        }),
        (who.clone(), 0..3u8, proptest::option::of(sum))
            .prop_map(|(who, from, sum)| Step::Undelegate { who, from, sum }),
        (who.clone(), 0..3u8).prop_map(|(who, from)| Step::Withdraw { who, from }),
        (
            who,
            proptest::collection::vec(any::<u8>(), 0..80),
            any::<u64>()
        )
            .prop_map(|(who, data, value)| Step::Garbage { who, data, value }),
    ]
}

fn tx(world: &World, step: &Step, nonces: &mut BTreeMap<u8, u64>) -> Tx {
    let nes = |n: u64| Amount::nes(n);
    let module = crate::staking::ADDRESS;
    let key = |v: u8| validator(v).into();
    let (who, to, value, input) = match step.clone() {
        Step::Send { from, to, value } => (from, address(to), Amount(value), vec![]),
        Step::Delegate { who, to, sum } => {
            let validator = key(to);
            let call = IStaking::delegateCall { validator };
            (who, module, nes(sum), call.abi_encode())
        }
        Step::Undelegate { who, from, sum } => {
            let amount = sum.map_or(U256::MAX, |s| nes(s).to_u256());
            let validator = key(from);
            let call = IStaking::undelegateCall { validator, amount };
            (who, module, Amount::ZERO, call.abi_encode())
        }
        Step::Withdraw { who, from } => {
            let validator = key(from);
            let call = IStaking::withdrawRewardsCall { validator };
            (who, module, Amount::ZERO, call.abi_encode())
        }
        Step::Garbage { who, data, value } => (who, module, Amount(value.into()), data),
    };
    let nonce = nonces.entry(who).or_insert_with(|| world.nonce(who));
    let body = Unsigned {
        nonce: *nonce,
        to: Some(to),
        value,
        input,
        ..world.body(who)
    };
    *nonce += 1;
    sign(who, body)
}

fn params() -> Params {
    Params {
        epoch_blocks: 3,
        unbonding_blocks: 4,
        emission: Amount::nes(10),
        ..Params::default()
    }
}

/// Every block conserves the supply (`World::block` recounts all pots), proposer and verifier agree,
/// two executions agree, and every transaction of a block has its receipt.
fn nothing_is_lost(blocks: &[Vec<Step>]) {
    let (mut world, mut twin) = (World::new(params()), World::new(params()));
    for steps in blocks {
        let mut nonces = BTreeMap::new();
        let txs: Vec<_> = steps.iter().map(|s| tx(&world, s, &mut nonces)).collect();
        let done = world.block(&txs, &[]);
        let again = twin.block(&txs, &[]);
        assert_eq!(done.block.header.digest(), again.block.header.digest());
        for t in &txs {
            let told = done.receipts.iter().any(|r| r.tx == t.hash());
            let kept = done.block.body.txs.iter().any(|b| b == t.bytes());
            assert_eq!(told, kept);
        }
        let total = |k| supply::total(&world.tip.state, k).unwrap().0;
        let minted = supply::minted(&world.tip.state).unwrap();
        assert_eq!(minted.0, KINDS.iter().map(|k| total(*k)).sum::<u128>());
        assert_eq!(total(supply::Kind::Fees), 0);
    }
    // Whatever left a bond arrives.
    world.wait(params().unbonding_blocks);
    let unbonding = supply::total(&world.tip.state, supply::Kind::Unbonding);
    assert_eq!(unbonding, Ok(Amount::ZERO));
}

fn sequences() -> impl Strategy<Value = Vec<Vec<Step>>> {
    proptest::collection::vec(proptest::collection::vec(step(), 0..6), 1..8)
}

#[test]
#[ignore = "a hundred thousand sequences take half an hour of a release build"]
fn nothing_is_lost_or_made_in_a_hundred_thousand_sequences() {
    let config = ProptestConfig::with_cases(100_000);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let run = runner.run(&sequences(), |blocks| {
        nothing_is_lost(&blocks);
        Ok(())
    });
    run.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nothing_is_lost_or_made(blocks in sequences()) {
        nothing_is_lost(&blocks);
    }

    /// Transfers alone: balances and nonces equal those of a plain map.
    #[test]
    fn transfers_do_what_a_map_of_balances_does(
        blocks in proptest::collection::vec(
            proptest::collection::vec((2..PEOPLE, 2..PEOPLE, 0..2 * RICH.0), 0..8), 1..6),
    ) {
        let mut world = World::new(params());
        let mut plain: BTreeMap<Address, (u128, u64)> =
            (2..PEOPLE).map(|i| (address(i), (RICH.0, 0))).collect();
        for sends in blocks {
            let mut nonces = BTreeMap::new();
            let steps = sends.iter().map(|(from, to, value)| Step::Send { from: *from, to: *to, value: *value });
            let txs: Vec<_> = steps.map(|s| tx(&world, &s, &mut nonces)).collect();
            let done = world.block(&txs, &[]);
            let base = u128::from(done.block.header.base_fee);
            for (t, (from, to, value)) in txs.iter().zip(&sends) {
                let Pricing::Dynamic { max_fee, max_tip } = t.body().pricing else { unreachable!() };
                let (money, nonce) = plain[&address(*from)];
                if t.body().nonce != nonce || money < value + max_fee * 1_000_000 {
                    continue;
                }
                let fee = 21_000 * (base + max_tip);
                plain.insert(address(*from), (money - value - fee, nonce + 1));
                plain.get_mut(&address(*to)).unwrap().0 += value;
            }
            for i in 2..PEOPLE {
                prop_assert_eq!((world.balance(i).0, world.nonce(i)), plain[&address(i)]);
            }
        }
    }
}

//! Stakes, from the first bond to the last unit.

use alloy_primitives::U256;

use crate::staking::abi::IStaking;
use crate::staking::{ADDRESS, SEATS, VALIDATORS, pending, stake, worth};
use crate::supply::{self, Kind};
use crate::testing::{RICH, World, address, proof, validator};
use crate::{Amount, Params, Receipt};

fn params() -> Params {
    Params {
        epoch_blocks: 4,
        unbonding_blocks: 6,
        jail_blocks: 3,
        emission: Amount::nes(10),
        emission_period: 1 << 30,
        ..Params::default()
    }
}

fn create(world: &mut World, who: u8, which: u8, bond: Amount) -> Receipt {
    let (r, s) = proof(which, who);
    let call = IStaking::createValidatorCall {
        validator: validator(which).into(),
        r: r.into(),
        s: s.into(),
        commission: 50_000,
    };
    world.call(who, ADDRESS, bond, &call)
}

fn delegate(world: &mut World, who: u8, which: u8, sum: Amount) -> Receipt {
    let validator = validator(which).into();
    world.call(who, ADDRESS, sum, &IStaking::delegateCall { validator })
}

fn undelegate(world: &mut World, who: u8, which: u8, amount: U256) -> Receipt {
    let validator = validator(which).into();
    let call = IStaking::undelegateCall { validator, amount };
    world.call(who, ADDRESS, Amount::ZERO, &call)
}

fn seats(world: &World) -> Vec<[u8; 32]> {
    let seats = SEATS.get(&world.tip.state, &()).unwrap().unwrap();
    seats.seats.into_iter().map(|s| s.0).collect()
}

fn ok(receipt: &Receipt) {
    assert!(receipt.succeeded, "{}", receipt.reason);
}

fn no(receipt: &Receipt, reason: &str) {
    assert!(!receipt.succeeded);
    assert!(receipt.reason.contains(reason), "{}", receipt.reason);
}

#[test]
fn a_validator_joins_gets_a_seat_and_loses_it_with_its_bond() {
    let mut world = World::new(params());
    no(&create(&mut world, 2, 2, Amount::nes(999)), "own bond");
    ok(&create(&mut world, 2, 2, Amount::nes(20_000)));
    no(&create(&mut world, 3, 2, Amount::nes(20_000)), "exists");
    assert!(
        !seats(&world).contains(&validator(2)),
        "not before the epoch ends"
    );
    world.wait(4);
    assert!(seats(&world).contains(&validator(2)));
    assert_eq!(
        world.tip.header.validators_hash,
        crate::staking::validator_set(&world.tip.state)
            .unwrap()
            .hash()
    );
    ok(&undelegate(&mut world, 2, 2, Amount::nes(19_500).to_u256()));
    let row = VALIDATORS
        .get(&world.tip.state, &validator(2))
        .unwrap()
        .unwrap();
    assert_ne!(row.jailed_until, 0, "the owner risks too little");
    world.wait(4);
    assert!(!seats(&world).contains(&validator(2)));
    let call = IStaking::unjailCall {
        validator: validator(2).into(),
    };
    no(&world.call(2, ADDRESS, Amount::ZERO, &call), "own bond");
    ok(&delegate(&mut world, 2, 2, Amount::nes(600)));
    no(&world.call(3, ADDRESS, Amount::ZERO, &call), "owner");
    ok(&world.call(2, ADDRESS, Amount::ZERO, &call));
    no(&world.call(2, ADDRESS, Amount::ZERO, &call), "not jailed");
    world.wait(4);
    assert!(seats(&world).contains(&validator(2)));
}

#[test]
fn a_key_joins_only_by_its_own_word() {
    let mut world = World::new(params());
    let (r, s) = proof(2, 3);
    let call = IStaking::createValidatorCall {
        validator: validator(2).into(),
        r: r.into(),
        s: s.into(),
        commission: 0,
    };
    no(
        &world.call(2, ADDRESS, Amount::nes(2_000), &call),
        "did not sign",
    );
    let greedy = IStaking::createValidatorCall {
        commission: 200_001,
        ..call
    };
    no(
        &world.call(3, ADDRESS, Amount::nes(2_000), &greedy),
        "commission",
    );
}

#[test]
fn what_leaves_arrives_by_itself_and_not_before() {
    let mut world = World::new(params());
    ok(&delegate(&mut world, 3, 0, Amount::nes(100)));
    no(
        &undelegate(&mut world, 3, 0, Amount::nes(101).to_u256()),
        "worth",
    );
    no(&undelegate(&mut world, 4, 0, U256::MAX), "no bond");
    ok(&undelegate(&mut world, 3, 0, Amount::nes(40).to_u256()));
    assert_eq!(
        worth(&world.tip.state, &validator(0), &address(3)).unwrap(),
        Amount::nes(60)
    );
    let before = world.balance(3);
    world.wait(5);
    assert_eq!(world.balance(3), before);
    world.wait(1);
    assert_eq!(world.balance(3), before.plus(Amount::nes(40)).unwrap());
    assert_eq!(
        supply::total(&world.tip.state, Kind::Unbonding),
        Ok(Amount::ZERO)
    );
}

#[test]
fn rewards_follow_stake_and_commission() {
    let mut world = World::new(params());
    ok(&delegate(&mut world, 3, 0, Amount::nes(10_000)));
    world.wait(3);
    // Epoch 0: its seats had equal stakes of 10,000 each; 40 NES, 2 % to the treasury.
    let part = Amount::nes(40).ppm(980_000).0 / 2;
    let commission = part / 10;
    let rest = part - commission;
    let owed = pending(&world.tip.state, &validator(0), &address(3)).unwrap();
    assert!(rest / 2 - owed.0 <= 1, "{owed} of {rest}");
    let before = world.balance(3);
    let call = IStaking::withdrawRewardsCall {
        validator: validator(0).into(),
    };
    let receipt = world.call(3, ADDRESS, Amount::ZERO, &call);
    ok(&receipt);
    let fee = u128::from(receipt.gas_used) * receipt.gas_price;
    assert_eq!(world.balance(3).0, before.0 + owed.0 - fee);
    no(&world.call(5, ADDRESS, Amount::ZERO, &call), "no bond");
    world.wait(4);
    // Epoch 1: validator 0 holds two thirds of the stake.
    let all = supply::total(&world.tip.state, Kind::Rewards).unwrap();
    let owed = pending(&world.tip.state, &validator(0), &address(3)).unwrap();
    let wanted = Amount::nes(40).ppm(980_000).0 * 2 / 3 * 9 / 10 / 2;
    assert!(wanted.abs_diff(owed.0) < 10, "{owed}");
    assert!(owed < all);
}

#[test]
fn emission_decays_and_stops_at_the_cap() {
    let p = Params {
        emission: Amount(1_000_000),
        emission_period: 10,
        emission_decay_ppm: 500_000,
        ..Params::default()
    };
    let at = |h| crate::epoch::emission(&p, h).0;
    assert_eq!(
        (at(1), at(10), at(11), at(21)),
        (1_000_000, 1_000_000, 500_000, 250_000)
    );
    assert_eq!(at(u64::MAX), 0);
    let start = RICH.times(8).unwrap().plus(Amount::nes(5)).unwrap();
    let cap = start.plus(Amount::nes(50)).unwrap();
    let mut world = World::new(Params {
        supply_cap: cap,
        ..params()
    });
    world.wait(12);
    assert_eq!(supply::minted(&world.tip.state), Ok(cap));
}

#[test]
fn commission_moves_by_small_steps_once_per_epoch() {
    let mut world = World::new(params());
    let set = |commission| IStaking::setCommissionCall {
        validator: validator(0).into(),
        commission,
    };
    no(
        &world.call(0, ADDRESS, Amount::ZERO, &set(120_000)),
        "change by",
    );
    no(
        &world.call(3, ADDRESS, Amount::ZERO, &set(110_000)),
        "owner",
    );
    no(
        &world.call(0, ADDRESS, Amount(1), &set(110_000)),
        "no value",
    );
    // The third block was the epoch's last but one.
    ok(&world.call(0, ADDRESS, Amount::ZERO, &set(110_000)));
    ok(&world.call(0, ADDRESS, Amount::ZERO, &set(120_000)));
    no(
        &world.call(0, ADDRESS, Amount::ZERO, &set(130_000)),
        "once per epoch",
    );
}

#[test]
fn an_equivocator_loses_stake_and_seat_and_so_does_what_was_leaving() {
    let mut world = World::new(params());
    ok(&delegate(&mut world, 3, 0, Amount::nes(1_000)));
    ok(&delegate(&mut world, 4, 0, Amount::nes(1_000)));
    ok(&undelegate(&mut world, 4, 0, U256::MAX));
    let before = world.balance(4);
    let treasury = supply::total(&world.tip.state, Kind::Treasury).unwrap();
    let honest = world.equivocation(0, (1, 1));
    assert_eq!(
        world
            .block(&[], &[honest, vec![1, 2]])
            .block
            .body
            .evidence
            .len(),
        0
    );
    let evidence = world.equivocation(0, (1, 2));
    let done = world.block(&[], &[evidence.clone(), evidence.clone()]);
    assert_eq!(done.block.body.evidence.len(), 1, "once");
    assert!(!done.receipts.last().unwrap().logs.is_empty());
    let state = &world.tip.state;
    // 5 % of 11,000 bonded and of 1,000 leaving.
    assert_eq!(stake(state, &validator(0)), Ok(Amount::nes(10_450)));
    assert_eq!(supply::total(state, Kind::Unbonding), Ok(Amount::nes(950)));
    assert_eq!(
        worth(state, &validator(0), &address(3)),
        Ok(Amount::nes(950))
    );
    let got = supply::total(state, Kind::Treasury)
        .unwrap()
        .minus(treasury);
    assert!(
        got.unwrap() >= Amount::nes(300),
        "half of 600, and emission"
    );
    assert_eq!(world.block(&[], &[evidence]).block.body.evidence.len(), 0);
    no(&delegate(&mut world, 5, 0, Amount::nes(10)), "out for ever");
    world.wait(4);
    assert_eq!(seats(&world), vec![validator(1)]);
    world.wait(4);
    assert_eq!(world.balance(4), before.plus(Amount::nes(950)).unwrap());
    // The last validator that may vote keeps its seat whatever it does.
    let last = world.equivocation(1, (1, 2));
    world.block(&[], &[last]);
    world.wait(4);
    assert_eq!(seats(&world), vec![validator(1)]);
}

#[test]
fn a_wrong_block_with_evidence_is_refused() {
    let world = World::new(params());
    let place = world.place();
    let mut block = world
        .ledger
        .propose(&world.tip, &place, &[], &[], 1 << 20)
        .unwrap()
        .block;
    for bytes in [
        vec![],
        vec![0; 2_000],
        world.equivocation(0, (1, 1)),
        world.equivocation(7, (1, 2)),
    ] {
        block.body.evidence = vec![bytes];
        let refused = world.ledger.execute(&world.tip, &place, &block);
        assert!(matches!(refused, Err(crate::BlockError::Evidence(0, _))));
    }
}

#[test]
fn an_owner_has_no_more_seats_than_allowed() {
    let mut world = World::new(params());
    ok(&create(&mut world, 2, 2, Amount::nes(20_000)));
    ok(&create(&mut world, 2, 3, Amount::nes(30_000)));
    world.wait(4);
    let seats = seats(&world);
    assert!(seats.contains(&validator(3)) && !seats.contains(&validator(2)));
}

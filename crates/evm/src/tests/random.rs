//! Random calls of random depth: money is conserved, everybody computes the same.

use alloy_sol_types::SolCall as _;
use nesa_ledger::staking::abi::IStaking;
use nesa_ledger::{Address, Amount, Params, staking};
use proptest::prelude::*;

use super::puppet::{Do, code, step};
use super::world::{VALIDATOR, World, sign};

/// A step that may contain others.
#[derive(Debug, Clone)]
enum Play {
    Call(bool, u8, u64, Vec<Self>),
    Delegate(u64),
    Undelegate(u64),
    Withdraw,
    Garbage(Vec<u8>, u64),
    Create(u64, Vec<u8>),
    Destroy(u8),
    Balance(u8, u8),
    DelegateCall(u8, Vec<Self>),
    Revert,
    Invalid,
    Log,
}

fn leaf() -> impl Strategy<Value = Play> {
    prop_oneof![
        (0..8u64).prop_map(Play::Delegate),
        (0..8u64).prop_map(Play::Undelegate),
        Just(Play::Withdraw),
        (proptest::collection::vec(any::<u8>(), 0..40), 0..3u64)
            .prop_map(|(d, v)| Play::Garbage(d, v)),
        (0..4u64, creation()).prop_map(|(v, c)| Play::Create(v, c)),
        (0..4u8).prop_map(Play::Destroy),
        (0..9u8, 0..4u8).prop_map(|(s, w)| Play::Balance(s, w)),
        Just(Play::Revert),
        Just(Play::Invalid),
        Just(Play::Log),
    ]
}

/// Init code: destroys itself for itself, for somebody, reverts, or stays.
fn creation() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![0x30, 0xff]),
        Just(vec![0x60, 9, 0xff]),
        Just(vec![0x5f, 0x5f, 0xfd]),
        Just(vec![0x00]),
    ]
}

fn play() -> impl Strategy<Value = Play> {
    leaf().prop_recursive(4, 24, 5, |inner| {
        let some = proptest::collection::vec(inner.clone(), 0..5);
        let more = proptest::collection::vec(inner, 0..5);
        prop_oneof![
            (any::<bool>(), 0..3u8, 0..6u64, some)
                .prop_map(|(must, who, value, steps)| Play::Call(must, who, value, steps)),
            (0..3u8, more).prop_map(|(who, steps)| Play::DelegateCall(who, steps)),
        ]
    })
}

fn encode(plays: &[Play], puppets: &[Address]) -> Vec<u8> {
    let nes = Amount::nes;
    let none = Address::default();
    let mut out = Vec::new();
    for p in plays {
        let validator = VALIDATOR.into();
        let target = |who: u8| {
            puppets
                .get(usize::from(who))
                .copied()
                .unwrap_or(Address([9; 20]))
        };
        let module = |value, data: Vec<u8>| step(Do::Call, value, staking::ADDRESS, &data);
        out.extend(match p {
            Play::Call(must, who, value, steps) => {
                let what = if *must { Do::Must } else { Do::Call };
                step(what, nes(*value), target(*who), &encode(steps, puppets))
            }
            Play::DelegateCall(who, steps) => step(
                Do::Delegate,
                Amount::ZERO,
                target(*who),
                &encode(steps, puppets),
            ),
            Play::Delegate(n) => module(nes(*n), IStaking::delegateCall { validator }.abi_encode()),
            Play::Undelegate(n) => {
                let amount = nes(*n).to_u256();
                let call = IStaking::undelegateCall { validator, amount };
                module(Amount::ZERO, call.abi_encode())
            }
            Play::Withdraw => {
                let call = IStaking::withdrawRewardsCall { validator };
                module(Amount::ZERO, call.abi_encode())
            }
            Play::Garbage(data, n) => module(nes(*n), data.clone()),
            Play::Create(n, code) => step(Do::Create, nes(*n), none, code),
            Play::Destroy(who) => step(Do::Destroy, Amount::ZERO, target(*who), &[]),
            Play::Balance(slot, who) => {
                step(Do::Balance, Amount((*slot).into()), target(*who), &[])
            }
            Play::Revert => step(Do::Revert, Amount::ZERO, none, &[]),
            Play::Invalid => step(Do::Invalid, Amount::ZERO, none, &[]),
            Play::Log => step(Do::Log, Amount(1), none, b"log"),
        });
    }
    out
}

fn params() -> Params {
    Params {
        epoch_blocks: 3,
        unbonding_blocks: 2,
        emission: Amount::nes(10),
        ..Params::default()
    }
}

/// `World::block` executes what it proposed and counts every pot again.
fn nothing_is_lost(blocks: &[Vec<(u8, u64, Vec<Play>)>]) {
    let (mut world, mut twin) = (World::new(params()), World::new(params()));
    let mut puppets = Vec::new();
    for w in [&mut world, &mut twin] {
        puppets = (0..3)
            .map(|_| w.deploy(1, &code(), Amount::nes(20)))
            .collect();
    }
    for txs in blocks {
        let signed: Vec<_> = (0u8..)
            .zip(txs)
            .map(|(at, (to, value, plays))| {
                let (who, to) = (at % 3 + 1, puppets[usize::from(*to)]);
                let mut body = world.body(who);
                body.nonce += u64::from(at / 3);
                body.to = Some(to);
                body.value = Amount::nes(*value);
                body.input = encode(plays, &puppets);
                sign(who, body)
            })
            .collect();
        let done = world.block(&signed);
        let again = twin.block(&signed);
        assert_eq!(done.block.header.digest(), again.block.header.digest());
        assert_eq!(world.balance(&staking::ADDRESS), Amount::ZERO);
    }
    world.wait(3);
}

fn blocks() -> impl Strategy<Value = Vec<Vec<(u8, u64, Vec<Play>)>>> {
    let plays = proptest::collection::vec(play(), 0..6);
    let tx = (0..3u8, 0..9u64, plays);
    proptest::collection::vec(proptest::collection::vec(tx, 0..5), 1..5)
}

#[test]
#[ignore = "ten thousand sequences take some minutes of a release build"]
fn nothing_is_lost_in_ten_thousand_sequences() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(10_000));
    let run = runner.run(&blocks(), |b| {
        nothing_is_lost(&b);
        Ok(())
    });
    run.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_lost_or_made_by_contracts(b in blocks()) {
        nothing_is_lost(&b);
    }
}

//! Random sequences of transactions against a model that is small enough to be right.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use alloy_sol_types::{SolCall, SolEvent as _};
use nesa_codec::{Decode as _, Digest, Encode as _};
use proptest::prelude::*;

use super::ballots::Ballots;
use crate::governance::abi::IGovernance;
use crate::staking::abi::IStaking;
use crate::state::State;
use crate::supply::{self, KINDS, Kind, Pot};
use crate::testing::{PEOPLE, RICH, World, address, hundred_thousand, sign, validator};
use crate::tx::{Pricing, Tx, Unsigned};
use crate::vm::NoContracts;
use crate::{Address, Amount, Block, Committed, Executed, Header, Ledger, Params, Place, Receipt};

#[derive(Debug, Clone)]
enum Step {
    Send {
        from: u8,
        to: u8,
        value: u128,
    },
    Delegate {
        who: u8,
        to: u8,
        sum: u64,
    },
    Undelegate {
        who: u8,
        from: u8,
        sum: Option<u64>,
    },
    Withdraw {
        who: u8,
        from: u8,
    },
    Garbage {
        who: u8,
        data: Vec<u8>,
        value: u64,
    },
    Change {
        who: u8,
        name: usize,
        value: u8,
        deposit: u64,
    },
    Spend {
        who: u8,
        to: u8,
        ppm: u32,
    },
    Vote {
        who: u8,
        id: u64,
        choice: u8,
        late: bool,
    },
    Execute {
        who: u8,
        id: u64,
    },
}

/// Parameters that random proposals change, some of them in vain.
const CHANGED: [&str; 6] = [
    "session_price_min",
    "gov_voting_blocks",
    "gov_forfeit_ppm",
    "seats",
    "supply_cap",
    "none",
];

fn step() -> impl Strategy<Value = Step> {
    let who = 2..PEOPLE;
    let sum = 0..3_000u64;
    let money = prop_oneof![
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
    ];
    prop_oneof![money, ballot()]
}

/// Steps of governance.
fn ballot() -> impl Strategy<Value = Step> {
    let (who, id) = (2..PEOPLE, 1..3u64);
    let late = proptest::bool::weighted(0.1);
    let choice = prop_oneof![2 => Just(1u8), 1 => 0..6u8];
    let change = (who.clone(), 0..CHANGED.len(), 0..12u8, 8..20u64);
    let change = change.prop_map(|(who, name, value, deposit)| Step::Change {
        who,
        name,
        value,
        deposit,
    });
    let spend = (who.clone(), 2..PEOPLE, 0..60_000u32);
    let spend = spend.prop_map(|(who, to, ppm)| Step::Spend { who, to, ppm });
    let vote = (who.clone(), id.clone(), choice, late);
    let vote = vote.prop_map(|(who, id, choice, late)| Step::Vote {
        who,
        id,
        choice,
        late,
    });
    let execute = (who, id).prop_map(|(who, id)| Step::Execute { who, id });
    prop_oneof![2 => change, 1 => spend, 6 => vote, 1 => execute]
}

/// What a step of governance sends.
fn ballot_call(world: &World, ballots: &Ballots, step: &Step) -> Option<(u8, Amount, Vec<u8>)> {
    let title = "a question".to_owned();
    Some(match step.clone() {
        Step::Change {
            who,
            name,
            value,
            deposit,
        } => {
            let call = IGovernance::proposeParameterCall {
                title,
                name: CHANGED[name].to_owned(),
                value: U256::from(value),
            };
            (who, Amount::nes(deposit), call.abi_encode())
        }
        Step::Spend { who, to, ppm } => {
            let treasury = supply::held(&world.tip.state, &supply::Pot::TREASURY).unwrap();
            let call = IGovernance::proposeSpendCall {
                title,
                to: address(to).into(),
                amount: treasury.ppm(ppm).to_u256(),
            };
            (who, Amount::nes(10), call.abi_encode())
        }
        Step::Vote {
            who,
            id,
            choice,
            late,
        } => {
            let holdings = ballots.holdings(world, who, id, late).into();
            let call = IGovernance::voteCall {
                id,
                choice,
                holdings,
            };
            (who, Amount::ZERO, call.abi_encode())
        }
        Step::Execute { who, id } => {
            let call = IGovernance::executeCall { id };
            (who, Amount::ZERO, call.abi_encode())
        }
        _ => return None,
    })
}

fn tx(world: &World, ballots: &Ballots, step: &Step, nonces: &mut BTreeMap<u8, u64>) -> Tx {
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
        step => {
            let (who, value, input) = ballot_call(world, ballots, &step).unwrap();
            (who, crate::governance::ADDRESS, value, input)
        }
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
        gov_deposit: Amount::nes(10),
        gov_quorum_ppm: 100_000,
        gov_voting_blocks: 4,
        gov_timelock_blocks: 2,
        gov_expiry_blocks: 3,
        gov_period_blocks: 5,
        ..Params::default()
    }
}

/// A block: its transactions, and the validator that contradicted itself before it.
type Round = (Vec<Step>, Option<u8>);

/// A node that starts again after every block: it reads blocks as bytes and its state as entries.
struct Restarting {
    ledger: Ledger<NoContracts>,
    tip: Committed,
}

impl Restarting {
    fn follow(&mut self, done: &Executed) {
        let block = Block::from_bytes(&done.block.to_bytes()).unwrap();
        let header = &block.header;
        let place = Place {
            height: header.height,
            timestamp_ms: header.timestamp_ms,
            proposer: header.proposer,
            parent: header.parent,
        };
        let again = self.ledger.execute(&self.tip, &place, &block).unwrap();
        let entries = again.state.entries(None);
        let state: State = entries.map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        assert_eq!(
            state.root(),
            header.state_root,
            "a snapshot has another root"
        );
        let header = Header::from_bytes(&header.to_bytes()).unwrap();
        self.tip = Committed { header, state };
    }
}

/// What a slash of a validator takes, by the formula: the same part of both pots, rounded down.
fn due(state: &State, which: u8) -> (Amount, Amount) {
    let pot = |kind| supply::held(state, &Pot::Held(kind, Digest(validator(which)))).unwrap();
    let (stake, leaving) = (pot(Kind::Stake), pot(Kind::Unbonding));
    let ppm = params().slash_equivocation_ppm;
    let slash = stake.ppm(ppm).plus(leaving.ppm(ppm)).unwrap();
    (slash, stake.plus(leaving).unwrap())
}

/// What a block's own receipt says was slashed.
fn slashed(done: &Executed) -> Vec<Amount> {
    let told = done.receipts.iter().filter(|r| r.tx == Digest::default());
    let logs = told.flat_map(|r| &r.logs);
    let slashes = logs.filter(|l| l.topics[0].0 == IStaking::Slashed::SIGNATURE_HASH.0);
    let sum = |data: &[u8]| Amount::try_from(U256::from_be_slice(&data[..32])).unwrap();
    slashes.map(|l| sum(&l.data)).collect()
}

/// Every block conserves the supply (`World::block` recounts all pots), proposer and verifier agree,
/// two executions agree, a node that restarts after every block and reads everything from bytes agrees,
/// every transaction of a block has its receipt, a slash is what the formula says and never above the bond,
/// and what waits comes to its end.
fn nothing_is_lost(rounds: &[Round]) {
    let (mut world, mut twin) = (World::new(params()), World::new(params()));
    let mut ballots = Ballots::new(&world);
    let (ledger, tip) = (world.ledger.clone(), world.tip.clone());
    let mut restarting = Restarting { ledger, tip };
    let mut punished = Vec::new();
    for (steps, liar) in rounds {
        let mut nonces = BTreeMap::new();
        let made = steps.iter().map(|s| tx(&world, &ballots, s, &mut nonces));
        let txs: Vec<_> = made.collect();
        let evidence = liar.map(|which| world.equivocation(which, (1, 2)));
        let evidence: Vec<_> = evidence.into_iter().collect();
        let before = liar.map(|which| due(&world.tip.state, which));
        let done = world.block(&txs, &evidence);
        let again = twin.block(&txs, &evidence);
        assert_eq!(done.block.header.digest(), again.block.header.digest());
        restarting.follow(&done);
        for t in &txs {
            let told = done.receipts.iter().any(|r| r.tx == t.hash());
            let kept = done.block.body.txs.iter().any(|b| b == t.bytes());
            assert_eq!(told, kept);
        }
        let fresh = liar.filter(|which| *which < 2 && !punished.contains(which));
        punished.extend(fresh);
        let expected = fresh.and(before);
        let taken: Vec<_> = expected.iter().map(|e| e.0).collect();
        assert_eq!(slashed(&done), taken);
        assert!(expected.is_none_or(|(slash, bond)| slash <= bond));
        let total = |k| supply::total(&world.tip.state, k).unwrap().0;
        let minted = supply::minted(&world.tip.state).unwrap();
        assert_eq!(minted.0, KINDS.iter().map(|k| total(*k)).sum::<u128>());
        assert_eq!(total(Kind::Fees), 0);
        ballots.keep(&world);
        for (step, t) in steps.iter().zip(&txs) {
            let taken = |r: &&Receipt| r.tx == t.hash() && r.succeeded;
            if done.receipts.iter().any(|r| taken(&r)) {
                count(&mut ballots, &world, step);
            }
        }
    }
    ballots.settle(&mut world, &params());
    // Whatever left a bond arrives.
    world.wait(params().unbonding_blocks);
    let unbonding = supply::total(&world.tip.state, supply::Kind::Unbonding);
    assert_eq!(unbonding, Ok(Amount::ZERO));
}

/// A step that the ledger took, for the model.
fn count(ballots: &mut Ballots, world: &World, step: &Step) {
    match step {
        Step::Change { deposit, .. } => ballots.proposed(Amount::nes(*deposit)),
        Step::Spend { .. } => ballots.proposed(Amount::nes(10)),
        Step::Vote {
            who, id, choice, ..
        } => ballots.voted(world, *who, *id, *choice),
        _ => (),
    }
}

fn sequences() -> impl Strategy<Value = Vec<Round>> {
    let liar = proptest::option::weighted(0.1, 0..3u8);
    let round = (proptest::collection::vec(step(), 0..6), liar);
    proptest::collection::vec(round, 1..8)
}

#[test]
#[ignore = "a hundred thousand sequences take an hour of a release build"]
fn nothing_is_lost_or_made_in_a_hundred_thousand_sequences() {
    hundred_thousand(&sequences(), |rounds| nothing_is_lost(&rounds));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nothing_is_lost_or_made(rounds in sequences()) {
        nothing_is_lost(&rounds);
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
            let ballots = Ballots::new(&world);
            let txs: Vec<_> = steps.map(|s| tx(&world, &ballots, &s, &mut nonces)).collect();
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

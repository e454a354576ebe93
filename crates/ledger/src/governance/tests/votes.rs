//! Who may vote, with what, and what a vote decides.

use alloy_primitives::U256;
use nesa_codec::Encode as _;

use super::super::tally::decide;
use super::super::{GovError, Rules, Tally, VOTES, vote_of, voting};
use super::*;
use crate::operators::abi::IOperators;
use crate::staking::abi::IStaking;
use crate::supply::{self, Kind, Pot};
use crate::testing::{RICH, sign, validator, vote_key};
use crate::tx::Unsigned;

/// Votes long enough for many attempts of one block each.
fn long() -> Params {
    Params {
        gov_voting_blocks: 100,
        ..params()
    }
}

#[test]
fn a_vote_counts_what_its_voter_held_before_the_proposal() {
    let mut g = Gov::new(params());
    let n = g.propose(2, "session_price_min", 5);
    let row = g.row(n);
    assert_eq!((row.snapshot, row.ends), (0, 1 + 6));
    assert_eq!(row.root, g.states[0].root());
    // Eight persons, all of it in balances and bonds; the treasury has no vote.
    assert_eq!(row.eligible, RICH.times(8).unwrap());
    ok(&g.vote(2, n, Choice::Yes));
    ok(&g.vote(3, n, Choice::No));
    ok(&g.vote(4, n, Choice::Abstain));
    ok(&g.vote(5, n, Choice::Veto));
    let tally = g.row(n).tally;
    // The proposer's deposit and fees were still there before.
    let all = [tally.yes, tally.no, tally.abstain, tally.veto];
    assert_eq!(all, [RICH; 4]);
    let voted = vote_of(&g.w.tip.state, n, &address(3)).unwrap();
    assert_eq!(voted.unwrap().choice, Choice::No);
}

#[test]
fn bonds_to_validators_and_of_nodes_vote_for_their_owners() {
    let mut g = Gov::new(params());
    let to = |v| IStaking::delegateCall {
        validator: validator(v).into(),
    };
    ok(&g.call_at(3, crate::staking::ADDRESS, Amount::nes(70), &to(0)));
    ok(&g.call_at(3, crate::staking::ADDRESS, Amount::nes(30), &to(1)));
    register_node(&mut g, 3, Amount::nes(500));
    let before = g.w.balance(3);
    let n = g.propose(2, "session_price_min", 5);
    ok(&g.vote(3, n, Choice::Yes));
    let wanted = before.plus(Amount::nes(600)).unwrap();
    assert_eq!(g.row(n).tally.yes, wanted);
    // The first validator's owner: its balance and its own bond.
    ok(&g.vote(0, n, Choice::No));
    assert!(g.row(n).tally.no.0.abs_diff(RICH.0) < Amount::nes(1).0);
}

fn register_node(g: &mut Gov, who: u8, bond: Amount) {
    use ed25519_dalek::Signer as _;
    let digest = nesa_codec::Digest([9; 32]);
    let domain = g.w.ledger.domain();
    let message = crate::operators::capability_message(domain, &address(who), &digest, 1);
    let signature = vote_key(40).sign(&message.0);
    let call = IOperators::registerCall {
        node: validator(40).into(),
        capability: digest.0.into(),
        sequence: 1,
        r: (*signature.r_bytes()).into(),
        s: (*signature.s_bytes()).into(),
    };
    ok(&g.call_at(who, crate::operators::ADDRESS, bond, &call));
}

#[test]
fn nobody_votes_twice_and_no_unit_does() {
    let mut g = Gov::new(long());
    let n = g.propose(2, "session_price_min", 5);
    ok(&g.vote(3, n, Choice::Yes));
    no(&g.vote(3, n, Choice::Yes), &GovError::Voted);
    no(&g.vote(3, n, Choice::Veto), &GovError::Voted);
    // What voted moves to an address that was empty, and votes again.
    let fresh = crate::testing::address(40);
    let body = g.w.body(3);
    let all = Amount::nes(900_000);
    let sent = sign(
        3,
        Unsigned {
            to: Some(fresh),
            value: all,
            ..body
        },
    );
    g.w.block(&[sent], &[]);
    g.states.push(g.w.tip.state.clone());
    assert_eq!(g.w.balance(40), all);
    no(&g.vote(40, n, Choice::Yes), &GovError::Weightless(0));
    // With the proof of a later block, with that of whom it came from, and with a forged row.
    let later = holdings(&g.w.tip.state, &fresh).unwrap();
    no(
        &g.vote_with(40, n, 1, later.to_bytes()),
        &GovError::Proof(0),
    );
    let giver = holdings(&g.states[0], &address(3)).unwrap();
    no(
        &g.vote_with(40, n, 1, giver.to_bytes()),
        &GovError::Proof(0),
    );
    assert_eq!(g.row(n).tally.yes, RICH);
}

#[test]
fn what_is_borrowed_after_the_proposal_has_no_vote() {
    let mut g = Gov::new(params());
    let n = g.propose(2, "session_price_min", 5);
    let lent = sign(
        4,
        Unsigned {
            to: Some(address(3)),
            value: Amount::nes(500_000),
            ..g.w.body(4)
        },
    );
    g.w.block(&[lent], &[]);
    g.states.push(g.w.tip.state.clone());
    let rich = holdings(&g.w.tip.state, &address(3)).unwrap();
    no(&g.vote_with(3, n, 1, rich.to_bytes()), &GovError::Proof(0));
    ok(&g.vote(3, n, Choice::Yes));
    assert_eq!(g.row(n).tally.yes, RICH, "its own, and not what was lent");
    // Who lent it votes with what it held: each unit once.
    ok(&g.vote(4, n, Choice::Yes));
    assert_eq!(g.row(n).tally.yes, RICH.times(2).unwrap());
}

#[test]
fn a_loan_within_the_block_of_the_proposal_does_not_count() {
    let mut g = Gov::new(params());
    let lent = sign(
        4,
        Unsigned {
            to: Some(address(40)),
            value: Amount::nes(500_000),
            ..g.w.body(4)
        },
    );
    let asked = sign(
        2,
        Unsigned {
            to: Some(ADDRESS),
            value: DEPOSIT,
            input: parameter("session_price_min", 5).abi_encode(),
            ..g.w.body(2)
        },
    );
    let done = g.w.block(&[lent, asked], &[]);
    g.states.push(g.w.tip.state.clone());
    assert!(done.receipts.iter().all(|r| r.succeeded));
    no(&g.vote(40, 1, Choice::Yes), &GovError::Weightless(0));
}

#[test]
fn forged_holdings_are_refused() {
    let mut g = Gov::new(long());
    let to = IStaking::delegateCall {
        validator: validator(0).into(),
    };
    ok(&g.call_at(3, crate::staking::ADDRESS, Amount::nes(70), &to));
    register_node(&mut g, 4, Amount::nes(500));
    let n = g.propose(2, "session_price_min", 5);
    let snapshot = g.row(n).snapshot;
    let honest = holdings(&g.states[snapshot as usize], &address(3)).unwrap();
    let refused = GovError::Proof(snapshot);
    let mut richer = honest.clone();
    richer.account.as_mut().unwrap().value.balance = Amount::nes(9_000_000);
    no(&g.vote_with(3, n, 1, richer.to_bytes()), &refused);
    let mut twice = honest.clone();
    twice.bonds.push(twice.bonds[0].clone());
    no(&g.vote_with(3, n, 1, twice.to_bytes()), &refused);
    let mut more = honest.clone();
    more.bonds[0].bond.value.shares *= 2;
    no(&g.vote_with(3, n, 1, more.to_bytes()), &refused);
    let mut fewer = honest.clone();
    fewer.bonds[0].of.value.shares /= 2;
    no(&g.vote_with(3, n, 1, fewer.to_bytes()), &refused);
    let mut pot = honest.clone();
    pot.bonds[0].pot.value = Amount::nes(1_000_000);
    no(&g.vote_with(3, n, 1, pot.to_bytes()), &refused);
    let mut foreign = honest.clone();
    let owner = holdings(&g.states[snapshot as usize], &address(4)).unwrap();
    foreign.nodes.clone_from(&owner.nodes);
    assert_eq!(foreign.nodes.len(), 1);
    no(&g.vote_with(3, n, 1, foreign.to_bytes()), &refused);
    no(&g.vote_with(3, n, 1, vec![]), &GovError::Holdings);
    let mut long = honest.to_bytes();
    long.push(0);
    no(&g.vote_with(3, n, 1, long), &GovError::Holdings);
    no(&g.vote_with(3, n, 0, honest.to_bytes()), &GovError::Choice);
    no(&g.vote_with(3, n, 5, honest.to_bytes()), &GovError::Choice);
    no(
        &g.vote_with(3, 77, 1, honest.to_bytes()),
        &GovError::Unknown,
    );
    ok(&g.vote_with(3, n, 1, honest.to_bytes()));
}

#[test]
fn a_vote_after_the_end_is_refused() {
    let mut g = Gov::new(params());
    let n = g.propose(2, "session_price_min", 5);
    let ends = g.row(n).ends;
    ok(&g.vote(2, n, Choice::Yes));
    ok(&g.vote(3, n, Choice::Yes));
    g.wait_until(ends - 2);
    ok(&g.vote(4, n, Choice::Yes));
    assert_eq!((g.height(), g.row(n).stage), (ends - 1, Stage::Voting));
    no(&g.vote(5, n, Choice::No), &GovError::Over(ends - 1));
    assert_eq!(g.row(n).stage, Stage::Queued);
}

/// The end of a vote in which these persons chose: the stage, and what the deposit lost.
fn outcome(choices: &[(u8, Choice)], params: Params) -> (Stage, Amount) {
    let mut g = Gov::new(params);
    let n = g.propose(2, "session_price_min", 5);
    for (who, choice) in choices {
        ok(&g.vote(*who, n, *choice));
    }
    let burned = |g: &Gov| supply::held(&g.w.tip.state, &Pot::BURNED).unwrap();
    g.wait_until(g.row(n).ends - 1);
    let (rich, before) = (g.w.balance(2), burned(&g));
    g.wait(1);
    let lost = burned(&g).minus(before).unwrap();
    let back = DEPOSIT.minus(lost).unwrap();
    assert_eq!(g.w.balance(2), rich.plus(back).unwrap());
    assert_eq!(
        supply::total(&g.w.tip.state, Kind::Deposit),
        Ok(Amount::ZERO)
    );
    assert_eq!(voting(&g.w.tip.state), Ok(None));
    (g.row(n).stage, lost)
}

#[test]
fn quorum_veto_and_threshold_decide_and_keep_or_return_the_deposit() {
    use Choice::{Abstain, No, Veto, Yes};
    let stage = |choices: &[(u8, Choice)]| outcome(choices, params());
    assert_eq!(stage(&[]), (Stage::Unheard, DEPOSIT));
    assert_eq!(stage(&[(3, Yes)]), (Stage::Unheard, DEPOSIT), "an eighth");
    assert_eq!(
        stage(&[(3, Yes), (4, Abstain)]),
        (Stage::Queued, Amount::ZERO),
        "exactly a quarter"
    );
    assert_eq!(
        stage(&[(3, Yes), (4, No)]),
        (Stage::Rejected, Amount::ZERO),
        "half is no majority"
    );
    assert_eq!(stage(&[(3, Abstain), (4, Abstain)]).0, Stage::Rejected);
    let vetoed = [(3, Yes), (4, Yes), (5, Veto), (6, Veto)];
    assert_eq!(stage(&vetoed), (Stage::Vetoed, DEPOSIT));
    let third = [(2, Yes), (3, Yes), (4, Veto)];
    assert_eq!(stage(&third).0, Stage::Vetoed, "a third is above 333,333");
    let quarter = [(2, Yes), (3, Yes), (4, Yes), (5, Veto)];
    assert_eq!(stage(&quarter).0, Stage::Queued);
    let half = Params {
        gov_forfeit_ppm: 500_000,
        ..params()
    };
    assert_eq!(outcome(&[], half), (Stage::Unheard, Amount::nes(500)));
}

#[test]
fn a_decision_is_exact_to_the_unit() {
    let rules = Rules {
        quorum_ppm: 333_333,
        threshold_ppm: 500_000,
        veto_ppm: 333_333,
        forfeit_ppm: 0,
        timelock_blocks: 1,
        expiry_blocks: 1,
    };
    let t = |yes, no, abstain, veto| Tally {
        yes: Amount(yes),
        no: Amount(no),
        abstain: Amount(abstain),
        veto: Amount(veto),
    };
    let all = Amount(1_000_000);
    assert_eq!(decide(&t(333_332, 0, 0, 0), all, &rules), Stage::Unheard);
    assert_eq!(decide(&t(333_333, 0, 0, 0), all, &rules), Stage::Queued);
    assert_eq!(
        decide(&t(200_000, 200_000, 0, 0), all, &rules),
        Stage::Rejected
    );
    assert_eq!(
        decide(&t(200_001, 200_000, 0, 0), all, &rules),
        Stage::Queued
    );
    assert_eq!(
        decide(&t(666_667, 0, 0, 333_333), all, &rules),
        Stage::Queued
    );
    assert_eq!(
        decide(&t(666_666, 0, 0, 333_334), all, &rules),
        Stage::Vetoed
    );
    let shared = t(500_000, 0, 200_000, 250_000);
    assert_eq!(decide(&shared, all, &rules), Stage::Queued, "of all votes");
    let most = Amount(u128::MAX);
    let full = Tally {
        yes: most,
        no: most,
        abstain: most,
        veto: most,
    };
    assert_eq!(decide(&full, most, &rules), Stage::Rejected);
}

#[test]
fn a_proposal_needs_a_title_and_its_deposit() {
    let mut g = Gov::new(params());
    let good = parameter("session_price_min", 5);
    let short = DEPOSIT.minus(Amount(1)).unwrap();
    no(&g.call(2, short, &good), &GovError::Deposit(DEPOSIT));
    for title in ["".to_owned(), "x".repeat(129), "a\nb".to_owned()] {
        let call = proposeParameterCall {
            title,
            ..good.clone()
        };
        no(&g.call(2, DEPOSIT, &call), &GovError::Title);
    }
    let wide = proposeParameterCall {
        value: U256::from(1) << 128,
        ..good
    };
    no(&g.call(2, DEPOSIT, &wide), &GovError::Value);
}

#[test]
fn votes_are_swept_when_nothing_follows() {
    let mut g = Gov::new(params());
    let n = g.propose(2, "session_price_min", 5);
    g.pass(n);
    assert!(VOTES.has(&g.w.tip.state, &(n, address(3))));
    g.wait(params().gov_timelock_blocks + 1);
    assert_eq!(g.row(n).stage, Stage::Executed);
    assert!(VOTES.rows(&g.w.tip.state, None).next().is_none());
}

//! Proposals on a chain of their own.

mod actions;
mod votes;

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use nesa_codec::Encode as _;

use super::abi::IGovernance::{executeCall, proposeParameterCall, proposeSpendCall, voteCall};
use super::{ADDRESS, Choice, Proposal, Stage, find, holdings};
use crate::state::State;
use crate::testing::{World, address};
use crate::{Address, Amount, Params, Receipt};

/// What a proposal of these tests deposits.
const DEPOSIT: Amount = Amount::nes(1_000);

/// Votes of six blocks, a timelock of three, five more to execute.
fn params() -> Params {
    Params {
        gov_voting_blocks: 6,
        gov_timelock_blocks: 3,
        gov_expiry_blocks: 5,
        gov_quorum_ppm: 250_000,
        gov_period_blocks: 20,
        ..Params::default()
    }
}

/// A chain whose states are kept, as nodes keep those that votes are about.
struct Gov {
    w: World,
    states: Vec<State>,
}

impl Gov {
    fn new(params: Params) -> Self {
        let w = World::new(params);
        let states = vec![w.tip.state.clone()];
        Self { w, states }
    }

    fn height(&self) -> u64 {
        self.w.tip.header.height
    }

    fn wait(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.w.block(&[], &[]);
            self.states.push(self.w.tip.state.clone());
        }
    }

    fn wait_until(&mut self, height: u64) {
        self.wait(height.saturating_sub(self.height()));
    }

    fn call(&mut self, who: u8, value: Amount, call: &impl SolCall) -> Receipt {
        self.call_at(who, ADDRESS, value, call)
    }

    fn call_at(&mut self, who: u8, to: Address, value: Amount, call: &impl SolCall) -> Receipt {
        let receipt = self.w.call(who, to, value, call);
        self.states.push(self.w.tip.state.clone());
        receipt
    }

    fn propose(&mut self, who: u8, name: &str, value: u128) -> u64 {
        let receipt = self.call(who, DEPOSIT, &parameter(name, value));
        self.made(&receipt)
    }

    fn spend(&mut self, who: u8, to: Address, amount: Amount) -> u64 {
        let receipt = self.call(who, DEPOSIT, &payment(to, amount));
        self.made(&receipt)
    }

    fn made(&self, receipt: &Receipt) -> u64 {
        assert!(receipt.succeeded, "{}", receipt.reason);
        super::query::proposals(&self.w.tip.state, None, 1).unwrap()[0].0
    }

    fn row(&self, n: u64) -> Proposal {
        find(&self.w.tip.state, n).unwrap().unwrap()
    }

    /// Votes with what a node proves for the voter in the snapshot.
    fn vote(&mut self, who: u8, n: u64, choice: Choice) -> Receipt {
        let state = &self.states[self.row(n).snapshot as usize];
        let bytes = holdings(state, &address(who)).unwrap().to_bytes();
        self.vote_with(who, n, choice as u8, bytes)
    }

    fn vote_with(&mut self, who: u8, id: u64, choice: u8, bytes: Vec<u8>) -> Receipt {
        let holdings = bytes.into();
        self.call(
            who,
            Amount::ZERO,
            &voteCall {
                id,
                choice,
                holdings,
            },
        )
    }

    fn execute(&mut self, who: u8, id: u64) -> Receipt {
        self.call(who, Amount::ZERO, &executeCall { id })
    }

    /// All persons vote yes and the vote ends.
    fn pass(&mut self, n: u64) {
        for who in 2..5 {
            ok(&self.vote(who, n, Choice::Yes));
        }
        self.wait_until(self.row(n).ends);
        assert_eq!(self.row(n).stage, Stage::Queued);
    }
}

fn parameter(name: &str, value: u128) -> proposeParameterCall {
    proposeParameterCall {
        title: format!("{name} to {value}"),
        name: name.to_owned(),
        value: U256::from(value),
    }
}

fn payment(to: Address, amount: Amount) -> proposeSpendCall {
    proposeSpendCall {
        title: "a payment".to_owned(),
        to: to.into(),
        amount: amount.to_u256(),
    }
}

fn ok(receipt: &Receipt) {
    assert!(receipt.succeeded, "{}", receipt.reason);
}

fn no(receipt: &Receipt, why: &super::GovError) {
    assert!(!receipt.succeeded, "{why}");
    assert_eq!(receipt.reason, why.to_string());
}

//! What votes should weigh and decide, from plain sums over kept states.

use std::collections::BTreeMap;

use nesa_codec::{Digest, Encode as _};

use crate::account::ACCOUNTS;
use crate::governance::{self, Action, Stage, VOTES};
use crate::staking::worth;
use crate::state::State;
use crate::supply::{self, Kind, POTS, Pot};
use crate::testing::{World, address, validator};
use crate::{Address, Amount, Params};

/// States by height, and the votes that were taken by proposal and voter.
#[derive(Debug)]
pub(super) struct Ballots {
    states: Vec<State>,
    votes: BTreeMap<u64, BTreeMap<Address, (u8, u128)>>,
    deposits: u128,
}

impl Ballots {
    pub(super) fn new(world: &World) -> Self {
        Self {
            states: vec![world.tip.state.clone()],
            votes: BTreeMap::new(),
            deposits: 0,
        }
    }

    /// After a block.
    pub(super) fn keep(&mut self, world: &World) {
        self.states.push(world.tip.state.clone());
        assert_eq!(self.states.len() as u64, world.tip.header.height + 1);
    }

    /// The state that votes on a proposal are about; the last one where there is none.
    fn snapshot(&self, world: &World, n: u64) -> &State {
        let row = governance::find(&world.tip.state, n).unwrap();
        let at = row.map_or(self.states.len() - 1, |r| r.snapshot as usize);
        &self.states[at]
    }

    /// What a node would prove for a voter, or what it would have to prove now.
    pub(super) fn holdings(&self, world: &World, who: u8, n: u64, late: bool) -> Vec<u8> {
        let state = match late {
            true => &world.tip.state,
            false => self.snapshot(world, n),
        };
        let all = governance::holdings(state, &address(who)).unwrap();
        all.to_bytes()
    }

    /// A vote that the ledger took.
    pub(super) fn voted(&mut self, world: &World, who: u8, n: u64, choice: u8) {
        let (state, who) = (self.snapshot(world, n), address(who));
        let mut weight = crate::query::account(state, &who).unwrap().balance.0;
        for v in 0..3 {
            weight += worth(state, &validator(v), &who).unwrap().0;
        }
        let old = self
            .votes
            .entry(n)
            .or_default()
            .insert(who, (choice, weight));
        assert_eq!(old, None, "a second vote was taken");
    }

    /// A proposal that the ledger took.
    pub(super) fn proposed(&mut self, deposit: Amount) {
        self.deposits += deposit.0;
    }

    /// Waits until every proposal must be over, and compares what became of each.
    pub(super) fn settle(&mut self, world: &mut World, params: &Params) {
        let last = governance::proposals(&world.tip.state, None, 100).unwrap();
        let ends = last.iter().map(|(_, row)| row.ends).max().unwrap_or(0);
        let end = ends + params.gov_timelock_blocks + params.gov_expiry_blocks + 1;
        while world.tip.header.height < end {
            world.wait(1);
            self.keep(world);
        }
        let state = &world.tip.state;
        for (n, row) in governance::proposals(state, None, 100).unwrap() {
            assert!(row.stage.is_terminal(), "{n}: {row:?}");
            self.compare(n, &row);
            self.deposits -= row.deposit.0;
        }
        assert_eq!(self.deposits, 0, "every deposit belongs to a proposal");
        assert_eq!(supply::total(state, Kind::Deposit), Ok(Amount::ZERO));
        assert!(VOTES.rows(state, None).next().is_none());
        Params::of(state).unwrap().validate().unwrap();
    }

    fn compare(&self, n: u64, row: &governance::Proposal) {
        let votes = self.votes.get(&n).cloned().unwrap_or_default();
        let of = |c: u8| -> u128 {
            let these = votes.values().filter(|v| v.0 == c);
            these.map(|v| v.1).sum()
        };
        let (yes, no, abstain, veto) = (of(1), of(2), of(3), of(4));
        let counted = row.tally;
        let told = [counted.yes, counted.no, counted.abstain, counted.veto];
        assert_eq!(told.map(|s| s.0), [yes, no, abstain, veto]);
        let all = yes + no + abstain + veto;
        let eligible = eligible(&self.states[row.snapshot as usize]);
        assert_eq!(row.eligible.0, eligible);
        assert!(all <= eligible, "nothing votes twice");
        let rules = row.rules;
        let part = |ppm: u32| u128::from(ppm);
        let passed = matches!(row.stage, Stage::Executed | Stage::Expired);
        let expected = if all * 1_000_000 < eligible * part(rules.quorum_ppm) {
            Some(Stage::Unheard)
        } else if veto * 1_000_000 > all * part(rules.veto_ppm) {
            Some(Stage::Vetoed)
        } else if yes * 1_000_000 <= (yes + no + veto) * part(rules.threshold_ppm) {
            Some(Stage::Rejected)
        } else {
            None
        };
        match expected {
            Some(stage) => assert_eq!(row.stage, stage),
            None => assert!(passed, "{row:?}"),
        }
        if let (Action::Spend { amount, .. }, Stage::Executed) = (&row.action, row.stage) {
            let treasury = |s: &State| supply::held(s, &Pot::TREASURY).unwrap().0;
            let most = self.states.iter().map(treasury).max().unwrap();
            assert!(
                amount.0 <= most / 4,
                "a quarter is the highest bound there is"
            );
        }
    }
}

/// All balances and bonds of a state, counted row by row.
fn eligible(state: &State) -> u128 {
    let accounts = ACCOUNTS.rows(state, None).map(|r| r.unwrap().1.balance.0);
    let held = [Kind::Stake as u8, Kind::Bond as u8];
    let pots = POTS.rows(state, None).map(|r| r.unwrap());
    let pots = pots.filter(|((kind, _), _): &((u8, Digest), _)| held.contains(kind));
    accounts.sum::<u128>() + pots.map(|(_, sum)| sum.0).sum::<u128>()
}

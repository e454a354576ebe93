//! A chain of one's own, for tests of families: people with keys, blocks on demand.

use alloy_sol_types::SolCall;
use ed25519_dalek::{Signer as _, SigningKey as VoteKey};
use k256::ecdsa::SigningKey;
use nesa_codec::{Digest, Encode as _};
use nesa_finality::{Evidence, Proposal, Statement, Vote};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};

use crate::tx::{Pricing, Tx, Unsigned};
use crate::vm::NoContracts;
use crate::{Address, Amount, Committed, Executed, Genesis, GenesisValidator, Ledger};
use crate::{Params, Place, Receipt, supply};

/// The chain id of tests.
pub(crate) const CHAIN: u64 = 41_443;
/// What each person starts with.
pub(crate) const RICH: Amount = Amount::nes(1_000_000);
/// How many people there are.
pub(crate) const PEOPLE: u8 = 8;

/// The key of a person.
pub(crate) fn key(who: u8) -> SigningKey {
    SigningKey::from_slice(&[who + 1; 32]).unwrap()
}

/// The address of a person.
pub(crate) fn address(who: u8) -> Address {
    let key = key(who);
    alloy_primitives::Address::from_public_key(key.verifying_key()).into()
}

/// The vote key of a validator.
pub(crate) fn vote_key(which: u8) -> VoteKey {
    VoteKey::from_bytes(&[100 + which; 32])
}

/// The name of a validator.
pub(crate) fn validator(which: u8) -> [u8; 32] {
    vote_key(which).verifying_key().to_bytes()
}

/// A validator's word for its owner.
pub(crate) fn proof(which: u8, owner: u8) -> ([u8; 32], [u8; 32]) {
    let message = crate::staking::proof_message(CHAIN, &address(owner));
    let signature = vote_key(which).sign(&message);
    (*signature.r_bytes(), *signature.s_bytes())
}

/// Signs for a person.
pub(crate) fn sign(who: u8, body: Unsigned) -> Tx {
    let hash = body.signing_hash();
    let (s, id) = key(who).sign_prehash_recoverable(&hash).unwrap();
    let (r, s) = (s.r().to_bytes().into(), s.s().to_bytes().into());
    body.signed(r, s, id.is_y_odd()).unwrap()
}

/// A genesis with [`PEOPLE`] and two validators, whose owners are persons 0 and 1.
pub(crate) fn genesis(params: Params) -> Genesis {
    let mut allocations: Vec<_> = (0..PEOPLE).map(|i| (address(i), RICH)).collect();
    allocations.sort();
    let mut validators: Vec<_> = (0..2)
        .map(|i| GenesisValidator {
            key: validator(i),
            owner: address(i),
            bond: Amount::nes(10_000),
            commission_ppm: 100_000,
        })
        .collect();
    validators.sort_by_key(|v| v.key);
    Genesis {
        chain_id: CHAIN,
        time_ms: 1_000,
        params,
        allocations,
        treasury: Amount::nes(5),
        validators,
    }
}

/// A chain and its last block.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ledger: Ledger<NoContracts>,
    pub(crate) tip: Committed,
}

impl World {
    pub(crate) fn new(params: Params) -> Self {
        let ledger = Ledger::new(&genesis(params), NoContracts).unwrap();
        let tip = ledger.genesis().clone();
        Self { ledger, tip }
    }

    /// Where the next block stands.
    pub(crate) fn place(&self) -> Place {
        Place {
            height: self.tip.header.height + 1,
            timestamp_ms: self.tip.header.timestamp_ms + 1_000,
            proposer: validator(0),
            parent: self.tip.header.digest(),
        }
    }

    pub(crate) fn nonce(&self, who: u8) -> u64 {
        let account = crate::query::account(&self.tip.state, &address(who));
        account.unwrap().nonce
    }

    pub(crate) fn balance(&self, who: u8) -> Amount {
        let account = crate::query::account(&self.tip.state, &address(who));
        account.unwrap().balance
    }

    /// A transaction of a person, to be changed before it is signed.
    pub(crate) fn body(&self, who: u8) -> Unsigned {
        Unsigned {
            chain_id: CHAIN,
            nonce: self.nonce(who),
            pricing: Pricing::Dynamic {
                max_fee: 10_000_000_000,
                max_tip: 1_000,
            },
            gas_limit: 1_000_000,
            to: Some(Address([9; 20])),
            value: Amount::ZERO,
            input: Vec::new(),
            access_list: Vec::new(),
        }
    }

    /// Makes a block, checks that executing it gives the same, and stands on it.
    pub(crate) fn block(&mut self, txs: &[Tx], evidence: &[Vec<u8>]) -> Executed {
        let place = self.place();
        let made = self
            .ledger
            .propose(&self.tip, &place, txs, evidence, 1 << 20);
        let made = made.unwrap();
        let done = self.ledger.execute(&self.tip, &place, &made.block).unwrap();
        assert_eq!(done.block, made.block);
        assert_eq!(done.receipts, made.receipts);
        supply::recount(&made.state).unwrap();
        self.tip = Committed {
            header: made.block.header.clone(),
            state: made.state.clone(),
        };
        made
    }

    /// Blocks without transactions.
    pub(crate) fn wait(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.block(&[], &[]);
        }
    }

    /// A person calls a module in a block of its own.
    pub(crate) fn call(
        &mut self,
        who: u8,
        to: Address,
        value: Amount,
        call: &impl SolCall,
    ) -> Receipt {
        let body = self.body(who);
        self.send(
            who,
            Unsigned {
                value,
                ..calling(to, call, body)
            },
        )
    }

    /// As [`World::call`], without value, for a call that is long.
    pub(crate) fn call_with_gas(
        &mut self,
        who: u8,
        to: Address,
        call: &impl SolCall,
        gas_limit: u64,
    ) -> Receipt {
        let body = self.body(who);
        self.send(
            who,
            Unsigned {
                gas_limit,
                ..calling(to, call, body)
            },
        )
    }

    fn send(&mut self, who: u8, body: Unsigned) -> Receipt {
        let tx = sign(who, body);
        let mut done = self.block(&[tx], &[]);
        assert_ne!(
            done.receipts[0].tx,
            Digest::default(),
            "the call was left out"
        );
        done.receipts.remove(0)
    }

    /// Two votes of a validator for different blocks of one view; equal blocks contradict nothing.
    pub(crate) fn equivocation(&self, which: u8, blocks: (u8, u8)) -> Vec<u8> {
        let vote = |block| {
            let statement = Statement::Finalize(Proposal {
                epoch: 0,
                view: 9,
                parent_view: 8,
                block: Digest([block; 32]),
            });
            let bytes = statement.signed_bytes(self.ledger.domain());
            Vote {
                statement,
                signature: vote_key(which).sign(&bytes).to_bytes(),
            }
        };
        let evidence = Evidence {
            validator: validator(which),
            first: vote(blocks.0),
            second: vote(blocks.1),
        };
        evidence.to_bytes()
    }
}

/// Runs a law on a hundred thousand values, printing how far it is.
pub(crate) fn hundred_thousand<S: Strategy>(values: &S, law: impl Fn(S::Value)) {
    let mut runner = TestRunner::new(Config::with_cases(100_000));
    let done = std::cell::Cell::new(0u32);
    let run = runner.run(values, |value| {
        law(value);
        done.set(done.get() + 1);
        if done.get().is_multiple_of(10_000) {
            println!("{} sequences", done.get());
        }
        Ok(())
    });
    run.unwrap();
}

fn calling(to: Address, call: &impl SolCall, body: Unsigned) -> Unsigned {
    Unsigned {
        to: Some(to),
        input: call.abi_encode(),
        ..body
    }
}

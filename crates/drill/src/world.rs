//! A ledger in this process: real transactions in real blocks, made and checked.

use alloy_sol_types::SolCall;
use anyhow::{Context as _, Result, ensure};
use k256::ecdsa::SigningKey;
use nesa_codec::Digest;
use nesa_ledger::tx::{Pricing, Tx, Unsigned};
use nesa_ledger::vm::NoContracts;
use nesa_ledger::{Address, Amount, Committed, Genesis, GenesisValidator, Ledger, Params, Place};
use nesa_ledger::{Receipt, query, supply};

use crate::keys;

/// What each account starts with.
pub(crate) const RICH: Amount = Amount::nes(10_000_000);

/// The most gas of one call.
const GAS: u64 = 10_000_000;

/// A chain and its last block.
pub(crate) struct World {
    /// The state machine.
    pub(crate) ledger: Ledger<NoContracts>,
    /// Where it stands.
    pub(crate) tip: Committed,
    keys: Vec<(SigningKey, Address)>,
    nonces: Vec<u64>,
    waiting: Vec<Tx>,
    proposer: [u8; 32],
}

impl World {
    /// A chain on which `people` accounts are rich.
    pub(crate) fn new(params: Params, people: u32) -> Result<Self> {
        let keys: Vec<_> = (0..people)
            .map(|i| (keys::key(i), keys::address(i)))
            .collect();
        let mut allocations: Vec<_> = keys.iter().map(|(_, a)| (*a, RICH)).collect();
        let proposer = keys::ed25519("validator", 0).verifying_key().to_bytes();
        let owner = keys::address(people);
        allocations.push((owner, RICH));
        allocations.sort();
        let genesis = Genesis {
            chain_id: 1,
            time_ms: 0,
            params,
            allocations,
            treasury: Amount::ZERO,
            validators: vec![GenesisValidator {
                key: proposer,
                owner,
                bond: Amount::nes(10_000),
                commission_ppm: 0,
            }],
        };
        let ledger = Ledger::new(&genesis, NoContracts)?;
        let tip = ledger.genesis().clone();
        Ok(Self {
            ledger,
            tip,
            nonces: vec![0; keys.len()],
            keys,
            waiting: Vec::new(),
            proposer,
        })
    }

    /// The address of an account.
    pub(crate) fn address(&self, who: u32) -> Address {
        self.keys[who as usize].1
    }

    /// What an account holds.
    pub(crate) fn balance(&self, who: u32) -> Result<Amount> {
        Ok(query::account(&self.tip.state, &self.address(who))?.balance)
    }

    /// The height of the next block.
    pub(crate) fn next_height(&self) -> u64 {
        self.tip.header.height + 1
    }

    /// Signs a call for the next block.
    pub(crate) fn push(
        &mut self,
        who: u32,
        to: Address,
        value: Amount,
        call: &impl SolCall,
    ) -> Digest {
        let nonce = &mut self.nonces[who as usize];
        let body = Unsigned {
            chain_id: 1,
            nonce: *nonce,
            pricing: Pricing::Dynamic {
                max_fee: 1_000_000_000_000,
                max_tip: 0,
            },
            gas_limit: GAS,
            to: Some(to),
            value,
            input: call.abi_encode(),
            access_list: Vec::new(),
        };
        *nonce += 1;
        let tx = keys::sign(&self.keys[who as usize].0, body);
        let hash = tx.hash();
        self.waiting.push(tx);
        hash
    }

    /// Makes the next block of all that was pushed, executes it as a verifier would, and stands on it.
    pub(crate) fn block(&mut self) -> Result<Vec<Receipt>> {
        let place = Place {
            height: self.next_height(),
            timestamp_ms: self.tip.header.timestamp_ms + 1_000,
            proposer: self.proposer,
            parent: self.tip.header.digest(),
        };
        let txs = std::mem::take(&mut self.waiting);
        let made = self
            .ledger
            .propose(&self.tip, &place, &txs, &[], 64 << 20)?;
        ensure!(
            made.block.body.txs.len() == txs.len(),
            "a transaction was left out"
        );
        let known = |bytes: &[u8]| txs.iter().find(|t| t.bytes() == bytes).cloned();
        // Finding them in a list is linear: only small blocks are checked twice.
        if txs.len() < 64 {
            let again = self
                .ledger
                .execute_known(&self.tip, &place, &made.block, &known)?;
            ensure!(again.block == made.block, "two executions differ");
        }
        self.tip = Committed {
            header: made.block.header,
            state: made.state,
        };
        Ok(made.receipts)
    }

    /// A block with this call alone, which must succeed.
    pub(crate) fn call(
        &mut self,
        who: u32,
        to: Address,
        value: Amount,
        call: &impl SolCall,
    ) -> Result<Receipt> {
        let hash = self.push(who, to, value, call);
        let receipts = self.block()?;
        let receipt = receipts
            .into_iter()
            .find(|r| r.tx == hash)
            .context("no receipt")?;
        ensure!(receipt.succeeded, "refused: {}", receipt.reason);
        Ok(receipt)
    }

    /// Counts every pot again.
    pub(crate) fn recount(&self) -> Result<Amount> {
        Ok(supply::recount(&self.tip.state)?)
    }
}

//! The ledger as the state machine whose blocks are ordered.

use std::sync::Arc;

use nesa_chain::{Changes, Committed, Entries, Machine, Offer, Peek, Place, Proposed};
use nesa_codec::{Decode as _, Encode as _};
use nesa_evm::Evm;
use nesa_ledger::state::{Diff, State};
use nesa_ledger::tx::{Fee, Tx, TxError};
use nesa_ledger::{Address, Block, BlockError, Body, Executed, Genesis, GenesisError, Header};
use nesa_ledger::{Ledger, Params, Unfit};

use crate::memory::Memory;

/// The ledger behind the engine's interface.
#[derive(Debug, Clone)]
pub struct LedgerMachine {
    ledger: Arc<Ledger<Evm>>,
    memory: Memory,
}

/// Why the ledger refuses bytes.
#[derive(Debug, thiserror::Error)]
pub enum LedgerRefusal {
    /// Not a block that can stand here.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// Not a transaction.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// A transaction that no block can hold.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A state that is not the one its header commits to.
    #[error("the state is not the one that the header commits to; fetch it from another node")]
    State,
}

impl LedgerMachine {
    /// The chain that starts at `genesis`.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub fn new(genesis: &Genesis) -> Result<Self, GenesisError> {
        Ok(Self {
            ledger: Arc::new(Ledger::new(genesis, Evm)?),
            memory: Memory::default(),
        })
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger<Evm> {
        &self.ledger
    }

    /// A transaction, whose sender is recovered once however often it is asked for.
    ///
    /// # Errors
    /// [`TxError`].
    pub fn decode(&self, transaction: &[u8]) -> Result<Tx, TxError> {
        self.memory.decode(transaction)
    }

    /// What a block did; one that ran here lately does not run again.
    ///
    /// # Errors
    /// [`LedgerRefusal`].
    pub fn replay(
        &self,
        parent: &nesa_ledger::Committed,
        place: &Place,
        header: &[u8],
        body: &[u8],
    ) -> Result<Arc<Executed>, LedgerRefusal> {
        let block = Block {
            header: Header::from_bytes(header).map_err(BlockError::from)?,
            body: Body::from_bytes(body).map_err(BlockError::from)?,
        };
        let (h, place) = (&block.header, at(place));
        let here = (h.height, h.timestamp_ms, h.proposer, h.parent)
            == (
                place.height,
                place.timestamp_ms,
                place.proposer,
                place.parent,
            );
        if here && let Some(done) = self.memory.block(&block.header, &block.body) {
            return Ok(done);
        }
        let known = |bytes: &[u8]| self.memory.decode(bytes).ok();
        let done = self.ledger.execute_known(parent, &place, &block, &known)?;
        Ok(self.memory.keep(done))
    }

    /// Whether the pool may hold a transaction, `state` being the last that is known.
    fn fits(&self, state: &State, params: &Params, tx: &Tx) -> Result<Fee, LedgerRefusal> {
        // A pool outlives blocks: the least base fee there can be decides what it holds.
        let env = nesa_ledger::Env {
            chain_id: self.ledger.chain_id(),
            domain: *self.ledger.domain(),
            height: 0,
            timestamp_ms: 0,
            proposer: [0; 32],
            base_fee: params.base_fee_min,
            beacon: nesa_codec::Digest::default(),
            parent: nesa_codec::Digest::default(),
        };
        let fits = nesa_ledger::check_any_nonce(state, &env, params.gas_limit, tx);
        Ok(fits.map_err(BlockError::from)??)
    }
}

fn at(place: &Place) -> nesa_ledger::Place {
    nesa_ledger::Place {
        height: place.height,
        timestamp_ms: place.time_ms,
        proposer: place.proposer,
        parent: place.parent,
    }
}

/// The ledger's view of what the engine keeps.
///
/// # Errors
/// [`BlockError::Decode`] where the header is not the ledger's.
pub fn committed(c: &Committed<State>) -> Result<nesa_ledger::Committed, BlockError> {
    Ok(nesa_ledger::Committed {
        header: Header::from_bytes(&c.header)?,
        state: c.state.clone(),
    })
}

fn changes(diff: &Diff) -> Changes {
    diff.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

impl Machine for LedgerMachine {
    type State = State;
    type Refusal = LedgerRefusal;

    fn genesis(&self) -> Committed<State> {
        let genesis = self.ledger.genesis();
        Committed {
            header: genesis.header.to_bytes(),
            state: genesis.state.clone(),
        }
    }

    fn propose(
        &self,
        parent: &Committed<State>,
        place: &Place,
        offer: &Offer,
    ) -> Result<Proposed<State>, LedgerRefusal> {
        let decode = |bytes: &Vec<u8>| self.memory.decode(bytes).ok();
        let decoded: Vec<Option<Tx>> = offer.transactions.iter().map(decode).collect();
        let txs: Vec<Tx> = decoded.iter().flatten().cloned().collect();
        let parent = committed(parent)?;
        let done =
            self.ledger
                .propose(&parent, &at(place), &txs, &offer.evidence, offer.body_max)?;
        let params = Params::of(&done.state).map_err(BlockError::from)?;
        let mut taken = done.block.body.txs.iter().peekable();
        let mut hopeless = Vec::new();
        for (at, tx) in decoded.iter().enumerate() {
            let bytes = tx.as_ref().map(Tx::bytes);
            if taken.next_if(|t| bytes == Some(t.as_slice())).is_some() {
                continue;
            }
            let fits = tx.as_ref().map(|tx| self.fits(&done.state, &params, tx));
            if !matches!(fits, Some(Ok(_))) {
                hopeless.push(at);
            }
        }
        let done = self.memory.keep(done);
        Ok(Proposed {
            after: Committed {
                header: done.block.header.to_bytes(),
                state: done.state.clone(),
            },
            body: done.block.body.to_bytes(),
            changes: changes(&done.diff),
            hopeless,
        })
    }

    fn execute(
        &self,
        parent: &Committed<State>,
        place: &Place,
        header: &[u8],
        body: &[u8],
    ) -> Result<(State, Changes), LedgerRefusal> {
        let done = self.replay(&committed(parent)?, place, header, body)?;
        Ok((done.state.clone(), changes(&done.diff)))
    }

    fn admit(&self, state: &State, transaction: &[u8]) -> Result<Peek, LedgerRefusal> {
        let tx = self.memory.decode(transaction)?;
        let params = Params::of(state).map_err(BlockError::from)?;
        let fee = self.fits(state, &params, &tx)?;
        let account = nesa_ledger::query::account(state, &tx.sender()).map_err(BlockError::from)?;
        let body = tx.body();
        let gas = body.max_fee().saturating_mul(u128::from(body.gas_limit));
        Ok(Peek {
            sender: tx.sender().0.to_vec(),
            next: account.nonce,
            nonce: body.nonce,
            tip: fee.tip,
            cost: gas.saturating_add(body.value.0),
            funds: account.balance.0,
        })
    }

    fn next_nonce(&self, state: &State, sender: &[u8]) -> u64 {
        let mut address = [0; 20];
        if sender.len() != address.len() {
            return 0;
        }
        address.copy_from_slice(sender);
        nesa_ledger::query::account(state, &Address(address)).map_or(0, |a| a.nonce)
    }

    fn entries<'a>(
        &self,
        state: &'a State,
        after: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a> {
        Box::new(state.entries(after).map(|(k, v)| (k.to_vec(), v.to_vec())))
    }

    fn restore(&self, header: &[u8], entries: Entries) -> Result<State, LedgerRefusal> {
        let header = Header::from_bytes(header).map_err(BlockError::from)?;
        let diff: Diff = entries.into_iter().map(|(k, v)| (k, Some(v))).collect();
        let state = State::default().apply(&diff);
        if state.root() != header.state_root {
            return Err(LedgerRefusal::State);
        }
        Ok(state)
    }
}

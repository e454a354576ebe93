//! The ledger as the state machine whose blocks are ordered.

use std::sync::Arc;

use nesa_chain::{Changes, Committed, Entries, Machine, Offer, Peek, Place, Proposed};
use nesa_codec::{Decode as _, Encode as _};
use nesa_evm::Evm;
use nesa_ledger::state::{Diff, State};
use nesa_ledger::tx::{Tx, TxError};

use nesa_ledger::{Address, Block, BlockError, Body, Genesis, GenesisError, Header, Ledger, Unfit};

/// The ledger behind the engine's interface.
#[derive(Debug, Clone)]
pub struct LedgerMachine(Arc<Ledger<Evm>>);

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
        Ok(Self(Arc::new(Ledger::new(genesis, Evm)?)))
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger<Evm> {
        &self.0
    }

    /// Runs a final block again, for its receipts.
    ///
    /// # Errors
    /// [`LedgerRefusal`].
    pub fn replay(
        &self,
        parent: &nesa_ledger::Committed,
        place: &Place,
        header: &[u8],
        body: &[u8],
    ) -> Result<nesa_ledger::Executed, LedgerRefusal> {
        let block = Block {
            header: Header::from_bytes(header).map_err(BlockError::from)?,
            body: Body::from_bytes(body).map_err(BlockError::from)?,
        };
        Ok(self.0.execute(parent, &at(place), &block)?)
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

fn changes(diff: Diff) -> Changes {
    diff.into_iter().collect()
}

impl Machine for LedgerMachine {
    type State = State;
    type Refusal = LedgerRefusal;

    fn genesis(&self) -> Committed<State> {
        let genesis = self.0.genesis();
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
        // The pool admitted only what decodes, so positions are kept.
        let decoded: Vec<Option<Tx>> = offer
            .transactions
            .iter()
            .map(|bytes| Tx::decode(bytes).ok())
            .collect();
        let hopeless = (0..decoded.len()).filter(|&i| decoded[i].is_none());
        let hopeless: Vec<usize> = hopeless.collect();
        let txs: Vec<Tx> = decoded.into_iter().flatten().collect();
        let parent = committed(parent)?;
        let done = self
            .0
            .propose(&parent, &at(place), &txs, &offer.evidence, offer.body_max)?;
        Ok(Proposed {
            after: Committed {
                header: done.block.header.to_bytes(),
                state: done.state,
            },
            body: done.block.body.to_bytes(),
            changes: changes(done.diff),
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
        Ok((done.state, changes(done.diff)))
    }

    fn admit(&self, state: &State, transaction: &[u8]) -> Result<Peek, LedgerRefusal> {
        let tx = Tx::decode(transaction)?;
        let params = nesa_ledger::Params::of(state).map_err(BlockError::from)?;
        // A pool outlives blocks: the least base fee there can be decides what it holds.
        let env = nesa_ledger::Env {
            chain_id: self.0.chain_id(),
            domain: *self.0.domain(),
            height: 0,
            timestamp_ms: 0,
            proposer: [0; 32],
            base_fee: params.base_fee_min,
            parent: nesa_codec::Digest::default(),
            beacon: nesa_codec::Digest::default(),
        };
        let fee = nesa_ledger::check_any_nonce(state, &env, params.gas_limit, &tx)
            .map_err(BlockError::from)??;
        Ok(Peek {
            sender: tx.sender().0.to_vec(),
            nonce: tx.body().nonce,
            tip: fee.tip,
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

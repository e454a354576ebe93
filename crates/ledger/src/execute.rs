//! From a state and a block to receipts and the next state.

use nesa_codec::{DecodeError, Digest, Encode as _, Hasher, merkle};
use nesa_finality::{Domain, Envelope};

use crate::apply::{self, Unfit};
use crate::block::{Block, Body, EVIDENCE_BYTES_MAX, EVIDENCE_MAX, Header, TXS_MAX};
use crate::genesis::{Genesis, GenesisError};
use crate::receipt::{Log, Receipt};
use crate::state::{Diff, Overlay, State, StateError};
use crate::supply::{self, SupplyError};
use crate::tx::{Tx, TxError, Unsigned, next_base_fee};
use crate::vm::{Contracts, Outcome};
use crate::{Address, Amount, Context, Env, Params, Refusal, deadlines, epoch, staking};

/// A state with the header that commits to it.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The header.
    pub header: Header,
    /// The state after its block.
    pub state: State,
}

/// Where a block stands, as the order of blocks says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Blocks since genesis.
    pub height: u64,
    /// Milliseconds since 1970; above the parent's.
    pub timestamp_ms: u64,
    /// The ed25519 key of the proposer.
    pub proposer: [u8; 32],
    /// The parent's name.
    pub parent: Digest,
}

/// What a block did.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The block.
    pub block: Block,
    /// The state after it.
    pub state: State,
    /// How the state differs from the parent's.
    pub diff: Diff,
    /// One per transaction; a last one, whose `tx` is zero, holds what the block itself told.
    pub receipts: Vec<Receipt>,
}

/// Why a block is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not a block.
    #[error("the block does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// Not at the height after the parent's, not later, or elsewhere.
    #[error("the block does not stand where it says")]
    Place,
    /// More than a block may hold.
    #[error("the block holds more than {0} allows")]
    Limit(&'static str),
    /// A transaction that is none.
    #[error("transaction {0}: {1}")]
    Tx(usize, TxError),
    /// A transaction that cannot stand here.
    #[error("transaction {0}: {1}")]
    Unfit(usize, Unfit),
    /// Evidence that proves nothing.
    #[error("evidence {0}: {1}")]
    Evidence(usize, Refusal),
    /// The header says something else than what the block does.
    #[error("the header's {0} is not what the block gives")]
    Header(&'static str),
    /// The supply would not be conserved.
    #[error(transparent)]
    Supply(#[from] SupplyError),
    /// The state or the code is broken.
    #[error("the block cannot run: {0}")]
    Broken(Refusal),
}

impl From<StateError> for BlockError {
    fn from(e: StateError) -> Self {
        Self::Broken(e.into())
    }
}

/// The state machine of one chain.
#[derive(Debug, Clone)]
pub struct Ledger<C> {
    chain_id: u64,
    domain: Domain,
    genesis: Committed,
    contracts: C,
}

/// A block in the making.
struct Draft {
    env: Env,
    params: Params,
    state: Overlay,
    receipts: Vec<Receipt>,
    hashes: Vec<Digest>,
    gas_used: u64,
    logs: Vec<Log>,
}

impl<C: Contracts> Ledger<C> {
    /// The chain that starts at `genesis`.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub fn new(genesis: &Genesis, contracts: C) -> Result<Self, GenesisError> {
        let (header, state) = genesis.build()?;
        let envelope = Envelope {
            height: 0,
            parent: Digest::default(),
            time_ms: 0,
            proposer: [0; 32],
            header: header.to_bytes(),
            body: Envelope::body_digest(&[]),
        };
        Ok(Self {
            chain_id: genesis.chain_id,
            domain: Domain::of_genesis(&envelope.digest()),
            genesis: Committed { header, state },
            contracts,
        })
    }

    /// The state before the first block.
    #[must_use]
    pub fn genesis(&self) -> &Committed {
        &self.genesis
    }

    /// The chain id of EIP-155.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// What votes of this chain are bound to.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The contracts' engine.
    #[must_use]
    pub fn contracts(&self) -> &C {
        &self.contracts
    }

    /// What a transaction would see in the block at `place` after `parent`.
    ///
    /// # Errors
    /// [`BlockError::Place`] where no block can stand there.
    pub fn env(&self, parent: &Committed, place: &Place) -> Result<(Env, Params), BlockError> {
        let next = parent.header.height.checked_add(1) == Some(place.height);
        if !next || place.timestamp_ms <= parent.header.timestamp_ms {
            return Err(BlockError::Place);
        }
        let params = Params::of(&parent.state)?;
        let beacon = Hasher::new("nesa.ledger.beacon.v1")
            .digest(&parent.header.beacon)
            .digest(&place.parent)
            .bytes(&place.proposer)
            .finish();
        let env = Env {
            chain_id: self.chain_id,
            domain: self.domain,
            height: place.height,
            timestamp_ms: place.timestamp_ms,
            proposer: place.proposer,
            base_fee: next_base_fee(parent.header.base_fee, parent.header.gas_used, &params),
            parent: place.parent,
            beacon,
        };
        Ok((env, params))
    }

    /// What a message would do at `place` after `parent`, sent for nothing by anyone: for wallets
    /// that ask before they sign. The gas limit bounds the work.
    ///
    /// # Errors
    /// [`BlockError`] where no block can stand there, or the state is broken.
    pub fn simulate(
        &self,
        parent: &Committed,
        place: &Place,
        sender: Address,
        body: &Unsigned,
    ) -> Result<Outcome, BlockError> {
        let mut draft = self.draft(parent, place)?;
        let mut running = apply::Running {
            state: &mut draft.state,
            env: &draft.env,
            params: &draft.params,
        };
        let done = running.simulate(sender, body, &self.contracts);
        done.map_err(BlockError::Broken)
    }

    /// Makes a block of what fits and applies, in the order offered; `body_max` bounds the encoded
    /// body in bytes.
    ///
    /// # Errors
    /// [`BlockError`] where no block can be made here at all.
    pub fn propose(
        &self,
        parent: &Committed,
        place: &Place,
        txs: &[Tx],
        evidence: &[Vec<u8>],
        body_max: usize,
    ) -> Result<Executed, BlockError> {
        let mut draft = self.draft(parent, place)?;
        let (mut body, mut room) = (Body::default(), body_max.saturating_sub(8));
        for e in evidence {
            let fits = e.len() + 4 <= room && body.evidence.len() < EVIDENCE_MAX;
            if fits && draft.evidence(e).map_err(BlockError::Broken)?.is_ok() {
                room -= e.len() + 4;
                body.evidence.push(e.clone());
            }
        }
        draft.begin()?;
        for tx in txs {
            let fits = tx.bytes().len() + 4 <= room && body.txs.len() < TXS_MAX;
            if fits
                && draft
                    .tx(tx, &self.contracts)
                    .map_err(BlockError::Broken)?
                    .is_ok()
            {
                room -= tx.bytes().len() + 4;
                body.txs.push(tx.bytes().to_vec());
            }
        }
        self.finish(draft, parent, place, body)
    }

    /// The state after a block that stands at `place` after `parent`.
    ///
    /// # Errors
    /// [`BlockError`] unless [`Ledger::propose`] could have made exactly this block.
    pub fn execute(
        &self,
        parent: &Committed,
        place: &Place,
        block: &Block,
    ) -> Result<Executed, BlockError> {
        self.execute_known(parent, place, block, &|_| None)
    }

    /// As [`Ledger::execute`], sparing the signatures of transactions that were decoded before:
    /// `known` may return the one with these bytes.
    ///
    /// # Errors
    /// As [`Ledger::execute`].
    pub fn execute_known(
        &self,
        parent: &Committed,
        place: &Place,
        block: &Block,
        known: &dyn Fn(&[u8]) -> Option<Tx>,
    ) -> Result<Executed, BlockError> {
        let (body, header) = (&block.body, &block.header);
        if body.txs.len() > TXS_MAX || body.evidence.len() > EVIDENCE_MAX {
            return Err(BlockError::Limit("the count"));
        }
        let mut draft = self.draft(parent, place)?;
        for (at, e) in body.evidence.iter().enumerate() {
            let done = draft.evidence(e).map_err(BlockError::Broken)?;
            done.map_err(|refusal| BlockError::Evidence(at, refusal))?;
        }
        draft.begin()?;
        for (at, bytes) in body.txs.iter().enumerate() {
            let tx = match known(bytes).filter(|tx| tx.bytes() == bytes) {
                Some(tx) => tx,
                None => Tx::decode(bytes).map_err(|e| BlockError::Tx(at, e))?,
            };
            let done = draft.tx(&tx, &self.contracts).map_err(BlockError::Broken)?;
            done.map_err(|unfit| BlockError::Unfit(at, unfit))?;
        }
        let done = self.finish(draft, parent, place, body.clone())?;
        match difference(header, &done.block.header) {
            Some(field) => Err(BlockError::Header(field)),
            None => Ok(done),
        }
    }

    fn draft(&self, parent: &Committed, place: &Place) -> Result<Draft, BlockError> {
        let (env, params) = self.env(parent, place)?;
        Ok(Draft {
            env,
            params,
            state: Overlay::new(parent.state.clone()),
            receipts: Vec::new(),
            hashes: Vec::new(),
            gas_used: 0,
            logs: Vec::new(),
        })
    }

    fn finish(
        &self,
        mut draft: Draft,
        parent: &Committed,
        place: &Place,
        body: Body,
    ) -> Result<Executed, BlockError> {
        draft.end(&self.contracts)?;
        let Draft {
            env,
            state,
            receipts,
            hashes,
            gas_used,
            ..
        } = draft;
        let diff = state.into_diff();
        supply::check(&parent.state, &diff)?;
        let state = parent.state.apply(&diff);
        let receipt_hashes: Vec<_> = receipts.iter().map(Receipt::digest).collect();
        let validators = staking::validator_set(&state).map_err(BlockError::Broken)?;
        let header = Header {
            height: place.height,
            parent: place.parent,
            timestamp_ms: place.timestamp_ms,
            proposer: place.proposer,
            state_root: state.root(),
            txs_root: merkle::root(&hashes),
            receipts_root: merkle::root(&receipt_hashes),
            evidence_root: body.evidence_root(),
            base_fee: env.base_fee,
            gas_used,
            beacon: env.beacon,
            validators_hash: validators.hash(),
        };
        Ok(Executed {
            block: Block { header, body },
            state,
            diff,
            receipts,
        })
    }
}

impl Draft {
    fn system(&mut self) -> Context<'_> {
        Context {
            state: &mut self.state,
            env: &self.env,
            params: &self.params,
            caller: Address::default(),
            module: Address::default(),
            value: Amount::ZERO,
            logs: &mut self.logs,
        }
    }

    /// The outer error is fatal, the inner one says that this evidence does not fit.
    fn evidence(&mut self, bytes: &[u8]) -> Result<Result<(), Refusal>, Refusal> {
        if bytes.len() > EVIDENCE_BYTES_MAX {
            return Ok(Err(staking::StakingError::Evidence("too long").into()));
        }
        let mark = self.state.begin();
        let logs = self.logs.len();
        let done = staking::punish(&mut self.system(), bytes);
        match done {
            Err(refusal) if refusal.is_fatal() => Err(refusal),
            Err(refusal) => {
                self.state.revert(mark);
                self.logs.truncate(logs);
                Ok(Err(refusal))
            }
            Ok(()) => Ok(Ok(())),
        }
    }

    fn begin(&mut self) -> Result<(), BlockError> {
        deadlines::run(&mut self.system()).map_err(BlockError::Broken)?;
        self.state.settle();
        Ok(())
    }

    /// As [`Draft::evidence`].
    fn tx(&mut self, tx: &Tx, contracts: &impl Contracts) -> Result<Result<(), Unfit>, Refusal> {
        let room = self.params.gas_limit.saturating_sub(self.gas_used);
        let fee = match apply::check(&self.state, &self.env, room, tx)? {
            Ok(fee) => fee,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let mut state = apply::Running {
            state: &mut self.state,
            env: &self.env,
            params: &self.params,
        };
        let receipt = state.run(tx, fee, contracts)?;
        self.state.settle();
        self.gas_used += receipt.gas_used;
        self.hashes.push(tx.hash());
        self.receipts.push(receipt);
        Ok(Ok(()))
    }

    fn end(&mut self, contracts: &impl Contracts) -> Result<(), BlockError> {
        let mut ctx = self.system();
        contracts.end_block(&mut ctx).map_err(BlockError::Broken)?;
        epoch::run(&mut ctx).map_err(BlockError::Broken)?;
        if !self.logs.is_empty() {
            self.receipts.push(Receipt {
                tx: Digest::default(),
                sender: Address::default(),
                succeeded: true,
                gas_used: 0,
                gas_price: 0,
                created: None,
                logs: std::mem::take(&mut self.logs),
                reason: String::new(),
            });
        }
        Ok(())
    }
}

/// The first field in which two headers differ.
fn difference(a: &Header, b: &Header) -> Option<&'static str> {
    let fields = [
        ("height", a.height == b.height),
        ("parent", a.parent == b.parent),
        ("timestamp", a.timestamp_ms == b.timestamp_ms),
        ("proposer", a.proposer == b.proposer),
        ("transactions root", a.txs_root == b.txs_root),
        ("evidence root", a.evidence_root == b.evidence_root),
        ("base fee", a.base_fee == b.base_fee),
        ("gas", a.gas_used == b.gas_used),
        ("beacon", a.beacon == b.beacon),
        ("receipts root", a.receipts_root == b.receipts_root),
        ("validators", a.validators_hash == b.validators_hash),
        ("state root", a.state_root == b.state_root),
    ];
    fields.iter().find(|f| !f.1).map(|f| f.0)
}

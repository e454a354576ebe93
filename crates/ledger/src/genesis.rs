//! Block 0: who holds what, who validates, and by which parameters.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use crate::block::Header;
use crate::params::ParamError;
use crate::state::{Overlay, State};
use crate::supply::{self, Pot, SupplyError};
use crate::{Address, Amount, Params, epoch, staking};

/// The most accounts that a genesis allots to.
pub const ALLOCATIONS_MAX: usize = 100_000;

/// The beginning of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The chain id of EIP-155; not zero.
    pub chain_id: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The parameters.
    pub params: Params,
    /// Balances: distinct addresses in ascending order.
    pub allocations: Vec<(Address, Amount)>,
    /// What the treasury starts with.
    pub treasury: Amount,
    /// The first validators: distinct keys in ascending order. Their bonds are taken from the
    /// balances of their owners.
    pub validators: Vec<GenesisValidator>,
}

/// A validator from block 1 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisValidator {
    /// The ed25519 key that votes.
    pub key: [u8; 32],
    /// Who bonds and earns.
    pub owner: Address,
    /// Taken from the owner's balance.
    pub bond: Amount,
    /// The commission in parts per million.
    pub commission_ppm: u32,
}

/// Why a genesis is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// A parameter is out of bounds.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// Something else; the text names it.
    #[error("genesis: {0}")]
    Invalid(&'static str),
    /// More is bonded than allotted, or more allotted than can be.
    #[error("genesis: {0}")]
    Supply(#[from] SupplyError),
    /// A validator is refused.
    #[error("genesis: {0}")]
    Validator(#[from] crate::Refusal),
}

fn ascending<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let items: Vec<T> = items.collect();
    items.windows(2).all(|w| w[0] < w[1])
}

impl Genesis {
    /// The state and the header of block 0.
    ///
    /// # Errors
    /// [`GenesisError`], naming what to correct.
    pub fn build(&self) -> Result<(Header, State), GenesisError> {
        self.params.validate()?;
        if self.chain_id == 0 {
            return Err(GenesisError::Invalid("the chain id is zero"));
        }
        if !ascending(self.allocations.iter().map(|a| a.0)) {
            return Err(GenesisError::Invalid("allocations are not ascending"));
        }
        if !ascending(self.validators.iter().map(|v| v.key)) || self.validators.is_empty() {
            return Err(GenesisError::Invalid(
                "validators are none or not ascending",
            ));
        }
        let mut state = Overlay::new(State::default());
        self.params.store(&mut state);
        for (address, sum) in &self.allocations {
            supply::mint(&mut state, &Pot::Account(*address), *sum)?;
        }
        supply::mint(&mut state, &Pot::TREASURY, self.treasury)?;
        for v in &self.validators {
            staking::genesis(&mut state, &self.params, v)?;
        }
        epoch::genesis(&mut state, &self.params)?;
        let diff = state.into_diff();
        supply::check(&State::default(), &diff)?;
        let state = State::default().apply(&diff);
        if supply::minted(&state).map_err(SupplyError::from)? > self.params.supply_cap {
            return Err(GenesisError::Invalid("more is allotted than the cap"));
        }
        let validators = staking::validator_set(&state)?.hash();
        let header = Header {
            height: 0,
            parent: Digest::default(),
            timestamp_ms: self.time_ms,
            proposer: [0; 32],
            state_root: state.root(),
            txs_root: nesa_codec::merkle::root(&[]),
            receipts_root: nesa_codec::merkle::root(&[]),
            evidence_root: nesa_codec::merkle::root(&[]),
            base_fee: self.params.base_fee_min,
            gas_used: 0,
            beacon: nesa_codec::Hasher::new("nesa.ledger.beacon.genesis.v1")
                .digest(&state.root())
                .u64(self.chain_id)
                .finish(),
            validators_hash: validators,
        };
        Ok((header, state))
    }
}

impl Encode for GenesisValidator {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.key);
        self.owner.encode(w);
        self.bond.encode(w);
        w.u32(self.commission_ppm);
    }
}

impl Decode for GenesisValidator {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: r.digest()?.0,
            owner: Address::decode(r)?,
            bond: Amount::decode(r)?,
            commission_ppm: r.u32()?,
        })
    }
}

/// A row of [`Genesis::allocations`].
struct Allocation(Address, Amount);

impl Decode for Allocation {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(Address::decode(r)?, Amount::decode(r)?))
    }
}

impl Encode for Genesis {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.chain_id);
        w.u64(self.time_ms);
        self.params.encode(w);
        w.len(self.allocations.len());
        for (address, sum) in &self.allocations {
            address.encode(w);
            sum.encode(w);
        }
        self.treasury.encode(w);
        w.seq(&self.validators);
    }
}

impl Decode for Genesis {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chain_id: r.u64()?,
            time_ms: r.u64()?,
            params: Params::decode(r)?,
            allocations: r
                .seq::<Allocation>(ALLOCATIONS_MAX)?
                .into_iter()
                .map(|a| (a.0, a.1))
                .collect(),
            treasury: Amount::decode(r)?,
            validators: r.seq(nesa_finality::VALIDATORS_MAX)?,
        })
    }
}

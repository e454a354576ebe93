//! The rows of the registry, and why its transactions are refused.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use crate::state::{Mark, Table};
use crate::{Address, Amount, tables};

/// The most shards of a model.
pub const SHARDS_MAX: usize = 1_024;
/// The most addresses that a registration allows; [`super::abi::IModels::allowCall`] adds more.
pub const ALLOWED_MAX: usize = 64;

/// Models by root.
pub const MODELS: Table<Digest, Model> = Table::new(tables::MODELS);
/// The hashes of a model's shards, in their order.
pub const SHARDS: Table<Digest, Shards> = Table::new(tables::MODEL_SHARDS);
/// Who may use a model that not everybody may.
pub const ALLOWED: Table<(Digest, Address), Mark> = Table::new(tables::MODEL_ALLOWED);
/// Versions by the root of the first and number.
pub const VERSIONS: Table<(Digest, u32), Digest> = Table::new(tables::MODEL_VERSIONS);
/// Models by publisher.
pub const BY_PUBLISHER: Table<(Address, Digest), Mark> = Table::new(tables::MODELS_BY_PUBLISHER);

/// Hashes of shards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shards(pub Vec<Digest>);

/// Ways to check work with a model, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes(u8);

impl Modes {
    /// Signed statements.
    pub const RECEIPT: u8 = 1;
    /// Cells of the trace opened and recomputed.
    pub const SPOT: u8 = 2;
    /// Every linear operation checked by the client.
    pub const CHECKED: u8 = 4;
    /// Bisection on the ledger.
    pub const REFEREED: u8 = 8;
    /// Succinct proofs.
    pub const PROOF: u8 = 16;

    /// The modes that the bits say; `None` for none or for unknown ones.
    #[must_use]
    pub fn new(bits: u8) -> Option<Self> {
        (1..32).contains(&bits).then_some(Self(bits))
    }

    /// Whether a mode is among them.
    #[must_use]
    pub fn has(self, mode: u8) -> bool {
        self.0 & mode != 0
    }

    /// The bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Who published it, may change it, and earns its royalty.
    pub publisher: Address,
    /// The hash of its manifest.
    pub manifest: Digest,
    /// The root of its first version.
    pub line: Digest,
    /// Its place in that line, from 1.
    pub version: u32,
    /// The least price of new sessions, in units of money per unit of work.
    pub price: Amount,
    /// The royalty of new sessions in parts per million; zero for an open model.
    pub royalty_ppm: u32,
    /// How work with it can be checked.
    pub modes: Modes,
    /// Only [`ALLOWED`] addresses may open sessions.
    pub restricted: bool,
    /// No new sessions.
    pub deprecated: bool,
    /// A later version follows it.
    pub followed: bool,
    /// The block that registered it.
    pub since: u64,
}

/// Why the registry refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No such model.
    #[error("no model has this root; register it first")]
    Unknown,
    /// The root is taken.
    #[error("a model with this root is registered already")]
    Exists,
    /// Somebody else's.
    #[error("only the model's publisher may do this")]
    Publisher,
    /// Zero is no root.
    #[error("the root is zero; compile the model first")]
    Root,
    /// Too many shards or none.
    #[error("a model has 1 to 1024 shards")]
    Shards,
    /// Too many addresses at once, or one twice.
    #[error("a registration allows at most 64 addresses, each once; allow others later")]
    Allowed,
    /// The model is everybody's.
    #[error("everybody may use this model; a new version may be restricted")]
    Open,
    /// Too high.
    #[error("the price is beyond 2^128 units")]
    Price,
    /// Too high.
    #[error("the royalty may be at most {0} ppm")]
    Royalty(u32),
    /// No mode, or an unknown one.
    #[error("the modes are 1 receipt, 2 spot, 4 checked, 8 refereed, 16 proof, or sums of them")]
    Modes,
    /// The previous version has another successor.
    #[error("another version follows that one already; register after the latest")]
    Followed,
    /// Over.
    #[error("the model is deprecated; use a later version")]
    Deprecated,
    /// Not on the list.
    #[error("the publisher does not allow this address to use the model")]
    NotAllowed,
}

impl Encode for Shards {
    fn encode(&self, w: &mut Writer) {
        w.seq(&self.0);
    }
}

impl Decode for Shards {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.seq(SHARDS_MAX)?))
    }
}

impl Encode for Model {
    fn encode(&self, w: &mut Writer) {
        self.publisher.encode(w);
        w.digest(&self.manifest);
        w.digest(&self.line);
        w.u32(self.version);
        self.price.encode(w);
        w.u32(self.royalty_ppm);
        w.u8(self.modes.bits());
        w.u8(u8::from(self.restricted));
        w.u8(u8::from(self.deprecated));
        w.u8(u8::from(self.followed));
        w.u64(self.since);
    }
}

impl Decode for Model {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            publisher: Address::decode(r)?,
            manifest: r.digest()?,
            line: r.digest()?,
            version: r.u32()?,
            price: Amount::decode(r)?,
            royalty_ppm: r.u32()?,
            modes: Modes::new(r.u8()?).ok_or(DecodeError::Invalid("a model's modes"))?,
            restricted: r.bool()?,
            deprecated: r.bool()?,
            followed: r.bool()?,
            since: r.u64()?,
        })
    }
}

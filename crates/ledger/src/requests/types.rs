//! The rows of requests, and why they are refused.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

use crate::sessions::{Count, Rates};
use crate::state::Table;
use crate::{Address, Amount, tables};

/// The most bytes of a chunk of a model's file: a value of the state has 64 KiB.
pub const CHUNK_MAX: usize = 60_000;
/// The most chunks of a model's file: every validator holds it in memory and reads it per answer.
pub const CHUNKS_MAX: u32 = 8;
/// The most bytes of an input.
pub const INPUT_MAX: usize = 16 << 10;
/// The most scores of a model that can be asked: they all stand in the answer.
pub const SCORES_MAX: usize = 64;
/// The most bytes of an answer: [`SCORES_MAX`] words, and those that ABI puts before them.
pub const OUTPUT_MAX: usize = 32 * (SCORES_MAX + 3);
/// The most bytes of evidence: less than a transaction's.
pub const EVIDENCE_MAX: usize = 120 << 10;

/// Chunks of models' files.
pub const CHUNKS: Table<(Digest, u32), Bytes<CHUNK_MAX>> = Table::new(tables::MODEL_CHUNKS);
/// Models whose file is whole.
pub const FILES: Table<Digest, File> = Table::new(tables::MODEL_FILES);
/// Requests by id.
pub const REQUESTS: Table<Digest, Request> = Table::new(tables::REQUESTS);
/// What is asked, while it is not answered.
pub const INPUTS: Table<Digest, Bytes<INPUT_MAX>> = Table::new(tables::REQUEST_INPUTS);
/// What was answered.
pub const OUTPUTS: Table<Digest, Bytes<OUTPUT_MAX>> = Table::new(tables::REQUEST_OUTPUTS);
/// How many requests an address ever made, which names them.
pub const ASKED: Table<Address, Count> = Table::new(tables::REQUESTS_ASKED);
/// Callbacks in the order in which they became due.
pub const CALLBACKS: Table<u64, Digest> = Table::new(tables::CALLBACKS);
/// Callbacks that ever became due.
pub const CALLED: Table<(), Count> = Table::new(tables::CALLBACKS_COUNT);

/// Bytes, at most `MAX` of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes<const MAX: usize>(pub Vec<u8>);

impl<const MAX: usize> Encode for Bytes<MAX> {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }
}

impl<const MAX: usize> Decode for Bytes<MAX> {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.bytes(MAX)?.to_vec()))
    }
}

/// A model's file that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Its chunks.
    pub chunks: u32,
    /// Bytes of an input.
    pub input: u32,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// It waits for an answer.
    Open = 0,
    /// The answer was proved; the callback, if any, is due.
    Answered = 1,
    /// Nobody answered in time.
    Expired = 2,
    /// Answered, and the callback succeeded.
    Called = 3,
    /// Answered, and the callback failed: it reverted, ran out of gas, or nobody was there.
    CallFailed = 4,
}

impl Stage {
    fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Open,
            Self::Answered,
            Self::Expired,
            Self::Called,
            Self::CallFailed,
        ];
        all.into_iter().find(|s| *s as u8 == byte)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub requester: Address,
    /// What is asked.
    pub model: Digest,
    /// Where it stands.
    pub stage: Stage,
    /// What the answer is worth.
    pub fee: Amount,
    /// How the fee is split.
    pub rates: Rates,
    /// Who earns the royalty.
    pub publisher: Address,
    /// What the publisher claims of the fee.
    pub royalty_ppm: u32,
    /// Gas of the callback; zero for none.
    pub callback_gas: u64,
    /// What was paid per gas of it.
    pub gas_price: u64,
    /// The height of its deadline, then that at which it is forgotten.
    pub ends: u64,
}

impl Encode for Request {
    fn encode(&self, w: &mut Writer) {
        self.requester.encode(w);
        w.digest(&self.model);
        w.u8(self.stage as u8);
        self.fee.encode(w);
        self.rates.encode(w);
        self.publisher.encode(w);
        w.u32(self.royalty_ppm);
        w.u64(self.callback_gas);
        w.u64(self.gas_price);
        w.u64(self.ends);
    }
}

impl Decode for Request {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            requester: Address::decode(r)?,
            model: r.digest()?,
            stage: Stage::of(r.u8()?).ok_or(DecodeError::Invalid("a request's stage"))?,
            fee: Amount::decode(r)?,
            rates: Rates::decode(r)?,
            publisher: Address::decode(r)?,
            royalty_ppm: r.u32()?,
            callback_gas: r.u64()?,
            gas_price: r.u64()?,
            ends: r.u64()?,
        })
    }
}

impl Encode for File {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.chunks);
        w.u32(self.input);
    }
}

impl Decode for File {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chunks: r.u32()?,
            input: r.u32()?,
        })
    }
}

/// Why a request, an answer or a publication is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such request.
    #[error("no request has this id")]
    Unknown,
    /// Answered or expired.
    #[error("the request is answered or expired")]
    Over,
    /// Not answered.
    #[error("the request has no answer yet")]
    Open,
    /// Another assurance than a proof.
    #[error("requests are answered with a proof only; ask with assurance 16")]
    Assurance,
    /// The registry says that the model has no proofs.
    #[error("the model is not registered with proofs among its modes (16)")]
    Modes,
    /// The file is not here.
    #[error("the model's file is not on the ledger; its publisher must publish and seal it")]
    File,
    /// The file is here already.
    #[error("the model's file is sealed already")]
    Sealed,
    /// Too long, or too many.
    #[error("a model's file has at most 8 chunks of 1 to 60,000 bytes")]
    Chunk,
    /// Not this model.
    #[error("the chunks are not the decision model with the registered root; publish them again")]
    Root,
    /// Too large to be asked here.
    #[error("a model that is asked here has at most 64 scores and inputs of 16 KiB")]
    Large,
    /// Not an input of the model.
    #[error("an input of this model has {0} bytes; see docs/spec/ledger.md")]
    Input(u32),
    /// Too little.
    #[error("the request costs at least {0}; ask estimateFee in the same block")]
    Fee(Amount),
    /// Too much.
    #[error("a callback may use at most {0} gas")]
    Gas(u64),
    /// Too near or too far.
    #[error("the deadline must be a height from {least} to {most}")]
    Deadline {
        /// The first that fits.
        least: u64,
        /// The last that fits.
        most: u64,
    },
    /// The evidence proves something else.
    #[error("the evidence {0}")]
    Evidence(&'static str),
}

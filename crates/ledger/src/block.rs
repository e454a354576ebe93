//! Blocks: what is ordered, and the header that commits to what it did.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};

/// The most transactions of a block.
pub const TXS_MAX: usize = 20_000;
/// The longest transaction in bytes.
pub const TX_BYTES_MAX: usize = 128 << 10;
/// The most pieces of evidence in a block.
pub const EVIDENCE_MAX: usize = 16;
/// The longest evidence in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 1 << 10;

/// What a block did, in fixed width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Blocks since genesis.
    pub height: u64,
    /// The parent block, as the order of blocks names it.
    pub parent: Digest,
    /// Milliseconds since 1970; above the parent's.
    pub timestamp_ms: u64,
    /// The ed25519 key of the validator that proposed it.
    pub proposer: [u8; 32],
    /// [`crate::state::State::root`] after the block.
    pub state_root: Digest,
    /// Merkle root over the hashes of transactions.
    pub txs_root: Digest,
    /// Merkle root over [`crate::Receipt::digest`].
    pub receipts_root: Digest,
    /// Merkle root over hashes of evidence.
    pub evidence_root: Digest,
    /// The base fee per gas in this block, in units.
    pub base_fee: u64,
    /// Gas of all transactions.
    pub gas_used: u64,
    /// Public randomness: a chain of hashes over blocks. The parent's proposer can choose among bodies for it.
    pub beacon: Digest,
    /// [`nesa_finality::ValidatorSet::hash`] of the validators of the next block.
    pub validators_hash: Digest,
}

/// What the proposer put in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// Signed transactions as their senders encoded them.
    pub txs: Vec<Vec<u8>>,
    /// Encoded [`nesa_finality::Evidence`].
    pub evidence: Vec<Vec<u8>>,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it did.
    pub header: Header,
    /// What was put in.
    pub body: Body,
}

impl Header {
    /// The header's hash.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let bytes = self.to_bytes();
        Hasher::new("nesa.ledger.header.v1").bytes(&bytes).finish()
    }
}

impl Body {
    /// [`Header::evidence_root`].
    #[must_use]
    pub fn evidence_root(&self) -> Digest {
        let hash = |e: &Vec<u8>| Hasher::new("nesa.ledger.evidence.v1").bytes(e).finish();
        merkle::root(&self.evidence.iter().map(hash).collect::<Vec<_>>())
    }
}

impl Encode for Header {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.height);
        w.digest(&self.parent);
        w.u64(self.timestamp_ms);
        w.raw(&self.proposer);
        w.digest(&self.state_root);
        w.digest(&self.txs_root);
        w.digest(&self.receipts_root);
        w.digest(&self.evidence_root);
        w.u64(self.base_fee);
        w.u64(self.gas_used);
        w.digest(&self.beacon);
        w.digest(&self.validators_hash);
    }
}

impl Decode for Header {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: r.u64()?,
            parent: r.digest()?,
            timestamp_ms: r.u64()?,
            proposer: r.digest()?.0,
            state_root: r.digest()?,
            txs_root: r.digest()?,
            receipts_root: r.digest()?,
            evidence_root: r.digest()?,
            base_fee: r.u64()?,
            gas_used: r.u64()?,
            beacon: r.digest()?,
            validators_hash: r.digest()?,
        })
    }
}

fn write_all(w: &mut Writer, items: &[Vec<u8>]) {
    w.len(items.len());
    for item in items {
        w.bytes(item);
    }
}

fn read_all(r: &mut Reader<'_>, max: usize, each: usize) -> Result<Vec<Vec<u8>>, DecodeError> {
    let n = r.len(max)?;
    let mut out = Vec::with_capacity(n.min(r.remaining() / 4));
    for _ in 0..n {
        out.push(r.bytes(each)?.to_vec());
    }
    Ok(out)
}

impl Encode for Body {
    fn encode(&self, w: &mut Writer) {
        write_all(w, &self.txs);
        write_all(w, &self.evidence);
    }
}

impl Decode for Body {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            txs: read_all(r, TXS_MAX, TX_BYTES_MAX)?,
            evidence: read_all(r, EVIDENCE_MAX, EVIDENCE_BYTES_MAX)?,
        })
    }
}

impl Encode for Block {
    fn encode(&self, w: &mut Writer) {
        self.header.encode(w);
        self.body.encode(w);
    }
}

impl Decode for Block {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            header: Header::decode(r)?,
            body: Body::decode(r)?,
        })
    }
}

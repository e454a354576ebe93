//! What the validators order: a header of the state machine in a few words of the chain's own.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

/// The largest header of a state machine, in bytes.
pub const HEADER_MAX: usize = 4096;

/// Everything of a block but its body. Its digest is what validators sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Blocks since genesis, which has height 0.
    pub height: u64,
    /// The parent's [`Envelope::digest`]; zero for genesis.
    pub parent: Digest,
    /// Milliseconds since 1970 by the proposer's clock; above the parent's.
    pub time_ms: u64,
    /// The ed25519 key of the validator that proposed it; zero for genesis.
    pub proposer: [u8; 32],
    /// The state machine's header, at most [`HEADER_MAX`] bytes. It commits to the state.
    pub header: Vec<u8>,
    /// [`Envelope::body_digest`] of the transactions.
    pub body: Digest,
}

impl Envelope {
    /// The block's name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::new("nesa.chain.block.v1")
            .u64(self.height)
            .digest(&self.parent)
            .u64(self.time_ms)
            .bytes(&self.proposer)
            .bytes(&self.header)
            .digest(&self.body)
            .finish()
    }

    /// What [`Envelope::body`] says of a body.
    #[must_use]
    pub fn body_digest(body: &[u8]) -> Digest {
        Hasher::new("nesa.chain.body.v1").bytes(body).finish()
    }
}

impl Encode for Envelope {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.height);
        w.digest(&self.parent);
        w.u64(self.time_ms);
        w.raw(&self.proposer);
        w.bytes(&self.header);
        w.digest(&self.body);
    }
}

impl Decode for Envelope {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: r.u64()?,
            parent: r.digest()?,
            time_ms: r.u64()?,
            proposer: r.digest()?.0,
            header: r.bytes(HEADER_MAX)?.to_vec(),
            body: r.digest()?,
        })
    }
}

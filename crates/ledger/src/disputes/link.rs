//! From a signed statement to what was paid for it.
//!
//! A voucher's transcript is a Merkle root over [`work`] of every statement that its lane was paid
//! for. Each is salted, so that a short prompt cannot be guessed from the chain; whoever shows one
//! opens that one alone.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};

use super::types::DisputeError;
use crate::sessions::{LANES, SESSIONS};
use crate::state::Read;
use crate::{Address, Amount, Refusal};

/// Most bytes of an encoded [`Link`].
pub const LINK_BYTES_MAX: usize = 32 + 1 + 32 + 4 + 4 + 4 + merkle::PATH_MAX * 32;

/// The leaf of a lane's transcript for the statement with this digest.
#[must_use]
pub fn work(salt: &Digest, statement: &Digest) -> Digest {
    let h = Hasher::new("nesa.ledger.work.v1");
    h.digest(salt).digest(statement).finish()
}

/// Where a statement stands among what a lane was paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The session.
    pub session: Digest,
    /// The lane.
    pub lane: u8,
    /// The salt of [`work`].
    pub salt: Digest,
    /// The leaf's place.
    pub index: u32,
    /// How many leaves there are.
    pub of: u32,
    /// From the leaf to the lane's settled transcript.
    pub path: merkle::Path,
}

/// What was paid for a statement, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paid {
    /// The session.
    pub session: Digest,
    /// The lane.
    pub lane: u8,
    /// The leaf.
    pub work: Digest,
    /// Who paid.
    pub payer: Address,
    /// All that the lane was paid, before the split.
    pub fee: Amount,
}

impl Link {
    /// What was paid for `statement` to `owner`, who bonds for the node that signed it.
    ///
    /// # Errors
    /// [`DisputeError::Link`], naming what does not fit.
    pub fn paid(
        &self,
        state: &impl Read,
        statement: &Digest,
        owner: &Address,
    ) -> Result<Paid, Refusal> {
        let leaf = work(&self.salt, statement);
        let (of, index) = (self.of as usize, self.index as usize);
        settled(
            state,
            (&self.session, self.lane),
            &leaf,
            (index, of, &self.path),
            owner,
        )
    }
}

/// What a lane was paid whose settled transcript holds `leaf`.
pub(crate) fn settled(
    state: &impl Read,
    (id, at): (&Digest, u8),
    leaf: &Digest,
    (index, of, path): (usize, usize, &merkle::Path),
    owner: &Address,
) -> Result<Paid, Refusal> {
    let session = SESSIONS.get(state, id)?;
    let session = session.ok_or(DisputeError::Link("the session is not known any more"))?;
    let lane = LANES.get(state, &(*id, at))?;
    let lane = lane.ok_or(DisputeError::Link("the session has no such lane"))?;
    if lane.paid_to != Some(*owner) {
        return Err(DisputeError::Link("the lane did not pay the node's owner").into());
    }
    if !merkle::verify(&lane.transcript, of, index, leaf, path) {
        return Err(DisputeError::Link("the statement is not in the settled transcript").into());
    }
    Ok(Paid {
        session: *id,
        lane: at,
        work: *leaf,
        payer: session.payer,
        fee: lane.amount,
    })
}

/// The link in a call: none where it is empty.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Link>, DisputeError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() > LINK_BYTES_MAX {
        return Err(DisputeError::Oversized("the link"));
    }
    let link = Link::from_bytes(bytes);
    link.map(Some).map_err(|_| DisputeError::Decode("the link"))
}

impl Encode for Link {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.session);
        w.u8(self.lane);
        w.digest(&self.salt);
        w.u32(self.index);
        w.u32(self.of);
        self.path.encode(w);
    }
}

impl Decode for Link {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            session: r.digest()?,
            lane: r.u8()?,
            salt: r.digest()?,
            index: r.u32()?,
            of: r.u32()?,
            path: merkle::Path::decode(r)?,
        })
    }
}

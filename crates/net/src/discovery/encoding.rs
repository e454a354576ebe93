//! Canonical encodings of the parts of discovery messages.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use super::{ADDRESSES_MAX, Announced, Probe, ProbeOutcome, Query, Refusal, Roles};
use crate::{Address, PeerId};

impl Encode for Query {
    fn encode(&self, w: &mut Writer) {
        w.u8(u8::from(self.model_root.is_some()));
        if let Some(root) = &self.model_root {
            w.digest(root);
        }
        w.u8(self.roles.0);
        w.u8(u8::from(self.after.is_some()));
        if let Some(after) = &self.after {
            after.encode(w);
        }
    }
}

impl Decode for Query {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let model_root = if r.bool()? { Some(r.digest()?) } else { None };
        let roles = Roles(r.u8()?);
        let after = if r.bool()? {
            Some(PeerId::decode(r)?)
        } else {
            None
        };
        Ok(Self {
            model_root,
            roles,
            after,
        })
    }
}

impl Encode for Announced {
    fn encode(&self, w: &mut Writer) {
        w.seq(&self.probes);
        self.observed.encode(w);
    }
}

impl Decode for Announced {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            probes: r.seq(ADDRESSES_MAX)?,
            observed: Address::decode(r)?,
        })
    }
}

impl Encode for Probe {
    fn encode(&self, w: &mut Writer) {
        self.address.encode(w);
        match self.outcome {
            ProbeOutcome::Reachable => w.u8(0),
            ProbeOutcome::Timeout => w.u8(1),
            ProbeOutcome::Closed => w.u8(2),
            ProbeOutcome::WrongPeer(actual) => {
                w.u8(3);
                actual.encode(w);
            }
            ProbeOutcome::BadAddress => w.u8(4),
            ProbeOutcome::NotThisProtocol => w.u8(5),
        }
    }
}

impl Decode for Probe {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let address = Address::decode(r)?;
        let outcome = match r.u8()? {
            0 => ProbeOutcome::Reachable,
            1 => ProbeOutcome::Timeout,
            2 => ProbeOutcome::Closed,
            3 => ProbeOutcome::WrongPeer(PeerId::decode(r)?),
            4 => ProbeOutcome::BadAddress,
            5 => ProbeOutcome::NotThisProtocol,
            _ => return Err(DecodeError::Invalid("no such probe outcome")),
        };
        Ok(Self { address, outcome })
    }
}

impl Encode for Refusal {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::NotYours => w.u8(0),
            Self::Signature => w.u8(1),
            Self::Expired { now_ms } => {
                w.u8(2);
                w.u64(*now_ms);
            }
            Self::LivesTooLong { ttl_ms_max, now_ms } => {
                w.u8(3);
                w.u64(*ttl_ms_max);
                w.u64(*now_ms);
            }
            Self::Stale { epoch } => {
                w.u8(4);
                w.u64(*epoch);
            }
            Self::NoAddress => w.u8(5),
            Self::Full => w.u8(6),
            Self::Busy { wait_ms } => {
                w.u8(7);
                w.u64(*wait_ms);
            }
            Self::Malformed => w.u8(8),
        }
    }
}

impl Decode for Refusal {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8()? {
            0 => Self::NotYours,
            1 => Self::Signature,
            2 => Self::Expired { now_ms: r.u64()? },
            3 => Self::LivesTooLong {
                ttl_ms_max: r.u64()?,
                now_ms: r.u64()?,
            },
            4 => Self::Stale { epoch: r.u64()? },
            5 => Self::NoAddress,
            6 => Self::Full,
            7 => Self::Busy { wait_ms: r.u64()? },
            8 => Self::Malformed,
            _ => return Err(DecodeError::Invalid("no such refusal")),
        })
    }
}

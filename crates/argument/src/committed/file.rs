//! Committed proofs as bytes.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_model::spec::limits;

use super::{ANSWERS_MAX, Answer, CommittedProof, Opened, SUM_MAX, SUMS_MAX, Section};
use crate::field::{decode_e, encode_e};
use crate::inference::{Inference, RANGES_MAX};
use crate::packing;
use crate::transformer::RangeProof;
use crate::transformer::hints::POSITIONS_MAX;

/// Most bytes of an encoded proof.
pub const COMMITTED_BYTES_MAX: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"nesacpf1";

/// Most token rows' cells.
const TOKEN_CELLS_MAX: usize = 1 << 24;

impl Encode for Section {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.end);
        encode_e(&self.sum, w);
        self.proof.encode(w);
    }
}

impl Encode for Answer {
    fn encode(&self, w: &mut Writer) {
        self.inference.encode(w);
        let positions = self.inference.fed().len().max(1);
        w.len(self.sections.len());
        for s in &self.sections {
            packing::write(w, &s.rows, s.rows.len() / positions);
            s.encode(w);
        }
        packing::write_wide(w, &self.sums);
    }
}

impl Decode for Answer {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let inference = Inference::decode(r)?;
        let n = r.len(RANGES_MAX)?;
        let mut sections = Vec::new();
        for _ in 0..n {
            let (rows, _) = packing::read(r, POSITIONS_MAX, limits::DIM)?;
            sections.push(Section {
                rows,
                end: r.u32()?,
                sum: decode_e(r)?,
                proof: RangeProof::decode(r)?,
            });
        }
        let sums = packing::read_wide(r, SUMS_MAX, SUM_MAX)?;
        Ok(Self {
            inference,
            sections,
            sums,
        })
    }
}

impl Encode for CommittedProof {
    fn encode(&self, w: &mut Writer) {
        w.raw(MAGIC);
        w.digest(&self.key);
        w.seq(&self.answers);
        w.i16s(&self.token_rows);
        self.blocks.encode(w);
        self.tokens.encode(w);
        w.u8(u8::from(self.head.is_some()));
        if let Some(head) = &self.head {
            head.encode(w);
        }
    }
}

impl Decode for CommittedProof {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.raw(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Invalid(
                "not a committed proof of this version",
            ));
        }
        Ok(Self {
            key: r.digest()?,
            answers: r.seq(ANSWERS_MAX)?,
            token_rows: r.i16s(TOKEN_CELLS_MAX)?,
            blocks: Opened::decode(r)?,
            tokens: Opened::decode(r)?,
            head: if r.bool()? {
                Some(Opened::decode(r)?)
            } else {
                None
            },
        })
    }
}

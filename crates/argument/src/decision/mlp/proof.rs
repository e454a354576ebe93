//! What the prover states in the clear, its messages, and their canonical bytes.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_decision::limits;

use crate::decision::Messages;

/// Most exceptions.
pub(super) const EXCEPTIONS_MAX: usize = 1 << 16;
/// Most stated inputs of one activation table: beyond, the whole table is looked up.
pub(super) const INPUTS_MAX: usize = 1 << 12;

/// A value that a clamp cut: the rounded value was `clamp + excess`, in sign of the excess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception {
    /// Layer.
    pub layer: u8,
    /// Output of the layer.
    pub row: u32,
    /// Decision.
    pub column: u32,
    /// What was cut off; not zero.
    pub excess: i64,
}

/// What is stated in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stated {
    /// Clamped values, in order of their cells.
    pub exceptions: Vec<Exception>,
    /// Per activation table: the inputs that occur, rising, each moved up by 2^15; empty for the whole table.
    pub inputs: Vec<Vec<u16>>,
}

/// That a perceptron gave some rows their scores.
#[derive(Debug, Clone)]
pub struct MlpProof {
    /// What is stated in the clear.
    pub stated: Stated,
    /// The argument.
    pub messages: Messages,
}

impl Stated {
    /// What it shows to whoever holds the proof.
    #[must_use]
    pub fn disclosed(&self) -> Vec<String> {
        let mut all = Vec::new();
        if !self.exceptions.is_empty() {
            let n = self.exceptions.len();
            all.push(format!("place and size of {n} values that a clamp cut"));
        }
        for (i, list) in self
            .inputs
            .iter()
            .enumerate()
            .filter(|(_, l)| !l.is_empty())
        {
            let n = list.len();
            all.push(format!(
                "the set of the {n} values that enter activation table {i}"
            ));
        }
        all
    }
}

impl Encode for Stated {
    fn encode(&self, w: &mut Writer) {
        w.len(self.exceptions.len());
        for x in &self.exceptions {
            w.u8(x.layer);
            w.u32(x.row);
            w.u32(x.column);
            w.i64(x.excess);
        }
        w.len(self.inputs.len());
        for list in &self.inputs {
            w.len(list.len());
            for v in list {
                w.u16(*v);
            }
        }
    }
}

impl Decode for Stated {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut stated = Self::default();
        for _ in 0..r.len(EXCEPTIONS_MAX)? {
            let x = Exception {
                layer: r.u8()?,
                row: r.u32()?,
                column: r.u32()?,
                excess: r.i64()?,
            };
            let place = |x: &Exception| (x.layer, x.row, x.column);
            let rising = stated
                .exceptions
                .last()
                .is_none_or(|l| place(l) < place(&x));
            if !rising {
                return Err(DecodeError::Invalid("clamped values out of order"));
            }
            stated.exceptions.push(x);
        }
        for _ in 0..r.len(limits::TABLES)? {
            let mut list: Vec<u16> = Vec::new();
            for _ in 0..r.len(INPUTS_MAX)? {
                let v = r.u16()?;
                // Index 0 is an input that no clamp puts out.
                if v <= list.last().copied().unwrap_or(0) {
                    return Err(DecodeError::Invalid("activation inputs out of order"));
                }
                list.push(v);
            }
            stated.inputs.push(list);
        }
        Ok(stated)
    }
}

impl Encode for MlpProof {
    fn encode(&self, w: &mut Writer) {
        self.stated.encode(w);
        self.messages.encode(w);
    }
}

impl Decode for MlpProof {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            stated: Stated::decode(r)?,
            messages: Messages::decode(r)?,
        })
    }
}

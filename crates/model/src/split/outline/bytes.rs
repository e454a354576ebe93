//! The outline as bytes: shape, tables, blocks, and a checksum over all of it.
//!
//! Sizes and clamps of layers follow from the shape and are not written.

use std::sync::Arc;

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};
use nesa_kernels::Divisors;

use super::{Outline, OutlineBlock};
use crate::ModelError;
use crate::block::{Common, numbers};
use crate::engine::packed::{BlockOf, FfnOf, Rounding};
use crate::manifest::Manifest;
use crate::ops::linear::{BIAS_MAX, LIFT_MAX};
use crate::ops::norm::Norm;
use crate::spec::{
    ACT_MAX, Order, QK_MAX, QK_PRE_MAX, RESIDUAL_MAX, Shape, UP_MAX, V_MAX, WIDE_MAX,
};
use crate::split::{Limbs, Product};

/// What tells an outline damaged on disk from one that is whole.
fn checksum(bytes: &[u8]) -> Digest {
    Hasher::new("nesa.model.outline.v1").bytes(bytes).finish()
}

impl Manifest {
    /// Decodes the outline of this model.
    ///
    /// An outline cannot be held against the model's root without the matrices, which are hashed with
    /// its constants: it names the roots of the blocks that it was made of, and its checksum is the only
    /// other tie. Whoever reads it has written it.
    ///
    /// # Errors
    /// [`ModelError`] for malformed or damaged bytes, or the outline of another model.
    pub fn open_outline(&self, bytes: &[u8]) -> Result<Outline, ModelError> {
        let outline = Outline::from_bytes(bytes)?;
        if outline.is_of(self) {
            Ok(outline)
        } else {
            Err(ModelError::Range("the outline, made of another model,"))
        }
    }
}

impl Encode for Outline {
    fn encode(&self, w: &mut Writer) {
        let mut body = Writer::default();
        self.shape.encode(&mut body);
        self.common.encode(&mut body);
        body.len(self.blocks.len());
        for block in &self.blocks {
            block.encode(&mut body);
        }
        w.raw(body.as_slice());
        w.digest(&checksum(body.as_slice()));
    }
}

impl Decode for Outline {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let all = r.clone();
        let shape = Shape::decode(r)?;
        let common = Common::decode(r)?;
        if !common.fits(&shape) {
            return Err(DecodeError::Invalid("rotation table"));
        }
        let n = r.len(shape.layers)?;
        let mut blocks = Vec::new();
        for _ in 0..n {
            blocks.push(OutlineBlock::decode(r, &shape, &common)?);
        }
        let body = all.clone().raw(all.remaining() - r.remaining())?;
        if r.digest()? != checksum(body) {
            return Err(DecodeError::Invalid("checksum of an outline"));
        }
        let common = Arc::new(common);
        Ok(Self {
            shape,
            common,
            whole: blocks.iter().all(|b| b.limbs == [Limbs::ONE; 4]),
            blocks,
        })
    }
}

impl OutlineBlock {
    fn encode(&self, w: &mut Writer) {
        let b = &self.parts;
        w.digest(&self.root);
        for limbs in self.limbs {
            w.u8(limbs.count as u8);
            w.u8(limbs.bits as u8);
        }
        b.attn_norm.encode(w);
        b.ffn_norm.encode(w);
        w.u8(b.table as u8);
        numbers(w, b.score.as_slice());
        numbers(w, b.mix.as_slice());
        for l in Product::ALL.iter().flat_map(|p| b.product(*p)) {
            rounding(w, l);
        }
        if let FfnOf::Gated {
            product,
            product_max,
            ..
        } = &b.ffn
        {
            numbers(w, product.as_slice());
            w.u32(product_max.unsigned_abs());
        }
    }

    fn decode(r: &mut Reader<'_>, s: &Shape, common: &Common) -> Result<Self, DecodeError> {
        let root = r.digest()?;
        let mut limbs = [Limbs::ONE; 4];
        for limbs in &mut limbs {
            limbs.count = usize::from(r.u8()?);
            limbs.bits = u32::from(r.u8()?);
            if !limbs.is_valid() {
                return Err(DecodeError::Invalid("limbs"));
            }
        }
        let (attn_norm, ffn_norm) = (norm(r, s)?, norm(r, s)?);
        let table = usize::from(r.u8()?);
        if table >= common.tables.len() {
            return Err(DecodeError::Invalid("table index"));
        }
        let (score, mix) = (divisors(r, s.heads)?, divisors(r, s.q_dim())?);
        let qk = if s.rotary { QK_PRE_MAX } else { QK_MAX };
        let (q, k) = (read(r, s.q_dim(), qk)?, read(r, s.kv_dim(), qk)?);
        let v = read(r, s.kv_dim(), V_MAX)?;
        let o = read(r, s.dim, RESIDUAL_MAX)?;
        let parts = BlockOf {
            attn_norm,
            q,
            k,
            v,
            score,
            mix,
            o,
            ffn_norm,
            table,
            ffn: ffn(r, s)?,
        };
        Ok(Self { parts, limbs, root })
    }
}

/// The feed-forward part.
fn ffn(r: &mut Reader<'_>, s: &Shape) -> Result<FfnOf<Rounding>, DecodeError> {
    if !s.gated {
        return Ok(FfnOf::Plain {
            up: read(r, s.ffn, ACT_MAX)?,
            down: read(r, s.dim, RESIDUAL_MAX)?,
        });
    }
    let (gate, up) = (read(r, s.ffn, ACT_MAX)?, read(r, s.ffn, UP_MAX)?);
    let down = read(r, s.dim, RESIDUAL_MAX)?;
    let product = divisors(r, s.ffn)?;
    let product_max = r.len(WIDE_MAX as usize)? as i32;
    if product_max < ACT_MAX {
        return Err(DecodeError::Invalid("largest product"));
    }
    Ok(FfnOf::Gated {
        gate,
        up,
        product,
        product_max,
        down,
    })
}

fn norm(r: &mut Reader<'_>, s: &Shape) -> Result<Norm, DecodeError> {
    let norm = Norm::decode(r)?;
    let max = match s.order {
        Order::Pre => ACT_MAX,
        Order::Post => RESIDUAL_MAX,
    };
    if norm.gain.len() == s.dim && norm.clamp <= max {
        Ok(norm)
    } else {
        Err(DecodeError::Invalid("norm"))
    }
}

fn divisors(r: &mut Reader<'_>, n: usize) -> Result<Divisors, DecodeError> {
    let values = crate::block::read_numbers(r, n)?;
    let divisors = Divisors::new(&values).map_err(|_| DecodeError::Invalid("divisor"))?;
    if divisors.len() == n {
        Ok(divisors)
    } else {
        Err(DecodeError::Invalid("number of divisors"))
    }
}

fn rounding(w: &mut Writer, l: &Rounding) {
    w.u8(l.lift as u8);
    numbers(w, l.divisors.as_slice());
    w.u8(u8::from(!l.bias.is_empty()));
    for b in &l.bias {
        w.i64(*b);
    }
}

/// The constants of a layer of `rows` rows whose outputs stay within `clamp`.
fn read(r: &mut Reader<'_>, rows: usize, clamp: i32) -> Result<Rounding, DecodeError> {
    let lift = u32::from(r.u8()?);
    if lift > LIFT_MAX || (lift > 0 && clamp != RESIDUAL_MAX) {
        return Err(DecodeError::Invalid("lift"));
    }
    let divisors = divisors(r, rows)?;
    let mut bias = Vec::new();
    if r.bool()? {
        bias.extend(
            r.raw(rows * 8)?
                .as_chunks()
                .0
                .iter()
                .map(|b| i64::from_le_bytes(*b)),
        );
        if bias.iter().any(|b| b.unsigned_abs() > BIAS_MAX) {
            return Err(DecodeError::Invalid("bias"));
        }
    }
    Ok(Rounding {
        divisors,
        bias,
        clamp,
        lift,
    })
}

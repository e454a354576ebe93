//! Blocks and vocabularies without their matrices, as bytes.
//!
//! Sizes and clamps of layers follow from the shape and are not written.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_model::Vocabulary;
use nesa_model::block::{Block, Common, Ffn};
use nesa_model::ops::linear::{BIAS_MAX, LIFT_MAX, Linear};
use nesa_model::ops::norm::Norm;
use nesa_model::spec::{
    ACT_MAX, LOGIT_MAX, Order, QK_MAX, QK_PRE_MAX, RESIDUAL_MAX, Shape, UP_MAX, V_MAX, WIDE_MAX,
    limits,
};

use crate::transformer::holds;

/// Rows and columns of the layers of one block, in the order of [`Block::linears`].
pub(super) fn sizes(s: &Shape) -> Vec<(usize, usize)> {
    let (d, q, kv, f) = (s.dim, s.q_dim(), s.kv_dim(), s.ffn);
    let mut all = vec![(q, d), (kv, d), (kv, d), (d, q), (f, d)];
    if s.gated {
        all.push((f, d));
    }
    all.push((d, f));
    all
}

/// A layer without its matrix.
fn bare(l: &Linear) -> Linear {
    Linear {
        rows: l.rows,
        cols: l.cols,
        weight: Vec::new(),
        bias: l.bias.clone(),
        divisor: l.divisor.clone(),
        lift: l.lift,
        clamp: l.clamp,
    }
}

/// A block without its matrices.
pub(super) fn block(b: &Block) -> Block {
    let ffn = match &b.ffn {
        Ffn::Gated {
            gate,
            up,
            product,
            product_max,
            down,
        } => Ffn::Gated {
            gate: bare(gate),
            up: bare(up),
            product: product.clone(),
            product_max: *product_max,
            down: bare(down),
        },
        Ffn::Plain { up, down } => Ffn::Plain {
            up: bare(up),
            down: bare(down),
        },
    };
    Block {
        attn_norm: b.attn_norm.clone(),
        q: bare(&b.q),
        k: bare(&b.k),
        v: bare(&b.v),
        score: b.score.clone(),
        mix: b.mix.clone(),
        o: bare(&b.o),
        ffn_norm: b.ffn_norm.clone(),
        table: b.table,
        ffn,
    }
}

/// A vocabulary without its token rows and the head's matrix.
pub(super) fn vocabulary(v: &Vocabulary) -> Vocabulary {
    Vocabulary {
        tokens: Vec::new(),
        positions: v.positions.clone(),
        unit: v.unit,
        embed_norm: v.embed_norm.clone(),
        final_norm: v.final_norm.clone(),
        head: v.head.as_ref().map(bare),
    }
}

fn numbers(w: &mut Writer, v: &[u32]) {
    v.iter().for_each(|d| w.u32(*d));
}

fn read_numbers(r: &mut Reader<'_>, n: usize) -> Result<Vec<u32>, DecodeError> {
    let number = |b: &[u8; 4]| u32::from_le_bytes(*b);
    Ok(r.raw(n * 4)?.as_chunks().0.iter().map(number).collect())
}

fn write_linear(w: &mut Writer, l: &Linear) {
    w.u8(l.lift as u8);
    numbers(w, &l.divisor);
    w.u8(u8::from(!l.bias.is_empty()));
    l.bias.iter().for_each(|b| w.i64(*b));
}

fn read_linear(
    r: &mut Reader<'_>,
    (rows, cols): (usize, usize),
    clamp: i32,
) -> Result<Linear, DecodeError> {
    let lift = u32::from(r.u8()?);
    let divisor = read_numbers(r, rows)?;
    let mut bias = Vec::new();
    if r.bool()? {
        let number = |b: &[u8; 8]| i64::from_le_bytes(*b);
        bias.extend(r.raw(rows * 8)?.as_chunks().0.iter().map(number));
    }
    let whole = lift <= LIFT_MAX
        && divisor.iter().all(|d| d % 2 == 1 && *d < 1 << 31)
        && bias.iter().all(|b| b.unsigned_abs() <= BIAS_MAX);
    if !whole {
        return Err(DecodeError::Invalid("a layer of a key"));
    }
    Ok(Linear {
        rows,
        cols,
        weight: Vec::new(),
        bias,
        divisor,
        lift,
        clamp,
    })
}

pub(super) fn write_block(w: &mut Writer, b: &Block) {
    b.attn_norm.encode(w);
    b.ffn_norm.encode(w);
    w.u8(b.table);
    numbers(w, &b.score);
    numbers(w, &b.mix);
    for (_, l, _) in b.linears(Order::Pre) {
        write_linear(w, l);
    }
    if let Ffn::Gated {
        product,
        product_max,
        ..
    } = &b.ffn
    {
        numbers(w, product);
        w.u32(product_max.unsigned_abs());
    }
}

/// Reads a block that fits `s` and `common`, within the limits of the argument.
pub(super) fn read_block(
    r: &mut Reader<'_>,
    s: &Shape,
    common: &Common,
) -> Result<Block, DecodeError> {
    let (attn_norm, ffn_norm) = (Norm::decode(r)?, Norm::decode(r)?);
    let table = r.u8()?;
    let (score, mix) = (read_numbers(r, s.heads)?, read_numbers(r, s.q_dim())?);
    let qk = if s.rotary { QK_PRE_MAX } else { QK_MAX };
    let sizes = sizes(s);
    let q = read_linear(r, sizes[0], qk)?;
    let k = read_linear(r, sizes[1], qk)?;
    let v = read_linear(r, sizes[2], V_MAX)?;
    let o = read_linear(r, sizes[3], RESIDUAL_MAX)?;
    let first = read_linear(r, sizes[4], ACT_MAX)?;
    let ffn = if s.gated {
        Ffn::Gated {
            gate: first,
            up: read_linear(r, sizes[5], UP_MAX)?,
            down: read_linear(r, sizes[6], RESIDUAL_MAX)?,
            product: read_numbers(r, s.ffn)?,
            product_max: r.len(WIDE_MAX as usize)? as i32,
        }
    } else {
        Ffn::Plain {
            up: first,
            down: read_linear(r, sizes[5], RESIDUAL_MAX)?,
        }
    };
    let block = Block {
        attn_norm,
        q,
        k,
        v,
        score,
        mix,
        o,
        ffn_norm,
        table,
        ffn,
    };
    if block.fits(s, common) && holds(&block, false) {
        Ok(block)
    } else {
        Err(DecodeError::Invalid("a block of a key"))
    }
}

fn write_norm(w: &mut Writer, n: Option<&Norm>) {
    w.u8(u8::from(n.is_some()));
    if let Some(n) = n {
        n.encode(w);
    }
}

fn read_norm(r: &mut Reader<'_>, s: &Shape) -> Result<Option<Norm>, DecodeError> {
    if !r.bool()? {
        return Ok(None);
    }
    let norm = Norm::decode(r)?;
    if norm.gain.len() == s.dim {
        Ok(Some(norm))
    } else {
        Err(DecodeError::Invalid("a normalisation of a key"))
    }
}

pub(super) fn write_vocabulary(w: &mut Writer, v: &Vocabulary) {
    w.i16s(&v.positions);
    w.u32(v.unit);
    write_norm(w, v.embed_norm.as_ref());
    write_norm(w, v.final_norm.as_ref());
    w.u8(u8::from(v.head.is_some()));
    if let Some(head) = &v.head {
        write_linear(w, head);
    }
}

pub(super) fn read_vocabulary(r: &mut Reader<'_>, s: &Shape) -> Result<Vocabulary, DecodeError> {
    let positions = r.i16s(limits::CONTEXT * limits::DIM)?;
    let unit = r.u32()?;
    let (embed_norm, final_norm) = (read_norm(r, s)?, read_norm(r, s)?);
    let head = if r.bool()? {
        Some(read_linear(r, (s.vocab, s.dim), LOGIT_MAX)?)
    } else {
        None
    };
    let lifted = head.as_ref().is_some_and(|h| h.lift != 0);
    let placed = positions.is_empty() || positions.len() == s.context * s.dim;
    if lifted || !placed || unit == 0 {
        return Err(DecodeError::Invalid("the vocabulary of a key"));
    }
    Ok(Vocabulary {
        tokens: Vec::new(),
        positions,
        unit,
        embed_norm,
        final_norm,
        head,
    })
}

//! Rewrite one block so that it computes on hidden rows: `sealed(T x) = T block(x)`, bit for bit.
//!
//! Each index space of the block has one signed permutation ([`Maps`]); every operator is conjugated
//! by the maps of its inputs and outputs. `docs/spec/ee.md` says why each map is exact.

use nesa_model::block::Common;
use nesa_model::{Block, Ffn, Linear, Norm, NormKind, Shape};

use crate::PrivacyError;
use crate::key::{ModelKey, Purpose};
use crate::map::Map;
use crate::rows::{has_signs, row_map};

/// Rewrites `block`, the `layer`-th of a model of `shape`, under `key`.
///
/// The sealed block fits the same shape and the same `common`, which nodes use unchanged.
///
/// # Errors
/// [`PrivacyError::Unsupported`] when the block does not fit the shape, holds a value that cannot be
/// negated, or normalises by LayerNorm where the shape lets rows change signs.
pub fn seal_block(
    shape: &Shape,
    common: &Common,
    key: &ModelKey,
    layer: u32,
    block: &Block,
) -> Result<Block, PrivacyError> {
    check(shape, common, layer, block)?;
    let choices = Choices::new(key, shape, layer);
    Ok(choices.maps(shape, row_map(key, shape)).seal(block))
}

/// What is drawn for one layer.
#[derive(Clone)]
struct Choices {
    /// (kv_heads): source of each KV head.
    kv_heads: Vec<u32>,
    /// (kv_heads, group): for each source KV head, the source of each of its query heads.
    q_heads: Vec<Vec<u32>>,
    /// (kv_heads): for each source KV head, its query and key channels.
    query_key: Vec<Map>,
    /// (kv_heads): for each source KV head, its value channels.
    value: Vec<Map>,
    /// Feed-forward channels; signs are for the up path.
    feed_forward: Map,
}

/// One signed permutation per index space.
struct Maps {
    rows: Map,
    /// (heads·head_dim) of queries.
    q: Map,
    /// (kv_heads·head_dim) of keys.
    k: Map,
    /// (kv_heads·head_dim) of values.
    v: Map,
    /// (heads·head_dim) of mixed values.
    mixed: Map,
    /// (heads).
    heads: Map,
    /// (ffn) of the gate branch.
    gate: Map,
    /// (ffn) of the up branch and of the product.
    up: Map,
}

impl Choices {
    fn new(key: &ModelKey, shape: &Shape, layer: u32) -> Self {
        let (kv, hd) = (shape.kv_heads, shape.head_dim);
        let mut heads = key.stream(Purpose::QueryHeads, layer);
        let mut query_key = key.stream(Purpose::QueryKey, layer);
        let mut value = key.stream(Purpose::Value, layer);
        let mut ffn = key.stream(Purpose::FeedForward, layer);
        Self {
            kv_heads: key.stream(Purpose::KvHeads, layer).permutation(kv),
            q_heads: (0..kv).map(|_| heads.permutation(shape.group())).collect(),
            query_key: (0..kv)
                .map(|_| {
                    if shape.rotary {
                        Map::quarter_turns(&mut query_key, hd / 2)
                    } else {
                        Map::signed(&mut query_key, hd)
                    }
                })
                .collect(),
            value: (0..kv).map(|_| Map::signed(&mut value, hd)).collect(),
            feed_forward: if shape.gated {
                Map::signed(&mut ffn, shape.ffn)
            } else {
                Map::permutation(&mut ffn, shape.ffn)
            },
        }
    }

    fn maps(&self, shape: &Shape, rows: Map) -> Maps {
        let (hd, group) = (shape.head_dim, shape.group());
        let kv_heads = self.kv_heads.iter().map(|&g| g as usize);
        // (source query head, its group), in the sealed order.
        let q_heads = kv_heads.clone().flat_map(|g| {
            self.q_heads[g]
                .iter()
                .map(move |&h| (g * group + h as usize, g))
        });
        let heads = q_heads.clone().map(|(h, _)| h as u32).collect();
        Maps {
            rows,
            q: Map::blocks(hd, q_heads.clone().map(|(h, g)| (h, &self.query_key[g]))),
            k: Map::blocks(hd, kv_heads.clone().map(|g| (g, &self.query_key[g]))),
            v: Map::blocks(hd, kv_heads.map(|g| (g, &self.value[g]))),
            mixed: Map::blocks(hd, q_heads.map(|(h, g)| (h, &self.value[g]))),
            heads: Map::new(heads, std::iter::repeat(false)),
            gate: self.feed_forward.without_signs(),
            up: self.feed_forward.clone(),
        }
    }
}

impl Maps {
    fn seal(&self, b: &Block) -> Block {
        let rows = &self.rows;
        Block {
            attn_norm: rows.norm(&b.attn_norm),
            q: self.q.linear(&b.q, rows),
            k: self.k.linear(&b.k, rows),
            v: self.v.linear(&b.v, rows),
            score: self.heads.permute(&b.score),
            mix: self.mixed.permute(&b.mix),
            o: rows.linear(&b.o, &self.mixed),
            ffn_norm: rows.norm(&b.ffn_norm),
            table: b.table,
            ffn: match &b.ffn {
                Ffn::Gated {
                    gate,
                    up,
                    product,
                    product_max,
                    down,
                } => Ffn::Gated {
                    gate: self.gate.linear(gate, rows),
                    up: self.up.linear(up, rows),
                    product: self.up.permute(product),
                    product_max: *product_max,
                    down: rows.linear(down, &self.up),
                },
                Ffn::Plain { up, down } => Ffn::Plain {
                    up: self.up.linear(up, rows),
                    down: rows.linear(down, &self.up),
                },
            },
        }
    }
}

fn check(shape: &Shape, common: &Common, layer: u32, b: &Block) -> Result<(), PrivacyError> {
    if !shape.is_valid() || layer as usize >= shape.layers {
        return Err(PrivacyError::Unsupported(
            "a layer beyond the model's shape",
        ));
    }
    let whole = |l: &Linear| {
        l.weight.len() == l.rows * l.cols
            && l.divisor.len() == l.rows
            && (l.bias.is_empty() || l.bias.len() == l.rows)
    };
    let linears = b.linears(shape.order);
    let norms = [&b.attn_norm, &b.ffn_norm];
    let bias_fits = |n: &&Norm| n.bias.is_empty() || n.bias.len() == shape.dim;
    if !b.fits(shape, common)
        || !linears.iter().all(|(_, l, _)| whole(l))
        || !norms.iter().all(bias_fits)
    {
        return Err(PrivacyError::Unsupported(
            "a block that does not fit its shape",
        ));
    }
    if linears.iter().any(|(_, l, _)| l.weight.contains(&i8::MIN)) {
        return Err(PrivacyError::Unsupported("a weight of -128"));
    }
    if has_signs(shape) && norms.iter().any(|n| n.kind == NormKind::Layer) {
        return Err(PrivacyError::Unsupported(
            "a rotary model that normalises by mean and variance before its operators",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

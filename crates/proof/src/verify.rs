//! Re-establish a level from a bundle. No input makes this panic; no option weakens it.

use std::collections::BTreeMap;

use nesa_codec::{Digest, merkle};
use nesa_model::engine::Span;
use nesa_model::spec::{QK_MAX, RESIDUAL_MAX, Shape, V_MAX};
use nesa_model::{Engine, KvCache, Shard};

use crate::bundle::{Bundle, HOPS_MAX, Second};
use crate::dispute::Claim;
use crate::opening::LayerOpening;
use crate::statement::SignedHop;
use crate::{challenge, holding};

/// A level of evidence, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Signatures over chained statements.
    Receipt,
    /// Random cells recomputed with bit equality.
    Spot,
    /// Every linear operation checked, and everything else computed, by the client while it asked. A
    /// receipt alone never re-establishes this level.
    Checked,
    /// For every range, nodes of two operators signed the same trace, or a dispute between them ended at
    /// one step that a third party executed ([`crate::dispute`]) and the loser is left out.
    Refereed,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Receipt => "receipt",
            Self::Spot => "spot",
            Self::Checked => "checked",
            Self::Refereed => "refereed",
        })
    }
}

/// What verification re-established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The strongest level that holds.
    pub level: Level,
    /// Cells recomputed.
    pub cells: u64,
    /// Cells in all.
    pub cells_total: u64,
}

/// Why evidence was refused. `hop` counts from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The client's signature does not cover the bundle as it is.
    #[error("the bundle was changed after the client signed it")]
    BundleSignature,
    /// A hop's signature does not cover its statement.
    #[error("hop {hop}: the signature does not match the statement")]
    HopSignature {
        /// The hop.
        hop: usize,
    },
    /// Statements that do not belong together.
    #[error("hop {hop}: {what} does not match the session")]
    Chain {
        /// The hop.
        hop: usize,
        /// What differs.
        what: &'static str,
    },
    /// The statements do not cover the whole model.
    #[error("the hops cover blocks 0..{covered} of {layers}")]
    Coverage {
        /// Blocks covered without a gap.
        covered: u32,
        /// Blocks of the model.
        layers: u32,
    },
    /// The cells opened are not the ones drawn.
    #[error("hop {hop}: opened other cells than the ones drawn")]
    Cells {
        /// The hop.
        hop: usize,
    },
    /// An opening does not lead to the signed trace root.
    #[error("hop {hop}, layer {layer}: the opening does not lead to the signed trace")]
    Opening {
        /// The hop.
        hop: usize,
        /// The layer.
        layer: u32,
    },
    /// A cell does not hold what the model computes.
    #[error("hop {hop}, layer {layer}, position {position}: the recomputed {what} differs")]
    Cell {
        /// The hop.
        hop: usize,
        /// The layer.
        layer: u32,
        /// The position.
        position: u32,
        /// The row that differs.
        what: &'static str,
    },
    /// A holder's signature does not cover its statement.
    #[error("holder {holder}: the signature does not match the statement")]
    HolderSignature {
        /// The holder, counted from 0.
        holder: usize,
    },
    /// A holder's statement does not belong to the others.
    #[error("holder {holder}: {what} does not match the session")]
    Holder {
        /// The holder, counted from 0.
        holder: usize,
        /// What differs.
        what: &'static str,
    },
    /// A block was held at too few points.
    #[error("block {layer} was held at {held} points, {needed} make an answer")]
    Points {
        /// The block.
        layer: u32,
        /// Points stated.
        held: usize,
        /// One more than the threshold.
        needed: usize,
    },
    /// Something found while every product was checked.
    #[error(transparent)]
    Checked(#[from] crate::checked::Wrong),
    /// A second side does not state what the hop does.
    #[error("second side of hop {hop}: {what}")]
    Second {
        /// The hop.
        hop: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The rows at the client's end do not match.
    #[error("{0} does not match the statements")]
    Ends(&'static str),
}

impl Violation {
    /// The hop at fault, where one is.
    #[must_use]
    pub fn hop(&self) -> Option<usize> {
        match self {
            Self::HopSignature { hop }
            | Self::Chain { hop, .. }
            | Self::Cells { hop }
            | Self::Opening { hop, .. }
            | Self::Cell { hop, .. } => Some(*hop),
            Self::Checked(wrong) => Some(wrong.hop()),
            _ => None,
        }
    }
}

/// What is common to all statements of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The session.
    pub session: Digest,
    /// Root of the model that the nodes run.
    pub model: Digest,
    /// Positions computed.
    pub positions: u32,
    /// Blocks of the model.
    pub layers: u32,
    /// Commitment to the challenge nonce.
    pub nonce_commitment: Digest,
}

/// Checks signatures and that statements chain from block 0 to the last.
///
/// # Errors
/// The first [`Violation`].
pub fn chain(hops: &[SignedHop], e: &Expected) -> Result<(), Violation> {
    let mut covered = 0;
    let mut previous: Option<Digest> = None;
    for (hop, h) in hops.iter().enumerate().take(HOPS_MAX) {
        let s = &h.statement;
        if !h.is_signed() {
            return Err(Violation::HopSignature { hop });
        }
        let fits = [
            (s.session == e.session, "the session"),
            (s.model == e.model, "the model"),
            (
                s.nonce_commitment == e.nonce_commitment,
                "the challenge commitment",
            ),
            (s.positions == e.positions, "the number of positions"),
            (
                s.first == covered && s.end > s.first && s.end <= e.layers,
                "the range of blocks",
            ),
            (
                previous.is_none_or(|p| p == s.input),
                "the input (not what the hop before put out)",
            ),
        ];
        if let Some((_, what)) = fits.iter().find(|f| !f.0) {
            return Err(Violation::Chain { hop, what });
        }
        covered = s.end;
        previous = Some(s.output);
    }
    if covered == e.layers {
        Ok(())
    } else {
        Err(Violation::Coverage {
            covered,
            layers: e.layers,
        })
    }
}

/// Gives the packed block of a layer, as a shard of that one block, if the verifier has it.
pub type Blocks<'a> = dyn FnMut(u32) -> Option<std::sync::Arc<Shard>> + 'a;

/// Recomputes every opened cell of one layer.
///
/// # Errors
/// [`Violation::Opening`] or [`Violation::Cell`].
pub fn recompute(
    hop: usize,
    shape: &Shape,
    shard: &Shard,
    engine: &mut Engine,
    o: &LayerOpening,
) -> Result<(), Violation> {
    let layer = o.layer;
    let malformed = Violation::Opening { hop, layer };
    let kv = shape.kv_dim();
    // What lies outside the ranges of IntSpec is no model's, and no kernel is made for it.
    let sized = (o.cached.iter())
        .all(|p| p.k.len() == kv && p.v.len() == kv && within(&p.k, QK_MAX) && within(&p.v, V_MAX))
        && (o.inputs.iter().chain(&o.outputs))
            .all(|r| r.len() == shape.dim && within(r, RESIDUAL_MAX));
    let last = o.cached.len();
    if !sized || last > shape.context || shard.layers() != (layer as usize..layer as usize + 1) {
        return Err(malformed);
    }
    let mut cache = KvCache::new(shape, &shard.layers(), last);
    for (p, row) in o.cached.iter().enumerate() {
        cache.store(0, p, &row.k, &row.v);
    }
    for ((&position, input), output) in o.positions.iter().zip(&o.inputs).zip(&o.outputs) {
        let at = position as usize;
        let stated = o.cached.get(at).ok_or_else(|| malformed.clone())?;
        cache.resume(at);
        let mut x = input.clone();
        let spans = &mut [Span {
            cache: &mut cache,
            rows: 1,
        }];
        engine
            .block(shard, 0, &mut x, spans)
            .map_err(|_| malformed.clone())?;
        let cell = |what| Violation::Cell {
            hop,
            layer,
            position,
            what,
        };
        let (k, v) = cache.row(0, at);
        // Put back what was stated, so that later cells are judged on the stated cache.
        cache.store(0, at, &stated.k, &stated.v);
        if k != stated.k || v != stated.v {
            return Err(cell("key or value row"));
        }
        if x != *output {
            return Err(cell("output row"));
        }
    }
    Ok(())
}

/// Whether all `values` lie within `[-max, max]`.
#[must_use]
pub fn within<T: Copy + Into<i32>>(values: &[T], max: i32) -> bool {
    (values.iter()).all(|&v| (-max..=max).contains(&v.into()))
}

/// Checks that exactly the drawn cells were opened, and recomputes them where blocks are at hand.
///
/// Returns the number of cells recomputed.
///
/// # Errors
/// The first [`Violation`].
pub fn spot(
    hops: &[SignedHop],
    e: &Expected,
    nonce: &Digest,
    k: u64,
    openings: &[LayerOpening],
    shape: &Shape,
    blocks: &mut Blocks<'_>,
    engine: &mut Engine,
) -> Result<u64, Violation> {
    let mut wanted: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (layer, pos) in challenge::draw(nonce, hops, e.layers, e.positions, k) {
        wanted.entry(layer).or_default().push(pos);
    }
    let hop_of = |layer: u32| {
        hops.iter()
            .position(|h| (h.statement.first..h.statement.end).contains(&layer))
            .unwrap_or(usize::MAX)
    };
    let opened: BTreeMap<u32, &LayerOpening> = openings.iter().map(|o| (o.layer, o)).collect();
    for (&layer, positions) in &wanted {
        if opened.get(&layer).is_none_or(|o| o.positions != *positions) {
            return Err(Violation::Cells { hop: hop_of(layer) });
        }
    }
    if let Some(extra) = openings.iter().find(|o| !wanted.contains_key(&o.layer)) {
        return Err(Violation::Cells {
            hop: hop_of(extra.layer),
        });
    }
    if opened.len() != openings.len() {
        return Err(Violation::Cells { hop: 0 });
    }
    let mut done = 0;
    for o in openings {
        let hop = hop_of(o.layer);
        let s = &hops.get(hop).ok_or(Violation::Cells { hop })?.statement;
        if !o.leads_to(s) {
            return Err(Violation::Opening {
                hop,
                layer: o.layer,
            });
        }
        if let Some(shard) = blocks(o.layer) {
            recompute(hop, shape, &shard, engine, o)?;
            done += o.positions.len() as u64;
        }
    }
    Ok(done)
}

/// Verifies a bundle as far as the verifier's own knowledge goes.
///
/// `layers` and `shape` come from the verifier's copy of the model, where it has one; without it
/// the hops' own coverage counts and only level `receipt` can be re-established.
///
/// # Errors
/// The first [`Violation`].
pub fn bundle(
    b: &Bundle,
    shape: Option<&Shape>,
    blocks: &mut Blocks<'_>,
    engine: &mut Engine,
) -> Result<Verdict, Violation> {
    if !b.is_signed() {
        return Err(Violation::BundleSignature);
    }
    if !b.holders.is_empty() || b.inference.privacy == holding::PRIVACY {
        holding::check(b, shape.map(|s| s.layers as u32))?;
        return Ok(Verdict {
            level: Level::Receipt,
            cells: 0,
            cells_total: 0,
        });
    }
    let first = b.hops.first().ok_or(Violation::Coverage {
        covered: 0,
        layers: 0,
    })?;
    let stated = b.hops.iter().map(|h| h.statement.end).max().unwrap_or(0);
    let e = Expected {
        session: first.statement.session,
        model: first.statement.model,
        positions: first.statement.positions,
        layers: shape.map_or(stated, |s| s.layers as u32),
        nonce_commitment: challenge::commit(&b.nonce),
    };
    chain(&b.hops, &e)?;
    ends(b)?;
    let refereed = is_refereed(b)?;
    let cells_total = u64::from(e.layers) * u64::from(e.positions);
    let mut verdict = Verdict {
        level: if refereed {
            Level::Refereed
        } else {
            Level::Receipt
        },
        cells: 0,
        cells_total,
    };
    let Some(shape) = shape else {
        return Ok(verdict);
    };
    verdict.cells = spot(
        &b.hops,
        &e,
        &b.nonce,
        b.cells,
        &b.openings,
        shape,
        blocks,
        engine,
    )?;
    if verdict.cells > 0 && verdict.cells == b.cells.min(cells_total) {
        verdict.level = verdict.level.max(Level::Spot);
    }
    Ok(verdict)
}

/// Whether every hop's range was run by a second side of another operator. That operators are who they say
/// is their own word; a client that computed ranges itself is no second side to others.
fn is_refereed(b: &Bundle) -> Result<bool, Violation> {
    seconds(&b.hops, &b.seconds)?;
    let other = |(s, operator): (&Second, &String)| {
        s.hop.statement.node != b.client && s.operator != *operator
    };
    let mut pairs = b.seconds.iter().zip(&b.inference.operators);
    Ok(!b.seconds.is_empty() && pairs.all(other))
}

/// Checks that second sides, where there are any, signed the claims that the hops did.
///
/// # Errors
/// [`Violation::Second`].
pub fn seconds(hops: &[SignedHop], seconds: &[Second]) -> Result<(), Violation> {
    if !seconds.is_empty() && seconds.len() != hops.len() {
        let what = "there is none for every hop";
        return Err(Violation::Second {
            hop: seconds.len().min(hops.len()),
            what,
        });
    }
    for (hop, (h, s)) in hops.iter().zip(seconds).enumerate() {
        let wrong = |what| Err(Violation::Second { hop, what });
        if !s.hop.is_signed() {
            return wrong("its signature does not match its statement");
        }
        if s.hop.statement.node == h.statement.node {
            return wrong("it is the hop's own node");
        }
        if Claim::of(&s.hop.statement) != Claim::of(&h.statement) {
            return wrong("it states another trace");
        }
    }
    Ok(())
}

/// The rows at the client's end: what it sampled from is what the last hop put out.
///
/// # Errors
/// [`Violation::Ends`].
pub fn ends(b: &Bundle) -> Result<(), Violation> {
    let i = &b.inference;
    let last = b.hops.last().ok_or(Violation::Ends("the list of hops"))?;
    let positions = last.statement.positions as usize;
    if merkle::root(&i.output_rows) != last.statement.output || i.output_rows.len() != positions {
        return Err(Violation::Ends("the list of output rows"));
    }
    // The answer's first token was sampled at the prompt's last position.
    let sampled = (i.prompt.len() + i.rows.len()).checked_sub(1);
    let counted = i.rows.len() == i.answer.len()
        && !i.prompt.is_empty()
        && (i.rows.is_empty() || sampled == Some(positions));
    if !counted {
        return Err(Violation::Ends("the number of tokens"));
    }
    let at = positions - i.rows.len();
    for (row, digest) in i.rows.iter().zip(&i.output_rows[at..]) {
        if crate::trace::row(row) != *digest || !within(row, RESIDUAL_MAX) {
            return Err(Violation::Ends("a row that a token was sampled from"));
        }
    }
    if i.operators.len() != b.hops.len() {
        return Err(Violation::Ends("the list of operators"));
    }
    Ok(())
}

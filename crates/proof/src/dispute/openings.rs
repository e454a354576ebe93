//! What a step is executed from: everything that it reads and its constants, each with its way to
//! the agreed trace, the agreed earlier steps, or the model's root.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};
use nesa_model::opening::{self, Layout, LinearTile};
use nesa_model::spec::{Order, Shape, TILE_ROWS, limits};
use nesa_model::{Manifest, Norm};

use super::apply::{Inputs, Output, Params};
use super::program::{ACTIVATIONS, Op, Program};
use super::slice::Slice;
use super::tree::{self, SIBLINGS_MAX};
use super::{Agreed, Invalid};
use crate::opening::Cached;
use crate::trace;

/// A run of positions of one list of the trace, without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceRun {
    /// Root of the list.
    pub root: Digest,
    /// From the list's root to the trace root.
    pub path: merkle::Path,
    /// Siblings beside the run.
    pub beside: Vec<Digest>,
}

/// Everything that one step needs. What it does not need is left empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Openings {
    /// The row before the layer.
    pub row: Option<(Vec<i32>, TraceRun)>,
    /// Cached rows of a window of positions.
    pub cached: Option<(Vec<Cached>, TraceRun)>,
    /// Per run of earlier steps: all their values in order, and the siblings beside.
    pub steps: Vec<(Vec<i32>, Vec<Digest>)>,
    /// Roots of the block's operators.
    pub operators: Vec<Digest>,
    /// A norm, whole.
    pub norm: Option<Norm>,
    /// A tile of a linear layer.
    pub tile: Option<LinearTile>,
    /// Digests between: the rotation's and the activation tables', or the product divisors'.
    pub digests: Vec<Digest>,
    /// Numbers between: the index of the table, or the largest product.
    pub numbers: Vec<u32>,
    /// Parts of tables.
    pub slices: Vec<Slice>,
}

/// The leaf of an operator's linear layer or norm in the block's tree, and its (rows, cols).
pub(super) fn matrix(s: &Shape, op: Op) -> Option<(usize, usize, usize)> {
    let (d, q, kv, f) = (s.dim, s.q_dim(), s.kv_dim(), s.ffn);
    Some(match op {
        Op::Q => (1, q, d),
        Op::K => (2, kv, d),
        Op::V => (3, kv, d),
        Op::Output => (6, d, q),
        Op::Gate => (9, f, d),
        Op::Up => (10, f, d),
        Op::Down => (if s.gated { 12 } else { 10 }, d, f),
        _ => return None,
    })
}

/// The leaf of the norm that `op` applies, if it applies one.
pub(super) fn norm_of(s: &Shape, op: Op) -> Option<usize> {
    match (op, s.order) {
        (Op::Input, Order::Pre) | (Op::MiddleNorm, Order::Post) => Some(0),
        (Op::FfnInput, Order::Pre) | (Op::OutputNorm, Order::Post) => Some(7),
        _ => None,
    }
}

/// Where the divisors of an operator lie: leaf of the block's tree, and the part of its bytes.
pub(super) fn divisors_of(p: &Program<'_>, op: Op, part: usize) -> Option<(usize, Layout)> {
    let (s, windows) = (p.shape, p.windows().max(1));
    let at = |ns, n, first, count| opening::numbers_layout(ns, n, first, count);
    Some(match op {
        Op::Exp | Op::Mix => (4, at(opening::SCORE, s.heads, part / windows, 1)),
        Op::Attend => (
            5,
            at(opening::MIX, s.q_dim(), part * s.head_dim, s.head_dim),
        ),
        Op::Product => {
            let n = p.width(op, part);
            (11, at(opening::PRODUCT, s.ffn, part * TILE_ROWS, n))
        }
        _ => return None,
    })
}

/// The inputs of an activation step among the tile that it reads.
pub(super) fn activated(p: &Program<'_>, part: usize, tile: &[i32]) -> Option<Vec<i16>> {
    let at = part * ACTIVATIONS % TILE_ROWS;
    let values = tile.get(at..at + p.width(Op::Activation, part))?;
    Some(
        values
            .iter()
            .map(|v| v.clamp(&-32_767, &32_767))
            .map(|&v| v as i16)
            .collect(),
    )
}

fn check(ok: bool, what: &'static str) -> Result<(), Invalid> {
    if ok { Ok(()) } else { Err(Invalid(what)) }
}

fn shorts(bytes: &[u8]) -> Vec<i16> {
    (bytes.chunks_exact(2))
        .map(|b| i16::from_le_bytes([b[0], b[1]]))
        .collect()
}

fn numbers(bytes: &[u8]) -> Option<Vec<u32>> {
    let odd = |b: &[u8]| {
        let mut wide = [0; 8];
        wide.copy_from_slice(b);
        let d = u32::try_from(u64::from_le_bytes(wide)).ok()?;
        (d % 2 == 1 && d < 1 << 31).then_some(d)
    };
    bytes.chunks_exact(8).map(odd).collect()
}

impl Openings {
    /// The output of step `m`, executed from these openings alone.
    ///
    /// # Errors
    /// [`Invalid`] where an opening is missing, superfluous, or leads elsewhere.
    pub fn execute(
        &self,
        manifest: &Manifest,
        agreed: &Agreed,
        p: &Program<'_>,
        m: usize,
        exp: &[u16],
    ) -> Result<Output, Invalid> {
        let step = p.at(m).ok_or(Invalid("the number of the step"))?;
        let inputs = self.inputs(agreed, p, step)?;
        let params = self.params(manifest, p, step, &inputs)?;
        p.apply(step, &inputs, &params, exp)
            .ok_or(Invalid("the size of an input or constant"))
    }

    fn inputs(
        &self,
        a: &Agreed,
        p: &Program<'_>,
        (op, part): (Op, usize),
    ) -> Result<Inputs, Invalid> {
        let (reads, s) = (p.reads(op, part), p.shape);
        let mut out = Inputs::default();
        check(self.row.is_some() == reads.row, "the row before")?;
        check(
            self.cached.is_some() != reads.cached.is_empty(),
            "the cached rows",
        )?;
        check(self.steps.len() == reads.steps.len(), "the earlier steps")?;
        let at = 2 * p.cell.layer.saturating_sub(a.first) as usize;
        if let Some((row, run)) = &self.row {
            let leaf = [trace::row(row)];
            let ok = row.len() == s.dim && run.leads(a, at, p.cell.position as usize, &leaf);
            check(ok, "the row before")?;
            out.row.clone_from(row);
        }
        if let Some((rows, run)) = &self.cached {
            let leaves: Vec<Digest> = rows.iter().map(|c| trace::cached(&c.k, &c.v)).collect();
            let sized = |c: &Cached| c.k.len() == s.kv_dim() && c.v.len() == s.kv_dim();
            let ok = rows.len() == reads.cached.len()
                && rows.iter().all(sized)
                && run.leads(a, at + 1, reads.cached.start, &leaves);
            check(ok, "the cached rows")?;
            out.cached.clone_from(rows);
        }
        for ((values, beside), span) in self.steps.iter().zip(&reads.steps) {
            let (mut left, mut leaves) = (&values[..], Vec::with_capacity(span.len));
            for m in span.lo..span.lo + span.len {
                let (op, part) = p.at(m).ok_or(Invalid("the earlier steps"))?;
                let cut = left.split_at_checked(p.width(op, part));
                let (own, rest) = cut.ok_or(Invalid("the earlier steps"))?;
                leaves.push(Output::Values(own.to_vec()).leaf());
                left = rest;
            }
            let ok = left.is_empty() && tree::covers(&a.cell, p.len(), span.lo, &leaves, beside);
            check(ok, "the earlier steps")?;
            out.steps.push(values.clone());
        }
        Ok(out)
    }

    fn params(
        &self,
        manifest: &Manifest,
        p: &Program<'_>,
        (op, part): (Op, usize),
        inputs: &Inputs,
    ) -> Result<Params, Invalid> {
        let wrong = Invalid("the constants of the model");
        let s = p.shape;
        self.check_block(manifest, p, (op, part))?;
        let turned = matches!(op, Op::RotateQ | Op::RotateK);
        let leaf = |i: usize| self.operators.get(i).ok_or(wrong);
        if let Some(i) = norm_of(s, op) {
            let norm = self.norm.as_ref().ok_or(wrong)?;
            check(
                norm.root() == *leaf(i)? && norm.gain.len() == s.dim,
                "the norm",
            )?;
            return Ok(Params::Norm(norm.clone()));
        }
        if let Some((i, rows, cols)) = matrix(s, op) {
            let tile = self.tile.as_ref().ok_or(wrong)?;
            let tile = tile.open(leaf(i)?, rows, cols, part);
            return tile.map(Params::Tile).ok_or(Invalid("the tile of weights"));
        }
        if let Some((i, layout)) = divisors_of(p, op, part) {
            let root = if op == Op::Product {
                self.product(leaf(i)?)?
            } else {
                *leaf(i)?
            };
            let bytes = self.slice(0, &root, &layout)?;
            let divisors = numbers(bytes).ok_or(Invalid("a divisor"))?;
            return Ok(match op {
                Op::Product => Params::Product(divisors, self.numbers[0].min(1 << 30) as i32),
                _ => Params::Divisors(divisors),
            });
        }
        if turned || op == Op::Activation {
            check(
                common(&self.digests) == manifest.common,
                "the shared tables",
            )?;
        }
        if turned {
            let root = self.digests.first().ok_or(wrong)?;
            let [c, sn] = opening::rope_layout(s.context, s.head_dim / 2, p.cell.position as usize);
            let (cos, sin) = (self.slice(0, root, &c)?, self.slice(1, root, &sn)?);
            return Ok(Params::Turn(shorts(cos), shorts(sin)));
        }
        if op == Op::Activation {
            let tile = inputs.steps.first().ok_or(wrong)?;
            let values = activated(p, part, tile).ok_or(wrong)?;
            return self.entries(leaf(8)?, &values);
        }
        Ok(Params::None)
    }

    /// The block's operators are those of the model, where the step reads any of them.
    fn check_block(
        &self,
        manifest: &Manifest,
        p: &Program<'_>,
        (op, part): (Op, usize),
    ) -> Result<(), Invalid> {
        let s = p.shape;
        let reads = norm_of(s, op).is_some()
            || matrix(s, op).is_some()
            || divisors_of(p, op, part).is_some()
            || op == Op::Activation;
        if !reads {
            return Ok(());
        }
        let root = manifest.layers.get(p.cell.layer as usize);
        let leaves = if s.gated { 13 } else { 11 };
        let ok = self.operators.len() == leaves && root == Some(&merkle::root(&self.operators));
        check(ok, "the block's operators")
    }

    /// The digest of the product divisors, which lies under `leaf` with the largest product.
    fn product(&self, leaf: &Digest) -> Result<Digest, Invalid> {
        let (&[digest], &[max]) = (&self.digests[..], &self.numbers[..]) else {
            return Err(Invalid("the product's constants"));
        };
        let made = Hasher::new("nesa.model.product_max.v1")
            .digest(&digest)
            .u64(u64::from(max))
            .finish();
        check(made == *leaf, "the product's constants")?;
        Ok(digest)
    }

    fn entries(&self, leaf: &Digest, values: &[i16]) -> Result<Params, Invalid> {
        let &[table] = &self.numbers[..] else {
            return Err(Invalid("the activation table"));
        };
        let made = Hasher::new("nesa.model.activation.v1")
            .u64(u64::from(table))
            .finish();
        check(made == *leaf, "the activation table")?;
        let root = self.digests.get(table as usize + 1);
        let root = root.ok_or(Invalid("the activation table"))?;
        let entry = |(i, &x): (usize, &i16)| {
            let bytes = self.slice(i, root, &opening::table_layout(x))?;
            shorts(bytes)
                .first()
                .copied()
                .ok_or(Invalid("a table entry"))
        };
        let entries = values.iter().enumerate().map(entry);
        Ok(Params::Entries(entries.collect::<Result<_, _>>()?))
    }

    fn slice(&self, i: usize, root: &Digest, l: &Layout) -> Result<&[u8], Invalid> {
        let open = self.slices.get(i).and_then(|s| s.open(root, l));
        open.ok_or(Invalid("a part of a table"))
    }
}

/// The root of the shared tables from that of the rotation and those of the activation tables.
fn common(digests: &[Digest]) -> Digest {
    (digests.iter())
        .fold(Hasher::new("nesa.model.common.v1"), Hasher::digest)
        .finish()
}

impl TraceRun {
    /// Whether `leaves` stand from `lo` on in list `at` of the agreed trace.
    fn leads(&self, a: &Agreed, at: usize, lo: usize, leaves: &[Digest]) -> bool {
        merkle::verify(&a.trace, a.lists(), at, &self.root, &self.path)
            && tree::covers(&self.root, a.positions as usize, lo, leaves, &self.beside)
    }
}

impl Encode for TraceRun {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.root);
        self.path.encode(w);
        w.seq(&self.beside);
    }
}

impl Decode for TraceRun {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            root: r.digest()?,
            path: merkle::Path::decode(r)?,
            beside: r.seq(SIBLINGS_MAX)?,
        })
    }
}

fn put<T>(w: &mut Writer, v: Option<&T>, put: impl FnOnce(&mut Writer, &T)) {
    w.u8(u8::from(v.is_some()));
    if let Some(v) = v {
        put(w, v);
    }
}

fn get<T>(
    r: &mut Reader<'_>,
    get: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if r.bool()? {
        get(r).map(Some)
    } else {
        Ok(None)
    }
}

impl Encode for Openings {
    fn encode(&self, w: &mut Writer) {
        put(w, self.row.as_ref(), |w, (row, run)| {
            w.i32s(row);
            run.encode(w);
        });
        put(w, self.cached.as_ref(), |w, (rows, run)| {
            w.seq(rows);
            run.encode(w);
        });
        w.len(self.steps.len());
        for (values, beside) in &self.steps {
            w.i32s(values);
            w.seq(beside);
        }
        w.seq(&self.operators);
        put(w, self.norm.as_ref(), |w, n| n.encode(w));
        put(w, self.tile.as_ref(), |w, t| t.encode(w));
        w.seq(&self.digests);
        w.len(self.numbers.len());
        self.numbers.iter().for_each(|n| w.u32(*n));
        w.seq(&self.slices);
    }
}

impl Decode for Openings {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let values = limits::FFN + limits::DIM;
        Ok(Self {
            row: get(r, |r| Ok((r.i32s(limits::DIM)?, TraceRun::decode(r)?)))?,
            cached: get(r, |r| Ok((r.seq(TILE_ROWS)?, TraceRun::decode(r)?)))?,
            steps: {
                let n = r.len(4)?;
                let one = |_| Ok((r.i32s(values)?, r.seq(SIBLINGS_MAX)?));
                (0..n).map(one).collect::<Result<_, DecodeError>>()?
            },
            operators: r.seq(16)?,
            norm: get(r, Norm::decode)?,
            tile: get(r, LinearTile::decode)?,
            digests: r.seq(17)?,
            numbers: {
                let n = r.len(1)?;
                (0..n).map(|_| r.u32()).collect::<Result<_, _>>()?
            },
            slices: r.seq(ACTIVATIONS)?,
        })
    }
}

impl Openings {
    /// Bytes of the encoding.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.to_bytes().len()
    }
}

//! What one side computed, step by step, and what it opens of it.
//!
//! An honest side holds it all already: a [`Record`] is its trace and cache. A [`Fault`] makes it the
//! record of one that computed everything honestly but one bit; simulations and tests do that.

use nesa_codec::{Digest, merkle};
use nesa_model::opening::{self, LinearTile};
use nesa_model::ops::attention;
use nesa_model::{Block, Ffn, Linear, Manifest, Norm};

use super::apply::{Inputs, Output, Params};
use super::openings::{Openings, TraceRun, activated, divisors_of, matrix, norm_of};
use super::program::{Cell, Half, Op, Program, Reads};
use super::slice::Slice;
use super::tree::{self, Span};
use super::{Claim, Invalid};
use crate::opening::Cached;
use crate::trace;

/// The parts of a model that one hop runs.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The model.
    pub manifest: &'a Manifest,
    /// Its shared tables.
    pub common: &'a nesa_model::block::Common,
    /// The number of the first block.
    pub first: u32,
    /// The hop's blocks.
    pub blocks: &'a [Block],
}

/// One bit that a side computes wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub cell: Cell,
    /// Which step of it.
    pub step: usize,
    /// Which of its values, counted modulo their number.
    pub value: usize,
    /// Which bit, below 31; below 256 in a digest.
    pub bit: u8,
}

impl Fault {
    fn strike(&self, out: &mut Output) {
        match out {
            Output::Digest(d) => d.0[usize::from(self.bit / 8)] ^= 1 << (self.bit % 8),
            Output::Values(v) => {
                let at = self.value % v.len().max(1);
                if let Some(v) = v.get_mut(at) {
                    *v ^= 1 << (self.bit % 31);
                }
            }
        }
    }
}

/// One side's run of a hop.
#[derive(Debug, Clone)]
pub struct Record {
    first: u32,
    fault: Option<Fault>,
    /// Whether the lists are what is stated, whatever the steps give.
    is_stated: bool,
    /// Per boundary and position: the row.
    rows: Vec<Vec<Vec<i32>>>,
    /// Per block and position: key and value.
    cached: Vec<Vec<Cached>>,
    /// Rows and cached rows in turn, as the trace orders them: digests by position.
    lists: Vec<Vec<Digest>>,
    exp: Vec<u16>,
}

impl Record {
    /// Runs the hop on `rows`, one per position from 0, with one bit wrong where `fault` says so.
    ///
    /// # Errors
    /// [`Invalid`] where sizes do not fit the model.
    pub fn run(
        parts: &Parts<'_>,
        rows: Vec<Vec<i32>>,
        fault: Option<Fault>,
    ) -> Result<Self, Invalid> {
        let mut me = Self {
            first: parts.first,
            fault,
            is_stated: false,
            lists: vec![rows.iter().map(|r| trace::row(r)).collect()],
            rows: vec![rows],
            cached: Vec::new(),
            exp: attention::exp_table(),
        };
        for _ in parts.blocks {
            me.layer(parts)?;
        }
        Ok(me)
    }

    /// The same run with another fault: what precedes its layer is taken over.
    ///
    /// # Errors
    /// As [`Record::run`].
    pub fn rerun(&self, parts: &Parts<'_>, fault: Fault) -> Result<Self, Invalid> {
        let keep = fault.cell.layer.saturating_sub(self.first) as usize;
        let mut me = self.clone();
        me.fault = Some(fault);
        me.rows.truncate(keep + 1);
        me.cached.truncate(keep);
        me.lists.truncate(2 * keep + 1);
        while me.cached.len() < parts.blocks.len() {
            me.layer(parts)?;
        }
        Ok(me)
    }

    /// What a side says that it holds: `rows` by boundary and position, `cached` by block and position,
    /// whatever computed them. Its steps are the honest ones on these values, and each half's last one
    /// puts out what is stated: that of an honest run all the same.
    #[must_use]
    pub fn stated(first: u32, rows: Vec<Vec<Vec<i32>>>, cached: Vec<Vec<Cached>>) -> Self {
        let digests = |r: &Vec<Vec<i32>>| r.iter().map(|r| trace::row(r)).collect();
        let mut lists: Vec<Vec<Digest>> = Vec::new();
        for (i, r) in rows.iter().enumerate() {
            lists.push(digests(r));
            let of = |c: &Vec<Cached>| c.iter().map(|c| trace::cached(&c.k, &c.v)).collect();
            lists.extend(cached.get(i).map(of));
        }
        Self {
            first,
            fault: None,
            is_stated: true,
            rows,
            cached,
            lists,
            exp: attention::exp_table(),
        }
    }

    fn layer(&mut self, parts: &Parts<'_>) -> Result<(), Invalid> {
        let i = self.cached.len();
        let cell = |position: usize, half| Cell {
            layer: self.first + i as u32,
            position: position as u32,
            half,
        };
        self.cached.push(Vec::new());
        let mut digests = Vec::new();
        for position in 0..self.positions() {
            let (outs, p) = self.expand(parts, cell(position, Half::Cached))?;
            let of = |op| gather(&outs, p.steps(op));
            let k = of(if p.shape.rotary { Op::RotateK } else { Op::K });
            let v = of(Op::V);
            let short = |v: &[i32]| v.iter().map(|&v| v as i16).collect();
            self.cached[i].push(Cached {
                k: short(&k),
                v: short(&v),
            });
            digests.extend(outs.last().map(Output::leaf));
        }
        self.lists.push(digests);
        let (mut rows, mut digests) = (Vec::new(), Vec::new());
        for position in 0..self.positions() {
            let (outs, p) = self.expand(parts, cell(position, Half::Row))?;
            let norm = p.steps(Op::OutputNorm);
            let last = if norm.is_empty() {
                p.steps(Op::Down)
            } else {
                norm
            };
            rows.push(gather(&outs, last));
            digests.extend(outs.last().map(Output::leaf));
        }
        self.rows.push(rows);
        self.lists.push(digests);
        Ok(())
    }

    /// Positions.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// The rows after the last block, by position.
    #[must_use]
    pub fn output(&self) -> &[Vec<i32>] {
        self.rows.last().map_or(&[], |r| r)
    }

    /// The rows at boundary `i`, by position.
    #[must_use]
    pub fn rows(&self, i: usize) -> &[Vec<i32>] {
        self.rows.get(i).map_or(&[], |r| r)
    }

    /// Cached rows of block `i` of the hop, by position.
    #[must_use]
    pub fn cached(&self, i: usize) -> &[Cached] {
        self.cached.get(i).map_or(&[], |c| c)
    }

    /// Roots of the trace's lists.
    #[must_use]
    pub fn roots(&self) -> Vec<Digest> {
        self.lists.iter().map(|l| merkle::root(l)).collect()
    }

    /// Digests of list `at` of the trace, by position.
    #[must_use]
    pub fn list(&self, at: usize) -> &[Digest] {
        self.lists.get(at).map_or(&[], |l| l)
    }

    /// What this run claims.
    #[must_use]
    pub fn claim(&self, parts: &Parts<'_>) -> Claim {
        self.claim_about(parts.manifest.root())
    }

    /// What this run claims of the model with this root.
    #[must_use]
    pub fn claim_about(&self, model: Digest) -> Claim {
        let roots = self.roots();
        Claim {
            model,
            first: self.first,
            end: self.first + self.cached.len() as u32,
            positions: self.positions() as u32,
            input: roots.first().copied().unwrap_or_default(),
            output: roots.last().copied().unwrap_or_default(),
            trace: merkle::root(&roots),
        }
    }

    /// Every step's output of `cell`.
    ///
    /// # Errors
    /// As [`Record::run`].
    pub fn expand<'p>(
        &self,
        parts: &Parts<'p>,
        cell: Cell,
    ) -> Result<(Vec<Output>, Program<'p>), Invalid> {
        let p = Program::new(&parts.manifest.shape, cell, self.positions());
        let mut outs = Vec::with_capacity(p.len());
        for m in 0..p.len() {
            let step = p.at(m).ok_or(Invalid("the number of the step"))?;
            let inputs = self.inputs(&p.reads(step.0, step.1), cell, &outs)?;
            let params = params(parts, &p, step, &inputs).ok_or(Invalid("the model's block"))?;
            let out = p.apply(step, &inputs, &params, &self.exp);
            let mut out = out.ok_or(Invalid("the size of a row"))?;
            if let Some(f) = self.fault.filter(|f| f.cell == cell && f.step == m) {
                f.strike(&mut out);
            }
            outs.push(out);
        }
        if self.is_stated
            && let (Some(out), Some(said)) = (outs.last_mut(), self.said(cell))
        {
            *out = Output::Digest(said);
        }
        Ok((outs, p))
    }

    /// The digest of `cell` in the trace.
    pub(super) fn said(&self, cell: Cell) -> Option<Digest> {
        let at = 2 * cell.layer.checked_sub(self.first)? as usize;
        let list = self
            .lists
            .get(at + if cell.half == Half::Row { 2 } else { 1 })?;
        list.get(cell.position as usize).copied()
    }

    fn inputs(&self, reads: &Reads, cell: Cell, outs: &[Output]) -> Result<Inputs, Invalid> {
        let i = cell.layer.saturating_sub(self.first) as usize;
        let mut inputs = Inputs::default();
        if reads.row {
            let row = self.rows.get(i).and_then(|r| r.get(cell.position as usize));
            inputs.row.clone_from(row.ok_or(Invalid("the row before"))?);
        }
        if !reads.cached.is_empty() {
            let rows = self.cached.get(i).and_then(|c| c.get(reads.cached.clone()));
            inputs.cached = rows.ok_or(Invalid("the cached rows"))?.to_vec();
        }
        let run = |s: &Span| gather(outs, s.lo..s.lo + s.len);
        inputs.steps = reads.steps.iter().map(run).collect();
        Ok(inputs)
    }

    /// Opens what step `m` of `cell` reads, given the half's outputs.
    #[must_use]
    pub fn open(
        &self,
        parts: &Parts<'_>,
        cell: Cell,
        m: usize,
        outs: &[Output],
    ) -> Option<Openings> {
        let p = Program::new(&parts.manifest.shape, cell, self.positions());
        let (op, part) = p.at(m)?;
        let reads = p.reads(op, part);
        let inputs = self.inputs(&reads, cell, outs).ok()?;
        let leaves: Vec<Digest> = outs.iter().map(Output::leaf).collect();
        let at = 2 * cell.layer.checked_sub(self.first)? as usize;
        let lists = merkle::Tree::new(self.roots());
        let run = |at: usize, lo: usize, len: usize| {
            let list = self.lists.get(at)?;
            Some(TraceRun {
                root: merkle::root(list),
                path: lists.path(at)?,
                beside: tree::siblings(list, Span { lo, len }),
            })
        };
        let mut out = constants(parts, &p, (op, part), &inputs)?;
        if reads.row {
            out.row = Some((inputs.row, run(at, cell.position as usize, 1)?));
        }
        if !reads.cached.is_empty() {
            let run = run(at + 1, reads.cached.start, reads.cached.len())?;
            out.cached = Some((inputs.cached, run));
        }
        let beside = reads.steps.iter().map(|s| tree::siblings(&leaves, *s));
        out.steps = inputs.steps.into_iter().zip(beside).collect();
        Some(out)
    }
}

fn gather(outs: &[Output], run: std::ops::Range<usize>) -> Vec<i32> {
    let mut all = Vec::new();
    for out in outs.get(run).unwrap_or(&[]) {
        if let Output::Values(v) = out {
            all.extend_from_slice(v);
        }
    }
    all
}

fn block<'a>(parts: &Parts<'a>, p: &Program<'_>) -> Option<&'a Block> {
    parts
        .blocks
        .get(p.cell.layer.checked_sub(parts.first)? as usize)
}

fn linear_of(b: &Block, op: Op) -> Option<&Linear> {
    Some(match (op, &b.ffn) {
        (Op::Q, _) => &b.q,
        (Op::K, _) => &b.k,
        (Op::V, _) => &b.v,
        (Op::Output, _) => &b.o,
        (Op::Gate, Ffn::Gated { gate, .. }) => gate,
        (Op::Gate, Ffn::Plain { up, .. }) | (Op::Up, Ffn::Gated { up, .. }) => up,
        (Op::Down, Ffn::Gated { down, .. } | Ffn::Plain { down, .. }) => down,
        _ => return None,
    })
}

fn norm_at(b: &Block, leaf: usize) -> &Norm {
    if leaf == 0 { &b.attn_norm } else { &b.ffn_norm }
}

/// The constants of a step, from the whole block.
fn params(
    parts: &Parts<'_>,
    p: &Program<'_>,
    (op, part): (Op, usize),
    i: &Inputs,
) -> Option<Params> {
    let (b, s) = (block(parts, p)?, p.shape);
    if let Some(leaf) = norm_of(s, op) {
        return Some(Params::Norm(norm_at(b, leaf).clone()));
    }
    if matrix(s, op).is_some() {
        return opening::tile(linear_of(b, op)?, part).map(Params::Tile);
    }
    let head = part / p.windows().max(1);
    Some(match op {
        Op::Exp | Op::Mix => Params::Divisors(vec![*b.score.get(head)?]),
        Op::Attend => {
            let at = part * s.head_dim;
            Params::Divisors(b.mix.get(at..at + s.head_dim)?.to_vec())
        }
        Op::Product => {
            let Ffn::Gated {
                product,
                product_max,
                ..
            } = &b.ffn
            else {
                return None;
            };
            let at = part * nesa_model::spec::TILE_ROWS;
            let own = product.get(at..at + p.width(op, part))?;
            Params::Product(own.to_vec(), *product_max)
        }
        Op::RotateQ | Op::RotateK => {
            let rope = parts.common.rope.as_ref()?;
            let at = p.cell.position as usize * rope.half;
            let own = |t: &[i16]| t.get(at..at + rope.half).map(<[i16]>::to_vec);
            Params::Turn(own(&rope.cos)?, own(&rope.sin)?)
        }
        Op::Activation => {
            let table = parts.common.tables.get(usize::from(b.table))?;
            let values = activated(p, part, i.steps.first()?)?;
            Params::Entries(values.iter().map(|&v| table.get(v)).collect())
        }
        _ => Params::None,
    })
}

/// The openings of a step's constants.
fn constants(
    parts: &Parts<'_>,
    p: &Program<'_>,
    (op, part): (Op, usize),
    i: &Inputs,
) -> Option<Openings> {
    let (b, s) = (block(parts, p)?, p.shape);
    let mut out = Openings::default();
    if let Some(leaf) = norm_of(s, op) {
        out.norm = Some(norm_at(b, leaf).clone());
        out.operators = b.operators();
    }
    if matrix(s, op).is_some() {
        out.tile = Some(LinearTile::of(linear_of(b, op)?, part)?);
        out.operators = b.operators();
    }
    if let Some((leaf, l)) = divisors_of(p, op, part) {
        out.operators = b.operators();
        let bytes = match (leaf, &b.ffn) {
            (4, _) => opening::numbers_bytes(opening::SCORE, &b.score),
            (5, _) => opening::numbers_bytes(opening::MIX, &b.mix),
            (
                _,
                Ffn::Gated {
                    product,
                    product_max,
                    ..
                },
            ) => {
                let bytes = opening::numbers_bytes(opening::PRODUCT, product);
                out.digests = vec![Digest(*blake3::hash(&bytes).as_bytes())];
                out.numbers = vec![product_max.unsigned_abs()];
                bytes
            }
            _ => return None,
        };
        out.slices = vec![Slice::of(&bytes, &l)?];
    }
    let turned = matches!(op, Op::RotateQ | Op::RotateK);
    if turned || op == Op::Activation {
        let rope = parts.common.rope.as_ref();
        out.digests = vec![rope.map_or_else(Digest::default, nesa_model::Rope::root)];
        out.digests
            .extend(parts.common.tables.iter().map(nesa_model::Table::root));
    }
    if turned {
        out.slices = rotation(parts, p)?;
    }
    if op == Op::Activation {
        out.operators = b.operators();
        out.numbers = vec![u32::from(b.table)];
        let bytes = opening::table_bytes(parts.common.tables.get(usize::from(b.table))?);
        let values = activated(p, part, i.steps.first()?)?;
        let slice = |&x: &i16| Slice::of(&bytes, &opening::table_layout(x));
        out.slices = values.iter().map(slice).collect::<Option<_>>()?;
    }
    Some(out)
}

/// The rotation's entries at the cell's position.
fn rotation(parts: &Parts<'_>, p: &Program<'_>) -> Option<Vec<Slice>> {
    let (s, bytes) = (p.shape, opening::rope_bytes(parts.common.rope.as_ref()?));
    let at = opening::rope_layout(s.context, s.head_dim / 2, p.cell.position as usize);
    at.iter().map(|l| Slice::of(&bytes, l)).collect()
}

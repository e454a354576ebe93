//! The steps of a disputed cell in their fixed order, and what each of them reads.
//!
//! A cell (layer, position) has two halves: the key and value that it caches, and the row after.
//! Every step reads only earlier steps of its half, the row before, and cached rows of the layer,
//! all of which come earlier in the order of execution (`docs/spec/dispute.md`).

use std::ops::Range;

use nesa_model::spec::{Order, Shape, TILE_ROWS};

use super::tree::Span;

/// Activations per step.
pub const ACTIVATIONS: usize = 4;

/// Which commitment of a cell is disputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Half {
    /// The key and value that the position caches.
    Cached,
    /// The row after the layer.
    Row,
}

/// A half of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The block, counted from the model's first.
    pub layer: u32,
    /// The position.
    pub position: u32,
    /// The half.
    pub half: Half,
}

/// The operators, each cut into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Activation row that enters q, k and v: one step.
    Input,
    /// A tile of query sums, divided.
    Q,
    /// One query head, rotated.
    RotateQ,
    /// A tile of keys.
    K,
    /// One key head, rotated.
    RotateK,
    /// A tile of values.
    V,
    /// Scores of one head over some positions, and the largest so far.
    Score,
    /// Sum of exponentials so far of one head over some positions.
    Exp,
    /// Sum of weighted values so far of one head over some positions.
    Mix,
    /// One head's output, divided.
    Attend,
    /// A tile of the attention output, added to the row.
    Output,
    /// The norm after the attention (Post).
    MiddleNorm,
    /// Activation row that enters the feed-forward.
    FfnInput,
    /// A tile that enters the activation table: `gate`, or a plain `up`.
    Gate,
    /// Some entries of the activation table.
    Activation,
    /// A tile of the linear branch.
    Up,
    /// A tile of products.
    Product,
    /// A tile of the feed-forward output, added to the row.
    Down,
    /// The norm after the feed-forward (Post).
    OutputNorm,
    /// The digest that the trace commits to.
    Commit,
}

impl Op {
    /// Name on the command line and in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Q => "q",
            Self::RotateQ => "rotate-q",
            Self::K => "k",
            Self::RotateK => "rotate-k",
            Self::V => "v",
            Self::Score => "score",
            Self::Exp => "exp",
            Self::Mix => "mix",
            Self::Attend => "attend",
            Self::Output => "output",
            Self::MiddleNorm => "middle-norm",
            Self::FfnInput => "ffn-input",
            Self::Gate => "gate",
            Self::Activation => "activation",
            Self::Up => "up",
            Self::Product => "product",
            Self::Down => "down",
            Self::OutputNorm => "output-norm",
            Self::Commit => "commit",
        }
    }
}

/// The steps of one half of a cell.
#[derive(Debug, Clone)]
pub struct Program<'a> {
    /// Sizes of the model.
    pub shape: &'a Shape,
    /// The half.
    pub cell: Cell,
    /// Positions that the attention reads.
    pub seen: usize,
    sections: Vec<(Op, usize)>,
}

/// Positions per attention step: their cached rows are about as large as a tile of weights.
#[must_use]
pub fn window(s: &Shape) -> usize {
    (TILE_ROWS * s.dim / (4 * s.kv_dim()).max(1)).clamp(1, TILE_ROWS)
}

fn tiles(n: usize) -> usize {
    n.div_ceil(TILE_ROWS)
}

/// The width of tile `i` over `n` values.
fn width_of(n: usize, i: usize, tile: usize) -> usize {
    tile.min(n.saturating_sub(i * tile))
}

impl<'a> Program<'a> {
    /// The steps of `cell` of a hop over `positions` positions.
    #[must_use]
    pub fn new(shape: &'a Shape, cell: Cell, positions: usize) -> Self {
        let seen = match shape.causal {
            true => cell.position as usize + 1,
            false => positions,
        };
        let (d, q, kv, f) = (shape.dim, shape.q_dim(), shape.kv_dim(), shape.ffn);
        let (rotary, gated) = (shape.rotary, shape.gated);
        let post = shape.order == Order::Post;
        let some = |is: bool, n: usize| if is { n } else { 0 };
        let windows = shape.heads * seen.div_ceil(window(shape));
        let all = match cell.half {
            Half::Cached => vec![
                (Op::Input, 1),
                (Op::K, tiles(kv)),
                (Op::RotateK, some(rotary, shape.kv_heads)),
                (Op::V, tiles(kv)),
                (Op::Commit, 1),
            ],
            Half::Row => vec![
                (Op::Input, 1),
                (Op::Q, tiles(q)),
                (Op::RotateQ, some(rotary, shape.heads)),
                (Op::Score, windows),
                (Op::Exp, windows),
                (Op::Mix, windows),
                (Op::Attend, shape.heads),
                (Op::Output, tiles(d)),
                (Op::MiddleNorm, some(post, 1)),
                (Op::FfnInput, 1),
                (Op::Gate, tiles(f)),
                (Op::Activation, f.div_ceil(ACTIVATIONS)),
                (Op::Up, some(gated, tiles(f))),
                (Op::Product, some(gated, tiles(f))),
                (Op::Down, tiles(d)),
                (Op::OutputNorm, some(post, 1)),
                (Op::Commit, 1),
            ],
        };
        Self {
            shape,
            cell,
            seen,
            sections: all.into_iter().filter(|s| s.1 > 0).collect(),
        }
    }

    /// The operators and how many steps each has, in order.
    #[must_use]
    pub fn sections(&self) -> &[(Op, usize)] {
        &self.sections
    }

    /// Steps in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sections.iter().map(|s| s.1).sum()
    }

    /// Never: every half has steps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Operator and its part of step `m`.
    #[must_use]
    pub fn at(&self, m: usize) -> Option<(Op, usize)> {
        let mut m = m;
        for &(op, n) in &self.sections {
            if m < n {
                return Some((op, m));
            }
            m -= n;
        }
        None
    }

    /// The steps of operator `op`; empty where the half has none.
    #[must_use]
    pub fn steps(&self, op: Op) -> Range<usize> {
        let mut at = 0;
        for &(o, n) in &self.sections {
            if o == op {
                return at..at + n;
            }
            at += n;
        }
        0..0
    }

    /// Windows of positions per head.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.seen.div_ceil(window(self.shape))
    }

    /// The positions of window `j`.
    #[must_use]
    pub fn window(&self, j: usize) -> Range<usize> {
        let w = window(self.shape);
        (j * w).min(self.seen)..((j + 1) * w).min(self.seen)
    }

    /// Values that step (`op`, `part`) puts out; a `Commit` puts out a digest.
    #[must_use]
    pub fn width(&self, op: Op, part: usize) -> usize {
        let s = self.shape;
        let tile = |n: usize| width_of(n, part, TILE_ROWS);
        match op {
            Op::Input | Op::MiddleNorm | Op::FfnInput | Op::OutputNorm => s.dim,
            Op::Q => tile(s.q_dim()),
            Op::K | Op::V => tile(s.kv_dim()),
            Op::RotateQ | Op::RotateK | Op::Mix | Op::Attend => s.head_dim,
            Op::Score => self.window(part % self.windows().max(1)).len() + 1,
            Op::Exp => 1,
            Op::Output | Op::Down => tile(s.dim),
            Op::Gate | Op::Up | Op::Product => tile(s.ffn),
            Op::Activation => width_of(s.ffn, part, ACTIVATIONS),
            Op::Commit => 0,
        }
    }

    /// What step (`op`, `part`) reads.
    #[must_use]
    pub fn reads(&self, op: Op, part: usize) -> Reads {
        let (s, mut r) = (self.shape, Reads::default());
        let post = s.order == Order::Post;
        let windows = self.windows().max(1);
        let (head, j) = (part / windows, part % windows);
        let last = (head + 1) * windows - 1;
        match op {
            Op::Input => r.row = true,
            Op::Q | Op::K | Op::V => r.all(self.steps(Op::Input)),
            Op::RotateQ => r.all(self.head_tiles(Op::Q, part)),
            Op::RotateK => r.all(self.head_tiles(Op::K, part)),
            Op::Score => {
                r.cached = self.window(j);
                match s.rotary {
                    true => r.one(self.steps(Op::RotateQ), head),
                    false => r.all(self.head_tiles(Op::Q, head)),
                }
                r.before(self.steps(Op::Score), part, j);
            }
            Op::Exp => {
                r.one(self.steps(Op::Score), last);
                r.one(self.steps(Op::Score), part);
                r.before(self.steps(Op::Exp), part, j);
            }
            Op::Mix => {
                r.cached = self.window(j);
                r.one(self.steps(Op::Score), last);
                r.one(self.steps(Op::Score), part);
                r.one(self.steps(Op::Exp), last);
                r.before(self.steps(Op::Mix), part, j);
            }
            Op::Attend => r.one(self.steps(Op::Mix), (part + 1) * windows - 1),
            Op::Output => {
                r.row = true;
                r.all(self.steps(Op::Attend));
            }
            Op::MiddleNorm => r.all(self.steps(Op::Output)),
            Op::FfnInput => r.all(self.steps(if post { Op::MiddleNorm } else { Op::Output })),
            Op::Gate | Op::Up => r.all(self.steps(Op::FfnInput)),
            Op::Activation => r.one(self.steps(Op::Gate), part * ACTIVATIONS / TILE_ROWS),
            Op::Product => {
                let per = TILE_ROWS / ACTIVATIONS;
                let all = self.steps(Op::Activation);
                r.all(all.start + part * per..(all.start + (part + 1) * per).min(all.end));
                r.one(self.steps(Op::Up), part);
            }
            Op::Down => {
                match post {
                    true => r.all(self.steps(Op::MiddleNorm)),
                    false => r.one(self.steps(Op::Output), part),
                }
                r.all(self.steps(if s.gated { Op::Product } else { Op::Activation }));
            }
            Op::OutputNorm => r.all(self.steps(Op::Down)),
            Op::Commit => self.committed(&mut r),
        }
        r
    }

    /// What the last step, the cell's digest, reads.
    fn committed(&self, r: &mut Reads) {
        match (self.cell.half, self.shape.order) {
            (Half::Cached, _) => {
                let rotary = self.shape.rotary;
                r.all(self.steps(if rotary { Op::RotateK } else { Op::K }));
                r.all(self.steps(Op::V));
            }
            (Half::Row, Order::Post) => r.all(self.steps(Op::OutputNorm)),
            (Half::Row, Order::Pre) => r.all(self.steps(Op::Down)),
        }
    }

    /// The tiles of `op` that hold head `head`.
    fn head_tiles(&self, op: Op, head: usize) -> Range<usize> {
        let (at, hd) = (self.steps(op).start, self.shape.head_dim);
        at + head * hd / TILE_ROWS..at + ((head + 1) * hd - 1) / TILE_ROWS + 1
    }

    /// Where head `head` starts in the values of its [`Program::reads`].
    #[must_use]
    pub fn head_offset(&self, head: usize) -> usize {
        head * self.shape.head_dim % TILE_ROWS
    }
}

/// What a step reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// The row before the layer.
    pub row: bool,
    /// Positions whose cached rows are read.
    pub cached: Range<usize>,
    /// Runs of earlier steps of the half.
    pub steps: Vec<Span>,
}

impl Reads {
    fn all(&mut self, run: Range<usize>) {
        self.steps.push(Span {
            lo: run.start,
            len: run.len(),
        });
    }

    fn one(&mut self, of: Range<usize>, part: usize) {
        self.all(of.start + part..of.start + part + 1);
    }

    /// The step before `part`, where window `j` is not the head's first.
    fn before(&mut self, of: Range<usize>, part: usize, j: usize) {
        if j > 0 {
            self.one(of, part - 1);
        }
    }
}

/// How many applications a hop over `layers` blocks and `positions` positions has: of whole
/// operators, and of steps.
#[must_use]
pub fn applications(shape: &Shape, layers: usize, positions: usize) -> (u64, u64) {
    let (mut operators, mut steps) = (0, 0);
    for position in 0..positions as u32 {
        for half in [Half::Cached, Half::Row] {
            let cell = Cell {
                layer: 0,
                position,
                half,
            };
            let p = Program::new(shape, cell, positions);
            // Commitments are no operators, attention is one, and `input` is run once.
            let counted = p.sections().iter().filter(|(op, _)| match op {
                Op::Commit | Op::Score | Op::Exp | Op::Mix => false,
                Op::Input => half == Half::Cached,
                _ => true,
            });
            operators += counted.count() as u64;
            steps += p.len() as u64;
        }
    }
    (operators * layers as u64, steps * layers as u64)
}

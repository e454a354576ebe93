//! One step, as a pure function of what it reads. Both sides and the referee run this very code.
//!
//! The operators are those of `nesa_model::ops`. Sums are limited to their type where honest values
//! never come near: a referee may be handed anything, and must neither panic nor wrap.

use nesa_codec::{Digest, Hasher};
use nesa_model::ops::attention;
use nesa_model::ops::round::{clamp, round_div};
use nesa_model::spec::{ACT_MAX, EXP_LEN, Order, PROB_ONE, QK_MAX, RESIDUAL_MAX, ROPE_DIVISOR};
use nesa_model::{Linear, Norm};

use super::program::{Half, Op, Program};
use crate::opening::Cached;
use crate::trace;

/// What a step reads, in the order of [`super::program::Reads`].
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The row before the layer (dim), or empty.
    pub row: Vec<i32>,
    /// Cached rows of the step's window.
    pub cached: Vec<Cached>,
    /// Values of each run of earlier steps.
    pub steps: Vec<Vec<i32>>,
}

/// The constants of a step.
#[derive(Debug, Clone)]
pub enum Params {
    /// None.
    None,
    /// A norm.
    Norm(Norm),
    /// A tile of a linear layer.
    Tile(Linear),
    /// Cosines and sines (head_dim / 2 each) of the position.
    Turn(Vec<i16>, Vec<i16>),
    /// Odd divisors.
    Divisors(Vec<u32>),
    /// Odd divisors and the largest output.
    Product(Vec<u32>, i32),
    /// Entries of the activation table, one per input.
    Entries(Vec<i16>),
}

/// What a step puts out: a leaf of the half's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Values.
    Values(Vec<i32>),
    /// The digest that the trace commits to.
    Digest(Digest),
}

impl Output {
    /// The leaf.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        match self {
            Self::Values(v) => Hasher::new("nesa.dispute.value.v1").i32s(v).finish(),
            Self::Digest(d) => *d,
        }
    }
}

fn limit(v: i64) -> i32 {
    clamp(v, i32::MAX)
}

fn narrow(row: &[i32]) -> Vec<i32> {
    row.iter()
        .map(|v| v.clamp(&-ACT_MAX, &ACT_MAX))
        .copied()
        .collect()
}

/// The raised sum of row `i` within the range of [`round_div`].
fn sum(l: &Linear, i: usize, x: &[i32]) -> i64 {
    let w = l.weight.get(i * l.cols..(i + 1) * l.cols).unwrap_or(&[]);
    let dot: i64 = (w.iter().zip(x))
        .map(|(&w, &x)| i64::from(w) * i64::from(x))
        .sum();
    let raised = i128::from(dot + l.bias.get(i).copied().unwrap_or(0)) << l.lift.min(12);
    let most = (1_i128 << 62) - 1;
    i64::try_from(raised.clamp(-most, most)).unwrap_or(0)
}

/// The tile's outputs for `x`, added to `to` where there is one.
fn linear(l: &Linear, x: &[i32], to: Option<&[i32]>) -> Option<Vec<i32>> {
    if x.len() != l.cols || l.divisor.len() != l.rows || to.is_some_and(|t| t.len() != l.rows) {
        return None;
    }
    let out = |(i, &d): (usize, &u32)| {
        let rounded = round_div(sum(l, i, x), d);
        match to.and_then(|t| t.get(i)) {
            Some(x) => clamp(
                i64::from(x.clamp(&-RESIDUAL_MAX, &RESIDUAL_MAX).to_owned()) + rounded,
                l.clamp,
            ),
            None => clamp(rounded, l.clamp),
        }
    };
    Some(l.divisor.iter().enumerate().map(out).collect())
}

fn norm(n: &Norm, x: &[i32]) -> Option<Vec<i32>> {
    (n.gain.len() == x.len()).then(|| n.apply(x))
}

fn turn(head: &[i32], cos: &[i16], sin: &[i16]) -> Vec<i32> {
    let (lo, hi) = head.split_at(head.len() / 2);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for (((&x, &y), &c), &s) in lo.iter().zip(hi).zip(cos).zip(sin) {
        let (x, y, c, s) = (i64::from(x), i64::from(y), i64::from(c), i64::from(s));
        a.push(clamp(round_div(x * c - y * s, ROPE_DIVISOR), QK_MAX));
        b.push(clamp(round_div(y * c + x * s, ROPE_DIVISOR), QK_MAX));
    }
    a.append(&mut b);
    a
}

/// `EXP[z]` of a score under the largest.
fn exponential(exp: &[u16], max: i32, s: i32, divisor: u32) -> i64 {
    let z = round_div(i64::from(max) - i64::from(s), divisor);
    let z = z.clamp(0, EXP_LEN as i64 - 1) as usize;
    exp.get(z).copied().map_or(0, i64::from)
}

fn probability(e: i64, total: i32) -> i64 {
    let (inv, b) = attention::reciprocal(total.max(1).unsigned_abs());
    let p = (e * i64::from(inv) + (1 << (13 + b))) >> (14 + b);
    p.min(i64::from(PROB_ONE))
}

impl Program<'_> {
    /// The output of step (`op`, `part`), or `None` where inputs or constants have other sizes.
    #[must_use]
    pub fn apply(
        &self,
        (op, part): (Op, usize),
        i: &Inputs,
        c: &Params,
        exp: &[u16],
    ) -> Option<Output> {
        let post = self.shape.order == Order::Post;
        let step = |n: usize| i.steps.get(n).map(Vec::as_slice);
        let out = match (op, c) {
            (Op::Input, Params::None) => narrow(&i.row),
            (Op::Input, Params::Norm(n)) => narrow(&norm(n, &i.row)?),
            (Op::Q | Op::K | Op::V | Op::Gate | Op::Up, Params::Tile(l)) => {
                narrow(&linear(l, step(0)?, None)?)
            }
            (Op::RotateQ | Op::RotateK, Params::Turn(cos, sin)) => {
                turn(self.head(step(0)?, part)?, cos, sin)
            }
            (Op::Score | Op::Exp | Op::Mix | Op::Attend, _) => {
                self.attention((op, part), i, c, exp)?
            }
            (Op::Output, Params::Tile(l)) => {
                let at = part * nesa_model::spec::TILE_ROWS;
                linear(l, step(0)?, Some(i.row.get(at..at + l.rows)?))?
            }
            (Op::MiddleNorm | Op::OutputNorm, Params::Norm(n)) => norm(n, step(0)?)?,
            (Op::FfnInput, Params::None) => narrow(step(0)?),
            (Op::FfnInput, Params::Norm(n)) => narrow(&norm(n, step(0)?)?),
            (Op::Activation, Params::Entries(e)) => e.iter().map(|&v| i32::from(v)).collect(),
            (Op::Product, Params::Product(d, max)) => {
                let product = |((&a, &u), &d): ((&i32, &i32), &u32)| {
                    clamp(round_div(i64::from(a) * i64::from(u), d), *max)
                };
                step(0)?.iter().zip(step(1)?).zip(d).map(product).collect()
            }
            (Op::Down, Params::Tile(l)) => {
                let at = if post {
                    part * nesa_model::spec::TILE_ROWS
                } else {
                    0
                };
                linear(l, step(1)?, Some(step(0)?.get(at..at + l.rows)?))?
            }
            (Op::Commit, Params::None) => return self.commit(step(0)?, step(1)),
            _ => return None,
        };
        (out.len() == self.width(op, part)).then_some(Output::Values(out))
    }

    fn commit(&self, a: &[i32], b: Option<&[i32]>) -> Option<Output> {
        let short = |v: &[i32]| narrow(v).iter().map(|&v| v as i16).collect::<Vec<_>>();
        Some(Output::Digest(match self.cell.half {
            Half::Row => trace::row(a),
            Half::Cached => trace::cached(&short(a), &short(b?)),
        }))
    }

    /// Head `head` among the tiles that hold it.
    fn head<'v>(&self, values: &'v [i32], head: usize) -> Option<&'v [i32]> {
        let at = self.head_offset(head);
        values.get(at..at + self.shape.head_dim)
    }

    fn attention(
        &self,
        (op, part): (Op, usize),
        i: &Inputs,
        c: &Params,
        exp: &[u16],
    ) -> Option<Vec<i32>> {
        let (hd, windows) = (self.shape.head_dim, self.windows().max(1));
        let (head, first) = (part / windows, part % windows == 0);
        let step = |n: usize| i.steps.get(n).map(Vec::as_slice);
        let at = head / self.shape.group() * hd;
        if let (Op::Score, Params::None) = (op, c) {
            let q = step(0)?;
            let q = if self.shape.rotary {
                q
            } else {
                self.head(q, head)?
            };
            let dot = |r: &Cached| {
                let k = r.k.get(at..at + hd)?;
                let all = q.iter().zip(k).map(|(&q, &k)| i64::from(q) * i64::from(k));
                Some(limit(all.sum()))
            };
            let mut s: Vec<i32> = i.cached.iter().map(dot).collect::<Option<_>>()?;
            let before = if first { None } else { Some(*step(1)?.last()?) };
            s.push(s.iter().copied().chain(before).max()?);
            return Some(s);
        }
        let Params::Divisors(d) = c else { return None };
        if op == Op::Attend {
            let out = |(&v, &d): (&i32, &u32)| clamp(round_div(i64::from(v), d), ACT_MAX);
            return Some(step(0)?.iter().zip(d).map(out).collect());
        }
        let (max, d) = (*step(0)?.last()?, *d.first()?);
        let (_, scores) = step(1)?.split_last()?;
        let e = scores.iter().map(|&s| exponential(exp, max, s, d));
        if op == Op::Exp {
            let before = if first {
                0
            } else {
                i64::from(*step(2)?.first()?)
            };
            return Some(vec![limit(before + e.sum::<i64>())]);
        }
        let total = *step(2)?.first()?;
        let mut sums: Vec<i64> = match first {
            true => vec![0; hd],
            false => step(3)?.iter().map(|&v| i64::from(v)).collect(),
        };
        for (e, row) in e.zip(&i.cached) {
            let p = probability(e, total);
            let v = row.v.get(at..at + hd)?;
            sums.iter_mut()
                .zip(v)
                .for_each(|(s, &v)| *s += p * i64::from(v));
        }
        Some(sums.into_iter().map(limit).collect())
    }

    /// Multiply-adds of step (`op`, `part`), as they are counted: three per value of a norm.
    #[must_use]
    pub fn multiply_adds(&self, op: Op, part: usize) -> u64 {
        let s = self.shape;
        let window = self.window(part % self.windows().max(1)).len();
        let width = self.width(op, part);
        (match op {
            Op::Q | Op::K | Op::V | Op::Gate | Op::Up => width * s.dim,
            Op::Output => width * s.q_dim(),
            Op::Down => width * s.ffn,
            Op::Input | Op::MiddleNorm | Op::FfnInput | Op::OutputNorm => 3 * s.dim,
            Op::RotateQ | Op::RotateK => 2 * s.head_dim,
            Op::Score | Op::Mix => window * s.head_dim,
            Op::Exp => window,
            Op::Attend | Op::Product => width,
            Op::Activation | Op::Commit => 0,
        }) as u64
    }
}

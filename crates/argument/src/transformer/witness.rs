//! The values of an honest run, in their places.
//!
//! The same integers as `nesa_model::reference`, kept with every remainder, limb and sum.

use nesa_model::block::{Block, Ffn};
use nesa_model::ops::attention::exp_table;
use nesa_model::ops::linear::Linear;
use nesa_model::ops::norm::{Norm, NormKind};
use nesa_model::ops::round::{clamp, round_div, round_div_mersenne};
use nesa_model::spec::{EXP_LEN, Order, RESIDUAL_MAX, ROPE_DIVISOR};
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use super::head::{CELLS, Head};
use super::hints::{BlockHints, Exception, NormRow, NormScale};
use super::plan::{BlockPlan, NormPlan, Plan, RESIDUAL_LOW, Rounded, SITES, Site, WIDE_LIMB};
use super::{EXP_LOG_MAX, Refusal, Statement};
use crate::field::F;
use crate::layout::TensorId;

/// A matrix (rows, positions).
pub(super) type Matrix = Vec<Vec<i64>>;

/// What a run leaves: the tensors' rows, the hints, and the rows after the last block.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub tensors: Vec<(TensorId, Matrix, i64)>,
    pub hints: Vec<BlockHints>,
    pub output: Vec<i32>,
    pub exp_log: u32,
}

/// A divisor per row.
type Divisors<'a> = &'a (dyn Fn(usize) -> u32 + Sync);

/// Clamps the values of a row and notes what it cuts.
struct Cut {
    site: u8,
    max: i64,
    row: u32,
    found: Vec<Exception>,
}

impl Cut {
    fn new(at: Site, max: i64, row: usize) -> Self {
        Self {
            site: SITES.iter().position(|&x| x == at).unwrap_or(0) as u8,
            max,
            row: row as u32,
            found: Vec::new(),
        }
    }

    fn at(&mut self, v: i64, column: usize) -> i64 {
        let kept = v.clamp(-self.max, self.max);
        if kept != v {
            self.found.push(Exception {
                site: self.site,
                row: self.row,
                column: column as u32,
                excess: v - kept,
            });
        }
        kept
    }
}

struct Trace<'a> {
    s: &'a Statement<'a>,
    t: usize,
    out: Run,
    hints: BlockHints,
    exp: Vec<u16>,
    largest_step: i64,
}

fn transpose(rows: &[i32], dim: usize) -> Matrix {
    let t = rows.len() / dim;
    (0..dim)
        .map(|j| (0..t).map(|i| i64::from(rows[i * dim + j])).collect())
        .collect()
}

/// Sums (rows, positions) of a linear layer, raised and biased.
fn sums(l: &Linear, x: &Matrix, t: usize) -> Matrix {
    let bound = x
        .iter()
        .flatten()
        .map(|v| v.unsigned_abs())
        .max()
        .unwrap_or(0);
    let narrow = bound <= 32_767 && bound * 127 * (l.cols as u64) < 1 << 31;
    let halves: Vec<Vec<i16>> = (0..t)
        .map(|i| {
            x.iter()
                .map(|r| if bound <= 32_767 { r[i] as i16 } else { 0 })
                .collect()
        })
        .collect();
    let wide: Vec<Vec<i64>> = if bound <= 32_767 {
        Vec::new()
    } else {
        (0..t).map(|i| x.iter().map(|r| r[i]).collect()).collect()
    };
    let row = |j: usize| {
        let w = &l.weight[j * l.cols..][..l.cols];
        let w16: Vec<i16> = w.iter().map(|&v| i16::from(v)).collect();
        let bias = l.bias.get(j).copied().unwrap_or(0);
        let dot = |i: usize| -> i64 {
            if bound > 32_767 {
                return w
                    .iter()
                    .zip(&wide[i])
                    .map(|(&a, &b)| i64::from(a) * b)
                    .sum();
            }
            let chunk = if narrow { l.cols } else { 512 };
            let part = |(a, b): (&[i16], &[i16])| -> i64 {
                let s: i32 = a
                    .iter()
                    .zip(b)
                    .map(|(&a, &b)| i32::from(a) * i32::from(b))
                    .sum();
                i64::from(s)
            };
            w16.chunks(chunk)
                .zip(halves[i].chunks(chunk))
                .map(part)
                .sum()
        };
        (0..t).map(|i| (dot(i) + bias) << l.lift).collect()
    };
    (0..l.rows).into_par_iter().map(row).collect()
}

impl Trace<'_> {
    fn put(&mut self, id: TensorId, m: Matrix, pad: i64) {
        self.out.tensors.push((id, m, pad));
    }

    /// Divides, clamps, notes what was cut, and returns (values, remainders).
    fn round(
        &mut self,
        y: &Matrix,
        divisor: Divisors<'_>,
        (max, at): (i64, Site),
        onto: Option<&Matrix>,
    ) -> (Matrix, Matrix) {
        let row = |(j, row): (usize, &Vec<i64>)| {
            let d = divisor(j);
            let half = i64::from(d / 2);
            let (mut qs, mut rs) = (Vec::with_capacity(row.len()), Vec::with_capacity(row.len()));
            let mut cut = Cut::new(at, max, j);
            for (t, &y) in row.iter().enumerate() {
                let q0 = round_div(y, d);
                rs.push(y - q0 * i64::from(d) + half);
                qs.push(cut.at(q0 + onto.map_or(0, |x| x[j][t]), t));
            }
            (qs, (rs, cut.found))
        };
        let (q, rest): (Matrix, Vec<_>) = y.par_iter().enumerate().map(row).unzip();
        (q, self.note(rest))
    }

    /// Takes down what was cut; returns the rest.
    fn note<T>(&mut self, rows: Vec<(T, Vec<Exception>)>) -> Vec<T> {
        let note = |(rest, found): (T, Vec<Exception>)| {
            self.hints.exceptions.extend(found);
            rest
        };
        rows.into_iter().map(note).collect()
    }

    fn rounded(&mut self, p: &Rounded, y: &Matrix, divisor: Divisors<'_>) -> Matrix {
        let (q, r) = self.round(y, divisor, (p.clamp, p.site), None);
        self.put(p.value.parts[0].0, q.clone(), 0);
        self.put(p.rest, r, 0);
        q
    }

    fn residual(&mut self, value: &super::plan::Value, x: &Matrix) {
        let part = |f: &dyn Fn(i64) -> i64| {
            x.iter()
                .map(|r| r.iter().map(|&v| f(v)).collect())
                .collect()
        };
        let high = part(&|v| v >> RESIDUAL_LOW);
        let low = part(&|v| v & ((1 << RESIDUAL_LOW) - 1));
        self.put(value.parts[0].0, high, 0);
        self.put(value.parts[1].0, low, 0);
    }

    fn onto(&mut self, p: &Rounded, l: &Linear, x: &Matrix, onto: &Matrix) -> Matrix {
        let y = sums(l, x, self.t);
        let (q, r) = self.round(
            &y,
            &|j| l.divisor[j],
            (i64::from(RESIDUAL_MAX), p.site),
            Some(onto),
        );
        self.residual(&p.value, &q);
        self.put(p.rest, r, 0);
        q
    }

    fn norm(
        &mut self,
        norm: &Norm,
        p: &NormPlan,
        x: &Matrix,
        which: usize,
    ) -> Result<Matrix, Refusal> {
        let d = x.len() as i64;
        let mut rows = vec![NormRow::default(); self.t];
        for x in x {
            for (row, &v) in rows.iter_mut().zip(x) {
                let (h, l) = (v >> RESIDUAL_LOW, v & ((1 << RESIDUAL_LOW) - 1));
                row.high += (h * h) as u64;
                row.cross += h * l;
                row.low += (l * l) as u64;
                row.total += v;
            }
        }
        let scale = |(t, r): (usize, &NormRow)| r.scale(norm).ok_or(Refusal::Norm(t));
        let scales = rows.iter().enumerate().map(scale);
        let scales: Vec<NormScale> = scales.collect::<Result<_, _>>()?;
        let row = |(j, row): (usize, &Vec<i64>)| {
            let mut ys = Vec::with_capacity(row.len());
            let mut limbs = [Vec::new(), Vec::new(), Vec::new()];
            let mut cut = Cut::new(p.site, p.clamp, j);
            for (t, &v) in row.iter().enumerate() {
                let s = scales[t];
                let u = match norm.kind {
                    NormKind::Rms => v,
                    NormKind::Layer => d * v - rows[t].total,
                };
                let y = i128::from(u) * i128::from(s.r) * i128::from(norm.gain[j]);
                let divisor = (1i64 << s.m) - 1;
                let q0 = round_div_mersenne(y, s.m);
                let rest = (y - i128::from(q0) * i128::from(divisor)) as i64 + divisor / 2;
                for (k, l) in limbs.iter_mut().enumerate() {
                    l.push(rest >> s.limb_start(k) & ((1 << s.limb_bits(k)) - 1));
                }
                let b = norm.bias.get(j).map_or(0, |&b| i64::from(b));
                ys.push(cut.at(q0 + b, t));
            }
            (ys, (limbs, cut.found))
        };
        let (out, rest): (Matrix, Vec<_>) = x.par_iter().enumerate().map(row).unzip();
        let mut limbs = [Matrix::new(), Matrix::new(), Matrix::new()];
        for of_row in self.note(rest) {
            limbs.iter_mut().zip(of_row).for_each(|(m, l)| m.push(l));
        }
        self.hints.norms[which] = rows;
        self.put(p.out.parts[0].0, out.clone(), 0);
        for (id, m) in p.rest.into_iter().zip(limbs) {
            self.put(id, m, 0);
        }
        Ok(out)
    }

    fn rotate(&mut self, p: &Rounded, x: &Matrix) -> Matrix {
        let (s, hd) = (self.s, self.s.shape.head_dim);
        let Some(rope) = &s.common.rope else {
            return x.clone();
        };
        let half = rope.half;
        let turned = (0..x.len())
            .map(|i| {
                let (c, lo) = (i % hd, i % hd < half);
                let pair = if lo { i + half } else { i - half };
                let at = |t: usize| {
                    let k = t * half + c % half;
                    let (cos, sin) = (i64::from(rope.cos[k]), i64::from(rope.sin[k]));
                    x[i][t] * cos
                        + if lo {
                            -x[pair][t] * sin
                        } else {
                            x[pair][t] * sin
                        }
                };
                (0..self.t).map(at).collect()
            })
            .collect();
        self.rounded(p, &turned, &|_| ROPE_DIVISOR)
    }

    fn attention(
        &mut self,
        b: &BlockPlan,
        block: &Block,
        qkv: [&Matrix; 3],
    ) -> Result<Matrix, Refusal> {
        let head = |h: usize| Head::run(self.s.shape, block.score[h], &self.exp, qkv, h, self.t);
        let heads: Vec<Head> = (0..self.s.shape.heads).into_par_iter().map(head).collect();
        let mut cells: [Matrix; CELLS] = Default::default();
        let (mut mixed, mut max) = (Matrix::new(), Matrix::new());
        for h in heads {
            self.largest_step = self.largest_step.max(h.largest_step);
            self.hints.largest.extend(h.largest);
            self.hints.sums.extend(h.sums);
            for (all, of_head) in cells.iter_mut().zip(h.cells) {
                all.extend(of_head);
            }
            max.extend(h.max);
            mixed.extend(h.mixed);
        }
        if self.largest_step >= 1 << EXP_LOG_MAX {
            return Err(Refusal::Step);
        }
        let x = &b.cells;
        let ids = [
            x.score,
            x.step,
            x.step_rest,
            x.exp,
            x.first,
            x.prob,
            x.prob_low,
            x.prob_high,
        ];
        for (id, m) in ids.into_iter().zip(cells) {
            self.put(id, m, 0);
        }
        self.put(x.max, max, 0);
        Ok(self.rounded(&b.mixed, &mixed, &|j| block.mix[j]))
    }

    fn feed_forward(&mut self, b: &BlockPlan, block: &Block, x: &Matrix, onto: &Matrix) -> Matrix {
        let table = &self.s.common.tables[usize::from(block.table)];
        let (first, down) = match &block.ffn {
            Ffn::Gated { gate, down, .. } => (gate, down),
            Ffn::Plain { up, down } => (up, down),
        };
        let gate = self.rounded(&b.gate, &sums(first, x, self.t), &|j| first.divisor[j]);
        let act: Matrix = gate
            .iter()
            .map(|r| r.iter().map(|&v| i64::from(table.get(v as i16))).collect())
            .collect();
        self.put(b.act, act.clone(), i64::from(table.get(0)));
        let mut hidden = act;
        if let (Some((u, p, wide)), Ffn::Gated { up, product, .. }) = (&b.gated, &block.ffn) {
            let up = self.rounded(u, &sums(up, x, self.t), &|j| up.divisor[j]);
            for (h, u) in hidden.iter_mut().zip(&up) {
                h.iter_mut().zip(u).for_each(|(h, u)| *h *= u);
            }
            let (q, r) = self.round(&hidden, &|j| product[j], (p.clamp, p.site), None);
            self.put(p.rest, r, 0);
            match wide {
                None => self.put(p.value.parts[0].0, q.clone(), 0),
                Some(w) => {
                    let limb = |f: &dyn Fn(i64) -> i64| {
                        q.iter()
                            .map(|r| r.iter().map(|&v| f(v)).collect())
                            .collect()
                    };
                    let m = (1 << WIDE_LIMB) - 1;
                    self.put(w.limbs[0], limb(&|v| (v + p.clamp) & m), 0);
                    self.put(w.limbs[1], limb(&|v| (v + p.clamp) >> WIDE_LIMB), 0);
                    self.put(w.complement[0], limb(&|v| (p.clamp - v) & m), 0);
                    self.put(w.complement[1], limb(&|v| (p.clamp - v) >> WIDE_LIMB), 0);
                }
            }
            hidden = q;
        }
        self.onto(&b.output, down, &hidden, onto)
    }

    fn block(&mut self, b: &BlockPlan, block: &Block, x: &Matrix) -> Result<Matrix, Refusal> {
        let pre = self.s.shape.order == Order::Pre;
        let a = if pre {
            self.norm(&block.attn_norm, &b.attn_norm, x, 0)?
        } else if let Some(id) = b.narrow_attn {
            let max = i64::from(nesa_model::spec::ACT_MAX);
            let mut a = x.clone();
            for (j, r) in a.iter_mut().enumerate() {
                let mut cut = Cut::new(Site::NarrowAttn, max, j);
                for (t, v) in r.iter_mut().enumerate() {
                    *v = cut.at(*v, t);
                }
                self.hints.exceptions.extend(cut.found);
            }
            self.put(id, a.clone(), 0);
            a
        } else {
            x.clone()
        };
        let q0 = self.rounded(&b.q, &sums(&block.q, &a, self.t), &|j| block.q.divisor[j]);
        let k0 = self.rounded(&b.k, &sums(&block.k, &a, self.t), &|j| block.k.divisor[j]);
        let v = self.rounded(&b.v, &sums(&block.v, &a, self.t), &|j| block.v.divisor[j]);
        let (q, k) = match &b.rotated {
            Some([q, k]) => (self.rotate(q, &q0), self.rotate(k, &k0)),
            None => (q0, k0),
        };
        let mixed = self.attention(b, block, [&q, &k, &v])?;
        let middle = self.onto(&b.middle, &block.o, &mixed, x);
        if pre {
            let a = self.norm(&block.ffn_norm, &b.ffn_norm, &middle, 1)?;
            return Ok(self.feed_forward(b, block, &a, &middle));
        }
        let y = self.norm(&block.attn_norm, &b.attn_norm, &middle, 0)?;
        let out = self.feed_forward(b, block, &y, &y);
        self.norm(&block.ffn_norm, &b.ffn_norm, &out, 1)
    }
}

/// Runs the statement's blocks on its input. `plan` is for any width and exponential table.
pub(crate) fn run(s: &Statement<'_>, plan: &Plan) -> Result<Run, Refusal> {
    let mut trace = Trace {
        s,
        t: plan.positions,
        out: Run::default(),
        hints: BlockHints::default(),
        exp: exp_table(),
        largest_step: 0,
    };
    let mut x = transpose(s.input, s.shape.dim);
    if let Some(first) = plan.blocks.first() {
        trace.residual(&first.input, &x);
    }
    for (b, block) in plan.blocks.iter().zip(s.blocks) {
        x = trace.block(b, block, &x)?;
        let mut hints = std::mem::take(&mut trace.hints);
        if hints.exceptions.len() > super::hints::EXCEPTIONS_MAX {
            return Err(Refusal::Exceptions(hints.exceptions.len()));
        }
        hints.exceptions.sort_unstable();
        trace.out.hints.push(hints);
    }
    let t = plan.positions;
    trace.out.output = (0..t)
        .flat_map(|i| x.iter().map(move |r| clamp(r[i], RESIDUAL_MAX)))
        .collect();
    trace.out.exp_log = EXP_LEN.ilog2().max(64 - trace.largest_step.leading_zeros());
    Ok(trace.out)
}

/// Writes the tensors into their places; the rest of the polynomial is zero.
pub(crate) fn place(plan: &Plan, tensors: &[(TensorId, Matrix, i64)]) -> Vec<F> {
    let mut f = F::zero_vec(1 << plan.layout.num_vars());
    for (id, m, pad) in tensors {
        let width = 1usize << plan.layout.tensor(*id).log_inner;
        for (j, row) in m.iter().enumerate() {
            let at = plan.layout.at(*id, j, 0);
            let out = &mut f[at..at + width];
            out.fill(F::from_i64(*pad));
            for (o, &v) in out.iter_mut().zip(row) {
                *o = F::from_i64(v);
            }
        }
    }
    f
}

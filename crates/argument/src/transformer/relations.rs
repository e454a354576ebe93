//! What must hold between the committed values of a block: every linear relation, as forms that are zero.
//!
//! One function per operator of the specification (`docs/spec/intspec.md` §3). With random coefficients
//! `e` over channels and `u` over positions, a relation `R[j][t] = 0` becomes `Σ e[j]·u[t]·R[j][t] = 0`.

mod attention;

use nesa_model::block::{Block, Common, Ffn};
use nesa_model::ops::linear::Linear;
use nesa_model::ops::norm::{Norm, NormKind};
use nesa_model::spec::{Order, ROPE_DIVISOR, Shape};
use p3_field::PrimeCharacteristicRing;

use super::challenge::Challenges;
use super::hints::{BlockHints, NORM_LIMB, NormScale};
use super::plan::{BlockPlan, NormPlan, Plan, Rounded, SITES, Site, Value, WIDE_LIMB};
use crate::field::{E, F};
use crate::fold::fold;
use crate::form::{Form, Vector, Weights};
use crate::layout::TensorId;
use crate::matrices::Matrix;

/// The sums that quadratic instances claim, by what they enter.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    /// Squares of both normalisations' inputs.
    pub squares: [E; 2],
    /// Query-key products.
    pub scores: E,
    /// Probability-value products.
    pub mixed: E,
    /// Activation times linear branch.
    pub product: E,
}

/// Everything that the relations of one block speak about.
pub(crate) struct Ctx<'a> {
    pub shape: &'a Shape,
    pub common: &'a Common,
    pub block: &'a Block,
    pub plan: &'a Plan,
    pub b: &'a BlockPlan,
    pub hints: &'a BlockHints,
    pub scales: &'a [Vec<NormScale>; 2],
    pub c: &'a Challenges,
    pub sums: &'a Sums,
    /// Which block of the range it is, where its matrices are committed.
    pub at: Option<u32>,
}

fn int(v: i64) -> E {
    E::from(F::from_i64(v))
}

fn scaled(v: &Vector, by: impl Fn(usize) -> i64) -> Vector {
    v.iter()
        .enumerate()
        .map(|(i, &x)| x * F::from_i64(by(i)))
        .collect::<Vec<E>>()
        .into()
}

fn total(v: &Vector) -> E {
    v.iter().copied().sum()
}

/// Adds `scale · Σ outer[j]·inner[t]·value[j][t]`.
fn add_value(f: &mut Form, value: &Value, scale: E, outer: &Vector, inner: &Vector) {
    for &(id, factor) in &value.parts {
        f.product(id, scale * F::from_i64(factor), outer, inner);
    }
    if value.offset != 0 {
        f.constant += scale * F::from_i64(value.offset) * total(outer) * total(inner);
    }
}

impl Ctx<'_> {
    /// `−Σ e·u·(D·(value + excess) + rest − (D−1)/2)`: the quotient's side of a rounding.
    fn quotient(&self, f: &mut Form, r: &Rounded, e: &Vector, divisor: &dyn Fn(usize) -> u32) {
        let u = &self.c.time;
        let ed = scaled(e, |j| i64::from(divisor(j)));
        add_value(f, &r.value, -E::ONE, &ed, u);
        f.product(r.rest, -E::ONE, e, u);
        let half: E = e
            .iter()
            .enumerate()
            .map(|(j, &x)| x * F::from_u32(divisor(j) / 2))
            .sum();
        f.constant += half * self.c.time_sum;
        f.constant -= self.excess(r.site, &ed);
    }

    /// `Σ weight[row]·u[t]·excess` over a site's exceptions.
    fn excess(&self, site: Site, weight: &Vector) -> E {
        self.exceptions(site)
            .map(|x| {
                let at = weight[x.row as usize] * self.c.time[x.column as usize];
                at * F::from_i64(x.excess)
            })
            .sum()
    }

    fn exceptions(&self, site: Site) -> impl Iterator<Item = &super::hints::Exception> {
        let is = move |x: &&super::hints::Exception| SITES[usize::from(x.site)] == site;
        self.hints.exceptions.iter().filter(is)
    }

    /// A clamped value is at its clamp, on the side of its excess.
    fn pinned(&self, f: &mut Form, site: Site, value: &Value, clamp: i64) {
        // Coefficients of their own: u·e at the cell is already random and differs per cell.
        let rows = self.plan.layout.tensor(value.parts[0].0).outer;
        let e = self.c.channels(rows);
        let weight =
            |x: &super::hints::Exception| e[x.row as usize] * self.c.key[x.column as usize];
        for &(id, factor) in &value.parts {
            let cells: Vec<(u32, u32, E)> = self
                .exceptions(site)
                .map(|x| (x.row, x.column, weight(x)))
                .collect();
            if !cells.is_empty() {
                f.push(id, int(factor), Weights::Cells(cells.into()));
            }
        }
        for x in self.exceptions(site) {
            f.constant += weight(x) * F::from_i64(value.offset - clamp * x.excess.signum());
        }
    }

    /// What a linear layer reads, as cells alone: a wide product's offset is half of both its limbs' sums.
    fn cells(&self, input: &Value, scale: E) -> Vec<(TensorId, E)> {
        let parts = |scale: E| {
            let of = move |&(id, factor): &(TensorId, i64)| (id, scale * F::from_i64(factor));
            input.parts.iter().map(of)
        };
        let wide = self.b.gated.as_ref().and_then(|(_, _, w)| w.as_ref());
        match wide {
            Some(w) if input.offset != 0 => {
                let half = scale.halve();
                let [low, high] = w.complement;
                let other = [(low, -half), (high, -half * int(1 << WIDE_LIMB))];
                parts(half).chain(other).collect()
            }
            _ => parts(scale).collect(),
        }
    }

    /// `scale · Σ e[j]·w[j][k]·u[t]·input[k][t]` for the committed matrix `which` of block `at`.
    fn committed(&self, f: &mut Form, (at, which): (u32, u32), l: &Linear, input: &Value) {
        let rows = self.c.channels(l.rows);
        let inputs = self.cells(input, int(1 << l.lift));
        let here = !l.weight.is_empty();
        let folded: Option<Vector> = here.then(|| fold(&l.weight, l.cols, &rows).into());
        for &(id, scale) in &inputs {
            if let Some(w) = &folded {
                f.product(id, scale, w, &self.c.time);
            }
        }
        f.matrices.push(Matrix {
            block: at,
            which,
            scale: E::ONE,
            rows,
            inputs,
            inner: self.c.time.clone(),
            folded,
        });
    }

    /// Layer number `which` of the block, in the order of [`Block::linears`].
    fn linear(
        &self,
        (which, l): (u32, &Linear),
        input: &Value,
        r: &Rounded,
        onto: Option<&Value>,
    ) -> Form {
        let mut f = Form::default();
        let e = self.c.channels(l.rows);
        let lift = int(1 << l.lift);
        if let Some(at) = self.at {
            self.committed(&mut f, (at, which), l, input);
        } else {
            let w: Vector = fold(&l.weight, l.cols, &e).into();
            add_value(&mut f, input, lift, &w, &self.c.time);
        }
        let bias: E = l
            .bias
            .iter()
            .zip(e.iter())
            .map(|(&b, &x)| x * F::from_i64(b))
            .sum();
        f.constant += lift * bias * self.c.time_sum;
        if let Some(x) = onto {
            let ed = scaled(&e, |j| i64::from(l.divisor[j]));
            add_value(&mut f, x, E::ONE, &ed, &self.c.time);
        }
        self.quotient(&mut f, r, &e, &|j| l.divisor[j]);
        f
    }

    fn norm(&self, norm: &Norm, n: &NormPlan, input: &Value, which: usize) -> Vec<Form> {
        let (c, scales) = (self.c, &self.scales[which]);
        let at = |v: &Vector, by: &dyn Fn(usize) -> i64| {
            scaled(v, |t| if t < scales.len() { by(t) } else { 0 })
        };
        let d = norm.gain.len() as i64;
        let e = c.channels(norm.gain.len());
        let eg = scaled(&e, |j| i64::from(norm.gain[j]));
        let ur = at(&c.time, &|t| i64::from(scales[t].r));
        let mut f = Form::default();
        let rows = &self.hints.norms[which];
        if norm.kind == NormKind::Layer {
            add_value(&mut f, input, int(d), &eg, &ur);
            let mean: E = rows
                .iter()
                .zip(ur.iter())
                .map(|(r, &u)| u * F::from_i64(r.total))
                .sum();
            f.constant -= total(&eg) * mean;
        } else {
            add_value(&mut f, input, E::ONE, &eg, &ur);
        }
        let divisor = |t: usize| (1i64 << scales[t].m) - 1;
        let ud = at(&c.time, &divisor);
        add_value(&mut f, &n.out, -E::ONE, &e, &ud);
        let bias: E = norm
            .bias
            .iter()
            .zip(e.iter())
            .map(|(&b, &x)| x * F::from_i32(b))
            .sum();
        f.constant += bias * total(&ud);
        for (k, &id) in n.rest.iter().enumerate() {
            let inner = at(&c.time, &|t| 1i64 << (scales[t].limb_start(k)));
            f.product(id, -E::ONE, &e, &inner);
        }
        let half = at(&c.time, &|t| divisor(t) / 2);
        f.constant += total(&e) * total(&half);
        let cut: E = self
            .exceptions(n.site)
            .map(|x| e[x.row as usize] * ud[x.column as usize] * F::from_i64(x.excess))
            .sum();
        f.constant -= cut;
        let mut pinned = Form::default();
        self.pinned(&mut pinned, n.site, &n.out, n.clamp);
        vec![
            f,
            pinned,
            self.norm_total(input, which),
            self.norm_squares(which),
        ]
    }

    /// `Σ_j x[j][t]` is what the hints say.
    fn norm_total(&self, input: &Value, which: usize) -> Form {
        let mut f = Form::default();
        let ones: Vector = vec![E::ONE; self.shape.dim].into();
        add_value(&mut f, input, E::ONE, &ones, &self.c.time);
        let said = self.hints.norms[which].iter().map(|r| F::from_i64(r.total));
        f.constant -= said.zip(self.c.time.iter()).map(|(s, &u)| u * s).sum::<E>();
        f
    }

    /// The sums of squares are what the hints say.
    fn norm_squares(&self, which: usize) -> Form {
        let [high, cross, low] = self.c.squares;
        let said = |r: &super::hints::NormRow| {
            high * F::from_u64(r.high) + cross * F::from_i64(r.cross) + low * F::from_u64(r.low)
        };
        let sum: E = self.hints.norms[which]
            .iter()
            .zip(self.c.time.iter())
            .map(|(r, &u)| u * said(r))
            .sum();
        Form {
            constant: self.sums.squares[which] - sum,
            ..Form::default()
        }
    }

    /// `value = clamp(input)`, without a division.
    fn narrow(&self, input: &Value, out: &Value, site: Site) -> Vec<Form> {
        let mut f = Form::default();
        let e = self.c.channels(self.shape.dim);
        add_value(&mut f, input, E::ONE, &e, &self.c.time);
        add_value(&mut f, out, -E::ONE, &e, &self.c.time);
        f.constant -= self.excess(site, &e);
        let mut pinned = Form::default();
        self.pinned(&mut pinned, site, out, i64::from(nesa_model::spec::ACT_MAX));
        vec![f, pinned]
    }

    /// A query or key row of `heads` heads, turned by position.
    fn rotation(&self, from: &Rounded, to: &Rounded, heads: usize) -> Option<Form> {
        let rope = self.common.rope.as_ref()?;
        let c = self.c;
        let width = c.time.len();
        let real = self.plan.positions;
        let half = rope.half;
        let mut turn = E::zero_vec(2 * half * width);
        for j in 0..half {
            for t in 0..real {
                let cos = F::from_i16(rope.cos[t * half + j]);
                let sin = F::from_i16(rope.sin[t * half + j]);
                let (lo, hi) = (c.within[j], c.within[half + j]);
                turn[j * width + t] = c.time[t] * (lo * cos + hi * sin);
                turn[(half + j) * width + t] = c.time[t] * (hi * cos - lo * sin);
            }
        }
        let head: Vector = c.heads[..heads].to_vec().into();
        let mut f = Form::default();
        let weights = Weights::Headed {
            heads: head.clone(),
            matrix: turn.into(),
        };
        f.push(from.value.parts[0].0, E::ONE, weights);
        let e = outer(&head, &c.within);
        self.quotient(&mut f, to, &e, &|_| ROPE_DIVISOR);
        Some(f)
    }

    fn product(&self) -> Vec<Form> {
        let (Some((_, r, wide)), Ffn::Gated { product, .. }) = (&self.b.gated, &self.block.ffn)
        else {
            return Vec::new();
        };
        let e = self.c.channels(self.shape.ffn);
        let mut f = Form {
            constant: self.sums.product,
            ..Form::default()
        };
        self.quotient(&mut f, r, &e, &|j| product[j]);
        let mut out = vec![f];
        if let Some(w) = wide {
            let mut both = Form::default();
            let u = &self.c.time;
            for limbs in [&w.limbs, &w.complement] {
                both.product(limbs[0], E::ONE, &e, u);
                both.product(limbs[1], int(1 << WIDE_LIMB), &e, u);
            }
            both.constant -= int(2 * r.clamp) * total(&e) * self.c.time_sum;
            out.push(both);
        }
        out
    }

    fn feed_forward(&self) -> Vec<Form> {
        let b = self.b;
        let mut out = self.product();
        let (first, down) = match &self.block.ffn {
            Ffn::Gated { gate, up, down, .. } => {
                if let Some((r, ..)) = &b.gated {
                    out.push(self.linear((5, up), &b.ffn_in, r, None));
                }
                (gate, down)
            }
            Ffn::Plain { up, down } => (up, down),
        };
        out.push(self.linear((4, first), &b.ffn_in, &b.gate, None));
        let onto = match self.shape.order {
            Order::Pre => &b.middle.value,
            Order::Post => &b.attn_norm.out,
        };
        let last = if b.gated.is_some() { 6 } else { 5 };
        out.push(self.linear((last, down), &b.hidden, &b.output, Some(onto)));
        out
    }

    /// All forms of the block, in a fixed order.
    pub(crate) fn forms(&self) -> Vec<Form> {
        let (b, block) = (self.b, self.block);
        let pre = self.shape.order == Order::Pre;
        let norm_in = if pre {
            [&b.input, &b.middle.value]
        } else {
            [&b.middle.value, &b.output.value]
        };
        let mut all = self.norm(&block.attn_norm, &b.attn_norm, norm_in[0], 0);
        all.extend(self.norm(&block.ffn_norm, &b.ffn_norm, norm_in[1], 1));
        if b.narrow_attn.is_some() {
            all.extend(self.narrow(&b.input, &b.attn_in, Site::NarrowAttn));
        }
        all.push(self.linear((0, &block.q), &b.attn_in, &b.q, None));
        all.push(self.linear((1, &block.k), &b.attn_in, &b.k, None));
        all.push(self.linear((2, &block.v), &b.attn_in, &b.v, None));
        if let Some([q, k]) = &b.rotated {
            all.extend(self.rotation(&b.q, q, self.shape.heads));
            all.extend(self.rotation(&b.k, k, self.shape.kv_heads));
        }
        all.extend(self.scores());
        all.extend(self.softmax());
        all.push(self.mixed());
        all.push(self.linear((3, &block.o), &b.mixed.value, &b.middle, Some(&b.input)));
        all.extend(self.feed_forward());
        for r in self.rounded() {
            let mut f = Form::default();
            self.pinned(&mut f, r.site, &r.value, r.clamp);
            all.push(f);
        }
        all
    }

    /// All roundings with a clamp.
    fn rounded(&self) -> Vec<&Rounded> {
        self.b.rounded()
    }
}

impl BlockPlan {
    /// All roundings, in a fixed order.
    #[must_use]
    pub fn rounded(&self) -> Vec<&Rounded> {
        let mut all = vec![&self.q, &self.k, &self.v];
        all.extend(self.rotated.iter().flatten());
        all.extend([&self.mixed, &self.middle, &self.gate, &self.output]);
        if let Some((up, product, _)) = &self.gated {
            all.extend([up, product]);
        }
        all
    }
}

impl NormScale {
    /// First bit of the remainder's limb `k`.
    #[must_use]
    pub fn limb_start(&self, k: usize) -> u32 {
        (NORM_LIMB * k as u32).min(self.m)
    }

    /// Bits of the remainder's limb `k`.
    #[must_use]
    pub fn limb_bits(&self, k: usize) -> u32 {
        if k == 2 {
            self.m - self.limb_start(2)
        } else {
            self.limb_start(k + 1) - self.limb_start(k)
        }
    }
}

/// `a ⊗ b`, `a` outermost.
pub(crate) fn outer(a: &[E], b: &[E]) -> Vector {
    a.iter()
        .flat_map(|&x| b.iter().map(move |&y| x * y))
        .collect::<Vec<E>>()
        .into()
}

/// The rows at a boundary are the committed ones: `Σ e·u·(value − rows)`, `rows` (positions, dim).
pub(crate) fn boundary(c: &Challenges, value: &Value, rows: &[i32], dim: usize) -> Form {
    let mut f = Form::default();
    let e = c.channels(dim);
    add_value(&mut f, value, E::ONE, &e, &c.time);
    for (row, &u) in rows.chunks_exact(dim).zip(c.time.iter()) {
        let sum: E = row
            .iter()
            .zip(e.iter())
            .map(|(&x, &e)| e * F::from_i32(x))
            .sum();
        f.constant -= u * sum;
    }
    f
}

/// Adds a claim that a tensor's extension has `value` at outer weights ⊗ inner weights.
pub(crate) fn claim(id: TensorId, outer: &Vector, inner: &Vector, value: E) -> Form {
    let mut f = Form::default();
    f.product(id, E::ONE, outer, inner);
    f.constant = -value;
    f
}

//! The prover: commit, look up, multiply, add up, open.

use p3_field::{PrimeCharacteristicRing, PrimeField64};
use rayon::prelude::*;

use super::challenge::Challenges;
use super::families::{Alpha, Family, Kind, tables};
use super::hints::BlockHints;
use super::leaves;
use super::plan::{Plan, divisor_bits};
use super::public::{Public, scales};
use super::rows::Rows;
use super::{LOOKUP_GRIND, Left, Matrices, RangeProof, Refusal, Statement, quadratic, witness};
use crate::field::{E, F, coordinates};
use crate::form::{Form, expand};
use crate::layout::TensorId;
use crate::tables::{CLOSED_TAG, Compress, EXP_TAG, Lookup};
use crate::transcript::Transcript;
use crate::{inner, pcs, sumcheck};

/// How far a proof has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Running the blocks.
    Witness,
    /// Committing to all values.
    Commit,
    /// Proving the lookups.
    Lookups,
    /// Proving the products.
    Products,
    /// Adding up all relations.
    Relations,
    /// Opening the commitment.
    Open,
}

/// The values looked up by some families, counted per table entry.
struct Counts<'a> {
    tables: &'a [(TensorId, Lookup<'a>)],
    counts: Vec<Vec<u32>>,
}

/// Where the tag of a lookup stands in what [`Counts::row`] reads.
const TAG_BITS: u32 = 40;

impl<'a> Counts<'a> {
    fn new(tables: &'a [(TensorId, Lookup<'a>)]) -> Self {
        let zeros = |(_, t): &(TensorId, Lookup<'_>)| vec![0; 1 << t.log_len()];
        Self {
            tables,
            counts: tables.iter().map(zeros).collect(),
        }
    }

    /// The table and its first entry with a tag; [`super::families::tables`] has the order.
    fn place(&self, tag: u32) -> (usize, usize) {
        match tag {
            EXP_TAG => (2, 0),
            t if t > EXP_TAG => {
                let is = |(_, l): &(TensorId, Lookup<'_>)| matches!(l, Lookup::Act(i, _) if u32::from(*i) == t - EXP_TAG - 1);
                (self.tables.iter().position(is).unwrap_or(0), 0)
            }
            t if t >= CLOSED_TAG => (1, 1 << (t - CLOSED_TAG)),
            t => (0, 1 << t),
        }
    }

    /// Counts a row of values `v0 + tag·2^40`.
    fn row(&mut self, values: &[F]) {
        let mut last = (u64::MAX, (0, 0));
        for v in values {
            let v = v.as_canonical_u64();
            let tag = v >> TAG_BITS;
            if tag != last.0 {
                last = (tag, self.place(tag as u32));
            }
            let (table, first) = last.1;
            let entry = first + (v & ((1 << TAG_BITS) - 1)) as usize;
            if let Some(c) = self.counts[table].get_mut(entry) {
                *c += 1;
            }
        }
    }

    fn merge(mut self, other: Self) -> Self {
        for (a, b) in self.counts.iter_mut().zip(other.counts) {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
        self
    }
}

/// How often every table entry is looked up, written into its tensor.
fn count(public: &Public<'_>, f: &mut [F]) {
    // Values that compress to `v0 + tag·2^40`, all in the base field, say which entry they mean.
    let a = Alpha {
        alpha: E::ZERO,
        compress: Compress {
            one: E::ZERO,
            two: E::ZERO,
            tag: E::from_u64(1 << TAG_BITS),
        },
    };
    let all: Vec<Family> = public.families(a);
    let lookups: Vec<&Family> = all.iter().filter(|f| f.kind == Kind::Lookup).collect();
    let layout = &public.plan.layout;
    let tables = tables(public.plan, public.s.common);
    let cells: &[F] = f;
    let some = |families: &[&Family]| {
        let mut counts = Counts::new(&tables);
        for family in families {
            let rows = Rows::new(family, |c| coordinates(&c)[0]);
            let mut row = F::zero_vec(1 << family.log_inner);
            for j in 0..family.outer {
                rows.fill(layout, cells, j, &mut row);
                counts.row(&row);
            }
        }
        counts
    };
    let share = lookups.len().div_ceil(rayon::current_num_threads()).max(1);
    let total = lookups
        .par_chunks(share)
        .map(some)
        .reduce_with(Counts::merge);
    for (&(id, _), counts) in tables.iter().zip(total.into_iter().flat_map(|t| t.counts)) {
        let at = layout.at(id, 0, 0);
        for (o, c) in f[at..].iter_mut().zip(counts) {
            *o = F::from_u32(c);
        }
    }
}

/// Sees where a proof is; stops it by returning false.
pub(super) type Progress<'a> = &'a mut dyn FnMut(Stage) -> bool;

fn step(progress: &mut Progress<'_>, stage: Stage) -> Result<(), Refusal> {
    if progress(stage) {
        Ok(())
    } else {
        Err(Refusal::Cancelled)
    }
}

/// Proves `s`, or says why it cannot: what is refused is never proved in a weaker way.
///
/// # Errors
/// [`Refusal`]; [`Refusal::Output`] when the statement is false.
pub fn prove(s: &Statement<'_>, progress: Progress<'_>) -> Result<RangeProof, Refusal> {
    prove_as(s, Matrices::Held, progress).map(|(proof, _)| proof)
}

/// As [`prove`], and what is left to show of committed matrices.
pub(crate) fn prove_as(
    s: &Statement<'_>,
    matrices: Matrices<'_>,
    mut progress: Progress<'_>,
) -> Result<(RangeProof, Option<Left>), Refusal> {
    let positions = s.positions(matrices).map_err(Refusal::Size)?;
    let width = divisor_bits(s.shape, s.blocks);
    step(&mut progress, Stage::Witness)?;
    let plan = Plan::new(s.shape, s.blocks, positions, width, 14)?;
    let run = witness::run(s, &plan)?;
    if run.output != s.output {
        return Err(Refusal::Output);
    }
    let plan = Plan::new(s.shape, s.blocks, positions, width, run.exp_log)?;
    let f = witness::place(&plan, &run.tensors);
    drop(run.tensors);
    prove_values((s, matrices), &plan, (run.hints, f), |_| (), progress)
}

/// Proves from committed values on. What the values are is the caller's word; false ones are refused
/// by the verifier. `counted` sees all values once multiplicities are among them.
pub(crate) fn prove_values(
    (s, matrices): (&Statement<'_>, Matrices<'_>),
    plan: &Plan,
    (hints, mut f): (Vec<BlockHints>, Vec<F>),
    counted: impl FnOnce(&mut [F]),
    mut progress: Progress<'_>,
) -> Result<(RangeProof, Option<Left>), Refusal> {
    let of =
        |(b, h): (&nesa_model::block::Block, &BlockHints)| scales([&b.attn_norm, &b.ffn_norm], h);
    let all = s.blocks.iter().zip(&hints).map(of);
    let scales = all.collect::<Option<Vec<_>>>().ok_or(Refusal::Norm(0))?;
    let public = Public {
        s,
        plan,
        hints: &hints,
        scales: &scales,
        matrices,
    };
    count(&public, &mut f);
    counted(&mut f);
    step(&mut progress, Stage::Commit)?;
    let mut t = Transcript::new("nesa.proof.range.v1");
    s.absorb(matrices, &mut t);
    t.absorb_bytes(&RangeProof::header(plan.width, plan.exp_log, &hints));
    let (commitment, committed) = pcs::commit(f, &mut t)?;
    step(&mut progress, Stage::Lookups)?;
    let nonce = t.grind(LOOKUP_GRIND);
    let a = Alpha::draw(&mut t);
    let (all, entries) = (public.families(a), tables(plan, s.common));
    let cells = (&plan.layout, committed.values(), &a);
    let (trees, mut forms) = leaves::prove(&all, &entries, cells, &mut t);
    drop(all);
    step(&mut progress, Stage::Products)?;
    let (products, relations) = prove_products(&public, committed.values(), &mut t);
    forms.extend(relations);
    step(&mut progress, Stage::Relations)?;
    let (reduced, left) = reduce(plan, matrices, forms, committed.values(), &mut t);
    let inner::Proved {
        messages,
        point,
        value,
    } = reduced;
    step(&mut progress, Stage::Open)?;
    let opening = pcs::open(committed, &point, &mut t)?;
    let proof = RangeProof {
        width: plan.width,
        exp_log: plan.exp_log,
        hints,
        commitment,
        nonce,
        trees,
        sums: products.sums,
        rounds: products.rounds,
        factors: products.factors,
        inner: messages,
        value,
        opening,
    };
    Ok((proof, left))
}

/// Everything linear as one inner product down to one point, and what it leaves of committed matrices.
fn reduce(
    plan: &Plan,
    matrices: Matrices<'_>,
    forms: Vec<Form>,
    values: &[F],
    t: &mut Transcript,
) -> (inner::Proved, Option<Left>) {
    let form = Form::total(forms, t);
    let reduced = inner::prove(values, expand(&plan.layout, &form), t);
    t.absorb_ext(&[reduced.value]);
    let left = matrices
        .are_committed()
        .then(|| Left::new(&plan.layout, &form, &reduced.point, None, t));
    (reduced, left)
}

/// The messages about products of two committed values.
struct Products {
    sums: Vec<E>,
    rounds: sumcheck::Rounds,
    factors: Vec<[E; 2]>,
}

/// Proves the products; returns the messages, and all relations and claims that are left.
fn prove_products(public: &Public<'_>, f: &[F], t: &mut Transcript) -> (Products, Vec<Form>) {
    let (plan, shape) = (public.plan, public.s.shape);
    let c = Challenges::draw(shape, plan.positions, plan.log_t, t);
    let all = quadratic::instances(plan, shape);
    let ctx = quadratic::Ctx { plan, shape, c: &c };
    let instances: Vec<_> = all.iter().map(|q| ctx.instance(q, f)).collect();
    let sums: Vec<E> = instances.iter().map(|i| i.claim).collect();
    t.absorb_ext(&sums);
    let (rounds, point, finals) = sumcheck::prove(instances, t);
    let factors: Vec<[E; 2]> = finals.iter().map(|v| [v[1], v[2]]).collect();
    t.absorb_ext(factors.as_flattened());
    let mut forms = Vec::new();
    for (q, &v) in all.iter().zip(&factors) {
        let tail = &point[point.len() - ctx.num_vars(q) as usize..];
        forms.extend(ctx.claims(q, tail, v));
    }
    forms.extend(public.forms(&c, &quadratic::sums(&all, &sums, plan.blocks.len())));
    let products = Products {
        sums,
        rounds,
        factors,
    };
    (products, forms)
}

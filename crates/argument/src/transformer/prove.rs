//! The prover: commit, look up, multiply, add up, open.

use p3_field::{PrimeCharacteristicRing, PrimeField64};
use rayon::prelude::*;

use super::challenge::Challenges;
use super::families::{Alpha, Family, Leaves, arrange, tables};
use super::hints::BlockHints;
use super::plan::{Plan, divisor_bits};
use super::public::{Public, scales, total};
use super::{LOOKUP_GRIND, RangeProof, Refusal, Statement, quadratic, witness};
use crate::field::{E, F, coordinates};
use crate::form::{Form, expand};
use crate::layout::Layout;
use crate::sumcheck::fold;
use crate::tables::{CLOSED_TAG, Compress, EXP_TAG, Lookup};
use crate::transcript::Transcript;
use crate::{lookup, pcs, sumcheck};

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

/// How often every table entry is looked up, written into its tensor.
fn count(public: &Public<'_>, f: &mut [F]) {
    // Values that compress to `v0 + tag·2^40` in the base field say which entry they mean.
    let a = Alpha {
        alpha: E::ZERO,
        compress: Compress {
            one: E::ZERO,
            two: E::ZERO,
            tag: E::from_u64(1 << 40),
        },
    };
    let all: Vec<Family> = public.families(a);
    let trees = arrange(&all, &[]);
    let layout = &public.plan.layout;
    let tables = tables(public.plan, public.s.common);
    let mut counts: Vec<Vec<u32>> = tables.iter().map(|(_, t)| vec![0; 1 << t.log_len()]).collect();
    let place = |tag: u32, v: usize| -> (usize, usize) {
        match tag {
            EXP_TAG => (2, v),
            t if t > EXP_TAG => {
                let is = |(_, l): &(_, Lookup<'_>)| matches!(l, Lookup::Act(i, _) if u32::from(*i) == t - EXP_TAG - 1);
                (tables.iter().position(is).unwrap_or(0), v)
            }
            t if t >= CLOSED_TAG => (1, (1 << (t - CLOSED_TAG)) + v),
            t => (0, (1 << t) + v),
        }
    };
    for tree in &trees {
        let (num, den) = tree.fill(&all, &[], (layout, f, &a));
        for (i, d) in den.iter().enumerate() {
            let counted = match &num {
                lookup::Numerators::Ones => true,
                lookup::Numerators::Values(n) => n[i] == F::ONE,
            };
            if counted {
                let v: u64 = coordinates(d)[0].as_canonical_u64();
                let (table, entry) = place((v >> 40) as u32, (v & ((1 << 40) - 1)) as usize);
                if let Some(c) = counts[table].get_mut(entry) {
                    *c += 1;
                }
            }
        }
    }
    for ((id, _), counts) in tables.iter().zip(counts) {
        let at = layout.at(*id, 0, 0);
        for (o, c) in f[at..].iter_mut().zip(counts) {
            *o = F::from_u32(c);
        }
    }
}

/// `Σ f·w = claim` as a sumcheck; returns the messages, the point and `f` there.
fn inner_product(f: &[F], mut w: Vec<E>, t: &mut Transcript) -> (Vec<[E; 2]>, Vec<E>, E) {
    let mut sent = Vec::new();
    let mut point = Vec::new();
    let half = f.len() / 2;
    let first = (0..half)
        .into_par_iter()
        .with_min_len(1 << 12)
        .map(|i| {
            let (a, b) = (f[i], f[i + half]);
            [w[i] * a, (w[i + half] - w[i]) * (b - a)]
        })
        .reduce(|| [E::ZERO; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
    t.absorb_ext(&first);
    let r = t.challenge();
    sent.push(first);
    point.push(r);
    let mut x: Vec<E> = (0..half)
        .into_par_iter()
        .map(|i| r * (f[i + half] - f[i]) + f[i])
        .collect();
    fold(&mut w, r);
    while x.len() > 1 {
        let half = x.len() / 2;
        let message = (0..half)
            .into_par_iter()
            .with_min_len(1 << 12)
            .map(|i| {
                let (a, b) = (x[i], x[i + half]);
                [w[i] * a, (w[i + half] - w[i]) * (b - a)]
            })
            .reduce(|| [E::ZERO; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
        t.absorb_ext(&message);
        let r = t.challenge();
        fold(&mut x, r);
        fold(&mut w, r);
        sent.push(message);
        point.push(r);
    }
    (sent, point, x[0])
}

/// Sees where a proof is; stops it by returning false.
pub type Progress<'a> = &'a mut dyn FnMut(Stage) -> bool;

fn step(progress: &mut Progress<'_>, stage: Stage) -> Result<(), Refusal> {
    if progress(stage) { Ok(()) } else { Err(Refusal::Cancelled) }
}

/// Proves `s`, or says why it cannot: what is refused is never proved in a weaker way.
///
/// # Errors
/// [`Refusal`]; [`Refusal::Output`] when the statement is false.
pub fn prove(s: &Statement<'_>, mut progress: Progress<'_>) -> Result<RangeProof, Refusal> {
    let positions = s.positions().map_err(Refusal::Size)?;
    let width = divisor_bits(s.shape, s.blocks);
    step(&mut progress, Stage::Witness)?;
    let plan = Plan::new(s.shape, s.blocks, positions, width, 14)?;
    let run = witness::run(s, &plan)?;
    if run.output != s.output {
        return Err(Refusal::Output);
    }
    let plan = Plan::new(s.shape, s.blocks, positions, width, run.exp_log)?;
    let f = witness::place(&plan, &run.tensors);
    prove_values(s, &plan, run.hints, f, progress)
}

/// Proves from committed values on. What the values are is the caller's word; false ones are refused
/// by the verifier.
pub(crate) fn prove_values(
    s: &Statement<'_>,
    plan: &Plan,
    hints: Vec<BlockHints>,
    mut f: Vec<F>,
    mut progress: Progress<'_>,
) -> Result<RangeProof, Refusal> {
    let of = |(b, h): (&nesa_model::block::Block, &BlockHints)| scales([&b.attn_norm, &b.ffn_norm], h);
    let scales = s.blocks.iter().zip(&hints).map(of).collect::<Option<Vec<_>>>();
    let scales = scales.ok_or(Refusal::Norm(0))?;
    let public = Public { s, plan, hints: &hints, scales: &scales };
    count(&public, &mut f);
    step(&mut progress, Stage::Commit)?;
    let mut t = Transcript::new("nesa.proof.range.v1");
    s.absorb(&mut t);
    t.absorb_bytes(&RangeProof::header(plan.width, plan.exp_log, &hints));
    let (commitment, committed) = pcs::commit(f, &mut t)?;
    step(&mut progress, Stage::Lookups)?;
    let nonce = t.grind(LOOKUP_GRIND);
    let (trees, mut forms) = prove_lookups(&public, committed.values(), &mut t);
    step(&mut progress, Stage::Products)?;
    let c = Challenges::draw(s.shape, plan.positions, plan.log_t, &mut t);
    let all = quadratic::instances(plan, s.shape);
    let ctx = quadratic::Ctx { plan, shape: s.shape, c: &c };
    let instances: Vec<_> = all.iter().map(|q| ctx.instance(q, committed.values())).collect();
    let sums: Vec<E> = instances.iter().map(|i| i.claim).collect();
    t.absorb_ext(&sums);
    let (rounds, point, finals) = sumcheck::prove(instances, &mut t);
    let factors: Vec<[E; 2]> = finals.iter().map(|v| [v[1], v[2]]).collect();
    t.absorb_ext(factors.as_flattened());
    step(&mut progress, Stage::Relations)?;
    for (q, &v) in all.iter().zip(&factors) {
        let tail = &point[point.len() - ctx.num_vars(q) as usize..];
        forms.extend(ctx.claims(q, tail, v));
    }
    forms.extend(public.forms(&c, &quadratic::sums(&all, &sums, plan.blocks.len())));
    let form = total(forms, &mut t);
    let weights = expand(&plan.layout, &form);
    let (inner, point, value) = inner_product(committed.values(), weights, &mut t);
    t.absorb_ext(&[value]);
    step(&mut progress, Stage::Open)?;
    let opening = pcs::open(committed, &point, &mut t)?;
    Ok(RangeProof {
        width: plan.width,
        exp_log: plan.exp_log,
        hints,
        commitment,
        nonce,
        trees,
        sums,
        rounds,
        factors,
        inner,
        value,
        opening,
    })
}

fn prove_lookups(public: &Public<'_>, f: &[F], t: &mut Transcript) -> (Vec<lookup::Tree>, Vec<Form>) {
    let a = Alpha {
        alpha: t.challenge(),
        compress: Compress::new(t.challenge()),
    };
    let all = public.families(a);
    let tables = tables(public.plan, public.s.common);
    let (mut trees, mut forms) = (Vec::new(), Vec::new());
    let layout: &Layout = &public.plan.layout;
    let leaves: Vec<Leaves> = arrange(&all, &tables);
    for l in &leaves {
        let (num, den) = l.fill(&all, &tables, (layout, f, &a));
        let (tree, claim) = lookup::prove(&num, den, t);
        forms.extend(l.claims(&claim, &all, &tables, &a));
        trees.push(tree);
    }
    (trees, forms)
}

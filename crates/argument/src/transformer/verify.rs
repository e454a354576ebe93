//! The verifier. Reads a proof once, in the order of its messages; any bytes end in a typed answer.

use p3_field::PrimeCharacteristicRing;

use super::challenge::Challenges;
use super::families::{Alpha, tables};
use super::leaves;
use super::plan::{Plan, SITES, Site};
use super::public::{Public, scales};
use super::{
    EXP_LOG_MAX, LOOKUP_GRIND, Left, Matrices, RangeProof, Rejection, Statement, quadratic,
};
use crate::field::E;
use crate::form::{Form, inner_product_and};
use crate::sumcheck::{Shape as Instance, combine};
use crate::transcript::Transcript;
use crate::{pcs, sumcheck};

/// Accepts exactly if the blocks turn the statement's input into its output, but for an error of at most
/// `2^-100` (`SOUNDNESS.md`).
///
/// # Errors
/// [`Rejection`].
pub fn verify(s: &Statement<'_>, proof: &RangeProof) -> Result<(), Rejection> {
    check(s, Matrices::Held, proof, E::ZERO).map(drop)
}

/// As [`verify`], and what is left to show of committed matrices, whose products are said to come to `sum`.
pub(crate) fn check(
    s: &Statement<'_>,
    matrices: Matrices<'_>,
    proof: &RangeProof,
    sum: E,
) -> Result<Option<Left>, Rejection> {
    let positions = s.positions(matrices).map_err(Rejection::Statement)?;
    if !(14..=EXP_LOG_MAX).contains(&proof.exp_log) {
        return Err(Rejection::Statement("exponential table"));
    }
    let plan = Plan::new(s.shape, s.blocks, positions, proof.width, proof.exp_log)?;
    let scales = check_hints(s, &plan, proof)?;
    let public = Public {
        s,
        plan: &plan,
        hints: &proof.hints,
        scales: &scales,
        matrices,
    };
    let mut t = Transcript::new("nesa.proof.range.v1");
    s.absorb(matrices, &mut t);
    let header = RangeProof::header(plan.width, plan.exp_log, &proof.hints);
    t.absorb_bytes(&header);
    let num_vars = plan.layout.num_vars() as usize;
    pcs::observe(&proof.commitment, num_vars, &mut t)?;
    if !t.check_grind(LOOKUP_GRIND, proof.nonce) {
        return Err(Rejection::Work);
    }
    let a = Alpha::draw(&mut t);
    let (all, tables) = (public.families(a), tables(&plan, s.common));
    let mut forms = leaves::verify(&all, &tables, &proof.trees, &a, &mut t)?;
    let c = Challenges::draw(s.shape, positions, plan.log_t, &mut t);
    products(&public, &c, proof, &mut t, &mut forms)?;
    let form = Form::total(forms, &mut t);
    let said = (proof.value, sum);
    let point = inner_product_and(&plan.layout, &form, &proof.inner, said, &mut t)
        .ok_or(Rejection::Relations)?;
    let left = matrices
        .are_committed()
        .then(|| Left::new(&plan.layout, &form, &point, Some(sum), &mut t));
    pcs::verify(
        &proof.commitment,
        num_vars,
        &point,
        proof.value,
        &proof.opening,
        &mut t,
    )?;
    Ok(left)
}

type Scales = Vec<[Vec<super::hints::NormScale>; 2]>;

fn check_hints(s: &Statement<'_>, plan: &Plan, proof: &RangeProof) -> Result<Scales, Rejection> {
    if proof.hints.len() != s.blocks.len() {
        return Err(Rejection::Hints(proof.hints.len()));
    }
    let mut all = Vec::with_capacity(s.blocks.len());
    for (i, (block, hints)) in s.blocks.iter().zip(&proof.hints).enumerate() {
        let b = &plan.blocks[i];
        let mut sites: Vec<(Site, usize)> = b
            .rounded()
            .into_iter()
            .map(|r| (r.site, plan.layout.tensor(r.value.parts[0].0).outer))
            .collect();
        sites.extend([(Site::AttnNorm, s.shape.dim), (Site::FfnNorm, s.shape.dim)]);
        if b.narrow_attn.is_some() {
            sites.push((Site::NarrowAttn, s.shape.dim));
        }
        let inside = |e: &super::hints::Exception| {
            let site = SITES.get(usize::from(e.site));
            sites
                .iter()
                .any(|(k, n)| Some(k) == site && (e.row as usize) < *n)
        };
        if !hints.fits(s.shape, plan.positions) || !hints.exceptions.iter().all(inside) {
            return Err(Rejection::Hints(i));
        }
        let norms = [&block.attn_norm, &block.ffn_norm];
        all.push(scales(norms, hints).ok_or(Rejection::Norm(i))?);
    }
    Ok(all)
}

fn products(
    public: &Public<'_>,
    c: &Challenges,
    proof: &RangeProof,
    t: &mut Transcript,
    forms: &mut Vec<Form>,
) -> Result<(), Rejection> {
    let (plan, shape) = (public.plan, public.s.shape);
    let all = quadratic::instances(plan, shape);
    if all.len() != proof.sums.len() || all.len() != proof.factors.len() {
        return Err(Rejection::Product);
    }
    let ctx = quadratic::Ctx { plan, shape, c };
    t.absorb_ext(&proof.sums);
    let shapes: Vec<Instance> = all
        .iter()
        .zip(&proof.sums)
        .map(|(q, &claim)| Instance {
            num_vars: ctx.num_vars(q),
            claim,
        })
        .collect();
    let (point, scales, last) =
        sumcheck::verify(&shapes, &proof.rounds, t).ok_or(Rejection::Product)?;
    t.absorb_ext(proof.factors.as_flattened());
    let mut sum = E::ZERO;
    for ((q, &v), scale) in all.iter().zip(&proof.factors).zip(scales) {
        let tail = &point[point.len() - ctx.num_vars(q) as usize..];
        let values = [ctx.public(q, tail), v[0], v[1]];
        sum += scale * combine(&ctx.monomials(q), &values);
        forms.extend(ctx.claims(q, tail, v));
    }
    if sum != last {
        return Err(Rejection::Product);
    }
    forms.extend(public.forms(c, &quadratic::sums(&all, &proof.sums, plan.blocks.len())));
    Ok(())
}

//! Every lookup and relation in the clear, without the cryptography: to test the circuit, and to find
//! out what a refused witness breaks. Also the door for tests that forge one committed value.

use std::collections::HashSet;

use p3_field::PrimeCharacteristicRing;

use super::challenge::Challenges;
use super::families::{Alpha, Family, Kind, tables};
use super::hints::BlockHints;
use super::plan::{Plan, divisor_bits};
use super::prove::prove_values;
use super::public::{Public, scales};
use super::rows::Rows;
use super::{Matrices, RangeProof, Refusal, Statement, quadratic, witness};
use crate::field::{E, F};
use crate::form::{Form, Weights};
use crate::layout::{Layout, TensorId, eq_at};
use crate::tables::Compress;
use crate::transcript::Transcript;

/// What a prover commits to and states.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Where values stand.
    pub plan: Plan,
    /// What is stated in the clear.
    pub hints: Vec<BlockHints>,
    /// All committed values, multiplicities not yet among them.
    pub cells: Vec<F>,
}

/// What a witness breaks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Broken {
    /// Lookups, as (family, row, column).
    pub lookups: Vec<(usize, usize, usize)>,
    /// Relations by index.
    pub relations: Vec<usize>,
}

impl Broken {
    /// Nothing is broken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lookups.is_empty() && self.relations.is_empty()
    }
}

/// The honest witness of a statement; the statement's output need not be right.
///
/// # Errors
/// [`Refusal`].
pub fn witness(s: &Statement<'_>) -> Result<Witness, Refusal> {
    let positions = s.positions(Matrices::Held).map_err(Refusal::Size)?;
    let width = divisor_bits(s.shape, s.blocks);
    let plan = Plan::new(s.shape, s.blocks, positions, width, 14)?;
    let run = witness::run(s, &plan)?;
    let plan = Plan::new(s.shape, s.blocks, positions, width, run.exp_log)?;
    let cells = witness::place(&plan, &run.tensors);
    Ok(Witness {
        plan,
        hints: run.hints,
        cells,
    })
}

/// Runs the prover on any witness; `counted` may change values after multiplicities are counted.
///
/// # Errors
/// [`Refusal`].
pub fn forge(
    s: &Statement<'_>,
    w: Witness,
    counted: impl FnOnce(&mut [F]),
) -> Result<RangeProof, Refusal> {
    let values = (w.hints, w.cells);
    prove_values((s, Matrices::Held), &w.plan, values, counted, &mut |_| true)
        .map(|(proof, _)| proof)
}

/// A statement's lookups and relations at fixed random coefficients.
pub struct Checker {
    tables: HashSet<E>,
    families: Vec<Family>,
    challenges: Challenges,
    a: Alpha,
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker").finish_non_exhaustive()
    }
}

impl Checker {
    /// For the hints of `w`: lookups depend on them.
    ///
    /// # Errors
    /// [`Refusal::Norm`].
    pub fn new(s: &Statement<'_>, w: &Witness) -> Result<Self, Refusal> {
        let mut t = Transcript::new("nesa.check.v1");
        let a = Alpha {
            alpha: E::ZERO,
            compress: Compress::new(t.challenge()),
        };
        let entries = tables(&w.plan, s.common);
        let all = entries.iter().flat_map(|(_, l)| l.entries(&a.compress));
        let tables = all.collect();
        let families = public(s, w, &scales_of(s, w)?).families(a);
        let challenges = Challenges::draw(s.shape, w.plan.positions, w.plan.log_t, &mut t);
        Ok(Self {
            tables,
            families,
            challenges,
            a,
        })
    }

    /// What `w` breaks, but for an error of the random coefficients.
    ///
    /// # Errors
    /// [`Refusal::Norm`].
    pub fn broken(&self, s: &Statement<'_>, w: &Witness) -> Result<Broken, Refusal> {
        let scales = scales_of(s, w)?;
        let public = public(s, w, &scales);
        let families = public.families(self.a);
        let mut broken = Broken::default();
        for (i, f) in families.iter().enumerate() {
            let rows = Rows::new(f, |c| c);
            let mut row = E::zero_vec(1 << f.log_inner);
            for j in 0..f.outer {
                rows.fill(&w.plan.layout, &w.cells, j, &mut row);
                for (t, v) in row.iter().enumerate() {
                    if !self.good(f, v) {
                        broken.lookups.push((i, j, t));
                    }
                }
            }
        }
        let c = &self.challenges;
        let ctx = quadratic::Ctx {
            plan: &w.plan,
            shape: s.shape,
            c,
        };
        let all = quadratic::instances(&w.plan, s.shape);
        let claims: Vec<E> = all
            .iter()
            .map(|q| ctx.instance(q, &w.cells).claim)
            .collect();
        let sums = quadratic::sums(&all, &claims, w.plan.blocks.len());
        for (i, f) in public.forms(c, &sums).iter().enumerate() {
            if value(&w.plan.layout, f, &w.cells) != E::ZERO {
                broken.relations.push(i);
            }
        }
        Ok(broken)
    }

    fn good(&self, f: &Family, v: &E) -> bool {
        match f.kind {
            Kind::NonZero => *v != E::ZERO,
            _ => self.tables.contains(v),
        }
    }

    /// Whether every lookup that reads cell (row, column) of one of `ids` succeeds.
    #[must_use]
    pub fn lookups_hold(&self, w: &Witness, ids: &[TensorId], at: &[(usize, usize)]) -> bool {
        let reads = |f: &&Family| {
            f.parts
                .iter()
                .any(|p| p.tensor.is_some_and(|t| ids.contains(&t)))
        };
        self.families.iter().filter(reads).all(|f| {
            let rows = Rows::new(f, |c| c);
            let mut row = E::zero_vec(1 << f.log_inner);
            at.iter().filter(|(j, _)| *j < f.outer).all(|&(j, t)| {
                rows.fill(&w.plan.layout, &w.cells, j, &mut row);
                row.get(t).is_none_or(|v| self.good(f, v))
            })
        })
    }

    /// The relations of `w` that read one of `ids`.
    ///
    /// # Errors
    /// [`Refusal::Norm`].
    pub fn relations_of(
        &self,
        s: &Statement<'_>,
        w: &Witness,
        ids: &[TensorId],
    ) -> Result<Vec<Form>, Refusal> {
        let scales = scales_of(s, w)?;
        let ctx = quadratic::Ctx {
            plan: &w.plan,
            shape: s.shape,
            c: &self.challenges,
        };
        let all = quadratic::instances(&w.plan, s.shape);
        let claims: Vec<E> = all
            .iter()
            .map(|q| ctx.instance(q, &w.cells).claim)
            .collect();
        let sums = quadratic::sums(&all, &claims, w.plan.blocks.len());
        let reads = |f: &Form| f.terms.iter().any(|t| ids.contains(&t.tensor));
        let forms = public(s, w, &scales).forms(&self.challenges, &sums);
        Ok(forms.into_iter().filter(reads).collect())
    }
}

type Scales = Vec<[Vec<super::hints::NormScale>; 2]>;

fn scales_of(s: &Statement<'_>, w: &Witness) -> Result<Scales, Refusal> {
    let each = s.blocks.iter().zip(&w.hints).enumerate();
    each.map(|(i, (b, h))| scales([&b.attn_norm, &b.ffn_norm], h).ok_or(Refusal::Norm(i)))
        .collect()
}

fn public<'a>(s: &'a Statement<'a>, w: &'a Witness, scales: &'a Scales) -> Public<'a> {
    Public {
        s,
        plan: &w.plan,
        hints: &w.hints,
        scales,
        matrices: Matrices::Held,
    }
}

/// The value of a form, term by term.
pub fn value(layout: &Layout, form: &Form, f: &[F]) -> E {
    let mut sum = form.constant;
    for term in &form.terms {
        let t = layout.tensor(term.tensor);
        let width = 1usize << t.log_inner;
        let at = |j: usize, c: usize| f[layout.at(term.tensor, j, c)];
        let mut part = E::ZERO;
        if let Weights::Cells(cells) = &term.weights {
            for &(j, c, w) in cells.iter() {
                part += w * at(j as usize, c as usize);
            }
        } else {
            for j in 0..t.outer {
                for c in 0..width {
                    part += weight(&term.weights, width, j, c) * at(j, c);
                }
            }
        }
        sum += term.scale * part;
    }
    sum
}

fn weight(w: &Weights, width: usize, j: usize, c: usize) -> E {
    match w {
        Weights::Product {
            first,
            outer,
            inner,
        } => {
            let row = outer.get(j.wrapping_sub(*first));
            row.map_or(E::ZERO, |&o| o * inner[c])
        }
        Weights::Equal(point) if j == 0 => eq_at(point, c),
        Weights::Causal {
            outer,
            inner,
            above,
        } if (c > j % width) == *above => outer[j] * inner[c],
        Weights::Headed { heads, matrix } => {
            let m = matrix.len() / width;
            heads[j / m] * matrix[j % m * width + c]
        }
        _ => E::ZERO,
    }
}

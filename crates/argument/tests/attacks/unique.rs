//! Every gadget, brute force over all its outputs: exactly one is accepted by the relations and lookups.
//!
//! A relation is linear in a gadget's last cell, so for every output that cell has one value in the whole
//! field; what is left to count is how many of these lie in their tables. Nothing is sampled.

use nesa_argument::field::{E, F, coordinates, from_i64};
use nesa_argument::form::Form;
use nesa_argument::layout::TensorId;
use nesa_argument::transformer::check::{Checker, Witness, value};
use nesa_argument::transformer::plan::Rounded;
use nesa_model::ops::attention::{exp_table, reciprocal};
use p3_field::{Field, PrimeCharacteristicRing, PrimeField64};

use crate::world::{Family, POSITIONS, World, get, set};

type Cell = (TensorId, usize, usize);

/// The relations that read a gadget's last cell, as affine functions of the gadget's cells.
struct Gadget {
    checker: Checker,
    w: Witness,
    cells: Vec<Cell>,
    at_honest: Vec<E>,
    slopes: Vec<Vec<E>>,
    inverses: Vec<Option<E>>,
    honest: Vec<i64>,
}

impl Gadget {
    /// `cells`, the last one determined by the others.
    fn new(world: &World, w: Witness, cells: Vec<Cell>) -> Self {
        let s = world.statement();
        let checker = Checker::new(&s, &w).expect("in range");
        let last = cells.last().expect("cells").0;
        let forms = checker.relations_of(&s, &w, &[last]).expect("in range");
        assert!(!forms.is_empty());
        let at = |w: &Witness| -> Vec<E> {
            forms
                .iter()
                .map(|f: &Form| value(&w.plan.layout, f, &w.cells))
                .collect()
        };
        let at_honest = at(&w);
        assert!(at_honest.iter().all(|&v| v == E::ZERO), "an honest start");
        let slopes: Vec<Vec<E>> = cells
            .iter()
            .map(|&(id, row, column)| {
                let mut p = w.clone();
                let v = get(&p, id, row, column);
                set(&mut p, id, row, column, v + 1);
                at(&p)
            })
            .collect();
        let last = slopes.last().into_iter().flatten();
        let inverses = last.map(E::try_inverse).collect();
        let honest = cells.iter().map(|&(id, r, c)| get(&w, id, r, c)).collect();
        Self {
            checker,
            w,
            cells,
            at_honest,
            slopes,
            inverses,
            honest,
        }
    }

    /// The one value of the last cell that the relations leave for these values of the others.
    fn solve(&self, others: &[i64]) -> Option<F> {
        let n = self.cells.len() - 1;
        let mut answer = None;
        for i in 0..self.at_honest.len() {
            let moved: E = (0..n)
                .map(|k| self.slopes[k][i] * from_i64(others[k] - self.honest[k]))
                .sum();
            let Some(inverse) = self.inverses[i] else {
                if moved != E::ZERO {
                    return None;
                }
                continue;
            };
            let by = -moved * inverse;
            let c = coordinates(&by);
            let v = from_i64(self.honest[n]) + c[0];
            if c[1] != F::ZERO || answer.is_some_and(|a| a != v) {
                return None;
            }
            answer = Some(v);
        }
        answer
    }

    /// Whether these values pass every lookup of their cells.
    fn in_tables(&self, values: &[(Cell, F)]) -> bool {
        let mut w = self.w.clone();
        for &((id, row, column), v) in values {
            let at = w.plan.layout.at(id, row, column);
            w.cells[at] = v;
        }
        let ids: Vec<TensorId> = values.iter().map(|v| v.0.0).collect();
        let at: Vec<(usize, usize)> = values.iter().map(|v| (v.0.1, v.0.2)).collect();
        self.checker.lookups_hold(&w, &ids, &at)
    }

    /// Accepted outputs among `outputs`, by `fill`: the other cells for one output.
    fn accepted(
        &self,
        outputs: impl Iterator<Item = i64>,
        fill: impl Fn(i64) -> Vec<i64>,
        below: u64,
    ) -> Vec<i64> {
        let keep = |v: &i64| {
            let others = fill(*v);
            let Some(last) = self.solve(&others) else {
                return false;
            };
            if last.as_canonical_u64() >= below {
                // Far out of its range, as the lookups say for one such value and its neighbours.
                return false;
            }
            let mut all: Vec<(Cell, F)> = self
                .cells
                .iter()
                .copied()
                .zip(others.iter().map(|&v| from_i64(v)))
                .collect();
            all.push((self.cells[self.cells.len() - 1], last));
            self.in_tables(&all)
        };
        outputs.filter(keep).collect()
    }
}

/// No table of remainders reaches this far.
const BEYOND: u64 = 1 << 21;

fn rounding(world: &World, w: &Witness, r: &Rounded, at: (usize, usize)) -> Vec<i64> {
    let id = r.value.parts[0].0;
    let cells = vec![(id, at.0, at.1), (r.rest, at.0, at.1)];
    let g = Gadget::new(world, w.clone(), cells);
    for out in [
        F::from_u64(BEYOND),
        F::NEG_ONE,
        from_i64(-(1 << 30)),
        F::from_u64(1 << 40),
    ] {
        assert!(
            !g.in_tables(&[((r.rest, at.0, at.1), out)]),
            "the remainder's table ends before"
        );
    }
    for out in [r.clamp + 1, -r.clamp - 1, 1 << 40] {
        let honest = g.in_tables(&[((id, at.0, at.1), from_i64(out))]);
        assert!(!honest, "the value's table ends at its clamp");
    }
    g.accepted(-r.clamp..=r.clamp, |v| vec![v], BEYOND)
}

#[test]
fn one_quotient_per_rounding() {
    let world = World::new(Family::Llama);
    let w = world.witness();
    let b = w.plan.blocks[0].clone();
    let mut all = vec![b.q, b.k, b.v, b.mixed];
    all.extend(b.rotated.into_iter().flatten());
    for r in &all {
        for at in [(0, 0), (1, 2)] {
            let got = rounding(&world, &w, r, at);
            assert_eq!(
                got,
                [get(&w, r.value.parts[0].0, at.0, at.1)],
                "{:?}",
                r.site
            );
        }
    }
    let (up, product, _) = b.gated.expect("a gated model");
    for r in [&up, &product] {
        let got = rounding(&world, &w, r, (0, 0));
        assert_eq!(got, [get(&w, r.value.parts[0].0, 0, 0)], "{:?}", r.site);
    }
}

#[test]
fn one_value_per_normalisation() {
    for family in [Family::Llama, Family::Bert] {
        let world = World::new(family);
        let w = world.witness();
        for (which, (n, norm)) in [
            (&w.plan.blocks[0].attn_norm, &world.m.blocks[0].attn_norm),
            (&w.plan.blocks[0].ffn_norm, &world.m.blocks[0].ffn_norm),
        ]
        .into_iter()
        .enumerate()
        {
            let (row, column) = (1, 1);
            let scale = w.hints[0].norms[which][column]
                .scale(norm)
                .expect("in range");
            let honest = (0..3).map(|k| get(&w, n.rest[k], row, column) << scale.limb_start(k));
            let honest: i64 = honest.sum();
            // All of the remainder in the lowest limb: one number in the field per output.
            let mut p = w.clone();
            set(&mut p, n.rest[0], row, column, honest);
            set(&mut p, n.rest[1], row, column, 0);
            set(&mut p, n.rest[2], row, column, 0);
            let out = n.out.parts[0].0;
            let g = Gadget::new(
                &world,
                p,
                vec![(out, row, column), (n.rest[0], row, column)],
            );
            let divisor = (1u64 << scale.m) - 1;
            let fits = |v: &i64| {
                g.solve(&[*v])
                    .is_some_and(|r| r.as_canonical_u64() < divisor)
            };
            let all: Vec<i64> = (-n.clamp..=n.clamp).filter(fits).collect();
            assert_eq!(
                all,
                [get(&w, out, row, column)],
                "{family:?}, normalisation {which}"
            );
            // The limbs hold exactly what is below the divisor.
            let checker = Checker::new(&world.statement(), &w).expect("in range");
            let with = |v: u64| {
                let mut p = w.clone();
                for k in 0..3 {
                    let part = v >> scale.limb_start(k);
                    let part = if k < 2 {
                        part & ((1 << scale.limb_bits(k)) - 1)
                    } else {
                        part
                    };
                    set(&mut p, n.rest[k], row, column, part as i64);
                }
                checker.lookups_hold(&p, &n.rest, &[(row, column)])
            };
            assert!(with(0) && with(divisor - 1) && !with(divisor) && !with(divisor + 1));
        }
    }
}

#[test]
fn one_exponential_and_probability_per_score() {
    let world = World::new(Family::Llama);
    let w = world.witness();
    let x = w.plan.blocks[0].cells.clone();
    let exp = exp_table();
    let row = POSITIONS - 1;
    for t in 0..POSITIONS {
        let cell = |id| (id, row, t);
        let g = Gadget::new(&world, w.clone(), vec![cell(x.step), cell(x.step_rest)]);
        let steps = |z: i64| {
            let last = g.solve(&[z]);
            let Some(rest) = last.filter(|r| r.as_canonical_u64() < BEYOND) else {
                return false;
            };
            let e = i64::from(exp[(z as usize).min(16_383)]);
            let all = [
                (cell(x.step), from_i64(z)),
                (cell(x.exp), from_i64(e)),
                (cell(x.first), from_i64(i64::from(z == 0))),
                (cell(x.step_rest), rest),
            ];
            g.in_tables(&all)
        };
        let all: Vec<i64> = (0..1 << w.plan.exp_log).filter(|&z| steps(z)).collect();
        assert_eq!(all, [get(&w, x.step, row, t)], "step, key {t}");
        // One entry per step: exponential and flag.
        let z = get(&w, x.step, row, t);
        let entry = |e: i64, first: i64| {
            g.in_tables(&[
                (cell(x.step), from_i64(z)),
                (cell(x.exp), from_i64(e)),
                (cell(x.first), from_i64(first)),
            ])
        };
        let near = (-2..=2).flat_map(|e| (-1..=2).map(move |f| (e, f)));
        let base = get(&w, x.exp, row, t);
        assert_eq!(near.filter(|&(e, f)| entry(base + e, f)).count(), 1);
        // The remainder of the probability in one cell: one number in the field per probability.
        let places = 14 + reciprocal(w.hints[0].sums[row]).1;
        let mut p = w.clone();
        let whole = get(&w, x.prob_low, row, t) + (get(&w, x.prob_high, row, t) << 14);
        set(&mut p, x.prob_low, row, t, whole);
        set(&mut p, x.prob_high, row, t, 0);
        let g = Gadget::new(&world, p, vec![cell(x.prob), cell(x.prob_low)]);
        let fits = |v: &i64| {
            g.solve(&[*v])
                .is_some_and(|r| r.as_canonical_u64() < 1 << places)
        };
        let all: Vec<i64> = (0..1 << 15).filter(fits).collect();
        assert_eq!(all, [get(&w, x.prob, row, t)], "probability, key {t}");
    }
}

#[test]
fn one_activation_per_input() {
    let world = World::new(Family::Gpt);
    let w = world.witness();
    let checker = Checker::new(&world.statement(), &w).expect("in range");
    let b = &w.plan.blocks[0];
    let gate = b.gate.value.parts[0].0;
    for input in [-32_767, -1, 0, 1, 12_345, 32_767] {
        let mut p = w.clone();
        set(&mut p, gate, 0, 0, input);
        let holds = |v: &i64| {
            set(&mut p, b.act, 0, 0, *v);
            checker.lookups_hold(&p, &[b.act], &[(0, 0)])
        };
        let all: Vec<i64> = (-32_768..=32_768).filter(holds).collect();
        assert_eq!(all, [i64::from(world.m.common.tables[0].get(input as i16))]);
    }
    for outside in [-32_768, 32_768, 1 << 33] {
        let mut p = w.clone();
        set(&mut p, gate, 0, 0, outside);
        set(
            &mut p,
            b.act,
            0,
            0,
            i64::from(world.m.common.tables[0].get(i16::MIN)),
        );
        assert!(!checker.lookups_hold(&p, &[b.act], &[(0, 0)]), "{outside}");
    }
}

#[test]
fn one_pair_of_limbs_per_residual_value() {
    let world = World::new(Family::Llama);
    let w = world.witness();
    let m = w.plan.blocks[0].middle.clone();
    let (high, low) = (m.value.parts[0].0, m.value.parts[1].0);
    let at = (1, 1);
    // All high limbs at the honest remainder.
    let g = Gadget::new(
        &world,
        w.clone(),
        vec![(m.rest, at.0, at.1), (high, at.0, at.1), (low, at.0, at.1)],
    );
    let rest = get(&w, m.rest, at.0, at.1);
    let all = g.accepted(-(1 << 15)..1 << 15, |h| vec![rest, h], BEYOND);
    assert_eq!(all, [get(&w, high, at.0, at.1)]);
    // All remainders, with the limbs that the quotient would have.
    let value = (get(&w, high, at.0, at.1) << 15) + get(&w, low, at.0, at.1);
    let g = Gadget::new(
        &world,
        w,
        vec![(high, at.0, at.1), (low, at.0, at.1), (m.rest, at.0, at.1)],
    );
    let near = value - 5_000..=value + 5_000;
    let all = g.accepted(near, |v| vec![v >> 15, v & 32_767], BEYOND);
    assert_eq!(all, [value]);
}

#[test]
fn one_wide_product() {
    let world = World::new(Family::Wide);
    let w = world.witness();
    let (_, p, wide) = w.plan.blocks[0].gated.clone().expect("gated");
    let wide = wide.expect("wide");
    let at = (1, 1);
    let cells = [wide.limbs[0], wide.limbs[1]].map(|id| (id, at.0, at.1));
    let g = Gadget::new(
        &world,
        w.clone(),
        vec![cells[0], cells[1], (p.rest, at.0, at.1)],
    );
    let fill = |v: i64| vec![(v + p.clamp) & 4095, (v + p.clamp) >> 12];
    let all = g.accepted(-p.clamp..=p.clamp, fill, BEYOND);
    let honest =
        get(&w, wide.limbs[0], at.0, at.1) + (get(&w, wide.limbs[1], at.0, at.1) << 12) - p.clamp;
    assert_eq!(all, [honest]);
    // A value beyond the clamp has no complement.
    let g = Gadget::new(
        &world,
        w.clone(),
        vec![
            cells[1],
            (wide.complement[1], at.0, at.1),
            (wide.complement[0], at.0, at.1),
        ],
    );
    let low = get(&w, wide.limbs[0], at.0, at.1);
    for limb in (2 * p.clamp - low) / 4096 + 1..4096 {
        let any = (0..4096).any(|c| {
            g.solve(&[limb, c])
                .is_some_and(|v| v.as_canonical_u64() < 4096)
        });
        assert!(!any, "high limb {limb}");
    }
}

#[test]
fn one_largest_score() {
    let world = World::new(Family::Llama);
    let w = world.witness();
    let s = world.statement();
    let checker = Checker::new(&s, &w).expect("in range");
    let x = w.plan.blocks[0].cells.clone();
    let row = POSITIONS - 1;
    let honest = get(&w, x.max, row, 0);
    let forms = checker.relations_of(&s, &w, &[x.max]).expect("in range");
    let holds = |v: &i64| {
        let mut p = w.clone();
        set(&mut p, x.max, row, 0, *v);
        forms
            .iter()
            .all(|f| value(&p.plan.layout, f, &p.cells) == E::ZERO)
    };
    let all: Vec<i64> = (honest - 300..=honest + 300).filter(holds).collect();
    assert_eq!(all, [honest]);
    // Another pointer needs another largest score, and then some difference is negative.
    for t in 0..POSITIONS {
        let smaller = get(&w, x.score, row, t);
        if smaller == honest {
            continue;
        }
        let d = i64::from(world.m.blocks[0].score[0]);
        let top = w.hints[0].largest[row] as usize;
        let difference = smaller - honest;
        for z in 0..16_384 {
            let mut p = w.clone();
            set(&mut p, x.step, row, top, z);
            set(&mut p, x.first, row, top, i64::from(z == 0));
            set(&mut p, x.exp, row, top, i64::from(exp_table_entry(z)));
            set(
                &mut p,
                x.step_rest,
                row,
                top,
                difference - z * d + (d - 1) / 2,
            );
            assert!(
                !checker.lookups_hold(&p, &[x.step_rest], &[(row, top)]),
                "key {t}, step {z}"
            );
        }
    }
}

fn exp_table_entry(z: i64) -> u16 {
    thread_local! {
        static TABLE: Vec<u16> = exp_table();
    }
    TABLE.with(|t| t[(z as usize).min(16_383)])
}

//! One committed cell, one stated number, or one multiplicity is false, with everything compensated that can be.

use nesa_argument::field::F;
use nesa_argument::transformer::Rejection::{self, Hints, Lookup, Norm, Relations, Zero};
use nesa_argument::transformer::check::{Checker, Witness};
use nesa_argument::transformer::hints::{Exception, NormRow};
use nesa_argument::transformer::plan::{Rounded, SITES, Site};
use nesa_model::block::Ffn;
use nesa_model::ops::attention::{exp_table, reciprocal};
use p3_field::PrimeCharacteristicRing;

use crate::world::{Family, POSITIONS, World, add, get, set};

type Forge = fn(&World, &mut Witness);

/// A rounding of the first block by a short name, with its divisor in row 0.
fn rounding(w: &World, p: &Witness, name: &str) -> (Rounded, i64) {
    let (b, block) = (&p.plan.blocks[0], &w.m.blocks[0]);
    let (up, product) = match (&b.gated, &block.ffn) {
        (Some((u, p, _)), Ffn::Gated { up, product, .. }) => (
            Some((u.clone(), up.divisor[0])),
            Some((p.clone(), product[0])),
        ),
        _ => (None, None),
    };
    let first = match &block.ffn {
        Ffn::Gated { gate, .. } => gate,
        Ffn::Plain { up, .. } => up,
    };
    let rotated = |i: usize| b.rotated.as_ref().map(|r| (r[i].clone(), 65_537));
    let found = match name {
        "q" => Some((b.q.clone(), block.q.divisor[0])),
        "k" => Some((b.k.clone(), block.k.divisor[0])),
        "v" => Some((b.v.clone(), block.v.divisor[0])),
        "rotated q" => rotated(0),
        "rotated k" => rotated(1),
        "mixed" => Some((b.mixed.clone(), block.mix[0])),
        "gate" => Some((b.gate.clone(), first.divisor[0])),
        "up" => up,
        _ => product,
    };
    let (r, d) = found.expect("a rounding of this model");
    (r, i64::from(d))
}

const ROUNDINGS: [&str; 9] = [
    "q",
    "k",
    "v",
    "rotated q",
    "rotated k",
    "mixed",
    "gate",
    "up",
    "product",
];

#[test]
fn roundings_off_by_one_are_refused() {
    let w = World::new(Family::Llama);
    for name in ROUNDINGS {
        for up in [1, -1] {
            // Compensated by the remainder, which then leaves its range.
            let mut p = w.witness();
            let (r, d) = rounding(&w, &p, name);
            let id = r.value.parts[0].0;
            add(&mut p, id, 0, 1, up);
            add(&mut p, r.rest, 0, 1, -up * d);
            if name == "gate" {
                follow_activation(&w, &mut p);
            }
            assert_eq!(
                w.judge(p),
                Err(Lookup),
                "{name}, quotient {up:+}, remainder adjusted"
            );
            // A remainder alone, moved inside of its range.
            let mut p = w.witness();
            let inside = if get(&p, r.rest, 0, 1) + 1 < d { 1 } else { -1 };
            if d > 1 {
                add(&mut p, r.rest, 0, 1, inside);
                assert_eq!(w.judge(p), Err(Relations), "{name}, remainder");
            }
        }
        let mut p = w.witness();
        let (r, _) = rounding(&w, &p, name);
        set(&mut p, r.value.parts[0].0, 0, 1, r.clamp + 1);
        assert_eq!(w.judge(p), Err(Lookup), "{name} beyond its clamp");
    }
}

fn follow_activation(w: &World, p: &mut Witness) {
    let b = &p.plan.blocks[0];
    let (gate, act) = (b.gate.value.parts[0].0, b.act);
    let v = get(p, gate, 0, 1) as i16;
    set(p, act, 0, 1, i64::from(w.m.common.tables[0].get(v)));
}

fn cells(p: &Witness) -> nesa_argument::transformer::plan::Cells {
    p.plan.blocks[0].cells.clone()
}

/// Query position 2 of head 0, seeing keys 0..3; padded to 4.
const ROW: usize = 2;

fn b_of(p: &Witness) -> u32 {
    reciprocal(p.hints[0].sums[ROW]).1
}

fn seen_step(p: &Witness) -> usize {
    (0..POSITIONS)
        .find(|&t| get(p, cells(p).step, ROW, t) > 0)
        .expect("a score below the largest")
}

const ATTACKS: &[(&str, Family, Forge, Rejection)] = &[
    (
        "score one more",
        Family::Llama,
        |_, p| add(p, cells(p).score, ROW, 0, 1),
        Relations,
    ),
    (
        "score one less",
        Family::Llama,
        |_, p| add(p, cells(p).score, ROW, 1, -1),
        Relations,
    ),
    (
        "step beyond the table",
        Family::Llama,
        |_, p| {
            let t = seen_step(p);
            add(p, cells(p).step, ROW, t, 1 << 21);
        },
        Lookup,
    ),
    (
        "step one more with its exponential, remainder adjusted",
        Family::Llama,
        |w, p| {
            let (t, x) = (seen_step(p), cells(p));
            let z = get(p, x.step, ROW, t) + 1;
            set(p, x.step, ROW, t, z);
            set(
                p,
                x.exp,
                ROW,
                t,
                i64::from(exp_table()[(z as usize).min(16_383)]),
            );
            add(p, x.step_rest, ROW, t, -i64::from(w.m.blocks[0].score[0]));
        },
        Lookup,
    ),
    (
        "step one less with its exponential, remainder adjusted",
        Family::Llama,
        |w, p| {
            let (t, x) = (seen_step(p), cells(p));
            let z = get(p, x.step, ROW, t) - 1;
            set(p, x.step, ROW, t, z);
            set(
                p,
                x.exp,
                ROW,
                t,
                i64::from(exp_table()[(z as usize).min(16_383)]),
            );
            set(p, x.first, ROW, t, i64::from(z == 0));
            add(p, x.step_rest, ROW, t, i64::from(w.m.blocks[0].score[0]));
        },
        Lookup,
    ),
    (
        "score remainder moved",
        Family::Llama,
        |w, p| {
            let (x, d) = (cells(p), i64::from(w.m.blocks[0].score[0]));
            let t = seen_step(p);
            let up = get(p, x.step_rest, ROW, t) + 1 < d;
            add(p, x.step_rest, ROW, t, if up { 1 } else { -1 });
        },
        Relations,
    ),
    (
        "exponential one more",
        Family::Llama,
        |_, p| add(p, cells(p).exp, ROW, 0, 1),
        Lookup,
    ),
    (
        "exponential zero",
        Family::Llama,
        |_, p| {
            let t = p.hints[0].largest[ROW] as usize;
            set(p, cells(p).exp, ROW, t, 0);
        },
        Lookup,
    ),
    (
        "first flag dropped at the largest score",
        Family::Llama,
        |_, p| {
            let t = p.hints[0].largest[ROW] as usize;
            set(p, cells(p).first, ROW, t, 0);
        },
        Lookup,
    ),
    (
        "first flag raised elsewhere",
        Family::Llama,
        |_, p| {
            let t = seen_step(p);
            set(p, cells(p).first, ROW, t, 1);
        },
        Lookup,
    ),
    (
        "largest score one more",
        Family::Llama,
        |_, p| add(p, cells(p).max, ROW, 0, 1),
        Relations,
    ),
    (
        "largest score one less",
        Family::Llama,
        |_, p| add(p, cells(p).max, ROW, 0, -1),
        Relations,
    ),
    (
        "probability moved between keys",
        Family::Llama,
        |_, p| {
            let x = cells(p);
            let (from, to) = if get(p, x.prob, ROW, 0) > 0 {
                (0, 1)
            } else {
                (2, 0)
            };
            add(p, x.prob, ROW, from, -1);
            add(p, x.prob, ROW, to, 1);
        },
        Relations,
    ),
    (
        "probability floored instead of rounded",
        Family::Llama,
        |_, p| {
            let (x, b) = (cells(p), b_of(p));
            let t = p.hints[0].largest[ROW] as usize;
            add(p, x.prob, ROW, t, -1);
            add(p, x.prob_high, ROW, t, 1 << b);
        },
        Lookup,
    ),
    (
        "probability one more, remainder adjusted",
        Family::Llama,
        |_, p| {
            let (x, b) = (cells(p), b_of(p));
            add(p, x.prob, ROW, 0, 1);
            add(p, x.prob_high, ROW, 0, -(1 << b));
        },
        Lookup,
    ),
    (
        "probability remainder with swapped limbs",
        Family::Llama,
        |_, p| {
            let x = cells(p);
            add(p, x.prob_low, ROW, 0, 1 << 14);
            add(p, x.prob_high, ROW, 0, -1);
        },
        Lookup,
    ),
    (
        "probability negative",
        Family::Llama,
        |_, p| set(p, cells(p).prob, ROW, 0, -1),
        Lookup,
    ),
    (
        "probability of a later key",
        Family::Llama,
        |_, p| set(p, cells(p).prob, 1, 2, 1),
        Relations,
    ),
    (
        "probability of a padded key",
        Family::Llama,
        |_, p| set(p, cells(p).prob, ROW, 3, 1),
        Relations,
    ),
    (
        "probability of a padded key, not causal",
        Family::Bert,
        |_, p| set(p, cells(p).prob, 0, 3, 7),
        Relations,
    ),
    (
        "activation one more",
        Family::Llama,
        |_, p| add(p, p.plan.blocks[0].act, 0, 0, 9_000),
        Lookup,
    ),
    (
        "activation of another input",
        Family::Llama,
        |_, p| {
            let act = p.plan.blocks[0].act;
            set(p, act, 0, 0, if get(p, act, 0, 0) == 0 { 5 } else { 0 });
        },
        Lookup,
    ),
    (
        "plain activation of another input",
        Family::Gpt,
        |_, p| {
            let act = p.plan.blocks[0].act;
            set(p, act, 2, 1, if get(p, act, 2, 1) == 0 { 5 } else { 0 });
        },
        Lookup,
    ),
    (
        "middle row with other limbs",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].middle.value.clone();
            add(p, v.parts[0].0, 1, 1, 1);
            add(p, v.parts[1].0, 1, 1, -(1 << 15));
        },
        Lookup,
    ),
    (
        "middle row one more, remainder adjusted",
        Family::Llama,
        |w, p| {
            let m = p.plan.blocks[0].middle.clone();
            let low = get(p, m.value.parts[1].0, 1, 1);
            let by = if low == 32_767 { -1 } else { 1 };
            add(p, m.value.parts[1].0, 1, 1, by);
            add(p, m.rest, 1, 1, -by * i64::from(w.m.blocks[0].o.divisor[1]));
        },
        Lookup,
    ),
    (
        "middle row beyond its range",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].middle.value.clone();
            set(p, v.parts[0].0, 1, 1, 1 << 14);
        },
        Lookup,
    ),
    (
        "middle row minus 2^29",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].middle.value.clone();
            set(p, v.parts[0].0, 1, 1, -(1 << 14));
            set(p, v.parts[1].0, 1, 1, 0);
        },
        Zero,
    ),
    (
        "output row of the first block one more",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].output.value.clone();
            let by = if get(p, v.parts[1].0, 1, 1) == 32_767 {
                -1
            } else {
                1
            };
            add(p, v.parts[1].0, 1, 1, by);
        },
        Relations,
    ),
    (
        "input row not the statement's",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].input.clone();
            let by = if get(p, v.parts[1].0, 1, 1) == 32_767 {
                -1
            } else {
                1
            };
            add(p, v.parts[1].0, 1, 1, by);
        },
        Relations,
    ),
    (
        "normalised value one more",
        Family::Llama,
        |_, p| {
            let v = p.plan.blocks[0].attn_norm.out.parts[0].0;
            let by = if get(p, v, 1, 1) > 0 { -1 } else { 1 };
            add(p, v, 1, 1, by);
        },
        Relations,
    ),
    (
        "normalised value one more, remainder adjusted",
        Family::Bert,
        |_, p| {
            let n = p.plan.blocks[0].ffn_norm.clone();
            add(p, n.out.parts[0].0, 1, 1, -1);
            add(p, n.rest[0], 1, 1, -1);
            add(p, n.rest[2], 1, 1, 1 << 16);
        },
        Lookup,
    ),
    (
        "normalisation remainder with swapped limbs",
        Family::Llama,
        |_, p| {
            let n = p.plan.blocks[0].attn_norm.clone();
            add(p, n.rest[0], 1, 1, 1 << 16);
            add(p, n.rest[1], 1, 1, -1);
        },
        Lookup,
    ),
    (
        "normalisation remainder equal to its divisor",
        Family::Llama,
        |w, p| {
            let n = p.plan.blocks[0].attn_norm.clone();
            let scale = p.hints[0].norms[0][1]
                .scale(&w.m.blocks[0].attn_norm)
                .expect("in range");
            for k in 0..3 {
                set(p, n.rest[k], 1, 1, (1 << scale.limb_bits(k)) - 1);
            }
        },
        Zero,
    ),
    (
        "narrowed input not its input",
        Family::Bert,
        |_, p| {
            let id = p.plan.blocks[0].narrow_attn.expect("a Post block narrows");
            let v = get(p, id, 1, 1);
            set(p, id, 1, 1, if v > 0 { v - 1 } else { v + 1 });
        },
        Relations,
    ),
    (
        "wide product with other limbs",
        Family::Wide,
        |_, p| {
            let l = wide(p).limbs;
            add(p, l[0], 1, 1, 1 << 12);
            add(p, l[1], 1, 1, -1);
        },
        Lookup,
    ),
    (
        "wide product's complement one more",
        Family::Wide,
        |_, p| {
            let c = wide(p).complement;
            let by = if get(p, c[0], 1, 1) == 4095 { -1 } else { 1 };
            add(p, c[0], 1, 1, by);
        },
        Relations,
    ),
    (
        "wide product one more, complement adjusted",
        Family::Wide,
        |_, p| {
            let x = wide(p);
            let (l, c) = (get(p, x.limbs[0], 1, 1), get(p, x.complement[0], 1, 1));
            let by = if l < 4095 && c > 0 { 1 } else { -1 };
            add(p, x.limbs[0], 1, 1, by);
            add(p, x.complement[0], 1, 1, -by);
        },
        Relations,
    ),
    (
        "wide product beyond its clamp",
        Family::Wide,
        |_, p| {
            let x = wide(p);
            set(p, x.limbs[1], 1, 1, 4095);
            set(p, x.complement[1], 1, 1, 0);
        },
        Relations,
    ),
    (
        "sum of squares of high limbs one more",
        Family::Llama,
        |_, p| row(p).high += 1,
        Relations,
    ),
    (
        "sum of squares of high limbs one less",
        Family::Llama,
        |_, p| row(p).high -= 1,
        Relations,
    ),
    (
        "sum of limb products one more",
        Family::Llama,
        |_, p| row(p).cross += 1,
        Relations,
    ),
    (
        "sum of limb products one less",
        Family::Llama,
        |_, p| row(p).cross -= 1,
        Relations,
    ),
    (
        "sum of squares of low limbs one more",
        Family::Llama,
        |_, p| row(p).low += 1,
        Relations,
    ),
    (
        "sum of squares of low limbs one less",
        Family::Llama,
        |_, p| row(p).low -= 1,
        Relations,
    ),
    (
        "sum one more",
        Family::Llama,
        |_, p| row(p).total += 1,
        Relations,
    ),
    (
        "sum one less",
        Family::Bert,
        |_, p| row(p).total -= 1,
        Relations,
    ),
    (
        "squares moved from high to cross",
        Family::Llama,
        |_, p| {
            row(p).high -= 1;
            row(p).cross += 1 << 14;
        },
        Relations,
    ),
    (
        "sum of exponentials one more",
        Family::Llama,
        |_, p| p.hints[0].sums[ROW] += 1,
        Relations,
    ),
    (
        "sum of exponentials one less",
        Family::Bert,
        |_, p| {
            let s = &mut p.hints[0].sums[ROW];
            *s -= 1;
        },
        Relations,
    ),
    (
        "largest score elsewhere",
        Family::Llama,
        |_, p| {
            let t = seen_step(p) as u32;
            p.hints[0].largest[ROW] = t;
        },
        Relations,
    ),
    (
        "largest score elsewhere, with its value",
        Family::Llama,
        |_, p| {
            let (t, x) = (seen_step(p), cells(p));
            p.hints[0].largest[ROW] = t as u32;
            let v = get(p, x.score, ROW, t);
            set(p, x.max, ROW, 0, v);
        },
        Relations,
    ),
    (
        "exception on a value that is not at its clamp",
        Family::Llama,
        |_, p| {
            let q = p.plan.blocks[0].q.value.parts[0].0;
            let by = if get(p, q, 0, 0) > 0 { 1 } else { -1 };
            add(p, q, 0, 0, -by);
            except(p, Site::Q, 0, 0, by);
        },
        Relations,
    ),
    (
        "exception that compensates a false clamp",
        Family::Llama,
        |_, p| {
            let q = p.plan.blocks[0].q.clone();
            let id = q.value.parts[0].0;
            let free = (0..4).find(|&j| get(p, id, j, 0).abs() < q.clamp);
            let j = free.expect("a value inside of its clamp");
            let by = get(p, id, j, 0) - q.clamp;
            set(p, id, j, 0, q.clamp);
            except(p, Site::Q, j as u32, 0, by);
        },
        Relations,
    ),
    (
        "exception of the normalisation",
        Family::Llama,
        |_, p| except(p, Site::AttnNorm, 0, 0, 1),
        Relations,
    ),
    (
        "exception of the middle row",
        Family::Llama,
        |_, p| except(p, Site::Middle, 1, 1, -1),
        Relations,
    ),
    (
        "exception of the gate",
        Family::Llama,
        |_, p| except(p, Site::Gate, 1, 1, -1),
        Relations,
    ),
    (
        "exception of a wide product",
        Family::Wide,
        |_, p| except(p, Site::Product, 1, 1, 1),
        Relations,
    ),
    (
        "exception of a narrowed input, excess one more",
        Family::Bert,
        |_, p| {
            let site = code(Site::NarrowAttn);
            let e = p.hints[0].exceptions.iter_mut().find(|e| e.site == site);
            let e = e.expect("inputs beyond 16 bits");
            e.excess += e.excess.signum();
        },
        Relations,
    ),
    (
        "exception of a narrowed input, sign changed",
        Family::Bert,
        |_, p| {
            let site = code(Site::NarrowAttn);
            let e = p.hints[0].exceptions.iter_mut().find(|e| e.site == site);
            let e = e.expect("inputs beyond 16 bits");
            e.excess = -e.excess;
        },
        Relations,
    ),
    (
        "exception of a narrowed input, removed",
        Family::Bert,
        |_, p| {
            let site = code(Site::NarrowAttn);
            let at = p.hints[0].exceptions.iter().position(|e| e.site == site);
            p.hints[0]
                .exceptions
                .remove(at.expect("inputs beyond 16 bits"));
        },
        Relations,
    ),
    (
        "stated square plus the field's order",
        Family::Llama,
        |_, p| {
            row(p).high = row(p)
                .high
                .wrapping_add(F::NEG_ONE.to_unique_u64())
                .wrapping_add(1);
        },
        Rejection::Unsupported(nesa_argument::transformer::Refusal::Norm(0)),
    ),
];

fn wide(p: &Witness) -> nesa_argument::transformer::plan::WideProduct {
    let gated = p.plan.blocks[0].gated.clone();
    gated.and_then(|(_, _, w)| w).expect("a wide product")
}

fn row(p: &mut Witness) -> &mut NormRow {
    &mut p.hints[0].norms[0][1]
}

fn code(site: Site) -> u8 {
    SITES.iter().position(|&s| s == site).expect("a site") as u8
}

fn except(p: &mut Witness, site: Site, row: u32, column: u32, excess: i64) {
    let e = Exception {
        site: code(site),
        row,
        column,
        excess,
    };
    let list = &mut p.hints[0].exceptions;
    list.retain(|x| (x.site, x.row, x.column) != (e.site, row, column));
    list.push(e);
    list.sort_unstable();
}

trait Unique {
    fn to_unique_u64(self) -> u64;
}

impl Unique for F {
    fn to_unique_u64(self) -> u64 {
        p3_field::PrimeField64::as_canonical_u64(&self)
    }
}

#[test]
fn every_named_attack_is_refused_for_its_reason() {
    let worlds: Vec<(Family, World)> = [Family::Llama, Family::Wide, Family::Gpt, Family::Bert]
        .map(|f| (f, World::new(f)))
        .into();
    let mut wrong = Vec::new();
    for (name, family, attack, expected) in ATTACKS {
        let w = &worlds.iter().find(|(f, _)| f == family).expect("a world").1;
        let mut p = w.witness();
        attack(w, &mut p);
        let got = w.judge(p);
        if got.as_ref().err() != Some(expected) {
            wrong.push(format!("{name}: {got:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(ATTACKS.len() >= 60, "{}", ATTACKS.len());
}

#[test]
fn multiplicities_are_counted() {
    let w = World::new(Family::Llama);
    let p = w.witness();
    let t = &p.plan.tables;
    let act = t.act[0].expect("table 0 is used");
    for (name, id, entry) in [
        ("width", t.width, (1 << 15) + 3),
        ("closed", t.closed, (1 << 12) + 3),
        ("exponential", t.exp, 0),
        ("activation", act, 40_000),
    ] {
        let at = p.plan.layout.at(id, 0, entry);
        for (what, by) in [
            ("one more", F::ONE),
            ("one less", F::NEG_ONE),
            ("2^62 more", F::from_u64(1 << 62)),
        ] {
            let got = w.judge_counted(p.clone(), |f| f[at] += by);
            assert_eq!(got, Err(Lookup), "{name}, {what}");
        }
        let got = w.judge_counted(p.clone(), |f| {
            f[at] += F::ONE;
            f[at + 1] -= F::ONE;
        });
        assert_eq!(got, Err(Lookup), "{name}, moved to the next entry");
    }
}

/// Every tensor of every block, several cells, several changes: in the clear, something breaks.
#[test]
fn no_cell_of_a_real_position_is_free() {
    for family in [Family::Llama, Family::Wide, Family::Gpt, Family::Bert] {
        let w = World::new(family);
        let s = w.statement();
        let honest = w.witness();
        let checker = Checker::new(&s, &honest).expect("in range");
        assert!(checker.broken(&s, &honest).expect("in range").is_empty());
        let t = &honest.plan.tables;
        let tables: Vec<_> = [t.width, t.closed, t.exp]
            .into_iter()
            .chain(t.act.iter().flatten().copied())
            .collect();
        let square: Vec<_> = honest
            .plan
            .blocks
            .iter()
            .flat_map(|b| {
                let x = &b.cells;
                [
                    x.score,
                    x.step,
                    x.step_rest,
                    x.exp,
                    x.first,
                    x.prob,
                    x.prob_low,
                    x.prob_high,
                ]
            })
            .collect();
        for (i, tensor) in honest.plan.layout.tensors().iter().enumerate() {
            let id = nesa_argument::layout::TensorId(i as u32);
            if tables.contains(&id) {
                continue;
            }
            // The last real position sees all real keys.
            let row = if square.contains(&id) || tensor.log_inner == 0 {
                POSITIONS - 1
            } else {
                0
            };
            let columns = if tensor.log_inner == 0 { 1 } else { POSITIONS };
            for column in 0..columns {
                for by in [1, -1, 77, 1 << 40] {
                    let mut p = honest.clone();
                    add(&mut p, id, row, column, by);
                    let broken = checker.broken(&s, &p).expect("in range");
                    assert!(
                        !broken.is_empty(),
                        "{family:?}, tensor {i}, column {column}, {by:+}"
                    );
                }
            }
        }
    }
}

#[test]
fn padding_influences_nothing() {
    let w = World::new(Family::Llama);
    let mut p = w.witness();
    let b = p.plan.blocks[0].clone();
    // Position 3 is padding: query, key, value and probability rows in their ranges.
    for id in [&b.q, &b.k, &b.v, &b.mixed].map(|r| r.value.parts[0].0) {
        set(&mut p, id, 0, 3, 5);
    }
    set(&mut p, b.cells.prob, 3, 0, 9);
    set(&mut p, b.cells.score, 3, 0, 1 << 50);
    assert_eq!(w.judge(p), Ok(()));
}

#[test]
fn statistics_out_of_range_are_refused_before_anything_is_checked() {
    let w = World::new(Family::Llama);
    let s = w.statement();
    let proof = nesa_argument::transformer::prove(&s, &mut |_| true).expect("honest");
    type Change = fn(&mut nesa_argument::transformer::hints::BlockHints);
    let e = |site: Site, row, column, excess| Exception {
        site: code(site),
        row,
        column,
        excess,
    };
    let changes: &[(&str, Change, Rejection)] = &[
        (
            "a sum of exponentials below one",
            |h| h.sums[0] = 32_766,
            Hints(0),
        ),
        (
            "a sum of exponentials beyond all positions",
            |h| h.sums[0] = u32::MAX,
            Hints(0),
        ),
        (
            "a largest score of a later key",
            |h| h.largest[0] = 1,
            Hints(0),
        ),
        (
            "a largest score of a padded key",
            |h| h.largest[2] = 3,
            Hints(0),
        ),
        (
            "a missing sum",
            |h| {
                h.sums.pop();
            },
            Hints(0),
        ),
        (
            "a missing largest score",
            |h| {
                h.largest.pop();
            },
            Hints(0),
        ),
        (
            "a missing normalisation row",
            |h| {
                h.norms[1].pop();
            },
            Hints(0),
        ),
        ("squares of 2^62", |h| h.norms[0][0].high = 1 << 62, Norm(0)),
        (
            "squares that add up to less than nothing",
            |h| h.norms[0][0].cross = -(1 << 61),
            Norm(0),
        ),
        (
            "a total of -2^63",
            |h| h.norms[0][0].total = i64::MIN,
            Norm(0),
        ),
    ];
    for (name, change, expected) in changes {
        let mut bad = proof.clone();
        change(&mut bad.hints[0]);
        let got = nesa_argument::transformer::verify(&s, &bad);
        assert_eq!(got, Err(expected.clone()), "{name}");
    }
    let lists = [
        (
            "an exception of nothing",
            vec![e(Site::Q, 0, 0, 0)],
            Hints(0),
        ),
        (
            "an exception at a padded position",
            vec![e(Site::Q, 0, 3, 1)],
            Hints(0),
        ),
        (
            "an exception beyond the channels",
            vec![e(Site::Q, 4, 0, 1)],
            Hints(0),
        ),
        (
            "an exception of 2^40",
            vec![e(Site::Q, 0, 0, 1 << 40)],
            Hints(0),
        ),
        (
            "an exception of a site that is not there",
            vec![e(Site::NarrowAttn, 0, 0, 1)],
            Hints(0),
        ),
        (
            "an exception of a site that never clamps",
            vec![e(Site::NarrowFfn, 0, 0, 1)],
            Hints(0),
        ),
        (
            "one exception twice",
            vec![e(Site::Q, 0, 0, 1), e(Site::Q, 0, 0, 1)],
            Hints(0),
        ),
        (
            "exceptions out of order",
            vec![e(Site::K, 0, 0, 1), e(Site::Q, 0, 0, 1)],
            Hints(0),
        ),
        (
            "a normalisation's exception beyond the field",
            vec![e(Site::AttnNorm, 0, 0, (1 << 40) - 1)],
            Norm(0),
        ),
    ];
    for (name, list, expected) in lists {
        let mut bad = proof.clone();
        bad.hints[0].exceptions = list;
        let got = nesa_argument::transformer::verify(&s, &bad);
        assert_eq!(got, Err(expected), "{name}");
    }
    let mut bad = proof.clone();
    bad.hints[0].exceptions = vec![Exception {
        site: 15,
        row: 0,
        column: 0,
        excess: 1,
    }];
    assert_eq!(
        nesa_argument::transformer::verify(&s, &bad),
        Err(Hints(0)),
        "an unknown site"
    );
    let mut bad = proof;
    bad.hints.pop();
    assert_eq!(
        nesa_argument::transformer::verify(&s, &bad),
        Err(Hints(1)),
        "a missing block"
    );
}

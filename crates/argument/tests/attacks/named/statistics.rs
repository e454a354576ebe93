//! False numbers that are stated in the clear: sums, largest scores, exceptions.

use nesa_argument::field::F;
use nesa_argument::transformer::Rejection::{self, Relations};
use nesa_argument::transformer::check::Witness;
use nesa_argument::transformer::hints::{Exception, NormRow};
use nesa_argument::transformer::plan::{SITES, Site};
use p3_field::{PrimeCharacteristicRing, PrimeField64};

use super::super::world::{Family, add, get, set};
use super::Cell;
use super::attention::{ROW, cells, seen_step};

fn row(p: &mut Witness) -> &mut NormRow {
    &mut p.hints[0].norms[0][1]
}

pub(super) fn code(site: Site) -> u8 {
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

/// All of them.
pub(super) const CELLS: &[Cell] = &[
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
                .wrapping_add(F::NEG_ONE.as_canonical_u64())
                .wrapping_add(1);
        },
        Rejection::Unsupported(nesa_argument::transformer::Refusal::Norm(0)),
    ),
];

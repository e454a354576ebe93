//! Roundings off by one, with remainders adjusted or moved, and values beyond their clamp.

use nesa_argument::transformer::Rejection::{Lookup, Relations};
use nesa_argument::transformer::check::Witness;
use nesa_argument::transformer::plan::Rounded;
use nesa_model::block::Ffn;

use super::super::world::{Family, World, add, get, set};
use super::Named;

const SOURCE: &str = "EZKL audit: division advice; JSTprove #275: one side unchecked";

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

fn follow_activation(w: &World, p: &mut Witness) {
    let b = &p.plan.blocks[0];
    let (gate, act) = (b.gate.value.parts[0].0, b.act);
    let v = get(p, gate, 0, 1) as i16;
    set(p, act, 0, 1, i64::from(w.m.common.tables[0].get(v)));
}

/// A quotient moved by `up`, compensated by its remainder, which then leaves its range.
fn quotient(w: &World, name: &str, up: i64) -> Witness {
    let mut p = w.witness();
    let (r, d) = rounding(w, &p, name);
    add(&mut p, r.value.parts[0].0, 0, 1, up);
    add(&mut p, r.rest, 0, 1, -up * d);
    if name == "gate" {
        follow_activation(w, &mut p);
    }
    p
}

/// A remainder moved inside of its range; `None` where it has one value alone.
fn remainder(w: &World, name: &str) -> Option<Witness> {
    let mut p = w.witness();
    let (r, d) = rounding(w, &p, name);
    let inside = if get(&p, r.rest, 0, 1) + 1 < d { 1 } else { -1 };
    add(&mut p, r.rest, 0, 1, inside);
    (d > 1).then_some(p)
}

/// A value beyond its clamp.
fn beyond(w: &World, name: &str) -> Witness {
    let mut p = w.witness();
    let (r, _) = rounding(w, &p, name);
    set(&mut p, r.value.parts[0].0, 0, 1, r.clamp + 1);
    p
}

/// All of them.
pub(super) fn all() -> Vec<Named> {
    let mut out = Vec::new();
    let w = World::new(Family::Llama);
    for name in ROUNDINGS {
        for (what, up) in [("more", 1), ("less", -1)] {
            out.push(Named::forged(
                (
                    "rounding",
                    format!("{name} one {what}, remainder adjusted"),
                    SOURCE,
                ),
                (Family::Llama, Lookup),
                move |w| (quotient(w, name, up), Box::new(|_: &mut [_]| ())),
            ));
        }
        if remainder(&w, name).is_some() {
            out.push(Named::forged(
                ("rounding", format!("{name}, remainder moved"), SOURCE),
                (Family::Llama, Relations),
                move |w| {
                    let forged = remainder(w, name).expect("more than one value");
                    (forged, Box::new(|_: &mut [_]| ()))
                },
            ));
        }
        out.push(Named::forged(
            ("rounding", format!("{name} beyond its clamp"), SOURCE),
            (Family::Llama, Lookup),
            move |w| (beyond(w, name), Box::new(|_: &mut [_]| ())),
        ));
    }
    out
}

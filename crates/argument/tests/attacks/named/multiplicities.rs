//! Lookups are counted: no entry more or less often than it is looked up, none in place of another.

use nesa_argument::field::F;
use nesa_argument::transformer::Rejection::Lookup;
use nesa_argument::transformer::check::Witness;
use p3_field::PrimeCharacteristicRing;

use super::super::world::{Family, World};
use super::{Counted, Named};

/// A table with its name, and one of its entries.
const TABLES: [(&str, usize); 4] = [
    ("width", (1 << 15) + 3),
    ("closed", (1 << 12) + 3),
    ("exponential", 0),
    ("activation", 40_000),
];

/// Where the count of an entry stands.
fn place(p: &Witness, (table, entry): (&str, usize)) -> usize {
    let t = &p.plan.tables;
    let id = match table {
        "width" => t.width,
        "closed" => t.closed,
        "exponential" => t.exp,
        _ => t.act[0].expect("table 0 is used"),
    };
    p.plan.layout.at(id, 0, entry)
}

type Change = fn(&mut [F], usize, usize);

const CHANGES: [(&str, Change); 7] = [
    ("one more", |f, at, _| f[at] += F::ONE),
    ("one less", |f, at, _| f[at] -= F::ONE),
    ("negative", |f, at, _| f[at] = -f[at] - F::ONE),
    ("2^62 more", |f, at, _| f[at] += F::from_u64(1 << 62)),
    ("half of one more", |f, at, _| {
        f[at] += F::from_u64(2).halve().halve();
    }),
    ("moved to the next entry", |f, at, _| {
        f[at] += F::ONE;
        f[at + 1] -= F::ONE;
    }),
    ("moved to another table", |f, at, other| {
        f[at] += F::ONE;
        f[other] -= F::ONE;
    }),
];

/// All of them.
pub(super) fn all() -> Vec<Named> {
    const SOURCE: &str = "EZKL audit: shuffle without multiplicities";
    let mut out = Vec::new();
    for (i, table) in TABLES.into_iter().enumerate() {
        for (what, change) in CHANGES {
            out.push(Named::forged(
                ("multiplicity", format!("{} table, {what}", table.0), SOURCE),
                (Family::Llama, Lookup),
                move |w: &World| {
                    let p = w.witness();
                    let [at, other] = [i, i + 1].map(|i| place(&p, TABLES[i % TABLES.len()]));
                    let counted: Counted = Box::new(move |f| change(f, at, other));
                    (p, counted)
                },
            ));
        }
    }
    out
}

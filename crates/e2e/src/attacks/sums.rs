//! The sums of products that a hop streams while it runs, changed.

use nesa_model::split::Product;
use nesa_proof::checked::{Packer, Sums, unpack};

use super::Expected::{NotApplicable, Refused};
use super::levels::{Changes, receipts};
use super::statements::{REPLAY, SPLICE};
use super::world::World;
use super::{Attack, Expected};

const OTHER: Expected = NotApplicable("sums are streamed at level `checked` alone");

/// What the liar streams for flight `.1`, in place of its frames.
type Change = fn(&World, usize, &mut Vec<Sums>);
/// Name, source, change, refusal.
type Line = (&'static str, &'static str, Change, &'static str);

const HINT: &str = "JSTprove #238: outputs as free hints";
const BYTES: &str = "JSTprove #199: non-canonical encodings";
const ALLOC: &str = "Plonky3: verifiers that allocate or panic";
const WRAP: &str = "EZKL audit: wrap of the modulus";

/// Rows of one product of a block.
fn rows(w: &World, p: Product) -> usize {
    p.dims(&w.model.manifest.shape).0
}

/// The sums of all units of a flight of `n` rows on the liar's two blocks, by unit.
fn units(w: &World, frames: &[Sums], n: usize) -> Vec<Vec<i64>> {
    let bytes: Vec<u8> = frames.iter().flat_map(|f| f.bytes.clone()).collect();
    let (mut left, mut out) = (&bytes[..], Vec::new());
    for _ in 0..2 {
        for p in Product::ALL {
            for _ in 0..n {
                let mut unit = Vec::new();
                if unpack(&mut left, rows(w, p), &mut unit).is_ok() {
                    out.push(unit);
                }
            }
        }
    }
    out
}

/// Changes the units of the first flight, which has two rows.
fn edit(w: &World, flight: usize, frames: &mut Vec<Sums>, change: impl FnOnce(&mut Vec<Vec<i64>>)) {
    if flight > 0 {
        return;
    }
    let mut all = units(w, frames, 2);
    change(&mut all);
    let mut packer = Packer::new(0);
    all.iter().for_each(|u| packer.push(u));
    *frames = packer.finish();
}

/// Units of the first flight: Qkv, Output, Ffn and Down of two rows each, of two blocks.
const LINES: &[Line] = &[
    (
        "a query sum one more",
        HINT,
        |w, f, s| edit(w, f, s, |u| u[0][0] += 1),
        "Sums(hop 1, Qkv)",
    ),
    (
        "a key sum one less",
        HINT,
        |w, f, s| edit(w, f, s, |u| u[1][9] -= 1),
        "Sums(hop 1, Qkv)",
    ),
    (
        "an attention output sum one more",
        HINT,
        |w, f, s| edit(w, f, s, |u| u[2][3] += 1),
        "Sums(hop 1, Output)",
    ),
    (
        "a gate sum one more",
        HINT,
        |w, f, s| edit(w, f, s, |u| u[4][0] += 1),
        "Sums(hop 1, Ffn)",
    ),
    (
        "a feed-forward output sum one more",
        HINT,
        |w, f, s| edit(w, f, s, |u| u[6][7] += 1),
        "Sums(hop 1, Down)",
    ),
    (
        "a sum of the last block one more",
        HINT,
        |w, f, s| edit(w, f, s, |u| u[15][7] += 1),
        "Sums(hop 1, Down)",
    ),
    (
        "one moved between two sums",
        "EZKL audit: shuffle without multiplicities",
        |w, f, s| {
            edit(w, f, s, |u| {
                u[0][0] += 1;
                u[0][1] -= 1;
            });
        },
        "Sums(hop 1, Qkv)",
    ),
    (
        "two sums exchanged",
        "EZKL audit: shuffle",
        |w, f, s| edit(w, f, s, |u| u[4].swap(0, 1)),
        "Sums(hop 1, Ffn)",
    ),
    (
        "sums of two rows exchanged",
        "EZKL audit: shuffle",
        |w, f, s| edit(w, f, s, |u| u.swap(0, 1)),
        "Sums(hop 1, Qkv)",
    ),
    (
        "all sums zero",
        HINT,
        |w, f, s| edit(w, f, s, |u| u.iter_mut().for_each(|u| u.fill(0))),
        "Sums(hop 1, Qkv)",
    ),
    (
        "all sums doubled",
        HINT,
        |w, f, s| edit(w, f, s, |u| u.iter_mut().flatten().for_each(|v| *v *= 2)),
        "Sums(hop 1, Qkv)",
    ),
    (
        "a sum and 2^46",
        WRAP,
        |w, f, s| edit(w, f, s, |u| u[0][0] += 1 << 46),
        "Sums(hop 1, Qkv)",
    ),
    (
        "a sum modulo 2^32",
        WRAP,
        |w, f, s| edit(w, f, s, |u| u[0][0] += 1 << 32),
        "Sums(hop 1, Qkv)",
    ),
    (
        "a sum modulo the shares' prime",
        WRAP,
        |w, f, s| edit(w, f, s, |u| u[0][0] += (1 << 31) - (1 << 24) + 1),
        "Sums(hop 1, Qkv)",
    ),
    (
        "signs changed",
        "EZKL audit: zero with a free sign",
        |w, f, s| edit(w, f, s, |u| u[0].iter_mut().for_each(|v| *v = -*v)),
        "Sums(hop 1, Qkv)",
    ),
    (
        "sums of an older session",
        REPLAY,
        |w, f, s| s.clone_from(&w.other.flights[f].sums[1]),
        "Sums(hop 1, Qkv)",
    ),
    (
        "sums of an older session's second flight",
        SPLICE,
        |w, f, s| {
            if f == 1 {
                s.clone_from(&w.other.flights[f].sums[1]);
            }
        },
        "Sums(hop 1, Qkv)",
    ),
    (
        "no sums of a flight",
        "silence",
        |_, f, s| {
            if f == 0 {
                s.clear();
            }
        },
        "Order(hop 1)",
    ),
    (
        "no sums of the last flight",
        "silence",
        |_, f, s| {
            if f == 2 {
                s.clear();
            }
        },
        "Missing(hop 1)",
    ),
    (
        "the sums of a flight twice",
        REPLAY,
        |_, f, s| {
            if f == 0 {
                let again = s.clone();
                s.extend(again);
            }
        },
        "Order(hop 1)",
    ),
    (
        "sums of the flight before",
        REPLAY,
        |w, f, s| {
            if f == 1 {
                s.clone_from(&w.honest.flights[0].sums[1]);
            }
        },
        "Order(hop 1)",
    ),
    (
        "sums of a flight that nobody sent",
        ALLOC,
        |_, _, s| s.iter_mut().for_each(|s| s.start += 7),
        "Order(hop 1)",
    ),
    (
        "a unit skipped",
        "silence",
        |_, _, s| s.iter_mut().for_each(|s| s.unit += 1),
        "Order(hop 1)",
    ),
    (
        "more units than there are",
        ALLOC,
        |_, _, s| s.iter_mut().for_each(|s| s.units = u32::MAX),
        "Order(hop 1)",
    ),
    (
        "a unit less than said",
        BYTES,
        |w, f, s| edit(w, f, s, |u| drop(u.pop())),
        "Order(hop 1)",
    ),
    (
        "a unit's last byte left out",
        BYTES,
        |_, _, s| {
            s.iter_mut()
                .for_each(|s| drop(s.bytes.split_off(s.bytes.len() - 1)));
        },
        "Malformed(hop 1)",
    ),
    (
        "a byte after the last unit",
        BYTES,
        |_, _, s| s.iter_mut().for_each(|s| s.bytes.push(0)),
        "Malformed(hop 1)",
    ),
    (
        "a wider encoding than needed",
        BYTES,
        |_, f, s| {
            if f == 0 {
                widen(&mut s[0].bytes);
            }
        },
        "Malformed(hop 1)",
    ),
    (
        "a width of nine bytes",
        BYTES,
        |_, f, s| {
            if f == 0 {
                s[0].bytes[0] = 9;
            }
        },
        "Malformed(hop 1)",
    ),
    (
        "a width of none",
        BYTES,
        |_, f, s| {
            if f == 0 {
                s[0].bytes[0] = 0;
            }
        },
        "Malformed(hop 1)",
    ),
    (
        "bytes without end",
        ALLOC,
        |_, f, s| {
            if f == 0 {
                s[0].bytes = vec![6; 1 << 20];
            }
        },
        "Order(hop 1)",
    ),
];

/// The first group of sums in one byte more each.
fn widen(bytes: &mut Vec<u8>) {
    let width = usize::from(bytes[0]);
    let n = 16;
    let mut out = vec![bytes[0] + 1];
    for v in bytes[1..].chunks(width).take(n) {
        out.extend_from_slice(v);
        let negative = v.last().is_some_and(|b| b & 0x80 != 0);
        out.push(if negative { 0xff } else { 0 });
    }
    out.extend_from_slice(&bytes[1 + n * width..]);
    *bytes = out;
}

/// All of them.
pub(super) fn attacks() -> Vec<Attack> {
    let of = |&(name, source, change, reason): &Line| {
        let tell = move |w: &World, level| {
            let sums = |w: &World, flight: usize, by_hop: &mut Vec<Vec<Sums>>| {
                change(w, flight, &mut by_hop[1]);
            };
            let changes = Changes {
                sums: Some(&sums),
                ..Changes::default()
            };
            receipts(w, level, &w.honest, changes)
        };
        Attack {
            group: "sums",
            name: name.to_owned(),
            source,
            expected: [OTHER, OTHER, Refused(reason), OTHER, OTHER],
            tell: Box::new(tell),
        }
    };
    LINES.iter().map(of).collect()
}

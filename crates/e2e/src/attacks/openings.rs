//! Cells that a hop opens, changed after it signed an honest trace.

use nesa_codec::Digest;
use nesa_model::spec::RESIDUAL_MAX;
use nesa_proof::LayerOpening;

use super::Expected::{NotApplicable, Refused};
use super::levels::{Changes, open, receipts};
use super::statements::{EDIT, REPLAY, SPLICE};
use super::world::World;
use super::{Attack, Expected};

const RECEIPT: Expected = NotApplicable("nothing is opened");
const REFEREED: Expected =
    NotApplicable("a dispute opens single steps; they are attacked as `dispute`");
const PROOF: Expected =
    NotApplicable("a proof opens one polynomial; that is attacked as `proof message`");

/// Name, source, change, refusal.
type Line = (
    &'static str,
    &'static str,
    fn(&World, &mut Vec<LayerOpening>),
    &'static str,
);

const HINT: &str = "JSTprove #238: outputs as free hints";
const RANGE: &str = "EZKL audit: advice without range check";
const ALLOC: &str = "Plonky3: verifiers that allocate or panic";
const PATH: &str = "stwo-ml audit C4: missing opening";

/// The opening of layer `i`; all layers are opened, in order.
fn at(o: &mut [LayerOpening], i: usize) -> &mut LayerOpening {
    &mut o[i]
}

const CELLS: &str = "Cells(hop 1)";
const OPENING: &str = "Opening(hop 1)";

const LINES: &[Line] = &[
    (
        "no cell of a layer opened",
        PATH,
        |_, o| drop(o.remove(1)),
        CELLS,
    ),
    ("nothing opened", PATH, |_, o| o.clear(), "Cells(hop 0)"),
    (
        "one cell of a layer left out",
        PATH,
        |_, o| at(o, 2).positions.truncate(4),
        CELLS,
    ),
    (
        "cells of another layer twice",
        SPLICE,
        |_, o| o[1] = o[2].clone(),
        CELLS,
    ),
    (
        "a layer opened twice",
        SPLICE,
        |_, o| o.push(o[1].clone()),
        "Cells(hop 0)",
    ),
    (
        "an opening of a layer that there is not",
        ALLOC,
        |_, o| at(o, 2).layer = 9,
        CELLS,
    ),
    (
        "cells in another order",
        "EZKL audit: shuffle",
        |_, o| at(o, 2).positions.swap(0, 1),
        CELLS,
    ),
    (
        "a value of an input row by one",
        HINT,
        |_, o| at(o, 1).inputs[2][3] ^= 1,
        OPENING,
    ),
    (
        "a value of an output row by one",
        HINT,
        |_, o| at(o, 1).outputs[0][0] += 1,
        OPENING,
    ),
    (
        "rows of two positions exchanged",
        "EZKL audit: shuffle",
        |_, o| at(o, 1).inputs.swap(0, 1),
        OPENING,
    ),
    (
        "a cached key by one",
        HINT,
        |_, o| at(o, 2).cached[1].k[0] ^= 1,
        OPENING,
    ),
    (
        "a cached value by one",
        HINT,
        |_, o| at(o, 2).cached[1].v[0] ^= 1,
        OPENING,
    ),
    (
        "keys of four thousand channels",
        ALLOC,
        |_, o| at(o, 2).cached[1].k = vec![0; 4096],
        OPENING,
    ),
    (
        "a cached position left out",
        "truncated context",
        |_, o| drop(at(o, 2).cached.pop()),
        OPENING,
    ),
    (
        "a digest of an input row",
        PATH,
        |_, o| at(o, 1).input_rows[1].0[0] ^= 1,
        OPENING,
    ),
    (
        "digests of output rows exchanged",
        PATH,
        |_, o| at(o, 1).output_rows.swap(0, 1),
        OPENING,
    ),
    (
        "one more digest of cached rows",
        PATH,
        |_, o| at(o, 1).rest.push(Digest::default()),
        OPENING,
    ),
    (
        "paths exchanged",
        "stwo-ml audit C3: no domain separation",
        |_, o| at(o, 1).paths.swap(0, 2),
        OPENING,
    ),
    (
        "an input row beyond the residual's range",
        RANGE,
        |_, o| at(o, 1).inputs[0][0] = RESIDUAL_MAX + 1,
        OPENING,
    ),
    (
        "an input row without values",
        ALLOC,
        |_, o| at(o, 1).inputs[0].clear(),
        OPENING,
    ),
    (
        "a layer's opening of an older session",
        REPLAY,
        |w, o| {
            let old = open(&w.other, 1, 1, &[0, 1, 2, 3, 4]);
            o[1] = old.unwrap_or_else(|| o[1].clone());
        },
        OPENING,
    ),
    (
        "the opening of the layer before, renamed",
        SPLICE,
        |_, o| {
            o[2] = o[1].clone();
            o[2].layer = 2;
        },
        OPENING,
    ),
    (
        "an output row of an older session",
        EDIT,
        |w, o| {
            let old = open(&w.other, 1, 1, &[0, 1, 2, 3, 4]);
            o[1].outputs = old.map_or_else(Vec::new, |o| o.outputs);
        },
        OPENING,
    ),
];

/// All of them.
pub(super) fn attacks() -> Vec<Attack> {
    let of = |&(name, source, change, reason): &Line| {
        let tell = move |w: &World, level| {
            let changes = Changes {
                openings: Some(&change),
                ..Changes::default()
            };
            receipts(w, level, &w.honest, changes)
        };
        Attack {
            group: "opening",
            name: name.to_owned(),
            source,
            expected: [RECEIPT, Refused(reason), Refused(reason), REFEREED, PROOF],
            tell: Box::new(tell),
        }
    };
    LINES.iter().map(of).collect()
}

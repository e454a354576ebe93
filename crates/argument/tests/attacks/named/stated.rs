//! Numbers stated in the clear that no run has: refused before anything is checked.

use nesa_argument::transformer::Rejection::{self, Hints, Norm};
use nesa_argument::transformer::hints::{BlockHints, Exception};
use nesa_argument::transformer::plan::{SITES, Site};

use super::super::world::Family;
use super::Named;

type Change = fn(&mut BlockHints);

/// An exception at a site by its place in [`SITES`].
const fn e(site: Site, row: u32, column: u32, excess: i64) -> Exception {
    let mut code = 0;
    while SITES[code] as u8 != site as u8 {
        code += 1;
    }
    Exception {
        site: code as u8,
        row,
        column,
        excess,
    }
}

const CHANGES: &[(&str, Change, Rejection)] = &[
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

const LISTS: &[(&str, &[Exception], Rejection)] = &[
    ("an exception of nothing", &[e(Site::Q, 0, 0, 0)], Hints(0)),
    (
        "an exception at a padded position",
        &[e(Site::Q, 0, 3, 1)],
        Hints(0),
    ),
    (
        "an exception beyond the channels",
        &[e(Site::Q, 4, 0, 1)],
        Hints(0),
    ),
    (
        "an exception of 2^40",
        &[e(Site::Q, 0, 0, 1 << 40)],
        Hints(0),
    ),
    (
        "an exception of a site that is not there",
        &[e(Site::NarrowAttn, 0, 0, 1)],
        Hints(0),
    ),
    (
        "an exception of a site that never clamps",
        &[e(Site::NarrowFfn, 0, 0, 1)],
        Hints(0),
    ),
    (
        "one exception twice",
        &[e(Site::Q, 0, 0, 1), e(Site::Q, 0, 0, 1)],
        Hints(0),
    ),
    (
        "exceptions out of order",
        &[e(Site::K, 0, 0, 1), e(Site::Q, 0, 0, 1)],
        Hints(0),
    ),
    (
        "a normalisation's exception beyond the field",
        &[e(Site::AttnNorm, 0, 0, (1 << 40) - 1)],
        Norm(0),
    ),
];

/// All of them.
pub(super) fn all() -> Vec<Named> {
    const STATISTICS: &str = "stwo-ml audit C5, Q2: uncommitted or unchecked statistics";
    const LISTED: &str = "EZKL audit: advice without range check";
    let one = |name: &str, source, expected: &Rejection, change: Box<dyn Fn(&mut BlockHints)>| {
        Named::changed(
            ("stated", name.to_owned(), source),
            (Family::Llama, expected.clone()),
            move |_, p| change(&mut p.hints[0]),
        )
    };
    let changes = CHANGES
        .iter()
        .map(|(name, change, expected)| one(name, STATISTICS, expected, Box::new(change)));
    let lists = LISTS.iter().map(|(name, list, expected)| {
        let change = |h: &mut BlockHints| h.exceptions = list.to_vec();
        one(name, LISTED, expected, Box::new(change))
    });
    let unknown = one(
        "an unknown site",
        LISTED,
        &Hints(0),
        Box::new(|h| {
            h.exceptions = vec![Exception {
                site: 15,
                row: 0,
                column: 0,
                excess: 1,
            }];
        }),
    );
    let missing = Named::changed(
        ("stated", "a missing block".to_owned(), STATISTICS),
        (Family::Llama, Hints(1)),
        |_, p| drop(p.hints.pop()),
    );
    changes.chain(lists).chain([unknown, missing]).collect()
}

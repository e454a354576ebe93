//! Messages of a proof, changed by one, left out, or added: refused where they stand.

use nesa_argument::field::E;
use nesa_argument::pcs::{Commitment, Opening, PcsError};
use nesa_argument::transformer::RangeProof;
use nesa_argument::transformer::Rejection::{
    self, Product, Relations, Statement as Malformed, Tree, Work,
};
use nesa_codec::{Decode, Encode};
use p3_field::PrimeCharacteristicRing;

use super::super::world::Family;
use super::Named;

type Change = fn(&mut RangeProof);
type Messages = &'static [(&'static str, Change)];

/// Trees of the small GPT-2's proof.
const TREES: usize = 4;

fn last<T>(v: &mut [T]) -> &mut T {
    v.last_mut().expect("messages")
}

fn shorten<T>(v: &mut Vec<T>) {
    v.truncate(v.len() - 1);
}

const WORK: &[(&str, Change)] = &[
    ("the work's nonce by one", |p| {
        p.nonce = p.nonce.wrapping_add(1);
    }),
    ("the work's nonce beyond the field's order", |p| {
        p.nonce = u64::MAX;
    }),
    ("no work", |p| p.nonce = 0),
    ("one bit of the commitment", |p| {
        let mut root = p.commitment.to_bytes();
        root[0] ^= 1;
        p.commitment = Commitment::from_bytes(&root).expect("any bytes");
    }),
    ("the last bit of the commitment", |p| {
        let mut root = p.commitment.to_bytes();
        root[31] ^= 0x80;
        p.commitment = Commitment::from_bytes(&root).expect("any bytes");
    }),
    ("the width of the range table", |p| p.width += 1),
    ("the length of the exponential table", |p| p.exp_log += 1),
    ("a stated sum of exponentials, kept in range", |p| {
        p.hints[0].sums[2] ^= 1;
    }),
];

const FIRST: &[(&str, Change)] = &[
    ("a root's numerator", |p| p.trees[0].root[0] += E::ONE),
    ("a root's denominator", |p| p.trees[0].root[1] += E::ONE),
    ("a root's denominator of zero", |p| {
        p.trees[0].root[1] = E::ZERO;
    }),
    ("a left numerator of the first level", |p| {
        p.trees[0].levels[0].children[0] += E::ONE;
    }),
    ("a right numerator of the first level", |p| {
        p.trees[0].levels[0].children[1] += E::ONE;
    }),
    ("a left denominator of the first level", |p| {
        p.trees[0].levels[0].children[2] += E::ONE;
    }),
    ("a right denominator of the first level", |p| {
        p.trees[0].levels[0].children[3] += E::ONE;
    }),
    ("a numerator of the last level", |p| {
        last(&mut p.trees[0].levels).children[0] += E::ONE;
    }),
    ("a denominator of the last level", |p| {
        last(&mut p.trees[0].levels).children[3] += E::ONE;
    }),
    ("a round of the last level at zero", |p| {
        last(&mut p.trees[0].levels).rounds[0][0] += E::ONE;
    }),
    ("the last round of the last level", |p| {
        last(&mut last(&mut p.trees[0].levels).rounds)[1] += E::ONE;
    }),
    ("children exchanged", |p| {
        p.trees[0].levels[1].children.swap(0, 2);
    }),
    ("a level less", |p| drop(p.trees[0].levels.pop())),
    ("a level more", |p| {
        let level = p.trees[0].levels[1].clone();
        p.trees[0].levels.push(level);
    }),
    ("a round of a level less", |p| {
        shorten(&mut last(&mut p.trees[0].levels).rounds);
    }),
    ("a round of a level more", |p| {
        let round = last(&mut p.trees[0].levels).rounds[0];
        last(&mut p.trees[0].levels).rounds.push(round);
    }),
    ("trees exchanged", |p| p.trees.swap(0, 1)),
    ("all numerators zero", |p| {
        p.trees.iter_mut().for_each(|t| t.root[0] = E::ZERO);
    }),
    ("all roots zero", |p| {
        p.trees.iter_mut().for_each(|t| t.root = [E::ZERO; 2]);
    }),
    ("no trees", |p| p.trees.clear()),
];

const SECOND: &[(&str, Change)] = &[
    ("the last tree's numerator", |p| {
        last(&mut p.trees).root[0] += E::ONE;
    }),
    ("the last tree's denominator", |p| {
        last(&mut p.trees).root[1] += E::ONE;
    }),
    ("the last tree left out", |p| drop(p.trees.pop())),
];

const PRODUCTS: &[(&str, Change)] = &[
    ("the first product's sum", |p| p.sums[0] += E::ONE),
    ("the last product's sum", |p| *last(&mut p.sums) += E::ONE),
    ("sums of two products exchanged", |p| p.sums.swap(0, 1)),
    ("one moved between two sums", |p| {
        p.sums[0] += E::ONE;
        p.sums[1] -= E::ONE;
    }),
    ("a sum less", |p| shorten(&mut p.sums)),
    ("a sum more", |p| p.sums.push(E::ZERO)),
    ("a first factor", |p| p.factors[0][0] += E::ONE),
    ("a second factor", |p| p.factors[0][1] += E::ONE),
    ("factors of zero", |p| {
        p.factors.iter_mut().for_each(|f| *f = [E::ZERO; 2]);
    }),
    ("a factor less", |p| shorten(&mut p.factors)),
    ("a factor more", |p| p.factors.push([E::ZERO; 2])),
    ("the first round's first coefficient", |p| {
        p.rounds[0][0] += E::ONE;
    }),
    ("the first round's highest coefficient", |p| {
        p.rounds[0][2] += E::ONE;
    }),
    ("the last round", |p| last(&mut p.rounds)[1] += E::ONE),
    ("rounds exchanged", |p| p.rounds.swap(0, 1)),
    ("a round less", |p| shorten(&mut p.rounds)),
    ("a round more", |p| p.rounds.push([E::ZERO; 3])),
    ("no rounds", |p| p.rounds.clear()),
];

const RELATIONS: &[(&str, Change)] = &[
    ("the inner product's first round at zero", |p| {
        p.inner[0][0] += E::ONE;
    }),
    (
        "the inner product's first round's highest coefficient",
        |p| p.inner[0][1] += E::ONE,
    ),
    ("the inner product's last round", |p| {
        last(&mut p.inner)[1] += E::ONE;
    }),
    ("an inner round less", |p| shorten(&mut p.inner)),
    ("an inner round more", |p| p.inner.push([E::ZERO; 2])),
    ("the value at the last point", |p| p.value += E::ONE),
    ("a value of zero", |p| p.value = E::ZERO),
];

const TABLES: &[(&str, Change)] = &[
    ("a short exponential table", |p| p.exp_log = 13),
    ("a long exponential table", |p| p.exp_log = 21),
];

/// Where the opening's bytes are changed, in thousandths.
const PLACES: [usize; 8] = [0, 30, 110, 250, 400, 600, 800, 999];

/// The opening with one bit changed at `place`, or none where the bytes are no opening any more.
fn bent(p: &RangeProof, place: usize) -> Option<Opening> {
    let mut bytes = p.opening.to_bytes();
    let at = (bytes.len() - 1) * place / 999;
    // Counts are in the way: the nearest byte from there on that changes no length.
    (at..bytes.len()).find_map(|i| {
        bytes[i] ^= 4;
        let opening = Opening::from_bytes(&bytes).ok();
        bytes[i] ^= 4;
        opening
    })
}

/// All of them.
pub(super) fn all() -> Vec<Named> {
    const COVERED: &str = "a16z/jolt #981: every message in the transcript";
    const GRIND: &str = "ePrint 2025/118, skipped work";
    const DEPTH: &str = "stwo-ml audit C2, C4: sumcheck and opening not checked";
    let groups: [(Messages, Rejection, &'static str); 6] = [
        (WORK, Work, GRIND),
        (FIRST, Tree(0), COVERED),
        (SECOND, Tree(TREES - 1), COVERED),
        (PRODUCTS, Product, COVERED),
        (RELATIONS, Relations, DEPTH),
        (
            TABLES,
            Malformed("exponential table"),
            "Plonky3: verifiers that allocate or panic",
        ),
    ];
    let of = |(list, expected, source): (Messages, Rejection, _)| {
        list.iter().map(move |&(name, change)| {
            Named::changed(
                ("proof message", name.to_owned(), source),
                (Family::Gpt, expected.clone()),
                move |_, p| change(p),
            )
        })
    };
    let openings = PLACES.map(|place| {
        Named::changed(
            (
                "proof message",
                format!("one bit of the opening at {place} thousandths"),
                DEPTH,
            ),
            (
                Family::Gpt,
                Rejection::Opening(PcsError::Refused(String::new())),
            ),
            move |_, p| p.opening = bent(p, place).expect("an opening"),
        )
    });
    groups.into_iter().flat_map(of).chain(openings).collect()
}

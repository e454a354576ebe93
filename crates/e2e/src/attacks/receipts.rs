//! The receipt that the client shows, changed: signed anew by the client, and in its bytes.

use nesa_model::spec::RESIDUAL_MAX;
use nesa_proof::Bundle;

use super::Expected::{NotApplicable, Refused};
use super::levels::Changes;
use super::statements::{EDIT, REPLAY, SPLICE, all, attack, told};
use super::world::World;
use super::{Attack, Expected};

const NO_RECEIPT: Expected =
    NotApplicable("a proof is a file of its own; its messages are attacked as `proof message`");

/// A change of the client's receipt, signed anew by the client, and what is said to it.
type Signed = (
    &'static str,
    &'static str,
    fn(&World, &mut Bundle),
    [Expected; 4],
);

const RECEIPTS: &[Signed] = &[
    (
        "another challenge nonce",
        "JSTprove #199: a claim not in the transcript",
        |_, b| b.nonce.0[0] ^= 1,
        all("Chain(hop 0, the challenge commitment)"),
    ),
    (
        "another number of cells than were opened",
        "claimed level above the evidence",
        |_, b| b.cells = if b.cells == 0 { 9 } else { b.cells - 1 },
        [
            Refused("Cells(hop 0)"),
            Refused("Cells(hop 1)"),
            Refused("Cells(hop 1)"),
            Refused("Cells(hop 0)"),
        ],
    ),
    (
        "a row that a token was sampled from, by one",
        "JSTprove #238: outputs as free hints",
        |_, b| b.inference.rows[0][0] += 1,
        all("Ends(a row that a token was sampled from)"),
    ),
    (
        "a row beyond the residual's range",
        "EZKL audit: advice without range check",
        |_, b| b.inference.rows[0][0] = RESIDUAL_MAX + 1,
        all("Ends(a row that a token was sampled from)"),
    ),
    (
        "rows of two tokens exchanged",
        SPLICE,
        |_, b| b.inference.rows.swap(0, 1),
        all("Ends(a row that a token was sampled from)"),
    ),
    (
        "no rows",
        EDIT,
        |_, b| b.inference.rows.clear(),
        all("Ends(the number of tokens)"),
    ),
    (
        "one output row less",
        EDIT,
        |_, b| {
            b.inference.output_rows.pop();
        },
        all("Ends(the list of output rows)"),
    ),
    (
        "another list of output rows",
        EDIT,
        |w, b| b.inference.output_rows.clone_from(&w.other.output_rows),
        all("Ends(the list of output rows)"),
    ),
    (
        "an operator less",
        EDIT,
        |_, b| drop(b.inference.operators.pop()),
        all("Ends(the list of operators)"),
    ),
    (
        "another privacy tier",
        "claimed tier above the run's",
        |_, b| b.inference.privacy = "ee".into(),
        all("Ends(the privacy tier)"),
    ),
    (
        "the tier of shares, without holders",
        "claimed tier above the run's",
        |_, b| b.inference.privacy = "hss".into(),
        all("Ends(the scheme of shares)"),
    ),
    (
        "the hops of an older session",
        REPLAY,
        |w, b| b.hops.clone_from(&w.other.signed),
        all("Chain(hop 0, the challenge commitment)"),
    ),
    (
        "the hops and nonce of an older session",
        REPLAY,
        |w, b| {
            b.hops.clone_from(&w.other.signed);
            b.nonce = w.other.route.nonce;
        },
        all("Ends(the list of output rows)"),
    ),
    (
        "no hops",
        EDIT,
        |_, b| b.hops.clear(),
        all("Coverage(0 of 0)"),
    ),
];

/// A change of the receipt's bytes, after the client signed them, and what is said to it.
type Bytes = (&'static str, &'static str, fn(&mut Vec<u8>), [Expected; 4]);

const BYTES: &[Bytes] = &[
    (
        "one bit of the client's signature",
        EDIT,
        |b| flip(b, 1, 4),
        all("BundleSignature"),
    ),
    (
        "one bit of the client's key",
        EDIT,
        |b| flip(b, 65, 1),
        all("BundleSignature"),
    ),
    (
        "one bit of the first token",
        EDIT,
        |b| b[8 + 64 + 4 + 4 + 5] ^= 1,
        all("BundleSignature"),
    ),
    (
        "the magic of another version",
        "stwo-ml audit C3",
        |b| b[0] ^= 1,
        all("Invalid(\"not a receipt bundle of this version\")"),
    ),
    (
        "the last byte left out",
        "JSTprove #199: truncated",
        |b| {
            b.pop();
        },
        all("Short"),
    ),
    (
        "one byte more",
        "JSTprove #199: extended",
        |b| b.push(0),
        all("Trailing"),
    ),
    (
        "two receipts in one",
        "JSTprove #199: extended",
        |b| b.extend(b.clone()),
        all("Trailing"),
    ),
    (
        "a length of four thousand million",
        "Plonky3: verifiers that allocate",
        |b| b[72..76].fill(0xff),
        all("TooLong"),
    ),
    (
        "nothing",
        "JSTprove #199: truncated",
        |b| b.clear(),
        all("Short"),
    ),
];

/// Flips one bit of the byte `back` from the end.
fn flip(bytes: &mut [u8], back: usize, bit: u8) {
    let at = bytes.len() - back;
    bytes[at] ^= 1 << bit;
}

/// All of them.
pub(super) fn attacks() -> Vec<Attack> {
    let signed = RECEIPTS.iter().map(|&(name, source, change, e)| {
        let tell = move |w: &World, level| {
            let changes = Changes {
                bundle: Some(&change),
                ..Changes::default()
            };
            told(w, level, changes)
        };
        attack(
            "receipt",
            name.to_owned(),
            source,
            e,
            NO_RECEIPT,
            Box::new(tell),
        )
    });
    let bytes = BYTES.iter().map(|&(name, source, change, e)| {
        let tell = move |w: &World, level| {
            let changes = Changes {
                bytes: Some(&change),
                ..Changes::default()
            };
            told(w, level, changes)
        };
        attack(
            "receipt",
            name.to_owned(),
            source,
            e,
            NO_RECEIPT,
            Box::new(tell),
        )
    });
    signed.chain(bytes).collect()
}

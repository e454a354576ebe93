//! What hops sign, changed: without a signature, and signed anew by the hop that lies.

use nesa_codec::{Digest, merkle};
use nesa_proof::{HopStatement, SignedHop, trace};

use super::Expected::{NotApplicable, NotClaimed, Refused};
use super::dispute::refereed;
use super::hop::Hand;
use super::levels::{Changes, receipts};
use super::world::{World, key, signer};
use super::{Attack, Expected, Judged, Level};
use crate::Result;

const NO_STATEMENT: Expected = NotApplicable(
    "a proof carries no statement of a hop; its own statement is attacked as `proof statement`",
);

/// A change of the hops' statements and the digests of the output rows.
type Edit = fn(&World, &mut Vec<SignedHop>, &mut Vec<Digest>);
/// Name, source, change, and what every level but `proof` says.
type Line = (&'static str, &'static str, Edit, [Expected; 4]);

/// Hop `i` signs what it has been made to state.
fn sign(hops: &mut [SignedHop], i: usize) {
    let n = i as u8 + 1;
    hops[i] = hops[i].statement.clone().signed(&signer(n));
}

fn edit(hops: &mut [SignedHop], i: usize, change: impl FnOnce(&mut HopStatement)) {
    change(&mut hops[i].statement);
    sign(hops, i);
}

pub(super) const fn all(reason: &'static str) -> [Expected; 4] {
    [Refused(reason); 4]
}

const HEART: &str = "frozen heart, weak Fiat-Shamir: a field of the statement";
pub(super) const REPLAY: &str = "replay";
pub(super) const SPLICE: &str = "splice";
pub(super) const EDIT: &str = "repudiation, later edits";
const INPUT: &str = "Chain(hop 1, the input (not what the hop before put out))";
const RANGE: &str = "Chain(hop 1, the range of blocks)";
const LISTED: &str = "Chain(hop 1, the output (not the listed rows))";
const SENT: &str = "Chain(hop 1, the output (not the rows that were sent to the client))";

/// A field changed and signed anew by its hop.
const SIGNED: &[Line] = &[
    (
        "another session's name, signed",
        HEART,
        |_, h, _| edit(h, 1, |s| s.session.0[0] ^= 1),
        all("Chain(hop 1, the session)"),
    ),
    (
        "another model's root, signed",
        HEART,
        |_, h, _| edit(h, 1, |s| s.model.0[0] ^= 1),
        all("Chain(hop 1, the model)"),
    ),
    (
        "an earlier first block, signed",
        HEART,
        |_, h, _| edit(h, 1, |s| s.first = 0),
        all(RANGE),
    ),
    (
        "a later last block, signed",
        HEART,
        |_, h, _| edit(h, 1, |s| s.end = 4),
        all(RANGE),
    ),
    (
        "an empty range of blocks, signed",
        HEART,
        |_, h, _| edit(h, 1, |s| s.end = 1),
        all(RANGE),
    ),
    (
        "one position more, signed",
        "double billing",
        |_, h, _| edit(h, 1, |s| s.positions += 1),
        all("Chain(hop 1, the number of positions)"),
    ),
    (
        "one position less, signed",
        "truncated context",
        |_, h, _| edit(h, 1, |s| s.positions -= 1),
        all("Chain(hop 1, the number of positions)"),
    ),
    (
        "other input rows, signed",
        HEART,
        |_, h, _| edit(h, 1, |s| s.input.0[0] ^= 1),
        all(INPUT),
    ),
    (
        "other output rows, signed",
        HEART,
        |_, h, _| edit(h, 1, |s| s.output.0[0] ^= 1),
        all(LISTED),
    ),
    (
        "another commitment to the challenge, signed",
        HEART,
        |_, h, _| edit(h, 1, |s| s.nonce_commitment.0[0] ^= 1),
        all("Chain(hop 1, the challenge commitment)"),
    ),
    (
        "another trace, signed",
        "stwo-ml audit C8: ends not anchored",
        |_, h, _| edit(h, 1, |s| s.trace.0[0] ^= 1),
        [
            NotClaimed,
            Refused("Opening(hop 1)"),
            Refused("Statement(hop 1, a trace)"),
            Refused("Inconsistent"),
        ],
    ),
    (
        "a transcript of other flights, signed",
        EDIT,
        |_, h, _| edit(h, 1, |s| s.transcript.0[0] ^= 1),
        [
            NotClaimed,
            NotClaimed,
            Refused("Statement(hop 1, a transcript)"),
            NotClaimed,
        ],
    ),
    (
        "a higher price, signed",
        "double billing",
        |_, h, _| edit(h, 1, |s| s.price += 1),
        [NotClaimed; 4],
    ),
    (
        "another node's key, signed by that node",
        "stolen work",
        |_, h, _| {
            h[1].statement.node = key(1);
            h[1] = h[1].statement.clone().signed(&signer(1));
        },
        all("Chain(hop 1, the node or its range)"),
    ),
    (
        "another node's key, signed by its own",
        "stolen work",
        |_, h, _| edit(h, 1, |s| s.node = key(1)),
        all("HopSignature(hop 1)"),
    ),
    (
        "the first hop's input is not what was sent, signed",
        "stwo-ml audit C8: ends not anchored",
        |_, h, _| edit(h, 0, |s| s.input.0[0] ^= 1),
        all("Chain(hop 0, the input (not what was sent))"),
    ),
    (
        "the first hop's output is not the second's input, signed",
        SPLICE,
        |_, h, _| edit(h, 0, |s| s.output.0[0] ^= 1),
        all(INPUT),
    ),
    (
        "two hops agree on another cut",
        EDIT,
        |_, h, _| {
            edit(h, 0, |s| s.end = 2);
            edit(h, 1, |s| s.first = 2);
        },
        all("Chain(hop 0, the node or its range)"),
    ),
];

/// Statements that are missing, moved, or of another session.
const MOVED: &[Line] = &[
    (
        "the second hop's statement left out",
        EDIT,
        |_, h, _| h.truncate(1),
        all("Coverage(1 of 3)"),
    ),
    (
        "the first hop's statement left out",
        EDIT,
        |_, h, _| {
            h.remove(0);
        },
        all("Chain(hop 0, the range of blocks)"),
    ),
    (
        "no statement at all",
        EDIT,
        |_, h, _| h.clear(),
        all("Coverage(0 of 3)"),
    ),
    (
        "statements exchanged",
        EDIT,
        |_, h, _| h.swap(0, 1),
        all("Chain(hop 0, the range of blocks)"),
    ),
    (
        "the last statement twice",
        "double billing",
        |_, h, _| h.push(h[1].clone()),
        all("Chain(hop 2, the range of blocks)"),
    ),
    (
        "all statements of an older session",
        REPLAY,
        |w, h, r| {
            h.clone_from(&w.other.signed);
            r.clone_from(&w.other.output_rows);
        },
        all("Chain(hop 0, the session)"),
    ),
    (
        "one hop's statement of an older session",
        SPLICE,
        |w, h, _| h[1] = w.other.signed[1].clone(),
        all("Chain(hop 1, the session)"),
    ),
    (
        "older work under the new session's name",
        SPLICE,
        |w, h, _| {
            let session = h[1].statement.session;
            h[1] = w.other.signed[1].clone();
            edit(h, 1, |s| s.session = session);
        },
        all("Chain(hop 1, the challenge commitment)"),
    ),
    (
        "older work under the new session's name and challenge",
        SPLICE,
        |w, h, _| {
            let new = h[1].statement.clone();
            h[1] = w.other.signed[1].clone();
            edit(h, 1, |s| {
                (s.session, s.nonce_commitment) = (new.session, new.nonce_commitment);
            });
        },
        all(INPUT),
    ),
    (
        "older work on the new input",
        SPLICE,
        |w, h, r| {
            let new = h[1].statement.clone();
            h[1] = w.other.signed[1].clone();
            r.clone_from(&w.other.output_rows);
            edit(h, 1, |s| {
                (s.session, s.nonce_commitment, s.input) =
                    (new.session, new.nonce_commitment, new.input);
            });
        },
        all(SENT),
    ),
    (
        "the flawless trace of an older session",
        SPLICE,
        |w, h, _| {
            let trace = w.other.signed[1].statement.trace;
            edit(h, 1, |s| s.trace = trace);
        },
        [
            NotClaimed,
            Refused("Opening(hop 1)"),
            Refused("Statement(hop 1, a trace)"),
            Refused("Inconsistent"),
        ],
    ),
    (
        "a listed output row changed",
        "JSTprove #238: outputs as free hints",
        |_, _, r| r[2].0[5] ^= 1,
        all(LISTED),
    ),
    (
        "a listed output row left out",
        EDIT,
        |_, _, r| {
            r.remove(0);
        },
        all(LISTED),
    ),
    (
        "the sampled row is not what was listed, signed",
        "JSTprove #238: outputs as free hints",
        |_, h, r| {
            r[4].0[0] ^= 1;
            let root = merkle::root(r);
            edit(h, 1, |s| s.output = root);
        },
        all(SENT),
    ),
    (
        "a row that nobody sampled from, signed",
        "JSTprove #238: outputs as free hints",
        |_, h, r| {
            r[1] = trace::row(&[7; 8]);
            let root = merkle::root(r);
            edit(h, 1, |s| s.output = root);
        },
        [
            NotClaimed,
            Refused("Opening(hop 1)"),
            Refused("Statement(hop 1, output rows)"),
            Refused("Inconsistent"),
        ],
    ),
    (
        "a signature of zeros",
        "frozen heart",
        |_, h, _| h[1].signature = [0; 64],
        all("HopSignature(hop 1)"),
    ),
    (
        "a key of small order with a signature that suits it",
        "non-canonical keys",
        |_, h, _| {
            h[1].statement.node = [0; 32];
            h[1].statement.node[0] = 1;
            h[1].signature = [0; 64];
            h[1].signature[0] = 1;
        },
        all("HopSignature(hop 1)"),
    ),
    (
        "a signature with its scalar plus the group's order",
        "JSTprove #199: non-canonical encodings",
        |_, h, _| malleate(&mut h[1].signature),
        all("HopSignature(hop 1)"),
    ),
];

/// Adds the group's order to the scalar of a signature.
fn malleate(signature: &mut [u8; 64]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (s, o) in signature[32..].iter_mut().zip(ORDER) {
        carry += u16::from(*s) + u16::from(o);
        *s = carry as u8;
        carry >>= 8;
    }
}

/// A field changed after its hop signed.
type Field = (&'static str, fn(&mut HopStatement));

const UNSIGNED: &[Field] = &[
    ("the node", |s| s.node[0] ^= 1),
    ("the session", |s| s.session.0[0] ^= 1),
    ("the model's root", |s| s.model.0[0] ^= 1),
    ("the first block", |s| s.first += 1),
    ("the last block", |s| s.end += 1),
    ("the number of positions", |s| s.positions += 1),
    ("the input", |s| s.input.0[0] ^= 1),
    ("the output", |s| s.output.0[0] ^= 1),
    ("the trace", |s| s.trace.0[0] ^= 1),
    ("the transcript", |s| s.transcript.0[0] ^= 1),
    ("the challenge commitment", |s| s.nonce_commitment.0[0] ^= 1),
    ("the price", |s| s.price += 1),
];

pub(super) fn told(w: &World, level: Level, changes: Changes<'_>) -> Result<Judged> {
    match level {
        Level::Refereed => refereed(w, &w.honest, &Hand::honest(&w.model), changes),
        _ => receipts(w, level, &w.honest, changes),
    }
}

fn statement(name: String, source: &'static str, edit: Edit, e: [Expected; 4]) -> Attack {
    let tell = move |w: &World, level| {
        let change = |w: &World, h: &mut Vec<SignedHop>, r: &mut Vec<Digest>| edit(w, h, r);
        let changes = Changes {
            statements: Some(&change),
            ..Changes::default()
        };
        told(w, level, changes)
    };
    attack("statement", name, source, e, NO_STATEMENT, Box::new(tell))
}

pub(super) fn attack(
    group: &'static str,
    name: String,
    source: &'static str,
    [a, b, c, d]: [Expected; 4],
    proof: Expected,
    tell: super::Tell,
) -> Attack {
    Attack {
        group,
        name,
        source,
        expected: [a, b, c, d, proof],
        tell,
    }
}

/// All of them.
pub(super) fn attacks() -> Vec<Attack> {
    let lines = SIGNED.iter().chain(MOVED);
    let mut out: Vec<Attack> = lines
        .map(|&(name, source, edit, e)| statement(name.to_owned(), source, edit, e))
        .collect();
    out.extend(UNSIGNED.iter().map(|&(field, change)| {
        let tell = move |w: &World, level| {
            let edit = |_: &World, h: &mut Vec<SignedHop>, _: &mut Vec<Digest>| {
                change(&mut h[1].statement);
            };
            let changes = Changes {
                statements: Some(&edit),
                ..Changes::default()
            };
            told(w, level, changes)
        };
        let name = format!("{field}, after the hop signed");
        attack(
            "statement",
            name,
            HEART,
            all("HopSignature(hop 1)"),
            NO_STATEMENT,
            Box::new(tell),
        )
    }));
    out
}

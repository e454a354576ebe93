//! The messages of a session stream: a kind byte and a payload.

use nesa_codec::{Digest, merkle};
use nesa_pipeline::wire::{Next, Refusal, RefusalCode};
use nesa_pipeline::{Message, Open};
use nesa_proof::checked::{Packer, Sums, pack, unpack};
use nesa_proof::opening::Cached;
use nesa_proof::{HopStatement, LayerOpening};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "wire",
    run,
    // Decoded and encoded again; an empty row of an opening takes 52 bytes for 12.
    bound: |len| 40 * len + (64 << 10),
    seeds,
    dictionary: &[
        b"\x01\0\0\0",
        b"\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\x01\0",
    ],
};

/// Decodes; what decodes must encode to the same bytes.
fn run(bytes: &[u8]) -> String {
    let Some((kind, payload)) = bytes.split_first() else {
        return "no kind".to_owned();
    };
    let decoded = Message::decode(*kind, payload);
    if let Ok(m) = &decoded {
        assert_eq!((m.kind(), &m.payload()[..]), (*kind, payload));
        if let Message::Sums(sums) = m {
            return read(sums);
        }
    }
    format!("{kind} {}", outcome(decoded)).replace(|c: char| c.is_ascii_digit(), "")
        + &"k".repeat(usize::from(*kind % 14))
}

/// What decodes as units of 130 sums must encode to the same bytes.
fn read(sums: &Sums) -> String {
    let (mut rest, mut out, mut again) = (&sums.bytes[..], Vec::new(), Vec::new());
    while !rest.is_empty() {
        if let Err(e) = unpack(&mut rest, 130, &mut out) {
            return e.to_string();
        }
    }
    out.chunks(130).for_each(|unit| pack(unit, &mut again));
    assert_eq!(again, sums.bytes);
    "sums".to_owned()
}

pub(crate) fn statement(first: u32, end: u32) -> HopStatement {
    HopStatement {
        node: [1; 32],
        session: Digest([2; 32]),
        model: Digest([3; 32]),
        first,
        end,
        positions: 3,
        input: Digest([4; 32]),
        output: Digest([5; 32]),
        trace: Digest([6; 32]),
        transcript: Digest([7; 32]),
        nonce_commitment: Digest([8; 32]),
        price: 9,
    }
}

pub(crate) fn opening() -> LayerOpening {
    let digests = vec![Digest([1; 32]); 3];
    let path = || merkle::Path(digests.clone());
    let cached = Cached {
        k: vec![1, -2],
        v: vec![3, -4],
    };
    LayerOpening {
        layer: 1,
        positions: vec![0, 1],
        inputs: vec![vec![1, 2, 3]; 2],
        outputs: vec![vec![-1, 2, -3]; 2],
        input_rows: digests.clone(),
        output_rows: digests.clone(),
        cached: vec![cached; 2],
        rest: vec![Digest([2; 32])],
        paths: [path(), path(), path()],
    }
}

/// Two units of sums of all widths.
fn sums() -> Sums {
    let mut packer = Packer::new(4);
    let unit: Vec<i64> = (0..130).map(|i| (i - 70) << (i / 4)).collect();
    packer.push(&unit);
    packer.push(&unit[..3]);
    packer.finish().remove(0)
}

fn seeds() -> Vec<Vec<u8>> {
    let open = |next| {
        Message::Open(Box::new(Open {
            session: Digest([7; 32]),
            model: Digest([8; 32]),
            first: 3,
            end: 9,
            capacity: 100,
            nonce_commitment: Digest([9; 32]),
            previous: [1; 32],
            next,
        }))
    };
    let next = Next {
        peer: [2; 32],
        address: "127.0.0.1:9".into(),
    };
    let session = Digest([3; 32]);
    let signed = statement(0, 2).signed(&|_| [5; 64]);
    [
        open(None),
        open(Some(next)),
        Message::Ready,
        Message::Attach { session },
        Message::Rows {
            start: 4,
            rows: vec![1, -2, 3],
        },
        Message::Finish,
        Message::Signed {
            hop: Box::new(signed),
            output_rows: vec![session; 3],
        },
        Message::Challenge {
            layer: 2,
            positions: vec![0, 5],
        },
        Message::Opened(Box::new(opening())),
        Message::Close,
        Message::Refused(Refusal::new(RefusalCode::Busy, "later")),
        Message::Check,
        Message::Sums(sums()),
    ]
    .iter()
    .map(|m| [vec![m.kind()], m.payload()].concat())
    .collect()
}

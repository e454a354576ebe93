//! The messages of a share stream, and a holder that gets them.

use nesa_codec::Digest;
use nesa_pipeline::share::{Holder, HolderConfig, Input, Message, Open, Share};
use nesa_pipeline::wire::{Refusal, RefusalCode};
use nesa_proof::SignedHolder;
use nesa_proof::share::HolderStatement;

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "share",
    run,
    // Decoded and encoded again; ranges and rows are bounded by what was read.
    bound: |len| 40 * len + (64 << 10),
    seeds,
    dictionary: &[
        b"\x01\0\0\0",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\x01\0\0\x7f",
        b"\0\0\0\x7f",
    ],
};

/// Decodes; what decodes must encode to the same bytes, and a holder answers it without harm.
fn run(bytes: &[u8]) -> String {
    let Some((kind, payload)) = bytes.split_first() else {
        return "no kind".to_owned();
    };
    let decoded = Message::decode(*kind, payload);
    if let Ok(m) = &decoded {
        assert_eq!((m.kind(), &m.payload()[..]), (*kind, payload));
        let mut holder = Holder::new([1; 32], Box::new(|_| [0; 64]), HolderConfig::default());
        let input = Input::Message {
            from: [2; 32],
            session: Digest([7; 32]),
            message: m.clone(),
        };
        // Nothing is served and no session is open: whatever comes is refused.
        assert_eq!(holder.step(0, input).len(), 2);
        assert_eq!(holder.metrics().sessions_open, 0);
    }
    format!("{kind} {}", outcome(decoded)).replace(|c: char| c.is_ascii_digit(), "")
        + &"k".repeat(usize::from(*kind % 12))
}

pub(crate) fn signed(i: u8) -> SignedHolder {
    HolderStatement {
        node: [i; 32],
        session: Digest([10 + i; 32]),
        model: Digest([3; 32]),
        ranges: vec![(0, 2), (2 + u32::from(i), 6)],
        point: i,
        flights: 9,
        rows: 90,
        transcript: Digest([4; 32]),
        price: 5,
    }
    .signed(&|_| [6; 64])
}

fn seeds() -> Vec<Vec<u8>> {
    let shares = |share| Message::Shares {
        flight: 5,
        layer: 1,
        product: 2,
        rows: 2,
        share,
    };
    let signed = signed(1);
    [
        Message::Open(Box::new(Open {
            session: Digest([7; 32]),
            model: Digest([8; 32]),
            ranges: vec![(0, 3), (5, 9)],
            point: 2,
        })),
        Message::Ready,
        shares(Share::Seed([9; 32])),
        shares(Share::Values(vec![1, 2, 3, 4])),
        Message::Answer {
            flight: 5,
            values: vec![6, 7, 8],
            signature: [9; 64],
        },
        Message::Finish,
        Message::Signed(Box::new(signed)),
        Message::Close,
        Message::Refused(Refusal::new(RefusalCode::Busy, "later")),
    ]
    .iter()
    .map(|m| [vec![m.kind()], m.payload()].concat())
    .collect()
}

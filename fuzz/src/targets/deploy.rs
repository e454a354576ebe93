//! The messages of a shard stream, and the manifest inside an offer.

use nesa_codec::{Decode, Encode};
use nesa_model::{Manifest, PartId, testing};
use nesa_pipeline::deploy::Message;
use nesa_pipeline::wire::{Refusal, RefusalCode};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "deploy",
    run,
    bound: |len| 12 * len + (64 << 10),
    seeds,
    dictionary: &[
        b"\xff\xff\xff\xff",
        b"\xfe\xff\xff\xff",
        b"\0\0\x10\0",
        b"random",
    ],
};

/// Decodes; what decodes must encode to the same bytes.
fn run(bytes: &[u8]) -> String {
    let Some((kind, payload)) = bytes.split_first() else {
        return "no kind".to_owned();
    };
    let decoded = Message::decode(*kind, payload);
    let mut inner = String::new();
    if let Ok(m) = &decoded {
        assert_eq!((m.kind(), &m.payload()[..]), (*kind, payload));
        if let Message::Offer { manifest, .. } = m {
            let opened = Manifest::from_bytes(manifest);
            if let Ok(m) = &opened {
                assert_eq!(&m.to_bytes(), manifest);
            }
            inner = outcome(opened);
        }
    }
    format!(
        "{} {inner}{}",
        outcome(decoded),
        "k".repeat(usize::from(*kind % 12))
    )
}

fn seeds() -> Vec<Vec<u8>> {
    let mut messages: Vec<Message> = testing::shapes()
        .iter()
        .map(|shape| Message::Offer {
            manifest: testing::model(shape, 1).manifest.to_bytes(),
            first: 0,
            end: 2,
        })
        .collect();
    messages.extend([
        Message::Need {
            part: PartId::Layer(1),
            offset: 7,
        },
        Message::Need {
            part: PartId::Common,
            offset: 0,
        },
        Message::Chunk {
            total: 9,
            bytes: b"weights".to_vec(),
        },
        Message::Serving,
        Message::Refused(Refusal::new(RefusalCode::TooLarge, "no room")),
    ]);
    messages
        .iter()
        .map(|m| [vec![m.kind()], m.payload()].concat())
        .collect()
}

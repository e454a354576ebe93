//! The messages of a discovery stream: a type byte and a payload.

use nesa_codec::Digest;
use nesa_net::discovery::{
    Announced, Message, Offer, Page, PeerRecord, Probe, ProbeOutcome, Query, Refusal, Roles,
    SignedRecord, decode,
};
use nesa_net::{Address, Identity};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "discovery",
    run,
    bound: |len| 60 * len + (64 << 10),
    seeds,
    dictionary: &[
        b"\x01\0\0\0",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"127.0.0.1:9",
        b"[::1]:9",
    ],
};

/// Decodes; what decodes must encode to the same bytes, and a signature is checked without harm.
fn run(bytes: &[u8]) -> String {
    let decoded = decode(bytes);
    let mut verdict = String::new();
    if let Ok(message) = &decoded {
        let frame = message.to_frame();
        assert_eq!((frame.kind, &frame.payload[..]), (bytes[0], &bytes[1..]));
        if let Message::Announce(record) = message {
            verdict = outcome(record.verify(1_000));
        }
    }
    let kind = bytes.first().copied().unwrap_or(0);
    (outcome(decoded) + &verdict).replace(|c: char| c.is_ascii_digit(), "")
        + &"k".repeat(usize::from(kind % 12))
}

fn seeds() -> Vec<Vec<u8>> {
    let identity = Identity::from_seed([3; 32]);
    let address: Address = "127.0.0.1:9".parse().expect("an address");
    let record = |model_root| {
        let record = PeerRecord {
            peer: identity.peer_id(),
            operator: "somebody".into(),
            roles: Roles::COMPUTE,
            addresses: vec![address.clone()],
            offers: vec![Offer {
                model_root,
                layer_first: 0,
                layer_last: 9,
            }],
            memory_bytes: 1 << 30,
            epoch: 4,
            expires_ms: 2_000,
        };
        SignedRecord::sign(&identity, record)
    };
    let probe = |outcome| Probe {
        address: address.clone(),
        outcome,
    };
    [
        Message::Announce(record(Digest([1; 32]))),
        Message::List(Query::default()),
        Message::List(Query {
            model_root: Some(Digest([1; 32])),
            roles: Roles::BOOTSTRAP,
            after: Some(identity.peer_id()),
        }),
        Message::Leave { epoch: 7 },
        Message::Announced(Announced {
            probes: vec![
                probe(ProbeOutcome::Reachable),
                probe(ProbeOutcome::WrongPeer(identity.peer_id())),
            ],
            observed: address.clone(),
        }),
        Message::Page(Page {
            records: vec![record(Digest([1; 32])), record(Digest([2; 32]))],
            more: true,
        }),
        Message::Left,
        Message::Refused(Refusal::Busy { wait_ms: 9 }),
    ]
    .iter()
    .map(|m| {
        let frame = m.to_frame();
        [&[frame.kind][..], &frame.payload].concat()
    })
    .collect()
}

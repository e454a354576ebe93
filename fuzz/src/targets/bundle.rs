//! Receipt bundles, and the checks that need no model. Signatures count as valid here: a hostile
//! client and hostile nodes can sign anything.

use std::cell::RefCell;

use nesa_codec::{Decode, Digest, Encode, Hasher, merkle};
use nesa_kernels::Level;
use nesa_model::{Engine, Sampling};
use nesa_proof::{Bundle, Holding, Inference, challenge, holding, trace, verify};

use super::{Target, outcome, wire};

pub(crate) const TARGET: Target = Target {
    name: "bundle",
    run,
    bound: |len| 40 * len + (256 << 10),
    seeds,
    dictionary: &[
        b"nesabnd1",
        b"nesabnd2",
        b"open",
        b"hss",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\x01\0\0\0",
    ],
};

thread_local! {
    static ENGINE: RefCell<Engine> = RefCell::new(Engine::new(Level::Scalar, 1));
}

fn run(bytes: &[u8]) -> String {
    let decoded = Bundle::from_bytes(bytes);
    let mut checked = String::new();
    if let Ok(b) = &decoded {
        assert_eq!(b.to_bytes(), bytes, "one encoding per bundle");
        let shape = nesa_model::testing::shapes().swap_remove(0);
        ENGINE.with_borrow_mut(|engine| {
            checked = outcome(verify::bundle(b, None, &mut |_| None, engine));
            checked += &outcome(verify::bundle(b, Some(&shape), &mut |_| None, engine));
            checked += &outcome(holding::check(b, Some(3)));
            // Everything behind the signatures, as if they held.
            let Some(first) = b.hops.first() else { return };
            let e = verify::Expected {
                session: first.statement.session,
                model: first.statement.model,
                positions: first.statement.positions.min(64),
                layers: 3,
                nonce_commitment: challenge::commit(&b.nonce),
            };
            checked += &outcome(verify::ends(b));
            let spot = verify::spot(
                &b.hops,
                &e,
                &b.nonce,
                b.cells,
                &b.openings,
                &shape,
                &mut |_| None,
                engine,
            );
            checked += &outcome(spot);
            for (o, h) in b.openings.iter().zip(&b.hops) {
                checked += if o.leads_to(&h.statement) {
                    "leads"
                } else {
                    "strays"
                };
            }
        });
    }
    outcome(decoded) + &checked
}

fn seeds() -> Vec<Vec<u8>> {
    let digest = |i: u64| Hasher::new("fuzz").u64(i).finish();
    let rows = vec![vec![1, 2, 3], vec![4, 5, 6]];
    let output_rows: Vec<Digest> = std::iter::once(digest(1))
        .chain(rows.iter().map(|r| trace::row(r)))
        .collect();
    let mut statement = wire::statement(0, 3);
    statement.output = merkle::root(&output_rows);
    let bundle = Bundle {
        inference: Inference {
            model: digest(2),
            spec: digest(3),
            privacy: "open".into(),
            leakage: "{}".into(),
            salt: digest(4),
            prompt: vec![1, 2],
            answer: vec![3, 4],
            sampling: Sampling::default(),
            rows,
            output_rows,
            operators: vec!["a".into()],
        },
        hops: vec![statement.signed(&|_| [1; 64])],
        seconds: Vec::new(),
        holders: Holding::default(),
        nonce: digest(5),
        cells: 2,
        openings: vec![wire::opening()],
        client: [2; 32],
        signature: [3; 64],
    };
    let receipt = Bundle {
        cells: 0,
        openings: Vec::new(),
        ..bundle.clone()
    };
    let mut shared = receipt.clone();
    shared.inference.privacy = "hss".into();
    shared.hops.clear();
    shared.holders = Holding {
        threshold: 1,
        points: 2,
        signed: vec![super::share::signed(1), super::share::signed(2)],
    };
    let all = [bundle, receipt, shared];
    all.iter().map(Encode::to_bytes).collect()
}

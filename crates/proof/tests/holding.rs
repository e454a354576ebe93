//! Receipts of sessions whose inputs were shared: what holds, and everything that does not.
#![allow(clippy::unwrap_used, reason = "tests")]

use ed25519_dalek::{Signer, SigningKey};
use nesa_codec::{Decode, Digest, Encode, merkle};
use nesa_kernels::Level as Simd;
use nesa_model::spec::RESIDUAL_MAX;
use nesa_model::testing::shapes;
use nesa_model::{Engine, Sampling, Shape};
use nesa_proof::share::HolderStatement;
use nesa_proof::statement::signed_bytes;
use nesa_proof::verify::{self, Level, Violation};
use nesa_proof::{Bundle, Holding, HopStatement, Inference, LayerOpening, SignedHolder, trace};

fn signer(seed: u8) -> impl Fn(&[u8]) -> [u8; 64] {
    let key = SigningKey::from_bytes(&[seed; 32]);
    move |digest| {
        key.sign(&signed_bytes(&Digest(digest.try_into().unwrap())))
            .to_bytes()
    }
}

fn key(seed: u8) -> [u8; 32] {
    SigningKey::from_bytes(&[seed; 32])
        .verifying_key()
        .to_bytes()
}

fn holder(i: u8, ranges: &[(u32, u32)]) -> HolderStatement {
    HolderStatement {
        node: key(i),
        session: Digest([100 + i; 32]),
        model: Digest([7; 32]),
        ranges: ranges.to_vec(),
        point: i,
        flights: 10,
        rows: 12,
        transcript: Digest([i; 32]),
        price: 0,
    }
}

fn signed(s: HolderStatement) -> SignedHolder {
    let seed = (1..10).find(|i| key(*i) == s.node).unwrap();
    s.signed(&signer(seed))
}

/// Three nodes at (1, 2) over six blocks: two thirds each.
fn bundle(change: impl FnOnce(&mut Bundle, &mut Vec<HolderStatement>)) -> Bundle {
    let mut holders = vec![
        holder(1, &[(0, 4)]),
        holder(2, &[(2, 6)]),
        holder(3, &[(0, 2), (4, 6)]),
    ];
    let rows = vec![vec![1, 2, 3], vec![4, 5, 6]];
    let mut b = Bundle {
        inference: Inference {
            model: Digest([7; 32]),
            spec: Digest([8; 32]),
            privacy: "hss".into(),
            leakage: "{}".into(),
            salt: Digest([9; 32]),
            prompt: vec![1, 2],
            answer: vec![3, 4],
            sampling: Sampling::default(),
            output_rows: [vec![0; 3]]
                .iter()
                .chain(&rows)
                .map(|r| trace::row(r))
                .collect(),
            rows,
            operators: vec!["a".into(), "b".into(), "c".into()],
        },
        hops: Vec::new(),
        seconds: Vec::new(),
        holders: Holding {
            threshold: 1,
            points: 2,
            signed: Vec::new(),
        },
        nonce: Digest::default(),
        cells: 0,
        openings: Vec::new(),
        client: key(50),
        signature: [0; 64],
    };
    change(&mut b, &mut holders);
    if b.holders.signed.is_empty() {
        b.holders.signed = holders.into_iter().map(signed).collect();
    }
    b.signed(&signer(50))
}

fn verify(b: &Bundle) -> Result<verify::Verdict, Violation> {
    let read = Bundle::from_bytes(&b.to_bytes()).expect("bundles survive their bytes");
    assert_eq!(read, *b);
    verify::bundle(
        &read,
        None,
        &mut |_| None,
        &mut Engine::new(Simd::Scalar, 1),
    )
}

#[test]
fn a_receipt_of_shares_is_re_established() {
    let verdict = verify(&bundle(|_, _| ())).unwrap();
    assert_eq!((verdict.level, verdict.cells), (Level::Receipt, 0));
    // Rows are the client's to give.
    let b = bundle(|b, _| {
        b.inference.rows.clear();
        b.inference.output_rows.clear();
    });
    assert_eq!(verify(&b).map(|v| v.level), Ok(Level::Receipt));
}

#[test]
fn everything_that_does_not_belong_together_is_refused() {
    type Change = fn(&mut Bundle, &mut Vec<HolderStatement>);
    let ends = |what| Violation::Ends(what);
    let holder = |holder, what| Violation::Holder { holder, what };
    let few = |layer| Violation::Points {
        layer,
        held: 1,
        needed: 2,
    };
    let cases: [(Change, Violation); 16] = [
        (|b, _| b.holders.threshold = 2, ends("the scheme of shares")),
        (|b, _| b.holders.threshold = 0, ends("the scheme of shares")),
        (|b, _| b.holders.points = 17, ends("the scheme of shares")),
        (
            |b, _| b.inference.privacy = "open".into(),
            ends("the scheme of shares"),
        ),
        (|b, _| b.cells = 1, ends("the list of hops")),
        (|_, h| h[1].model = Digest([1; 32]), holder(1, "the model")),
        (
            |b, _| b.inference.model = Digest([1; 32]),
            holder(0, "the model"),
        ),
        (
            |_, h| h[2].node = key(1),
            holder(2, "the node (it is named twice)"),
        ),
        (
            |_, h| h[2].session = Digest([101; 32]),
            holder(2, "the session (it is named twice)"),
        ),
        (
            |_, h| h[1].point = 1,
            holder(1, "the point (it is held twice)"),
        ),
        (|_, h| h[2].ranges = vec![(0, 2), (5, 6)], few(4)),
        (|_, h| drop(h.remove(0)), few(0)),
        (
            |b, _| drop(b.inference.operators.pop()),
            ends("the list of operators"),
        ),
        (
            |b, _| b.inference.operators[1] = "a".into(),
            ends("the list of operators"),
        ),
        (
            |b, _| b.inference.answer.truncate(1),
            ends("the number of tokens"),
        ),
        (
            |b, _| b.inference.rows[1][0] = 9,
            ends("a row that a token was sampled from"),
        ),
    ];
    for (i, (change, violation)) in cases.into_iter().enumerate() {
        let b = bundle(|b, h| {
            change(b, h);
            b.inference.operators.truncate(h.len());
        });
        assert_eq!(verify(&b), Err(violation), "case {i}");
    }
}

#[test]
fn signatures_cover_every_byte() {
    let honest = bundle(|_, _| ());
    let forged = bundle(|b, h| {
        b.holders.signed = h.iter().cloned().map(signed).collect();
        b.holders.signed[1].statement.rows += 1;
    });
    assert_eq!(
        verify(&forged),
        Err(Violation::HolderSignature { holder: 1 })
    );
    let bytes = honest.to_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(b) = Bundle::from_bytes(&changed) {
            assert_eq!(verify(&b), Err(Violation::BundleSignature), "byte {at}");
        }
    }
    // A tier's name alone is no evidence.
    let mut bare = honest;
    bare.holders = Holding::default();
    let bare = bare.signed(&signer(50));
    assert_eq!(verify(&bare), Err(Violation::Ends("the scheme of shares")));
}

#[test]
fn what_belongs_to_hops_is_no_part_of_a_receipt_of_shares() {
    let hop = HopStatement {
        node: key(1),
        session: Digest([1; 32]),
        model: Digest([7; 32]),
        first: 0,
        end: 6,
        positions: 3,
        input: Digest::default(),
        output: Digest::default(),
        trace: Digest::default(),
        transcript: Digest::default(),
        nonce_commitment: Digest::default(),
        price: 0,
    };
    let opening = LayerOpening {
        layer: 0,
        positions: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        input_rows: Vec::new(),
        output_rows: Vec::new(),
        cached: Vec::new(),
        rest: Vec::new(),
        paths: [(); 3].map(|()| merkle::Path(Vec::new())),
    };
    let hops = Err(Violation::Ends("the list of hops"));
    let signed = hop.signed(&signer(1));
    assert_eq!(verify(&bundle(|b, _| b.hops.push(signed))), hops);
    assert_eq!(verify(&bundle(|b, _| b.openings.push(opening))), hops);
}

#[test]
fn rows_and_their_digests_are_those_of_the_tokens() {
    let run = |change: fn(&mut Inference)| verify(&bundle(|b, _| change(&mut b.inference)));
    let ends = |what| Err(Violation::Ends(what));
    let (tokens, list) = (
        ends("the number of tokens"),
        ends("the list of output rows"),
    );
    let row = ends("a row that a token was sampled from");
    assert_eq!(run(|i| i.prompt.clear()), tokens);
    assert_eq!(run(|i| i.rows.truncate(1)), tokens);
    assert_eq!(run(|i| i.rows.clear()), list);
    assert_eq!(run(|i| i.output_rows.truncate(2)), list);
    assert_eq!(run(|i| i.output_rows.push(Digest::default())), list);
    assert_eq!(run(|i| i.output_rows[2] = Digest::default()), row);
    // What stands before the sampled rows is the client's to give.
    assert!(run(|i| i.output_rows[0] = Digest::default()).is_ok());
    let beyond = |i: &mut Inference| {
        i.rows[0][0] = RESIDUAL_MAX + 1;
        i.output_rows.clear();
    };
    assert_eq!(run(beyond), row);
    let longer = |i: &mut Inference| {
        i.prompt.extend([5, 6]);
        i.output_rows.insert(0, Digest::default());
        i.output_rows.insert(0, Digest::default());
    };
    assert!(run(longer).is_ok());
    let operators = verify(&bundle(|b, _| b.inference.operators.push("d".into())));
    assert_eq!(operators, ends("the list of operators"));
}

#[test]
fn schemes_are_those_that_exist() {
    // As many points as there may be, of which any two suffice for one holder's failure.
    assert!(verify(&bundle(|b, _| b.holders.points = 16)).is_ok());
    let scheme = Err(Violation::Ends("the scheme of shares"));
    assert_eq!(verify(&bundle(|b, _| b.holders.points = 1)), scheme);
    let more = bundle(|b, h| {
        b.holders.threshold = 2;
        b.holders.points = 3;
        h.iter_mut().for_each(|h| h.ranges = vec![(0, 6)]);
    });
    assert!(verify(&more).is_ok());
    assert!(Holding::from_bytes(&Holding::default().to_bytes()).is_err());
    // The verifier's own model has a block more than the holders hold.
    let own = Shape {
        layers: 7,
        ..shapes().swap_remove(0)
    };
    let engine = &mut Engine::new(Simd::Scalar, 1);
    let b = bundle(|_, _| ());
    let few = Violation::Points {
        layer: 6,
        held: 0,
        needed: 2,
    };
    assert_eq!(
        verify::bundle(&b, Some(&own), &mut |_| None, engine),
        Err(few)
    );
    let own = Shape { layers: 6, ..own };
    assert!(verify::bundle(&b, Some(&own), &mut |_| None, engine).is_ok());
}

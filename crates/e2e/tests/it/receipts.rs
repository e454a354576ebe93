//! Receipts: whatever changes in them is refused, and whoever signs anew gains nothing.

use nesa_client::{Request, reproduce};
use nesa_codec::{Decode, Encode};
use nesa_e2e::{Model, Network, NodeConfig, Served};
use nesa_model::testing::shapes;
use nesa_model::{Engine, Sampling};
use nesa_proof::verify::{Level, Verdict};
use nesa_proof::{Bundle, Violation, verify};

use crate::common::{engine, key, spot};

/// A small receipt with opened cells, and the world that can check it.
fn receipt() -> (Served, Network, Bundle) {
    let model = Model::random(&shapes()[0], 6).unwrap();
    let mut served = model.served_ee(&key()).unwrap();
    let mut network = Network::new(&served, 2, &NodeConfig::default(), 6).unwrap();
    let request = Request {
        prompt: vec![4, 8, 15],
        sampling: Sampling {
            temperature_milli: 500,
            ..Sampling::default()
        },
        max_tokens: 2,
        chunk: 2,
    };
    let mut talk = network.talk(&served, request).unwrap();
    let engine = &mut engine();
    network
        .run(std::slice::from_mut(&mut talk), engine)
        .unwrap();
    let (bundle, _) = network
        .evidence(&mut talk, &mut served, spot(2), engine)
        .unwrap();
    (served, network, bundle)
}

/// The checks of `nesa verify`, in its order.
fn check(bytes: &[u8], served: &mut Served, engine: &mut Engine) -> Result<Verdict, String> {
    let bundle = Bundle::from_bytes(bytes).map_err(|e| e.to_string())?;
    let shape = served.shape().clone();
    let verdict = verify::bundle(&bundle, Some(&shape), &mut |i| served.block(i), engine)
        .map_err(|e| e.to_string())?;
    reproduce(&bundle, &served.client, &served.tier, engine).map_err(|e| e.to_string())?;
    Ok(verdict)
}

#[test]
fn every_changed_byte_every_cut_and_every_addition_is_refused_with_a_reason() {
    let (mut served, _, bundle) = receipt();
    let engine = &mut engine();
    let bytes = bundle.to_bytes();
    let verdict = check(&bytes, &mut served, engine).unwrap();
    assert_eq!((verdict.level, verdict.cells), (Level::Spot, 2));
    let mut bad = bytes.clone();
    for i in 0..bytes.len() {
        // All bits where that is quick, else one bit and one other value per byte.
        let changes: Vec<u8> = if cfg!(debug_assertions) {
            vec![1 << (i % 8), 1 + (i % 255) as u8]
        } else {
            (0..8).map(|b| 1 << b).collect()
        };
        for change in changes {
            bad[i] ^= change;
            let reason = check(&bad, &mut served, engine).unwrap_err();
            assert!(!reason.is_empty());
            bad[i] ^= change;
        }
        assert!(
            check(&bytes[..i], &mut served, engine).is_err(),
            "cut at {i}"
        );
    }
    for extra in [&b"\0"[..], b"nesabnd1", &bytes] {
        let longer = [&bytes[..], extra].concat();
        assert!(check(&longer, &mut served, engine).is_err());
    }
}

#[test]
fn a_client_that_signs_changes_anew_can_change_its_own_words_only() {
    let (mut served, network, bundle) = receipt();
    let engine = &mut engine();
    let bytes = bundle.to_bytes();
    let (mut refused, mut accepted) = (0, 0);
    for i in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[i] ^= 1 << (i % 8);
        let Ok(changed) = Bundle::from_bytes(&bad) else {
            continue;
        };
        if changed.client != bundle.client {
            continue;
        }
        let anew = network.sign_bundle(changed);
        if check(&anew.to_bytes(), &mut served, engine).is_err() {
            refused += 1;
            continue;
        }
        // What only the client says: names, salt, the leakage text, and sampling parameters under
        // which the same rows give the same tokens.
        accepted += 1;
        let (mut a, mut b) = (anew, bundle.clone());
        for i in [&mut a.inference, &mut b.inference] {
            i.leakage.clear();
            i.operators.clear();
            i.salt = nesa_codec::Digest::default();
            i.sampling = Sampling::default();
        }
        a.signature = b.signature;
        assert_eq!(a, b, "byte {i}");
    }
    assert!(refused > 1000 && accepted > 32, "{refused} {accepted}");
}

#[test]
fn a_receipt_says_no_more_than_its_reader_can_recompute() {
    let (mut served, network, bundle) = receipt();
    let engine = &mut engine();
    // Without the model: signatures and chain only.
    let verdict = verify::bundle(&bundle, None, &mut |_| None, engine).unwrap();
    assert_eq!((verdict.level, verdict.cells), (Level::Receipt, 0));
    // With half of the model: still not `spot`.
    let shape = served.shape().clone();
    let first = bundle.openings[0].layer;
    let mut half = |i| (i != first).then(|| served.block(i)).flatten();
    let verdict = verify::bundle(&bundle, Some(&shape), &mut half, engine).unwrap();
    assert_eq!(verdict.level, Level::Receipt);
    // A claim of more cells than were opened, or of none.
    for cells in [0, 1, 3, u64::MAX] {
        let mut b = bundle.clone();
        b.cells = cells;
        let b = network.sign_bundle(b);
        let e = verify::bundle(&b, Some(&shape), &mut |i| served.block(i), engine).unwrap_err();
        assert!(matches!(e, Violation::Cells { .. }), "{e}");
    }
}

#[test]
fn hostile_but_well_signed_receipts_do_not_make_the_verifier_panic() {
    let (mut served, network, bundle) = receipt();
    let engine = &mut engine();
    let shape = served.shape().clone();
    let changes: [fn(&mut Bundle); 8] = [
        |b| {
            // One row more than there are positions.
            b.inference.prompt.clear();
            b.inference.rows = vec![vec![0; 24]; 5];
            b.inference.answer = vec![1; 5];
        },
        |b| b.inference.prompt.clear(),
        |b| b.inference.rows.clear(),
        |b| b.inference.answer.clear(),
        |b| b.inference.output_rows.clear(),
        |b| b.inference.rows[0] = vec![i32::MIN; 24],
        |b| b.hops.clear(),
        |b| b.inference.operators.clear(),
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut b = bundle.clone();
        change(&mut b);
        let b = network.sign_bundle(b);
        let e = verify::bundle(&b, Some(&shape), &mut |i| served.block(i), engine);
        assert!(e.is_err(), "change {i}");
        let _ = reproduce(&b, &served.client, &served.tier, engine);
    }
}

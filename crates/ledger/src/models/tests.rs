//! The registry on a chain of its own.

use alloy_primitives::U256;
use nesa_codec::Digest;

use super::abi::IModels::{allowCall, deprecateCall, registerCall, updateCall};
use super::{ADDRESS, Modes, SHARDS_MAX, model, models, models_of, shards, usable, versions};
use crate::testing::{World, address};
use crate::{Amount, Params, Receipt};

fn root(n: u8) -> Digest {
    Digest([n; 32])
}

fn register(n: u8, previous: u8) -> registerCall {
    registerCall {
        model: root(n).0.into(),
        previous: root(previous).0.into(),
        manifest: [n ^ 0x55; 32].into(),
        shards: vec![[1; 32].into(), [2; 32].into()],
        price: U256::from(7),
        royalty: 40_000,
        modes: Modes::RECEIPT | Modes::REFEREED,
        allowed: vec![],
    }
}

fn send(w: &mut World, who: u8, call: &impl alloy_sol_types::SolCall) -> Receipt {
    w.call(who, ADDRESS, Amount::ZERO, call)
}

fn refused(w: &mut World, who: u8, call: &impl alloy_sol_types::SolCall, why: &str) {
    let before = w.tip.state.len();
    let receipt = send(w, who, call);
    assert!(!receipt.succeeded, "{why}");
    assert!(receipt.reason.contains(why), "{why}: {}", receipt.reason);
    assert_eq!(w.tip.state.len(), before);
}

#[test]
fn a_model_is_published_once_with_its_terms() {
    let mut w = World::new(Params::default());
    assert!(send(&mut w, 2, &register(5, 0)).succeeded);
    let row = model(&w.tip.state, &root(5)).unwrap().unwrap();
    assert_eq!((row.publisher, row.version), (address(2), 1));
    assert_eq!((row.price, row.royalty_ppm), (Amount(7), 40_000));
    assert!(row.modes.has(Modes::REFEREED) && !row.modes.has(Modes::PROOF));
    let hashes = shards(&w.tip.state, &root(5)).unwrap();
    assert_eq!(hashes, [root(1), root(2)]);
    refused(&mut w, 2, &register(5, 0), "registered already");
    refused(&mut w, 3, &register(5, 0), "registered already");
    refused(&mut w, 2, &register(0, 0), "root is zero");
    let good = register(6, 0);
    let mut bad = good.clone();
    bad.shards = vec![];
    refused(&mut w, 2, &bad, "shards");
    bad.shards = vec![[0; 32].into(); SHARDS_MAX + 1];
    let tx = crate::testing::sign(
        2,
        crate::tx::Unsigned {
            to: Some(ADDRESS),
            gas_limit: 5_000_000,
            input: alloy_sol_types::SolCall::abi_encode(&bad),
            ..w.body(2)
        },
    );
    let receipt = w.block(&[tx], &[]).receipts.remove(0);
    assert!(receipt.reason.contains("shards"), "{}", receipt.reason);
    let mut bad = good.clone();
    bad.royalty = 50_001;
    refused(&mut w, 2, &bad, "at most 50000");
    let mut bad = good.clone();
    bad.price = U256::MAX;
    refused(&mut w, 2, &bad, "price");
    for modes in [0, 32, 255] {
        let mut bad = good.clone();
        bad.modes = modes;
        refused(&mut w, 2, &bad, "modes");
    }
    let mut bad = good.clone();
    bad.allowed = vec![address(3).into(); 2];
    refused(&mut w, 2, &bad, "each once");
    let paid = w.call(2, ADDRESS, Amount(1), &good);
    assert!(paid.reason.contains("no value"), "{}", paid.reason);
}

#[test]
fn terms_change_by_the_publisher_until_deprecation() {
    let mut w = World::new(Params::default());
    assert!(send(&mut w, 2, &register(5, 0)).succeeded);
    let model_id = root(5).0.into();
    let mut call = updateCall {
        model: model_id,
        price: U256::from(9),
        royalty: 0,
        modes: Modes::PROOF,
    };
    refused(&mut w, 3, &call, "only the model's publisher");
    assert!(send(&mut w, 2, &call).succeeded);
    let row = model(&w.tip.state, &root(5)).unwrap().unwrap();
    assert_eq!((row.price, row.royalty_ppm), (Amount(9), 0));
    call.royalty = 60_000;
    refused(&mut w, 2, &call, "royalty");
    call.model = root(9).0.into();
    refused(&mut w, 2, &call, "no model");
    let end = deprecateCall { model: model_id };
    refused(&mut w, 3, &end, "only the model's publisher");
    assert!(usable(&w.tip.state, &root(5), &address(3)).is_ok());
    assert!(send(&mut w, 2, &end).succeeded);
    let gone = usable(&w.tip.state, &root(5), &address(3));
    assert_eq!(gone, Err(super::ModelError::Deprecated.into()));
    refused(&mut w, 2, &end, "deprecated");
    call.model = model_id;
    refused(&mut w, 2, &call, "deprecated");
    refused(&mut w, 2, &register(5, 0), "registered already");
}

#[test]
fn a_restricted_model_is_for_its_list() {
    let mut w = World::new(Params::default());
    let mut call = register(5, 0);
    call.allowed = vec![address(3).into()];
    assert!(send(&mut w, 2, &call).succeeded);
    assert!(send(&mut w, 2, &register(6, 0)).succeeded);
    let may = |w: &World, who| usable(&w.tip.state, &root(5), &address(who)).is_ok();
    assert!(may(&w, 2) && may(&w, 3) && !may(&w, 4));
    let mut call = allowCall {
        model: root(5).0.into(),
        who: address(4).into(),
        allowed: true,
    };
    refused(&mut w, 4, &call, "only the model's publisher");
    assert!(send(&mut w, 2, &call).succeeded);
    assert!(may(&w, 4));
    call.allowed = false;
    assert!(send(&mut w, 2, &call).succeeded);
    assert!(!may(&w, 4));
    call.model = root(6).0.into();
    refused(&mut w, 2, &call, "everybody");
}

#[test]
fn versions_form_a_line_and_lists_come_in_pages() {
    let mut w = World::new(Params::default());
    assert!(send(&mut w, 2, &register(5, 0)).succeeded);
    refused(&mut w, 3, &register(6, 5), "only the model's publisher");
    assert!(send(&mut w, 2, &register(6, 5)).succeeded);
    refused(&mut w, 2, &register(7, 5), "follows that one already");
    assert!(send(&mut w, 2, &register(4, 6)).succeeded);
    assert!(send(&mut w, 3, &register(8, 0)).succeeded);
    refused(&mut w, 2, &register(9, 9), "no model");
    let state = &w.tip.state;
    let line = versions(state, &root(5), 1, 10).unwrap();
    assert_eq!(line, [(1, root(5)), (2, root(6)), (3, root(4))]);
    assert_eq!(versions(state, &root(5), 2, 1).unwrap(), [(2, root(6))]);
    let list = |after: Option<Digest>, n| {
        let rows = models(state, after.as_ref(), n).unwrap();
        rows.into_iter().map(|r| r.0).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 1_000), [root(4), root(5), root(6), root(8)]);
    assert_eq!(list(Some(root(4)), 2), [root(5), root(6)]);
    let mine = |after: Option<&Digest>, n| models_of(state, &address(2), after, n).unwrap();
    assert_eq!(mine(None, 2), [root(4), root(5)]);
    assert_eq!(mine(Some(&root(5)), 2), [root(6)]);
    assert_eq!(mine(Some(&root(6)), 2), []);
}

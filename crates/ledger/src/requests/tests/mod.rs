//! Requests by people; those by contracts are tested with their engine.

mod answers;
mod publication;
pub(super) mod sample;

use alloy_primitives::U256;
use alloy_sol_types::SolValue as _;
use nesa_codec::{Digest, Encode as _};
use nesa_decision::Model;

use super::ADDRESS;
use super::abi::INesaInference::{publishCall, requestInferenceCall, sealCall};
use crate::models::abi::IModels::registerCall;
use crate::testing::World;
use crate::{Amount, Params, Receipt, models};

/// Events, errors and functions of an interface's text, as they stand in it.
fn declared(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|l| {
            ["event ", "error ", "function ", "interface "]
                .iter()
                .any(|k| l.starts_with(k))
        })
        .collect()
}

#[test]
fn compilers_get_the_interface_that_the_ledger_answers() {
    let ours = declared(include_str!("../abi.rs"));
    let theirs = declared(include_str!("../../../../../contracts/INesaInference.sol"));
    assert_eq!(ours, theirs);
    assert!(ours.len() > 10, "{ours:?}");
}

/// Who publishes, asks, works.
const PUBLISHER: u8 = 2;
const ASKER: u8 = 3;
const WORKER: u8 = 4;
/// What the tests pay.
const FEE: Amount = Amount::nes(2);

fn params() -> Params {
    Params {
        request_keep_blocks: 100,
        request_blocks_max: 50,
        ..Params::default()
    }
}

fn register(w: &mut World, root: Digest, modes: u8) -> Receipt {
    let call = registerCall {
        model: root.0.into(),
        previous: [0; 32].into(),
        manifest: [1; 32].into(),
        shards: vec![[2; 32].into()],
        price: Amount::nes(1).to_u256(),
        royalty: 50_000,
        modes,
        allowed: Vec::new(),
    };
    w.call(PUBLISHER, models::ADDRESS, Amount::ZERO, &call)
}

fn publish(w: &mut World, root: Digest, index: u32, bytes: &[u8]) -> Receipt {
    let call = publishCall {
        model: root.0.into(),
        index,
        chunk: bytes.to_vec().into(),
    };
    w.call(PUBLISHER, ADDRESS, Amount::ZERO, &call)
}

fn seal(w: &mut World, root: Digest, chunks: u32) -> Receipt {
    let model = root.0.into();
    w.call(
        PUBLISHER,
        ADDRESS,
        Amount::ZERO,
        &sealCall { model, chunks },
    )
}

/// A chain on which a model can be asked.
fn world(model: &Model) -> World {
    let mut w = World::new(params());
    let root = model.root();
    assert!(register(&mut w, root, 17).succeeded);
    let done = publish(&mut w, root, 0, &model.to_bytes());
    assert!(done.succeeded, "{}", done.reason);
    let done = seal(&mut w, root, 1);
    assert!(done.succeeded, "{}", done.reason);
    w
}

fn question(model: &Model, input: &[u8], deadline: u64) -> requestInferenceCall {
    requestInferenceCall {
        model: model.root().0.into(),
        input: input.to_vec().into(),
        callbackGas: 0,
        deadline,
        assurance: 16,
    }
}

/// Asks, and names the request.
fn ask(w: &mut World, model: &Model, input: &[u8]) -> Digest {
    let id = super::next_request_id(
        &w.tip.state,
        w.ledger.domain(),
        &crate::testing::address(ASKER),
    );
    let deadline = w.tip.header.height + 20;
    let done = w.call(ASKER, ADDRESS, FEE, &question(model, input, deadline));
    assert!(done.succeeded, "{}", done.reason);
    id.unwrap()
}

fn u256(n: u64) -> Vec<u8> {
    U256::from(n).abi_encode()
}

//! Contracts ask models: escrow, answers, and what a revert takes back.

use alloy_sol_types::{SolCall as _, SolValue as _};
use nesa_codec::{Digest, Encode as _};
use nesa_decision::Model;
use nesa_ledger::models::abi::IModels::registerCall;
use nesa_ledger::requests::abi::INesaInference::{
    answerCall, estimateFeeCall, isFinalizedCall, publishCall, requestInferenceCall, sealCall,
};
use nesa_ledger::requests::{self, ADDRESS, ASKED, REQUESTS, Stage, evidence};
use nesa_ledger::supply::{self, Kind};
use nesa_ledger::tx::Unsigned;
use nesa_ledger::{Address, Amount, Params, Receipt, models};

use super::puppet::{Do, asker, code, step};
use super::sample::{features, trees};
use super::world::{World, address};

pub(super) const PUBLISHER: u8 = 2;
pub(super) const WORKER: u8 = 3;
pub(super) const VALUE: Amount = Amount::nes(2);

/// A chain with a model that can be asked, and a puppet.
pub(super) struct Asked {
    pub(super) w: World,
    pub(super) model: Model,
    pub(super) puppet: Address,
}

impl Asked {
    pub(super) fn new() -> Self {
        let mut w = World::new(Params::default());
        let model = trees(1_000.0);
        let root: [u8; 32] = model.root().0;
        let register = registerCall {
            model: root.into(),
            previous: [0; 32].into(),
            manifest: [1; 32].into(),
            shards: vec![[2; 32].into()],
            price: Amount::nes(1).to_u256(),
            royalty: 50_000,
            modes: 16,
            allowed: Vec::new(),
        };
        let publish = publishCall {
            model: root.into(),
            index: 0,
            chunk: model.to_bytes().into(),
        };
        let seal = sealCall {
            model: root.into(),
            chunks: 1,
        };
        let calls = [
            (models::ADDRESS, register.abi_encode()),
            (ADDRESS, publish.abi_encode()),
            (ADDRESS, seal.abi_encode()),
        ];
        for (to, input) in calls {
            let done = w.run(PUBLISHER, to, Amount::ZERO, input);
            assert!(done.succeeded, "{}", done.reason);
        }
        let puppet = w.deploy(1, &code(), Amount::ZERO);
        Self { w, model, puppet }
    }

    /// A contract that acts in its own name, and runs `script` when it is called back.
    pub(super) fn asker(&mut self, script: &[u8]) -> Address {
        let code = asker(self.puppet, script);
        self.w.deploy(1, &code, Amount::nes(100))
    }

    pub(super) fn question(&self, gas: u64) -> Vec<u8> {
        let call = requestInferenceCall {
            model: self.model.root().0.into(),
            input: features(&[2_000.0, 10.0]).into(),
            callbackGas: gas,
            deadline: self.w.tip.header.height + 40,
            assurance: 16,
        };
        call.abi_encode()
    }

    /// The contract asks; the id of its `n`-th question.
    pub(super) fn ask(&mut self, who: Address, gas: u64, n: u64) -> Digest {
        let script = step(Do::Must, VALUE, ADDRESS, &self.question(gas));
        let done = self.w.run(1, who, Amount::ZERO, script);
        assert!(done.succeeded, "{}", done.reason);
        self.id(&who, n)
    }

    pub(super) fn id(&self, who: &Address, n: u64) -> Digest {
        requests::request_id(self.w.ledger.domain(), who, n)
    }

    pub(super) fn answer(&self, id: &Digest) -> Vec<u8> {
        let proved = evidence::prove(&self.model, &features(&[2_000.0, 10.0]));
        let (output, evidence) = proved.unwrap();
        let call = answerCall {
            id: id.0.into(),
            output: output.into(),
            evidence: evidence.into(),
        };
        call.abi_encode()
    }

    /// The worker answers. The receipt is its own; what the block told is with the block.
    pub(super) fn answered(&mut self, id: &Digest) -> Receipt {
        let (input, body) = (self.answer(id), self.w.body(WORKER));
        let (to, gas_limit) = (Some(ADDRESS), 20_000_000);
        let body = Unsigned {
            to,
            input,
            gas_limit,
            ..body
        };
        let done = self.w.send(WORKER, body);
        assert!(done.succeeded, "{}", done.reason);
        done
    }

    pub(super) fn stage(&self, id: &Digest) -> Option<Stage> {
        REQUESTS
            .get(&self.w.tip.state, id)
            .unwrap()
            .map(|r| r.stage)
    }

    pub(super) fn escrowed(&self) -> Amount {
        supply::total(&self.w.tip.state, Kind::Request).unwrap()
    }
}

#[test]
fn a_revert_takes_the_question_and_its_escrow_back() {
    let mut a = Asked::new();
    let who = a.asker(&[]);
    let question = a.question(100_000);
    let lost = [
        step(Do::Must, VALUE, ADDRESS, &question),
        step(Do::Revert, Amount::ZERO, who, &[]),
    ]
    .concat();
    // In a frame of its own, then in the whole transaction.
    let script = [
        step(Do::Call, Amount::ZERO, who, &lost),
        step(Do::Balance, Amount(1), who, &[]),
    ]
    .concat();
    let done = a.w.run(1, who, Amount::ZERO, script);
    assert!(done.succeeded && done.logs.is_empty(), "{}", done.reason);
    assert_eq!(a.w.word(&who, 1), Amount::nes(100).0);
    assert!(!a.w.run(1, who, Amount::ZERO, lost).succeeded);
    assert_eq!(
        (a.escrowed(), a.w.balance(&who)),
        (Amount::ZERO, Amount::nes(100))
    );
    assert!(!ASKED.has(&a.w.tip.state, &who) && a.stage(&a.id(&who, 0)).is_none());
    // The same question, kept.
    let id = a.ask(who, 100_000, 0);
    assert_eq!((a.stage(&id), a.escrowed()), (Some(Stage::Open), VALUE));
}

/// The publisher is paid in a frame that reverts: what revm first read there must not stay.
#[test]
fn an_account_first_read_after_a_module_paid_it_is_as_poor_as_before_when_that_reverts() {
    let mut a = Asked::new();
    let who = a.asker(&[]);
    let id = a.ask(who, 0, 0);
    let worker = a.w.deploy(1, &code(), Amount::nes(1));
    let inner = [
        step(Do::Must, Amount::ZERO, ADDRESS, &a.answer(&id)),
        step(Do::Balance, Amount(1), address(PUBLISHER), &[]),
        step(Do::Balance, Amount(2), worker, &[]),
    ]
    .concat();
    let reverting = [inner.clone(), step(Do::Revert, Amount::ZERO, worker, &[])].concat();
    let look = step(Do::Balance, Amount(3), address(PUBLISHER), &[]);
    let before = a.w.balance(&address(PUBLISHER));
    let run = |w: &mut World, script: Vec<u8>| {
        let body = w.body(1);
        let (to, gas_limit) = (Some(worker), 30_000_000);
        let done = w.send(
            1,
            Unsigned {
                to,
                gas_limit,
                input: script,
                ..body
            },
        );
        assert!(done.succeeded, "{}", done.reason);
    };
    // A step holds 64 KiB, so the frame that reverts is the worker's own second call.
    let nested = step(Do::Call, Amount::ZERO, worker, &reverting);
    run(&mut a.w, [nested, look.clone()].concat());
    assert_eq!(a.w.word(&worker, 3), before.0);
    assert_eq!((a.w.word(&worker, 1), a.stage(&id)), (0, Some(Stage::Open)));
    run(&mut a.w, [inner, look].concat());
    let royalty = VALUE.ppm(50_000);
    assert_eq!(a.w.word(&worker, 1), before.plus(royalty).unwrap().0);
    assert_eq!(a.w.word(&worker, 3), before.plus(royalty).unwrap().0);
    assert_eq!(
        a.w.word(&worker, 2),
        Amount::nes(1).plus(VALUE.ppm(850_000)).unwrap().0
    );
    assert_eq!(a.stage(&id), Some(Stage::Answered));
}

#[test]
fn views_answer_static_calls() {
    let mut a = Asked::new();
    let who = a.asker(&[]);
    let id = a.ask(who, 0, 0);
    let call = isFinalizedCall { id: id.0.into() }.abi_encode();
    let asked = [
        step(Do::Static, Amount::ZERO, ADDRESS, &call),
        step(Do::Must, Amount::ZERO, ADDRESS, &call),
        step(Do::Answer, Amount(1), who, &[]),
    ]
    .concat();
    assert!(a.w.run(1, who, Amount::ZERO, asked.clone()).succeeded);
    assert_eq!((a.w.word(&who, 0), a.w.word(&who, 1)), (1, 0));
    a.answered(&id);
    assert!(a.w.run(1, who, Amount::ZERO, asked).succeeded);
    assert_eq!(a.w.word(&who, 1), 1);
    let model = a.model.root().0.into();
    let call = estimateFeeCall {
        model,
        callbackGas: 10,
    }
    .abi_encode();
    let script = [
        step(Do::Must, Amount::ZERO, ADDRESS, &call),
        step(Do::Answer, Amount(2), who, &[]),
    ]
    .concat();
    assert!(a.w.run(1, who, Amount::ZERO, script).succeeded);
    let gas = 10 * u128::from(a.w.tip.header.base_fee);
    assert_eq!(a.w.word(&who, 2), Amount::nes(1).0 + gas);
    // What asks is no view.
    let script = step(Do::Static, Amount::ZERO, ADDRESS, &a.question(0));
    assert!(a.w.run(1, who, Amount::ZERO, script).succeeded);
    assert_eq!(a.w.word(&who, 0), 0);
    assert_eq!(true.abi_encode().len(), 32);
}

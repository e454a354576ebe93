//! `requestInference`, `answer`, and the end of what nobody answers.

use super::sample::{features, perceptron, quantised, trees};
use super::*;
use crate::requests::abi::INesaInference::{answerCall, answerOfCall, estimateFeeCall};
use crate::requests::{INPUTS, OUTPUTS, REQUESTS, Stage, escrow, evidence};
use crate::sessions::AUDITORS;
use crate::supply::{self, Kind, Pot};
use crate::testing::address;

fn answer(w: &mut World, id: Digest, output: &[u8], proof: &[u8]) -> Receipt {
    let call = answerCall {
        id: id.0.into(),
        output: output.to_vec().into(),
        evidence: proof.to_vec().into(),
    };
    w.call_with_gas(WORKER, ADDRESS, &call, 20_000_000)
}

fn stage(w: &World, id: &Digest) -> Option<Stage> {
    REQUESTS.get(&w.tip.state, id).unwrap().map(|r| r.stage)
}

#[test]
fn a_proved_answer_is_final_and_splits_the_fee() {
    let cases = [
        (trees(1_000.0), features(&[2_000.0, 10.0]), 1, 612),
        (trees(1_000.0), features(&[10.0, f64::NAN]), 0, -412),
        (perceptron(), quantised(&[300, -20, 7]), -2, 0),
    ];
    for (model, input, class, score) in cases {
        let mut w = world(&model);
        let id = ask(&mut w, &model, &input);
        let held = |w: &World, pot: &Pot| supply::held(&w.tip.state, pot).unwrap();
        assert_eq!(held(&w, &escrow(&id)), FEE);
        let (output, proof) = evidence::prove(&model, &input).unwrap();
        let auditors = held(&w, &AUDITORS);
        let (worker, publisher) = (w.balance(WORKER), w.balance(PUBLISHER));
        let done = answer(&mut w, id, &output, &proof);
        assert!(done.succeeded, "{}", done.reason);
        let fee = Amount(done.gas_price).times(done.gas_used.into()).unwrap();
        let paid = FEE.ppm(850_000);
        assert_eq!(w.balance(WORKER).plus(fee), worker.plus(paid));
        assert_eq!(
            w.balance(PUBLISHER),
            publisher.plus(FEE.ppm(50_000)).unwrap()
        );
        assert_eq!(held(&w, &AUDITORS), auditors.plus(FEE.ppm(50_000)).unwrap());
        assert_eq!(supply::total(&w.tip.state, Kind::Request), Ok(Amount::ZERO));
        assert_eq!(stage(&w, &id), Some(Stage::Answered));
        assert_eq!(
            super::super::answer_of(&w.tip.state, &id),
            Ok(Some(output.clone()))
        );
        assert!(!INPUTS.has(&w.tip.state, &id));
        if class >= 0 {
            let said = (i64::from(class), vec![i64::from(score)]);
            assert_eq!(output, said.abi_encode_params());
        }
        assert!(
            answer(&mut w, id, &output, &proof)
                .reason
                .contains("answered or expired")
        );
    }
}

#[test]
fn evidence_for_anything_else_is_refused_and_pays_nobody() {
    let (model, other) = (trees(1_000.0), trees(1_500.0));
    let mut w = world(&model);
    let input = features(&[1_200.0, 10.0]);
    let id = ask(&mut w, &model, &input);
    let (output, proof) = evidence::prove(&model, &input).unwrap();
    let (wrong, elsewhere) = evidence::prove(&model, &features(&[10.0, 10.0])).unwrap();
    assert_ne!(output, wrong);
    let (denied, foreign) = evidence::prove(&other, &input).unwrap();
    assert_ne!(output, denied, "the other model decides otherwise");
    let last = proof.len() - 1;
    let mut broken = proof.clone();
    broken[last / 2] ^= 1;
    let tries: [(&[u8], &[u8], &str); 7] = [
        (&wrong, &elsewhere, "another input"),
        (&output, &elsewhere, "another input"),
        (&denied, &foreign, "another model"),
        (&wrong, &proof, "another answer"),
        (&output, &proof[..last], "no proof of a decision"),
        (&output, b"", "no proof of a decision"),
        (&output, &broken, "the evidence"),
    ];
    for (said, proof, why) in tries {
        let done = answer(&mut w, id, said, proof);
        assert!(
            !done.succeeded && done.reason.contains(why),
            "{why}: {}",
            done.reason
        );
        assert_eq!(stage(&w, &id), Some(Stage::Open));
        assert_eq!(supply::held(&w.tip.state, &escrow(&id)), Ok(FEE));
    }
    assert!(
        answer(&mut w, Digest([3; 32]), &output, &proof)
            .reason
            .contains("no request")
    );
    assert!(
        answer(&mut w, id, &output, &proof).succeeded,
        "and the right one is taken"
    );
}

#[test]
fn what_nobody_answers_returns_and_is_forgotten() {
    let model = trees(1_000.0);
    let mut w = world(&model);
    let before = w.balance(ASKER);
    let id = ask(&mut w, &model, &features(&[1.0, 1.0]));
    w.wait(18);
    assert_eq!(stage(&w, &id), Some(Stage::Open));
    let left = w.balance(ASKER);
    w.wait(1);
    assert_eq!(stage(&w, &id), Some(Stage::Expired));
    assert_eq!(w.balance(ASKER), left.plus(FEE).unwrap());
    assert!(w.balance(ASKER) < before, "gas is gone");
    let (output, proof) = evidence::prove(&model, &features(&[1.0, 1.0])).unwrap();
    assert!(
        answer(&mut w, id, &output, &proof)
            .reason
            .contains("answered or expired")
    );
    w.wait(100);
    assert_eq!(stage(&w, &id), None);
    let rows = [
        INPUTS.has(&w.tip.state, &id),
        OUTPUTS.has(&w.tip.state, &id),
    ];
    assert_eq!(rows, [false; 2]);
}

#[test]
fn a_request_that_cannot_be_answered_is_not_taken() {
    let model = trees(1_000.0);
    let mut w = world(&model);
    let good = question(&model, &features(&[1.0, 1.0]), w.tip.header.height + 20);
    type Change = fn(&mut requestInferenceCall);
    let tries: [(Change, Amount, &str); 7] = [
        (|c| c.assurance = 1, FEE, "assurance 16"),
        (|c| c.model = [5; 32].into(), FEE, "no model"),
        (|c| c.input = vec![0; 15].into(), FEE, "has 16 bytes"),
        (|c| c.deadline = 1, FEE, "deadline"),
        (|c| c.deadline = 1_000, FEE, "deadline"),
        (|c| c.callbackGas = 1_000_001, FEE, "at most 1000000 gas"),
        (
            |_| (),
            Amount::nes(1).minus(Amount(1)).unwrap(),
            "costs at least",
        ),
    ];
    for (change, value, why) in tries {
        let mut call = good.clone();
        change(&mut call);
        let done = w.call(ASKER, ADDRESS, value, &call);
        assert!(
            !done.succeeded && done.reason.contains(why),
            "{why}: {}",
            done.reason
        );
    }
    // Registered, but without a file.
    let other = trees(7.0);
    register(&mut w, other.root(), 16);
    let call = question(&other, &features(&[1.0, 1.0]), w.tip.header.height + 20);
    assert!(
        w.call(ASKER, ADDRESS, FEE, &call)
            .reason
            .contains("not on the ledger")
    );
    assert_eq!(supply::total(&w.tip.state, Kind::Request), Ok(Amount::ZERO));
    let mut call = good;
    call.callbackGas = 1_000_000;
    let fee = estimateFeeCall {
        model: model.root().0.into(),
        callbackGas: call.callbackGas,
    };
    assert!(w.call(ASKER, ADDRESS, Amount::ZERO, &fee).succeeded);
    let least = Amount::nes(1).plus(Amount(1_000_000 * u128::from(w.tip.header.base_fee)));
    assert!(w.call(ASKER, ADDRESS, least.unwrap(), &call).succeeded);
    let of = answerOfCall { id: [1; 32].into() };
    assert!(
        w.call(ASKER, ADDRESS, Amount::ZERO, &of)
            .reason
            .contains("no answer yet")
    );
}

#[test]
fn arguments_of_requests_are_canonical() {
    let mut w = world(&trees(1_000.0));
    let call = estimateFeeCall {
        model: [0; 32].into(),
        callbackGas: 1,
    };
    use alloy_sol_types::SolCall as _;
    let tail = [call.abi_encode(), u256(0)].concat();
    let body = crate::tx::Unsigned {
        to: Some(ADDRESS),
        input: tail,
        ..w.body(ASKER)
    };
    let tx = crate::testing::sign(ASKER, body);
    assert!(w.block(&[tx], &[]).receipts[0].reason.contains("canonical"));
    assert_ne!(address(ASKER), address(WORKER));
}

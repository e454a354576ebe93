//! `onInference`: by the ledger, at the end of the block, whatever the contract does with it.

use alloy_sol_types::{SolCall as _, SolEvent as _};
use nesa_codec::Digest;
use nesa_ledger::requests::abi::INesaInference::{CalledBack, answerCall};
use nesa_ledger::requests::{self, ADDRESS, CALLBACKS, Stage};
use nesa_ledger::supply::{self, Pot};
use nesa_ledger::tx::Unsigned;
use nesa_ledger::{Address, Amount, Executed};

use super::puppet::{Do, step};
use super::questions::{Asked, VALUE, WORKER};
use super::world::{address, sign};

const GAS: u64 = 200_000;

/// The worker answers all of them in one block.
fn answer(a: &mut Asked, ids: &[Digest]) -> Executed {
    let signed: Vec<_> = (0u64..)
        .zip(ids)
        .map(|(n, id)| {
            let body = a.w.body(WORKER);
            let (to, input, gas_limit) = (Some(ADDRESS), a.answer(id), 4_000_000);
            let nonce = body.nonce + n;
            sign(
                WORKER,
                Unsigned {
                    to,
                    input,
                    gas_limit,
                    nonce,
                    ..body
                },
            )
        })
        .collect();
    let done = a.w.block_of(&signed, 16 << 20);
    assert!(done.receipts.iter().all(|r| r.succeeded));
    assert_eq!(done.block.body.txs.len(), ids.len());
    done
}

/// What the block told about callbacks: id, outcome, gas, reason.
fn told(done: &Executed) -> Vec<(Digest, bool, u64, String)> {
    let system = done.receipts.iter().filter(|r| r.tx == Digest::default());
    let logs = system.flat_map(|r| &r.logs);
    let mine =
        logs.filter(|l| l.address == ADDRESS && l.topics[0].0 == CalledBack::SIGNATURE_HASH.0);
    mine.map(|l| {
        let e = CalledBack::abi_decode_data(&l.data).unwrap();
        (l.topics[1], e.0, e.1, e.2)
    })
    .collect()
}

#[test]
fn a_callback_runs_in_the_block_of_its_answer_and_unused_gas_returns() {
    let mut a = Asked::new();
    let who = a.asker(&step(Do::Balance, Amount(7), address(WORKER), &[]));
    let id = a.ask(who, GAS, 0);
    let price = u128::from(a.w.tip.header.base_fee);
    let (before, burned) = (
        a.w.balance(&who),
        supply::held(&a.w.tip.state, &Pot::BURNED).unwrap(),
    );
    let done = answer(&mut a, &[id]);
    let told = told(&done);
    assert_eq!(told.len(), 1);
    let (of, succeeded, used, reason) = &told[0];
    assert_eq!((of, *succeeded, reason.as_str()), (&id, true, ""));
    assert!((20_000..GAS).contains(used), "{used}");
    assert_eq!(a.stage(&id), Some(Stage::Called));
    assert_eq!(
        a.w.word(&who, 7),
        a.w.balance(&address(WORKER)).0,
        "after everything else"
    );
    let back = Amount(u128::from(GAS - used) * price);
    assert_eq!(a.w.balance(&who), before.plus(back).unwrap());
    assert_eq!(a.escrowed(), Amount::ZERO);
    let fee = VALUE.minus(Amount(u128::from(GAS) * price)).unwrap();
    let gas = done.block.header.base_fee * done.receipts[0].gas_used;
    let all = fee.ppm(30_000).0 + u128::from(*used) * price + u128::from(gas);
    assert_eq!(
        supply::held(&a.w.tip.state, &Pot::BURNED),
        Ok(burned.plus(Amount(all)).unwrap())
    );
    assert!(CALLBACKS.rows(&a.w.tip.state, None).next().is_none());
}

#[test]
fn a_callback_that_fails_changes_nothing_but_its_gas_and_the_answer_stays() {
    let lost = |end| {
        let here = Address([9; 20]);
        [
            step(Do::Call, Amount::nes(5), here, &[]),
            step(end, Amount::ZERO, here, &[]),
        ]
        .concat()
    };
    let cases = [(Do::Revert, "reverted"), (Do::Invalid, "reverted with 0x")];
    for (end, why) in cases {
        let mut a = Asked::new();
        let who = a.asker(&lost(end));
        let id = a.ask(who, GAS, 0);
        let before = a.w.balance(&who);
        let told = told(&answer(&mut a, &[id]));
        let (_, succeeded, used, reason) = &told[0];
        assert!(!succeeded && reason.contains(why), "{reason}");
        assert_eq!(a.stage(&id), Some(Stage::CallFailed));
        assert_eq!(a.w.balance(&Address([9; 20])), Amount::ZERO);
        let price = u128::from(1_000_000u64);
        let back = a.w.balance(&who).minus(before).unwrap();
        assert!(back.0 <= u128::from(GAS - used) * price * 2);
        let said = requests::answer_of(&a.w.tip.state, &id).unwrap();
        assert!(
            said.is_some_and(|o| !o.is_empty()),
            "the answer stays readable"
        );
    }
}

#[test]
fn a_callback_out_of_gas_costs_all_of_it() {
    let mut a = Asked::new();
    let who = a.asker(&step(Do::Balance, Amount(7), Address([1; 20]), &[]));
    let id = a.ask(who, 5_000, 0);
    let before = a.w.balance(&who);
    let told = told(&answer(&mut a, &[id]));
    let (_, succeeded, used, _) = told[0].clone();
    assert!(!succeeded);
    assert!(used > 4_000, "{used}");
    assert_eq!(a.stage(&id), Some(Stage::CallFailed));
    assert_eq!(a.w.word(&who, 7), 0);
    assert!(a.w.balance(&who) < before.plus(Amount(5_000_000_000)).unwrap());
    assert_eq!(a.escrowed(), Amount::ZERO);
}

#[test]
fn a_callback_may_ask_again_and_cannot_answer_twice() {
    let mut a = Asked::new();
    let again = a.question(GAS);
    // The id of a contract's first question is known before the contract is.
    let nonce = nesa_ledger::query::account(&a.w.tip.state, &address(1))
        .unwrap()
        .nonce;
    let who = revm::primitives::Address::from(address(1))
        .create(nonce)
        .into();
    let id = a.id(&who, 0);
    let twice = answerCall {
        id: id.0.into(),
        output: Vec::new().into(),
        evidence: vec![1; 100].into(),
    };
    let script = [
        step(Do::Call, Amount::ZERO, ADDRESS, &twice.abi_encode()),
        step(Do::Must, VALUE, ADDRESS, &again),
        step(Do::Answer, Amount(4), who, &[]),
    ]
    .concat();
    assert_eq!(a.asker(&script), who);
    let gas = 900_000;
    assert_eq!(a.ask(who, gas, 0), id);
    let told = told(&answer(&mut a, &[id]));
    assert!(told[0].1, "{}", told[0].3);
    assert_eq!(a.stage(&id), Some(Stage::Called));
    let second = a.id(&who, 1);
    assert_eq!((a.stage(&second), a.escrowed()), (Some(Stage::Open), VALUE));
    assert_eq!(
        a.w.word(&who, 4),
        u128::from_be_bytes(second.0[16..].try_into().unwrap())
    );
    // The chain of questions ends when the money does, or here, by its deadline.
    let before = a.w.balance(&who);
    a.w.wait(45);
    assert_eq!(a.stage(&second), Some(Stage::Expired));
    assert_eq!(a.w.balance(&who), before.plus(VALUE).unwrap());
}

#[test]
fn callbacks_beyond_a_blocks_gas_wait_for_the_next() {
    let mut a = Asked::new();
    let who = a.asker(&step(Do::Invalid, Amount::ZERO, Address::default(), &[]));
    let ids: Vec<_> = (0..12).map(|n| a.ask(who, 1_000_000, n)).collect();
    let done = answer(&mut a, &ids);
    let first: Vec<_> = told(&done).iter().map(|t| t.0).collect();
    let used: u64 = told(&done).iter().map(|t| t.2).sum();
    assert!(used <= nesa_ledger::Params::default().callback_block_gas);
    assert_eq!(first, ids[..first.len()], "in the order of their answers");
    assert!(first.len() < 12);
    let next = a.w.block(&[]);
    let rest: Vec<_> = told(&next).iter().map(|t| t.0).collect();
    assert_eq!([first, rest].concat(), ids);
    assert_eq!(a.escrowed(), Amount::ZERO);
}

#[test]
fn nobody_is_called_where_no_contract_is() {
    let mut a = Asked::new();
    let question = a.question(GAS);
    assert!(a.w.run(1, ADDRESS, VALUE, question).succeeded);
    let id = a.id(&address(1), 0);
    let told = told(&answer(&mut a, &[id]));
    assert_eq!((told[0].1, told[0].2), (false, 0));
    assert_eq!(a.escrowed(), Amount::ZERO);
}

//! The two journals in step: whatever reverts is undone on both sides.

use alloy_sol_types::SolCall as _;
use nesa_codec::Digest;
use nesa_ledger::staking::abi::IStaking;
use nesa_ledger::supply::{self, Kind, Pot};
use nesa_ledger::{Address, Amount, Params, staking};

use super::puppet::{Do, code, init, step};
use super::world::{RICH, VALIDATOR, World, address};

const STAKING: Address = staking::ADDRESS;

fn delegate() -> Vec<u8> {
    let validator = VALIDATOR.into();
    IStaking::delegateCall { validator }.abi_encode()
}

fn nes(n: u64) -> Amount {
    Amount::nes(n)
}

fn staked(w: &World) -> Amount {
    supply::total(&w.tip.state, Kind::Stake).unwrap()
}

fn world() -> World {
    World::new(Params::default())
}

#[test]
fn a_contract_is_made_called_and_keeps_words() {
    let mut w = world();
    let a = w.deploy(1, &code(), nes(7));
    assert_eq!(w.balance(&a), nes(7));
    assert_eq!(crate::state::code(&w.tip.state, &a), Ok(code()));
    let script = step(Do::Balance, Amount(5), a, &[]);
    let done = w.run(1, a, nes(1), script);
    assert!(done.succeeded, "{}", done.reason);
    assert_eq!(w.word(&a, 5), nes(8).0);
    // A value that becomes zero leaves no row.
    let rows = w.tip.state.entries(None).count();
    let poor = Address([3; 20]);
    w.run(1, a, Amount::ZERO, step(Do::Balance, Amount(5), poor, &[]));
    assert_eq!(w.word(&a, 5), 0);
    assert_eq!(w.tip.state.entries(None).count(), rows - 1);
}

#[test]
fn logs_of_contracts_and_modules_are_told_in_order_and_not_when_undone() {
    let mut w = world();
    let a = w.deploy(1, &code(), nes(10));
    let inner = [
        step(Do::Log, Amount(1), a, b"lost"),
        step(Do::Must, nes(2), STAKING, &delegate()),
        step(Do::Revert, Amount::ZERO, a, &[]),
    ]
    .concat();
    let script = [
        step(Do::Log, Amount(2), a, b"first"),
        step(Do::Call, Amount::ZERO, a, &inner),
        step(Do::Must, nes(2), STAKING, &delegate()),
        step(Do::Log, Amount(3), a, b"last"),
    ]
    .concat();
    let done = w.run(1, a, Amount::ZERO, script);
    assert!(done.succeeded, "{}", done.reason);
    let told: Vec<_> = done.logs.iter().map(|l| l.address).collect();
    assert_eq!(told, [a, STAKING, a]);
    assert_eq!(done.logs[0].data, b"first");
    assert_eq!(done.logs[2].data, b"last");
}

#[test]
fn a_contract_bonds_and_reads_its_balance_after_it() {
    let (mut w, before) = (world(), staked(&world()));
    let a = w.deploy(1, &code(), nes(10));
    let script = [
        step(Do::Must, nes(4), STAKING, &delegate()),
        step(Do::Balance, Amount(1), a, &[]),
    ]
    .concat();
    let done = w.run(1, a, Amount::ZERO, script);
    assert!(done.succeeded, "{}", done.reason);
    assert_eq!(w.word(&a, 1), nes(6).0);
    assert_eq!(w.balance(&a), nes(6));
    assert_eq!(staked(&w), before.plus(nes(4)).unwrap());
    let key = (VALIDATOR, a);
    assert!(
        staking::DELEGATIONS.has(&w.tip.state, &key),
        "in its own name"
    );
}

#[test]
fn a_revert_undoes_what_modules_did_at_every_depth() {
    let (mut w, before) = (world(), staked(&world()));
    let a = w.deploy(1, &code(), nes(10));
    let b = w.deploy(1, &code(), nes(10));
    // b bonds and then reverts; a goes on and bonds by itself.
    let lost = [
        step(Do::Must, nes(3), STAKING, &delegate()),
        step(Do::Revert, Amount::ZERO, b, &[]),
    ]
    .concat();
    // Deeper: a call that succeeds inside one that burns all its gas.
    let deep = [
        step(
            Do::Must,
            Amount::ZERO,
            b,
            &step(Do::Must, nes(3), STAKING, &delegate()),
        ),
        step(Do::Invalid, Amount::ZERO, b, &[]),
    ]
    .concat();
    let script = [
        step(Do::Call, nes(1), b, &lost),
        step(Do::Balance, Amount(1), b, &[]),
        step(Do::Must, nes(2), STAKING, &delegate()),
        step(Do::Call, nes(1), b, &deep),
        step(Do::Balance, Amount(2), b, &[]),
        step(Do::Balance, Amount(3), a, &[]),
    ]
    .concat();
    let done = w.run(1, a, Amount::ZERO, script);
    assert!(done.succeeded, "{}", done.reason);
    assert_eq!((w.word(&a, 1), w.word(&a, 2)), (nes(10).0, nes(10).0));
    assert_eq!(w.word(&a, 3), nes(8).0);
    assert_eq!(staked(&w), before.plus(nes(2)).unwrap());
    assert!(!staking::DELEGATIONS.has(&w.tip.state, &(VALIDATOR, b)));
    // And where the whole transaction fails nothing is left.
    let all = [
        step(Do::Must, nes(2), STAKING, &delegate()),
        step(Do::Revert, Amount::ZERO, a, &[]),
    ]
    .concat();
    assert!(!w.run(1, a, nes(1), all).succeeded);
    assert_eq!(staked(&w), before.plus(nes(2)).unwrap());
    assert_eq!(w.balance(&a), nes(8));
}

#[test]
fn a_module_refuses_in_words_and_keeps_no_value() {
    let mut w = world();
    let a = w.deploy(1, &code(), nes(10));
    let validator = [7; 32].into();
    let unknown = IStaking::delegateCall { validator }.abi_encode();
    let native = w.run(1, STAKING, nes(2), unknown.clone());
    let done = w.run(
        1,
        a,
        Amount::ZERO,
        step(Do::Must, nes(2), STAKING, &unknown),
    );
    assert!(!done.succeeded);
    assert_eq!(done.reason, native.reason, "the module's own words");
    let done = w.run(
        1,
        a,
        Amount::ZERO,
        step(Do::Call, nes(2), STAKING, &unknown),
    );
    assert!(done.succeeded);
    assert_eq!(w.balance(&a), nes(10));
    assert_eq!(w.balance(&STAKING), Amount::ZERO);
    // Value without a function, as a plain transfer would send it, is refused too.
    w.run(1, a, Amount::ZERO, step(Do::Call, nes(2), STAKING, &[]));
    assert_eq!(w.balance(&STAKING), Amount::ZERO);
}

#[test]
fn modules_run_in_nobody_elses_name_and_change_nothing_in_views() {
    let (mut w, before) = (world(), staked(&world()));
    let a = w.deploy(1, &code(), nes(10));
    for what in [Do::Static, Do::Delegate] {
        let script = step(what, Amount::ZERO, STAKING, &delegate());
        let done = w.run(1, a, nes(2), script);
        assert!(done.succeeded, "{}", done.reason);
        assert_eq!(w.word(&a, 0), 0, "{what:?} got through");
    }
    // A delegate call keeps the value of its frame: it must not count as the module's.
    let b = w.deploy(1, &code(), nes(10));
    let inner = step(Do::Must, nes(2), STAKING, &delegate());
    let done = w.run(
        1,
        a,
        Amount::ZERO,
        step(Do::Delegate, Amount::ZERO, b, &inner),
    );
    assert!(done.succeeded, "{}", done.reason);
    assert_eq!(w.word(&a, 0), 1);
    assert!(
        staking::DELEGATIONS.has(&w.tip.state, &(VALIDATOR, a)),
        "whoever's code it is"
    );
    assert_eq!(staked(&w), before.plus(nes(2)).unwrap());
}

#[test]
fn what_a_callee_returns_arrives() {
    let mut w = world();
    let (a, b) = (w.deploy(1, &code(), nes(1)), w.deploy(1, &code(), nes(1)));
    let word = [[0; 31].as_slice(), &[42]].concat();
    let script = [
        step(
            Do::Must,
            Amount::ZERO,
            b,
            &step(Do::Return, Amount::ZERO, b, &word),
        ),
        step(Do::Answer, Amount(3), a, &[]),
    ]
    .concat();
    let done = w.run(1, a, Amount::ZERO, script);
    assert!(done.succeeded, "{}", done.reason);
    assert_eq!(w.word(&a, 3), 42);
}

#[test]
fn what_destroys_itself_pays_its_heir_and_burns_only_what_the_evm_burns() {
    let mut w = world();
    let burned = |w: &World| supply::held(&w.tip.state, &Pot::BURNED).unwrap();
    let heir = Address([9; 20]);
    let a = w.deploy(1, &code(), nes(10));
    // Made before: code and words stay (EIP-6780), the money goes.
    w.run(
        1,
        a,
        Amount::ZERO,
        step(Do::Destroy, Amount::ZERO, heir, &[]),
    );
    assert_eq!((w.balance(&heir), w.balance(&a)), (nes(10), Amount::ZERO));
    assert_eq!(crate::state::code(&w.tip.state, &a), Ok(code()));
    // To itself: nothing happens.
    w.run(1, a, nes(3), step(Do::Destroy, Amount::ZERO, a, &[]));
    assert_eq!(w.balance(&a), nes(3));
    // In its own creation, to itself: ADDRESS SELFDESTRUCT.
    let before = burned(&w);
    let script = step(Do::Create, nes(2), a, &[0x30, 0xff]);
    let done = w.run(1, a, Amount::ZERO, script);
    assert!(done.succeeded, "{}", done.reason);
    let fee = done.gas_used * w.tip.header.base_fee;
    let paid = burned(&w).minus(before).unwrap();
    assert_eq!(paid, nes(2).plus(Amount(fee.into())).unwrap());
    assert_eq!(w.balance(&a), nes(1));
}

#[test]
fn a_bad_contract_is_refused_as_ethereum_refuses_it() {
    let mut w = world();
    let tries: [(Vec<u8>, &str); 3] = [
        (init(&vec![0; 24_577]), "24,576"),
        (init(&[0xef, 0x00]), "halted"),
        (vec![0; crate::INIT_CODE_MAX + 1], "init code"),
    ];
    for (input, why) in tries {
        let body = w.body(1);
        let gas_limit = 20_000_000;
        let done = w.send(
            1,
            nesa_ledger::tx::Unsigned {
                input,
                gas_limit,
                ..body
            },
        );
        assert!(!done.succeeded && done.created.is_none());
        assert!(done.reason.contains(why), "{}", done.reason);
        assert_eq!(done.gas_used, gas_limit, "all gas is gone");
    }
    assert!(w.balance(&address(1)) < RICH);
    let parent = Digest::default();
    assert_ne!(w.tip.header.parent, parent);
}

//! Gas as the yellow paper and its amendments count it, written out by hand.

use nesa_ledger::tx::{Access, Unsigned};
use nesa_ledger::{Address, Amount, Params};

use super::world::World;

/// `PUSH1 value PUSH1 slot SSTORE`.
fn store(value: u8, slot: u8) -> [u8; 5] {
    [0x60, value, 0x60, slot, 0x55]
}

fn send(w: &mut World, to: Address, list: Vec<Access>, value: Amount) -> u64 {
    let body = w.body(1);
    let to = Some(to);
    let done = w.send(
        1,
        Unsigned {
            to,
            value,
            access_list: list,
            ..body
        },
    );
    assert!(done.succeeded, "{}", done.reason);
    done.gas_used
}

#[test]
fn storage_costs_more_when_cold_and_an_access_list_warms_it() {
    let code = store(1, 0);
    let (mut cold, mut warm) = (World::new(Params::default()), World::new(Params::default()));
    let a = cold.deploy(1, &code, Amount::ZERO);
    assert_eq!(
        send(&mut cold, a, Vec::new(), Amount::ZERO),
        21_000 + 6 + 2_100 + 20_000
    );
    let a = warm.deploy(1, &code, Amount::ZERO);
    let list = vec![Access {
        address: a,
        slots: vec![[0; 32]],
    }];
    let listed = 2_400 + 1_900;
    assert_eq!(
        send(&mut warm, a, list, Amount::ZERO),
        21_000 + listed + 6 + 20_000
    );
}

#[test]
fn refunds_are_at_most_a_fifth_of_what_was_used() {
    // Sets both slots to CALLVALUE: full, then cleared.
    let code = [0x34, 0x60, 0, 0x55, 0x34, 0x60, 1, 0x55];
    let mut w = World::new(Params::default());
    let a = w.deploy(1, &code, Amount::ZERO);
    send(&mut w, a, Vec::new(), Amount(1));
    let used = 21_000 + 2 * (2 + 3 + 2_100 + 2_900);
    assert!(2 * 4_800 > used / 5, "the cap is tried");
    assert_eq!(send(&mut w, a, Vec::new(), Amount::ZERO), used - used / 5);
    // One cleared slot: the whole refund.
    let code = [0x34, 0x60, 0, 0x55];
    let b = w.deploy(1, &code, Amount::ZERO);
    send(&mut w, b, Vec::new(), Amount(1));
    let used = 21_000 + 2 + 3 + 2_100 + 2_900;
    assert_eq!(send(&mut w, b, Vec::new(), Amount::ZERO), used - 4_800);
}

#[test]
fn the_block_is_what_the_ledger_says() {
    // CHAINID, NUMBER, TIMESTAMP, BASEFEE, PREVRANDAO, COINBASE, BLOCKHASH(NUMBER - 1) to slots.
    let mut code = Vec::new();
    for (slot, op) in [0x46u8, 0x43, 0x42, 0x48, 0x44, 0x41]
        .into_iter()
        .enumerate()
    {
        code.extend_from_slice(&[op, 0x60, slot as u8, 0x55]);
    }
    code.extend_from_slice(&[0x60, 1, 0x43, 0x03, 0x40, 0x60, 6, 0x55]);
    let mut w = World::new(Params::default());
    let a = w.deploy(1, &code, Amount::ZERO);
    send(&mut w, a, Vec::new(), Amount::ZERO);
    let h = &w.tip.header;
    let word = |slot: u8| {
        let mut key = [0; 32];
        key[31] = slot;
        crate::state::storage(&w.tip.state, &a, &nesa_codec::Digest(key)).unwrap()
    };
    assert_eq!(w.word(&a, 0), u128::from(super::world::CHAIN));
    assert_eq!(w.word(&a, 1), u128::from(h.height));
    assert_eq!(w.word(&a, 2), u128::from(h.timestamp_ms / 1_000));
    assert_eq!(w.word(&a, 3), u128::from(h.base_fee));
    assert_eq!(word(4), h.beacon);
    assert_eq!(word(5).0[12..], h.proposer[12..]);
    assert_eq!(word(6), h.parent);
}

/// Arguments that no function takes still have to be read.
#[test]
fn a_module_is_paid_for_reading_what_it_refuses() {
    use super::puppet::{Do, code, step};
    let mut w = World::new(Params::default());
    let a = w.deploy(1, &code(), Amount::ZERO);
    let mut cost = |len: usize| {
        let module = nesa_ledger::staking::ADDRESS;
        let script = step(Do::Call, Amount::ZERO, module, &vec![0; len]);
        let body = w.body(1);
        let to = Some(a);
        let list = Unsigned {
            to,
            input: script,
            ..body
        };
        let envelope = list.intrinsic_gas();
        w.send(1, list).gas_used - envelope
    };
    let (short, long) = (cost(32), cost(20_032));
    assert!(long - short > 20_000 * 8, "{short} {long}");
    assert!(short > 1_000 + 32 * 8);
}

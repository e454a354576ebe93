//! Operators on a chain of their own.

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use ed25519_dalek::{Signer as _, SigningKey};
use nesa_codec::Digest;

use super::abi::IOperators::{
    addBondCall, drainCall, heartbeatCall, leaseCall, leaveCall, registerCall, setCapabilityCall,
};
use super::*;
use crate::models::abi::IModels::registerCall as registerModelCall;
use crate::state::Overlay;
use crate::testing::{CHAIN, World, address};
use crate::{Env, Params, Receipt};

const BOND: Amount = Amount::nes(1_000);

fn params() -> Params {
    Params {
        operator_bond_min: BOND,
        heartbeat_blocks: 5,
        lease_blocks_max: 30,
        unbonding_blocks: 4,
        ..Params::default()
    }
}

fn node_key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[150 + n; 32])
}

fn node(n: u8) -> [u8; 32] {
    node_key(n).verifying_key().to_bytes()
}

fn record(w: &World, n: u8, owner: u8, sequence: u64) -> registerCall {
    let capability = Digest([sequence as u8; 32]);
    let domain = w.ledger.domain();
    let message = capability_message(domain, &address(owner), &capability, sequence);
    let signature = node_key(n).sign(&message.0);
    registerCall {
        node: node(n).into(),
        capability: capability.0.into(),
        sequence,
        r: (*signature.r_bytes()).into(),
        s: (*signature.s_bytes()).into(),
    }
}

fn send(w: &mut World, who: u8, call: &impl SolCall) -> Receipt {
    w.call(who, ADDRESS, Amount::ZERO, call)
}

fn good(w: &mut World, who: u8, call: &impl SolCall) {
    let receipt = send(w, who, call);
    assert!(receipt.succeeded, "{}", receipt.reason);
}

fn refused(w: &mut World, who: u8, call: &impl SolCall, why: &str) {
    let receipt = send(w, who, call);
    assert!(!receipt.succeeded, "{why}");
    assert!(receipt.reason.contains(why), "{why}: {}", receipt.reason);
}

/// A chain with node 0 of person 2 and model 5.
fn world() -> World {
    let mut w = World::new(params());
    let call = record(&w, 0, 2, 1);
    let receipt = w.call(2, ADDRESS, BOND, &call);
    assert!(receipt.succeeded, "{}", receipt.reason);
    let model = registerModelCall {
        model: [5; 32].into(),
        previous: [0; 32].into(),
        manifest: [6; 32].into(),
        shards: vec![[1; 32].into()],
        price: U256::ZERO,
        royalty: 0,
        modes: 1,
        allowed: vec![],
    };
    let receipt = w.call(6, crate::models::ADDRESS, Amount::ZERO, &model);
    assert!(receipt.succeeded, "{}", receipt.reason);
    w
}

fn row(w: &World, n: u8) -> Operator {
    find(&w.tip.state, &node(n)).unwrap().unwrap()
}

fn lease(w: &World, first: u32, end: u32, blocks: u64) -> leaseCall {
    leaseCall {
        node: node(0).into(),
        model: [5; 32].into(),
        first,
        end,
        until: w.tip.header.height + 1 + blocks,
    }
}

#[test]
fn a_node_joins_with_a_bond_and_its_own_word() {
    let mut w = world();
    assert_eq!(bond(&w.tip.state, &node(0)), Ok(BOND));
    let joined = row(&w, 0);
    assert_eq!((joined.owner, joined.stage), (address(2), Stage::Active));
    let mine = record(&w, 1, 3, 1);
    let stolen = w.call(4, ADDRESS, BOND, &mine);
    assert!(stolen.reason.contains("did not sign"), "{}", stolen.reason);
    let mut changed = mine.clone();
    changed.capability = [9; 32].into();
    let receipt = w.call(3, ADDRESS, BOND, &changed);
    assert!(
        receipt.reason.contains("did not sign"),
        "{}",
        receipt.reason
    );
    let poor = w.call(3, ADDRESS, Amount(BOND.0 - 1), &mine);
    assert!(poor.reason.contains("at least"), "{}", poor.reason);
    let again = record(&w, 0, 2, 2);
    let again = w.call(2, ADDRESS, BOND, &again);
    assert!(again.reason.contains("already"), "{}", again.reason);
    assert!(w.call(3, ADDRESS, BOND, &mine).succeeded);
    let state = &w.tip.state;
    assert_eq!(operators(state, None, 1).unwrap().len(), 1);
    let all = operators(state, None, 100).unwrap();
    assert_eq!(operators(state, Some(&all[0].0), 100).unwrap(), all[1..]);
    let foreign = addBondCall {
        node: node(1).into(),
    };
    assert!(!w.call(2, ADDRESS, Amount(5), &foreign).succeeded);
    let mine = addBondCall {
        node: node(0).into(),
    };
    assert!(w.call(2, ADDRESS, Amount(5), &mine).succeeded);
    assert_eq!(bond(&w.tip.state, &node(0)), Ok(Amount(BOND.0 + 5)));
}

#[test]
fn records_only_get_newer() {
    let mut w = world();
    let set = |w: &World, sequence| {
        let c = record(w, 0, 2, sequence);
        setCapabilityCall {
            node: c.node,
            capability: c.capability,
            sequence,
            r: c.r,
            s: c.s,
        }
    };
    let call = set(&w, 1);
    refused(&mut w, 2, &call, "above 1");
    let call = set(&w, 7);
    refused(&mut w, 3, &call, "only the node's owner");
    good(&mut w, 2, &call);
    assert_eq!(row(&w, 0).capability, Digest([7; 32]));
    let call = set(&w, 6);
    refused(&mut w, 2, &call, "above 7");
}

#[test]
fn leases_run_out_by_themselves() {
    let mut w = world();
    let call = lease(&w, 0, 12, 10);
    refused(&mut w, 3, &call, "only the node's owner");
    let call = lease(&w, 0, 12, 10);
    good(&mut w, 2, &call);
    let call = lease(&w, 12, 24, 4);
    good(&mut w, 2, &call);
    assert_eq!(row(&w, 0).leases, 2);
    let sooner = lease(&w, 0, 12, 2);
    refused(&mut w, 2, &sooner, "must end");
    let renewed = lease(&w, 12, 24, 6);
    good(&mut w, 2, &renewed);
    assert_eq!(row(&w, 0).leases, 2, "the same lease, for longer");
    for (first, end, blocks, why) in [
        (3, 3, 5, "layers"),
        (0, 1_025, 5, "layers"),
        (0, 1, 0, "must end"),
        (0, 1, 31, "must end"),
    ] {
        let call = lease(&w, first, end, blocks);
        refused(&mut w, 2, &call, why);
    }
    let mut other = lease(&w, 0, 1, 5);
    other.model = [8; 32].into();
    refused(&mut w, 2, &other, "no model");
    let mut w = world();
    let call = lease(&w, 0, 12, 3);
    good(&mut w, 2, &call);
    let on = leases_on(&w.tip.state, &Digest([5; 32]), None, 10).unwrap();
    assert_eq!(on, leases_of(&w.tip.state, &node(0), None, 10).unwrap());
    assert_eq!((on[0].1.first, on[0].1.end), (0, 12));
    w.wait(2);
    assert_eq!(row(&w, 0).leases, 1);
    w.wait(1);
    assert_eq!(row(&w, 0).leases, 0);
    assert!(
        leases_on(&w.tip.state, &Digest([5; 32]), None, 10)
            .unwrap()
            .is_empty()
    );
    assert_eq!(LEASES.rows(&w.tip.state, None).count(), 0);
}

#[test]
fn silence_is_noticed_and_costs_who_promised() {
    let mut w = world();
    let beat = heartbeatCall {
        node: node(0).into(),
    };
    w.wait(3);
    good(&mut w, 2, &beat);
    w.wait(4);
    assert_eq!(row(&w, 0).stage, Stage::Active);
    assert!(routable(&w.tip.state, &node(0)).unwrap());
    w.wait(1);
    assert_eq!(row(&w, 0).stage, Stage::Silent);
    assert!(!routable(&w.tip.state, &node(0)).unwrap());
    let start = params().reputation_start;
    assert_eq!(row(&w, 0).reputation.score, start, "it promised nothing");
    refused(&mut w, 3, &beat, "only the node's owner");
    good(&mut w, 2, &beat);
    assert_eq!(row(&w, 0).stage, Stage::Active);
    let call = lease(&w, 0, 12, 20);
    good(&mut w, 2, &call);
    w.wait(5);
    let standing = standing(&w.tip.state, &node(0)).unwrap().unwrap();
    let lost = params().reputation_timeout_loss;
    assert_eq!(standing.score, start - lost);
    assert_eq!(standing.threshold, params().reputation_threshold);
    let why = standing.changes.last().unwrap();
    assert_eq!((why.cause, why.score), (Cause::Timeout, start - lost));
}

#[test]
fn a_node_leaves_in_order_and_may_come_back() {
    let mut w = world();
    let (drain, leave) = (
        drainCall {
            node: node(0).into(),
        },
        leaveCall {
            node: node(0).into(),
        },
    );
    let call = lease(&w, 0, 12, 4);
    good(&mut w, 2, &call);
    refused(&mut w, 2, &leave, "1 leases still run");
    refused(&mut w, 3, &drain, "only the node's owner");
    good(&mut w, 2, &drain);
    refused(&mut w, 2, &drain, "on its way out");
    let more = lease(&w, 0, 12, 9);
    refused(&mut w, 2, &more, "on its way out");
    let beat = heartbeatCall {
        node: node(0).into(),
    };
    refused(&mut w, 2, &beat, "on its way out");
    w.wait(2);
    refused(&mut w, 3, &leave, "only the node's owner");
    good(&mut w, 2, &leave);
    let before = w.balance(2);
    w.wait(3);
    assert_eq!((w.balance(2), row(&w, 0).stage), (before, Stage::Leaving));
    w.wait(1);
    assert_eq!(row(&w, 0).stage, Stage::Left);
    assert_eq!(w.balance(2).minus(before), Some(BOND));
    let call = record(&w, 0, 2, 1);
    let old = w.call(2, ADDRESS, BOND, &call);
    assert!(old.reason.contains("above 1"), "{}", old.reason);
    let call = record(&w, 0, 3, 2);
    let other = w.call(3, ADDRESS, BOND, &call);
    assert!(
        other.reason.contains("only the node's owner"),
        "{}",
        other.reason
    );
    let call = record(&w, 0, 2, 2);
    assert!(w.call(2, ADDRESS, BOND, &call).succeeded);
    assert_eq!((row(&w, 0).stage, row(&w, 0).since), (Stage::Active, 1));
}

/// Runs what another family would run, on top of the last block.
fn inside<T>(w: &World, f: impl FnOnce(&mut Context<'_>) -> T) -> (T, crate::state::State) {
    let mut state = Overlay::new(w.tip.state.clone());
    let env = Env {
        chain_id: CHAIN,
        domain: *w.ledger.domain(),
        height: w.tip.header.height + 1,
        timestamp_ms: 0,
        proposer: [0; 32],
        base_fee: 0,
        parent: Digest::default(),
        beacon: Digest::default(),
    };
    let (params, mut logs) = (params(), Vec::new());
    let out = f(&mut Context {
        state: &mut state,
        env: &env,
        params: &params,
        caller: Address::default(),
        module: Address::default(),
        value: Amount::ZERO,
        logs: &mut logs,
    });
    let diff = state.into_diff();
    supply::check(&w.tip.state, &diff).unwrap();
    (out, w.tip.state.apply(&diff))
}

#[test]
fn a_slash_is_exact_and_never_above_the_bond() {
    let mut w = world();
    let leave = leaveCall {
        node: node(0).into(),
    };
    good(&mut w, 2, &leave);
    let victim = Pot::Account(Address([77; 20]));
    let (taken, state) = inside(&w, |ctx| slash(ctx, &node(0), Amount(1_001), &victim));
    assert_eq!(taken, Ok(Amount(1_001)), "also on its way out");
    assert_eq!(supply::held(&state, &victim), Ok(Amount(500)));
    assert_eq!(bond(&state, &node(0)), Ok(Amount(BOND.0 - 1_001)));
    let (taken, state) = inside(&w, |ctx| slash(ctx, &node(0), Amount(u128::MAX), &victim));
    assert_eq!(taken, Ok(BOND));
    assert_eq!(bond(&state, &node(0)), Ok(Amount::ZERO));
    let (taken, _) = inside(&w, |ctx| slash(ctx, &node(1), Amount(1), &victim));
    assert_eq!(taken, Err(OperatorError::Unknown.into()));
}

#[test]
fn a_fault_costs_the_right_to_promise() {
    let mut w = world();
    let (score, state) = inside(&w, |ctx| {
        for _ in 0..9 {
            super::record(ctx, &node(0), Cause::AuditPassed)?;
        }
        super::record(ctx, &node(0), Cause::DisputeLost)
    });
    let p = params();
    let wanted = p.reputation_start + 9 * p.reputation_gain - p.reputation_fault_loss;
    assert_eq!(score, Ok(wanted));
    assert!(wanted < p.reputation_threshold);
    let shown = standing(&state, &node(0)).unwrap().unwrap();
    assert_eq!(shown.changes.len(), CHANGES_MAX);
    assert_eq!(shown.changes[7].cause, Cause::DisputeLost);
    assert!(!routable(&state, &node(0)).unwrap());
    w.tip.state = state;
    w.tip.header.state_root = w.tip.state.root();
    let call = lease(&w, 0, 12, 4);
    refused(&mut w, 2, &call, "earned back");
}

#[test]
fn leases_per_node_are_bounded() {
    let mut w = world();
    let calls: Vec<_> = (0..=LEASES_MAX).map(|n| lease(&w, n, n + 1, 20)).collect();
    let mut txs = Vec::new();
    for (n, call) in (0u64..).zip(&calls) {
        let body = w.body(2);
        txs.push(crate::testing::sign(
            2,
            crate::tx::Unsigned {
                nonce: body.nonce + n,
                to: Some(ADDRESS),
                gas_limit: 200_000,
                input: call.abi_encode(),
                ..body
            },
        ));
    }
    let done = w.block(&txs, &[]);
    let succeeded = done.receipts.iter().filter(|r| r.succeeded).count();
    assert_eq!(succeeded, 64);
    assert!(done.receipts[64].reason.contains("at most 64"));
}

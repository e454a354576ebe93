//! Blocks: what they hold, what they refuse, and what they prove.

use nesa_codec::{Decode as _, Digest, Encode as _};

use crate::apply::Unfit;
use crate::query::ReceiptProof;
use crate::state::State;
use crate::supply::{self, Kind};
use crate::testing::{CHAIN, RICH, World, address, genesis, sign, validator};
use crate::tx::{Pricing, Tx, Unsigned};
use crate::vm::NoContracts;
use crate::{Address, Amount, Block, BlockError, Body, Committed, Genesis, Ledger, Params, Place};

fn send(world: &World, who: u8, to: Address, value: Amount) -> Tx {
    let body = Unsigned {
        to: Some(to),
        value,
        ..world.body(who)
    };
    sign(who, body)
}

#[test]
fn a_transfer_moves_value_burns_the_base_fee_and_tips_the_proposer() {
    let mut world = World::new(Params::default());
    let tx = send(&world, 3, address(4), Amount::nes(7));
    let (before, owner) = (world.balance(3), world.balance(0));
    let done = world.block(&[tx], &[]);
    let receipt = &done.receipts[0];
    assert!(receipt.succeeded);
    assert_eq!(receipt.gas_used, 21_000);
    let base = u128::from(done.block.header.base_fee);
    assert_eq!(receipt.gas_price, base + 1_000);
    assert_eq!(world.balance(4), RICH.plus(Amount::nes(7)).unwrap());
    let paid = Amount::nes(7).0 + 21_000 * (base + 1_000);
    assert_eq!(world.balance(3).0, before.0 - paid);
    assert_eq!(world.balance(0).0, owner.0 + 21_000_000, "the tip");
    let burned = supply::total(&world.tip.state, Kind::Burned).unwrap();
    assert_eq!(burned.0, 21_000 * base);
    assert_eq!(world.nonce(3), 1);
}

#[test]
fn a_refused_action_keeps_its_fee_and_its_nonce_and_nothing_else() {
    let mut world = World::new(Params::default());
    let module = crate::staking::ADDRESS;
    for input in [vec![], vec![1, 2, 3], vec![1, 2, 3, 4], vec![0; 400]] {
        let nonce = world.nonce(3);
        let body = Unsigned {
            to: Some(module),
            value: Amount::nes(1),
            input,
            ..world.body(3)
        };
        let before = world.balance(3);
        let done = world.block(&[sign(3, body)], &[]);
        let receipt = &done.receipts[0];
        assert!(!receipt.succeeded);
        assert!(receipt.reason.contains("selector"), "{}", receipt.reason);
        let fee = u128::from(receipt.gas_used) * receipt.gas_price;
        assert_eq!(world.balance(3).0, before.0 - fee);
        assert_eq!(world.nonce(3), nonce + 1);
    }
}

#[test]
fn contracts_are_refused_where_none_run() {
    let mut world = World::new(Params::default());
    let body = Unsigned {
        to: None,
        input: vec![0x60, 0],
        ..world.body(3)
    };
    let done = world.block(&[sign(3, body)], &[]);
    assert!(!done.receipts[0].succeeded);
    assert_eq!(done.receipts[0].gas_used, 1_000_000, "all gas is paid");
}

/// Why a block with one transaction is refused.
fn unfit(world: &World, change: impl FnOnce(&mut Unsigned)) -> Unfit {
    let mut body = world.body(3);
    change(&mut body);
    let tx = sign(3, body);
    let place = world.place();
    let made = world
        .ledger
        .propose(&world.tip, &place, std::slice::from_ref(&tx), &[], 1 << 20);
    let mut block = made.unwrap().block;
    assert_eq!(block.body.txs.len(), 0, "a proposer leaves it out");
    block.body.txs.push(tx.bytes().to_vec());
    match world.ledger.execute(&world.tip, &place, &block) {
        Err(BlockError::Unfit(0, why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_stand_in_a_block_is_named() {
    let world = World::new(Params::default());
    assert_eq!(unfit(&world, |b| b.chain_id = 1), Unfit::Chain(1));
    let nonce = Unfit::Nonce { got: 1, next: 0 };
    assert_eq!(unfit(&world, |b| b.nonce = 1), nonce);
    assert!(matches!(
        unfit(&world, |b| b.gas_limit = 20_999),
        Unfit::Gas { .. }
    ));
    assert!(matches!(
        unfit(&world, |b| b.gas_limit = u64::MAX),
        Unfit::Gas { .. }
    ));
    assert!(matches!(
        unfit(&world, |b| b.value = RICH),
        Unfit::Funds { .. }
    ));
    assert!(matches!(
        unfit(&world, |b| b.value = Amount(u128::MAX)),
        Unfit::Funds { .. }
    ));
    let cheap = |b: &mut Unsigned| b.pricing = Pricing::Legacy { gas_price: 1 };
    assert!(matches!(unfit(&world, cheap), Unfit::Fee(_)));
}

#[test]
fn every_lie_in_a_header_is_refused() {
    let mut world = World::new(Params::default());
    let tx = send(&world, 3, address(4), Amount::nes(1));
    let place = world.place();
    let parent = world.tip.clone();
    let block = world.block(&[tx], &[]).block;
    let bytes = block.header.to_bytes();
    for at in 0..bytes.len() {
        let mut lie = bytes.clone();
        lie[at] ^= 1;
        let header = crate::Header::from_bytes(&lie).unwrap();
        let lie = Block {
            header,
            body: block.body.clone(),
        };
        let refused = world.ledger.execute(&parent, &place, &lie);
        assert!(matches!(refused, Err(BlockError::Header(_))), "byte {at}");
    }
}

#[test]
fn a_block_stands_where_the_order_says_and_nowhere_else() {
    let world = World::new(Params::default());
    let (place, tip) = (world.place(), &world.tip);
    let refuse = |place: &Place| {
        let refused = world.ledger.propose(tip, place, &[], &[], 1 << 10);
        matches!(refused, Err(BlockError::Place))
    };
    assert!(refuse(&Place { height: 2, ..place }));
    assert!(refuse(&Place { height: 0, ..place }));
    let timestamp_ms = tip.header.timestamp_ms;
    assert!(refuse(&Place {
        timestamp_ms,
        ..place
    }));
    let made = world
        .ledger
        .propose(tip, &place, &[], &[], 1 << 10)
        .unwrap();
    let proposer = validator(1);
    let other = Place { proposer, ..place };
    let refused = world.ledger.execute(tip, &other, &made.block);
    assert_eq!(refused.err(), Some(BlockError::Header("proposer")));
}

#[test]
fn a_body_stays_within_its_bound_and_gas() {
    let world = World::new(Params {
        gas_limit: 1_000_000,
        ..Params::default()
    });
    let txs: Vec<_> = (0..60)
        .map(|n| {
            let body = Unsigned {
                nonce: n,
                gas_limit: 21_000,
                ..world.body(3)
            };
            sign(3, body)
        })
        .collect();
    let made = world
        .ledger
        .propose(&world.tip, &world.place(), &txs, &[], 1 << 20);
    let made = made.unwrap();
    assert_eq!(made.block.body.txs.len(), 47, "1,000,000 / 21,000");
    let small = world
        .ledger
        .propose(&world.tip, &world.place(), &txs, &[], 500)
        .unwrap();
    assert!(small.block.body.to_bytes().len() <= 500);
    assert!(!small.block.body.txs.is_empty());
}

#[test]
fn a_light_client_believes_a_receipt_by_its_path() {
    let mut world = World::new(Params::default());
    let txs: Vec<_> = (3..7)
        .map(|i| send(&world, i, address(0), Amount(1)))
        .collect();
    let done = world.block(&txs, &[]);
    for i in 0..done.receipts.len() {
        let proof = ReceiptProof::of(&done.receipts, i).unwrap();
        let proof = ReceiptProof::from_bytes(&proof.to_bytes()).unwrap();
        assert!(proof.verify(&done.block.header));
        let mut lie = proof.clone();
        lie.receipt.gas_used += 1;
        assert!(!lie.verify(&done.block.header));
        let mut lie = proof;
        lie.index ^= 1;
        assert!(!lie.verify(&done.block.header));
    }
    assert!(ReceiptProof::of(&done.receipts, done.receipts.len()).is_none());
    let row = done.state.get(&crate::account::ACCOUNTS.key(&address(3)));
    let proof = crate::query::account_proof(&done.state, &address(3));
    let key = crate::account::ACCOUNTS.key(&address(3));
    assert!(proof.verify(&done.block.header.state_root, &key, row));
}

#[test]
fn replay_and_a_snapshot_give_the_same_root() {
    let mut world = World::new(Params::default());
    let mut blocks = Vec::new();
    for i in 0..5u8 {
        let tx = send(&world, 3 + i % 3, address(i), Amount(u128::from(i) + 1));
        let place = world.place();
        blocks.push((place, world.block(&[tx], &[]).block));
    }
    let ledger = Ledger::new(&genesis(Params::default()), NoContracts).unwrap();
    let mut tip = ledger.genesis().clone();
    for (place, block) in &blocks {
        let block = Block::from_bytes(&block.to_bytes()).unwrap();
        let done = ledger.execute(&tip, place, &block).unwrap();
        tip = Committed {
            header: done.block.header,
            state: done.state,
        };
    }
    assert_eq!(tip.header, world.tip.header);
    let all = tip
        .state
        .entries(None)
        .map(|(k, v)| (k.to_vec(), v.to_vec()));
    let synced: State = all.collect();
    assert_eq!(synced.root(), world.tip.header.state_root);
    let tx = send(&world, 3, address(0), Amount(1));
    let (place, synced) = (
        world.place(),
        Committed {
            header: tip.header,
            state: synced,
        },
    );
    let block = world.block(&[tx], &[]).block;
    assert!(world.ledger.execute(&synced, &place, &block).is_ok());
}

#[test]
fn genesis_is_bounded_and_the_chain_bound_to_it() {
    let good = genesis(Params::default());
    assert_eq!(Genesis::from_bytes(&good.to_bytes()), Ok(good.clone()));
    let root = |g: &Genesis| g.build().map(|b| b.0.digest());
    let first = root(&good).unwrap();
    let other = |change: &dyn Fn(&mut Genesis)| {
        let mut g = good.clone();
        change(&mut g);
        root(&g)
    };
    assert_ne!(other(&|g| g.chain_id = CHAIN + 1), Ok(first));
    assert!(other(&|g| g.chain_id = 0).is_err());
    assert!(other(&|g| g.validators.clear()).is_err());
    assert!(other(&|g| g.validators.reverse()).is_err());
    assert!(other(&|g| g.allocations.reverse()).is_err());
    assert!(other(&|g| g.allocations[0].1 = Amount(u128::MAX)).is_err());
    assert!(
        other(&|g| g.allocations[0].1 = Amount::nes(2_000_000_000)).is_err(),
        "the cap"
    );
    assert!(other(&|g| g.validators[0].bond = Amount::nes(2_000_000)).is_err());
    assert!(other(&|g| g.validators[0].bond = Amount::nes(1)).is_err());
    assert!(other(&|g| g.params.slash_burn_ppm = 0).is_err());
}

#[test]
fn bytes_of_blocks_are_bounded() {
    let block = Block {
        header: World::new(Params::default()).tip.header,
        body: Body {
            txs: vec![vec![1; 3], vec![]],
            evidence: vec![vec![7]],
        },
    };
    let bytes = block.to_bytes();
    assert_eq!(Block::from_bytes(&bytes), Ok(block));
    for at in 0..bytes.len() {
        assert!(Block::from_bytes(&bytes[..at]).is_err());
    }
    let mut many = Vec::new();
    many.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(Body::from_bytes(&many).is_err());
    let _ = Digest::default();
}

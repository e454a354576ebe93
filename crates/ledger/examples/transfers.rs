//! How many signed transfers one core executes: `cargo run --release -p nesa-ledger --example transfers`.

use std::time::Instant;

use k256::ecdsa::SigningKey;
use nesa_ledger::tx::{Pricing, Tx, Unsigned};
use nesa_ledger::vm::NoContracts;
use nesa_ledger::{Address, Amount, Genesis, GenesisValidator, Ledger, Params, Place};

const SENDERS: u16 = 1_000;
const CHAIN: u64 = 1;

fn key(i: u16) -> SigningKey {
    let mut bytes = [1; 32];
    bytes[..2].copy_from_slice(&i.to_be_bytes());
    SigningKey::from_slice(&bytes).expect("a scalar")
}

fn address(i: u16) -> Address {
    alloy_primitives::Address::from_public_key(key(i).verifying_key()).into()
}

fn signed(i: u16) -> Tx {
    let body = Unsigned {
        chain_id: CHAIN,
        nonce: 0,
        pricing: Pricing::Legacy {
            gas_price: 1_000_000_000,
        },
        gas_limit: 21_000,
        to: Some(address((i + 1) % SENDERS)),
        value: Amount(5),
        input: Vec::new(),
        access_list: Vec::new(),
    };
    let (s, id) = key(i)
        .sign_prehash_recoverable(&body.signing_hash())
        .expect("it signs");
    let (r, s) = (s.r().to_bytes().into(), s.s().to_bytes().into());
    body.signed(r, s, id.is_y_odd()).expect("it is valid")
}

fn main() {
    let owner = Address([1; 20]);
    let mut allocations: Vec<_> = (0..SENDERS)
        .map(|i| (address(i), Amount::nes(10)))
        .collect();
    allocations.push((owner, Amount::nes(5_000)));
    allocations.sort();
    let genesis = Genesis {
        chain_id: CHAIN,
        time_ms: 0,
        params: Params::default(),
        allocations,
        treasury: Amount::ZERO,
        validators: vec![GenesisValidator {
            key: [2; 32],
            owner,
            bond: Amount::nes(2_000),
            commission_ppm: 0,
        }],
    };
    let ledger = Ledger::new(&genesis, NoContracts).expect("a genesis");
    let txs: Vec<_> = (0..SENDERS).map(signed).collect();
    let place = Place {
        height: 1,
        timestamp_ms: 1_000,
        proposer: [2; 32],
        parent: ledger.genesis().header.digest(),
    };
    let start = Instant::now();
    let made = ledger
        .propose(ledger.genesis(), &place, &txs, &[], 1 << 20)
        .expect("a block");
    let proposed = start.elapsed();
    assert_eq!(made.receipts.len(), usize::from(SENDERS));
    let start = Instant::now();
    ledger
        .execute(ledger.genesis(), &place, &made.block)
        .expect("the same block");
    let executed = start.elapsed();
    let rate = |t: std::time::Duration| f64::from(SENDERS) / t.as_secs_f64();
    println!(
        "{SENDERS} transfers: proposed at {:.0}/s (signatures known), executed at {:.0}/s (with signatures), one core",
        rate(proposed),
        rate(executed)
    );
}

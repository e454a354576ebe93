//! Sessions on a chain of their own: every transaction, every refusal, and random sequences.

mod channel;
mod random;
mod voucher;

use alloy_primitives::{B256, U256};
use ed25519_dalek::{Signer as _, SigningKey};
use nesa_codec::{Digest, Encode as _};

use super::abi::ISessions::{openCall, settleCall};
use super::{ADDRESS, Chain, Claim, SignedVoucher, Voucher, commit_payee, escrow, find};
use crate::models::abi::IModels::registerCall;
use crate::testing::{CHAIN, World, address};
use crate::{Address, Amount, Params, Receipt, supply};

/// The price per unit of work in tests.
const PRICE: u128 = 3;

/// Short times, so that a test can wait for them.
fn params() -> Params {
    Params {
        session_deposit_min: Amount(1_000),
        session_grace_blocks: 3,
        session_blocks_max: 40,
        session_keep_blocks: 5,
        work_bucket: 4,
        ..Params::default()
    }
}

/// The publisher, and the royalty.
const PUBLISHER: u8 = 6;
const ROYALTY: u32 = 40_000;

/// A chain with the model that sessions here are about.
fn world() -> World {
    let mut world = World::new(params());
    let call = registerCall {
        model: [5; 32].into(),
        previous: [0; 32].into(),
        manifest: [6; 32].into(),
        shards: vec![[1; 32].into()],
        price: U256::from(2),
        royalty: ROYALTY,
        modes: 1,
        allowed: vec![],
    };
    let receipt = world.call(PUBLISHER, crate::models::ADDRESS, Amount::ZERO, &call);
    assert!(receipt.succeeded, "{}", receipt.reason);
    world
}

fn session_key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[50 + n; 32])
}

/// Where a lane of the n-th session is paid: nobody else's address.
fn payee(n: u8, lane: u8) -> Address {
    Address([
        n, lane, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    ])
}

fn salt(n: u8, lane: u8) -> Digest {
    Digest([n ^ lane.wrapping_mul(31); 32])
}

fn open(n: u8, expiry: u64, shares: &[u32]) -> openCall {
    let commit = |lane| B256::from(commit_payee(&payee(n, lane), &salt(n, lane)).0);
    openCall {
        key: session_key(n).verifying_key().to_bytes().into(),
        model: [5; 32].into(),
        price: U256::from(PRICE),
        expiry,
        payees: (0..shares.len() as u8).map(commit).collect(),
        shares: shares.to_vec(),
    }
}

fn opened(world: &mut World, who: u8, n: u8, sum: u128, expiry: u64, shares: &[u32]) -> Digest {
    let id = super::next_session_id(&world.tip.state, world.ledger.domain(), &address(who));
    let call = open(n, expiry, shares);
    let receipt = world.call(who, ADDRESS, Amount(sum), &call);
    assert!(receipt.succeeded, "{}", receipt.reason);
    id.unwrap()
}

fn chain(world: &World) -> Chain {
    Chain {
        id: CHAIN,
        domain: *world.ledger.domain(),
    }
}

fn voucher(session: Digest, lane: u8, sequence: u64, work: u64) -> Voucher {
    Voucher {
        session,
        lane,
        sequence,
        work,
        amount: Amount(u128::from(work) * PRICE),
        transcript: Digest([sequence as u8; 32]),
        last: false,
    }
}

fn sign(chain: &Chain, n: u8, voucher: Voucher) -> SignedVoucher {
    let signature = session_key(n).sign(&voucher.digest(chain).0).to_bytes();
    SignedVoucher { voucher, signature }
}

fn claim(chain: &Chain, n: u8, voucher: Voucher) -> Claim {
    Claim {
        signed: sign(chain, n, voucher),
        payee: payee(n, voucher.lane),
        salt: salt(n, voucher.lane),
    }
}

fn settle(world: &mut World, claim: &Claim) -> Receipt {
    let claim = claim.to_bytes().into();
    world.call(4, ADDRESS, Amount::ZERO, &settleCall { claim })
}

fn held(world: &World, session: &Digest) -> Amount {
    supply::held(&world.tip.state, &escrow(session)).unwrap()
}

fn balance(world: &World, who: Address) -> Amount {
    crate::query::account(&world.tip.state, &who)
        .unwrap()
        .balance
}

fn stage(world: &World, session: &Digest) -> Option<super::Stage> {
    find(&world.tip.state, session).unwrap().map(|s| s.0.stage)
}

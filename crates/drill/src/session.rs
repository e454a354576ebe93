//! What a session costs the chain: 10,000 tokens, a voucher for every 16, and the transactions that remain.

use alloy_primitives::{B256, U256};
use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::{Signer as _, SigningKey};
use nesa_codec::{Digest, Encode as _};
use nesa_ledger::models::{self, abi::IModels::registerCall};
use nesa_ledger::sessions::abi::ISessions::{openCall, settleCall};
use nesa_ledger::sessions::{self, Chain, Claim, Rates, SignedVoucher, Stage, Voucher, bucketed};
use nesa_ledger::{Amount, Params};
use serde_json::{Value, json};

use crate::keys;
use crate::world::World;

/// Tokens of the answer.
const TOKENS: u64 = 10_000;
/// Tokens that a provider gives before it wants the next voucher.
const CHUNK: u64 = 16;
/// Layers of the model: a token's work.
const LAYERS: u64 = 30;
/// Units of money per unit of work.
const PRICE: Amount = Amount(1_000_000_000);
const CLIENT: u32 = 0;
const PROVIDER: u32 = 1;
const PUBLISHER: u32 = 2;

/// Runs one session on a ledger and counts what the ledger was sent for it.
pub(crate) fn run() -> Result<Value> {
    let params = Params::default();
    let mut w = World::new(params.clone(), 3)?;
    publish(&mut w)?;
    let before = w.balance(PROVIDER)?;
    let (key, salt) = (keys::ed25519("session", 0), keys::salt(0));
    let id = sessions::next_session_id(&w.tip.state, w.ledger.domain(), &w.address(CLIENT))?;
    let open = openCall {
        key: key.verifying_key().to_bytes().into(),
        model: [5; 32].into(),
        price: PRICE.to_u256(),
        expiry: w.next_height() + params.session_grace_blocks + 10,
        payees: vec![B256::from(
            sessions::commit_payee(&w.address(PROVIDER), &salt).0,
        )],
        shares: vec![1_000_000],
    };
    let mut receipts = vec![w.call(CLIENT, sessions::ADDRESS, Amount::nes(1), &open)?];
    let (signed, vouchers) = served(&w, &id, &key)?;
    let payee = w.address(PROVIDER);
    let claim = Claim {
        signed,
        payee,
        salt,
    };
    let settle = settleCall {
        claim: claim.to_bytes().into(),
    };
    receipts.push(w.call(PROVIDER, sessions::ADDRESS, Amount::ZERO, &settle)?);
    let fees: u128 = receipts
        .iter()
        .map(|r| r.gas_price * u128::from(r.gas_used))
        .sum();
    let own_fee = receipts[1].gas_price * u128::from(receipts[1].gas_used);
    let amount = signed.voucher.amount;
    let due = amount.ppm(Rates::of(&params).worker());
    let earned = w
        .balance(PROVIDER)?
        .plus(Amount(own_fee))
        .and_then(|b| b.minus(before));
    ensure!(
        earned == Some(due),
        "the provider earned {earned:?}, not {due}"
    );
    let stage = sessions::find(&w.tip.state, &id)?.map(|s| s.0.stage);
    ensure!(stage == Some(Stage::Closed), "the session is {stage:?}");
    w.recount()?;
    Ok(json!({
        "tokens": TOKENS,
        "vouchers_off_the_chain": vouchers,
        "transactions": receipts.len(),
        "paid": amount.decimal(),
        "to_the_provider": due.decimal(),
        "transaction_fees": Amount(fees).decimal(),
        "gas": receipts.iter().map(|r| r.gas_used).sum::<u64>(),
    }))
}

/// Off the chain: the client pays as it is served, and the provider checks every voucher as the ledger would. The last
/// voucher, and how many there were.
fn served(w: &World, id: &Digest, key: &SigningKey) -> Result<(SignedVoucher, u64)> {
    let terms = sessions::lane_terms(&w.tip.state, id, 0)?.context("no lane")?;
    let chain = Chain {
        id: w.ledger.chain_id(),
        domain: *w.ledger.domain(),
    };
    let mut last: Option<SignedVoucher> = None;
    let mut vouchers = 0;
    for tokens in (CHUNK..=TOKENS).step_by(CHUNK as usize) {
        let work = bucketed(tokens * LAYERS, terms.bucket).context("too much work")?;
        let voucher = Voucher {
            session: *id,
            lane: 0,
            sequence: vouchers + 1,
            work,
            amount: PRICE.times(work.into()).context("too much")?,
            transcript: Digest([9; 32]),
            last: tokens == TOKENS,
        };
        let signature = key.sign(&voucher.digest(&chain).0).to_bytes();
        let signed = SignedVoucher { voucher, signature };
        signed.verify(&chain, &terms, last.as_ref().map(|s| &s.voucher))?;
        last = Some(signed);
        vouchers += 1;
    }
    Ok((last.context("no voucher")?, vouchers))
}

/// The model that the session is about.
fn publish(w: &mut World) -> Result<()> {
    let model = registerCall {
        model: [5; 32].into(),
        previous: [0; 32].into(),
        manifest: [6; 32].into(),
        shards: vec![[1; 32].into()],
        price: U256::from(1),
        royalty: 0,
        modes: 1,
        allowed: vec![],
    };
    w.call(PUBLISHER, models::ADDRESS, Amount::ZERO, &model)?;
    Ok(())
}

//! `nesa stake`, `nesa unstake`, `nesa rewards`: bonds to validators.

use alloy_primitives::U256;
use nesa_ledger::Amount;
use nesa_ledger::staking::ADDRESS;
use nesa_ledger::staking::abi::IStaking::{delegateCall, undelegateCall, withdrawRewardsCall};
use serde_json::{Value, json};

use crate::signer::{Signer, nes, node_key, rows, text};
use crate::{Context, Failure};

/// Bond NES to a validator.
#[derive(Debug, clap::Args)]
pub(crate) struct Stake {
    /// The validator's key; without it, list validators
    #[arg(requires = "amount")]
    validator: Option<String>,
    /// NES
    amount: Option<String>,
    #[command(flatten)]
    signer: Signer,
}

/// Take NES back from a validator.
#[derive(Debug, clap::Args)]
pub(crate) struct Unstake {
    /// The validator's key
    validator: String,
    /// NES, or `all`
    amount: String,
    #[command(flatten)]
    signer: Signer,
}

/// What bonds earned.
#[derive(Debug, clap::Args)]
pub(crate) struct Rewards {
    /// Pay out what was earned at all validators
    #[arg(long)]
    withdraw: bool,
    #[command(flatten)]
    signer: Signer,
}

/// Runs `nesa stake`.
pub(crate) fn stake(s: &Stake, context: &Context) -> Result<(), Failure> {
    let (Some(validator), Some(amount)) = (&s.validator, &s.amount) else {
        let value = s.signer.endpoint.get("/v1/validators")?;
        let columns = [
            ("VALIDATOR", "validator"),
            ("STAKE", "stake"),
            ("COMMISSION PPM", "commission_ppm"),
            ("SEAT", "seat"),
        ];
        context
            .out
            .result(&value, || rows(&value["validators"], &columns));
        return Ok(());
    };
    let (key, sum) = (node_key(validator)?, nes(amount)?);
    let call = delegateCall {
        validator: key.into(),
    };
    let done = s.signer.call(context, ADDRESS, sum, &call)?;
    let value = json!({"validator": validator, "amount": sum.decimal(), "tx": done.hash, "block": done.block});
    context.out.result(&value, || {
        format!("bonded {sum} to {validator} in block {}", done.block)
    });
    Ok(())
}

/// Runs `nesa unstake`.
pub(crate) fn unstake(u: &Unstake, context: &Context) -> Result<(), Failure> {
    let amount = match u.amount.as_str() {
        "all" => U256::MAX,
        sum => nes(sum)?.to_u256(),
    };
    let call = undelegateCall {
        validator: node_key(&u.validator)?.into(),
        amount,
    };
    let done = u.signer.call(context, ADDRESS, Amount::ZERO, &call)?;
    let wait = u.signer.endpoint.get("/v1/params")?;
    let wait = wait.as_array().into_iter().flatten();
    let wait = wait.into_iter().find(|p| p["name"] == "unbonding_blocks");
    let wait: Option<u64> = wait.and_then(|p| p["value"].as_str()?.parse().ok());
    let arrives = wait.map(|blocks| done.block.saturating_add(blocks));
    let value = json!({
        "validator": u.validator, "amount": u.amount, "tx": done.hash, "block": done.block, "arrives": arrives,
    });
    context.out.result(&value, || {
        let arrives = arrives.map_or_else(|| "later".to_owned(), |b| format!("in block {b}"));
        format!("on its way; it arrives by itself {arrives}")
    });
    Ok(())
}

/// Runs `nesa rewards`.
pub(crate) fn rewards(r: &Rewards, context: &Context) -> Result<(), Failure> {
    let who = r.signer.address(context)?;
    let mut value = r
        .signer
        .endpoint
        .get(&format!("/v1/accounts/{who}/bonds"))?;
    let bonds = value["bonds"].as_array().cloned().unwrap_or_default();
    let mut paid = Vec::new();
    for bond in bonds.iter().filter(|b| r.withdraw && b["rewards"] != "0") {
        let call = withdrawRewardsCall {
            validator: node_key(&text(&bond["validator"]))?.into(),
        };
        let done = r.signer.call(context, ADDRESS, Amount::ZERO, &call)?;
        paid.push(json!({"validator": bond["validator"], "tx": done.hash, "block": done.block}));
    }
    let count = paid.len();
    value["paid"] = Value::Array(paid);
    let columns = [
        ("VALIDATOR", "validator"),
        ("BONDED", "bonded"),
        ("REWARDS", "rewards"),
    ];
    context.out.result(&value, || {
        let told = match r.withdraw {
            true => format!("\npaid out at {count} validators"),
            false => String::new(),
        };
        format!("{}{told}", rows(&value["bonds"], &columns))
    });
    Ok(())
}

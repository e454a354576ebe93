//! One transaction: whether it can stand in a block, and what it does there.

use nesa_codec::Digest;

use crate::account::{account, count};
use crate::dispatch::{self, Action};
use crate::receipt::{Log, Receipt, reason};
use crate::state::{Overlay, Read, StateError};
use crate::supply::{self, Pot};
use crate::tx::{Fee, Tx, Unsigned, transfer};
use crate::vm::{Call, Contracts, Outcome};
use crate::{Address, Amount, Context, Env, Params, Refusal, staking};

/// Why a transaction cannot stand in a block. It has no effect and pays nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// For another chain.
    #[error("signed for chain {0}; sign for this one")]
    Chain(u64),
    /// Not the sender's next.
    #[error("nonce {got}, but the account's next is {next}")]
    Nonce {
        /// What it carries.
        got: u64,
        /// What would fit.
        next: u64,
    },
    /// It offers less than the base fee.
    #[error("the base fee is {0} units per gas; offer more")]
    Fee(u64),
    /// The gas limit is below the envelope's own, or above what is left in the block.
    #[error("the gas limit must be from {least} to {most}")]
    Gas {
        /// The envelope's own gas.
        least: u64,
        /// What is left.
        most: u64,
    },
    /// The sender cannot pay for the worst case.
    #[error("the account holds {held}, but value and gas may cost {needed}")]
    Funds {
        /// The balance.
        held: Amount,
        /// The most it may cost; the maximum where that is beyond 2^128.
        needed: Amount,
    },
    /// Contracts do not sign (EIP-3607).
    #[error("the sender is a contract")]
    Code,
}

/// Whether a transaction can stand in the block, `room` being the gas left in it, and at which fee.
///
/// # Errors
/// [`StateError`] on foreign bytes; the inner [`Unfit`] otherwise.
pub fn check(
    state: &impl Read,
    env: &Env,
    room: u64,
    tx: &Tx,
) -> Result<Result<Fee, Unfit>, StateError> {
    let next = account(state, &tx.sender())?.nonce;
    let got = tx.body().nonce;
    if got != next {
        return Ok(Err(Unfit::Nonce { got, next }));
    }
    check_any_nonce(state, env, room, tx)
}

/// As [`check`], whatever the nonce: what a pool asks about transactions that wait for others.
///
/// # Errors
/// As [`check`].
pub fn check_any_nonce(
    state: &impl Read,
    env: &Env,
    room: u64,
    tx: &Tx,
) -> Result<Result<Fee, Unfit>, StateError> {
    let body = tx.body();
    let account = account(state, &tx.sender())?;
    let next = account.nonce;
    if body.chain_id != env.chain_id {
        return Ok(Err(Unfit::Chain(body.chain_id)));
    }
    // The last nonce stays unused, or it could never be counted (EIP-2681).
    if body.nonce < next || body.nonce == u64::MAX {
        let got = body.nonce;
        return Ok(Err(Unfit::Nonce { got, next }));
    }
    let Some(fee) = body.fee_at(env.base_fee) else {
        return Ok(Err(Unfit::Fee(env.base_fee)));
    };
    let least = body.intrinsic_gas();
    if body.gas_limit < least || body.gas_limit > room {
        let most = room;
        return Ok(Err(Unfit::Gas { least, most }));
    }
    let gas = Amount(body.max_fee()).times(u128::from(body.gas_limit));
    let needed = gas.and_then(|g| g.plus(body.value));
    let needed = needed.unwrap_or(Amount(u128::MAX));
    if needed > account.balance {
        let held = account.balance;
        return Ok(Err(Unfit::Funds { held, needed }));
    }
    if account.code.0 != [0; 32] {
        return Ok(Err(Unfit::Code));
    }
    Ok(Ok(fee))
}

/// What a transaction asks for, without its signature.
struct Message<'a> {
    sender: Address,
    body: &'a Unsigned,
    price: u128,
    hash: Digest,
}

/// Where a transaction runs.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) state: &'a mut Overlay,
    pub(crate) env: &'a Env,
    pub(crate) params: &'a Params,
}

impl Running<'_> {
    /// Runs a transaction that [`check`] found fit. Fee and nonce stay whatever becomes of it.
    ///
    /// # Errors
    /// Fatal refusals.
    pub(crate) fn run(
        &mut self,
        tx: &Tx,
        fee: Fee,
        contracts: &impl Contracts,
    ) -> Result<Receipt, Refusal> {
        let (body, sender) = (tx.body(), tx.sender());
        let locked = price(fee.price, body.gas_limit)?;
        supply::move_(self.state, &Pot::Account(sender), &Pot::FEES, locked)?;
        count(self.state, &sender)?;
        let mark = self.state.begin();
        let mut logs = Vec::new();
        let message = Message {
            sender,
            body,
            price: fee.price,
            hash: tx.hash(),
        };
        let outcome = self.effects(&message, contracts, &mut logs)?;
        if outcome.failed.is_some() {
            self.state.revert(mark);
            logs.clear();
        }
        let gas_used = outcome.gas_used.min(body.gas_limit);
        self.settle(&sender, fee, gas_used)?;
        let failed = outcome.failed.map(|r| reason(&r.to_string()));
        Ok(Receipt {
            tx: tx.hash(),
            sender,
            succeeded: failed.is_none(),
            gas_used,
            gas_price: fee.price,
            created: outcome.created.filter(|_| failed.is_none()),
            logs,
            reason: failed.unwrap_or_default(),
        })
    }

    /// What a message would do if it were sent for nothing, its gas counted from zero.
    ///
    /// # Errors
    /// Fatal refusals.
    pub(crate) fn simulate(
        &mut self,
        sender: Address,
        body: &Unsigned,
        contracts: &impl Contracts,
    ) -> Result<Outcome, Refusal> {
        count(self.state, &sender)?;
        let message = Message {
            sender,
            body,
            price: u128::from(self.env.base_fee),
            hash: Digest::default(),
        };
        self.effects(&message, contracts, &mut Vec::new())
    }

    /// The call, its gas counted from zero.
    fn effects(
        &mut self,
        message: &Message<'_>,
        contracts: &impl Contracts,
        logs: &mut Vec<Log>,
    ) -> Result<Outcome, Refusal> {
        let (body, sender) = (message.body, message.sender);
        let spent = body.intrinsic_gas();
        let mut ctx = Context {
            state: self.state,
            env: self.env,
            params: self.params,
            caller: sender,
            module: body.to.unwrap_or_default(),
            value: body.value,
            logs,
        };
        let native = body.to.and_then(|to| Action::decode(&to, &body.input));
        let done = if let Some(action) = native {
            run_native(&mut ctx, action, spent, body.gas_limit)
        } else {
            let to = body.to.filter(|to| !has_code(&*ctx.state, to));
            match to {
                Some(to) => transfer::apply(ctx.state, &sender, &to, body.value)
                    .map(|()| Outcome::of_gas(spent))
                    .map_err(Refusal::from),
                None => {
                    let call = Call {
                        to: body.to,
                        input: &body.input,
                        gas: body.gas_limit.saturating_sub(spent),
                        spent,
                        gas_price: message.price,
                        nonce: body.nonce,
                        access_list: &body.access_list,
                        tx: message.hash,
                    };
                    let outcome = contracts.call(&mut ctx, &call);
                    outcome.map(|o| Outcome {
                        gas_used: o.gas_used.saturating_add(spent),
                        ..o
                    })
                }
            }
        };
        match done {
            Err(refusal) if refusal.is_fatal() => Err(refusal),
            Err(refusal) => Ok(Outcome {
                gas_used: body.gas_limit,
                failed: Some(refusal),
                ..Outcome::default()
            }),
            Ok(outcome) => match outcome.failed {
                Some(refusal) if refusal.is_fatal() => Err(refusal),
                _ => Ok(outcome),
            },
        }
    }

    /// Gives back what was not used, burns the base fee, tips the proposer.
    fn settle(&mut self, sender: &Address, fee: Fee, gas: u64) -> Result<(), Refusal> {
        let tip = price(fee.tip, gas)?;
        let burned = price(fee.price - fee.tip, gas)?;
        let tips = staking::tip_pot(&*self.state, &self.env.proposer)?;
        supply::move_(self.state, &Pot::FEES, &tips, tip)?;
        supply::move_(self.state, &Pot::FEES, &Pot::BURNED, burned)?;
        let left = supply::held(&*self.state, &Pot::FEES)?;
        let back = Pot::Account(*sender);
        Ok(supply::move_(self.state, &Pot::FEES, &back, left)?)
    }
}

impl Outcome {
    fn of_gas(gas_used: u64) -> Self {
        Self {
            gas_used,
            ..Self::default()
        }
    }
}

fn has_code(state: &impl Read, to: &Address) -> bool {
    account(state, to).is_ok_and(|a| a.code.0 != [0; 32])
}

fn price(per_gas: u128, gas: u64) -> Result<Amount, Refusal> {
    let sum = Amount(per_gas).times(u128::from(gas));
    Ok(sum.ok_or(supply::SupplyError::Overflow)?)
}

/// A native action at its fixed gas; a refused one pays for it too.
fn run_native(
    ctx: &mut Context<'_>,
    action: Result<Action, Refusal>,
    spent: u64,
    limit: u64,
) -> Result<Outcome, Refusal> {
    let action = match action {
        Ok(action) => action,
        Err(refusal) => {
            return Ok(Outcome {
                failed: Some(refusal),
                ..Outcome::of_gas(spent)
            });
        }
    };
    let needed = spent.saturating_add(action.gas());
    if needed > limit {
        return Err(Refusal::Gas { needed, limit });
    }
    match dispatch::apply(ctx, action) {
        Ok(output) => Ok(Outcome {
            output,
            ..Outcome::of_gas(needed)
        }),
        Err(refusal) => Ok(Outcome {
            failed: Some(refusal),
            ..Outcome::of_gas(needed)
        }),
    }
}

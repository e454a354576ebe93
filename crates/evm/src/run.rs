//! One call or creation from the ledger's side.

use nesa_ledger::receipt::{DATA_MAX, LOGS_MAX};
use nesa_ledger::state::StateError;
use nesa_ledger::tx::AccessList;
use nesa_ledger::vm::{Call, Outcome};
use nesa_ledger::{Address, Amount, Context, Env, Log, Params, Refusal, tables};
use revm::context::result::EVMError;
use revm::context::{BlockEnv, CfgEnv, Evm as Revm, TxEnv};
use revm::context_interface::JournalTr as _;
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::context_interface::transaction::{AccessListItem, TransactionType};
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, FrameResult, Handler as _, MainnetHandler};
use revm::interpreter::GasTracker;
use revm::interpreter::interpreter::EthInterpreter;
use revm::primitives::{Address as RevmAddress, TxKind, U256};

use crate::db::{Broken, Db};
use crate::journal::{Steps, ledger_log};
use crate::modules::{Ctx, Modules};
use crate::{FORK, INIT_CODE_MAX, commit, words};

type Machine<'a> =
    Revm<Ctx<'a>, (), EthInstructions<EthInterpreter, Ctx<'a>>, Modules, EthFrame<EthInterpreter>>;
type Handler<'a> = MainnetHandler<Machine<'a>, EVMError<Broken>, EthFrame<EthInterpreter>>;

/// The largest part of used gas that is refunded, as a divisor (EIP-3529).
const REFUND_QUOTIENT: u64 = 5;

/// What enters the EVM.
pub(crate) struct Entry<'a> {
    pub(crate) caller: Address,
    pub(crate) to: Option<Address>,
    pub(crate) value: Amount,
    pub(crate) input: &'a [u8],
    pub(crate) gas: u64,
    pub(crate) gas_price: u128,
    pub(crate) nonce: u64,
    pub(crate) access_list: &'a AccessList,
}

/// What came out: gas that is left, what may be refunded, and how it ended.
pub(crate) struct Exit {
    pub(crate) left: u64,
    pub(crate) refund: u64,
    pub(crate) created: Option<Address>,
    pub(crate) output: Vec<u8>,
    pub(crate) failed: Option<Refusal>,
}

/// A transaction's call.
pub(crate) fn call(ctx: &mut Context<'_>, call: &Call<'_>) -> Result<Outcome, Refusal> {
    if call.to.is_none() && call.input.len() > INIT_CODE_MAX {
        let why = format!("init code has at most {INIT_CODE_MAX} bytes");
        return Err(Refusal::Reverted(why));
    }
    let entry = Entry {
        caller: ctx.caller,
        to: call.to,
        value: ctx.value,
        input: call.input,
        gas: call.gas,
        gas_price: call.gas_price,
        nonce: call.nonce,
        access_list: call.access_list,
    };
    let exit = enter(ctx, &entry, LOGS_MAX)?;
    let used = call.gas.saturating_sub(exit.left);
    let cap = used.saturating_add(call.spent) / REFUND_QUOTIENT;
    Ok(Outcome {
        gas_used: used.saturating_sub(exit.refund.min(cap)),
        created: exit.created,
        output: exit.output,
        failed: exit.failed,
    })
}

/// Runs it. What it did is in the state unless [`Exit::failed`] says why not; `logs` bounds those
/// of the whole receipt.
///
/// # Errors
/// Fatal refusals only.
pub(crate) fn enter(
    ctx: &mut Context<'_>,
    entry: &Entry<'_>,
    logs: usize,
) -> Result<Exit, Refusal> {
    let mark = ctx.state.begin();
    let db = Db {
        state: &mut *ctx.state,
        env: ctx.env,
        params: ctx.params,
        broken: None,
    };
    let (mut exit, told) = run(db, entry)?;
    let fits = ctx.logs.len() + told.len() <= logs;
    if exit.failed.is_none() && !(fits && told.iter().all(|l| l.data.len() <= DATA_MAX)) {
        exit.failed = Some(Refusal::Logs);
        exit.left = 0;
    }
    if exit.failed.is_some() {
        ctx.state.revert(mark);
        exit.refund = 0;
        exit.created = None;
    } else {
        ctx.logs.extend(told);
    }
    Ok(exit)
}

fn run(db: Db<'_>, entry: &Entry<'_>) -> Result<(Exit, Vec<Log>), Refusal> {
    let (env, params) = (db.env, db.params);
    let mut context: Ctx<'_> = revm::Context::new(db, FORK);
    context.cfg = CfgEnv::new_with_spec(FORK).with_chain_id(env.chain_id);
    context.block = block(env, params);
    context.tx = tx(env, entry);
    let instructions = EthInstructions::new_mainnet_with_spec(FORK);
    let mut machine: Machine<'_> = Revm::new(context, instructions, Modules::new());
    let frame = execute(&mut machine, entry);
    let steps = machine.ctx.journaled_state;
    let frame = match (frame, &steps.inner.database.broken) {
        (_, Some(broken)) => return Err(broken.clone()),
        (Err(fatal), None) => return Err(fatal),
        (Ok(frame), None) => frame,
    };
    finish(steps, frame)
}

/// The first frame and all below it.
fn execute(machine: &mut Machine<'_>, entry: &Entry<'_>) -> Result<FrameResult, Refusal> {
    let mut handler = Handler::default();
    handler.load_accounts(machine).map_err(fatal)?;
    let journal = &mut machine.ctx.journaled_state;
    journal.load_account(entry.caller.into()).map_err(|e| e.0)?;
    if entry.to.is_none()
        && let Some(caller) = journal
            .inner
            .state
            .get_mut(&RevmAddress::from(entry.caller))
    {
        // The ledger counted already; a creation counts by itself, after it made the address.
        caller.info.nonce = entry.nonce;
    }
    let checkpoint = journal.checkpoint();
    let mut gas = GasTracker::new(entry.gas, entry.gas, 0);
    let done = handler.execution(machine, checkpoint, &mut gas);
    done.map_err(fatal)?.ok_or_else(unreadable)
}

fn finish(mut steps: Steps<'_>, frame: FrameResult) -> Result<(Exit, Vec<Log>), Refusal> {
    let result = frame.instruction_result();
    let gas = *frame.gas();
    let created = match &frame {
        FrameResult::Create(made) => made.address.map(Address::from),
        FrameResult::Call(_) => None,
    };
    let output = frame.into_interpreter_result().output;
    let ok = result.is_ok();
    let exit = Exit {
        left: gas.remaining(),
        refund: u64::try_from(gas.refunded()).unwrap_or(0),
        created,
        failed: (!ok).then(|| words::refusal(result, &output)),
        output: output.to_vec(),
    };
    if !ok {
        return Ok((exit, Vec::new()));
    }
    let logs = steps.take_logs().iter().map(ledger_log).collect();
    commit::apply(steps)?;
    Ok((exit, logs))
}

fn fatal(e: EVMError<Broken>) -> Refusal {
    match e {
        EVMError::Database(Broken(refusal)) => refusal,
        _ => unreadable(),
    }
}

/// revm ended in a way that it has no words for: nothing may be built on it.
fn unreadable() -> Refusal {
    let table = tables::CODE;
    StateError::Corrupt { table }.into()
}

fn block(env: &Env, params: &Params) -> BlockEnv {
    let mut beneficiary = [0; 20];
    beneficiary.copy_from_slice(&env.proposer[12..]);
    BlockEnv {
        number: U256::from(env.height),
        beneficiary: beneficiary.into(),
        timestamp: U256::from(env.timestamp_ms / 1_000),
        gas_limit: params.gas_limit,
        basefee: env.base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(env.beacon.0.into()),
        // No blobs exist here; their fee is the least.
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice {
            excess_blob_gas: 0,
            blob_gasprice: 1,
        }),
        slot_num: 0,
    }
}

fn tx(env: &Env, entry: &Entry<'_>) -> TxEnv {
    let items = entry.access_list.iter().map(|item| AccessListItem {
        address: item.address.into(),
        storage_keys: item.slots.iter().map(|s| (*s).into()).collect(),
    });
    TxEnv {
        tx_type: TransactionType::Eip2930 as u8,
        caller: entry.caller.into(),
        gas_limit: entry.gas,
        gas_price: entry.gas_price,
        kind: entry
            .to
            .map_or(TxKind::Create, |to| TxKind::Call(to.into())),
        value: U256::from(entry.value.0),
        data: entry.input.to_vec().into(),
        nonce: entry.nonce,
        chain_id: Some(env.chain_id),
        access_list: items.collect::<Vec<_>>().into(),
        ..TxEnv::default()
    }
}

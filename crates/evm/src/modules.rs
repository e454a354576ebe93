//! The ledger's modules as precompiled contracts, beside Ethereum's own.

use nesa_ledger::dispatch::{self, Action, is_module};
use nesa_ledger::{Address, Refusal};
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::handler::{EthPrecompiles, PrecompileProvider};
use revm::interpreter::{CallInputs, CallScheme, Gas, InstructionResult, InterpreterResult};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{AddressSet, Bytes};

use crate::db::Db;
use crate::journal::{ModuleCall, Steps};
use crate::{FORK, words};

/// Gas of any call to a module, and of every byte of its arguments, before they are read: decoding
/// is work too, and a contract pays for its memory only once.
const CALL_GAS: u64 = 1_000;
const BYTE_GAS: u64 = 8;

/// What revm runs in.
pub(crate) type Ctx<'a> = revm::Context<BlockEnv, TxEnv, CfgEnv, Db<'a>, Steps<'a>, ()>;

/// Which addresses answer without code.
#[derive(Debug)]
pub(crate) struct Modules {
    ethereum: EthPrecompiles,
    all: AddressSet,
}

impl Modules {
    pub(crate) fn new() -> Self {
        let ethereum = EthPrecompiles::new(FORK);
        let mut all = ethereum.warm_addresses().clone();
        all.extend(
            dispatch::modules()
                .into_iter()
                .map(revm::primitives::Address::from),
        );
        Self { ethereum, all }
    }
}

impl<'a> PrecompileProvider<Ctx<'a>> for Modules {
    type Output = InterpreterResult;

    fn set_spec(&mut self, _: SpecId) -> bool {
        false
    }

    fn run(
        &mut self,
        context: &mut Ctx<'a>,
        inputs: &CallInputs,
    ) -> Result<Option<InterpreterResult>, String> {
        if is_module(&inputs.bytecode_address.into()) {
            return call(context, inputs).map(Some).map_err(|fatal| {
                let text = fatal.to_string();
                context.journaled_state.db().breaks(fatal);
                text
            });
        }
        self.ethereum.run(context, inputs)
    }

    fn warm_addresses(&self) -> &AddressSet {
        &self.all
    }
}

/// A call to a module: its fixed gas, and whatever it says. The error is fatal.
fn call(context: &mut Ctx<'_>, inputs: &CallInputs) -> Result<InterpreterResult, Refusal> {
    let mut gas = Gas::new(inputs.gas_limit);
    let length = u64::try_from(inputs.input.len()).unwrap_or(u64::MAX);
    if !gas.record_regular_cost(length.saturating_mul(BYTE_GAS).saturating_add(CALL_GAS)) {
        return Ok(exhausted(gas));
    }
    let module: Address = inputs.bytecode_address.into();
    let data = inputs.input.bytes(context);
    let action = match action(inputs, &module, &data) {
        Ok(action) => action,
        Err(refusal) => return Ok(refused(&refusal, gas)),
    };
    if !gas.record_regular_cost(action.gas()) {
        return Ok(exhausted(gas));
    }
    let call = ModuleCall {
        caller: inputs.caller,
        module: inputs.target_address,
        value: inputs.value.get(),
    };
    Ok(match context.journaled_state.module(&call, action)? {
        Ok(answer) => InterpreterResult::new(InstructionResult::Return, answer.into(), gas),
        Err(refusal) => refused(&refusal, gas),
    })
}

/// What is called, where this kind of call may.
fn action(inputs: &CallInputs, module: &Address, data: &[u8]) -> Result<Action, Refusal> {
    let plain = matches!(inputs.scheme, CallScheme::Call | CallScheme::StaticCall);
    if !plain || inputs.target_address != inputs.bytecode_address {
        let why = "a module is called by CALL; it runs in nobody's name";
        return Err(Refusal::Reverted(why.into()));
    }
    let action = Action::decode(module, data).ok_or(Refusal::Selector)??;
    if inputs.is_static && !action.reads() {
        let why = "this function changes the ledger; it may not be called from a view";
        return Err(Refusal::Reverted(why.into()));
    }
    Ok(action)
}

fn exhausted(mut gas: Gas) -> InterpreterResult {
    gas.spend_all();
    InterpreterResult::new(InstructionResult::PrecompileOOG, Bytes::new(), gas)
}

fn refused(refusal: &Refusal, gas: Gas) -> InterpreterResult {
    let said = words::error(refusal);
    InterpreterResult::new(InstructionResult::Revert, said.into(), gas)
}

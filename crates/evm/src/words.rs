//! What contracts say when they refuse, and how a refusal is said to them.

use alloy_sol_types::{Panic, Revert, SolError};
use nesa_ledger::Refusal;
use nesa_ledger::receipt::reason;
use revm::interpreter::InstructionResult as Result_;

/// Why a frame ended without effects. The words are part of the receipt, so they are ours.
pub(crate) fn refusal(result: Result_, output: &[u8]) -> Refusal {
    Refusal::Reverted(match result {
        Result_::Revert => said(output),
        Result_::OutOfGas
        | Result_::MemoryOOG
        | Result_::MemoryLimitOOG
        | Result_::PrecompileOOG
        | Result_::InvalidOperandOOG
        | Result_::ReentrancySentryOOG => "the contract ran out of gas; raise the limit".into(),
        Result_::OutOfFunds => "the contract sends more than it has".into(),
        Result_::CreateCollision => "a contract is at that address already".into(),
        Result_::CreateContractSizeLimit => "the contract is above 24,576 bytes".into(),
        Result_::CreateInitCodeSizeLimit => "the init code is above 49,152 bytes".into(),
        _ => "the contract halted".into(),
    })
}

/// `Error(string)`, `Panic(uint256)`, or the first bytes of anything else.
fn said(output: &[u8]) -> String {
    if let Ok(Revert { reason: words }) = Revert::abi_decode(output) {
        return reason(&words);
    }
    if let Ok(panic) = Panic::abi_decode(output) {
        return format!("the contract panicked with code {}", panic.code);
    }
    let head = output.get(..4).unwrap_or(output);
    let head: String = head.iter().map(|b| format!("{b:02x}")).collect();
    format!("the contract reverted with 0x{head}")
}

/// A refusal as Solidity's `Error(string)`.
pub(crate) fn error(refusal: &Refusal) -> Vec<u8> {
    Revert::from(reason(&refusal.to_string())).abi_encode()
}

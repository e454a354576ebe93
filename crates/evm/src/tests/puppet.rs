//! A contract that does what its calldata says, step by step, and the smallest assembler for it.
//!
//! ```text
//! step = kind u8 ‖ value u128 ‖ target address ‖ length u16 ‖ data
//! ```

use nesa_ledger::{Address, Amount};

/// What a puppet can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Do {
    /// CALL; goes on whatever comes of it.
    Call = 0,
    /// CALL; reverts with what the callee said if it fails.
    Must = 1,
    /// REVERT.
    Revert = 2,
    /// SELFDESTRUCT to the target.
    Destroy = 3,
    /// The target's balance into storage, at the slot that the value names.
    Balance = 4,
    /// STATICCALL, its success into slot 0.
    Static = 5,
    /// DELEGATECALL, its success into slot 0.
    Delegate = 6,
    /// CREATE from the data with the value.
    Create = 7,
    /// Burns all gas.
    Invalid = 8,
    /// LOG1 of the data with the value as topic.
    Log = 9,
    /// RETURN of the data.
    Return = 10,
    /// The answer's first word of the last call into the slot that the value names.
    Answer = 11,
}

/// One step.
pub(super) fn step(what: Do, value: Amount, target: Address, data: &[u8]) -> Vec<u8> {
    let mut out = vec![what as u8];
    out.extend_from_slice(&value.0.to_be_bytes());
    out.extend_from_slice(&target.0);
    out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    out.extend_from_slice(data);
    out
}

/// Init code that deploys `code`.
pub(super) fn init(code: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(code.len()).unwrap().to_be_bytes();
    // PUSH2 length, DUP1, PUSH1 12, PUSH1 0, CODECOPY, PUSH1 0, RETURN
    let mut out = vec![
        0x61, high, low, 0x80, 0x60, 12, 0x60, 0, 0x39, 0x60, 0, 0xf3,
    ];
    out.extend_from_slice(code);
    out
}

/// Opcodes by name, numbers as PUSH, `:name` a label, `>name` its address, and `words` of one's own.
fn assemble(text: &str, words: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut labels, mut uses) = (Vec::new(), Vec::new(), Vec::new());
    for word in text.split_whitespace() {
        if let Some(name) = word.strip_prefix(':') {
            labels.push((name, out.len()));
            out.push(0x5b);
        } else if let Some(name) = word.strip_prefix('>') {
            uses.push((name, out.len() + 1));
            out.extend_from_slice(&[0x61, 0, 0]);
        } else if let Ok(n) = word.parse::<u8>() {
            out.extend_from_slice(&[0x60, n]);
        } else if let Some((_, bytes)) = words.iter().find(|w| w.0 == word) {
            out.extend_from_slice(bytes);
        } else if word == "MASK" {
            out.push(0x6f);
            out.extend_from_slice(&[0xff; 16]);
        } else {
            out.push(opcode(word));
        }
    }
    for (name, at) in uses {
        let to = labels.iter().find(|l| l.0 == name).expect("a label").1;
        out[at..at + 2].copy_from_slice(&u16::try_from(to).unwrap().to_be_bytes());
    }
    out
}

fn opcode(word: &str) -> u8 {
    for (prefix, first) in [("DUP", 0x80), ("SWAP", 0x90)] {
        if let Some(n) = word.strip_prefix(prefix).and_then(|n| n.parse::<u8>().ok()) {
            return first + n - 1;
        }
    }
    match word {
        "ADD" => 0x01,
        "LT" => 0x10,
        "EQ" => 0x14,
        "ISZERO" => 0x15,
        "AND" => 0x16,
        "BYTE" => 0x1a,
        "SHR" => 0x1c,
        "BALANCE" => 0x31,
        "CALLER" => 0x33,
        "CALLDATALOAD" => 0x35,
        "CALLDATASIZE" => 0x36,
        "CALLDATACOPY" => 0x37,
        "CODECOPY" => 0x39,
        "RETURNDATASIZE" => 0x3d,
        "RETURNDATACOPY" => 0x3e,
        "POP" => 0x50,
        "MLOAD" => 0x51,
        "SSTORE" => 0x55,
        "JUMP" => 0x56,
        "JUMPI" => 0x57,
        "GAS" => 0x5a,
        "LOG1" => 0xa1,
        "CREATE" => 0xf0,
        "CALL" => 0xf1,
        "RETURN" => 0xf3,
        "DELEGATECALL" => 0xf4,
        "STATICCALL" => 0xfa,
        "REVERT" => 0xfd,
        "INVALID" => 0xfe,
        "DESTROY" => 0xff,
        "STOP" => 0x00,
        _ => panic!("{word}"),
    }
}

/// The code of a puppet.
pub(super) fn code() -> Vec<u8> {
    let kinds = [
        "call", "must", "revert", "destroy", "balance", "static", "delegate", "create", "invalid",
        "log", "return", "answer",
    ];
    let mut text = String::from(
        "0 :loop CALLDATASIZE DUP2 LT ISZERO >end JUMPI
         DUP1 CALLDATALOAD DUP1 0 BYTE SWAP1 120 SHR MASK AND
         DUP3 17 ADD CALLDATALOAD 96 SHR
         DUP4 37 ADD CALLDATALOAD 240 SHR
         DUP1 DUP6 39 ADD 0 CALLDATACOPY
         DUP1 DUP6 ADD 39 ADD SWAP5 POP ",
    );
    // Stack: next step, kind, value, target, length; the data is in memory from 0.
    for (n, name) in kinds.iter().enumerate() {
        text += &format!("DUP4 {n} EQ >{name} JUMPI ");
    }
    text += "INVALID
        :next POP POP POP POP >loop JUMP
        :end STOP
        :call 0 0 DUP3 0 DUP7 DUP7 GAS CALL POP >next JUMP
        :must 0 0 DUP3 0 DUP7 DUP7 GAS CALL ISZERO >failed JUMPI >next JUMP
        :failed RETURNDATASIZE 0 0 RETURNDATACOPY RETURNDATASIZE 0 REVERT
        :revert 0 0 REVERT
        :destroy DUP2 DESTROY
        :balance DUP2 BALANCE DUP4 SSTORE >next JUMP
        :static 0 0 DUP3 0 DUP6 GAS STATICCALL 0 SSTORE >next JUMP
        :delegate 0 0 DUP3 0 DUP6 GAS DELEGATECALL 0 SSTORE >next JUMP
        :create DUP1 0 DUP5 CREATE POP >next JUMP
        :invalid INVALID
        :log DUP3 DUP2 0 LOG1 >next JUMP
        :return DUP1 0 RETURN
        :answer 32 0 0 RETURNDATACOPY 0 MLOAD DUP4 SSTORE >next JUMP";
    assemble(&text, &[])
}

/// The code of a contract that lets a puppet act in its name: what it is called with, or, when
/// requests call it back, a script of its own.
pub(super) fn asker(puppet: Address, script: &[u8]) -> Vec<u8> {
    let text = "CALLER MODULE EQ >called JUMPI
        CALLDATASIZE 0 0 CALLDATACOPY 0 0 CALLDATASIZE 0 PUPPET GAS DELEGATECALL >done JUMPI
        :failed RETURNDATASIZE 0 0 RETURNDATACOPY RETURNDATASIZE 0 REVERT
        :done STOP
        :called LENGTH START 0 CODECOPY 0 0 LENGTH 0 PUPPET GAS DELEGATECALL ISZERO >failed JUMPI
        STOP";
    let push = |bytes: &[u8]| {
        let mut out = vec![0x5f + bytes.len() as u8];
        out.extend_from_slice(bytes);
        out
    };
    let length = u16::try_from(script.len()).unwrap().to_be_bytes();
    let with = |start: u16| {
        let words = [
            ("MODULE", push(&nesa_ledger::requests::ADDRESS.0)),
            ("PUPPET", push(&puppet.0)),
            ("LENGTH", push(&length)),
            ("START", push(&start.to_be_bytes())),
        ];
        assemble(text, &words)
    };
    let start = u16::try_from(with(0).len()).unwrap();
    let mut out = with(start);
    out.extend_from_slice(script);
    out
}

//! Actions on the ledger that a key of this home signs.

use std::path::PathBuf;

use alloy_sol_types::SolCall;
use nesa_ledger::dispatch::Action;
use nesa_ledger::tx::{AccessList, Pricing, Unsigned};
use nesa_ledger::{Address, Amount};
use nesa_wallet::Key;
use serde_json::Value;

use crate::ledger::{Act, Done, Endpoint};
use crate::{Context, Failure, keys};

/// Who signs, and which node is asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Signer {
    /// The key that signs
    #[arg(long, default_value = keys::DEFAULT)]
    pub(crate) key: String,
    /// File whose first line is the key's passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) endpoint: Endpoint,
}

impl Signer {
    /// The address of the key.
    pub(crate) fn address(&self, context: &Context) -> Result<Address, Failure> {
        Ok(keys::keystore(context)?.address(&self.key)?.into())
    }

    /// Calls a module of the ledger with a sum; a refusal is a failure with the ledger's reason.
    pub(crate) fn call(
        &self,
        context: &Context,
        to: Address,
        value: Amount,
        call: &impl SolCall,
    ) -> Result<Done, Failure> {
        self.send(&self.open(context)?, to, value, call)?.taken()
    }

    /// The key itself, for whoever signs more than once.
    pub(crate) fn open(&self, context: &Context) -> Result<Key, Failure> {
        keys::open(context, &self.key, self.passphrase_file.as_deref())
    }

    /// Calls a module in the name of an open key; the ledger may have refused.
    pub(crate) fn send(
        &self,
        key: &Key,
        to: Address,
        value: Amount,
        call: &impl SolCall,
    ) -> Result<Done, Failure> {
        let act = Act {
            to,
            value,
            gas: gas(to, call.abi_encode())?,
            input: call.abi_encode(),
        };
        self.endpoint.submit(key, act)
    }
}

/// What a call of a module costs, exactly.
pub(crate) fn gas(to: Address, input: Vec<u8>) -> Result<u64, Failure> {
    let action = match Action::decode(&to, &input) {
        Some(Ok(action)) => action.gas(),
        Some(Err(why)) => return Err(Failure::failed(why)),
        None => 0,
    };
    let envelope = Unsigned {
        chain_id: 0,
        nonce: 0,
        pricing: Pricing::Legacy { gas_price: 0 },
        gas_limit: 0,
        to: Some(to),
        value: Amount::ZERO,
        input,
        access_list: AccessList::default(),
    };
    Ok(envelope.intrinsic_gas().saturating_add(action))
}

/// A sum as people write it.
pub(crate) fn nes(text: &str) -> Result<Amount, Failure> {
    text.parse()
        .map_err(|e: nesa_ledger::AmountError| Failure::usage(e))
}

/// An ed25519 key as people write it.
pub(crate) fn node_key(text: &str) -> Result<[u8; 32], Failure> {
    let mut key = [0; 32];
    let read = alloy_primitives::hex::decode_to_slice(text, &mut key);
    read.map_err(|_| Failure::usage(format!("'{text}' is no key; write 64 hexadecimal digits")))?;
    Ok(key)
}

/// A field as text for a table.
pub(crate) fn text(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Rows of a list with these fields under these headings.
pub(crate) fn rows(list: &Value, columns: &[(&str, &str)]) -> String {
    let heading = columns.iter().map(|c| c.0.to_owned()).collect();
    let all = list.as_array().into_iter().flatten();
    let row = |item: &Value| columns.iter().map(|c| text(&item[c.1])).collect();
    let all: Vec<Vec<String>> = std::iter::once(heading).chain(all.map(row)).collect();
    crate::output::table(&all)
}

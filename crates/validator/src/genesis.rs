//! The beginning of a chain as a file that people read and write.

use alloy_primitives::Address;
use nesa_ledger::{Amount, AmountError, Genesis, GenesisValidator, Params};
use serde::{Deserialize, Serialize};

/// Most bytes of a genesis file.
pub const FILE_MAX: u64 = 16 << 20;

/// The file. Sums are decimal numbers of NES, keys and addresses hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisFile {
    /// The chain id of EIP-155.
    pub chain_id: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Parameters other than the defaults, by name, in their smallest units.
    #[serde(default)]
    pub params: std::collections::BTreeMap<String, String>,
    /// Who holds what.
    pub allocations: std::collections::BTreeMap<Address, String>,
    /// What the treasury starts with.
    #[serde(default)]
    pub treasury: Option<String>,
    /// The first validators.
    pub validators: Vec<ValidatorEntry>,
}

/// One of the first validators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorEntry {
    /// The ed25519 key that votes, in hexadecimal.
    pub key: String,
    /// Who bonds and earns.
    pub owner: Address,
    /// Taken from the owner's balance.
    pub bond: String,
    /// Parts per million of others' rewards.
    #[serde(default)]
    pub commission_ppm: u32,
}

/// Why a genesis file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Not a sum.
    #[error("genesis: {0}")]
    Sum(#[from] AmountError),
    /// Not a key.
    #[error("genesis: '{0}' is no ed25519 key; write 64 hexadecimal digits")]
    Key(String),
    /// No such parameter, or out of bounds.
    #[error("genesis: parameter {name}: {why}")]
    Param {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
}

/// 32 bytes in hexadecimal.
#[must_use]
pub fn key(text: &str) -> Option<[u8; 32]> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let mut out = [0; 32];
    alloy_primitives::hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

impl GenesisFile {
    /// A chain of one validator for one machine: everything belongs to `owner`, the bond included.
    #[must_use]
    pub fn local(time_ms: u64, validator: [u8; 32], owner: Address) -> Self {
        Self::local_of(time_ms, &[(validator, owner)])
    }

    /// A local chain: each owner holds ten million NES, of which half a million is bonded to each of its validators.
    #[must_use]
    pub fn local_of(time_ms: u64, validators: &[([u8; 32], Address)]) -> Self {
        let mut of_owner = std::collections::BTreeMap::<Address, u32>::new();
        for (_, owner) in validators {
            *of_owner.entry(*owner).or_default() += 1;
        }
        let most = of_owner.values().copied().max().unwrap_or(1);
        let mut params = std::collections::BTreeMap::new();
        if most > Params::default().seats_per_owner {
            // Or all but one seat of this owner would be lost at the end of the first epoch.
            params.insert("seats_per_owner".to_owned(), most.to_string());
        }
        let all = |n: &u32| (10_000_000 + 500_000 * u64::from(n.saturating_sub(1))).to_string();
        let entry = |(key, owner): &([u8; 32], Address)| ValidatorEntry {
            key: alloy_primitives::hex::encode(key),
            owner: *owner,
            bond: "500000".to_owned(),
            commission_ppm: 0,
        };
        Self {
            chain_id: LOCAL_CHAIN_ID,
            time_ms,
            params,
            allocations: of_owner.iter().map(|(owner, n)| (*owner, all(n))).collect(),
            treasury: None,
            validators: validators.iter().map(entry).collect(),
        }
    }

    /// What the ledger takes.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn genesis(&self) -> Result<Genesis, FileError> {
        let mut params = Params::default();
        for (name, value) in &self.params {
            let bad = |why: String| FileError::Param {
                name: name.clone(),
                why,
            };
            let value = value.parse().map_err(|_| bad("no number".to_owned()))?;
            params.set(name, value).map_err(|e| bad(e.to_string()))?;
        }
        let sum = |(address, sum): (&Address, &String)| {
            Ok::<_, FileError>(((*address).into(), sum.parse()?))
        };
        let validator = |v: &ValidatorEntry| {
            Ok::<_, FileError>(GenesisValidator {
                key: key(&v.key).ok_or_else(|| FileError::Key(v.key.chars().take(80).collect()))?,
                owner: v.owner.into(),
                bond: v.bond.parse()?,
                commission_ppm: v.commission_ppm,
            })
        };
        let mut validators: Vec<GenesisValidator> = self
            .validators
            .iter()
            .map(validator)
            .collect::<Result<_, _>>()?;
        validators.sort_by_key(|v| v.key);
        Ok(Genesis {
            chain_id: self.chain_id,
            time_ms: self.time_ms,
            params,
            allocations: self.allocations.iter().map(sum).collect::<Result<_, _>>()?,
            treasury: match &self.treasury {
                Some(text) => text.parse()?,
                None => Amount::ZERO,
            },
            validators,
        })
    }
}

/// The chain id of local networks: no public network's.
pub const LOCAL_CHAIN_ID: u64 = 41_443_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_genesis_is_one_that_the_ledger_takes() {
        let file = GenesisFile::local(1, [7; 32], Address::repeat_byte(1));
        let text = serde_json::to_string(&file).expect("JSON");
        let again: GenesisFile = serde_json::from_str(&text).expect("the same");
        assert_eq!(again, file);
        let machine = crate::LedgerMachine::new(&again.genesis().expect("a genesis"));
        assert!(machine.is_ok(), "{machine:?}");
        let mut wrong = file.clone();
        wrong
            .params
            .insert("no_such_parameter".to_owned(), "1".to_owned());
        assert!(matches!(wrong.genesis(), Err(FileError::Param { .. })));
        let mut wrong = file;
        wrong.validators[0].key = "zz".to_owned();
        assert!(matches!(wrong.genesis(), Err(FileError::Key(_))));
    }

    #[test]
    fn validators_of_one_owner_keep_their_seats() {
        let (a, b) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let file = GenesisFile::local_of(1, &[([1; 32], a), ([2; 32], b), ([3; 32], a)]);
        let genesis = file.genesis().expect("a genesis");
        assert_eq!(genesis.params.seats_per_owner, 2);
        assert_eq!(genesis.validators.len(), 3);
        let machine = crate::LedgerMachine::new(&genesis).expect("a ledger");
        let state = &machine.ledger().genesis().state;
        for owner in [a, b] {
            let account = nesa_ledger::query::account(state, &owner.into());
            let left = account.expect("an account").balance;
            assert_eq!(left, Amount::nes(9_500_000), "what is not bonded");
        }
    }
}

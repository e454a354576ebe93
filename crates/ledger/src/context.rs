//! What an action sees and may touch.

use alloy_sol_types::SolEvent;
use nesa_codec::Digest;
use nesa_finality::Domain;

use crate::receipt::{LOGS_MAX, Log};
use crate::state::Overlay;
use crate::supply::{self, Pot};
use crate::{Address, Amount, Params, Refusal};

/// The block that runs. Equal on every validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Env {
    /// The chain id.
    pub chain_id: u64,
    /// The chain's votes and signatures are bound to this.
    pub domain: Domain,
    /// The block's height.
    pub height: u64,
    /// The block's time in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The proposer's key.
    pub proposer: [u8; 32],
    /// The base fee per gas in units.
    pub base_fee: u64,
    /// The parent block's name.
    pub parent: Digest,
    /// The block's randomness, see [`crate::Header::beacon`].
    pub beacon: Digest,
}

/// One action's view. Effects of an action that returns an error are reverted by whoever called
/// it; it need not clean up.
#[derive(Debug)]
pub struct Context<'a> {
    /// The state so far.
    pub state: &'a mut Overlay,
    /// The block.
    pub env: &'a Env,
    /// The parameters at the block's start.
    pub params: &'a Params,
    /// Who acts: the sender, or the contract that calls.
    pub caller: Address,
    /// The module that is called; the value sent along is on its account already.
    pub module: Address,
    /// The value sent along.
    pub value: Amount,
    /// Events so far.
    pub logs: &'a mut Vec<Log>,
}

impl Context<'_> {
    /// Moves money.
    ///
    /// # Errors
    /// As [`supply::move_`].
    pub fn move_(&mut self, from: &Pot, to: &Pot, sum: Amount) -> Result<(), Refusal> {
        Ok(supply::move_(self.state, from, to, sum)?)
    }

    /// Puts the value sent along into a pot.
    ///
    /// # Errors
    /// As [`supply::move_`].
    pub fn take_value(&mut self, to: &Pot) -> Result<(), Refusal> {
        let value = std::mem::take(&mut self.value);
        let from = Pot::Account(self.module);
        self.move_(&from, to, value)
    }

    /// Refuses value.
    ///
    /// # Errors
    /// [`Refusal::Unpayable`] where some came along.
    pub fn unpayable(&self) -> Result<(), Refusal> {
        if self.value.is_zero() {
            Ok(())
        } else {
            Err(Refusal::Unpayable)
        }
    }

    /// Tells the world.
    ///
    /// # Errors
    /// [`Refusal::Logs`] beyond [`LOGS_MAX`].
    pub fn emit(&mut self, event: &impl SolEvent) -> Result<(), Refusal> {
        self.emit_as(self.module, event)
    }

    /// Tells the world in the name of a module that was not called itself.
    ///
    /// # Errors
    /// As [`Context::emit`].
    pub fn emit_as(&mut self, address: Address, event: &impl SolEvent) -> Result<(), Refusal> {
        if self.logs.len() >= LOGS_MAX {
            return Err(Refusal::Logs);
        }
        let data = event.encode_log_data();
        let topics = data.topics().iter().map(|t| Digest(t.0)).collect();
        self.logs.push(Log {
            address,
            topics,
            data: data.data.to_vec(),
        });
        Ok(())
    }
}

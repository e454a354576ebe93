//! What genesis decides and governance may change within bounds.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use crate::amount::PPM;
use crate::state::{Overlay, Read, StateError, Table};
use crate::{Amount, tables};

/// The one row of parameters.
pub const PARAMS: Table<(), Params> = Table::new(tables::PARAMS);

/// Defines [`Params`] from one list: name, type, default, least, most, meaning.
macro_rules! params {
    ($($name:ident: $type:ty = $default:expr, $least:expr, $most:expr, $doc:literal;)*) => {
        /// The parameters. Every one has a default and bounds that nothing may leave.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Params {
            $(#[doc = $doc] pub $name: $type,)*
        }

        impl Default for Params {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// The names in the order of the encoding; a change of parameters names one by its place.
        pub const NAMES: &[&str] = &[$(stringify!($name),)*];

        impl Params {
            /// The parameters with their bounds: name, value, least, most.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u128, u128, u128)> {
                vec![$((
                    stringify!($name),
                    Plain::plain(&self.$name),
                    Plain::plain(&{ let v: $type = $least; v }),
                    Plain::plain(&{ let v: $type = $most; v }),
                ),)*]
            }

            /// Sets the parameter `name`, within its bounds.
            ///
            /// # Errors
            /// [`ParamError`].
            pub fn set(&mut self, name: &str, value: u128) -> Result<(), ParamError> {
                let mut changed = self.clone();
                match name {
                    $(stringify!($name) => {
                        let v: Option<$type> = Plain::read(value);
                        changed.$name = v.ok_or(ParamError::Bounds(stringify!($name)))?;
                    })*
                    _ => return Err(ParamError::Unknown),
                }
                changed.validate()?;
                *self = changed;
                Ok(())
            }
        }

        impl Encode for Params {
            fn encode(&self, w: &mut Writer) {
                $(self.$name.encode_plain(w);)*
            }
        }

        impl Decode for Params {
            fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self { $($name: <$type as Plain>::decode_plain(r)?,)* })
            }
        }
    };
}

/// A parameter's type: a number.
trait Plain: Sized {
    fn plain(&self) -> u128;
    fn read(v: u128) -> Option<Self>;
    fn encode_plain(&self, w: &mut Writer) {
        Amount(self.plain()).encode(w);
    }
    fn decode_plain(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::read(Amount::decode(r)?.0).ok_or(DecodeError::Invalid("a parameter's width"))
    }
}

impl Plain for u32 {
    fn plain(&self) -> u128 {
        u128::from(*self)
    }
    fn read(v: u128) -> Option<Self> {
        v.try_into().ok()
    }
}

impl Plain for u64 {
    fn plain(&self) -> u128 {
        u128::from(*self)
    }
    fn read(v: u128) -> Option<Self> {
        v.try_into().ok()
    }
}

impl Plain for Amount {
    fn plain(&self) -> u128 {
        self.0
    }
    fn read(v: u128) -> Option<Self> {
        Some(Self(v))
    }
}

/// The most NES that a genesis can allot or an emission can reach.
const SUPPLY_MAX: Amount = Amount::nes(1_000_000_000_000);

params! {
    // Fees.
    gas_limit: u64 = 60_000_000, 1_000_000, 1_000_000_000, "Gas of one block.";
    base_fee_min: u64 = 1_000_000, 1, 1_000_000_000_000_000, "The base fee per gas never falls below, in units.";
    base_fee_denominator: u32 = 8, 2, 1_000, "The base fee moves by at most one part in this many per block (EIP-1559: 8).";
    // Emission.
    supply_cap: Amount = Amount::nes(1_000_000_000), Amount(0), SUPPLY_MAX, "Emission stops when this was minted, genesis included.";
    emission: Amount = Amount(0), Amount(0), Amount::nes(1_000_000), "New money per block in the first emission period.";
    emission_period: u64 = 5_000_000, 1, 1 << 40, "Blocks after which the emission decays.";
    emission_decay_ppm: u32 = 100_000, 0, PPM, "What part of the emission is lost per period.";
    treasury_ppm: u32 = 20_000, 0, 200_000, "The treasury's part of the emission.";
    // Staking.
    epoch_blocks: u64 = 600, 2, 1_000_000, "Blocks of an epoch: seats and rewards change at its end.";
    seats: u32 = 100, 1, 100, "The most validators of an epoch.";
    seats_per_owner: u32 = 1, 1, 100, "The most seats of one owner.";
    self_bond_min: Amount = Amount::nes(1_000), Amount(1), Amount::nes(1_000_000_000), "The least bond of an owner to the own validator.";
    delegation_min: Amount = Amount::nes(1), Amount(1), Amount::nes(1_000_000), "The least sum bonded or delegated at once.";
    unbonding_blocks: u64 = 100_000, 1, 1 << 32, "How long money on its way out stays within reach of a slash: above the audit window and the longest dispute.";
    commission_max_ppm: u32 = 200_000, 0, PPM, "The highest commission.";
    commission_step_ppm: u32 = 10_000, 1, PPM, "The most by which a commission changes, once per epoch.";
    slash_equivocation_ppm: u32 = 50_000, 1, PPM, "What an equivocator and its delegators lose.";
    slash_burn_ppm: u32 = 500_000, 500_000, PPM, "What part of a slash is burned; at least half, or self-reporting would pay.";
    jail_blocks: u64 = 1_000, 1, 1 << 32, "How long a jailed validator waits before it may return.";
    // Operators.
    operator_bond_min: Amount = Amount::nes(100), Amount(1), Amount::nes(1_000_000_000), "The least bond with which a node takes leases.";
    heartbeat_blocks: u64 = 1_200, 2, 1 << 32, "A node that promised to serve says so at least this often.";
    lease_blocks_max: u64 = 2_000_000, 1, 1 << 40, "How far ahead a lease may end.";
    reputation_start: u32 = 8_192, 0, 65_536, "The score of a new node, in steps of 1/1,024 of a base-2 logarithm.";
    reputation_threshold: u32 = 4_096, 0, 65_536, "The least score with which a node takes leases.";
    reputation_gain: u32 = 32, 0, 4_096, "What a passed audit or a won dispute adds to a score.";
    reputation_timeout_loss: u32 = 256, 0, 65_536, "What a missed deadline takes from a score.";
    reputation_fault_loss: u32 = 6_144, 1, 65_536, "What proven wrong work takes from a score.";
    // Sessions.
    session_price_min: Amount = Amount(1), Amount(0), Amount::nes(1), "The least price per unit of work.";
    session_deposit_min: Amount = Amount(1_000_000_000_000_000), Amount(1), Amount::nes(1_000_000), "The least escrow of a session.";
    session_grace_blocks: u64 = 900, 1, 1 << 32, "How long claims settle after the payer asked for the end of a session.";
    session_blocks_max: u64 = 5_000_000, 1, 1 << 40, "How far ahead a session's expiry may lie.";
    session_keep_blocks: u64 = 100_000, 1, 1 << 40, "How long a closed session can be looked up.";
    work_bucket: u64 = 1_024, 1, 1 << 32, "Work of new sessions counts in multiples of this, so that lengths do not show.";
    split_royalty_ppm: u32 = 50_000, 0, 200_000, "The publisher's part of a payment at most; workers get what the four parts leave.";
    split_auditors_ppm: u32 = 50_000, 0, 200_000, "The auditors' part of a payment.";
    split_burn_ppm: u32 = 30_000, 0, 200_000, "What part of a payment is burned.";
    split_treasury_ppm: u32 = 20_000, 0, 200_000, "The treasury's part of a payment, beside what nobody claims and what rounding leaves.";
    // Governance.
    gov_deposit: Amount = Amount::nes(1_000), Amount(1), Amount::nes(1_000_000), "The least deposit of a proposal.";
    gov_forfeit_ppm: u32 = PPM, 100_000, PPM, "What part of a deposit is burned where the quorum is missed or the veto is not.";
    gov_quorum_ppm: u32 = 200_000, 10_000, 500_000, "What part of all balances and bonds must vote.";
    gov_threshold_ppm: u32 = 500_000, 500_000, 900_000, "What part of yes, no and veto must be exceeded by yes.";
    gov_veto_ppm: u32 = 333_333, 100_000, 500_000, "What part of all votes must not be exceeded by veto.";
    gov_voting_blocks: u64 = 600_000, 4, 1 << 32, "How long a proposal is voted on.";
    gov_timelock_blocks: u64 = 170_000, 2, 1 << 32, "How long what passed waits, so that whoever dislikes it can leave: above the unbonding of stakes.";
    gov_expiry_blocks: u64 = 600_000, 1, 1 << 32, "How long what passed can be executed after that, where it could not be at once.";
    gov_spend_ppm: u32 = 50_000, 1, 250_000, "What part of the treasury one proposal may spend.";
    gov_period_ppm: u32 = 150_000, 1, 500_000, "What part of the treasury may be spent in one period.";
    gov_period_blocks: u64 = 2_500_000, 1, 1 << 40, "How long a period of spending is.";
    // Disputes.
    dispute_gain_ppm: u32 = PPM, 0, 10 * PPM, "What part of its fee a node is taken to save by lying.";
    dispute_value_ppm: u32 = 0, 0, 1_000 * PPM, "What a wrong answer is taken to be worth elsewhere, in parts of the fee.";
    dispute_detect_ppm: u32 = 953_000, 100_000, PPM, "How often an audit is taken to find a lie.";
    dispute_slash_min: Amount = Amount::nes(10), Amount(1), Amount::nes(1_000_000), "What a lie costs at least, within the bond.";
    dispute_compensation_ppm: u32 = 500_000, 0, 10 * PPM, "What a client gets of a slash besides its fee, in parts of the fee.";
    dispute_reward_ppm: u32 = 500_000, 0, PPM, "The challenger's part of what burning and the client leave of a slash; auditors get the rest.";
    dispute_deposit: Amount = Amount::nes(10), Amount(1), Amount::nes(1_000_000), "What a challenger puts behind a dispute; a false accusation costs it.";
    dispute_answer_blocks: u64 = 600, 2, 1 << 24, "How long a side may take for one answer; silence loses.";
    // Audits.
    audit_ppm: u32 = 50_000, 1_000, PPM, "How likely recorded work of a node in good standing is audited.";
    audit_ppm_max: u32 = 500_000, 1_000, PPM, "How likely that of any node is.";
    audit_delay_blocks: u64 = 2, 2, 1_000, "Blocks between a record and the beacon that draws.";
    audit_auditors: u32 = 3, 1, 7, "How many auditors are drawn.";
    audit_commit_blocks: u64 = 300, 2, 1 << 20, "How long auditors have to compute and commit.";
    audit_reveal_blocks: u64 = 300, 2, 1 << 20, "How long they have to reveal.";
    audit_dispute_blocks: u64 = 600, 2, 1 << 20, "How long a difference may be disputed, and a canary opened.";
    audit_slash: Amount = Amount::nes(5), Amount(1), Amount::nes(1_000_000), "What an auditor loses that confirmed what is wrong.";
    audit_timeout_slash: Amount = Amount(100_000_000_000_000_000), Amount(1), Amount::nes(1_000_000), "What a drawn auditor loses that did not reveal.";
    // Requests.
    request_fee_min: Amount = Amount(1_000_000_000_000_000), Amount(0), Amount::nes(1_000), "The least fee of a request to a model.";
    request_blocks_max: u64 = 100_000, 1, 1 << 32, "How far ahead a request's deadline may lie.";
    request_keep_blocks: u64 = 100_000, 100, 1 << 40, "How long an ended request can be looked up.";
    callback_gas_max: u64 = 1_000_000, 50_000, 10_000_000, "The most gas of one callback.";
    callback_block_gas: u64 = 10_000_000, 10_000_000, 1_000_000_000, "What callbacks of one block may use; the others wait.";
}

/// Why parameters are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// No parameter has this name.
    #[error("no parameter has this name; list them with the parameters' query")]
    Unknown,
    /// Out of bounds.
    #[error("parameter {0} is out of its bounds; see docs/spec/ledger.md")]
    Bounds(&'static str),
}

impl Params {
    /// Whether all are within their bounds.
    ///
    /// # Errors
    /// [`ParamError::Bounds`] with the first that is not.
    pub fn validate(&self) -> Result<(), ParamError> {
        let wrong = self
            .list()
            .into_iter()
            .find(|(_, v, least, most)| v < least || v > most);
        wrong.map_or(Ok(()), |(name, ..)| Err(ParamError::Bounds(name)))
    }

    /// The parameters of a state.
    ///
    /// # Errors
    /// [`StateError`] where the state has none.
    pub fn of(state: &impl Read) -> Result<Self, StateError> {
        let table = tables::PARAMS;
        PARAMS.get(state, &())?.ok_or(StateError::Corrupt { table })
    }

    /// Writes them.
    pub fn store(&self, state: &mut Overlay) {
        PARAMS.set(state, &(), self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_bounds_and_changes_too() {
        let mut p = Params::default();
        p.validate().unwrap();
        assert_eq!(NAMES.len(), p.list().len());
        p.set("seats", 4).unwrap();
        assert_eq!(p.seats, 4);
        assert_eq!(p.set("seats", 101), Err(ParamError::Bounds("seats")));
        assert_eq!(p.set("seats", 1 << 64), Err(ParamError::Bounds("seats")));
        assert_eq!(
            p.set("slash_burn_ppm", 1),
            Err(ParamError::Bounds("slash_burn_ppm"))
        );
        assert_eq!(p.set("admin", 1), Err(ParamError::Unknown));
        assert_eq!(Params::from_bytes(&p.to_bytes()), Ok(p));
    }
}

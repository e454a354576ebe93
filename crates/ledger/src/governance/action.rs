//! What a proposal can do: typed, bounded, checked when it is made and again when it is executed.

use alloy_primitives::U256;
use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use super::types::{GovError, SPENDING, Spending};
use crate::dispatch::is_module;
use crate::params::{NAMES, ParamError};
use crate::state::Read;
use crate::supply::{self, Pot};
use crate::{Address, Amount, Context, Params, Refusal};

/// What no vote changes: the cap on all NES, and the period whose length decides how far the emission
/// has decayed already.
pub const FIXED: [&str; 2] = ["supply_cap", "emission_period"];
/// How the parameters of governance itself begin. One proposal halves or doubles them at most.
pub const PREFIX: &str = "gov_";
/// The longest name of a parameter in bytes.
const NAME_MAX: usize = 64;

/// What happens where a proposal passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A parameter gets a value.
    Parameter {
        /// Its name.
        name: String,
        /// Its value in its smallest unit.
        value: u128,
    },
    /// The treasury pays.
    Spend {
        /// To whom.
        to: Address,
        /// How much.
        amount: Amount,
    },
}

impl Action {
    /// A change of a parameter, not yet checked.
    ///
    /// # Errors
    /// [`GovError::Value`], [`GovError::Param`].
    pub fn parameter(name: String, value: U256) -> Result<Self, GovError> {
        let value = u128::try_from(value).map_err(|_| GovError::Value)?;
        if name.len() > NAME_MAX {
            return Err(ParamError::Unknown.into());
        }
        Ok(Self::Parameter { name, value })
    }

    /// A payment, not yet checked.
    ///
    /// # Errors
    /// [`GovError::Value`].
    pub fn spend(to: Address, amount: U256) -> Result<Self, GovError> {
        let amount = Amount::try_from(amount).map_err(|_| GovError::Value)?;
        Ok(Self::Spend { to, amount })
    }

    /// Whether it could be done in this state.
    ///
    /// # Errors
    /// The [`GovError`] that its execution would meet now, but for [`GovError::Period`].
    pub(super) fn check(&self, from: &impl Read) -> Result<(), Refusal> {
        let params = Params::of(from)?;
        match self {
            Self::Parameter { name, value } => changed(&params, name, *value).map(|_| ())?,
            Self::Spend { to, amount } => {
                if amount.is_zero() || is_module(to) {
                    return Err(GovError::Payment.into());
                }
                let most = supply::held(from, &Pot::TREASURY)?.ppm(params.gov_spend_ppm);
                if *amount > most {
                    return Err(GovError::Overspend(most).into());
                }
            }
        }
        Ok(())
    }

    /// Does it.
    ///
    /// # Errors
    /// A [`GovError`]; the caller reverts.
    pub(super) fn perform(&self, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        self.check(&*ctx.state)?;
        let params = Params::of(&*ctx.state)?;
        match self {
            Self::Parameter { name, value } => {
                changed(&params, name, *value)?.store(ctx.state);
                Ok(())
            }
            Self::Spend { to, amount } => {
                spend(ctx, &params, *amount)?;
                ctx.move_(&Pot::TREASURY, &Pot::Account(*to), *amount)
            }
        }
    }
}

/// The parameters after a change that is allowed.
fn changed(params: &Params, name: &str, value: u128) -> Result<Params, GovError> {
    if let Some(fixed) = FIXED.iter().find(|f| **f == name) {
        return Err(GovError::Fixed(fixed));
    }
    let mut after = params.clone();
    after.set(name, value)?;
    if let Some(name) = NAMES.iter().find(|n| **n == name && n.starts_with(PREFIX)) {
        let now = params.list().into_iter().find(|p| p.0 == *name);
        let now = now.map_or(0, |p| p.1);
        let (least, most) = (now.div_ceil(2), now.saturating_mul(2));
        if !(least..=most).contains(&value) {
            return Err(GovError::Step { name, least, most });
        }
    }
    Ok(after)
}

/// Counts a payment against what the period allows.
fn spend(ctx: &mut Context<'_>, params: &Params, amount: Amount) -> Result<(), Refusal> {
    let (now, held) = (ctx.env.height, supply::held(&*ctx.state, &Pot::TREASURY)?);
    let begun = SPENDING.get(&*ctx.state, &())?;
    let end = |s: &Spending| s.from.saturating_add(params.gov_period_blocks);
    let mut period = begun.filter(|s| now < end(s)).unwrap_or(Spending {
        from: now,
        held,
        spent: Amount::ZERO,
    });
    let most = period.held.ppm(params.gov_period_ppm);
    let left = most.minus(period.spent).unwrap_or_default();
    let spent = period.spent.plus(amount).filter(|_| amount <= left);
    period.spent = spent.ok_or(GovError::Period {
        left,
        until: end(&period) - 1,
    })?;
    SPENDING.set(ctx.state, &(), &period);
    Ok(())
}

impl Encode for Action {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Parameter { name, value } => {
                w.u8(0);
                w.str(name);
                Amount(*value).encode(w);
            }
            Self::Spend { to, amount } => {
                w.u8(1);
                to.encode(w);
                amount.encode(w);
            }
        }
    }
}

impl Decode for Action {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8()? {
            0 => Self::Parameter {
                name: r.str(NAME_MAX)?.to_owned(),
                value: Amount::decode(r)?.0,
            },
            1 => Self::Spend {
                to: Address::decode(r)?,
                amount: Amount::decode(r)?,
            },
            _ => return Err(DecodeError::Invalid("a proposal's action")),
        })
    }
}

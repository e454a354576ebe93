//! Epochs: new money, rewards and seats, every so many blocks.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use crate::dispatch::{contain, end_epoch};
use crate::state::{Overlay, Read, StateError, Table};
use crate::supply::{self, Pot};
use crate::{Amount, Context, Params, Refusal, staking, tables};

/// The one row about the running epoch.
pub const EPOCH: Table<(), Epoch> = Table::new(tables::EPOCH);

/// The running epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epoch {
    /// Epochs since genesis.
    pub number: u64,
    /// Its first block.
    pub start: u64,
}

/// The running epoch of a state.
///
/// # Errors
/// [`StateError`] on foreign bytes.
pub fn current(from: &impl Read) -> Result<Epoch, StateError> {
    Ok(EPOCH.get(from, &())?.unwrap_or_default())
}

/// Starts epoch 0 with block 1.
pub(crate) fn genesis(state: &mut Overlay, params: &Params) -> Result<(), Refusal> {
    let first = Epoch {
        number: 0,
        start: 1,
    };
    EPOCH.set(state, &(), &first);
    staking::draw_seats(state, params)
}

/// New money of the block at `height` by the curve: the emission, decayed once per period.
/// After 1,024 periods there is none.
#[must_use]
pub fn emission(params: &Params, height: u64) -> Amount {
    let periods = height.saturating_sub(1) / params.emission_period.max(1);
    let mut sum = params.emission;
    if periods > 1_024 {
        return Amount::ZERO;
    }
    for _ in 0..periods {
        sum = sum.ppm(crate::amount::PPM - params.emission_decay_ppm);
    }
    sum
}

/// Ends the epoch where this is its last block.
///
/// # Errors
/// Fatal refusals.
pub(crate) fn run(ctx: &mut Context<'_>) -> Result<(), Refusal> {
    let epoch = current(&*ctx.state)?;
    let height = ctx.env.height;
    let blocks = (height + 1).saturating_sub(epoch.start);
    if blocks < ctx.params.epoch_blocks {
        return Ok(());
    }
    contain(ctx, |ctx| pay(ctx, blocks))?;
    end_epoch(ctx)?;
    let next = Epoch {
        number: epoch.number + 1,
        start: height + 1,
    };
    EPOCH.set(ctx.state, &(), &next);
    contain(ctx, |ctx| staking::draw_seats(ctx.state, ctx.params))
}

/// Mints for `blocks` blocks, never beyond the cap: a part for the treasury, the rest for stakes.
fn pay(ctx: &mut Context<'_>, blocks: u64) -> Result<(), Refusal> {
    let wanted = emission(ctx.params, ctx.env.height).times(u128::from(blocks));
    let room = ctx.params.supply_cap.minus(supply::minted(&*ctx.state)?);
    let sum = wanted.unwrap_or_default().min(room.unwrap_or_default());
    let treasury = sum.ppm(ctx.params.treasury_ppm);
    let rest = sum.minus(treasury).unwrap_or_default();
    let paid = staking::reward(ctx, rest)?;
    let left = sum.minus(paid).unwrap_or_default();
    Ok(supply::mint(ctx.state, &Pot::TREASURY, left)?)
}

impl Encode for Epoch {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.number);
        w.u64(self.start);
    }
}

impl Decode for Epoch {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            number: r.u64()?,
            start: r.u64()?,
        })
    }
}

//! Who votes: at the end of an epoch the validators with most stake get the seats.

use std::collections::BTreeMap;

use nesa_finality::ValidatorSet;

use super::types::{SEATS, Seats, StakingError, VALIDATORS};
use super::{stake, worth};
use crate::state::{Overlay, Read};
use crate::{Address, Params, Refusal};

/// Draws the seats of the next epoch: free validators whose owners risk
/// enough, by stake and then by key, at most so many per owner.
///
/// # Errors
/// [`StakingError::NoSeats`] where none is left.
pub fn draw_seats(state: &mut Overlay, params: &Params) -> Result<(), Refusal> {
    let mut fit = Vec::new();
    for row in VALIDATORS.rows(&*state, None) {
        let (key, v) = row?;
        let free = !v.tombstoned && v.jailed_until == 0;
        if free && worth(&*state, &key, &v.owner)? >= params.self_bond_min {
            fit.push((stake(&*state, &key)?, key, v.owner));
        }
    }
    fit.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut owners: BTreeMap<Address, u32> = BTreeMap::new();
    let mut seats = Vec::new();
    for (stake, key, owner) in fit {
        let held = owners.entry(owner).or_default();
        if *held < params.seats_per_owner && seats.len() < params.seats as usize {
            *held += 1;
            seats.push((key, stake));
        }
    }
    if seats.is_empty() {
        return Err(StakingError::NoSeats.into());
    }
    seats.sort_by_key(|s| s.0);
    SEATS.set(state, &(), &Seats { seats });
    Ok(())
}

/// The validators of the next block.
///
/// # Errors
/// [`StakingError::NoSeats`] before seats were drawn.
pub fn validator_set(from: &impl Read) -> Result<ValidatorSet, Refusal> {
    let seats = SEATS.get(from, &())?.unwrap_or_default().seats;
    let keys = seats.into_iter().map(|s| s.0).collect();
    Ok(ValidatorSet::new(keys).map_err(|_| StakingError::NoSeats)?)
}

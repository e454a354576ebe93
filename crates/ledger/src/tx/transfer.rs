//! A transfer: value to an address that has no code. Data along with it is ignored, as in the EVM.

use crate::supply::{self, Pot, SupplyError};
use crate::{Address, Amount, state::Overlay};

/// Moves `value` from `from` to `to`.
///
/// # Errors
/// [`SupplyError::Short`] where the sender has less.
pub fn apply(
    state: &mut Overlay,
    from: &Address,
    to: &Address,
    value: Amount,
) -> Result<(), SupplyError> {
    supply::move_(state, &Pot::Account(*from), &Pot::Account(*to), value)
}

//! The model registry: what a root means, what it costs, and who earns from it.
//!
//! The registry never checks that a root is the compiled form of its manifest: whoever fetches the
//! shards does, and a session with a root that nobody serves costs its payer nothing but time.

pub mod abi;
mod allow;
mod deprecate;
mod query;
mod register;
#[cfg(test)]
mod tests;
mod types;
mod update;

use nesa_codec::Digest;

pub use query::{model, models, models_of, shards, versions};
pub use types::{ALLOWED, BY_PUBLISHER, MODELS, SHARDS, VERSIONS};
pub use types::{ALLOWED_MAX, Model, ModelError, Modes, SHARDS_MAX, Shards};

use crate::dispatch::Family;
use crate::state::Read;
use crate::{Address, Context, Refusal};
use abi::IModels::IModelsCalls as Call;

/// The family at [`ADDRESS`].
#[derive(Debug)]
pub struct Models;

/// Where the registry is called.
pub const ADDRESS: Address = Address::module(Models::INDEX);

impl Family for Models {
    const INDEX: u8 = 3;
    type Call = Call;

    fn gas(call: &Call) -> u64 {
        let many = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        match call {
            Call::register(c) => many(c.shards.len())
                .saturating_mul(500)
                .saturating_add(many(c.allowed.len()).saturating_mul(20_000))
                .saturating_add(120_000),
            Call::update(_) | Call::allow(_) | Call::deprecate(_) => 40_000,
        }
    }

    fn apply(ctx: &mut Context<'_>, call: Call) -> Result<Vec<u8>, Refusal> {
        match call {
            Call::register(c) => register::apply(ctx, &c)?,
            Call::update(c) => update::apply(ctx, &c)?,
            Call::allow(c) => allow::apply(ctx, &c)?,
            Call::deprecate(c) => deprecate::apply(ctx, &Digest(c.model.0))?,
        }
        Ok(Vec::new())
    }
}

/// The model at a root, if `who` may use it now.
///
/// # Errors
/// [`ModelError::Unknown`], [`ModelError::Deprecated`], [`ModelError::NotAllowed`].
pub fn usable(from: &impl Read, root: &Digest, who: &Address) -> Result<Model, Refusal> {
    let model = find(from, root)?;
    if model.deprecated {
        return Err(ModelError::Deprecated.into());
    }
    let open = !model.restricted || model.publisher == *who;
    if !open && !ALLOWED.has(from, &(*root, *who)) {
        return Err(ModelError::NotAllowed.into());
    }
    Ok(model)
}

fn find(from: &impl Read, root: &Digest) -> Result<Model, Refusal> {
    let found = MODELS.get(from, root)?;
    Ok(found.ok_or(ModelError::Unknown)?)
}

fn owned(ctx: &Context<'_>, root: &Digest) -> Result<Model, Refusal> {
    let model = find(&*ctx.state, root)?;
    if model.publisher == ctx.caller {
        Ok(model)
    } else {
        Err(ModelError::Publisher.into())
    }
}

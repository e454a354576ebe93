//! `deprecate`: no new sessions. The root stays taken, so that old receipts keep their meaning.

use nesa_codec::Digest;

use super::abi::IModels::Deprecated;
use super::owned;
use super::types::{MODELS, ModelError};
use crate::{Context, Refusal};

pub(super) fn apply(ctx: &mut Context<'_>, root: &Digest) -> Result<(), Refusal> {
    ctx.unpayable()?;
    let mut model = owned(ctx, root)?;
    if model.deprecated {
        return Err(ModelError::Deprecated.into());
    }
    model.deprecated = true;
    MODELS.set(ctx.state, root, &model);
    ctx.emit(&Deprecated {
        model: root.0.into(),
    })
}

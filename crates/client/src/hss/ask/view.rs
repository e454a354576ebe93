//! What a private answer says of itself.

use std::sync::Arc;

use super::PrivateAsk;
use crate::ask::Finish;
use crate::hss::parts::PrivateRequest;
use crate::model::ClientModel;

impl PrivateAsk {
    /// The answer's tokens so far.
    #[must_use]
    pub fn answer(&self) -> &[u32] {
        self.reply.answer()
    }

    /// The hidden rows that tokens were sampled from.
    #[must_use]
    pub fn rows(&self) -> &[Vec<i32>] {
        self.reply.rows()
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &PrivateRequest {
        &self.request
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<ClientModel> {
        &self.model
    }

    /// Why the answer ended, once it did.
    #[must_use]
    pub fn finish(&self) -> Option<Finish> {
        self.reply.finish()
    }
}

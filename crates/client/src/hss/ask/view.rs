//! What a private answer says of itself.

use std::sync::Arc;

use nesa_proof::share::HolderStatement;

use super::PrivateAsk;
use crate::ask::Finish;
use crate::hss::parts::{Liar, Private, PrivateRequest, Times};
use crate::hss::traffic::Traffic;
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

    /// What the session was given.
    #[must_use]
    pub fn private(&self) -> &Private {
        &self.desk.private
    }

    /// Why the answer ended, once it did.
    #[must_use]
    pub fn finish(&self) -> Option<Finish> {
        self.reply.finish()
    }

    /// Counters so far.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.desk.traffic
    }

    /// Time spent so far, by the clock that was given.
    #[must_use]
    pub fn times(&self) -> Times {
        self.desk.times
    }

    /// Holders that were left out, in order.
    #[must_use]
    pub fn liars(&self) -> &[Liar] {
        &self.desk.liars
    }

    /// Holders that owe an answer to a flight which cannot go on without them.
    #[must_use]
    pub fn owed(&self) -> Vec<usize> {
        self.desk.owed()
    }

    /// Whether `statement`, which holder `i` signed at the end, says what it was asked for: its key, session,
    /// model, blocks and point, and the flights and rows that it was sent. Who states more asks for more than
    /// its pay.
    #[must_use]
    pub fn is_stated(&self, i: usize, statement: &HolderStatement) -> bool {
        self.desk.is_stated(i, statement)
    }

    /// Whether holder `i` is still part of the session.
    #[must_use]
    pub fn is_alive(&self, i: usize) -> bool {
        self.desk.is_alive(i)
    }
}

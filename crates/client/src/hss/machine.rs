//! What carrying a private computation over a network needs, whatever it computes.

use nesa_model::Engine;
use nesa_proof::share::HolderStatement;

use super::desk::Desk;
use super::parts::{Effect, Input, Liar, Private, Times};
use super::traffic::Traffic;
use crate::ClientError;

/// A private computation: effects out, what came from holders in, until [`Effect::Quiet`].
pub trait Machine {
    /// The first flights.
    ///
    /// # Errors
    /// [`ClientError`] of what is refused.
    fn start(&mut self, engine: &mut Engine) -> Result<Vec<Effect>, ClientError>;

    /// Takes what came from a holder.
    ///
    /// # Errors
    /// [`ClientError::Holder`] when too few holders are left; others as they come.
    fn on(&mut self, engine: &mut Engine, input: Input) -> Result<Vec<Effect>, ClientError>;

    /// Where its flights are dealt and checked.
    fn desk(&self) -> &Desk;

    /// What the session was given.
    fn private(&self) -> &Private {
        &self.desk().private
    }

    /// Counters so far.
    fn traffic(&self) -> &Traffic {
        &self.desk().traffic
    }

    /// Time spent so far, by the clock that was given.
    fn times(&self) -> Times {
        self.desk().times
    }

    /// Holders that were left out, in order.
    fn liars(&self) -> &[Liar] {
        &self.desk().liars
    }

    /// Holders that owe an answer to a flight which cannot go on without them.
    fn owed(&self) -> Vec<usize> {
        self.desk().owed()
    }

    /// Whether `statement`, which holder `i` signed at the end, says what it was asked for: its key, session,
    /// model, blocks and point, and the flights and rows that it was sent. Who states more asks for more than
    /// its pay.
    fn is_stated(&self, i: usize, statement: &HolderStatement) -> bool {
        self.desk().is_stated(i, statement)
    }

    /// Whether holder `i` is still part of the session.
    fn is_alive(&self, i: usize) -> bool {
        self.desk().is_alive(i)
    }
}

//! Flights wait until they are paid for.

use nesa_codec::Digest;

use super::session::Session;
use super::{Effect, Hop};
use crate::paid::{Charge, PAY_WAIT_MS_MAX, books};

impl Hop {
    /// Gives a session its turn if its next flight is paid for, or notes that it waits for pay.
    pub(super) fn line_up(&mut self, id: &Digest) {
        let Some(s) = self.sessions.get_mut(id) else {
            return;
        };
        let Some((_, rows)) = s.queue.front() else {
            return;
        };
        let rows = rows.len() / s.shard.shape().dim;
        let quarters = books::whole(rows, s.shard.layers().len());
        let till = self.config.till.as_ref();
        if till.is_none_or(|t| t.charge(id, quarters) == Charge::Covered) {
            s.unpaid_since_ms = None;
            self.turn.push_back(*id);
        } else {
            s.unpaid_since_ms.get_or_insert(s.used_ms);
        }
    }

    /// Looks again at every session that waits for pay.
    pub(super) fn line_up_unpaid(&mut self) {
        let waiting = self
            .sessions
            .iter()
            .filter(|(_, s)| s.unpaid_since_ms.is_some());
        let waiting: Vec<Digest> = waiting.map(|(id, _)| *id).collect();
        waiting.iter().for_each(|id| self.line_up(id));
    }

    /// Ends sessions whose pay does not come.
    pub(super) fn unpaid(&mut self, now_ms: u64) -> Vec<Effect> {
        self.line_up_unpaid();
        let late = |s: &Session| {
            let since = s.unpaid_since_ms;
            since.is_some_and(|at| now_ms.saturating_sub(at) > PAY_WAIT_MS_MAX)
        };
        let late: Vec<Digest> = (self.sessions.iter())
            .filter(|(_, s)| late(s))
            .map(|(id, _)| *id)
            .collect();
        late.iter()
            .flat_map(|id| self.refuse(id, books::unpaid()))
            .collect()
    }
}

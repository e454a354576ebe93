//! Whose answers hold, who is left out, and with what evidence.

use nesa_pipeline::share::Share;
use nesa_proof::share::{AnswerStatement, HolderStatement, answer_digest};
use nesa_proof::statement::is_signed;

use super::{Desk, share_of};
use crate::ClientError;
use crate::hss::parts::Liar;
use crate::hss::placement::Placement;

/// One in so many answers has its signature checked; of a wrong answer it always is.
const SIGNATURES_ONE_IN: u64 = 64;

impl Desk {
    /// The holder's place in the flight where its answer holds; else what it signed, if it did.
    ///
    /// Nothing about the answer is looked at before the check, and there is one refusal for all reasons.
    pub(super) fn verdict(
        &mut self,
        holder: usize,
        number: u64,
        values: &[u32],
        signature: &[u8; 64],
    ) -> Result<usize, Option<Box<(AnswerStatement, Share)>>> {
        let Some(p) = self.flights.get(number) else {
            return Err(None);
        };
        let Some(i) = p.owed_by(holder) else {
            return Err(None);
        };
        let (Some(check), Some(share)) = (
            self.private.checks.get(p.layer, p.product),
            p.flight.share(i),
        ) else {
            return Err(None);
        };
        let holds = check.holds(self.private.level, p.rows, share, values);
        self.sample = self
            .sample
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let is_sampled = (self.sample >> 33).is_multiple_of(SIGNATURES_ONE_IN);
        if holds && !is_sampled {
            return Ok(i);
        }
        let share = share_of(&p.flight, i);
        let statement = AnswerStatement {
            node: self.private.placement.nodes()[holder].peer,
            session: self.private.holders[holder].session,
            model: self.model,
            layer: p.layer as u32,
            product: p.product.code(),
            flight: number,
            rows: p.rows as u32,
            share: share.digest(p.rows as u32),
            answer: answer_digest(values),
        };
        let signed = is_signed(&statement.node, &statement.digest(), signature);
        match (holds, signed) {
            (true, true) => Ok(i),
            (false, true) => Err(Some(Box::new((statement, share)))),
            (_, false) => Err(None),
        }
    }

    /// Leaves a holder out for the rest of the session.
    pub(super) fn exclude(
        &mut self,
        holder: usize,
        signed: Option<(AnswerStatement, [u8; 64], Share, Vec<u32>)>,
    ) -> Result<(), ClientError> {
        if !self.alive.get(holder).copied().unwrap_or(false) {
            return Ok(());
        }
        self.alive[holder] = false;
        let signed = signed.filter(|(statement, ..)| self.may_show(statement.flight));
        self.liars.push(Liar { holder, signed });
        let needed = self.private.placement.scheme().needed();
        match self.flights.leave_out(holder, needed) {
            Some((layer, left)) => self.enough(layer, left, Some(holder)),
            None => Ok(()),
        }
    }

    /// Whether one more share of `flight` may become evidence: `t` of one flight tell nothing, `t + 1` tell
    /// all. Who lies after that is left out all the same.
    fn may_show(&self, flight: u64) -> bool {
        let shown = self.liars.iter().filter_map(|l| l.signed.as_ref());
        let shown = shown.filter(|(statement, ..)| statement.flight == flight);
        shown.count() < self.private.placement.scheme().t()
    }

    /// Whether `statement` is what this session was for holder `i`.
    pub(in crate::hss) fn is_stated(&self, i: usize, s: &HolderStatement) -> bool {
        let (Some(node), Some(holder)) = (
            self.private.placement.nodes().get(i),
            self.private.holders.get(i),
        ) else {
            return false;
        };
        let layers = self.private.placement.layers(i);
        let held = layers.iter().map(|r| (r.start as u32, r.end as u32));
        (s.node, s.session, s.model) == (node.peer, holder.session, self.model)
            && s.point == Placement::point(i)
            && s.ranges.iter().copied().eq(held)
            && (s.flights, s.rows) == (self.traffic.sent_flights[i], self.traffic.sent_rows[i])
    }
}

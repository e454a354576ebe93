//! Seeds sent ahead: a share that does not depend on its input need not wait for it.
//!
//! The first t holders of a flight get seeds, so that their answers are known before the input is. In a
//! step, whose flights follow one another without a choice, they are sent the seeds of a whole range of
//! layers at once and work while the others wait for each other. Nothing is dealt twice: a number that was
//! taken ahead is dealt once, or never.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nesa_model::split::Product;
use nesa_pipeline::share::{Message, Share};
use nesa_privacy::shares::Reserved;

use super::Desk;
use crate::hss::lanes::after;
use crate::hss::placement::Placement;

/// Most positions of a step for which seeds are sent ahead: answers wait here until they are used.
pub(in crate::hss) const POSITIONS_MAX: usize = 16;

/// A flight whose seeds are out.
struct Next {
    at: (usize, Product),
    rows: usize,
    holders: Vec<usize>,
    reserved: Reserved,
}

/// An answer that came before its flight was dealt.
pub(super) struct Early {
    pub(super) holder: usize,
    pub(super) values: Vec<u32>,
    pub(super) signature: [u8; 64],
}

/// Flights that are to come and what came of them already.
#[derive(Default)]
pub(super) struct Ahead {
    next: VecDeque<Next>,
    /// By number: holders that owe an answer, and answers. Those of numbers that are never dealt are dropped.
    early: BTreeMap<u64, (Vec<usize>, Vec<Early>)>,
}

impl Ahead {
    /// The number for the flight `at` with `rows` rows over `holders`, if its seeds are out. Where another
    /// flight comes than was foreseen, none of those foreseen will.
    pub(super) fn take(
        &mut self,
        at: (usize, Product),
        rows: usize,
        holders: &[usize],
    ) -> Option<Reserved> {
        let next = self.next.pop_front()?;
        if next.at == at && next.rows == rows && next.holders == holders {
            return Some(next.reserved);
        }
        self.next.clear();
        None
    }

    /// Whether flights are foreseen.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Keeps an answer to a flight that is not dealt; gives it back where that is not so.
    pub(super) fn keep(&mut self, number: u64, early: Early) -> Result<(), Early> {
        let Some((owed, answers)) = self.early.get_mut(&number) else {
            return Err(early);
        };
        let Some(i) = owed.iter().position(|h| *h == early.holder) else {
            return Err(early);
        };
        owed.swap_remove(i);
        let foreseen = self.next.iter().any(|n| n.reserved.number() == number);
        if foreseen {
            answers.push(early);
        }
        if !foreseen && owed.is_empty() {
            self.early.remove(&number);
        }
        Ok(())
    }

    /// The answers that came before flight `number` was dealt.
    pub(super) fn early(&mut self, number: u64) -> Vec<Early> {
        self.early
            .remove(&number)
            .map_or_else(Vec::new, |(_, all)| all)
    }
}

impl Desk {
    /// Sends the first t holders the seeds of all flights after `at` in its range of layers, for a step of
    /// `positions`.
    pub(super) fn run_ahead(&mut self, at: (usize, Product), positions: usize, holders: &[usize]) {
        let placement = Arc::clone(&self.private.placement);
        let outline = Arc::clone(&self.private.outline);
        let range = placement.holders(at.0);
        let mut next = after(at.0, at.1, outline.shape().layers);
        while let Some(at) = next.filter(|(layer, _)| placement.holders(*layer) == range) {
            let rows = positions * outline.limbs(at.0, at.1).count;
            let reserved = self.dealer.reserve();
            let first = &holders[..placement.scheme().t()];
            for &holder in first {
                let seed = self.dealer.seed_of(&reserved, Placement::point(holder));
                let share = Share::Seed(seed);
                self.traffic.sent(holder, rows, share.encoded_len());
                let message = Message::Shares {
                    flight: reserved.number(),
                    layer: at.0 as u32,
                    product: at.1.code(),
                    rows: rows as u32,
                    share,
                };
                self.sends.push((holder, message));
            }
            let early = (first.to_vec(), Vec::new());
            self.ahead.early.insert(reserved.number(), early);
            self.ahead.next.push_back(Next {
                at,
                rows,
                holders: holders.to_vec(),
                reserved,
            });
            next = after(at.0, at.1, outline.shape().layers);
        }
    }
}

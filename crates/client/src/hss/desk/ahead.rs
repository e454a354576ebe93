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
    early: BTreeMap<u64, Expected>,
}

/// What is still to come, and what came, to one flight ahead.
struct Expected {
    /// Holders that owe an answer.
    owed: Vec<usize>,
    /// Elements of an answer: others are not kept, however many came.
    values: usize,
    answers: Vec<Early>,
    /// Whether the flight may still be dealt; else answers to it are dropped unread.
    is_foreseen: bool,
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
        self.early.retain(|_, e| {
            (e.answers, e.is_foreseen) = (Vec::new(), false);
            !e.owed.is_empty()
        });
        None
    }

    /// Whether flights are foreseen.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Keeps an answer to a flight that is not dealt; gives it back where none of its size is expected of its
    /// holder.
    pub(super) fn keep(&mut self, number: u64, early: Early) -> Result<(), Early> {
        let Some(expected) = self.early.get_mut(&number) else {
            return Err(early);
        };
        let sized = expected.values == early.values.len();
        let Some(i) = (expected.owed.iter().position(|h| *h == early.holder)).filter(|_| sized)
        else {
            return Err(early);
        };
        expected.owed.swap_remove(i);
        if expected.is_foreseen {
            expected.answers.push(early);
        } else if expected.owed.is_empty() {
            self.early.remove(&number);
        }
        Ok(())
    }

    /// The answers that came before flight `number` was dealt.
    pub(super) fn early(&mut self, number: u64) -> Vec<Early> {
        self.early
            .remove(&number)
            .map_or_else(Vec::new, |e| e.answers)
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
            let expected = Expected {
                owed: first.to_vec(),
                values: rows * outline.dims(at.0, at.1).0,
                answers: Vec::new(),
                is_foreseen: true,
            };
            self.ahead.early.insert(reserved.number(), expected);
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

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_privacy::shares::Dealer;

    const AT: [(usize, Product); 3] = [(0, Product::Output), (0, Product::Ffn), (0, Product::Down)];

    fn ahead() -> Ahead {
        let (mut dealer, mut ahead) = (Dealer::new([1; 32]), Ahead::default());
        for at in AT {
            let reserved = dealer.reserve();
            let expected = Expected {
                owed: vec![0],
                values: 4,
                answers: Vec::new(),
                is_foreseen: true,
            };
            ahead.early.insert(reserved.number(), expected);
            ahead.next.push_back(Next {
                at,
                rows: 1,
                holders: vec![0, 1],
                reserved,
            });
        }
        ahead
    }

    fn answer(holder: usize, values: usize) -> Early {
        Early {
            holder,
            values: vec![0; values],
            signature: [0; 64],
        }
    }

    #[test]
    fn one_answer_of_the_right_size_waits_for_its_flight() {
        let mut a = ahead();
        assert!(a.keep(1, answer(0, 5)).is_err(), "too large to be kept");
        assert!(a.keep(1, answer(1, 4)).is_err(), "its holder got no seed");
        assert!(a.keep(9, answer(0, 4)).is_err(), "nothing is foreseen");
        assert!(a.keep(1, answer(0, 4)).is_ok());
        assert!(a.keep(1, answer(0, 4)).is_err(), "it came already");
        assert_eq!(a.take(AT[0], 1, &[0, 1]).map(|r| r.number()), Some(0));
        assert!(a.early(0).is_empty());
        assert_eq!(a.take(AT[1], 1, &[0, 1]).map(|r| r.number()), Some(1));
        assert_eq!(a.early(1).len(), 1);
        assert!(a.early(1).is_empty(), "it is used once");
    }

    #[test]
    fn what_is_not_dealt_is_dropped_and_forgotten() {
        let mut a = ahead();
        assert!(a.keep(2, answer(0, 4)).is_ok());
        assert!(a.take(AT[0], 1, &[1]).is_none(), "other holders");
        assert!(a.is_empty() && a.take(AT[1], 1, &[0, 1]).is_none());
        assert!(a.early.keys().eq(&[0, 1]), "nobody owes the third");
        for number in 0..2 {
            assert!(a.keep(number, answer(0, 4)).is_ok(), "late, and honest");
            assert!(a.early(number).is_empty());
        }
        assert!(a.early.is_empty());
    }
}

//! Flights on their way: who owes an answer to which, and how far behind anyone is.

use std::collections::BTreeMap;

use nesa_model::split::Product;
use nesa_privacy::shares::Flight;

/// Flights that a holder may be behind before it counts as too late: some seconds of them between near
/// nodes, so that nobody is left out for a pause.
const BEHIND_MAX: usize = 8192;
/// Elements of shares kept for answers that are late, before the latest holder counts as too late: 256 MiB.
const BEHIND_VALUES_MAX: usize = 64 << 20;

/// A flight on its way.
pub(super) struct Pending {
    pub(super) lane: u64,
    pub(super) layer: usize,
    pub(super) product: Product,
    pub(super) rows: usize,
    pub(super) flight: Flight,
    /// Places of the holders, in the order of the flight's points.
    pub(super) holders: Vec<usize>,
    /// By holder of the flight: whether its answer is still out.
    pub(super) out: Vec<bool>,
    /// Points and answers that hold; emptied when the flight is reconstructed.
    pub(super) good: Vec<(u8, Vec<u32>)>,
    pub(super) is_done: bool,
}

/// Right answers to one flight, enough of them.
pub(super) struct Enough {
    pub(super) lane: u64,
    /// Points and answers.
    pub(super) good: Vec<(u8, Vec<u32>)>,
}

/// All flights on their way, by number.
#[derive(Default)]
pub(super) struct Flights {
    all: BTreeMap<u64, Pending>,
    /// Elements of the shares of flights that are reconstructed and still owed by somebody.
    behind: usize,
}

impl Pending {
    /// Elements of all its shares.
    fn values(&self) -> usize {
        self.holders.len() * self.flight.share(0).map_or(0, <[u32]>::len)
    }

    /// Whether nothing more is expected of it.
    fn is_over(&self) -> bool {
        self.is_done && !self.out.contains(&true)
    }

    /// The place of a holder among the flight's, while it owes an answer.
    pub(super) fn owed_by(&self, holder: usize) -> Option<usize> {
        let found = self.holders.iter().position(|&h| h == holder);
        found.filter(|&i| self.out[i])
    }

    /// Holders that owe an answer.
    fn out(&self) -> impl Iterator<Item = usize> + '_ {
        let all = self.holders.iter().zip(&self.out);
        all.filter(|(_, out)| **out).map(|(h, _)| *h)
    }
}

impl Flights {
    /// Flights on their way.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn insert(&mut self, pending: Pending) {
        self.all.insert(pending.flight.number(), pending);
    }

    pub(super) fn get(&self, number: u64) -> Option<&Pending> {
        self.all.get(&number)
    }

    /// Takes the right answer of the flight's `i`-th holder, who stands at `point`. Gives the first
    /// `needed` of them, once.
    pub(super) fn answered(
        &mut self,
        number: u64,
        i: usize,
        (point, values): (u8, Vec<u32>),
        needed: usize,
    ) -> Option<Enough> {
        let pending = self.all.get_mut(&number)?;
        pending.out[i] = false;
        let mut enough = None;
        if !pending.is_done {
            pending.good.push((point, values));
            if pending.good.len() == needed {
                pending.is_done = true;
                self.behind += pending.values();
                enough = Some(Enough {
                    lane: pending.lane,
                    good: std::mem::take(&mut pending.good),
                });
            }
        }
        if pending.is_over() {
            self.behind -= pending.values();
            self.all.remove(&number);
        }
        enough
    }

    /// Expects nothing more of `holder`. Gives a layer whose flight cannot be finished with `needed` answers
    /// any more, and how many it can have.
    pub(super) fn leave_out(&mut self, holder: usize, needed: usize) -> Option<(usize, usize)> {
        let (mut short, mut gone) = (None, 0);
        self.all.retain(|_, p| {
            for (h, out) in p.holders.iter().zip(&mut p.out) {
                *out &= *h != holder;
            }
            let left = p.good.len() + p.out().count();
            if !p.is_done && left < needed {
                short = Some((p.layer, left));
            }
            let is_over = p.is_over();
            gone += if is_over { p.values() } else { 0 };
            !is_over
        });
        self.behind -= gone;
        short
    }

    /// The holder that is too far behind, if there is one: shares are kept until they are answered.
    pub(super) fn straggler(&self) -> Option<usize> {
        if self.all.len() <= BEHIND_MAX && self.behind <= BEHIND_VALUES_MAX {
            return None;
        }
        self.all.values().find(|p| p.is_done)?.out().next()
    }

    /// Holders that owe an answer to a flight which cannot go on without them, ascending.
    pub(super) fn owed(&self) -> Vec<usize> {
        let waiting = self.all.values().filter(|p| !p.is_done);
        let mut all: Vec<usize> = waiting.flat_map(Pending::out).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

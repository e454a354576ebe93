//! All lanes of a node, and which session is paid from which.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nesa_codec::Digest;
use nesa_ledger::Address;
use nesa_ledger::sessions::{Chain, Claim, SignedVoucher, Voucher, VoucherError};

use super::payee::{Found, Payee, check_lane};
use super::{LaneName, QUARTERS, Terms};
use crate::hop::PeerKey;
use crate::wire::{Refusal, RefusalCode};

/// Most lanes that a node keeps.
pub const LANES_MAX: usize = 4_096;
/// Most sessions that are bound at once.
const SESSIONS_MAX: usize = 4 * LANES_MAX;

/// Whether work may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// At most one chunk is unpaid with it.
    Covered,
    /// A voucher must come first.
    Unpaid,
    /// The session is not bound to a lane.
    Unbound,
}

/// A session that asks to be bound to a lane.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// The client.
    pub from: PeerKey,
    /// Its session.
    pub session: Digest,
    /// The model that the session runs.
    pub model: Digest,
    /// Layers that the session uses here.
    pub layers: u32,
    /// The lane.
    pub lane: LaneName,
}

type Key = (Digest, u8);

#[derive(Debug)]
struct Books {
    chain: Chain,
    payee: Address,
    chunk: u32,
    lanes: BTreeMap<Key, (PeerKey, Payee)>,
    bound: BTreeMap<Digest, Key>,
}

/// The books of a node that works for pay; clones share them.
#[derive(Debug, Clone)]
pub struct Till(Arc<Mutex<Books>>);

impl Till {
    /// A node that is paid at `payee` on `chain` and works `chunk` positions ahead of its pay.
    #[must_use]
    pub fn new(chain: Chain, payee: Address, chunk: u32) -> Self {
        Self(Arc::new(Mutex::new(Books {
            chain,
            payee,
            chunk: chunk.max(1),
            lanes: BTreeMap::new(),
            bound: BTreeMap::new(),
        })))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What clients are told.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let b = self.books();
        Terms {
            chain_id: b.chain.id,
            domain: Digest(*b.chain.domain.as_bytes()),
            payee: b.payee,
            chunk: b.chunk,
        }
    }

    /// Binds a session to a lane, as the ledger has it.
    ///
    /// # Errors
    /// [`RefusalCode::Unpaid`] with what to do; [`RefusalCode::Busy`] beyond [`LANES_MAX`].
    pub fn bind(&self, offer: &Offer, found: &Found) -> Result<(), Refusal> {
        let mut b = self.books();
        let key = (offer.lane.payment, offer.lane.lane);
        if b.bound.contains_key(&offer.session) {
            let text = "the session is bound to a lane already; open another session";
            return Err(Refusal::new(RefusalCode::Protocol, text));
        }
        let chunk = u64::from(b.chunk) * u64::from(offer.layers.max(1));
        let (payee, chain) = (b.payee, b.chain);
        let fresh = check_lane(found, &offer.lane, &payee, &offer.model, chunk)?;
        let full = b.lanes.len() >= LANES_MAX || b.bound.len() >= SESSIONS_MAX;
        match b.lanes.get_mut(&key) {
            Some((client, _)) if *client != offer.from => {
                let text = "the lane belongs to another client; open a payment session of your own";
                return Err(Refusal::new(RefusalCode::Unpaid, text));
            }
            _ if full => {
                let text = "too many payment sessions at once; try again later";
                return Err(Refusal::new(RefusalCode::Busy, text));
            }
            Some((_, lane)) => lane.settled(&fresh.1),
            None => {
                let lane = Payee::new(chain, fresh, (payee, offer.lane.salt), chunk);
                b.lanes.insert(key, (offer.from, lane));
            }
        }
        b.bound.insert(offer.session, key);
        Ok(())
    }

    /// The session is over.
    pub fn release(&self, session: &Digest) {
        self.books().bound.remove(session);
    }

    /// Whether so many more quarters of work on a session may be done.
    #[must_use]
    pub fn covers(&self, session: &Digest, quarters: u64) -> Charge {
        let b = self.books();
        let lane = b.bound.get(session).and_then(|key| b.lanes.get(key));
        match lane {
            None => Charge::Unbound,
            Some((_, lane)) if lane.covers(quarters) => Charge::Covered,
            Some(_) => Charge::Unpaid,
        }
    }

    /// Counts work that is about to be done on a session, if it may be.
    #[must_use]
    pub fn charge(&self, session: &Digest, quarters: u64) -> Charge {
        let mut b = self.books();
        let Some(key) = b.bound.get(session).copied() else {
            return Charge::Unbound;
        };
        match b.lanes.get_mut(&key) {
            None => Charge::Unbound,
            Some((_, lane)) => match lane.charge(quarters) {
                true => Charge::Covered,
                false => Charge::Unpaid,
            },
        }
    }

    /// Takes a voucher that came on the stream of a session; gives the claim that it makes. One that is
    /// not after the last is passed over: streams of one client overtake each other.
    ///
    /// # Errors
    /// [`RefusalCode::Unpaid`] for one that is no good.
    pub fn take(&self, session: &Digest, signed: &SignedVoucher) -> Result<Option<Claim>, Refusal> {
        let mut b = self.books();
        let key = b.bound.get(session).copied();
        let lane = key.and_then(|key| b.lanes.get_mut(&key));
        let Some((_, lane)) = lane else {
            return Err(unbound());
        };
        match lane.take(signed) {
            Ok(()) => Ok(lane.claim()),
            Err(VoucherError::Stale(_)) => Ok(None),
            Err(e) => Err(Refusal::new(RefusalCode::Unpaid, e.to_string())),
        }
    }

    /// What every lane would be paid for now; whether it is over, and its claim.
    #[must_use]
    pub fn claims(&self) -> Vec<(bool, Claim)> {
        let b = self.books();
        let open = b
            .lanes
            .values()
            .filter(|(_, l)| !l.owed().is_zero() || l.is_over());
        open.filter_map(|(_, l)| Some((l.is_over(), l.claim()?)))
            .collect()
    }

    /// The ledger has paid this voucher; a lane that is over is forgotten.
    pub fn settled(&self, upto: &Voucher) {
        let mut b = self.books();
        let key = (upto.session, upto.lane);
        if let Some((_, lane)) = b.lanes.get_mut(&key) {
            lane.settled(upto);
            if upto.last {
                b.lanes.remove(&key);
            }
        }
    }

    /// Units of work begun and paid for, over all lanes that are kept.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let b = self.books();
        let sum = |f: fn(&Payee) -> u64| {
            b.lanes
                .values()
                .fold(0u64, |n, (_, l)| n.saturating_add(f(l)))
        };
        (sum(Payee::served), sum(Payee::paid))
    }
}

/// What a node says that works for pay only.
pub(crate) fn unbound() -> Refusal {
    let text =
        "this node works for pay: open a payment session on its ledger and name the lane first";
    Refusal::new(RefusalCode::Unpaid, text)
}

/// What a node says where more than one chunk would be unpaid.
pub(crate) fn unpaid() -> Refusal {
    let text =
        "more than one chunk of work is unpaid and no voucher came; pay, or ask another node";
    Refusal::new(RefusalCode::Unpaid, text)
}

/// Quarters of work of so many rows through so many layers.
pub(crate) fn whole(rows: usize, layers: usize) -> u64 {
    (rows as u64)
        .saturating_mul(layers as u64)
        .saturating_mul(QUARTERS)
}

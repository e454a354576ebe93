//! One lane as the node that is paid from it sees it.

use nesa_codec::Digest;
use nesa_ledger::sessions::{
    Chain, Claim, Lane, LaneTerms, Session, SignedVoucher, Stage, Voucher, VoucherError,
    commit_payee,
};
use nesa_ledger::{Address, Amount};

use super::{LaneName, QUARTERS};
use crate::wire::{Refusal, RefusalCode};

/// A payment session as the ledger has it.
#[derive(Debug, Clone)]
pub struct Found {
    /// The height of the ledger's last block.
    pub height: u64,
    /// The session.
    pub session: Session,
    /// Its lanes.
    pub lanes: Vec<Lane>,
}

/// Blocks that a payment session must still live when work on it begins, so that its claims settle.
pub(super) const BLOCKS_LEFT_MIN: u64 = 100;

fn refuse<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(RefusalCode::Unpaid, text))
}

/// Whether a lane pays `payee` for `model`, with at least one chunk of work secured.
///
/// # Errors
/// [`RefusalCode::Unpaid`], with what to do.
pub fn check_lane(
    found: &Found,
    name: &LaneName,
    payee: &Address,
    model: &Digest,
    chunk_work: u64,
) -> Result<(LaneTerms, Voucher), Refusal> {
    let Some(lane) = found.lanes.get(usize::from(name.lane)) else {
        return refuse("the payment session has no such lane; open one on the node's ledger");
    };
    let session = &found.session;
    if session.stage != Stage::Open || session.ends < found.height.saturating_add(BLOCKS_LEFT_MIN) {
        return refuse("the payment session is over or about to be; open another");
    }
    if session.model != *model {
        return refuse("the payment session is for another model; open one for this");
    }
    if lane.payee != commit_payee(payee, &name.salt) {
        return refuse("the lane pays somebody else; commit to the address that this node named");
    }
    if lane.closed {
        return refuse("the lane was closed by its last voucher; open another payment session");
    }
    let terms = session.terms(&name.payment, name.lane, lane.share_ppm);
    let ahead = u128::from(lane.work.saturating_add(chunk_work));
    if session.price.times(ahead).is_none_or(|sum| sum > terms.cap) {
        return refuse("the lane does not hold one chunk of work; open one with a larger deposit");
    }
    Ok((terms, lane.settled(&name.payment, name.lane)))
}

/// One lane: what was served, and what was paid for.
#[derive(Debug, Clone)]
pub struct Payee {
    chain: Chain,
    terms: LaneTerms,
    payee: Address,
    salt: Digest,
    /// Work that may be unpaid.
    chunk: u64,
    /// Quarters of work since the lane began.
    served: u64,
    /// What the ledger had paid when work began.
    settled: Voucher,
    best: Option<SignedVoucher>,
}

impl Payee {
    /// A lane that settled `settled` so far and works `chunk` ahead of its pay.
    #[must_use]
    pub fn new(
        chain: Chain,
        (terms, settled): (LaneTerms, Voucher),
        (payee, salt): (Address, Digest),
        chunk: u64,
    ) -> Self {
        let served = settled.work.saturating_mul(QUARTERS);
        Self {
            chain,
            terms,
            payee,
            salt,
            chunk,
            served,
            settled,
            best: None,
        }
    }

    /// The latest voucher, or what the ledger paid.
    fn last(&self) -> &Voucher {
        self.best.as_ref().map_or(&self.settled, |b| &b.voucher)
    }

    /// Whether so many more quarters of work leave at most one chunk unpaid.
    #[must_use]
    pub fn covers(&self, quarters: u64) -> bool {
        let limit = self.last().work.saturating_add(self.chunk);
        let after = self.served.checked_add(quarters);
        !self.last().last && after.is_some_and(|a| a <= limit.saturating_mul(QUARTERS))
    }

    /// Counts work that is about to be done, if it leaves at most one chunk unpaid.
    #[must_use]
    pub fn charge(&mut self, quarters: u64) -> bool {
        let covered = self.covers(quarters);
        if covered {
            self.served += quarters;
        }
        covered
    }

    /// Takes a voucher that follows the last one.
    ///
    /// # Errors
    /// [`VoucherError`]; the one before stands then.
    pub fn take(&mut self, signed: &SignedVoucher) -> Result<(), VoucherError> {
        signed.verify(&self.chain, &self.terms, Some(self.last()))?;
        self.best = Some(*signed);
        Ok(())
    }

    /// Units of work that were begun, a part of one as a whole.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.served.div_ceil(QUARTERS)
    }

    /// Units of work that are paid for.
    #[must_use]
    pub fn paid(&self) -> u64 {
        self.last().work
    }

    /// What the ledger would pay for the latest voucher beyond what it paid before.
    #[must_use]
    pub fn owed(&self) -> Amount {
        let best = self.last().amount;
        best.minus(self.settled.amount).unwrap_or(Amount::ZERO)
    }

    /// What the ledger is sent to be paid, where a voucher came.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        self.best.map(|signed| Claim {
            signed,
            payee: self.payee,
            salt: self.salt,
        })
    }

    /// Whether the client said that no more work follows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.last().last
    }

    /// The ledger has paid what it was sent.
    pub fn settled(&mut self, upto: &Voucher) {
        if upto.sequence > self.settled.sequence {
            self.settled = *upto;
        }
    }
}

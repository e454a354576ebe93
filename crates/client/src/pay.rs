//! Pay for work as it is delivered, lane by lane.
//!
//! A [`Payer`] signs the cumulative vouchers of one lane. It counts work as the node does, in
//! quarters of a unit, and keeps two promises: the node is never left with more than one chunk
//! unpaid, or it would stop; and nothing is paid for that is more than one chunk ahead of what was
//! delivered, the bucket that hides lengths aside.

use ed25519_dalek::{Signer as _, SigningKey};
use nesa_codec::{Digest, Hasher};
use nesa_ledger::sessions::{Chain, LaneTerms, SignedVoucher, Voucher, VoucherError, bucketed};
use nesa_ledger::{Amount, PPM};
use nesa_pipeline::paid::QUARTERS;

/// Why no voucher is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayError {
    /// The node wants more ahead than was agreed.
    #[error(
        "a node would have to be paid more than one chunk ahead of its work; ask a node with a larger chunk"
    )]
    Ahead,
    /// The lane's terms refuse it.
    #[error("the payment session cannot pay for this: {0}")]
    Terms(#[from] VoucherError),
    /// More than 2^64 units.
    #[error("the work of a lane is beyond 2^64 units; open another payment session")]
    Work,
}

/// One lane as the client that pays sees it.
pub struct Payer {
    chain: Chain,
    terms: LaneTerms,
    key: SigningKey,
    /// Units of work that the node does ahead of its pay.
    chunk: u64,
    /// Quarters of work asked for.
    sent: u64,
    /// Quarters of work that were delivered.
    delivered: u64,
    last: Voucher,
}

impl std::fmt::Debug for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payer")
            .field("terms", &self.terms)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Payer {
    /// A lane whose last voucher was `last`, for work that was all delivered.
    #[must_use]
    pub fn new(
        chain: Chain,
        terms: LaneTerms,
        key: SigningKey,
        chunk: u64,
        (last, sent): (Option<Voucher>, u64),
    ) -> Self {
        Self {
            chain,
            terms,
            key,
            chunk,
            sent,
            delivered: sent,
            last: last.unwrap_or_else(|| Voucher::nothing(&terms)),
        }
    }

    /// What must be paid before so many more quarters of work are asked for; `None` where nothing.
    ///
    /// # Errors
    /// [`PayError::Ahead`] where that is more than a chunk ahead of what was delivered.
    pub fn before(&mut self, quarters: u64) -> Result<Option<SignedVoucher>, PayError> {
        let after = self.sent.checked_add(quarters).ok_or(PayError::Work)?;
        let least = after.div_ceil(QUARTERS).saturating_sub(self.chunk);
        let voucher = if least > self.last.work {
            let delivered = self.delivered.div_ceil(QUARTERS);
            if least > delivered.saturating_add(self.chunk) {
                return Err(PayError::Ahead);
            }
            Some(self.sign(least.max(delivered), None, false)?)
        } else {
            None
        };
        self.sent = after;
        Ok(voucher)
    }

    /// Whether so many more quarters can be asked for now without paying too far ahead.
    #[must_use]
    pub fn may(&self, quarters: u64) -> bool {
        let least =
            (self.sent.saturating_add(quarters).div_ceil(QUARTERS)).saturating_sub(self.chunk);
        let ahead = self.delivered.div_ceil(QUARTERS).saturating_add(self.chunk);
        least <= self.last.work || least <= ahead
    }

    /// So many quarters of work came back.
    pub fn delivered(&mut self, quarters: u64) {
        self.delivered = self.delivered.saturating_add(quarters).min(self.sent);
    }

    /// Pays for all work that was delivered; `statement` is what the node signed for it.
    ///
    /// # Errors
    /// [`PayError::Terms`].
    pub fn pay(&mut self, statement: Option<&Digest>) -> Result<Option<SignedVoucher>, PayError> {
        let due = self.delivered.div_ceil(QUARTERS);
        if due <= self.last.work && statement.is_none() {
            return Ok(None);
        }
        self.sign(due.max(self.last.work), statement, false)
            .map(Some)
    }

    /// The last voucher: the lane closes when it settles.
    ///
    /// # Errors
    /// [`PayError::Terms`].
    pub fn last(&mut self) -> Result<SignedVoucher, PayError> {
        let due = self.delivered.div_ceil(QUARTERS).max(self.last.work);
        self.sign(due, None, true)
    }

    /// Pays no more for what was delivered until now: it was not proven.
    pub fn withhold(&mut self) {
        self.delivered = self.delivered.min(self.last.work.saturating_mul(QUARTERS));
    }

    /// Whether the lane holds so many more units of work.
    #[must_use]
    pub fn holds(&self, units: u64) -> bool {
        let work = self.sent.div_ceil(QUARTERS).saturating_add(units);
        let work = bucketed(work, self.terms.bucket);
        let sum = work.and_then(|w| self.terms.price.times(u128::from(w)));
        sum.is_some_and(|s| s <= self.terms.cap)
    }

    /// The latest voucher, and the quarters of work asked for so far.
    #[must_use]
    pub fn state(&self) -> (Voucher, u64) {
        (self.last, self.sent)
    }

    /// What was promised so far.
    #[must_use]
    pub fn paid(&self) -> Amount {
        self.last.amount
    }

    fn sign(
        &mut self,
        work: u64,
        statement: Option<&Digest>,
        last: bool,
    ) -> Result<SignedVoucher, PayError> {
        let work = bucketed(work, self.terms.bucket).ok_or(PayError::Work)?;
        let amount = self.terms.price.times(u128::from(work));
        let voucher = Voucher {
            sequence: self.last.sequence + 1,
            work,
            amount: amount.ok_or(VoucherError::Cap(self.terms.cap))?,
            transcript: match statement {
                Some(s) => Hasher::new("nesa.client.paid.v1")
                    .digest(&self.last.transcript)
                    .digest(s)
                    .finish(),
                None => self.last.transcript,
            },
            last,
            ..self.last
        };
        voucher.check(&self.terms, Some(&self.last))?;
        let digest = voucher.digest(&self.chain);
        let signature = self.key.sign(&digest.0).to_bytes();
        self.last = voucher;
        Ok(SignedVoucher { voucher, signature })
    }
}

/// The shares of lanes in parts per million, in proportion to their layers; `None` for no lanes or
/// a lane without layers.
#[must_use]
pub fn shares(layers: &[u32]) -> Option<Vec<u32>> {
    let total: u64 = layers.iter().map(|l| u64::from(*l)).sum();
    if total == 0 || layers.contains(&0) {
        return None;
    }
    let mut out: Vec<u32> = (layers.iter())
        .map(|l| u32::try_from(u64::from(*l) * u64::from(PPM) / total).unwrap_or(0))
        .collect();
    let given: u32 = out.iter().sum();
    // What rounding leaves goes to the first.
    *out.first_mut()? += PPM - given;
    (!out.contains(&0)).then_some(out)
}

#[cfg(test)]
mod tests;

//! Counting what peers may use: a token bucket for rates, a budget for bytes, slots for things.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::NetError;

/// Allows `burst` events at once and `per_second` on average. Pure: time comes in as milliseconds.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: u64,
    burst_milli: u64,
    /// Thousandths of events that may happen now.
    milli: u64,
    last_ms: u64,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 counts as 1.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, now_ms: u64) -> Self {
        let burst_milli = u64::from(burst.max(1)) * 1000;
        Self {
            per_second: u64::from(per_second.max(1)),
            burst_milli,
            milli: burst_milli,
            last_ms: now_ms,
        }
    }

    /// Milliseconds until one event may happen; 0 for now.
    pub fn wait_ms(&mut self, now_ms: u64) -> u64 {
        let gained = now_ms
            .saturating_sub(self.last_ms)
            .saturating_mul(self.per_second);
        self.last_ms = self.last_ms.max(now_ms);
        self.milli = self.milli.saturating_add(gained).min(self.burst_milli);
        1000u64.saturating_sub(self.milli).div_ceil(self.per_second)
    }

    /// Takes one event out, whether or not it was due.
    pub fn charge(&mut self) {
        self.milli = self.milli.saturating_sub(1000);
    }

    /// Takes one event out if it is due.
    pub fn try_take(&mut self, now_ms: u64) -> bool {
        let due = self.wait_ms(now_ms) == 0;
        if due {
            self.charge();
        }
        due
    }
}

/// A shared count with a maximum.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    max: usize,
    what: &'static str,
}

impl Budget {
    pub(crate) fn new(what: &'static str, max: usize) -> Self {
        Self {
            used: Arc::default(),
            max,
            what,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// An empty share, to be grown.
    pub(crate) fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            held: 0,
        }
    }

    /// A share of `n`.
    pub(crate) fn take(&self, n: usize) -> Result<Share, NetError> {
        let mut share = self.share();
        share.set(n)?;
        Ok(share)
    }
}

/// What one holder has of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    held: usize,
}

impl Share {
    /// Changes the share to `n`; it keeps its size if the budget does not allow more.
    pub(crate) fn set(&mut self, n: usize) -> Result<(), NetError> {
        let used = &self.budget.used;
        if n <= self.held {
            used.fetch_sub(self.held - n, Ordering::Relaxed);
        } else {
            let more = n - self.held;
            let before = used.fetch_add(more, Ordering::Relaxed);
            if before.saturating_add(more) > self.budget.max {
                used.fetch_sub(more, Ordering::Relaxed);
                return Err(NetError::Limit {
                    what: self.budget.what,
                    max: self.budget.max as u64,
                });
            }
        }
        self.held = n;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_the_burst_then_the_rate() {
        let mut b = TokenBucket::new(10, 3, 0);
        let taken = (0..100).filter(|_| b.try_take(0)).count();
        assert_eq!(taken, 3);
        assert_eq!(b.wait_ms(0), 100);
        let taken = (1..=1000).filter(|t| b.try_take(*t)).count();
        assert_eq!(taken, 10);
        assert_eq!(b.wait_ms(u64::MAX), 0, "far jumps do not overflow");
        assert_eq!(
            (0..9).filter(|_| b.try_take(5)).count(),
            3,
            "nor does time going back"
        );
    }

    #[test]
    fn a_budget_is_given_back() {
        let b = Budget::new("test bytes", 10);
        let mut a = b.take(6).unwrap();
        assert!(b.take(5).is_err());
        a.set(9).unwrap();
        assert!(a.set(11).is_err());
        assert_eq!(b.used(), 9);
        a.set(1).unwrap();
        drop(b.take(9).unwrap());
        drop(a);
        assert_eq!(b.used(), 0);
    }
}
